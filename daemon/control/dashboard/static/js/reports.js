// Reports: the groups and figures of tracepool report, and the rows as CSV.

import { get, save } from "./api.js";
import { $, announce, bytes, dollars, h, ms, number, percent, setText } from "./dom.js";
import { newTable, Table } from "./table.js";
import { keepForm } from "./url.js";

const DAY_MS = 86_400_000;
const KEYS = { "": ["offer", "country"], offer: ["offer"], country: ["country"], provider: ["provider"], day: ["day"], reason: ["reason"] };
const TITLES = { offer: "Offer", country: "Country", provider: "Provider", day: "Day (UTC)", reason: "Outcome" };
const FIGURES = [
  ["#Clicks", (row) => number(row.figures.clicks), (row) => row.figures.clicks],
  ["#Landed", (row) => number(row.figures.landed), (row) => row.figures.landed],
  ["#Share", (row) => percent(row.figures.landed, row.figures.clicks), (row) => (row.figures.clicks ? row.figures.landed / row.figures.clicks : null)],
  ["Fallbacks", (row) => reasonsOf(row.figures), (row) => row.figures.clicks - row.figures.landed],
  ["#Background", (row) => number(row.figures.background), (row) => row.figures.background],
  ["#Repeats", (row) => number(row.figures.repeats), (row) => row.figures.repeats],
  ["#Previews", (row) => number(row.figures.previews), (row) => row.figures.previews],
  ["#Wait p50", (row) => ms(row.figures.wait_p50_ms), (row) => row.figures.wait_p50_ms],
  ["#Wait p95", (row) => ms(row.figures.wait_p95_ms), (row) => row.figures.wait_p95_ms],
  ["#Traces", (row) => number(row.figures.traces), (row) => row.figures.traces],
  ["#Bytes", (row) => bytes(sizeOf(row)), (row) => sizeOf(row)],
  ["#Cost", (row) => dollars(row.figures.cost), (row) => row.figures.cost],
];

const sizeOf = ({ figures }) => figures.bytes_received + figures.bytes_sent;
const reasonsOf = ({ fallbacks }) => Object.entries(fallbacks).sort(([, a], [, b]) => b - a).map(([reason, count]) => `${reason} ${number(count)}`).join(", ");
const dayOf = (time) => new Date(time).toISOString().slice(0, 10);

export class Reports {
  constructor() {
    this.form = $("report-form");
    keepForm(this.form, "report");
    this.form.addEventListener("input", () => this.own());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.show();
    });
    for (const press of document.querySelectorAll("[data-csv]")) press.addEventListener("click", () => this.download(press));
    this.own();
  }

  /** Shown once at first; then when it is asked for. */
  load() {
    if (!this.shownOnce) this.show();
  }

  own() {
    for (const label of document.querySelectorAll(".own-days")) label.hidden = this.form.days.value !== "own";
  }

  /** Whole days of UTC, as `tracepool report` has them; the present one as far as it has come. */
  window() {
    const today = Date.parse(dayOf(Date.now()));
    const days = this.form.days.value;
    let [first, last] = [today - (Number(days) - 1) * DAY_MS, null];
    if (days === "yesterday") [first, last] = [today - DAY_MS, today - DAY_MS];
    if (days === "own") [first, last] = [Date.parse(this.form.from.value), this.form.to.value ? Date.parse(this.form.to.value) : null];
    return { since: Number.isNaN(first) ? null : new Date(first).toISOString(), until: last === null ? null : new Date(last + DAY_MS).toISOString() };
  }

  say(text, mood = "bad") {
    setText($("report-outcome"), text);
    $("report-outcome").dataset.mood = mood;
  }

  async show() {
    this.shownOnce = true;
    const by = this.form.by.value;
    this.say("");
    $("report-table").setAttribute("aria-busy", "true");
    try {
      this.draw(by, await get("/api/reports", { by, ...this.window() }));
    } catch (trouble) {
      this.say(trouble.message);
    } finally {
      $("report-table").removeAttribute("aria-busy");
    }
  }

  draw(by, report) {
    const keys = KEYS[by];
    $("report-table").replaceChildren(...newTable("report", "The report", [...keys.map((key) => TITLES[key]), ...FIGURES.map(([title]) => title)], "Filter the report"));
    const table = new Table("report", [...keys.map((key) => (row) => row[key] ?? `no ${key === "reason" ? "click" : key}`), ...FIGURES.map(([, cell]) => cell)], {
      key: (row) => keys.map((key) => row[key] ?? "").join("\n"),
      empty: "No click and no trace in this time.",
      classes: [...keys.map(() => "long"), null, null, null, "reasons"],
      orders: [...keys.map((key) => (row) => row[key]), ...FIGURES.map(([, , order]) => order)],
    });
    table.show(report.items);
    const { total } = report;
    const part = (value, name) => h("span", {}, h("strong", {}, value), ` ${name}`);
    const sums = [
      part(number(total.clicks), "clicks"),
      part(percent(total.landed, total.clicks), "landed"),
      part(number(total.clicks - total.landed), "fallbacks"),
      total.background ? part(number(total.background), "background clicks") : null,
      part(ms(total.wait_p50_ms), "wait p50"),
      part(ms(total.wait_p95_ms), "wait p95"),
      part(number(total.traces), "traces"),
      part(bytes(total.bytes_received + total.bytes_sent), "bytes"),
      part(dollars(total.cost), "cost"),
    ];
    $("report-sums").replaceChildren(...sums.filter(Boolean));
    if (report.left_out) this.say(`${number(report.left_out)} more groups are only in the sums: choose a shorter time, or another grouping.`);
  }

  async download(press) {
    const name = press.dataset.csv;
    const { since, until } = this.window();
    press.disabled = true;
    this.say(`The file ${name}.csv is on its way.`, "");
    try {
      const size = await save(`/api/reports/${name}.csv`, { since, until, ...(name === "report" ? { by: this.form.by.value } : {}) }, `tracepool-${name}-${since ? dayOf(since) : "all"}.csv`);
      this.say(`The file ${name}.csv has ${bytes(size)}.`, "");
      announce(`Downloaded ${name}.csv`);
    } catch (trouble) {
      this.say(trouble.message);
    } finally {
      press.disabled = false;
    }
  }
}
