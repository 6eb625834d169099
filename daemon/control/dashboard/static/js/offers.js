// Offers first: a row for each one, what hurts first.

import { get } from "./api.js";
import { $, button, clock, dollars, h, isLive, ms, number, percent, setText, tag } from "./dom.js";
import { lead } from "./first_run.js";
import { offersBar } from "./offer_form.js";
import { made, Table } from "./table.js";
import { keepField, toUrl } from "./url.js";

const MOODS = { active: "good", paused: null, broken: "bad", removed: "warn", unknown: "warn" };
const WORDS = { unknown: "no such offer", removed: "removed" };
const LIVE_MS = 5000; // how often short times are loaded

const NO_OFFERS = () => lead("No offers yet.", { act: "new-offer", label: "New offer", command: "tracepool offers add NAME URL" });

const lost = (offer) => offer.clicks - offer.landed;
const stateWords = (offer) => (offer.state === "paused" && offer.paused_to ? `paused, to ${offer.paused_to}` : (WORDS[offer.state] ?? offer.state));

export class Offers {
  /** `clicks`: the panel that shows an offer's clicks. */
  constructor(clicks) {
    Object.assign(this, { clicks, span: $("offers-span"), left: 0 });
    keepField(this.span, "offers.span");
    this.table = new Table(
      "offers",
      [
        (offer) => made(offer.offer, () => button(offer.offer || "no name", () => clicks.filter({ offer: offer.offer }), { class: "link", title: "Show its clicks" })),
        (offer) => made(stateWords(offer), () => tag(stateWords(offer), MOODS[offer.state])),
        (offer) => made(`${offer.clicks} ${offer.background}`, () => clicksOf(offer)),
        (offer) => made(`${offer.landed} ${offer.clicks}`, () => shareOf(offer.landed, offer)),
        (offer) => made(`${lost(offer)} ${offer.clicks} ${reasonsOf(offer)}`, () => this.fallbacks(offer)),
        (offer) => ms(offer.wait_p50_ms),
        (offer) => ms(offer.wait_p95_ms),
        (offer) => dollars(offer.cost),
        (offer) => made(`${offer.ips_available} ${offer.ips} ${offer.countries} ${offer.without_ips} ${offer.state}`, () => ipsOf(offer)),
        (offer) => made(`${offer.offer_id}`, () => changeOf(offer)),
      ],
      {
        key: (offer) => offer.offer,
        empty: NO_OFFERS,
        classes: ["long"],
        orders: [
          (offer) => offer.offer,
          stateWords,
          (offer) => offer.clicks,
          (offer) => offer.landed,
          lost,
          (offer) => offer.wait_p50_ms,
          (offer) => offer.wait_p95_ms,
          (offer) => offer.cost,
          (offer) => (offer.countries.length ? offer.ips_available : null),
        ],
      },
    );
    offersBar(this.table, (offer) => (["active", "paused", "broken"].includes(offer.state) ? offer.offer_id : null));
    this.span.addEventListener("input", () => this.load());
    this.table.table.tHead.addEventListener("click", () => this.order());
    $("offers-harm").addEventListener("click", () => this.byHarm());
    document.addEventListener("changed", (event) => event.detail === "offers" && this.load());
    setInterval(() => !document.hidden && isLive() && this.loads && this.isShort() && this.load(), LIVE_MS);
  }

  isShort() {
    return ["15m", "1h", "6h"].includes(this.span.value);
  }

  fallbacks(offer) {
    const reasons = reasonsOf(offer) && h("small", { class: "reasons" }, reasonsOf(offer));
    if (!lost(offer)) return h("span", {}, "0", reasons || null);
    const press = button(`${number(lost(offer))} (${percent(lost(offer), offer.clicks)})`, () => this.clicks.filter({ offer: offer.offer, outcome: "fallback", kind: "click" }), { class: "link", title: "Show these clicks" });
    return h("span", {}, press, reasons || null);
  }

  order() {
    $("offers-harm").hidden = !this.table.order;
  }

  byHarm() {
    this.table.order = null;
    for (const head of this.table.heads) head.removeAttribute("aria-sort");
    toUrl({ "offers.order": "" });
    this.table.show(this.table.items);
    this.order();
  }

  /** Shows an offer's row and its clicks. */
  lead(name) {
    this.table.filter.value = name;
    this.table.filter.dispatchEvent(new Event("input"));
    this.clicks.filter({ offer: name });
    $("offers-panel").scrollIntoView();
  }

  async load() {
    this.loads = true;
    const span = this.span.value;
    try {
      const answer = await get("/api/reports/offers", { span });
      if (span !== this.span.value) return;
      this.table.empty = NO_OFFERS;
      this.table.show(answer.items);
      const more = answer.left_out ? `; ${number(answer.left_out)} more names of clicks are not listed` : "";
      setText($("offers-counted"), `counted ${clock(answer.until)}${more}`);
    } catch (trouble) {
      if (span !== this.span.value) return;
      this.table.empty = trouble.message;
      this.table.show([]);
      setText($("offers-counted"), "");
    }
    this.order();
  }
}

const clicksOf = ({ clicks, background }) => h("span", {}, number(clicks), background ? h("small", { class: "reasons" }, `+ ${number(background)} background`) : null);
const shareOf = (part, offer) => h("span", {}, number(part), offer.clicks ? h("small", {}, ` ${percent(part, offer.clicks)}`) : null);

function reasonsOf({ fallbacks, repeats, previews }) {
  const reasons = Object.entries(fallbacks).sort(([, a], [, b]) => b - a).map(([reason, count]) => `${reason} ${number(count)}`);
  const marked = [repeats && `repeats ${number(repeats)}`, previews && `previews ${number(previews)}`].filter(Boolean);
  return [...reasons, ...(marked.length ? [`+ ${marked.join(", ")}`] : [])].join(", ");
}

function ipsOf(offer) {
  if (!offer.countries.length) return h("span", {}, "–");
  const where = offer.countries.join(", ");
  const none = offer.without_ips.length ? tag(`no IPs of ${offer.without_ips.join(", ")}`, offer.state === "active" ? "bad" : null) : null;
  if (none && !offer.ips) return none;
  return h("span", {}, `${number(offer.ips_available)} of ${number(offer.ips)}`, h("small", {}, ` ${where} `), none);
}

function changeOf(offer) {
  if (!offer.offer_id) return h("span");
  return h("button", { type: "button", "data-needs": "write", "data-act": "edit-offer", "data-offer": offer.offer_id, "aria-label": `Change offer ${offer.offer}` }, "Change");
}
