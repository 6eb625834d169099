// Elements and texts. Data from outside becomes text, never markup, with its hidden characters escaped.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

const HIDDEN = /[^\P{C}\n]|[\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu;
const SPOKEN = new Set(["title", "aria-label"]);

/** The text with an escape for each control and format character: a bidi mark would reorder what stands around it. */
export function shown(text) {
  return String(text).replace(HIDDEN, (character) => {
    const code = character.codePointAt(0).toString(16);
    return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\u{${code}}`;
  });
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, SPOKEN.has(name) ? shown(value) : value);
  }
  const present = children.filter((child) => child !== null && child !== undefined);
  element.append(...present.map((child) => (typeof child === "string" ? shown(child) : child)));
  return element;
}

export const h = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
export const s = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

/** A link to an http(s) URL; for any other URL its text. */
export function link(url) {
  if (!/^https?:\/\//i.test(url ?? "")) return h("span", { class: "url" }, url ?? "–");
  return h("a", { class: "url", href: url, rel: "noreferrer noopener", target: "_blank" }, url);
}

export function setText(element, text) {
  const now = shown(text);
  if (element.textContent !== now) element.textContent = now;
}

let announced = 0;
/** Announces a text to screen readers, the same text at most once a second. */
export function announce(text) {
  const now = Date.now();
  if (now - announced < 1000 && $("announce").textContent === text) return;
  announced = now;
  $("announce").textContent = shown(text);
}

export const tag = (text, mood) => h("span", { class: "tag", "data-mood": mood }, text);
export const button = (text, act, attributes = {}) => h("button", { type: "button", click: act, ...attributes }, text);

export const count = (n) => (n === null || n === undefined ? "–" : Number(n).toLocaleString("en"));
export const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");
export function ms(value) {
  if (value === null || value === undefined) return "–";
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} s`;
}
export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const step = n < 1e3 ? 0 : n < 1e6 ? 1 : n < 1e9 ? 2 : 3;
  return `${(n / 1000 ** step).toFixed(step ? 1 : 0)} ${["B", "KB", "MB", "GB"][step]}`;
}
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} d`;
}
export const clock = (iso) => (iso ? new Date(iso).toLocaleTimeString("en-GB") : "–");
export const dateTime = (iso) => (iso ? new Date(iso).toLocaleString("en-GB", { dateStyle: "short", timeStyle: "medium" }) : "–");
export const words = (name) => String(name).replaceAll("_", " ");
