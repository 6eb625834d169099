// Elements and texts. Data from outside becomes text, never markup, with its hidden characters escaped.

import { fromUrl, toUrl } from "./url.js";

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

export function setText(element, text) {
  const now = shown(text);
  if (element.textContent !== now) element.textContent = now;
}

/** Whether the daemon is reached and admits this page: see connection.js. */
export const isLive = () => document.documentElement.dataset.live === "live";

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

// Numbers, bytes, durations, money and times have one form each, that of the commands. A missing value is "–".

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

/** 1234.5 → "1,234.5". `digits`: at most so many decimals. */
export const number = (n, digits = 0) => (missing(n) ? "–" : Number(n).toLocaleString("en", { maximumFractionDigits: digits }));
export const percentage = (value) => (missing(value) ? "–" : `${number(value, 1)}%`);
export const percent = (part, whole) => (whole ? percentage((100 * part) / whole) : "–");

/** Decimal units, as providers sell bytes: 1250000 → "1.25 MB". */
export function bytes(n) {
  if (missing(n)) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  for (; n >= 999.5 && at < units.length - 1; at += 1) n /= 1000;
  return `${Number(n.toPrecision(3))} ${units[at]}`;
}

/** 75 → "75 s", 300 → "5 min", 9000 → "2.5 h", 400000 → "4.6 d". */
export function duration(seconds) {
  if (missing(seconds)) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${number(seconds / 3600, 1)} h` : `${number(seconds / 86400, 1)} d`;
}

/** Milliseconds: 345 → "345 ms", 1234 → "1.23 s". */
export function ms(value) {
  if (missing(value)) return "–";
  return value < 999.5 ? `${Math.round(value)} ms` : value < 90_000 ? `${Number((value / 1000).toPrecision(3))} s` : duration(value / 1000);
}

export function dollars(cost) {
  if (missing(cost)) return "–";
  return cost >= 0.01 || !cost ? `$${Number(cost).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}` : `$${cost.toFixed(4)}`;
}

const two = (n) => String(n).padStart(2, "0");
export const zone = () => (fromUrl("zone") === "utc" ? "utc" : "local");

/** Year, month, day, hour, minute, second and the zone's name, all as text. */
function parts(time) {
  if (zone() === "utc") return [...time.toISOString().split(/[-T:.Z]/).slice(0, 6), "UTC"];
  const east = -time.getTimezoneOffset();
  const name = east === 0 ? "UTC" : `${east < 0 ? "-" : "+"}${two(Math.floor(Math.abs(east) / 60))}:${two(Math.abs(east) % 60)}`;
  return [String(time.getFullYear()), ...[time.getMonth() + 1, time.getDate(), time.getHours(), time.getMinutes(), time.getSeconds()].map(two), name];
}

/** A time (ISO text, seconds since 1970, or Date) with its zone: "2026-01-31 12:00:00 UTC", "… +01:00". */
export function when(at) {
  if (missing(at) || at === "") return "–";
  const time = new Date(typeof at === "number" ? at * 1000 : at);
  if (Number.isNaN(time.getTime())) return String(at);
  const [year, month, day, hour, minute, second, name] = parts(time);
  return `${year}-${month}-${day} ${hour}:${minute}:${second} ${name}`;
}

/** `when` without the date, if that is today's. */
export function clock(at) {
  const text = when(at);
  return text.slice(0, 10) === when(new Date()).slice(0, 10) ? text.slice(11) : text;
}

/** From one time to another, in seconds since 1970: "2026-01-31 11:00 to 12:00 UTC". */
export function period(since, until) {
  const [first, last] = [parts(new Date(since * 1000)), parts(new Date(until * 1000))];
  const [day, lastDay] = [first, last].map((all) => all.slice(0, 3).join("-"));
  const minute = (all) => all.slice(3, 5).join(":");
  return `${day} ${minute(first)} to ${day === lastDay ? "" : `${lastDay} `}${minute(last)} ${last[6]}`;
}

/** The hour and minute of a chart's axis, the zone of which is written beside it; `dated`: month and day instead. */
export function tick(at, dated = false) {
  const [, month, day, hour, minute] = parts(new Date(at * 1000));
  return dated ? `${month}-${day}` : `${hour}:${minute}`;
}

/** The name of the zone in which times are shown now. */
export const zoneName = () => parts(new Date())[6];

/** Shows times in "local" or "utc" from now on. Tables and charts listen to the document's event "zone". */
export function setZone(name) {
  toUrl({ zone: name === "utc" ? "utc" : "" });
  document.dispatchEvent(new CustomEvent("zone"));
}

export const words = (name) => String(name).replaceAll("_", " ");
