// The range of the curves: a length up to now, or a part of the past that was zoomed into. It is kept in the URL.

import { $, announce, period } from "./dom.js";
import { fromUrl, toUrl } from "./url.js";

const HOUR_S = 3600;
const DAY_S = 86400;
const LENGTHS = {
  "15m": ["15 minutes", 900],
  "1h": ["hour", HOUR_S],
  "6h": ["6 hours", 6 * HOUR_S],
  "24h": ["24 hours", DAY_S],
  "7d": ["7 days", 7 * DAY_S],
  "30d": ["30 days", 30 * DAY_S],
};
const USUAL = "1h";
const SHORTEST_S = 300;
const LONGEST_S = 30 * DAY_S;
const iso = (at_s) => new Date(at_s * 1000).toISOString().replace(".000Z", "Z");
const now_s = () => Date.now() / 1000;

export class Ranges {
  constructor(changed) {
    this.changed = changed;
    this.name = Object.hasOwn(LENGTHS, fromUrl("range")) ? fromUrl("range") : USUAL;
    const [since, until] = [Date.parse(fromUrl("from")) / 1000, Date.parse(fromUrl("to")) / 1000];
    this.part = until - since >= 1 ? { since, until } : null; // null: up to now
    for (const button of this.buttons()) button.addEventListener("click", () => this.choose(button.dataset.range));
    $("zoom-in").addEventListener("click", () => this.scale(0.5));
    $("zoom-out").addEventListener("click", () => this.scale(2));
    $("earlier").addEventListener("click", () => this.shift(-1));
    $("later").addEventListener("click", () => this.shift(1));
    this.mark();
  }

  buttons() {
    return document.querySelectorAll("[data-range]");
  }

  get isLive() {
    return this.part === null;
  }

  get length() {
    return this.part ? this.part.until - this.part.since : LENGTHS[this.name][1];
  }

  /** {since, until} in seconds since 1970. */
  get now() {
    return this.part ?? { since: now_s() - this.length, until: now_s() };
  }

  get words() {
    return this.part ? "in this range" : `in the last ${LENGTHS[this.name][0]}`;
  }

  /** The query of GET /api/history. */
  get query() {
    const { since, until } = this.now;
    return this.part ? { since: iso(since), until: iso(until) } : { since: iso(Math.floor(since)) };
  }

  choose(name) {
    this.name = name;
    this.set(null);
  }

  /** Shows a part of the past, of at least SHORTEST_S and not after now. */
  zoom(since, until) {
    const length = Math.min(LONGEST_S, Math.max(SHORTEST_S, until - since));
    const middle = (since + until) / 2;
    const end = Math.min(now_s(), middle + length / 2);
    this.set({ since: Math.round(end - length), until: Math.round(end) });
  }

  scale(by) {
    const { since, until } = this.now;
    const half = ((until - since) * by) / 2;
    const middle = this.isLive ? until - half : (since + until) / 2;
    this.zoom(middle - half, middle + half);
  }

  shift(by) {
    const { since, until } = this.now;
    const step = ((until - since) / 2) * by;
    this.zoom(since + step, until + step);
  }

  set(part) {
    this.part = part;
    toUrl({ range: this.name === USUAL ? "" : this.name, from: part && iso(part.since), to: part && iso(part.until) });
    this.mark();
    announce(part ? `Curves of ${period(part.since, part.until)}` : `Curves of the last ${LENGTHS[this.name][0]}`);
    this.changed();
  }

  mark() {
    for (const button of this.buttons()) button.setAttribute("aria-pressed", String(this.isLive && button.dataset.range === this.name));
    $("zoom-in").disabled = this.length <= SHORTEST_S;
    $("zoom-out").disabled = this.length >= LONGEST_S;
    $("later").disabled = this.isLive;
  }
}
