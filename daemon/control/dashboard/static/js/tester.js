// The link tester: traces an offer or a URL now, and shows its hops. They are copied and never linked.

import { ApiError, get, post } from "./api.js";
import { copyable } from "./copying.js";
import { $, announce, bytes, dollars, duration, h, ms, number, setText, tag } from "./dom.js";
import { hopsList, paramsList } from "./hops.js";

const POLL_MS = 500;
const POLLS_MAX = 40; // the row of a trace that ended is in PostgreSQL within a second or so
const OFFERS_MAX = 500;
const REGIONS = new Intl.DisplayNames(["en"], { type: "region" });
const NO_OFFER = "link-tester";
const MOODS = { completed: "good", failed: "bad", timeout: "warn" };

export class Tester {
  constructor() {
    this.form = $("tester-form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.running) this.trace();
    });
    this.form.link.addEventListener("input", () => ($("tester-urls").hidden = true));
    for (const field of [this.form.link, this.form.country]) field.addEventListener("change", () => this.offerOf(this.form.link.value.trim()).catch(() => null));
    this.form.link.addEventListener("focus", () => this.names());
    $("tester-stop").addEventListener("click", () => this.running?.abort.abort());
  }

  /** The names of offers, as suggestions. */
  async names() {
    const page = await get("/api/offers", { limit: OFFERS_MAX }).catch(() => ({ items: [] }));
    $("tester-offers").replaceChildren(...page.items.map((offer) => h("option", { value: offer.offer_name })));
  }

  /** The offer of this name; its tracking URLs in the asked country, else in its first one, become choices. Null for a URL. */
  async offerOf(link) {
    if (!link || /^[a-z][a-z0-9+.-]*:\/\//i.test(link)) return null;
    const offer = await get(`/api/offers/${encodeURIComponent(link)}`);
    const shares = sharesIn(offer, this.form.country.value.trim() || offer.target_country);
    const urls = shares?.length ? shares.map((share) => share.url) : [offer.final_url];
    const choice = this.form.elements.namedItem("url");
    if (choice.dataset.of !== `${offer.id} ${urls}`) {
      choice.dataset.of = `${offer.id} ${urls}`;
      choice.replaceChildren(...urls.map((url) => h("option", { value: url }, url)));
    }
    $("tester-urls").hidden = urls.length < 2;
    return offer;
  }

  status({ countries, in_flight: flights }) {
    this.countries = countries;
    const run = this.running;
    if (!run || run.answered) return;
    const flight = flights.find((one) => one.request_id === run.id);
    if (flight) this.say(`Traces through ${flight.ip} for ${duration(flight.running_s)}.`);
    else this.say(this.waits(run));
  }

  /** Why the trace has no IP yet. */
  waits({ country, began }) {
    const pool = this.countries?.[country];
    const since = duration((Date.now() - began) / 1000);
    if (!this.countries) return `Waits for ${since}.`;
    if (!pool?.total) return `There are no IPs of ${country}: add some, or choose another country.`;
    const ips = pool.available ? `${number(pool.available)} of its ${number(pool.total)} IPs are available` : `none of its ${number(pool.total)} IPs is available`;
    return `Waits for an IP of ${country} for ${since}: ${ips}, and ${pool.waiting === 1 ? "one request waits" : `${number(pool.waiting)} requests wait`}.`;
  }

  say(text, mood = null) {
    setText($("tester-state"), text);
    if (mood) $("tester-state").dataset.mood = mood;
    else delete $("tester-state").dataset.mood;
  }

  async trace() {
    const run = (this.running = { id: newId(), began: Date.now(), abort: new AbortController(), country: "" });
    $("tester-stop").hidden = false;
    $("tester-result").replaceChildren();
    this.say("Asks for a trace.");
    try {
      const link = this.form.link.value.trim();
      const offer = await this.offerOf(link);
      run.country = (this.form.country.value.trim() || offer?.target_country || "us").toLowerCase();
      const answer = await post("/functions/v1/process-trace-parallel", this.request(run, offer, link), run.abort.signal);
      run.answered = true;
      this.say(answer.success ? "Landed." : `Did not land: ${answer.error ?? "the trace failed"}.`, answer.success ? null : "bad");
      await this.show(run, answer);
      announce($("tester-state").textContent);
    } catch (trouble) {
      if (!(trouble instanceof ApiError)) throw trouble;
      if (run.abort.signal.aborted) this.say("Not waited for any more. A trace that has begun goes on, and is listed with the recent traces.", "bad");
      else this.say(trouble.status === 503 ? `${trouble.message}. ${this.waits(run)}` : trouble.message, "bad");
    } finally {
      this.running = null;
      $("tester-stop").hidden = true;
    }
  }

  request(run, offer, link) {
    const params = {};
    for (const [name, value] of new URLSearchParams(this.form.params.value.trim())) params[name] = name in params ? [params[name], value].flat() : value;
    return {
      request_id: run.id,
      offer_id: offer?.offer_name ?? NO_OFFER,
      tracking_url: offer ? this.form.elements.namedItem("url").value : link,
      inbound_params: params,
      target_country: run.country,
      ...(this.form.tracer.value ? { tracer: this.form.tracer.value } : {}),
    };
  }

  /** The trace with its hops, as soon as its row is there. */
  async show(run, answer) {
    for (let poll = 0; poll < POLLS_MAX; poll += 1) {
      const { items } = await get("/api/find", { text: run.id }); // no error while the row is not there
      const found = items.length ? await get(`/api/traces/${run.id}`) : null;
      if (found && !["pending", "processing"].includes(found.trace.status)) return this.draw(found);
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
    $("tester-result").replaceChildren(
      h("p", { class: "note" }, "The hops are not in the database yet: see the recent traces in a while."),
      h("h3", {}, "Landing page"),
      copyable(answer.final_url, "the landing page's URL"),
      paramsList(answer.extracted_params),
    );
  }

  draw({ trace, hops, extracted_params: params }) {
    const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value ?? "–"));
    $("tester-result").replaceChildren(
      h(
        "dl",
        { class: "facts" },
        fact("Status", tag(trace.status, MOODS[trace.status])),
        fact("IP", trace.ip_assigned && `${trace.ip_assigned} (${trace.target_country})`),
        fact("Waited for the IP", ms(trace.wait_time_ms)),
        fact("Took", ms(trace.trace_time_ms)),
        fact("Bytes", bytes(trace.bytes_received + trace.bytes_sent)),
        fact("Cost", dollars(trace.cost)),
      ),
      h("h3", {}, hops.length === 1 ? "One hop" : `${hops.length} hops`),
      hopsList(hops),
      ...(trace.final_url ? [h("h3", {}, "Landing page"), copyable(trace.final_url, "the landing page's URL"), paramsList(params)] : []),
    );
  }
}

/** The tracking URLs of an offer in a country: `country` is a code, or an English name. */
function sharesIn(offer, country) {
  const own = Object.entries(offer.country_urls ?? {});
  return own.find(([key]) => nameOf(key) === nameOf(country))?.[1] ?? offer.tracking_urls;
}

/** The English name of a country's code, in lower case; uk and gb have one name. Another text stays. */
function nameOf(country) {
  return (/^[a-z]{2}$/i.test(country) ? REGIONS.of(country.toUpperCase()) : country).toLowerCase();
}

/** A random UUID. crypto.randomUUID exists only where the page came over https or from this machine. */
function newId() {
  const bits = crypto.getRandomValues(new Uint8Array(16));
  bits[6] = (bits[6] & 0x0f) | 0x40;
  bits[8] = (bits[8] & 0x3f) | 0x80;
  const hex = [...bits].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
