// Curves of clicks, fallbacks by reason, wait and trace times against the deadline. A drag over a curve zooms.

import { get } from "./api.js";
import { $, clock, isLive, ms, number, percent, period, setText, tick, when, words, zone } from "./dom.js";
import { Ranges } from "./ranges.js";

const EVERY_MS = 5000;
const EVERY_LONG_MS = 30000; // for more than an hour
const EVERY_DAYS_MS = 120000;
const HEIGHT = 170;
const DASHES = [[], [6, 3], [2, 3], [10, 4], [8, 3, 2, 3], [4, 4]];
const RATES = [["All", "s1", true], ["Resolved", "s3"], ["Fallbacks", "s2"]];
const PERCENTS = ["p50", "p95", "p99"];
const POWERS = [1, 10, 100, 1000, 10000, 100000];
const DAY_S = 86400;
const YOUNG_S = 600; // the shortest time shown after a start of the daemon

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const sum = (values) => values.reduce((a, b) => a + b, 0);

class Chart {
  /** lines: [label, colour, fill]. `mark`: the value of a horizontal line, such as the deadline. `zoomed(since, until)`. */
  constructor(id, lines, zoomed, { value, log = false }) {
    Object.assign(this, { place: $(id), lines, zoomed, value, log, data: null, mark: null });
    new ResizeObserver(() => this.resize()).observe(this.place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.build());
    document.addEventListener("zone", () => this.build());
  }

  build() {
    this.plot?.destroy();
    if (!this.data) return;
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1, size: 4 }, font: "12px system-ui" };
    const values = (_, all) => all.map((value) => (value === null ? "" : this.value(value)));
    const scale = this.log ? { distr: 3, range: (_, low, high) => [Math.min(low ?? 10, 10), Math.max(high ?? 0, this.mark ?? 0) * 4] } : { range: (_, low, high) => [0, (high || 1) * 1.1] };
    const times = (_, all) => all.map((at) => tick(at, (all[1] ?? 0) - all[0] >= DAY_S / 2));
    const options = {
      width: this.place.clientWidth,
      height: HEIGHT,
      tzDate: (at) => (zone() === "utc" ? uPlot.tzDate(new Date(at * 1000), "Etc/UTC") : new Date(at * 1000)),
      scales: { x: { time: true, range: () => [this.from, this.to] }, y: scale },
      axes: [{ ...axis, space: 58, size: 30, values: times }, { ...axis, size: 58, values, ...(this.log ? { splits: (plot) => POWERS.filter((power) => power >= plot.scales.y.min && power <= plot.scales.y.max), filter: (_, all) => all } : {}) }],
      series: [{ label: "Time", value: (_, at) => when(at) }, ...this.lines.map((line, at) => this.series(line, at))],
      cursor: { drag: { x: true, y: false, setScale: false, dist: 8 }, points: { size: 6 }, sync: { key: "curves" } },
      hooks: { draw: [(plot) => this.drawMark(plot)], setSelect: [(plot) => this.select(plot)] },
    };
    this.plot = new uPlot(options, this.data, this.place);
  }

  series([label, name, fill], at) {
    const stroke = colour(name);
    return { label, stroke, width: 1.75, dash: DASHES[at % DASHES.length], fill: fill ? `${stroke}26` : undefined, points: { size: 4 }, value: (_, value) => (value === null ? "–" : this.value(value)) };
  }

  select(plot) {
    const { left, width } = plot.select;
    if (width <= 0) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.zoomed(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  }

  drawMark(plot) {
    if (!this.mark) return;
    const y = Math.round(plot.valToPos(this.mark, "y", true));
    const { left, width } = plot.bbox;
    const pen = plot.ctx;
    pen.save();
    pen.strokeStyle = colour("bad");
    pen.lineWidth = devicePixelRatio;
    pen.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    pen.beginPath();
    pen.moveTo(left, y);
    pen.lineTo(left + width, y);
    pen.stroke();
    pen.restore();
  }

  show(data, lines = this.lines) {
    const same = this.plot && lines.length === this.lines.length && lines.every((line, at) => line[0] === this.lines[at][0]);
    Object.assign(this, { data, lines });
    if (same) this.plot.setData(data);
    else this.build();
  }

  resize() {
    if (this.plot && this.plot.width !== this.place.clientWidth) this.plot.setSize({ width: this.place.clientWidth, height: HEIGHT });
  }
}

export class Charts {
  /** node(): the id of the node whose curves are shown, "" for all nodes together. */
  constructor(node) {
    this.node = node;
    this.ranges = new Ranges(() => this.refresh());
    const zoomed = (since, until) => this.ranges.zoom(since, until);
    const rate = (value) => number(value, value < 10 ? 1 : 0);
    this.rate = new Chart("chart-rate", RATES, zoomed, { value: rate });
    this.fallbacks = new Chart("chart-fallbacks", [], zoomed, { value: rate });
    const times = [["p50", "s1"], ["p95", "s4"], ["p99", "s5"]];
    this.wait = new Chart("chart-wait", times, zoomed, { value: ms, log: true });
    this.trace = new Chart("chart-trace", times, zoomed, { value: ms, log: true });
    document.addEventListener("zone", () => this.found && this.showRange());
    this.drawnAt = 0;
    setInterval(() => this.refreshIfDue(), EVERY_MS);
    this.refresh();
  }

