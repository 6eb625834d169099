// Curves of the last hour or day: clicks, fallbacks by reason, wait and trace times against the deadline.

import { get } from "./api.js";
import { $, ms, number, percent, tick, when, words } from "./dom.js";

const EVERY_MS = 5000;
const HEIGHT = 170;
const DASHES = [[], [6, 3], [2, 3], [10, 4], [8, 3, 2, 3], [4, 4]];
const PERCENTS = ["p50", "p95", "p99"];
const POWERS = [1, 10, 100, 1000, 10000, 100000];
const YOUNG_S = 600; // the shortest time shown after a start of the daemon

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

class Chart {
  /** lines: [label, colour, fill]. `mark`: the value of a horizontal line, such as the deadline. */
  constructor(id, lines, { value, log = false }) {
    Object.assign(this, { place: $(id), lines, value, log, data: null, mark: null });
    new ResizeObserver(() => this.resize()).observe(this.place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.build());
  }

  build() {
    this.plot?.destroy();
    if (!this.data) return;
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1, size: 4 }, font: "12px system-ui" };
    const values = (_, all) => all.map((value) => (value === null ? "" : this.value(value)));
    const scale = this.log ? { distr: 3, range: (_, low, high) => [Math.min(low ?? 10, 10), Math.max(high ?? 0, this.mark ?? 0) * 4] } : { range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.1] };
    const options = {
      width: this.place.clientWidth,
      height: HEIGHT,
      scales: { x: { time: true, range: (_, low, high) => [Math.max(low, this.from ?? low), high] }, y: scale },
      axes: [{ ...axis, space: 58, size: 30, values: (_, all) => all.map((at) => tick(at)) }, { ...axis, size: 58, values, ...(this.log ? { splits: (plot) => POWERS.filter((power) => power >= plot.scales.y.min && power <= plot.scales.y.max), filter: (_, all) => all } : {}) }],
      series: [{ label: "Time", value: (_, at) => when(at) }, ...this.lines.map((line, at) => this.series(line, at))],
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      hooks: { draw: [(plot) => this.drawMark(plot)] },
    };
    this.plot = new uPlot(options, this.data, this.place);
  }

  series([label, name, fill], at) {
    const stroke = colour(name);
    return { label, stroke, width: 1.75, dash: DASHES[at % DASHES.length], fill: fill ? `${stroke}26` : undefined, points: { size: 4 }, value: (_, value) => (value === null ? "–" : this.value(value)) };
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
    const rate = (value) => number(value, value < 10 ? 1 : 0);
    this.rate = new Chart("chart-rate", [["All", "s1", true], ["Resolved", "s3"], ["Fallbacks", "s2"]], { value: rate });
    this.fallbacks = new Chart("chart-fallbacks", [], { value: rate });
    const times = [["p50", "s1"], ["p95", "s4"], ["p99", "s5"]];
    this.wait = new Chart("chart-wait", times, { value: ms, log: true });
    this.trace = new Chart("chart-trace", times, { value: ms, log: true });
    this.span = "hour";
    for (const button of document.querySelectorAll("[data-span]")) {
      button.addEventListener("click", () => {
        this.span = button.dataset.span;
        for (const other of document.querySelectorAll("[data-span]")) other.setAttribute("aria-pressed", String(other === button));
        this.refresh();
      });
    }
    setInterval(() => this.refresh(), EVERY_MS);
    this.refresh();
  }

  async refresh() {
    if (document.hidden) return;
    const { span } = this;
    const node = this.node();
    let found;
    try {
      found = await get("/api/history", { span, node });
    } catch {
      return; // the indicator at the top shows that the page is not live
    }
    if (span === this.span && node === this.node()) this.draw(found);
  }

  draw(found) {
    for (const chart of [this.rate, this.fallbacks, this.wait, this.trace]) chart.from = Math.min(found.began_s, Date.now() / 1000 - YOUNG_S);
    const { step_s: step, fallbacks } = found;
    const reasons = Object.entries(fallbacks).filter(([, counts]) => counts.some((n) => n > 0));
    const at = found.resolved.map((_, bucket) => found.from_s + bucket * step).slice(0, -1);
    const known = (values) => values.slice(0, -1).map((value, bucket) => (at[bucket] + step > found.began_s ? value : null));
    const fell = found.resolved.map((_, bucket) => Object.values(fallbacks).reduce((sum, counts) => sum + counts[bucket], 0));
    const all = found.resolved.map((n, bucket) => n + fell[bucket] + found.left[bucket]);
    const perSecond = (counts) => known(smoothed(counts, step).map((n) => n / step));
    this.rate.show([at, perSecond(all), perSecond(found.resolved), perSecond(fell)]);
    const palette = ["s2", "s4", "s3", "s5", "s1", "s6"];
    const lines = reasons.map(([reason], index) => [words(reason), palette[index % palette.length]]);
    const perMinute = (counts) => known(smoothed(counts, step).map((n) => (n * 60) / step));
    if (lines.length) this.fallbacks.show([at, ...reasons.map(([, counts]) => perMinute(counts))], lines);
    else this.fallbacks.show([at, known(fell)], [["none", "s6"]]);
    this.times(found);
    this.showSums(found, all, fell, reasons);
  }

  times(found) {
    const at = found.wait_ms.p50.map((_, minute) => found.minutes_from_s + minute * 60);
    for (const [chart, values] of [[this.wait, found.wait_ms], [this.trace, found.trace_ms]]) {
      chart.mark = found.deadline_ms;
      chart.show([at, ...PERCENTS.map((name) => values[name].map((value) => (value === null ? null : Math.max(1, value))))]);
    }
    const latest = (values) => PERCENTS.map((name) => values[name].findLast((value) => value !== null));
    const summary = (values) => latest(values).map(ms).join(" / ");
    const line = `dotted red: the deadline, ${ms(found.deadline_ms)}`;
    $("wait-words").textContent = `Wait times of visitors, p50 / p95 / p99: ${summary(found.wait_ms)}; ${line}`;
    $("trace-words").textContent = `Trace times, p50 / p95 / p99: ${summary(found.trace_ms)}; ${line}`;
  }

  showSums(found, all, fell, reasons) {
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    const of = this.span === "hour" ? "last hour" : "last day";
    $("rate-words").textContent = `Clicks per second: ${number(sum(all))} clicks in the ${of}, ${percent(sum(fell), sum(all))} fell back`;
    const each = reasons.map(([reason, counts]) => `${words(reason)} ${number(sum(counts))}`).join(", ");
    $("fallback-words").textContent = `Fallbacks by reason, per minute: ${each || `none in the ${of}`}`;
  }
}

/** The mean of three steps of 5 s, so that few clicks make a curve; minutes stay as they are. */
function smoothed(counts, step) {
  if (step >= 60) return counts;
  return counts.map((n, at) => (at > 1 ? (n + counts[at - 1] + counts[at - 2]) / 3 : n));
}
