// IPs: one with its history, all of a country as a table, and the unhealthy ones.

import { get } from "./api.js";
import { detail } from "./dialogs.js";
import { $, button, bytes, number, when, h, ms, percent, tag } from "./dom.js";
import { BulkBar, onChanged } from "./forms.js";
import { checkIps, resetIps, retireIps } from "./ip_changes.js";
import { made, newTable, Table } from "./table.js";
import { showTrace, statusTag } from "./traces.js";
import { keepForm } from "./url.js";

const LOOKUPS_MAX = 12; // unhealthy IPs whose last error is loaded at a time

const nameOf = (ip) => `${ip.ip_address}:${ip.ip_port}`;
const MOODS = { available: "good", locked: null, cooldown: null, failed: "bad" };
const ipStatus = (ip) => made(ip.status, () => tag(ip.status, MOODS[ip.status]));
const opener = (ip) => made(nameOf(ip), () => button(nameOf(ip), () => showIp(ip.id), { class: "link" }));

function fact(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

export async function showIp(id) {
  let found;
  try {
    found = await get(`/api/ips/${id}`);
  } catch (trouble) {
    detail("An IP", h("p", { class: "trouble" }, trouble.message));
    return;
  }
  const { ip, traces, last_failure: failure } = found;
  const facts = h(
    "dl",
    { class: "facts" },
    fact("Status", tag(ip.status, MOODS[ip.status])),
    fact("Country", ip.country),
    fact("Provider", ip.provider),
    fact("Uses", number(ip.total_uses)),
    fact("Succeeded", percent(ip.success_count, ip.success_count + ip.failure_count)),
    fact("Failed in a row", number(ip.consecutive_failures)),
    fact("Mean time", ms(ip.avg_response_time_ms)),
    fact("Last used", when(ip.last_used_at)),
    fact("Unavailable until", when(ip.locked_until)),
    fact("Leases", number(ip.lease_no)),
    fact("Node", ip.owner ?? "nobody yet"),
  );
  const parts = newTable("ip-traces", "Its latest traces", ["Began", "Offer", "Status", "#Took", "#Bytes", "Why it failed"], "Filter its traces");
  const last = failure ? h("p", { class: "outcome", "data-mood": "bad" }, `Last failure at ${when(failure.at)}: ${failure.why}`) : null;
  const acts = h(
    "div",
    { class: "answers", "data-needs": "write" },
    ip.is_healthy && ip.status !== "failed" ? null : button("Reset", () => resetIps("ip-outcome", { ids: [ip.id] })),
    button("Check", () => checkIps("ip-outcome", [ip.id])),
    button("Retire", () => retireIps("ip-outcome", { ids: [ip.id] })),
  );
  const done = h("p", { class: "outcome", id: "ip-outcome", role: "status" });
  detail(`IP ${nameOf(ip)}`, ...[facts, last].filter(Boolean), acts, done, h("h3", {}, "Its latest traces"), ...parts);
  new Table(
    "ip-traces",
    [
      (trace) => made(trace.request_id, () => button(when(trace.created_at), () => showTrace(trace.request_id), { class: "link" })),
      (trace) => trace.offer_name,
      (trace) => statusTag(trace.status),
      (trace) => ms(trace.trace_time_ms),
      (trace) => bytes(trace.bytes_received),
      (trace) => trace.error_message ?? "",
    ],
    { key: (trace) => trace.request_id, empty: "No recorded trace used this IP." },
  ).show(traces);
}

export class AllIps {
  constructor() {
    this.items = [];
    this.table = new Table(
      "ips",
      [opener, ipStatus, (ip) => ip.provider, (ip) => number(ip.total_uses), (ip) => number(ip.consecutive_failures), (ip) => ms(ip.avg_response_time_ms), (ip) => when(ip.last_used_at), (ip) => ip.owner ?? "nobody yet"],
      { key: (ip) => ip.id, empty: "No IP matches." },
    );
    this.bar = new BulkBar(this.table, "IPs", (ip) => ip.id, [
      ["Reset", () => resetIps("ips-outcome", this.filters())],
      ["Check", async () => checkIps("ips-outcome", await this.ids())],
      ["Retire", () => retireIps("ips-outcome", this.filters())],
    ]);
    onChanged("ips", () => this.load());
    document.addEventListener("country", ({ detail: country }) => {
      this.country = country;
      this.load();
    });
    $("ips-details").addEventListener("toggle", () => this.load());
    $("ips-form").addEventListener("input", () => this.load());
    keepForm($("ips-form"), "ips");
    $("ips-more").addEventListener("click", () => this.load(this.next));
  }

  filters() {
    const given = [...new FormData($("ips-form"))].filter(([, value]) => value);
    return { country: this.country, ...Object.fromEntries(given) };
  }

  /** The ids of all IPs that the filters show, on other pages too. */
  async ids() {
    const found = [];
    let cursor = null;
    try {
      do {
        const page = await get("/api/ips", { sort: "ip", limit: 500, cursor, ...this.filters() });
        found.push(...page.items.map((ip) => ip.id));
        cursor = page.next;
      } while (cursor);
    } catch {
      return this.table.visible().map((ip) => ip.id); // the check says what is wrong
    }
    return found;
  }

  async load(cursor = null) {
    if (!$("ips-details").open || !this.country) return;
    try {
      const page = await get("/api/ips", { sort: "ip", limit: 100, cursor, ...this.filters() });
      this.items = cursor ? [...this.items, ...page.items] : page.items;
      this.next = page.next;
      this.table.empty = "No IP matches.";
    } catch (trouble) {
      this.items = [];
      this.next = null;
      this.table.empty = trouble.message;
    }
    this.table.show(this.items);
    this.bar.count(this.next ? `All IPs of the filter, ${number(this.items.length)} of which are shown:` : "");
    $("ips-more").hidden = !this.next;
  }
}

export class Unhealthy {
  constructor() {
    this.whys = new Map();
    this.table = new Table(
      "sick",
      [
        opener,
        (ip) => ip.country,
        (ip) => ip.provider,
        (ip) => number(ip.consecutive_failures),
        (ip) => `${number(ip.failure_count)} of ${number(ip.failure_count + ip.success_count)}`,
        (ip) => this.why(ip),
        (ip) => made("reset", () => button("Reset", () => resetIps("reset-outcome", { ids: [ip.id] }), { "aria-label": `Reset ${nameOf(ip)}` })),
      ],
      { key: (ip) => ip.id, empty: "Every IP is healthy.", classes: [null, null, null, null, null, "why"] },
    );
    new BulkBar(this.table, "IPs", (ip) => ip.id, [
      ["Reset", (ids) => resetIps("reset-outcome", { ids })],
      ["Check", (ids) => checkIps("reset-outcome", ids)],
      ["Retire", (ids) => retireIps("reset-outcome", { ids })],
    ]);
    onChanged("ips", () => this.load());
  }

  status({ countries }) {
    const [all, failed] = [Object.values(countries).some((c) => c.total), Object.values(countries).map((c) => c.failed).join()];
    this.healthy = all ? "Every IP is healthy." : "No IPs yet.";
    this.table.empty = this.healthy;
    if (failed !== this.failed) {
      this.failed = failed;
      setTimeout(() => this.load(), 500); // when the row has changed too
    }
  }

  why(ip) {
    return this.whys.get(`${ip.id} ${ip.lease_no}`) ?? ip.notes ?? "loading";
  }

  async load() {
    try {
      this.items = (await get("/api/ips", { healthy: false, sort: "-failures", limit: 200 })).items;
      this.table.empty = this.healthy ?? "";
    } catch (trouble) {
      this.items = [];
      this.table.empty = trouble.message;
    }
    this.table.show(this.items);
    this.lookUp();
  }

  async lookUp() {
    const unknown = this.items.filter((ip) => !this.whys.has(`${ip.id} ${ip.lease_no}`)).slice(0, LOOKUPS_MAX);
    for (const ip of unknown) {
      try {
        const { traces, last_failure: failure } = await get(`/api/ips/${ip.id}`);
        const error = failure?.why ?? traces.find((trace) => trace.error_message)?.error_message;
        this.whys.set(`${ip.id} ${ip.lease_no}`, error ?? (ip.failure_count ? "failed before this daemon started" : "marked unhealthy by hand"));
      } catch {
        return; // the next load tries again
      }
    }
    if (unknown.length) this.table.show(this.items);
  }
}
