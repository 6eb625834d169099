// The picture of a pool: one canvas with a cell for each IP, by colour and shape, for mouse and keyboard.

import { get } from "./api.js";
import { $, number, h, isLive, setText, shown } from "./dom.js";
import { lead, NO_IPS } from "./first_run.js";
import { showIp } from "./ips.js";
import { fromUrl, toUrl } from "./url.js";

const EVERY_MS = 1000;
const PAGE = 5000;
const IN_URL = "ips.country";
const NAMES = { a: "available", l: "locked", c: "cooldown", f: "failed" };

export class Cells {
  constructor() {
    this.canvas = $("cells");
    this.states = "";
    this.ips = [];
    this.revision = "";
    this.chosen = -1;
    this.start = 0;
    $("cells-country").addEventListener("change", () => this.pick($("cells-country").value));
    $("cells-page").addEventListener("change", () => this.select(this.country, Number($("cells-page").value)));
    this.canvas.addEventListener("mousemove", (event) => this.choose(this.under(event), false));
    this.canvas.addEventListener("click", (event) => this.open(this.under(event)));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe($("cells-box"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    setInterval(() => this.refresh(), EVERY_MS);
  }

  status({ node: { countries } }) {
    const names = Object.keys(countries).filter((name) => countries[name].total);
    this.isEmpty(names.length === 0);
    const select = $("cells-country");
    if ([...select.options].map((option) => option.value).join() !== names.join()) {
      select.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
      if (names.includes(this.country)) select.value = this.country;
    }
    if (!names.includes(this.country) && names.length) {
      const largest = names.reduce((a, b) => (countries[b].total > countries[a].total ? b : a));
      const given = fromUrl(IN_URL);
      select.value = names.includes(given) ? given : largest;
      this.select(select.value, 0);
    }
  }

  pick(country) {
    toUrl({ [IN_URL]: country });
    this.select(country, 0);
  }

  isEmpty(isSo) {
    if (isSo === !$("cells-empty").hidden) return;
    for (const part of $("picture").querySelectorAll(".tools, .cells, .readout")) part.hidden = isSo;
    $("cells-empty").hidden = !isSo;
    if (isSo) $("cells-empty").replaceChildren(lead("No IPs yet.", NO_IPS));
  }

  select(country, start) {
    Object.assign(this, { country, start, revision: "", chosen: -1 });
    document.dispatchEvent(new CustomEvent("country", { detail: country }));
    this.refresh();
  }

  async refresh() {
    if (!isLive()) this.revision = ""; // the daemon may have been restarted when it is reached again
    if (!this.country || document.hidden || this.loading || !isLive()) return;
    const { country, start } = this;
    this.loading = true;
    try {
      const found = await get(`/api/pools/${encodeURIComponent(country)}/cells`, { start, known: this.revision });
      if (country !== this.country || start !== this.start) return;
      if (found.ips) this.ips = found.ips;
      Object.assign(this, { revision: found.revision, states: found.states, total: found.total });
      this.pages();
      this.draw();
    } catch {
      this.revision = ""; // the indicator at the top shows that the page is not live
    } finally {
      this.loading = false;
    }
  }

  pages() {
    const select = $("cells-page");
    const pages = Math.max(1, Math.ceil(this.total / PAGE));
    if (select.options.length !== pages) {
      const names = Array.from({ length: pages }, (_, at) => h("option", { value: at * PAGE }, `${at + 1} of ${pages}`));
      select.replaceChildren(...names);
      select.value = this.start;
    }
    select.parentElement.hidden = pages === 1;
    const tally = { a: 0, l: 0, c: 0, f: 0 };
    for (const state of this.states) tally[state] += 1;
    const summary = Object.entries(tally).filter(([, n]) => n).map(([state, n]) => `${n} ${NAMES[state]}`).join(", ");
    $("cells-total").textContent = `${number(this.total)} IPs`;
    this.canvas.setAttribute("aria-label", shown(`Pool of ${this.country}, ${this.total} IPs: ${summary || "none"}`));
  }

  layout() {
    const width = Math.max(100, $("cells-box").clientWidth - 16);
    const side = [26, 20, 16, 13, 10, 8, 7].find((size) => Math.floor(width / size) * Math.floor(300 / size) >= this.states.length) ?? 7;
    const columns = Math.max(1, Math.floor(width / side));
    return { width, side, columns, height: Math.max(1, Math.ceil(this.states.length / columns)) * side };
  }

  draw() {
    const { width, side, columns, height } = this.layout();
    const scale = devicePixelRatio || 1;
    const { canvas } = this;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.height = `${height}px`;
    }
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const colours = { a: colour("available"), l: colour("locked"), c: colour("cooldown"), f: colour("failed") };
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    [...this.states].forEach((state, at) => {
      shape(pen, state, (at % columns) * side, Math.floor(at / columns) * side, side, colours[state]);
    });
    if (this.chosen >= 0 && this.chosen < this.states.length) {
      pen.strokeStyle = colour("ink");
      pen.lineWidth = 2;
      pen.strokeRect((this.chosen % columns) * side, Math.floor(this.chosen / columns) * side, side - 1, side - 1);
      if (document.activeElement === canvas || this.pointed) this.showReadout();
    }
  }

  under(event) {
    const { side, columns } = this.layout();
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / side);
    const at = Math.floor((event.clientY - box.top) / side) * columns + column;
    return column < columns && at < this.states.length ? at : -1;
  }

