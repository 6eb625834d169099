// A table that is updated often: rows are kept by key, and a cell changes only if its content did.

import { $, h, s, shown } from "./dom.js";

export class Table {
  /** columns: functions from an item to the text of its cell, or to {mark, node}; the first one is the row's header. */
  constructor(id, columns, { key, empty, row = () => {}, classes = [] }) {
    Object.assign(this, { id, columns, key, empty, row, classes, rows: new Map() });
    this.table = typeof id === "string" ? $(id) : id;
    this.body = this.table.tBodies[0];
    this.body.replaceChildren();
    this.filter = document.querySelector(`[data-filters="${this.table.id}"]`);
    this.matches = document.querySelector(`[data-matches="${this.table.id}"]`);
    this.filter?.addEventListener("input", () => this.sift());
    this.show([]);
  }

  show(items) {
    const wanted = new Map(items.map((item) => [String(this.key(item)), item]));
    for (const [key, row] of this.rows) {
      if (!wanted.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
    let before = null;
    for (const [key, item] of wanted) {
      let row = this.rows.get(key);
      if (!row) {
        row = h("tr", { "data-key": key }, ...this.columns.map((_, at) => this.cell(at)));
        this.rows.set(key, row);
      }
      this.fill(row, item);
      const next = before ? before.nextSibling : this.body.firstChild;
      if (next !== row) this.body.insertBefore(row, next);
      before = row;
    }
    this.sift();
  }

  cell(at) {
    const name = this.classes[at] ?? (this.table.tHead.rows[0].cells[at].classList.contains("number") ? "number" : null);
    return at ? h("td", { class: name }) : h("th", { scope: "row", class: name });
  }

  fill(row, item) {
    this.columns.forEach((column, at) => {
      const content = column(item);
      const cell = row.cells[at];
      const mark = content?.mark ?? String(content ?? "–");
      if (cell.mark === mark) return;
      cell.mark = mark;
      cell.replaceChildren(content?.node ? content.node() : shown(mark));
    });
    this.row(row, item);
  }

  sift() {
    const wanted = (this.filter?.value ?? "").trim().toLowerCase();
    let found = 0;
    for (const row of this.rows.values()) {
      row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      found += row.hidden ? 0 : 1;
    }
    if (this.matches) this.matches.textContent = wanted ? `${found} of ${this.rows.size}` : "";
    this.nothing?.remove();
    if (!found) {
      const text = this.rows.size ? "Nothing matches the filter." : this.empty;
      this.nothing = h("tr", {}, h("td", { class: "none", colspan: this.columns.length }, text));
      this.body.append(this.nothing);
    }
  }
}

/** A cell with an element, which is made again only if `mark` changed. */
export const made = (mark, node) => ({ mark: String(mark), node });

/** A table for a dialog, with a scroll area and a filter like the page's own tables. */
export function newTable(id, caption, columns, label) {
  const head = columns.map((name) => h("th", { scope: "col", class: name.startsWith("#") ? "number" : null }, name.replace("#", "")));
  const table = h("table", { id }, h("caption", {}, caption), h("thead", {}, h("tr", {}, ...head)), h("tbody"));
  const search = h("input", { type: "search", "data-filters": id, "aria-label": label, autocomplete: "off", placeholder: "Filter" });
  return [
    h("div", { class: "tools sift" }, h("span", { class: "matches", "data-matches": id }), search),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table),
  ];
}

/** A row of rectangles, each [class, x, width] of 100. */
export function strip(name, label, rectangles, attributes = {}) {
  const drawn = rectangles.map(([style, x, width, more]) => s("rect", { class: style, x, y: 0, width: Math.max(0, width), height: 10, ...more }));
  return s("svg", { class: name, viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": label, ...attributes }, ...drawn);
}
