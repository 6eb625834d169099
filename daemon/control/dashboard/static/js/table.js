// A table that is updated often: rows are kept by key, and a cell changes only if its content did.

import { $, h, s, shown } from "./dom.js";
import { fromUrl, keepField, toUrl } from "./url.js";

export class Table {
  /**
   * columns: functions from an item to the text of its cell, or to {mark, node}; the first one is the row's header.
   * `orders`: for each column a function from an item to a number or text by which its header sorts, or null.
   * The table's filter and order are kept in the URL as `ID.filter` and `ID.order`, except in dialogs.
   */
  constructor(id, columns, { key, empty, row = () => {}, classes = [], orders = [] }) {
    Object.assign(this, { id, columns, key, empty, row, classes, orders, rows: new Map(), items: [], order: null });
    this.table = typeof id === "string" ? $(id) : id;
    this.table.setAttribute("role", "table"); // as cards, the elements lose their own roles
    this.table.tHead.setAttribute("role", "rowgroup");
    this.table.tHead.rows[0].setAttribute("role", "row");
    this.body = this.table.tBodies[0];
    this.body.setAttribute("role", "rowgroup");
    this.body.replaceChildren();
    this.heads = [...this.table.tHead.rows[0].cells];
    this.titles = this.heads.map((head) => head.textContent);
    this.inUrl = !this.table.closest("dialog");
    this.filter = document.querySelector(`[data-filters="${this.table.id}"]`);
    this.matches = document.querySelector(`[data-matches="${this.table.id}"]`);
    if (this.filter && this.inUrl) keepField(this.filter, `${this.table.id}.filter`);
    this.filter?.addEventListener("input", () => this.sift());
    this.heads.forEach((head, at) => this.head(head, at));
    document.addEventListener("zone", () => this.table.isConnected && this.show(this.items));
    this.show([]);
  }

  head(head, at) {
    head.setAttribute("role", "columnheader");
    if (!this.orders[at]) return;
    const sort = h("button", { type: "button", class: "sort", click: () => this.sort(at) }, this.titles[at]);
    head.replaceChildren(sort);
    const [column, direction] = this.inUrl ? fromUrl(`${this.table.id}.order`).split(",") : [];
    if (column === this.titles[at]) this.turn(at, direction === "desc");
  }

  sort(at) {
    const falls = this.order?.at === at ? !this.order.falls : this.heads[at].classList.contains("number");
    this.turn(at, falls);
    if (this.inUrl) toUrl({ [`${this.table.id}.order`]: `${this.titles[at]}${falls ? ",desc" : ""}` });
    this.show(this.items);
  }

  turn(at, falls) {
    this.order = { at, falls };
    this.heads.forEach((head, other) => (other === at ? head.setAttribute("aria-sort", falls ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
  }

  /** The items in the chosen order; items without a value come last. */
  sorted(items) {
    if (!this.order) return items;
    const value = this.orders[this.order.at];
    const sign = this.order.falls ? -1 : 1;
    const none = (one) => one === null || one === undefined;
    return [...items].sort((first, second) => {
      const [a, b] = [value(first), value(second)];
      if (none(a) || none(b)) return none(a) - none(b);
      return sign * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    });
  }

  show(items) {
    this.items = items;
    const wanted = new Map(this.sorted(items).map((item) => [String(this.key(item)), item]));
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
        row = h("tr", { "data-key": key, role: "row" }, ...this.columns.map((_, at) => this.cell(at)));
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
    const name = this.classes[at] ?? (this.heads[at].classList.contains("number") ? "number" : null);
    const more = { class: name, "data-label": this.titles[at], "data-needs": this.heads[at].dataset.needs };
    return at ? h("td", { role: "cell", ...more }) : h("th", { scope: "row", role: "rowheader", ...more });
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
    this.onSift?.();
    const text = found ? null : this.rows.size ? "Nothing matches the filter." : this.empty;
    if (this.said === text) return; // a button in it keeps the focus
    this.said = text;
    this.nothing?.remove();
    if (text === null) return;
    this.nothing = h("tr", { role: "row" }, h("td", { class: "none", role: "cell", colspan: this.columns.length }, typeof text === "function" ? text() : text));
    this.body.append(this.nothing);
  }

  /** The items whose rows the filter shows. */
  visible() {
    return this.items.filter((item) => !this.rows.get(String(this.key(item)))?.hidden);
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

/** Sorts addresses: IPv4 by number, then IPv6, then host names. For `orders`. */
export function addressOrder(name) {
  const text = String(name);
  const four = /^(\d+)\.(\d+)\.(\d+)\.(\d+)(?::(\d+))?$/.exec(text);
  if (four) return `4 ${four.slice(1, 5).map((part) => part.padStart(3, "0")).join(".")} ${(four[5] ?? "").padStart(5, "0")}`;
  if (/^\[?[0-9a-f]*:[0-9a-f:.]*\]?(:\d+)?$/i.test(text)) return `6 ${sixWords(text)}`;
  return `7 ${text}`;
}

function sixWords(text) {
  const [, address, port = ""] = /^\[?([0-9a-f:.]+?)\]?(?:(?<=\]):(\d+))?$/i.exec(text) ?? [null, text];
  const [front, back] = address.split("::").map((half) => half.split(":").filter(Boolean));
  const zeros = back ? Array(Math.max(0, 8 - front.length - back.length)).fill("0") : [];
  return `${[...front, ...zeros, ...(back ?? [])].map((word) => word.padStart(4, "0")).join(":")} ${port.padStart(5, "0")}`;
}
