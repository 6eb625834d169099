// The search box: leads to the request, click id, IP, visitor or offer that a text names.

import { get } from "./api.js";
import { detail } from "./dialogs.js";
import { $, announce, button, h, number } from "./dom.js";
import { showClick } from "./find.js";
import { showIp } from "./ips.js";
import { showTrace } from "./traces.js";

const COUNTED_MAX = 100;
const EACH_MAX = 10; // the daemon answers at most so many items of a kind

export class Search {
  /** clicks, offers: the panels that the search leads to. */
  constructor(clicks, offers) {
    Object.assign(this, { clicks, offers });
    $("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.find($("search-text").value);
    });
    document.addEventListener("find", (event) => this.find(event.detail));
  }

  async find(text) {
    if (!text.trim()) return;
    const asked = (this.asked = {});
    $("search").setAttribute("aria-busy", "true");
    let answer;
    try {
      answer = await get("/api/find", { text });
    } catch (trouble) {
      if (asked === this.asked) detail("Search", h("p", { class: "trouble" }, trouble.message));
      return;
    } finally {
      if (asked === this.asked) $("search").removeAttribute("aria-busy");
    }
    if (asked !== this.asked) return;
    const [first, ...more] = answer.items;
    if (first && !more.length) this.lead(first);
    else if (first) this.choose(text, answer.items);
    else {
      const note = h("p", { class: "note" }, `Looked in: ${answer.looked_in}. Rows that are older than the retention are gone, and older refused clicks (404, 400) are only in the log.`);
      detail("Nothing found", h("p", {}, "Nothing has the name, id or address ", h("q", { class: "url" }, text.trim()), "."), note);
    }
  }

  choose(text, items) {
    const choices = items.map((item) => h("li", {}, button(said(item), () => this.lead(item), { class: "link" })));
    detail(`${number(items.length)}${items.length >= EACH_MAX ? " or more" : ""} matches`, h("ul", { class: "matches-found" }, ...choices));
  }

  lead(item) {
    announce(said(item));
    if (item.kind === "click") return showClick(item.id);
    if (item.kind === "trace") return showTrace(item.id);
    if (item.kind === "ip") return showIp(item.id);
    $("detail").close();
    if (item.kind === "offer") return this.offers.lead(item.id);
    return this.clicks.filter({ [item.kind === "offer_name" ? "offer" : item.kind]: item.id });
  }
}

function said(item) {
  if (item.clicks === null) return item.label;
  const many = item.clicks >= COUNTED_MAX ? `${number(COUNTED_MAX)} or more clicks` : item.clicks === 1 ? "one click" : `${number(item.clicks)} clicks`;
  return `${item.label}: ${many}`;
}
