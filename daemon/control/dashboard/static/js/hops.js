// The hops of a trace as a waterfall. Their URLs are copied and never linked.

import { copyable } from "./copying.js";
import { bytes, h, ms, number } from "./dom.js";
import { made, newTable, strip, Table } from "./table.js";

const COLUMNS = ["#Hop", "URL", "Answer", "Time", "#Took", "#Received", "#Sent", "#Cookies"];

/** Puts the table of the hops into `box`; `id`: of the table. */
export function showHops(box, id, hops) {
  box.replaceChildren(...newTable(id, "Hops", COLUMNS, "Filter hops"));
  const total = hops.reduce((sum, hop) => sum + hop.ms, 0) || 1;
  let began = 0;
  const rows = hops.map((hop, at) => {
    const row = { ...hop, at: at + 1, x: (100 * began) / total, width: Math.max(0.6, (100 * hop.ms) / total), began };
    began += hop.ms;
    return row;
  });
  const mood = (hop) => (hop.status === null || hop.status >= 400 ? "bad" : hop.at === rows.length ? "good" : null);
  const words = (hop) => `from ${ms(hop.began)} to ${ms(hop.began + hop.ms)}`;
  const table = new Table(
    id,
    [
      (hop) => hop.at,
      (hop) => made(hop.url, () => copyable(hop.url, `the URL of hop ${hop.at}`)),
      (hop) => made(answerOf(hop), () => h("span", {}, answerOf(hop), hop.why ? h("small", { class: "why" }, `${isCertain(hop) ? "why the browser" : "not certain"}: ${hop.why}`) : null)),
      (hop) => made(hop.at, () => strip("", words(hop), [["fall-all", 0, 100], ["fall", Math.min(hop.x, 99.4), hop.width, { "data-mood": mood(hop) }]])),
      (hop) => ms(hop.ms),
      (hop) => bytes(hop.bytes_received),
      (hop) => bytes(hop.bytes_sent),
      (hop) => number(hop.cookies),
    ],
    { key: (hop) => hop.at, empty: "The trace made no request.", classes: ["number", "hop-url", null, "time"] },
  );
  table.table.classList.add("falls");
  table.show(rows);
}

/** The hops one below the other, where a table has no room. */
export function hopsList(hops) {
  const one = (hop) => {
    const figures = [ms(hop.ms), `${bytes(hop.bytes_received)} received`, `${bytes(hop.bytes_sent)} sent`];
    if (hop.cookies !== null) figures.push(hop.cookies === 1 ? "1 cookie" : `${number(hop.cookies)} cookies`);
    return h("li", {}, h("p", {}, h("strong", {}, answerOf(hop)), h("small", {}, figures.join(", "))), hop.why ? h("p", { class: "why" }, `${isCertain(hop) ? "Why the browser" : "Where the page goes on is not certain"}: ${hop.why}`) : null, copyable(hop.url, "the URL of this hop"));
  };
  return h("ol", { class: "hops-list" }, ...hops.map(one));
}

/** Whether `why` of a hop says why the browser was used, and not what is uncertain about the page. */
const isCertain = (hop) => hop.kind !== "script_unresolved";

/** The status, how the chain went on, and what found that out. */
function answerOf(hop) {
  const by = hop.tier && hop.tier !== "markup" ? `(${hop.tier})` : null;
  return [hop.status ?? "no answer", hop.kind, by].filter(Boolean).join(" ");
}

/** Parameters as a list of names and values, which are texts. */
export function paramsList(params) {
  const pairs = Object.entries(params ?? {}).flatMap(([name, values]) => [values].flat().map((value) => [name, value]));
  if (!pairs.length) return h("p", { class: "note" }, "No parameters.");
  return h("dl", { class: "params" }, ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
