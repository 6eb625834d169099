// The action log: each change by a request or a command, the newest first.

import { get } from "./api.js";
import { $, when, words } from "./dom.js";
import { onChanged } from "./forms.js";
import { Table } from "./table.js";
import { keepForm } from "./url.js";

const LATER_MS = 300; // after a change, and while somebody types
const PAGE = 50;

function shownValue(value) {
  if (value === null || value === "") return "(nothing)";
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return value.join(", ") || "(nothing)";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The facts of an action as text. Of a changed offer, each value before and after. */
export function facts(detail) {
  const parts = [];
  for (const [name, value] of Object.entries(detail)) {
    if (name === "changed" && value && !Array.isArray(value) && typeof value === "object") {
      for (const [setting, { from, to }] of Object.entries(value)) parts.push(`${setting}: ${shownValue(from)} → ${shownValue(to)}`);
    } else if (name === "to" || name === "rows_by_country") {
      for (const [inner, one] of Object.entries(value)) parts.push(`${inner}: ${shownValue(one)}`);
    } else parts.push(`${words(name)}: ${shownValue(value)}`);
  }
  return parts.join("; ");
}

export class Actions {
  constructor() {
    this.items = [];
    this.table = new Table(
      "actions",
      [(one) => when(one.at), (one) => one.who, (one) => one.what, (one) => one.subject, (one) => facts(one.detail)],
      { key: (one) => one.id, empty: "Loading.", classes: [null, null, null, "url", "facts-cell"] },
    );
    keepForm($("actions-form"), "actions");
    $("actions-form").addEventListener("input", () => this.soon());
    $("actions-more").addEventListener("click", () => this.read(this.next));
    for (const what of ["offers", "ips", "tokens"]) onChanged(what, () => this.soon());
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.read(), LATER_MS);
  }

  /** Nothing is loaded again while more than a page is shown: the rows would move away. */
  async load() {
    if (this.items.length <= PAGE) await this.read();
  }

  async read(cursor = null) {
    const filters = Object.fromEntries([...new FormData($("actions-form"))].map(([name, value]) => [name, value.trim()]));
    const filtered = Object.values(filters).some(Boolean);
    const asked = (this.asked = (this.asked ?? 0) + 1);
    try {
      const page = await get("/api/actions", { limit: PAGE, cursor, ...filters });
      if (asked !== this.asked) return; // a later request shows its own
      this.items = cursor ? [...this.items, ...page.items] : page.items;
      this.next = page.next;
      this.table.empty = filtered ? "No action matches." : "Nothing was changed yet.";
    } catch (trouble) {
      if (asked !== this.asked) return;
      this.items = [];
      this.next = null;
      this.table.empty = trouble.message;
    }
    this.table.show(this.items);
    $("actions-more").hidden = !this.next;
  }
}
