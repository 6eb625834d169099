// Clicks: every answered one, found by what is known of it, and the story of one.

import { get } from "./api.js";
import { copier, copyable } from "./copying.js";
import { detail } from "./dialogs.js";
import { $, button, clock, h, ms, number, setText, tag, when, zone } from "./dom.js";
import { paramsList, showHops } from "./hops.js";
import { made, Table } from "./table.js";
import { keepForm } from "./url.js";

const AGAIN_MS = 1500; // a burst of clicks loads the list once
const TYPED_MS = 250;
const PAGE = 50;
const RESTS = 20; // how much longer than a load no other one begins by itself

export function outcomeTag({ kind, outcome, reason }) {
  if (kind === "repeat") return tag("repeat", null);
  if (kind === "preview") return tag("preview", null);
  if (outcome === "background") return tag("background", null);
  return outcome === "resolved" ? tag("landed", "good") : tag(reason ?? outcome, outcome === "left" ? "warn" : "bad");
}

export class Clicks {
  constructor() {
    this.items = [];
    const opener = (click) => made(`${click.request_id} ${clock(click.created_at)}`, () => button(clock(click.created_at), () => showClick(click.request_id), { class: "link", "aria-label": `Click of ${when(click.created_at)}` }));
    this.table = new Table(
      "found",
      [
        opener,
        (click) => click.offer_name || "no name",
        (click) => made(`${click.kind} ${click.outcome} ${click.reason}`, () => outcomeTag(click)),
        (click) => ms(click.wait_ms),
        (click) => click.click_id,
        (click) => click.visitor_address,
        (click) => (click.ip ? `${click.ip} (${click.country})` : click.trace_status ? "no IP" : "no trace"),
        (click) => made(click.location, () => copyable(click.location, "the URL of the answer")),
      ],
      { key: (click) => click.request_id, empty: "No click matches.", classes: [null, "long", null, null, "long", null, null, "hop-url"] },
    );
    this.form = $("find-form");
    keepForm(this.form, "find");
    this.form.addEventListener("input", () => {
      clearTimeout(this.typed);
      this.typed = setTimeout(() => this.ask(), TYPED_MS);
    });
    this.form.addEventListener("reset", () => setTimeout(() => this.filter({})));
    document.addEventListener("zone", () => (this.form.since.value || this.form.until.value) && this.ask());
    $("found-more").addEventListener("click", () => this.ask(this.next));
    this.refused = new Table(
      "refused",
      [
        (click) => made(`${click.request_id} ${clock(click.at)}`, () => button(clock(click.at), () => showClick(click.request_id), { class: "link", "aria-label": `Refused click of ${when(click.at)}` })),
        (click) => click.offer ?? "no name",
        (click) => click.status,
        (click) => click.error ?? click.reason.replaceAll("_", " "),
        (click) => made(click.request_id, () => copyable(click.request_id, "the request id")),
      ],
      { key: (click) => click.request_id, empty: "None.", classes: [null, "long"] },
    );
  }

  async loadRefused() {
    const { items } = await get("/api/clicks/refused").catch(() => ({ items: [] }));
    $("refused-details").hidden = !items.length;
    setText($("refused-words"), `Refused clicks: ${number(items.length)}, the last one at ${clock(items[0]?.at)}`);
    this.refused.show(items);
  }

  happened() {
    this.due ??= setTimeout(() => {
      this.due = null;
      if (!document.hidden) this.load();
    }, AGAIN_MS);
  }

  /** Shows the clicks with these values only, and goes there. */
  filter(values) {
    for (const field of this.form.elements) {
      if (!field.name) continue;
      field.value = values[field.name] ?? (field.name === "sort" ? "-created" : "");
      field.dispatchEvent(new Event("input"));
    }
    this.ask();
    if (!Object.keys(values).length) return;
    $("find").scrollIntoView();
    $("find").querySelector(".scroll").focus({ preventScroll: true });
  }

  /** Loads again, the less often the longer it takes: a filter that few clicks match reads many rows. */
  load() {
    if (performance.now() < (this.quietUntil ?? 0)) return;
    this.ask();
    this.loadRefused();
  }

