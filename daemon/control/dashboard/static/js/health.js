// Figures at the top, advice, journal and database, queues, the last events.

import { $, announce, bytes, clock, dollars, duration, h, ms, number, percent, percentage, setText, tag, words } from "./dom.js";
import { made, Table } from "./table.js";

const BACKLOG_MAX = 10_000; // more entries to ship are worth a look
const EVENTS_MAX = 200;

export class Overview {
  constructor() {
    this.queues = new Table(
      "queues",
      [(queue) => words(queue.name), (queue) => amount(queue, queue.length), (queue) => amount(queue, queue.max), (queue) => made(fullness(queue), () => tag(percentage(fullness(queue)), fullness(queue) > 80 ? "bad" : fullness(queue) > 50 ? "warn" : "good"))],
      { key: (queue) => queue.name, empty: "No queues." },
    );
  }

  status(status) {
    this.figures(status);
    this.advice(status.advice, status.first_run);
    this.journal(status);
    this.queues.show(Object.entries(status.queues).map(([name, queue]) => ({ name, ...queue })));
  }

  figures({ last_minute: minute, countries, traffic_today: traffic, deadline_s: deadline }) {
    const sum = (values, of) => Object.values(values).reduce((all, value) => all + of(value), 0);
    const fell = sum(minute.fallbacks, (n) => n);
    const share = minute.clicks ? fell / minute.clicks : 0;
    const mood = share > 0.5 ? "bad" : share > 0.1 ? "warn" : "";
    const [failed, total] = [sum(countries, (c) => c.failed), sum(countries, (c) => c.total)];
    figure("f-clicks", number(minute.clicks));
    const beside = [[minute.background, "in the background"], [minute.repeats, "repeats"], [minute.previews, "previews"]];
    setText($("f-beside"), beside.filter(([n]) => n).map(([n, name]) => `+ ${number(n)} ${name}`).join(", "));
    figure("f-resolved", percent(minute.resolved, minute.clicks), mood);
    figure("f-fallbacks", number(fell), mood);
    figure("f-p50", ms(minute.wait_p50_ms), minute.wait_p50_ms > deadline * 500 ? "warn" : "");
    figure("f-p95", ms(minute.wait_p95_ms), minute.wait_p95_ms > deadline * 900 ? "bad" : "");
    figure("f-failed", number(failed), failed > total / 5 ? "bad" : failed > total / 20 ? "warn" : "");
    figure("f-cost", dollars(sum(traffic, (spent) => spent.cost)));
  }

  advice(all, firstRun) {
    const mark = JSON.stringify([all, Boolean(firstRun)]);
    if (mark === this.mark) return;
    const codes = all.map((advice) => `${advice.code} ${advice.about}`).join();
    if (this.codes !== undefined && codes !== this.codes) announce(all.length ? `Advice: ${all[0].sentence}` : "No advice");
    Object.assign(this, { mark, codes });
    const lines = all.map((advice) =>
      h(
        "li",
        { "data-severity": advice.severity },
        h("strong", { class: "tag" }, advice.severity),
        h("div", {}, h("p", {}, advice.sentence), h("p", { class: "note" }, `Rule: ${advice.rule}`), advice.command ? h("code", { class: "command" }, advice.command) : null, form(advice)),
      ),
    );
    $("advice-list").replaceChildren(...(lines.length ? lines : [h("li", { class: "calm", "data-mood": firstRun ? null : "good" }, firstRun ? "Advice begins after the first steps." : "Nothing to advise.")]));
  }

  journal({ journal, node_id: node, epoch, uptime_s: uptime, backlog = journal.backlog }) {
    const bad = (n) => (n ? tag(number(n), "bad") : "0");
    const facts = [
      ["Database", journal.database_reachable ? tag("reachable", "good") : tag("away: entries wait in the spool", "bad")],
      ["Entries to ship", backlog === null ? tag("unknown: the disk cannot be read", "bad") : backlog > BACKLOG_MAX ? tag(number(backlog), "warn") : number(backlog)],
      ["Up for", duration(uptime)],
      ["Recorded", number(journal.recorded)],
      ["Dropped", bad(journal.dropped)],
      ["Refused", bad(journal.refused)],
      ["Late hits", number(journal.late_hits)],
      ["Node", node],
      ["Epoch", number(epoch)],
    ];
    const mark = JSON.stringify([journal, backlog, node, epoch, duration(uptime)]);
    if (mark === this.journalMark) return;
    this.journalMark = mark;
    $("journal").replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }
}

const amount = (queue, n) => (queue.name.endsWith("bytes") ? bytes(n) : number(n));
/** The form that does what the advice's command does, if there is one. */
function form({ code, country }) {
  if (code !== "country_without_ips" || !country) return null;
  return h("button", { type: "button", "data-act": "add-ips", "data-country": country, "data-needs": "write" }, `Add IPs of ${country}`);
}

const fullness = (queue) => Math.round((100 * queue.length) / (queue.max || 1));

function figure(id, text, mood = "") {
  setText($(id), text);
  if ($(id).dataset.mood !== mood) $(id).dataset.mood = mood;
}

export class Events {
  constructor() {
    this.items = [];
    const text = (value) => {
      if (Array.isArray(value)) return value.map(text).join(", ");
      if (value && typeof value === "object") return Object.entries(value).map(([name, inner]) => `${name} ${text(inner)}`).join(", ");
      return String(value);
    };
    const inner = (name, value) => (name === "exception" ? String(value).trim().split("\n").at(-1) : text(value)); // the log has the traceback
    const facts = (event) => event.facts.sentence ?? Object.entries(event.facts).filter(([, value]) => value !== null).map(([name, value]) => `${words(name)}: ${inner(name, value)}`).join("; ");
    this.table = new Table(
      "events",
      [(event) => clock(event.at), (event) => made(event.level, () => tag(event.level)), (event) => (event.times ? `${words(event.event)}, ${event.times + 1} times` : words(event.event)), facts],
      {
        key: (event) => event.id,
        empty: "No events yet.",
        classes: [null, null, null, "facts-cell"],
        row: (row, event) => row.setAttribute("data-level", event.level),
      },
    );
  }

  add(event) {
    if (this.items[0] && event.id <= this.items[0].id && event.at <= this.items[0].at) return;
    if (this.items[0] && event.id <= this.items[0].id) this.items = []; // after a restart of the daemon, ids begin at 1
    const last = this.items[0];
    if (last && last.event === event.event && JSON.stringify(last.facts) === JSON.stringify(event.facts)) {
      event.times = (last.times ?? 0) + 1; // repeated events share a row
      this.items.shift();
    }
    this.items = [event, ...this.items].slice(0, EVENTS_MAX);
    this.due ??= requestAnimationFrame(() => {
      this.due = null;
      this.table.show(this.items);
    });
  }
}