  choose(at, byKey = true) {
    if (at < 0 || at === this.chosen) return;
    this.chosen = at;
    this.pointed = !byKey;
    this.draw();
    this.showReadout();
    if (byKey) {
      const { side, columns } = this.layout();
      const top = Math.floor(at / columns) * side;
      const box = $("cells-box");
      if (top < box.scrollTop) box.scrollTop = top;
      if (top + side > box.scrollTop + box.clientHeight - 16) box.scrollTop = top + side - box.clientHeight + 16;
    }
  }

  showReadout() {
    const text = `${this.ips[this.chosen]?.name ?? "?"}: ${NAMES[this.states[this.chosen]]}`;
    setText($("cells-readout"), text);
  }

  key(event) {
    const { columns } = this.layout();
    const last = this.states.length - 1;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      event.preventDefault();
      this.choose(Math.min(last, Math.max(0, this.chosen < 0 ? 0 : this.chosen + steps[event.key])));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.open(this.chosen);
    }
  }

  open(at) {
    if (at >= 0 && this.ips[at]) showIp(this.ips[at].id);
  }
}

/** Available is a frame, locked full, cooldown half, failed a cross: the shapes differ without colours. */
function shape(pen, state, x, y, side, colour) {
  const gap = side > 9 ? 2 : 1;
  const size = side - gap;
  pen.fillStyle = pen.strokeStyle = colour;
  if (state === "l") {
    pen.fillRect(x, y, size, size);
  } else if (state === "c") {
    pen.globalAlpha = 0.3;
    pen.fillRect(x, y, size, size);
    pen.globalAlpha = 1;
    pen.beginPath();
    pen.moveTo(x, y + size);
    pen.lineTo(x + size, y + size);
    pen.lineTo(x + size, y);
    pen.fill();
  } else if (state === "f") {
    pen.lineWidth = Math.max(1.5, size / 6);
    pen.beginPath();
    pen.moveTo(x + 1, y + 1);
    pen.lineTo(x + size - 1, y + size - 1);
    pen.moveTo(x + size - 1, y + 1);
    pen.lineTo(x + 1, y + size - 1);
    pen.stroke();
  } else {
    pen.globalAlpha = 0.22;
    pen.fillRect(x, y, size, size);
    pen.globalAlpha = 1;
    pen.lineWidth = side > 12 ? 1.5 : 1;
    pen.strokeRect(x + 0.75, y + 0.75, size - 1.5, size - 1.5);
  }
}
