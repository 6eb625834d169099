// Traces: those in flight with the time left, recent ones, and one trace as a waterfall of its hops.

import { get } from "./api.js";
import { copyable } from "./copying.js";
import { detail } from "./dialogs.js";
import { $, button, bytes, clock, dollars, duration, h, ms, number, tag, when } from "./dom.js";
import { showHops } from "./hops.js";
import { made, strip, Table } from "./table.js";
import { keepForm } from "./url.js";

const NO_TRACES = "No traces yet: the first click begins the first one.";
const AGAIN_MS = 1500; // a burst of traces loads the list once
const MOODS = { completed: "good", failed: "bad", timeout: "warn" };

export const statusTag = (status) => made(status, () => tag(status, MOODS[status]));

function left({ deadline_in_s: seconds }, deadline) {
  if (seconds === null) return h("span", { class: "left" }, "no visitor waits");
  const mood = seconds <= 0 ? "bad" : seconds < deadline * 0.3 ? "warn" : "good";
  const text = seconds <= 0 ? `over by ${duration(-seconds)}` : duration(seconds);
  const share = Math.max(0, Math.min(100, (100 * seconds) / deadline));
  return h("span", { class: "left", "data-mood": mood }, strip("", text, [["left-all", 0, 100], ["left-now", 0, share]]), text);
}

export class InFlight {
  constructor() {
    this.deadline = 10;
    this.table = new Table(
      "in-flight",
      [
        (flight) => flight.offer_name ?? flight.tracking_url,
        (flight) => flight.ip,
        (flight) => duration(flight.running_s),
        (flight) => made(flight.deadline_in_s, () => left(flight, this.deadline)),
      ],
      { key: (flight) => flight.request_id, empty: "No traces in flight." },
    );
  }

  status({ in_flight: flights, deadline_s: deadline, traces_waiting: waiting = [] }) {
    this.deadline = deadline;
    this.table.show(flights);
    this.queue(waiting);
  }

  /** The traces that wait for an IP or a worker, by country, and why. */
  queue(waiting) {
    const mark = JSON.stringify(waiting.map(({ since, ...rest }) => rest));
    if (mark === this.mark) return;
    this.mark = mark;
    const lines = waiting.map((queue) => h("li", {}, h("p", {}, `${queue.country}: ${number(queue.waiting)} wait since ${clock(queue.since)}${queue.why ? `: ${queue.why}` : ""}`), queue.next ? h("code", { class: "command" }, queue.next) : null));
    $("waiting").replaceChildren(...lines);
    $("waiting").hidden = !lines.length;
  }
}

export class RecentTraces {
  constructor() {
    this.items = [];
    const opener = (trace) => made(trace.request_id, () => button(clock(trace.created_at), () => showTrace(trace.request_id), { class: "link", "aria-label": `Trace of ${when(trace.created_at)}` }));
    this.table = new Table(
      "traces",
      [
        opener,
        (trace) => trace.offer_name ?? trace.tracking_url,
        (trace) => statusTag(trace.status),
        (trace) => trace.ip_assigned,
        (trace) => ms(trace.wait_time_ms),
        (trace) => ms(trace.trace_time_ms),
        (trace) => bytes(trace.bytes_received),
        (trace) => trace.error_message ?? "",
      ],
      { key: (trace) => trace.request_id, empty: "No trace matches.", classes: [null, null, null, null, null, null, null, "why"] },
    );
    $("traces-form").addEventListener("input", () => this.load());
    keepForm($("traces-form"), "traces");
    $("traces-more").addEventListener("click", () => this.load(this.next));
  }

  happened() {
    this.due ??= setTimeout(() => {
      this.due = null;
      if (!document.hidden) this.load();
    }, AGAIN_MS);
  }

  async load(cursor = null) {
    const filters = Object.fromEntries(new FormData($("traces-form")));
    this.filters = filters;
    if (!cursor && this.items.length > 50) return; // do not replace the further pages that were loaded
    try {
      const page = await get("/api/traces", { limit: 50, cursor, ...filters });
      if (filters !== this.filters) return;
      this.items = cursor ? [...this.items, ...page.items] : page.items;
      this.next = page.next;
      this.table.empty = Object.values({ ...filters, sort: "" }).some(Boolean) ? "No trace matches." : NO_TRACES;
    } catch (trouble) {
      this.items = [];
      this.next = null;
      this.table.empty = trouble.message;
    }
    this.table.show(this.items);
    $("traces-more").hidden = !this.next;
  }
}

export async function showTrace(id) {
  let found;
  try {
    found = await get(`/api/traces/${id}`);
  } catch (trouble) {
    detail("A trace", h("p", { class: "trouble" }, trouble.message));
    return;
  }
  const { trace, hops, answer } = found;
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value ?? "–"));
  const facts = h(
    "dl",
    { class: "facts" },
    fact("Status", tag(trace.status, MOODS[trace.status])),
    fact("Offer", trace.offer_name),
    fact("IP", trace.ip_assigned),
    fact("Country", trace.target_country),
    fact("Began", when(trace.created_at)),
    fact("Waited for an IP", ms(trace.wait_time_ms)),
    fact("Took", ms(trace.trace_time_ms)),
    fact("Received", bytes(trace.bytes_received)),
    fact("Sent", bytes(trace.bytes_sent)),
    trace.cost ? fact("Cost", dollars(trace.cost)) : null,
    trace.retry_count ? fact("Retries", trace.retry_count) : null,
    fact("The visitor", answer ? `${answer.outcome}${answer.reason ? `, ${answer.reason}` : ""} after ${ms(answer.wait_ms)}` : "no visitor was answered"),
    trace.error_message ? fact("Why it failed", trace.error_message) : null,
  );
  const chain = h("div");
  const end = copyable(answer?.location ?? trace.final_url, "the URL of the answer");
  detail(`Trace ${trace.request_id}`, facts, h("h3", {}, `${hops.length === 1 ? "One hop" : `${hops.length} hops`} through ${trace.ip_assigned ?? "no IP"}`), chain, h("h3", {}, answer ? "Answered with" : "Landing page"), end);
  showHops(chain, "hops", hops);
}
