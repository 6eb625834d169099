// Bytes and cost by day, provider and offer.

import { get } from "./api.js";
import { $, bytes, dollars, h, number } from "./dom.js";
import { Table } from "./table.js";

export class Traffic {
  constructor() {
    this.items = [];
    this.table = new Table(
      "traffic",
      [
        (row) => row.day,
        (row) => row.provider,
        (row) => row.offer_name ?? "no offer",
        (row) => number(row.traces),
        (row) => bytes(row.bytes_received),
        (row) => bytes(row.bytes_sent),
        (row) => dollars(row.cost),
      ],
      { key: (row) => `${row.day} ${row.provider} ${row.offer_id}`, empty: "No traffic yet." },
    );
    $("traffic-more").addEventListener("click", () => this.load(this.next));
  }

  async load(cursor = null) {
    if (!cursor && this.items.length > 100) return; // do not replace the further pages that were loaded
    try {
      const page = await get("/api/traffic", { limit: 100, cursor });
      this.items = cursor ? [...this.items, ...page.items] : page.items;
      this.next = page.next;
      this.table.empty = "No traffic yet.";
    } catch (trouble) {
      this.items = [];
      this.next = null;
      this.table.empty = trouble.message;
    }
    this.table.show(this.items);
    $("traffic-more").hidden = !this.next;
    this.sum();
  }

  sum() {
    const day = this.items[0]?.day;
    const rows = this.items.filter((row) => row.day === day);
    const total = (name) => rows.reduce((sum, row) => sum + row[name], 0);
    const part = (value, name) => h("span", {}, h("strong", {}, value), ` ${name}`);
    const sums = [
      part(bytes(total("bytes_received") + total("bytes_sent")), `on ${day}`),
      part(dollars(total("cost")), "cost"),
      part(number(total("traces")), "traces"),
      part(total("traces") ? bytes((total("bytes_received") + total("bytes_sent")) / total("traces")) : "–", "each"),
    ];
    $("traffic-sum").replaceChildren(...(rows.length ? sums : []));
  }
}