  async ask(cursor = null) {
    const began = performance.now();
    const filters = Object.fromEntries(new FormData(this.form));
    $("find-reset").hidden = Object.entries(filters).every(([name, value]) => !value || name === "sort");
    for (const name of ["since", "until"]) filters[name] = instant(filters[name]);
    for (const name of ["offer", "click_id", "request_id", "visitor", "ip", "country", "reason"]) filters[name] = filters[name].trim();
    this.filters = filters;
    if (!cursor && this.items.length > PAGE && JSON.stringify(filters) === this.loaded) return; // keep the further pages
    try {
      const page = await get("/api/clicks", { limit: PAGE, cursor, ...filters });
      if (filters !== this.filters) return;
      this.items = cursor ? [...this.items, ...page.items] : page.items;
      this.next = page.next;
      this.loaded = JSON.stringify(filters);
      this.table.empty = $("find-reset").hidden ? "No click yet." : "No click matches.";
    } catch (trouble) {
      if (filters !== this.filters) return;
      this.items = [];
      this.next = null;
      this.table.empty = trouble.message;
    }
    this.quietUntil = performance.now() + RESTS * (performance.now() - began);
    this.table.show(this.items);
    $("found-more").hidden = !this.next;
  }
}

/** The time of a field, whose zone is that of the page, as RFC 3339. */
function instant(text) {
  if (!text) return "";
  const time = new Date(zone() === "utc" ? `${text}Z` : text);
  return Number.isNaN(time.getTime()) ? "" : time.toISOString();
}

const fact = (name, value) => (value === null || value === undefined || value === "" ? null : h("div", {}, h("dt", {}, name), h("dd", {}, value)));

/** The story of one click, as tracepool explain tells it. */
export async function showClick(id) {
  let click;
  try {
    click = await get(`/api/clicks/${encodeURIComponent(id)}`);
  } catch (trouble) {
    detail("A click", h("p", { class: "trouble" }, trouble.message));
    return;
  }
  const { trace, chosen, answered } = click;
  const hops = h("div");
  const parts = [
    factsOf(click),
    answered?.why ? h("p", { class: "outcome", "data-mood": "bad" }, `${answered.outcome === "refused" ? `Refused with ${answered.reason}` : "Fallback"}: ${answered.why}.`) : null,
    trace?.error ? h("p", { class: "outcome", "data-mood": "bad" }, `The trace: ${trace.error}`) : null,
    trace ? h("h3", {}, `${click.hops.length === 1 ? "One hop" : `${click.hops.length} hops`} through ${chosen?.ip ?? "no IP"}`) : null,
    trace ? hops : null,
    h("h3", {}, "Answered with"),
    answered?.location ? copyable(answered.location, "the URL of the answer") : h("p", { class: "note" }, "No answer: the visitor waits, has left, or nobody waited."),
    trace ? h("h3", {}, "Parameters of the click") : null,
    trace ? paramsList(click.inbound_params) : null,
    trace?.final_url ? h("h3", {}, "Parameters of the landing page") : null,
    trace?.final_url ? paramsList(trace.extracted_params) : null,
    storyOf(click),
  ];
  detail(`Click ${click.request_id}`, ...parts.filter(Boolean));
  if (trace) showHops(hops, "click-hops", click.hops);
}

function factsOf(click) {
  const { trace, chosen, answered } = click;
  return h(
    "dl",
    { class: "facts" },
    ...[
      fact("Outcome", answered ? outcomeTag(answered) : tag("no answer", "warn")),
      fact("Offer", click.offer),
      fact("Received", click.received_at && when(click.received_at)),
      fact("Answered", answered?.at && when(answered.at)),
      fact("Waited", answered && ms(answered.waited_ms)),
      fact("Click id", click.click_id && copyable(click.click_id, "the click id")),
      fact("Visitor", click.visitor),
      fact("Browser", click.user_agent),
      fact("Came from", click.referrer && copyable(click.referrer, "the referrer")),
      fact("Trace", trace ? tag(trace.status, { completed: "good", failed: "bad", timeout: "warn" }[trace.status]) : tag("none", null)),
      fact("IP", chosen && `${chosen.ip} (${[chosen.country, chosen.provider].filter(Boolean).join(", ")})`),
      fact("Why this IP", chosen?.why),
      fact("Waited for the IP", chosen && ms(chosen.waited_ms)),
      fact("Traced for", trace && ms(trace.trace_ms)),
    ].filter(Boolean),
  );
}

function storyOf(click) {
  const text = click.text.join("\n");
  return h("details", { class: "story" }, h("summary", {}, "As tracepool explain tells it"), copier(() => text, "Copy the story"), h("pre", {}, text));
}