  refreshIfDue() {
    const { length } = this.ranges;
    const every_ms = length > DAY_S ? EVERY_DAYS_MS : length > 3600 ? EVERY_LONG_MS : EVERY_MS;
    if (this.ranges.isLive && !document.hidden && isLive() && Date.now() - this.drawnAt >= every_ms - 500) this.refresh();
  }

  async refresh() {
    const asked = (this.asked = {}); // only the answer to the last question is drawn
    try {
      const found = await get("/api/history", { ...this.ranges.query, node: this.node() });
      if (asked === this.asked) this.draw(found);
    } catch (trouble) {
      if (asked === this.asked && trouble.status) setText($("range-words"), trouble.message); // else the banner says it
    }
  }

  draw(found) {
    this.found = found;
    this.drawnAt = Date.now();
    const { since, until } = this.ranges.now;
    const from = this.ranges.isLive ? Math.max(since, Math.min(found.began_s, until - YOUNG_S)) : since;
    for (const chart of [this.rate, this.fallbacks, this.wait, this.trace]) Object.assign(chart, { from, to: until });
    const { step_s: step, fallbacks } = found;
    const reasons = Object.entries(fallbacks).filter(([, counts]) => counts.some((n) => n > 0));
    const at = finished(found.resolved, found.from_s, step);
    const known = (values) => at.map((time, bucket) => (time + step > found.began_s ? values[bucket] : null));
    const fell = found.resolved.map((_, bucket) => sum(Object.values(fallbacks).map((counts) => counts[bucket])));
    const all = found.resolved.map((n, bucket) => n + fell[bucket] + found.left[bucket]);
    const perSecond = (counts) => known(smoothed(counts, step).map((n) => n / step));
    const behind = found.background ?? [];
    const curves = [perSecond(all), perSecond(found.resolved), perSecond(fell)];
    if (sum(behind)) this.rate.show([at, ...curves, perSecond(behind)], [...RATES, ["In the background", "s5"]]);
    else this.rate.show([at, ...curves], RATES);
    const palette = ["s2", "s4", "s3", "s5", "s1", "s6"];
    const lines = reasons.map(([reason], index) => [words(reason), palette[index % palette.length]]);
    const perMinute = (counts) => known(smoothed(counts, step).map((n) => (n * 60) / step));
    if (lines.length) this.fallbacks.show([at, ...reasons.map(([, counts]) => perMinute(counts))], lines);
    else this.fallbacks.show([at, known(fell)], [["none", "s6"]]);
    this.times(found);
    this.showSums(all, fell, reasons);
    this.showRange();
  }

  times(found) {
    const at = finished(found.wait_ms.p50, found.minutes_from_s, found.times_step_s);
    for (const [chart, values] of [[this.wait, found.wait_ms], [this.trace, found.trace_ms]]) {
      chart.mark = found.deadline_ms;
      chart.show([at, ...PERCENTS.map((name) => at.map((_, place) => (values[name][place] === null ? null : Math.max(1, values[name][place]))))]);
    }
    const latest = (values) => PERCENTS.map((name) => values[name].findLast((value) => value !== null));
    const summary = (values) => latest(values).map(ms).join(" / ");
    const line = `dotted red: the deadline, ${ms(found.deadline_ms)}`;
    setText($("wait-words"), `Wait times of visitors, p50 / p95 / p99: ${summary(found.wait_ms)}; ${line}`);
    setText($("trace-words"), `Trace times, p50 / p95 / p99: ${summary(found.trace_ms)}; ${line}`);
  }

  showSums(all, fell, reasons) {
    const { words: range } = this.ranges;
    setText($("rate-words"), sum(all) ? `Clicks per second: ${number(sum(all))} clicks ${range}, ${percent(sum(fell), sum(all))} fell back` : `Clicks per second: no clicks ${range}`);
    const each = reasons.map(([reason, counts]) => `${words(reason)} ${number(sum(counts))}`).join(", ");
    setText($("fallback-words"), `Fallbacks by reason, per minute: ${each || `none ${range}`}`);
  }

  showRange() {
    const { since } = this.ranges.now;
    const began = this.found.began_s > since ? `; recorded since ${clock(this.found.began_s)}` : "";
    setText($("range-words"), `${period(this.rate.from, this.rate.to)}${began}`);
  }
}

/** The times of the buckets that are over; the last one's figures still grow. */
function finished(values, from_s, step_s) {
  const now_s = Date.now() / 1000;
  return values.map((_, bucket) => from_s + bucket * step_s).filter((at) => at + step_s <= now_s);
}

/** The mean of three steps of 5 s, so that few clicks make a curve; minutes stay as they are. */
function smoothed(counts, step) {
  if (step >= 60) return counts;
  return counts.map((n, at) => (at > 1 ? (n + counts[at - 1] + counts[at - 2]) / 3 : n));
}
