/* The world that the scripts of a jump page see. Pure: no I/O, one file, no dependencies.

The child evaluates this file once and calls __run(json) once per copy of its process. The argument is a PageRequest, the
result a PageOutcome (records.py), both in JSON; `body` is base64.

Rules of this file:
- The page's scripts run in the same realm, so they may replace every method of every built-in object. The world's own
  functions use the copies that are made below, never a method of an array, a string or a map, and no iterator.
- The tree consists of records (objects without a prototype) that no script can reach. A script sees wrappers, made when
  it first asks for a node; `own` finds the record of a wrapper.
- Time is virtual: tasks run in the order in which they are due, and none waits.
- `miss(name)` notes that a script met something that a browser has and this world has not. What the page does after that
  is not certain. `awaits(name)` notes something that only time would bring, such as the answer of a fetch. A jump at the
  same instant is still certain.

Standards: HTML (numbers of sections of the WHATWG standard), DOM, URL, CSP 3. Where Chromium differs, the comment says so.
*/
"use strict";
(function (global) {

// ── Copies of the built-in functions ────────────────────────────────────────────────────────────────────────────────

const uncurried = Function.prototype.bind.bind(Function.prototype.call);
const { apply, construct, defineProperty, getPrototypeOf, setPrototypeOf, getOwnPropertyDescriptor, ownKeys } = Reflect;
const { parse: parseJson, stringify } = JSON;
const { isArray } = Array;
const { floor, max, imul } = Math;
const { create, freeze } = Object;
const hasOwn = Object.hasOwn;
const toText = String;
const toNumber = Number;
const isFinite_ = Number.isFinite;
const fromCharCode = String.fromCharCode, fromCodePoint = String.fromCodePoint;
const globalEval = eval;
const DateOfTheWorld = Date;
const parseDate = Date.parse;
const FunctionOfTheWorld = Function;
const ProxyOfTheWorld = Proxy;
const TypeErrorOfTheWorld = TypeError;
const DOMExceptionOfTheWorld = DOMException;
const decodePercent = decodeURIComponent;
const fromBase64 = atob, toBase64 = btoa;
const push = uncurried(Array.prototype.push), pop = uncurried(Array.prototype.pop), shift = uncurried(Array.prototype.shift);
const splice = uncurried(Array.prototype.splice), join = uncurried(Array.prototype.join);
const arraySlice = uncurried(Array.prototype.slice), sort = uncurried(Array.prototype.sort), toSorted = uncurried(Array.prototype.toSorted);
const listIndex = uncurried(Array.prototype.indexOf);
const slice = uncurried(String.prototype.slice), indexOf = uncurried(String.prototype.indexOf);
const lower = uncurried(String.prototype.toLowerCase), upper = uncurried(String.prototype.toUpperCase);
const trim = uncurried(String.prototype.trim);
const charCode = uncurried(String.prototype.charCodeAt);
const startsWith = uncurried(String.prototype.startsWith), endsWith = uncurried(String.prototype.endsWith);
const exec = uncurried(RegExp.prototype.exec);
const hasProperty = uncurried(Object.prototype.hasOwnProperty);
const weakGet = uncurried(WeakMap.prototype.get), weakSet = uncurried(WeakMap.prototype.set);
const arrayValues = Array.prototype[Symbol.iterator];
const iteratorSymbol = Symbol.iterator, hasInstance = Symbol.hasInstance, boundTo = uncurried(Function.prototype.bind);

const test = (pattern, text) => exec(pattern, text) !== null;


function each(list, action) {
  for (let at = 0; at < list.length; at++) action(list[at], at);
}
function map(list, action) {
  const found = [];
  for (let at = 0; at < list.length; at++) push(found, action(list[at], at));
  return found;
}
function filter(list, action) {
  const found = [];
  for (let at = 0; at < list.length; at++) if (action(list[at])) push(found, list[at]);
  return found;
}
function find(list, action) {
  for (let at = 0; at < list.length; at++) if (action(list[at])) return list[at];
  return null;
}
const some = (list, action) => find(list, (one) => (action(one) ? true : false)) !== null;
const contains = (list, one) => listIndex(list, one) >= 0;
const has = (text, part) => indexOf(text, part) >= 0;

/** Replaces each match of a global pattern by change(match), as String.prototype.replace does. */
function replaced(text, pattern, change) {
  let result = "", at = 0, match;
  pattern.lastIndex = 0;
  while ((match = exec(pattern, text)) !== null) {
    result += slice(text, at, match.index) + change(match);
    at = match.index + match[0].length;
    if (match[0] === "") pattern.lastIndex++;
  }
  return result + slice(text, at);
}
function split(text, pattern) {
  const parts = [];
  let at = 0, match;
  pattern.lastIndex = 0;
  while ((match = exec(pattern, text)) !== null) {
    push(parts, slice(text, at, match.index));
    at = match.index + match[0].length;
  }
  push(parts, slice(text, at));
  return parts;
}
const stripped = (text) => replaced(text, /^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, () => "");
const words = (text) => filter(split(text, /[\t\n\f\r ]+/g), (word) => word !== "");

/** An object without a prototype: a dictionary, or a record. */
const bare = (values = {}) => {
  setPrototypeOf(values, null);
  return values;
};
const written = (list) => stringify(bare(list));

/** Defines members of an object literal on a prototype, not enumerable. */
function share(prototype, members) {
  each(ownKeys(members), (name) => {
    const property = getOwnPropertyDescriptor(members, name);
    property.enumerable = false;
    defineProperty(prototype, name, property);
  });
}

// ── The host ────────────────────────────────────────────────────────────────────────────────────────────────────────

const host = bare();
each(["tree", "parse", "url", "encode", "script", "module", "jobs"], (name) => {
  host[name] = global["__" + name];
  delete global["__" + name];
});
const ask = (name, argument) => parseJson(host[name](written(argument)));

/* A URL that the parser leaves as it is: no part of it has another form. */
const PLAIN_URL =
  /^(https?:)\/\/((?:[a-z\d-]+\.)+[a-z]+)(\/[\w\-./~!$&'()*+,;=:@]*)(\?[\w\-./~!$&()*+,;=:@%?]+)?(#[\w\-./~!$&'()*+,;=:@%?]+)?$/;
const NOT_PLAIN = /xn--|\/\.\.?(?:[/?#]|$)/, PLAIN_CHARACTERS_MAX = 2048;
/** The parts of a URL, null for no URL. Does not ask the host for a plain one: the first answer takes 0.15 ms. */
function parsedUrl(url, base, encoding) {
  const text = toText(url), match = text.length > PLAIN_CHARACTERS_MAX || test(NOT_PLAIN, text) ? null : exec(PLAIN_URL, text);
  if (match === null) return ask("url", ["parse", text, base || "", encoding || "utf-8"]);
  return { href: text, protocol: match[1], username: "", password: "", host: match[2], hostname: match[2], port: "",
    pathname: match[3], search: match[4] || "", hash: match[5] || "", origin: `${match[1]}//${match[2]}` };
}
const changedUrl = (href, part, value) => ask("url", ["set", href, part, toText(value)]);
let hereUrl = null;
/** The parts of the document's URL. */
const here = () => (hereUrl !== null && hereUrl.href === page.url ? hereUrl : (hereUrl = parsedUrl(page.url)));
const withoutFragment = (href) => split(href, /#/g)[0];

/* Math.random: xoshiro128** with a seed of each page's own. The built-in one would draw the same numbers for each page. */
const turned = (value, by) => (value << by) | (value >>> (32 - by));
function random() {
  const { seed } = page.request;
  const drawn = imul(turned(imul(seed[1], 5), 7), 9) >>> 0, shifted = seed[1] << 9;
  seed[2] ^= seed[0];
  seed[3] ^= seed[1];
  seed[1] ^= seed[2];
  seed[0] ^= seed[3];
  seed[2] ^= shifted;
  seed[3] = turned(seed[3], 11);
  return drawn / 4294967296;
}
Math.random = () => random();

// ── Where QuickJS differs from V8 in a way that pages notice ────────────────────────────────────────────────────────

const natives = new WeakSet(), isNative = uncurried(WeakSet.prototype.has), addNative = uncurried(WeakSet.prototype.add);
const functionText = uncurried(Function.prototype.toString);
/* Obfuscators take letters from such texts by their position. */
share(Function.prototype, {
  toString() {
    return typeof this === "function" && isNative(natives, this) ? `function ${this.name}() { [native code] }`
      : replaced(functionText(this), /^function bound [^(]*(?=\()|\{\n\s+\[native code\]\n\}$/g, (match) => (match.index ? "{ [native code] }" : "function "));
  },
});
const withTag = (tag, name) => function (value) {
  return `<${tag} ${name}="${replaced(toText(value), /"/g, () => "&quot;")}">${this}</${tag}>`;
};
share(String.prototype, { anchor: withTag("a", "name"), link: withTag("a", "href"), fontcolor: withTag("font", "color"),
  fontsize: withTag("font", "size") });
each(["toString", "toTimeString"], (name) => {
  const text = uncurried(Date.prototype[name]);
  share(Date.prototype, { [name]() { return replaced(text(this), /(GMT\+0000)$/g, () => "GMT+0000 (Coordinated Universal Time)"); } });
});
/* The forms of en-US in UTC; others need the tables of a browser. */
const MONTHS = words("January February March April May June July August September October November December");
const DAYS = words("Sunday Monday Tuesday Wednesday Thursday Friday Saturday");
const FORMS = bare({ weekday: ["long", "short"], year: ["numeric", "2-digit"], month: ["long", "short", "numeric", "2-digit"], day: ["numeric", "2-digit"],
  hour: ["numeric", "2-digit"], minute: ["numeric", "2-digit"], second: ["numeric", "2-digit"], timeZone: ["UTC", "GMT"] });
const OF_DATES = ["weekday", "year", "month", "day"], OF_TIMES = ["hour", "minute", "second"];
const getters = bare({ weekday: uncurried(Date.prototype.getUTCDay), year: uncurried(Date.prototype.getUTCFullYear), month: uncurried(Date.prototype.getUTCMonth),
  day: uncurried(Date.prototype.getUTCDate), hour: uncurried(Date.prototype.getUTCHours), minute: uncurried(Date.prototype.getUTCMinutes),
  second: uncurried(Date.prototype.getUTCSeconds) });
const isEnglish = (locales) => locales === undefined || (isArray(locales) && locales.length === 0) ||
  contains(["en-US", "en"], isArray(locales) ? locales[0] : locales);
const twoDigits = (number, form) => slice(form === "numeric" ? toText(number) : "0" + number, form === "numeric" ? 0 : -2);
/** The text of a date; `whole`: the parts that it has by default, `wanted`: those of which one makes the default needless. */
function dateText(date, locales, options, whole, wanted) {
  const form = bare();
  if (typeof options === "object" && options !== null) each(ownKeys(options), (name) => options[name] !== undefined && (form[name] = options[name]));
  const isKnown = isEnglish(locales) && !some(ownKeys(form), (name) => !hasOwn(FORMS, name) || !contains(FORMS[name], form[name]));
  if (!some(wanted, (name) => name in form)) each(whole, (name) => (form[name] = "numeric"));
  const isWorded = form.month === "long" || form.month === "short", hasTime = some(OF_TIMES, (name) => name in form);
  const parts = filter(OF_DATES, (name) => name in form), of = bare();
  each(ownKeys(form), (name) => name !== "timeZone" && (of[name] = getters[name](date)));
  if (!isKnown || (isWorded && hasTime) || ("second" in form && !("minute" in form)) || ("minute" in form && !("hour" in form)) ||
    ("year" in form && "day" in form && !("month" in form)) || ("weekday" in form && parts.length > 1 && !("month" in form && "day" in form)) ||
    (parts.length === 1 && parts[0] === "weekday" && hasTime)) {
    miss("a date's text with options");
  }
  if (of[ownKeys(of)[0]] !== of[ownKeys(of)[0]]) return "Invalid Date";
  const year = "year" in form ? (form.year === "2-digit" ? twoDigits(of.year % 100, form.year) : toText(of.year)) : "";
  const day = "day" in form ? twoDigits(of.day, form.day) : "", week = "weekday" in form ? slice(DAYS[of.weekday], 0, form.weekday === "long" ? 9 : 3) : "";
  let text;
  if (isWorded) {
    const month = slice(MONTHS[of.month], 0, form.month === "long" ? 9 : 3) + (day && " " + day);
    text = month + (year && (day ? ", " : " ") + year);
  } else text = join(filter(["month" in form ? twoDigits(of.month + 1, form.month) : "", day, year], (one) => one !== ""), "/");
  text = week + (week && text && ", ") + text;
  if (!hasTime) return text;
  const hour = "hour" in form ? twoDigits(of.hour % 12 || 12, form.hour) : "";
  const time = join(filter([hour, "minute" in form ? twoDigits(of.minute) : "", "second" in form ? twoDigits(of.second) : ""], (one) => one !== ""), ":");
  return text + (text && ", ") + time + (hour && (of.hour < 12 ? " AM" : " PM"));
}
const THREE = ["year", "month", "day"];
const ALL = ["year", "month", "day", "hour", "minute", "second"], EACH = ["weekday", "year", "month", "day", "hour", "minute", "second"];
share(Date.prototype, {
  toLocaleString(locales, options) { return dateText(this, locales, options, ALL, EACH); },
  toLocaleDateString(locales, options) { return dateText(this, locales, options, THREE, OF_DATES); },
  toLocaleTimeString(locales, options) { return dateText(this, locales, options, OF_TIMES, OF_TIMES); },
});
const SYMBOLS = bare({ USD: "$", EUR: "€", GBP: "£", INR: "₹" });
/** The text of a number in en-US. */
function numberText(value, locales, options) {
  const form = bare();
  if (typeof options === "object" && options !== null) each(ownKeys(options), (name) => options[name] !== undefined && (form[name] = options[name]));
  const style = form.style || "decimal", usual = style === "currency" ? 2 : 0;
  const least = form.minimumFractionDigits ?? (form.maximumFractionDigits < usual ? form.maximumFractionDigits : usual);
  const most = form.maximumFractionDigits ?? max(least, style === "decimal" ? 3 : usual);
  const isKnown = isEnglish(locales) && contains(["decimal", "currency", "percent"], style) && (style !== "currency" || hasOwn(SYMBOLS, form.currency)) &&
    contains(FRACTIONS, least) && contains(FRACTIONS, most) && least <= most && !some(ownKeys(form), (name) => !contains(NUMBER_FORMS, name));
  if (!isKnown) miss("a number's text with options");
  const given = +value, sign = given < 0 || (given === 0 && 1 / given < 0) ? "-" : "";
  const text = given !== given ? "NaN" : !isFinite_(given) ? "∞" : decimalText(given < 0 ? -given : given, style === "percent" ? 2 : 0, least, most);
  return sign + (style === "currency" ? SYMBOLS[form.currency] : "") + text + (style === "percent" ? "%" : "");
}
const FRACTIONS = [0, 1, 2, 3, 4, 5, 6], NUMBER_FORMS = ["style", "currency", "minimumFractionDigits", "maximumFractionDigits"];
/** A number that is not negative, times a power of ten, with that many digits after its point; a half is rounded up. */
function decimalText(given, power, least, most) {
  const found = exec(/^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/, toText(given));
  const shift = toNumber(found[3] || 0) + power, zeros = join(map(listOf(shift < 0 ? -shift : shift), () => "0"), "");
  const digits = shift < 0 ? zeros + found[1] + (found[2] || "") : found[1] + (found[2] || "") + zeros;
  const point = shift < 0 ? found[1].length : found[1].length + shift;
  const whole = toText(toBigInt(slice(digits, 0, point + most) + slice("000000", max(0, digits.length - point), most)) + (digits[point + most] >= "5" ? 1n : 0n));
  const padded = slice("0000000", whole.length, most + 1) + whole, at = padded.length - most;
  let fraction = slice(padded, at);
  while (fraction.length > least && endsWith(fraction, "0")) fraction = slice(fraction, 0, -1);
  return grouped(slice(padded, 0, at)) + (fraction ? "." + fraction : "");
}
share(Number.prototype, { toLocaleString(locales, options) { return numberText(+this, locales, options); } });
const grouped = (digits) => replaced(digits, /\d(?=(?:\d{3})+$)/g, (match) => match[0] + ",");
const toBigInt = BigInt, bigText = uncurried(BigInt.prototype.toString);
share(BigInt.prototype, { toLocaleString(locale, options) {
  if ((locale !== undefined && locale !== "en-US") || options !== undefined) miss("toLocaleString with options");
  return grouped(bigText(this));
} });
const cubeRoot = Math.cbrt;
share(Math, { cbrt(value) {
  const root = cubeRoot(value), whole = floor(root + 0.5);
  return whole * whole * whole === value && whole !== 0 ? whole : root;
} });
/* V8's way to sort: what a comparison that contradicts itself, such as `a < b`, makes of a list depends on it. */
const INSERTED_MAX = 15; // so many are inserted one after the other, without a look at runs
const MERGED_MIN = 64; // from so many on runs are merged
function sortedAs(list, compare) {
  let isBelow = false, isAbove = false;
  const order = (one, other) => {
    const result = +apply(compare, undefined, [one, other]);
    isBelow ||= result < 0;
    isAbove ||= result > 0;
    return result;
  };
  if (list.length < 2) return list;
  let run = 1;
  if (list.length > INSERTED_MAX) {
    const isDescending = order(list[1], list[0]) < 0;
    for (run = 2; run < list.length && (order(list[run], list[run - 1]) < 0) === isDescending;) run++;
    if (isDescending) for (let at = 0; at < run >> 1; at++) {
      const one = list[at];
      list[at] = list[run - 1 - at];
      list[run - 1 - at] = one;
    }
  }
  if (run < list.length && list.length >= MERGED_MIN) {
    sort(list, order);
    if (!isBelow || !isAbove) miss("a comparison that contradicts itself");
    return list;
  }
  for (; run < list.length; run++) {
    const pivot = list[run];
    let left = 0, right = run;
    while (left < right) {
      const middle = left + ((right - left) >> 1);
      if (order(pivot, list[middle]) < 0) right = middle;
      else left = middle + 1;
    }
    for (let at = run; at > left; at--) list[at] = list[at - 1];
    list[left] = pivot;
  }
  return list;
}
share(Array.prototype, {
  sort(compare) {
    if (typeof compare !== "function" || !isArray(this)) return sort(this, compare);
    const given = [], { length } = this;
    let there = 0;
    for (let at = 0; at < length; at++) {
      if (!(at in this)) continue;
      there++;
      if (this[at] !== undefined) push(given, this[at]);
    }
    sortedAs(given, compare);
    for (let at = 0; at < length; at++) {
      if (at < there) this[at] = given[at];
      else delete this[at];
    }
    return this;
  },
  toSorted(compare) { return apply(sortInPlace, toSorted(this, () => 0), [compare]); },
});
const sortInPlace = Array.prototype.sort;
/* The order of ASCII in browsers: the cases of a letter count only between texts that are else the same. */
const compared = uncurried(String.prototype.localeCompare);
const COLLATED = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";
share(String.prototype, { localeCompare(that, locales, options) {
  const left = toText(this), right = toText(that);
  const isEnglish = locales === undefined || test(/^en\b/, toText(locales));
  if (options !== undefined || !isEnglish || test(/[^ -~]/, left + right)) {
    miss("localeCompare");
    return compared(left, right);
  }
  let cases = 0;
  for (let at = 0; at < left.length && at < right.length; at++) {
    const one = lower(left[at]), other = lower(right[at]);
    if (one !== other) return indexOf(COLLATED, one) < indexOf(COLLATED, other) ? -1 : 1;
    if (cases === 0 && left[at] !== right[at]) cases = left[at] === one ? -1 : 1;
  }
  return left.length !== right.length ? (left.length < right.length ? -1 : 1) : cases;
} });
const localeCompare = uncurried(String.prototype.localeCompare);
each(["toLocaleLowerCase", "toLocaleUpperCase"], (name) => {
  const change = uncurried(String.prototype[name]);
  share(String.prototype, { [name](locale) {
    if (locale !== undefined && !test(/^(?:en|de|fr|es|it|pt|nl)\b/i, toText(locale))) miss(name + " with options");
    return change(this);
  } });
});
/* What such a reference holds stays as long as the page: V8 collects it later than the engine. */
const held = [];
global.WeakRef = class WeakRef extends global.WeakRef {
  constructor(target) {
    super(target);
    push(held, target);
  }
};
defineProperty(global, "WeakRef", { enumerable: false });
delete global.InternalError;
/* Texts of errors. The engine calls prepareStackTrace for each error that it makes: there its text becomes that of V8, where
that is known. Reading another text, or a stack, is a miss. No script gets a call site: it would give the functions of this
file. */
const V8_TEXTS = [
  [/^cannot read property '([^]*)' of (null|undefined)$/, (found) => `Cannot read properties of ${found[2]} (reading '${found[1]}')`],
  [/^cannot set property '([^]*)' of (null|undefined)$/, (found) => `Cannot set properties of ${found[2]} (setting '${found[1]}')`],
  [/^([\w$]+) is not initialized$/, (found) => `Cannot access '${found[1]}' before initialization`],
  [/^invalid array length$/, () => "Invalid array length"],
  [/^expecting hex digit$/, () => "URI malformed"],
  [/^[\w$]+ is not defined$|^[^a-z'"]/, (found) => found.input],
];
/** V8's text for one of the engine, or null. */
function v8Text(text) {
  let found = null;
  const known = text === "" ? null : find(V8_TEXTS, (one) => (found = exec(one[0], text)) !== null);
  return known !== null ? known[1](found) : text === "" ? "" : null;
}
const nativeErrors = map([EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError], (one) => one.prototype);
const plainly = (object, name, value) => defineProperty(object, name, { value, writable: true, enumerable: false, configurable: true });
function missedWhenRead(object, name, text) {
  defineProperty(object, name, {
    get() { readsError(name); return text; }, set(value) { plainly(this, name, value); }, enumerable: false, configurable: true,
  });
}
/** Notes that the text or the stack of an error was read. */
function readsError(name) {
  if (page.errorReads === "") page.missedBefore = bare({ missed: page.missed, missedToLeave: page.missedToLeave });
  page.errorReads += name[0];
  miss("error." + name);
}
/** Takes back what was noted when the world or its host itself read an error, at the end. */
function forgetReads(reads) {
  page.errorReads = replaced(page.errorReads, reads, () => "");
  if (page.errorReads !== "" || page.missedBefore === null) return;
  page.missed = page.missedBefore.missed;
  page.missedToLeave = page.missedBefore.missedToLeave;
  page.missedBefore = null;
}
const stackOf = uncurried(getOwnPropertyDescriptor(Error.prototype, "stack").get), captureStack = Error.captureStackTrace;
Error.prepareStackTrace = (error) => {
  const property = contains(nativeErrors, getPrototypeOf(error)) ? getOwnPropertyDescriptor(error, "message") : undefined;
  if (property !== undefined && typeof property.value === "string") {
    const text = v8Text(property.value);
    if (text === null) missedWhenRead(error, "message", property.value);
    else if (text !== property.value) plainly(error, "message", text);
  }
  return "Error\n    at <anonymous>:1:1";
};
plainly(Error, "prepareStackTrace", undefined);
share(Error.prototype, {
  get stack() {
    const text = stackOf(this);
    if (text !== undefined) readsError("stack");
    return text;
  },
  set stack(text) { plainly(this, "stack", text); },
});
share(Error, { captureStackTrace(target, after) {
  captureStack(target, after);
  missedWhenRead(target, "stack", target.stack);
} });
each(["caller", "arguments"], (name) => defineProperty(Function.prototype, name, {
  get() { miss("a function's " + name); return null; }, set() {}, configurable: true, // of a strict function V8 throws
}));
delete global.SharedArrayBuffer;
/* RegExp.$1 and its like (the legacy static properties), which QuickJS lacks. Each match has to be noted for them, so only
a page whose scripts have such a name pays for that. */
const LEGACY = bare({ input: "$_", lastMatch: "$&", lastParen: "$+", leftContext: "$`", rightContext: "$'" });
const USES_LEGACY = /RegExp\s*(?:\.\s*(?:\$|lastM|lastP|leftC|rightC|input)|\[)/;
let lastMatch = null, notesMatches = false;
function noteMatches(text) {
  if (notesMatches || !test(USES_LEGACY, text)) return;
  notesMatches = true;
  share(RegExp.prototype, { exec(given) {
    const match = exec(this, given);
    if (match !== null) lastMatch = match;
    return match;
  } });
}
function legacy(read) {
  if (!notesMatches) miss("a static property of RegExp");
  return lastMatch === null ? "" : read(lastMatch) ?? "";
}
const RegExpOfTheWorld = RegExp;
for (let at = 1; at < 10; at++) defineProperty(RegExp, "$" + at, { get: () => legacy((match) => match[at]), configurable: true });
each(ownKeys(LEGACY), (name) => each([name, LEGACY[name]], (one) => defineProperty(RegExpOfTheWorld, one, {
  get: () => legacy((match) => (name === "input" ? match.input : name === "lastMatch" ? match[0] : name === "lastParen" ? match[match.length - 1]
    : name === "leftContext" ? slice(match.input, 0, match.index) : slice(match.input, match.index + match[0].length))),
  configurable: true,
})));
/** Has each member of an object throw where `this` is not the object whose member it is, as Web IDL says. */
function guard(members, isOwn) {
  const check = (object) => {
    if (!isOwn(object)) throw new TypeErrorOfTheWorld("Illegal invocation");
  };
  each(ownKeys(members), (name) => {
    const property = getOwnPropertyDescriptor(members, name), { value, get, set } = property;
    if (name === "constructor" || !property.configurable || (!get && !set && typeof value !== "function")) return;
    const checked = typeof value === "function" ? { [name](...values) { check(this); return apply(value, this, values); } } : {
      get [name]() { check(this); return apply(get, this, []); },
      set [name](given) { check(this); if (set) apply(set, this, [given]); },
    };
    const made = getOwnPropertyDescriptor(checked, name);
    made.enumerable = property.enumerable;
    if (!value && !set) delete made.set;
    defineProperty(members, name, made);
  });
}
/** Marks the functions of an object as built-in: as texts they are `[native code]`, which some scripts take apart. */
function markBuiltIn(object) {
  each(ownKeys(object), (name) => {
    const property = getOwnPropertyDescriptor(object, name);
    each(["value", "get", "set"], (part) => typeof property[part] === "function" && addNative(natives, property[part]));
  });
}

// ── The page ────────────────────────────────────────────────────────────────────────────────────────────────────────

const page = bare({
  request: null, url: "", base: null, clock: 0, tasks: [], taskCount: 0, running: 0, readyState: "loading",
  missed: "", missedToLeave: "", awaited: "", needs: [], cookies: [], jar: bare(), refresh: null, loaded: false, jump: null, policies: [],
  event: undefined, referrerPolicies: [], texts: "", failures: 0, failuresBefore: 0, currentScript: null, deferred: [], blocksLoad: 0,
  observers: [], atLoad: [], ignoresWrites: 0, tasksRun: 0, loading: false, evalBlocked: false, title: null,
  leftOut: 0, watchesNames: false, readsUnknown: false, scrolls: false, errorReads: "", missedBefore: null, isReload: false,
  textsRun: "", namesBefore: [], namesAt: 0, asked: "",
});

const MUCH_TEXT = 600; // characters: so many are no jump page's
const TASKS_MAX = 4096; // of one page: timers, frames and events
const ARRIVAL_MS = 100; // after which an asynchronous script or image has been fetched
const SURE_MS = 10; // so soon after a jump a timer certainly runs before the jump is done
const LEAVING_MS = 1000; // so late after a jump the page is certainly left
const COOKIES_MAX = 64;

/**
What pages draw and measure with. A page that shows much text and has not jumped is taken to stay, although a script of it
met one of these: shops use them on most pages.
*/
const SHOWING = new RegExp("^(?:(?:html\\w+)?element\\.|performance\\.|Intl\\.|error\\.|" +
  "navigator\\.(?:connection|permissions|userActivation|mediaSession|geolocation|scheduling|mediaCapabilities)|" +
  "document\\.(?:fonts|styleSheets|adoptedStyleSheets|wasDiscarded|timeline|dir|getSelection|createTreeWalker|" +
  "createNodeIterator|elements?FromPoint|getAnimations|lastModified|fullscreen\\w*|startViewTransition)|" +
  "(?:customElements|getComputedStyle|getSelection|visualViewport|OffscreenCanvas|Blob\\.\\w+|URL\\.createObjectURL|CSS|NodeFilter|" +
  "(?:offset|client|scroll)(?:Width|Height|Top|Left)|speechSynthesis|trustedTypes|scheduler|chrome|import|matchMedia|" +
  "localeCompare|innerText and a style sheet)$|to\\w+ with options|a (?:date|number)'s text with options$)");

/** Notes that a script met something that this world has not. */
function miss(name) {
  if (!page.missed) page.missed = name;
  if (!page.missedToLeave && !test(SHOWING, name)) page.missedToLeave = name;
}
/** Notes a limit of this world: nothing is certain after it. */
function exceed(limit) {
  page.missed = page.missedToLeave = limit;
  page.texts = "leaves";
}
function awaits(name) {
  if (!page.awaited) page.awaited = name;
  if (contains(ANSWERING, name)) page.asked = name;
}
const ANSWERING = words("fetch XMLHttpRequest WebSocket EventSource Worker SharedWorker");
const ERRORS = bare({ Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError });
const domError = (name, message) => new DOMExceptionOfTheWorld(message || name, name);

// ── Tasks on the virtual clock ──────────────────────────────────────────────────────────────────────────────────────

function queue(delay, run, kind = "task") {
  const task = bare({ due: page.clock + max(0, delay), order: page.taskCount++, run, kind });
  let at = page.tasks.length;
  while (at > 0 && page.tasks[at - 1].due > task.due) at--;
  splice(page.tasks, at, 0, task);
  return task;
}
function cancel(task) {
  const at = listIndex(page.tasks, task);
  if (at >= 0) splice(page.tasks, at, 1);
}
/** Runs a function of the page as a browser runs a callback: what it throws is reported, then promise jobs run. */
function call(callback, self, values) {
  page.running++;
  try {
    return apply(callback, self, values);
  } catch (error) {
    report(error);
  } finally {
    page.running--;
    checkpoint();
  }
}
function checkpoint() {
  if (page.running === 0) host.jobs("");
}
/** HTML 8.1.4.6, report an exception. */
function report(error, text) {
  page.failures++;
  if (!page.request.whole && !parser.active) miss("the rest of the page"); // it may have what the script looked for
  let message = text;
  if (message === undefined) {
    const { errorReads } = page;
    try {
      message = toText(error);
    } catch {
      message = "uncaught exception";
    }
    if (page.errorReads !== errorReads) forgetReads(/m$/g);
  }
  if (has(message, "out of memory")) exceed("32 MB of memory");
  if (page.reporting) return;
  page.reporting = true;
  const event = newEvent("error", { cancelable: true }, prototypes.ErrorEvent);
  const native = exec(/^(\w+Error): ([^]*)$/, message);
  own(event).isUncertain = native !== null && native[1] !== "Error" && hasOwn(ERRORS, native[1]) && v8Text(native[2]) === null;
  own(event).message = "Uncaught " + message;
  own(event).error = text === undefined ? error : errorOf(message);
  own(event).filename = page.url;
  dispatch(windowRecord, event);
  page.reporting = false;
}
/** The error of a script, of which the host has told the text. */
function errorOf(text) {
  const found = exec(/^(\w+): ([\s\S]*)$/, text);
  return found !== null && hasOwn(ERRORS, found[1]) ? new ERRORS[found[1]](found[2]) : null;
}
/** Runs a classic script in the global scope. */
function runText(text) {
  page.running++;
  const failure = parseJson(host.script(stringify(text)));
  page.running--;
  if (failure) {
    forgetReads(/m?s$/g);
    if (!page.missedToLeave && test(LEAVING, text)) page.missedToLeave = page.missed; // the rest of it might leave
    report(null, split(failure, /\n/g)[0]);
  }
  checkpoint();
}

// ── Navigation ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** HTML 7.4.2.2, navigate. A later navigation replaces one that is under way. */
function navigate(how, href, more) {
  const url = parsedUrl(href, documentBase(), page.request.encoding);
  if (url === null) throw domError("SyntaxError", `'${href}' is not a valid URL.`);
  follow(how, url, more);
}
function follow(how, url, more = {}) {
  if (url.protocol === "javascript:") {
    if (page.code) cancel(page.code);
    if (allowsInline(null, false)) page.code = queue(0, () => runUrl(url.href));
    return;
  }
  const body = hasOwn(more, "body") ? more.body : null;
  if (body === null && !more.reloads && has(url.href, "#") && sameDocument(url.href)) {
    moveTo(url.href);
    return;
  }
  if (url.protocol === "data:" || url.protocol === "about:" || url.protocol === "blob:") miss(url.protocol + " URL");
  if (url.protocol === "http:" && upgrades(how, url)) url = changedUrl(url.href, "protocol", "https:");
  if (page.code) cancel(page.code);
  parser.stopped = true; // Chromium stops the parser at once, so no later script of the page and no load event runs
  page.jump = null;
  if (!contains(page.schemes, slice(url.protocol, 0, -1))) return; // no application opens it
  page.jump = bare({
    how, task: page.tasksRun, url: url.href, method: more.method || "GET", body, type: more.type || "", due: page.clock,
    noReferrer: more.noReferrer === true, missed: page.missed, awaited: page.awaited, replaced: false,
    policies: more.policy ? withOne(page.referrerPolicies, more.policy) : arraySlice(page.referrerPolicies), cookies: page.cookies.length,
    skipped: page.needs.length, failed: page.failures > page.failuresBefore,
    readsUnknown: page.readsUnknown, isReload: more.isReload === true,
  });
}
function withOne(list, one) {
  const longer = arraySlice(list);
  push(longer, one);
  return longer;
}
const sameDocument = (href) => withoutFragment(href) === withoutFragment(page.url);

/** HTML 7.4.2.3.3, navigate to a fragment. */
function moveTo(href) {
  const from = page.url;
  page.url = href;
  if (from !== href) {
    const popped = newEvent("popstate", {}, prototypes.PopStateEvent);
    own(popped).state = null;
    dispatch(windowRecord, popped);
    queue(0, () => {
      const event = newEvent("hashchange", {}, prototypes.HashChangeEvent);
      own(event).oldURL = from;
      own(event).newURL = href;
      dispatch(windowRecord, event);
    });
  }
}
/** HTML 7.4.2.3.2, navigate to a javascript: URL. */
function runUrl(href) {
  let code = slice(href, "javascript:".length);
  try {
    code = decodePercent(code);
  } catch {
    code = replaced(code, /%([0-9A-Fa-f]{2})/g, (match) => fromCharCode(toNumber("0x" + match[1])));
  }
  noteText(code);
  const result = call(globalEval, undefined, [code]);
  if (typeof result === "string") {
    openDocument();
    writeText(result);
    closeDocument();
  }
}

// ── Refreshes ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** The shared declarative refresh steps (HTML 4.2.5.3). */
function refreshIn(text) {
  const began = exec(/^[\t\n\f\r ]*(?:([0-9]+)|(?=\.))[0-9.]*/, text);
  if (began === null) return null;
  const delay = toNumber(began[1] || "0");
  let rest = slice(text, began[0].length);
  if (rest !== "" && !test(/^[;,\t\n\f\r ]/, rest)) return null;
  rest = replaced(rest, /^[\t\n\f\r ]*[;,]?[\t\n\f\r ]*/g, () => "");
  if (rest === "") return { delay, href: page.url };
  const named = exec(/^url[\t\n\f\r ]*=[\t\n\f\r ]*/i, rest);
  if (named !== null) rest = slice(rest, named[0].length);
  if ((named !== null || !test(/^u/i, rest)) && test(/^['"]/, rest)) {
    const found = exec(rest[0] === "'" ? /^'([^]*)'/ : /^"([^]*)"/, rest); // Chromium reads until the last one
    rest = found === null ? slice(rest, 1) : found[1];
  }
  const url = parsedUrl(rest, documentBase(), page.request.encoding);
  return url === null || url.protocol === "javascript:" ? null : { delay, href: url.href };
}
/** Of several refreshes the one with the shortest delay counts, and of equal ones the last, as in Chromium. */
function declareRefresh(how, text) {
  const declared = refreshIn(text);
  if (declared === null || (page.refresh !== null && page.refresh.delay < declared.delay)) return;
  if (page.refresh !== null && page.refresh.task) cancel(page.refresh.task);
  page.refresh = bare({ how, delay: declared.delay, href: declared.href, task: null });
  if (page.loaded) startRefresh();
}
/** A refresh waits from the page's load on. */
function startRefresh() {
  const refresh = page.refresh;
  if (refresh === null || refresh.task !== null || refresh.delay > page.request.refresh_max_s) return;
  refresh.task = queue(refresh.delay * 1000, () => {
    page.refresh = null;
    follow(refresh.how, parsedUrl(refresh.href), { isReload: sameDocument(refresh.href) });
  }, "refresh");
}

// ── Content Security Policy ─────────────────────────────────────────────────────────────────────────────────────────

/** The sources of the first of these directives that each policy has; null: the policy says nothing. */
function sourcesOf(policy, names) {
  const directives = bare();
  each(split(policy, /;/g), (part) => {
    const found = words(part);
    const name = found.length ? lower(found[0]) : "";
    if (name && !(name in directives)) directives[name] = arraySlice(found, 1);
  });
  if ("sandbox" in directives && !contains(directives.sandbox, "allow-scripts")) return [];
  const name = find(names, (one) => one in directives);
  return name === null ? null : directives[name];
}
/** Whether all policies allow an inline script or handler (CSP 3, 6.7.3.3). A hash is not computed: missed. */
function allowsInline(nonce, isHandler) {
  const kind = isHandler ? "script-src-attr" : "script-src-elem";
  return !some(page.policies, (policy) => {
    const sources = sourcesOf(policy, [kind, "script-src", "default-src"]);
    if (sources === null || (nonce && contains(sources, `'nonce-${nonce}'`))) return false;
    const kinds = map(sources, lower);
    const hashed = some(kinds, (source) => startsWith(source, "'sha"));
    const strict = hashed || some(kinds, (source) => startsWith(source, "'nonce-") || source === "'strict-dynamic'");
    if (contains(kinds, "'unsafe-inline'") && !strict) return false;
    if (hashed) miss("a script's hash (Content-Security-Policy)");
    return true;
  });
}
const allowsEval = () => !some(page.policies, (policy) => {
  const sources = sourcesOf(policy, ["script-src", "default-src"]);
  return sources !== null && !contains(map(sources, lower), "'unsafe-eval'");
});
/** Whether a URL may be loaded or submitted to. Only the simple sources are read; others allow nothing for certain. */
function allowsUrl(names, href) {
  return !some(page.policies, (policy) => {
    const sources = sourcesOf(policy, names);
    return sources !== null && !someMatches(sources, parsedUrl(href));
  });
}
const someMatches = (sources, url) => some(sources, (source) => {
  const text = lower(source);
  if (text === "*") return test(/^https?:$/, url.protocol);
  if (text === "'self'") return url.origin === here().origin;
  if (test(/^[a-z][a-z0-9+.-]*:$/, text)) return text === url.protocol;
  const parts = exec(/^(?:([a-z]+):\/\/)?(\*\.)?([^/:]+)(?::([0-9*]+))?/, text);
  if (parts === null || parts[3][0] === "'") return false;
  if (parts[1] && parts[1] + ":" !== url.protocol) return false;
  return parts[2] ? endsWith(url.hostname, "." + parts[3]) : url.hostname === parts[3];
});
/** Whether all policies allow an external script (CSP 3, 6.7.1.1). With 'strict-dynamic' no host counts, but what a script inserts runs. */
function allowsScript(record, url) {
  const nonce = record.nonce || attribute(record, "nonce");
  return !some(page.policies, (policy) => {
    const sources = sourcesOf(policy, ["script-src-elem", "script-src", "default-src"]);
    if (sources === null || (nonce && contains(sources, `'nonce-${nonce}'`))) return false;
    if (contains(map(sources, lower), "'strict-dynamic'")) return record.fromParser;
    return !someMatches(sources, url);
  });
}
/** Whether a policy has forms, and jumps to the page's own host, go by https (Upgrade Insecure Requests, 3.3). */
const upgrades = (how, url) => (how === "form" || url.hostname === here().hostname) && !test(/^(?:localhost$|127\.)/, url.hostname) &&
  some(page.policies, (policy) => sourcesOf(policy, ["upgrade-insecure-requests"]) !== null);
function addPolicy(text) {
  each(split(text, /,/g), (policy) => push(page.policies, policy));
  if (page.evalBlocked || allowsEval()) return;
  page.evalBlocked = true;
  const refuse = function () {
    throw new EvalError("Refused to evaluate a string as JavaScript because of the Content Security Policy");
  };
  global.eval = refuse;
  global.Function = refuse;
  FunctionOfTheWorld.prototype.constructor = refuse;
}

// ── The tree ────────────────────────────────────────────────────────────────────────────────────────────────────────

const ELEMENT = 1, TEXT = 3, COMMENT = 8, DOCUMENT = 9, FRAGMENT = 11;
const SVG = "http://www.w3.org/2000/svg", HTML = "http://www.w3.org/1999/xhtml", MATH = "http://www.w3.org/1998/Math/MathML";
const records = new WeakMap();

/** The record of an object that a script holds. */
function own(object) {
  const record = weakGet(records, object);
  if (record === undefined) throw new TypeErrorOfTheWorld("Illegal invocation");
  return record;
}
/** Notes a read of what a script that was left out may have set. */
const doubts = () => void (page.readsUnknown ||= page.leftOut > 0);
/** Whether a script that was left out may have changed a node: one that was there before it. */
const isOlder = (record) => record.since < page.leftOut;
/** The record of an object of which a script reads what other scripts may change. */
function toRead(object) {
  const record = own(object);
  if (isOlder(record)) doubts();
  return record;
}
/** The wrapper of what a script has looked for. */
function lookedUp(record) {
  if (!record) doubts();
  return wrap(record);
}
/* Scripts touch few nodes of a page, so what all records begin with is in one prototype. `mine` gives a record a dictionary
of its own before something is added to it. */
const NOTHING = freeze(bare()), NO_CHILDREN = freeze([]);
const beginning = bare({
  data: "", attributes: NOTHING, children: NO_CHILDREN, parent: null, wrapper: null, listeners: NOTHING, handlers: NOTHING,
  namespace: HTML, value: null, checked: null, selected: null, started: false, fromParser: false, style: null, content: null,
  since: 0, // how many scripts had been left out before
});
function newRecord(type, tag) {
  const record = create(beginning);
  record.type = type;
  record.tag = tag;
  if (page.leftOut) record.since = page.leftOut;
  return record;
}
function mine(record, key) {
  if (record[key] === NOTHING) record[key] = bare();
  return record[key];
}
/** Adds a child at a place, without any effect. */
function attach(parent, record, at = parent.children.length) {
  treeVersion++;
  if (parent.children === NO_CHILDREN) parent.children = [];
  record.parent = parent;
  if (at === parent.children.length) push(parent.children, record);
  else splice(parent.children, at, 0, record);
}
/** Where the parser puts the children of an element: those of a template belong to its content. */
function inside(record) {
  if (record.tag !== "template" || record.type !== ELEMENT) return record;
  if (record.content === null) record.content = newRecord(FRAGMENT, "#document-fragment");
  return record.content;
}
const documentRecord = newRecord(DOCUMENT, "#document");
const windowRecord = newRecord(0, "#window");

const newElement = (tag) => newRecord(ELEMENT, tag);
function newText(data, type = TEXT) {
  const record = newRecord(type, type === TEXT ? "#text" : "#comment");
  record.data = data;
  return record;
}
/** The records of nodes as the host's parser returns them. */
function grown(nodes) {
  return map(nodes, (node) => {
    if (typeof node === "string") return newText(node);
    if (node[0] === "!") return newText(node[1], COMMENT);
    const record = newElement(node[0]);
    record.attributes = bare(node[1]);
    record.namespace = record.tag === "svg" ? SVG : record.tag === "math" ? MATH : HTML;
    each(grown(node[2]), (child) => {
      if (record.namespace !== HTML && child.type === ELEMENT) child.namespace = namespaceIn(record, child.tag);
      attach(inside(record), child);
    });
    return record;
  });
}
const attribute = (record, name) => (name in record.attributes ? record.attributes[name] : null);
const keyword = (record, name) => lower(attribute(record, name) || "");
const isElement = (record, tag) => record !== null && record.type === ELEMENT && (!tag || record.tag === tag);

/** Calls visit for the record and all its descendants in tree order, until it returns true. */
function walk(record, visit) {
  if (visit(record)) return true;
  for (let at = 0; at < record.children.length; at++) if (walk(record.children[at], visit)) return true;
  return false;
}
function descendants(root, accept) {
  const found = [];
  each(arraySlice(root.children), (child) => walk(child, (record) => {
    if (accept(record)) push(found, record);
  }));
  return found;
}
function first(root, accept) {
  let found = null;
  walk(root, (record) => record !== root && accept(record) && ((found = record), true));
  return found;
}
const byTag = (root, tag) => descendants(root, (record) => isElement(record, tag));
/* The document's elements by id, made anew after the tree has changed. */
let treeVersion = 0;
const ids = bare({ version: -1, elements: null });
function byId(root, id) {
  if (root !== documentRecord) return first(root, (record) => isElement(record) && attribute(record, "id") === id);
  if (ids.version !== treeVersion) {
    ids.version = treeVersion;
    ids.elements = bare();
    walk(root, (record) => {
      const own = record.type === ELEMENT ? attribute(record, "id") : null;
      if (own !== null && !(own in ids.elements)) ids.elements[own] = record;
    });
  }
  return ids.elements[id] || null;
}
const root = (record) => {
  while (record.parent !== null) record = record.parent;
  return record;
};
const isConnected = (record) => root(record) === documentRecord;
function textOf(record) {
  if (record.type === TEXT) return record.data;
  let text = "";
  walk(record, (one) => void (one.type === TEXT && (text += one.data)));
  return text;
}
const elementChildren = (record) => filter(record.children, (child) => child.type === ELEMENT);
const ancestor = (record, tag) => {
  for (let one = record; one !== null; one = one.parent) if (isElement(one, tag)) return one;
  return null;
};
const documentElement = () => find(documentRecord.children, (child) => child.type === ELEMENT);
const partOf = (tag) => {
  const html = documentElement();
  return html === null ? null : find(html.children, (child) => isElement(child, tag));
};
const theBody = () => partOf("body") || partOf("frameset");

function detach(record) {
  const parent = record.parent;
  if (parent === null) return;
  treeVersion++;
  splice(parent.children, listIndex(parent.children, record), 1);
  record.parent = null;
}
/** DOM 4.2.3, pre-insert. `before` null: at the end. */
function insert(parent, record, before) {
  for (let one = parent; one !== null; one = one.parent) {
    if (one === record) throw domError("HierarchyRequestError", "The new child element contains the parent.");
  }
  if (before !== null && before.parent !== parent) throw domError("NotFoundError", "The node before is not a child.");
  const added = record.type === FRAGMENT ? arraySlice(record.children) : [record];
  each(added, (one) => {
    if (one === before) return;
    detach(one);
    attach(parent, one, before === null ? parent.children.length : listIndex(parent.children, before));
  });
  observe(parent, "childList", added);
  each(added, arrived);
  if (isElement(parent, "script") && !parent.started && isConnected(parent) && !parent.fromParser) prepareScript(parent);
}
function removeChildren(record) {
  while (record.children.length) detach(record.children[0]);
}
function setText(record, text) {
  removeChildren(record);
  if (text !== "") insert(record, newText(text), null);
}
/** What a browser does when nodes have become part of the document. */
function arrived(record) {
  if (!isConnected(record)) return;
  const found = [];
  walk(record, (one) => void (one.type === ELEMENT && push(found, one)));
  each(found, (one) => {
    named(one);
    if (hasOwn(effects, one.tag) && isConnected(one)) effects[one.tag](one);
  });
}
/** The same for an element without children. */
function arrivedAlone(record) {
  const hasEffect = hasOwn(effects, record.tag);
  if (!(hasEffect || "id" in record.attributes || "name" in record.attributes) || !isConnected(record)) return;
  named(record);
  if (hasEffect) effects[record.tag](record);
}
/** What elements do when they are inserted, or when an attribute of them changes. */
const effects = bare({
  script: (record) => record.fromParser || prepareScript(record),
  meta: readMeta,
  iframe: loadFrame,
  img: loadMedia,
  base: () => (page.base = null),
  body: readHandlers,
  frameset: readHandlers,
  style: (record) => occurs(record, "load"),
  link: (record) => attribute(record, "href") && fetches(record, keyword(record, "rel") === "stylesheet"),
  svg: (record) => listens(record, "load") && push(page.atLoad, record),
  input: focuses, textarea: focuses, button: focuses, select: focuses, a: focuses,
  details: (record) => attribute(record, "open") !== null && occurs(record, "toggle"),
  video: loadMedia, audio: loadMedia,
  object: (record) => fetches(record, true), embed: (record) => fetches(record, true),
});
function readMeta(record) {
  const kind = keyword(record, "http-equiv"), text = attribute(record, "content");
  if (!text) return;
  if (kind === "refresh") declareRefresh("meta", text);
  if (kind === "content-security-policy") addPolicy(text);
  if (keyword(record, "name") === "referrer") push(page.referrerPolicies, text);
}
const listens = (record, type) => type in record.handlers || "on" + type in record.attributes || type in record.listeners;
/** Queues an event that certainly occurs. */
function occurs(record, type) {
  queue(0, () => {
    if (isConnected(record) && listens(record, type)) fire(record, type);
  });
}
/** An element whose resource this world does not fetch: nobody knows whether it loads. */
function fetches(record, loads) {
  if (!loads) return;
  queue(ARRIVAL_MS, () => {
    const onLoad = listens(record, "load") || (isConnected(record) && "load" in documentRecord.listeners), onError = listens(record, "error");
    if (onLoad && onError && handlerOf(record, "load") === handlerOf(record, "error") && handlerOf(record, "load")) {
      fire(record, "load");
    } else if (onLoad || onError) {
      each(["onload", "onerror"], (name) => noteText(attribute(record, name) || ""));
      awaits("whether a resource loads");
    }
  });
}
/** Images, audio and video load by themselves, also outside of the document. Only listeners notice. */
function loadMedia(record) {
  if (attribute(record, "src") === null) return;
  queue(0, () => {
    const source = attribute(record, "src");
    const isHeard = some([record, documentRecord, windowRecord], (one) => "error" in one.listeners) ||
      "load" in documentRecord.listeners || listens(record, "load") || listens(record, "error");
    if (!isHeard || source === null || record.loads === source) return;
    record.loads = source;
    const url = source === "" ? null : parsedUrl(source, documentBase());
    if (url === null || !test(/^(?:https?|data|blob):$/, url.protocol)) fire(record, "error");
    else if (url.protocol === "data:" && record.tag === "img") fire(record, "load");
    else fetches(record, true);
  });
}
function focuses(record) {
  if (attribute(record, "disabled") !== null || lower(attribute(record, "type") || "") === "hidden") return;
  if (attribute(record, "autofocus") !== null && !page.focused) {
    page.focused = true;
    each(["focus", "focusin"], (type) => occurs(record, type));
  }
}
/** The base URL of the document (HTML 2.4.1): the first base element with an href counts. */
function documentBase() {
  if (page.base === null) {
    const element = first(documentRecord, (record) => isElement(record, "base") && attribute(record, "href") !== null);
    if (element === null) {
      page.base = "";
      return page.url;
    }
    const url = parsedUrl(attribute(element, "href"), page.url, page.request.encoding);
    page.base = url === null || contains(["data:", "javascript:"], url.protocol) ||
      !allowsUrl(["base-uri"], url.href) ? "" : url.href;
  }
  return page.base || page.url;
}
const inDocument = (href) => {
  const url = parsedUrl(href, documentBase(), page.request.encoding);
  return url === null ? toText(href) : url.href;
};

// ── Scripts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const SCRIPT_TYPE = /^(?:(?:text|application)\/(?:x-)?(?:java|ecma)script|text\/(?:jscript|livescript|javascript1\.[0-5]))$/;

/** By which words a page could leave. */
const LEAVING = new RegExp("location|submit|\\.click\\b|[\"'](?:click|href)[\"']|http-?equiv|eval|Function|atob|unescape|fromCharCode|" +
  "(?:document|\\bdoc|\\bd)\\.write|(?:window|self|top|parent)\\.open|(?:^|[^.\\w])open\\s*\\(|navigate|_0x|\\\\x[0-9a-f]{2}|!\\+\\[\\]", "i");

const LEAVING_BY_EVENT = new RegExp(LEAVING.source + "|clear(?:Timeout|Interval)", "i");
/** By which words a page may run what a server has answered. Usual landing pages show data by other ones. */
const RUNS_ANSWERS = new RegExp(join([
  "createContextualFragment|(?:set|parse)HTMLUnsafe|srcdoc|setAttribute\\(\\s*[\"'`]on",
  "(?:\\.\\s*|\\[\\s*[\"'`])constructor(?:[\"'`]\\s*\\])?\\s*(?:\\(|\\.(?:call|apply|bind)\\b)",
  "\\b(?:window|self|globalThis|this|top|parent|frames)\\s*\\[(?!\\s*[\"'`][^\"'`\\]]*[\"'`]\\s*\\])[^\\]\\n]{1,200}\\]\\s*(?:\\(|`)",
  // a timer with the answer as its text
  "\\.then\\(\\s*(?:(?:window|self)\\.)?set(?:Timeout|Interval)\\b|set(?:Timeout|Interval)\\(\\s*[\\w$.]*\\.(?:response(?:Text)?|data)\\b",
  "\\.then\\(\\s*(?:async\\s+)?(?:function\\b[^(]*)?\\(?\\s*([\\w$]+)\\b[^]{0,400}?set(?:Timeout|Interval)\\(\\s*\\1\\s*[,)]",
  "\\b([\\w$]+)\\s*=\\s*\\(?\\s*await\\b[^]{0,400}?set(?:Timeout|Interval)\\(\\s*\\2\\s*[,)]",
  // a script element with the answer as its text, or a frame
  "\\b([\\w$]+)\\s*=\\s*[\\w$.]*createElement\\(\\s*[\"'`]script[\"'`]\\s*\\)(?:(?!ld\\+json)[^]){0,400}?\\b\\3\\s*\\.\\s*(?:(?:text|textContent|innerHTML|innerText)\\s*\\+?=(?!=)|append(?:Child)?\\()",
  "createElement\\(\\s*[\"'`]script[\"'`]\\s*\\)[\\s)]*(?:\\.\\s*(?:text|textContent|innerHTML|innerText|append)\\b|,\\s*\\{[^}]*\\b(?:text|textContent|innerHTML)\\b)",
  "\\b([\\w$]+)\\s*=\\s*[\\w$.]*createElement\\(\\s*[\"'`]i?frame[\"'`]\\s*\\)[^]{0,400}?\\b\\4\\s*\\.\\s*src\\s*=(?!\\s*[\"'`](?:https?:)?//)",
], "|"), "i");
/* Markup runs its handlers: that of a text, or of such a part of data. Data are also shown as parts of a page's own markup. */
const SHOWS_MARKUP = /\.\s*(?:innerHTML|outerHTML)\s*\+?=(?!=)|insertAdjacentHTML\(|\.html\(/;
const SHOWS_PART = /(?:\.\s*(?:innerHTML|outerHTML)\s*\+?=(?!=)\s*|insertAdjacentHTML\([^,]*,\s*)[\w$.]+\.(?:html|markup|content|fragment|code|body|snippet)\b/i;
const READS_TEXT = /\.text\(\s*\)|\bresponseText\b|\.response\b/, OF_DATA = /JSON\.parse\([^)]*\)?/g;
const RUNNING_TEXT_MAX = 32768; // characters of scripts that are looked through
/** Whether the page's scripts may run what a server has answered. */
function runsAnswers() {
  const text = page.textsRun;
  return text.length > RUNNING_TEXT_MAX || test(RUNS_ANSWERS, text) || test(SHOWS_PART, text) ||
    (test(SHOWS_MARKUP, text) && test(READS_TEXT, replaced(text, OF_DATA, () => "")));
}
/** Whether a handler's text may leave or stop a jump, by itself or by a function of the window that it calls. */
function mayLeave(text) {
  const code = (one) => replaced(one, /\bfunction\b/g, () => "");
  let found = test(LEAVING_BY_EVENT, code(text));
  replaced(text, /(^|[^.\w$])([A-Za-z_$][\w$]*)\s*\(/g, (match) => {
    const called = found ? undefined : (getOwnPropertyDescriptor(global, match[2]) || bare()).value;
    if (typeof called === "function") found = test(LEAVING_BY_EVENT, code(functionText(called)));
    return match[0];
  });
  return found;
}

/** Notes a text that is going to run. */
function noteText(text) {
  readsNames(text);
  page.textsRun += text + "\n";
  if (page.texts === "" && test(LEAVING, text)) page.texts = "leaves";
  if (test(/\bimport\s*\(/, text)) {
    awaits("import()");
    page.texts = "leaves"; // the imported one's text is not known
  }
  if (test(/\b(?:event_callback|eventCallback|hitCallback)\b/, text)) awaits("the callback of a measurement");
  noteMatches(text);
}
/** HTML 4.12.1.1: "classic", "module", or null for an element that is no script. */
function scriptKind(record) {
  let type = attribute(record, "type");
  const language = attribute(record, "language");
  if (type === null && language) type = "text/" + language;
  if (type === null || type === "") return "classic";
  type = lower(stripped(type));
  return type === "module" ? "module" : test(SCRIPT_TYPE, type) ? "classic" : null;
}
/** HTML 4.12.1.1, prepare the script element. */
function prepareScript(record) {
  const source = attribute(record, "src"), text = textOf(record);
  if (record.started || (source === null && text === "") || !isConnected(record)) return;
  if (record.namespace !== HTML && record.namespace !== SVG) return;
  const kind = scriptKind(record);
  if (kind === null) return;
  record.started = true;
  if (kind === "classic" && attribute(record, "nomodule") !== null) return;
  const event = attribute(record, "event"), target = attribute(record, "for");
  if (event !== null && target !== null && kind === "classic" &&
    (lower(stripped(target)) !== "window" || !test(/^onload(?:\(\))?$/, lower(stripped(event))))) return;
  if (source !== null) {
    loadScript(record, source, kind);
  } else if (allowsInline(record.nonce || attribute(record, "nonce"), false)) {
    noteText(text);
    const run = () => runScript(record, text, kind);
    if (kind === "classic") run();
    else if (record.fromParser && attribute(record, "async") === null) push(page.deferred, run);
    else queue(0, run);
  }
}
let BUILT_INS = 0; // names of the window; those that pages add come after them, then symbols
/** Whether a text has a name of the page's that a script which was left out may have changed. */
function sharesNames(text) {
  if (page.namesAt !== page.leftOut) {
    page.namesAt = page.leftOut;
    page.namesBefore = filter(arraySlice(ownKeys(global), BUILT_INS), (name) => typeof name === "string");
    replaced(page.textsRun, /\b(?:let|const|class)\s+([\w$]+)/g, (match) => void push(page.namesBefore, match[1]));
  }
  return some(page.namesBefore, (name) => hasWord(text, name));
}
function hasWord(text, word) {
  for (let at = indexOf(text, word); at >= 0; at = indexOf(text, word, at + 1)) {
    if (!isOfWord(charCode(text, at - 1)) && !isOfWord(charCode(text, at + word.length))) return true;
  }
  return false;
}
const isOfWord = (code) => (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 48 && code <= 57) || code === 95 || code === 36;
/** Notes the names that a text reads after a script was left out. */
function readsNames(text) {
  if (page.leftOut && !page.readsUnknown && sharesNames(text)) doubts();
}
function runScript(record, text, kind, href = page.url) {
  if (kind === "module") readsNames(text); // others run when they are noted
  const before = page.currentScript;
  page.currentScript = kind === "classic" ? record : null;
  if (kind === "module") {
    page.ignoresWrites++;
    runModule(text, href);
    page.ignoresWrites--;
  } else runText(text);
  page.currentScript = before;
}
function runModule(text, href) {
  page.running++;
  const located = replaced(text, /\bimport\.meta\.url\b/g, () => stringify(href));
  const failure = parseJson(host.module(stringify(located)));
  page.running--;
  if (failure) forgetReads(/m?s$/g);
  if (failure && has(failure, "could not load module")) {
    miss("import");
    page.texts = "leaves";
  } else if (failure) report(null, split(failure, /\n/g)[0]);
  checkpoint();
}
/** An external script: at once, after the page's end, or when it arrives. */
function loadScript(record, source, kind) {
  const url = source === "" ? null : parsedUrl(source, documentBase(), page.request.encoding);
  if (url === null) {
    queue(0, () => fire(record, "error"));
    return;
  }
  if (!allowsScript(record, url)) {
    queue(0, () => fire(record, "error"));
    return;
  }
  const run = () => runFetched(record, url, kind);
  const blocks = record.fromParser && kind === "classic" && attribute(record, "async") === null;
  if (blocks && attribute(record, "defer") === null) {
    run();
  } else if (blocks || (record.fromParser && attribute(record, "async") === null)) {
    push(page.deferred, run);
  } else {
    page.blocksLoad++;
    queue(ARRIVAL_MS, () => {
      page.blocksLoad--;
      run();
    });
  }
}
function runFetched(record, url, kind) {
  page.ignoresWrites++;
  runAnswer(record, url, kind);
  page.ignoresWrites--;
}
function runAnswer(record, url, kind) {
  const scripts = page.request.scripts;
  if (url.protocol === "data:") {
    const found = exec(/^data:([^,]*),([\s\S]*)$/, url.href);
    if (found === null) return;
    const text = test(/;\s*base64\s*$/i, found[1]) ? fromBase64(decodePercent(found[2])) : decodePercent(found[2]);
    noteText(text);
    runScript(record, text, kind);
    fire(record, "load");
  } else if (!test(/^https?:$/, url.protocol)) {
    fire(record, "error");
  } else if (!(url.href in scripts) && contains(page.request.harmless_hosts || [], url.hostname)) {
    fire(record, "load");
  } else if (!(url.href in scripts)) {
    if (!contains(page.needs, url.href)) push(page.needs, url.href);
    page.leftOut++;
    page.failuresBefore = page.failures;
    watchNames();
  } else if (scripts[url.href] === null) {
    fire(record, "error");
  } else {
    const charset = attribute(record, "charset");
    if (charset && test(/[^\x00-\x7f]/, scripts[url.href])) {
      const name = ask("encode", ["", charset, "name"]);
      if (name && name !== page.request.encoding) miss("a script's charset"); // the daemon has read it by the page's
    }
    noteText(scripts[url.href]);
    runScript(record, scripts[url.href], kind, url.href);
    fire(record, "load");
  }
}

/** Notes each later read of a name that the window does not have: a script that was left out may define it. */
function watchNames() {
  if (page.watchesNames) return;
  page.watchesNames = true;
  const knows = (target, name) => {
    if (name in target) return true;
    page.readsUnknown = true;
    return false;
  };
  setPrototypeOf(global, new ProxyOfTheWorld(namedProperties, bare({
    has: knows,
    get: (target, name, self) => (knows(target, name) ? Reflect_get(target, name, self) : undefined),
  })));
}

// ── Frames ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Inside a frame, names of the frame's own window mean another window than the page's: they are missed. */
const frameScope = (name) => {
  const scope = bare();
  each(["window", "self", "location", "document", "frames", "name", "history", "globalThis"], (word) => {
    defineProperty(scope, word, {
      get: () => (miss("a frame's " + word), undefined), set: () => undefined, enumerable: true,
    });
  });
  return scope;
};
function runInFrame(text) {
  noteText(text);
  queue(0, () => {
    const run = FunctionOfTheWorld("__scope", "__code", "with (__scope) return eval(__code)");
    const result = call(run, undefined, [frameScope(), text]);
    if (typeof result === "string") each(scriptsIn(result), runInFrame);
  });
}
/** The scripts of a frame's own document that may move the page: those of a javascript: URL or of srcdoc. */
function loadFrame(record) {
  const sandbox = attribute(record, "sandbox");
  const source = attribute(record, "src") || "", inner = attribute(record, "srcdoc");
  const isCode = inner === null && test(/^[\s\x00-\x1f]*javascript:/i, source);
  if (sandbox === null || has(lower(sandbox), "allow-scripts")) {
    const texts = isCode ? [slice(parsedUrl(source).href, "javascript:".length)] : inner === null ? [] : scriptsIn(inner);
    each(texts, (text) => {
      if (sandbox !== null) {
        if (contains(words(lower(sandbox)), "allow-top-navigation")) noteText(text);
        miss("a sandboxed frame");
      }
      else if (test(/\b(?:top|parent)\b|eval|atob|Function/, text)) runInFrame(isCode ? decodedCode(text) : text);
    });
  }
  if (inner !== null) occurs(record, "load");
  else if (source === "" || isCode || test(/^about:/i, source)) fire(record, "load");
  else {
    const url = parsedUrl(source, documentBase(), page.request.encoding);
    if (url !== null && url.origin === here().origin && sandbox === null) {
      awaits("a frame of the same site");
      page.texts = "leaves";
    }
    fetches(record, true);
  }
}
const decodedCode = (text) => {
  try {
    return decodePercent(text);
  } catch {
    return text;
  }
};
const scriptsIn = (html) => {
  const inside = newRecord(FRAGMENT, "#fragment");
  each(grown(ask("parse", [html, ""])), (child) => attach(inside, child));
  return filter(map(byTag(inside, "script"), textOf), (text) => text !== "");
};

// ── The parser ──────────────────────────────────────────────────────────────────────────────────────────────────────

/* The host parses whole texts. `nodes` lists the nodes of the latest tree in tree order; the first `made.length` of them
have become records. document.write changes the text and has it parsed again: what comes before the insertion point stays
the same, so positions in the list remain valid. A mark before each script's end tag tells where in the text it ends. */
const parser = bare({ text: "", nodes: [], made: [], version: 0, points: [], stopped: false, active: false, ends: [],
  cut: -1, waiting: null, opened: false, openings: 0, isSilent: false });
const MARK = "\ufdd0", MARK_END = "\ufdd1", CUT = "\ufdd2";

const unmarked = (text) => (has(text, MARK)
  ? replaced(text, /\ufdd0(\d+|[ABC])\ufdd1/g, (match) => { const at = indexOf("ABC", match[1]); return at < 0 ? "" : fromCharCode(0xfdd0 + at); })
  : text);

/** Parses the text. `point`: an insertion point, where reading pauses. Returns how many nodes come before that. */
function readTree(point) {
  const cut = point === null ? (page.request.whole ? -1 : parser.text.length) : point.at;
  const given = point === null && parser.version === 0 ? page.request.tree : null;
  const tree = given || ask("tree", [parser.text, cut < 0 ? null : toText(cut)]);
  parser.nodes = flattened(tree[0]);
  parser.ends = tree[1];
  const { nodes } = parser;
  if (cut < 0) return nodes.length;
  parser.cut = -1;
  for (let at = 0; at < nodes.length; at++) {
    if (!isCut(nodes[at])) continue;
    parser.cut = at;
    return nodes[at].data === null || nodes[at].isComment ? at : nodes[at].parent;
  }
  return nodes.length;
}
/** Whether the cut is in the node: a tag, or a text such as that of a script, that was not complete. */
function isCut(node) {
  if (node.data !== null) return has(node.data, CUT);
  return has(node.tag, CUT) || some(ownKeys(node.attributes), (name) => has(name, CUT) || has(node.attributes[name], CUT));
}
/* A loop, because trees may be deeper than the stack. */
function flattened(nodes) {
  const list = [], open = [bare({ nodes, next: 0, parent: -1 })];
  while (open.length) {
    const level = open[open.length - 1], node = level.nodes[level.next++], { parent } = level;
    if (node === undefined) pop(open);
    else if (typeof node === "string") push(list, { tag: null, data: node, parent, isComment: false });
    else if (node[0] === "!") push(list, { tag: null, data: node[1], parent, isComment: true });
    else {
      push(open, bare({ nodes: node[2], next: 0, parent: list.length }));
      push(list, { tag: node[0], data: null, attributes: bare(node[1]), parent, isComment: false });
    }
  }
  return list;
}
/** Makes the document's nodes up to a point of the text, and runs the scripts among them. */
function parseTo(point) {
  for (;;) {
    const version = parser.version, whole = makeNodes(readTree(point), version), { waiting } = parser;
    if (waiting !== null && !parser.points.length) {
      parser.waiting = null;
      runAt(waiting.point, waiting.record);
    } else if (whole || waiting !== null) return;
  }
}
/** Returns false if a script has changed the text. */
function makeNodes(end, version) {
  const { made } = parser;
  if (made.length && made.length <= end) extendText(made.length - 1);
  while (made.length < end && !parser.stopped && parser.waiting === null) {
    const record = makeNode(parser.nodes[made.length]);
    if (isElement(record, "script")) {
      finishScript(record, end);
      if (parser.version !== version) return false;
    }
  }
  return true;
}
/** A text that a later write goes on with. */
function extendText(at) {
  const record = parser.made[at], node = parser.nodes[at];
  if (record.type === TEXT && !isElement(record.parent, "script") && node.data !== null) record.data = unmarked(node.data);
}
/** The namespace of an element by its place (HTML 13.2.6.5 and 13.2.6.7). */
function namespaceIn(parent, tag) {
  if (tag === "svg") return SVG;
  if (tag === "math") return MATH;
  const isHtml = !parent.namespace || test(HTML_INSIDE, parent.tag) ||
    (parent.tag === "annotation-xml" && test(/^(?:text\/html|application\/xhtml\+xml)$/, keyword(parent, "encoding")));
  return isHtml ? HTML : parent.namespace;
}
const HTML_INSIDE = /^(?:foreignobject|desc|title|m[inos]|mtext)$/i;
function makeNode(node) {
  const parent = node.parent < 0 ? documentRecord : inside(parser.made[node.parent]);
  const record = node.tag === null ? newText(unmarked(node.data), node.isComment ? COMMENT : TEXT) : newElement(node.tag);
  if (node.tag !== null) {
    const names = ownKeys(node.attributes);
    if (names.length) record.attributes = node.attributes;
    each(names, (name) => has(node.attributes[name], MARK) && (node.attributes[name] = unmarked(node.attributes[name])));
    record.namespace = namespaceIn(parent, node.tag);
    record.fromParser = true;
  }
  attach(parent, record);
  push(parser.made, record);
  if (node.tag !== null && node.tag !== "script") arrivedAlone(record);
  else if (node.tag === null && !isElement(parent, "script")) observe(parent, "childList", [record]);
  return record;
}
/** Runs a script element if its end tag has been read. */
function finishScript(record, end) {
  const { made, nodes } = parser;
  const place = made.length - 1;
  let mark = null;
  while (made.length < end && nodes[made.length].parent === place) {
    mark = exec(/\ufdd0(\d+)\ufdd1$/, nodes[made.length].data || "");
    makeNode(nodes[made.length]);
  }
  if (mark === null) return;
  if (isInShadow(nodes[place].parent)) {
    noteText(textOf(record));
    miss("a shadow root");
  }
  const point = bare({ at: parser.ends[toNumber(mark[1])] });
  named(record);
  if (parser.points.length && blocksParser(record)) parser.waiting = bare({ point, record });
  else runAt(point, record);
}
/** Whether a node of the list is in a template that is the shadow root of its parent. Its scripts run. */
function isInShadow(at) {
  if (at < 0) return false;
  const { tag, attributes, parent } = parser.nodes[at];
  return tag === "template" ? test(/^(?:open|closed)$/i, attributes.shadowrootmode || "") : isInShadow(parent);
}
/** Runs a script; what it writes goes to that place. */
function runAt(point, record) {
  push(parser.points, point);
  prepareScript(record);
  pop(parser.points);
}
/* A written script that must be fetched runs when the script that wrote it has ended, and until then nothing after it is
parsed. */
const blocksParser = (record) => attribute(record, "src") !== null && scriptKind(record) === "classic" &&
  attribute(record, "async") === null && attribute(record, "defer") === null;
/** document.write (HTML 8.4.3). */
function writeText(text) {
  if (!parser.points.length) {
    if (page.ignoresWrites) return; // a module, or an external script without a place in the text
    openDocument();
    const end = bare({ at: parser.text.length });
    parser.text += text;
    end.at = parser.text.length;
    parser.version++;
    push(parser.points, end);
    parseTo(end);
    pop(parser.points);
    return;
  }
  const point = parser.points[parser.points.length - 1], { at } = point;
  parser.text = slice(parser.text, 0, at) + text + slice(parser.text, at);
  each(parser.points, (one) => {
    if (one === point || one.at >= at) one.at += text.length;
  });
  parser.version++;
  parseTo(point);
}
/** document.open (HTML 8.4.1): the document begins anew. */
function openDocument() {
  if (parser.points.length || parser.opened) return;
  removeChildren(documentRecord);
  documentRecord.listeners = documentRecord.handlers = windowRecord.listeners = windowRecord.handlers = NOTHING;
  parser.text = "";
  parser.made = [];
  parser.nodes = [];
  parser.version++;
  parser.active = true;
  parser.opened = true;
  parser.openings++;
  page.loaded = false;
  page.deferred = [];
  if (page.refresh !== null && page.refresh.delay === 0) page.refresh = null; // Chromium keeps the others, and their timers
  parser.isSilent = page.loading; // what a listener of the load event writes has no load event, as in Chromium
  page.base = null;
}
function closeDocument() {
  if (!parser.opened || parser.points.length) return;
  parseTo(null);
  parser.opened = false;
  endParsing();
}
/** The end (HTML 13.2.7): deferred scripts, DOMContentLoaded, then load. */
function endParsing() {
  parser.active = false;
  if (!page.request.whole) for (let at = parser.cut; at >= 0; at = parser.nodes[at].parent) if (parser.made[at]) parser.made[at].isCut = true;
  if (page.request.open && parser.openings === 0) return; // only the rest of the page brings its end
  const before = parser.openings;
  setReadyState("interactive");
  while (page.deferred.length && !parser.stopped) shift(page.deferred)();
  if (parser.stopped || parser.openings !== before) return;
  fire(documentRecord, "DOMContentLoaded", { bubbles: true });
  const { openings } = parser;
  if (!parser.isSilent) queue(0, () => load(openings));
}
/** A document that was opened anew since then has its load after its close. */
function load(openings) {
  if (parser.stopped || parser.openings !== openings) return;
  if (page.blocksLoad > 0) {
    queue(ARRIVAL_MS / 10, () => load(openings));
    return;
  }
  each(page.atLoad, (record) => parser.stopped || fire(record, "load"));
  if (parser.stopped) return;
  setReadyState("complete");
  if (parser.stopped) return;
  const event = newEvent("load", {});
  page.loading = true;
  dispatch(windowRecord, event, documentRecord);
  page.loading = false;
  page.loaded = true;
  if (parser.stopped) return;
  dispatch(windowRecord, newEvent("pageshow", {}, prototypes.PageTransitionEvent));
  if (!parser.stopped) startRefresh();
}
function setReadyState(state) {
  page.readyState = state;
  fire(documentRecord, "readystatechange");
}

// ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function newEvent(type, options, prototype) {
  const event = create(prototype || prototypes.Event);
  weakSet(records, event, bare({
    type: toText(type), bubbles: !!options.bubbles, cancelable: !!options.cancelable, composed: !!options.composed,
    detail: options.detail === undefined ? null : options.detail, target: null, current: null, phase: 0, options,
    canceled: false, stopped: false, stoppedNow: false, time: page.clock, isTrusted: true,
  }));
  return event;
}
function untrusted(event) {
  own(event).isTrusted = false;
  return event;
}
const fire = (record, type, options = {}) => dispatch(record, newEvent(type, options));

/** DOM 2.9, dispatch. Returns false if the event was canceled. */
function dispatch(target, event, shown = target) {
  const state = own(event);
  state.target = shown;
  const path = [target];
  for (let one = target.parent; one; one = one.parent) push(path, one);
  if (target.type && root(target) === documentRecord && state.type !== "load") push(path, windowRecord);
  state.path = path;
  for (let at = path.length - 1; at > 0; at--) listen(path[at], event, 1);
  listen(target, event, 2);
  if (state.bubbles) for (let at = 1; at < path.length; at++) listen(path[at], event, 3);
  state.current = null;
  state.phase = 0;
  return !state.canceled;
}
/** Calls the listeners of one target for a phase: 1 capturing, 2 at the target, 3 bubbling. */
function listen(record, event, phase) {
  const state = own(event);
  if (state.stopped) return;
  state.current = record;
  state.phase = phase;
  const wrapper = wrap(record), before = page.event;
  page.event = event; // window.event
  if (phase !== 1) {
    const handler = handlerOf(record, state.type);
    if (handler !== null) handle(record, handler, event, state);
  }
  each(arraySlice(record.listeners[state.type] || []), (one) => {
    if (one.signal && one.signal.aborted) removeListener(record, state.type, one.callback, one.capture);
    if (state.stoppedNow || one.removed || (phase === 1 && !one.capture) || (phase === 3 && one.capture)) return;
    if (one.once) removeListener(record, state.type, one.callback, one.capture);
    if (page.leftOut && typeof one.callback === "function") readsNames(functionText(one.callback));
    if (typeof one.callback === "function") call(one.callback, wrapper, [event]);
    else call((value) => one.callback.handleEvent(value), undefined, [event]);
  });
  page.event = before;
}
/** Event handlers (HTML 8.1.8.1): a result of false cancels; that of window.onerror cancels by true. */
function handle(record, handler, event, state) {
  const isError = record === windowRecord && state.type === "error";
  if (isError && state.isUncertain && usesFirst(handler)) miss("error.message");
  if (page.leftOut) readsNames(functionText(handler));
  const values = isError ? [state.message || "", page.url, 1, 1, state.error] : [event];
  const result = call(handler, wrap(record), values);
  if (result === (isError ? true : false)) state.canceled = true;
}
/** Whether a function may read its first argument. */
function usesFirst(callback) {
  const text = functionText(callback), found = exec(/^(?:async\s+)?(?:function\b[^(]*)?\(?\s*([\w$]+)/, text);
  return test(/\barguments\b/, text) || (found !== null && split(text, new RegExp(`(?<![\\w$.])${replaced(found[1], /\$/g, () => "\\$")}(?![\\w$])`, "g")).length > 2);
}
function addListener(record, type, callback, options) {
  if (callback === null || callback === undefined) return;
  awaitsEvent(record, type, callback);
  const capture = typeof options === "object" && options !== null ? !!options.capture : !!options;
  const once = typeof options === "object" && options !== null && !!options.once;
  const signal = typeof options === "object" && options !== null && options.signal ? own(options.signal) : null;
  if (signal !== null && signal.aborted) return;
  const list = record.listeners[type] || (mine(record, "listeners")[type] = []);
  if (!some(list, (one) => one.callback === callback && one.capture === capture)) {
    push(list, bare({ callback, capture, once, signal, removed: false }));
  }
}
/* Events of which this world does not know whether they occur. */
const UNSEEN_EVENTS = ["unhandledrejection", "securitypolicyviolation"];
const OF_THE_MOUSE = /^(?:mouse|pointer)(?:move|over|enter)$/; // the mouse may be on the page already
const OF_ANIMATIONS = /^(?:webkit)?(?:animation|transition)(?:start|run|iteration|end)$/i;
const OF_SCROLLING = /^scroll(?:end)?$/; // by a script
/** Notes that a page may leave by such an event. */
function awaitsEvent(record, type, callback) {
  if (contains(UNSEEN_EVENTS, type)) awaits(type);
  const isOfPage = record === windowRecord || record === documentRecord || record === documentElement() || record === theBody();
  if (typeof callback === "function" && (test(OF_ANIMATIONS, type) || (isOfPage && test(OF_THE_MOUSE, type)) ||
    (page.scrolls && test(OF_SCROLLING, type))) && mayLeave(functionText(callback))) awaits("the event " + type);
}
function scrolls() {
  page.scrolls = true;
  each([windowRecord, documentRecord], (record) => each(["scroll", "scrollend"], (type) => {
    awaitsEvent(record, type, handlerOf(record, type));
    each(record.listeners[type] || [], (one) => awaitsEvent(record, type, one.callback));
  }));
}
function removeListener(record, type, callback, capture) {
  const list = record.listeners[type] || [];
  const found = find(list, (one) => one.callback === callback && one.capture === capture);
  if (found === null) return;
  found.removed = true;
  splice(list, listIndex(list, found), 1);
}
/** The current handler: a function that a script has set, or the attribute's text, compiled at its first use. */
function handlerOf(record, type) {
  const found = record.handlers[type];
  if (found !== undefined && (found === null || found.callback !== undefined)) return found && found.callback;
  const text = found === undefined ? attribute(record, "on" + type) : found.text;
  if (text === null || (record.type !== ELEMENT && record !== windowRecord) || !contains(HANDLERS, type)) return null;
  const handler = allowsInline(null, true) ? compiled(record, type, text) : null;
  mine(record, "handlers")[type] = handler && bare({ callback: handler });
  return handler;
}
/** HTML 8.1.8.1, get the current value of the event handler: document, form and element are in its scope. */
function compiled(record, type, text) {
  noteText(text);
  const element = record === windowRecord ? theBody() : record;
  const form = formOf(element);
  const name = record === windowRecord && type === "error" ? "event, source, lineno, colno, error" : "event";
  try {
    const make = FunctionOfTheWorld("__document", "__form", "__element",
      `with (__document) with (__form) with (__element) return function on${type}(${name}) {\n${text}\n}`);
    return make(wrap(documentRecord), form === null ? bare() : wrap(form), wrap(element));
  } catch (error) {
    report(error);
    return null;
  }
}
function setHandler(record, type, value) {
  const callback = typeof value === "function" ? value : null;
  if (callback) awaitsEvent(record, type, callback);
  mine(record, "handlers")[type] = callback && bare({ callback });
}
/** The handlers that body and frameset set on the window (HTML 8.1.8.2). */
const OF_THE_WINDOW = ["load", "error", "blur", "focus", "resize", "scroll", "hashchange", "pageshow", "pagehide", "message",
  "beforeunload", "unload", "popstate", "storage", "online", "offline", "afterprint", "beforeprint", "languagechange"];
function readHandlers(record) {
  each(OF_THE_WINDOW, (type) => {
    const text = attribute(record, "on" + type);
    if (text !== null) mine(windowRecord, "handlers")[type] = bare({ text });
  });
}

// ── Selectors ───────────────────────────────────────────────────────────────────────────────────────────────────────

const ESCAPE = "\\\\(?:[\\da-fA-F]{1,6}\\s?|.)", NAME = `(?:[-\\w\\u0080-\\uffff]|${ESCAPE})+`;
const SIMPLE = new RegExp(`^(?:(\\*|${NAME})|#(${NAME})|\\.(${NAME})|` +
  `\\[\\s*(${NAME})\\s*(?:([~|^$*]?=)\\s*(?:"((?:[^"\\\\]|${ESCAPE})*)"|'((?:[^'\\\\]|${ESCAPE})*)'|(${NAME}))\\s*([iIsS])?\\s*)?\\]|:(:?[-\\w]+)(\\()?)`);
const unescaped = (text) => replaced(text, /\\(?:([\da-fA-F]{1,6})\s?|(.))/g,
  (match) => (match[1] === undefined ? match[2] : fromCodePoint(toNumber("0x" + match[1]) || 0xfffd)));

/** A list of complex selectors; each is a list of compounds, the last first, with the combinator before each. */
function selectorsIn(text) {
  const state = { text: stripped(toText(text)), at: 0 };
  const list = selectorList(state);
  if (state.at < state.text.length) throw domError("SyntaxError", `'${text}' is not a valid selector.`);
  return list;
}
function selectorList(state) {
  const list = [];
  for (;;) {
    push(list, complexSelector(state));
    skipSpace(state);
    if (state.text[state.at] !== ",") return list;
    state.at++;
  }
}
const skipSpace = (state) => {
  while (test(/^[\t\n\f\r ]$/, state.text[state.at] || "")) state.at++;
};
function complexSelector(state) {
  const parts = [];
  let combinator = "";
  for (;;) {
    skipSpace(state);
    const mark = state.text[state.at];
    if (mark === ">" || mark === "+" || mark === "~") {
      combinator = mark;
      state.at++;
      skipSpace(state);
    }
    splice(parts, 0, 0, { combinator, tests: compoundSelector(state) });
    const next = state.text[state.at];
    if (next === undefined || next === "," || next === ")") return parts;
    if (!test(/^[\t\n\f\r >+~]$/, next)) throw domError("SyntaxError", `'${state.text}' is not a valid selector.`);
    combinator = " ";
    skipSpace(state);
    if (state.at >= state.text.length || state.text[state.at] === "," || state.text[state.at] === ")") return parts;
  }
}
function compoundSelector(state) {
  const tests = [];
  for (;;) {
    const match = exec(SIMPLE, slice(state.text, state.at));
    if (match === null || (match[1] && tests.length)) break;
    state.at += match[0].length;
    push(tests, simpleSelector(match, state));
  }
  if (!tests.length) throw domError("SyntaxError", `'${state.text}' is not a valid selector.`);
  return tests;
}
function simpleSelector(match, state) {
  if (match[1] === "*") return () => true;
  if (match[1]) return (record) => record.tag === lower(match[1]);
  if (match[2]) return (record) => attribute(record, "id") === unescaped(match[2]);
  if (match[3]) return (record) => contains(words(attribute(record, "class") || ""), unescaped(match[3]));
  if (match[4]) return attributeTest(match);
  const inner = match[11] ? innerOf(state, match[10]) : null;
  return pseudoTest(lower(match[10]), inner);
}
function attributeTest(match) {
  const name = lower(unescaped(match[4])), operator = match[5];
  const value = unescaped(match[6] ?? match[7] ?? match[8] ?? "");
  const fold = match[9] && lower(match[9]) === "i" ? lower : (text) => text;
  return (record) => {
    if (!(name in record.attributes)) return false;
    if (!operator) return true;
    const found = fold(record.attributes[name]), wanted = fold(value);
    if (operator === "=") return found === wanted;
    if (operator === "~=") return contains(words(found), wanted);
    if (operator === "|=") return found === wanted || startsWith(found, wanted + "-");
    if (wanted === "") return false;
    return operator === "^=" ? startsWith(found, wanted) : operator === "$=" ? endsWith(found, wanted) : has(found, wanted);
  };
}
/** The argument of a functional pseudo-class: selectors, or a text. */
function innerOf(state, name) {
  if (test(/^(?:not|is|where|matches|has)$/i, name)) {
    skipSpace(state);
    if (lower(name) === "has" && test(/^[>+~]$/, state.text[state.at])) miss(":has() with a combinator");
    const list = selectorList(state);
    state.at++;
    return list;
  }
  const end = indexOf(state.text, ")", state.at);
  const text = slice(state.text, state.at, end < 0 ? state.text.length : end);
  state.at = end < 0 ? state.text.length : end + 1;
  return lower(stripped(text));
}
const siblings = (record) => (record.parent === null ? [record] : elementChildren(record.parent));
const sameTag = (record) => filter(siblings(record), (one) => one.tag === record.tag);
const isCheckable = (record) => record.tag === "input" && test(/^(?:checkbox|radio)$/, keyword(record, "type"));
const canBeDisabled = (record) => contains(CONTROLS, record.tag) || contains(["option", "optgroup"], record.tag);
const PSEUDOS = bare({
  "first-child": (record) => siblings(record)[0] === record,
  "last-child": (record) => siblings(record)[siblings(record).length - 1] === record,
  "only-child": (record) => siblings(record).length === 1,
  "first-of-type": (record) => sameTag(record)[0] === record,
  "last-of-type": (record) => sameTag(record)[sameTag(record).length - 1] === record,
  "only-of-type": (record) => sameTag(record).length === 1,
  empty: (record) => !some(record.children, (child) => child.type === ELEMENT || (child.type === TEXT && child.data !== "")),
  root: (record) => record.parent === documentRecord,
  scope: (record) => (scoped === null || scoped.type !== ELEMENT ? record.parent === documentRecord : record === scoped),
  checked: (record) => (record.tag === "option" ? isSelected(record) : isCheckable(record) && isChecked(record)),
  disabled: (record) => canBeDisabled(record) && isDisabled(record),
  enabled: (record) => canBeDisabled(record) && !isDisabled(record),
  required: (record) => attribute(record, "required") !== null,
  link: (record) => record.tag === "a" && attribute(record, "href") !== null,
  "any-link": (record) => record.tag === "a" && attribute(record, "href") !== null,
});
/** Pseudo-classes that a browser knows besides. */
const OTHER_PSEUDOS = words("active autofill default defined dir focus focus-visible focus-within fullscreen host hover in-range " +
  "indeterminate invalid lang modal open optional out-of-range placeholder-shown popover-open read-only read-write " +
  "target user-invalid user-valid valid visited before after first-letter first-line placeholder selection marker");
let scoped = null; // what :scope means
function pseudoTest(name, inner) {
  if (hasOwn(PSEUDOS, name)) return PSEUDOS[name];
  if (name === "not") return (record) => !matchesAny(record, inner);
  if (test(/^(?:is|where|matches)$/, name)) return (record) => matchesAny(record, inner);
  if (name === "has") return (record) => first(record, (one) => isElement(one) && matchesAny(one, inner)) !== null;
  const nth = exec(/^nth-(last-)?(child|of-type)$/, name);
  if (nth === null) {
    if (!contains(OTHER_PSEUDOS, name)) throw domError("SyntaxError", `':${name}' is not a valid selector.`);
    miss("the selector :" + name);
    return () => false;
  }
  const formula = inner === "odd" ? ["", "2", "1"] : inner === "even" ? ["", "2", "0"]
    : exec(/^(?:([+-]?\d*)n)?\s*([+-]?\s*\d+)?$/, inner) || ["", "0", "0"];
  const step = formula[1] === undefined ? 0 : formula[1] === "" || formula[1] === "+" ? 1 : formula[1] === "-" ? -1 : toNumber(formula[1]);
  const offset = toNumber(replaced(formula[2] || "0", /\s/g, () => ""));
  return (record) => {
    const list = nth[2] === "child" ? siblings(record) : sameTag(record);
    const place = listIndex(list, record), index = (nth[1] ? list.length - 1 - place : place) + 1 - offset;
    return step === 0 ? index === 0 : index % step === 0 && index / step >= 0;
  };
}
const matchesAny = (record, list) => some(list, (parts) => matchesFrom(record, parts, 0));
function matchesFrom(record, parts, at) {
  if (some(parts[at].tests, (accepts) => !accepts(record))) return false;
  if (at + 1 === parts.length) return true;
  const { combinator } = parts[at];
  if (combinator === ">" || combinator === " ") {
    for (let one = record.parent; isElement(one); one = one.parent) {
      if (matchesFrom(one, parts, at + 1)) return true;
      if (combinator === ">") return false;
    }
    return false;
  }
  const list = siblings(record);
  for (let place = listIndex(list, record) - 1; place >= 0; place--) {
    if (matchesFrom(list[place], parts, at + 1)) return true;
    if (combinator === "+") return false;
  }
  return false;
}
const selectAll = (scope, text) => {
  const list = selectorsIn(text);
  scoped = scope;
  return descendants(scope, (record) => isElement(record) && matchesAny(record, list));
};
const select = (scope, text) => {
  const list = selectorsIn(text);
  scoped = scope;
  return first(scope, (record) => isElement(record) && matchesAny(record, list));
};

// ── Forms ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const CONTROLS = ["button", "fieldset", "input", "object", "output", "select", "textarea"];
const TYPES = ["hidden", "text", "search", "tel", "url", "email", "password", "date", "month", "week", "time",
  "datetime-local", "number", "range", "color", "checkbox", "radio", "file", "submit", "image", "reset", "button"];
const typeOf = (input) => {
  const type = keyword(input, "type");
  return contains(TYPES, type) ? type : "text";
};
const isSubmitButton = (record) => (record.tag === "button"
  ? !contains(["reset", "button"], keyword(record, "type")) : record.tag === "input" && test(/^(?:submit|image)$/, typeOf(record)));

/** The form owner of an element (HTML 4.10.17.3); `associated` by the parser for a form that it emptied in a table. */
function formOf(record) {
  if (record === null || record.type !== ELEMENT) return null;
  const id = attribute(record, "form");
  if (id !== null && contains(CONTROLS, record.tag) && isConnected(record)) {
    const form = byId(documentRecord, id);
    return isElement(form, "form") ? form : null;
  }
  return (record.parent && ancestor(record.parent, "form")) || besideInTable(record);
}
/* The parser empties a form between a table and its rows, and associates the fields up to its end tag (13.2.6.4.9), which
the tree does not have: here those up to the table's end or the next form. */
function besideInTable(record) {
  const table = record.fromParser && contains(CONTROLS, record.tag) ? ancestor(record, "table") : null;
  if (table === null) return null;
  let form = null;
  walk(table, (one) => {
    if (isElement(one, "form") && one.fromParser && contains(["table", "tbody", "thead", "tfoot", "tr"], one.parent.tag)) form = one;
    return one === record;
  });
  return form;
}
const controlsOf = (form) => filter(descendants(root(form), (one) => isElement(one) && contains(CONTROLS, one.tag)),
  (one) => formOf(one) === form && !(one.tag === "input" && typeOf(one) === "image"));
const fieldsOf = (form) => filter(descendants(root(form), (one) => isElement(one) && contains(CONTROLS, one.tag)),
  (one) => formOf(one) === form);
const isNamed = (record, name) => attribute(record, "id") === name || attribute(record, "name") === name;
/** The elements that a form has as properties (HTML 4.10.3): its fields, else its images. */
function fieldsNamed(form, name) {
  const fields = filter(controlsOf(form), (one) => isNamed(one, name));
  return fields.length ? fields : filter(byTag(form, "img"), (one) => isNamed(one, name));
}

function isDisabled(record) {
  if (attribute(record, "disabled") !== null) return true;
  let inside = record;
  for (let one = record.parent; one !== null; one = one.parent) {
    if (isElement(one, "fieldset") && attribute(one, "disabled") !== null) {
      const legend = find(one.children, (child) => isElement(child, "legend"));
      if (legend === null || legend !== inside) return true;
    }
    inside = one;
  }
  return false;
}
const optionsOf = (element) => byTag(element, "option");
const isOptionDisabled = (option) => attribute(option, "disabled") !== null ||
  (isElement(option.parent, "optgroup") && attribute(option.parent, "disabled") !== null);
const optionText = (option) => join(words(textOf(option)), " ");
const optionValue = (option) => attribute(option, "value") ?? optionText(option);
/** The selectedness of options (HTML 4.10.7): with `multiple` each has its own, else the last selected one counts. */
function selectedOptions(element) {
  const options = optionsOf(element);
  const chosen = filter(options, (option) => option.selected ?? attribute(option, "selected") !== null);
  if (attribute(element, "multiple") !== null) return chosen;
  if (chosen.length) {
    const last = filter(chosen, (option) => option.selected);
    return [last.length ? last[last.length - 1] : chosen[chosen.length - 1]];
  }
  const size = attribute(element, "size") || "";
  if (element.selected === false || (test(/^\s*\d+/, size) && toNumber(exec(/\d+/, size)[0]) > 1)) return [];
  const enabled = find(options, (option) => !isOptionDisabled(option));
  return enabled === null ? [] : [enabled];
}
const isSelected = (option) => {
  const element = ancestor(option, "select");
  return element === null ? option.selected ?? attribute(option, "selected") !== null : contains(selectedOptions(element), option);
};
function chooseOption(element, option) {
  each(optionsOf(element), (one) => (one.selected = one === option));
  element.selected = option !== null;
}
const isChecked = (input) => {
  if (typeOf(input) !== "radio") return input.checked ?? attribute(input, "checked") !== null;
  return lastChecked(input) === input;
};
/** Of a group of radio buttons the last one that was checked. */
function lastChecked(input) {
  const form = formOf(input), name = attribute(input, "name");
  const group = name ? filter(byTag(root(input), "input"), (one) => typeOf(one) === "radio" &&
    attribute(one, "name") === name && formOf(one) === form) : [input];
  const set = filter(group, (one) => one.checked === true);
  const checked = set.length ? set : filter(group, (one) => one.checked ?? attribute(one, "checked") !== null);
  return checked.length ? checked[checked.length - 1] : null;
}

/** The value of an input, sanitized by its type (HTML 4.10.5.1). */
function inputValue(input) {
  const type = typeOf(input), given = input.value ?? attribute(input, "value");
  if (type === "checkbox" || type === "radio") return given ?? "on";
  const value = given ?? "";
  if (contains(["hidden", "submit", "image", "reset", "button"], type)) return value;
  if (type === "file") return "";
  return hasOwn(SANITIZERS, type) ? SANITIZERS[type](value, input) : oneLine(value);
}
const oneLine = (value) => replaced(value, /[\r\n]+/g, () => "");
const FLOAT = /^-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?$/;
const SANITIZERS = bare({
  url: (value) => stripped(oneLine(value)),
  email: (value, input) => (attribute(input, "multiple") === null ? stripped(oneLine(value))
    : join(map(split(oneLine(value), /,/g), stripped), ",")),
  number: (value) => (test(FLOAT, value) ? value : ""),
  range: rangeValue,
  color: (value) => (test(/^#[0-9a-f]{6}$/i, stripped(value)) ? lower(stripped(value)) : "#000000"),
  date: (value) => (isDay(value) ? value : ""),
  month: (value) => (test(/^\d{4,}-\d{2}$/, value) && isDay(value + "-01") ? value : ""),
  week: (value) => (isWeek(value) ? value : ""),
  time: (value) => (test(TIME, value) ? value : ""),
  "datetime-local": localTime,
});
const TIME = /^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,3})?)?$/;
const isLeap = (year) => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
function isDay(text) {
  const match = exec(/^(\d{4,})-(\d{2})-(\d{2})$/, text);
  if (match === null) return false;
  const year = toNumber(match[1]), month = toNumber(match[2]), day = toNumber(match[3]);
  const days = [31, isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  return year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}
/** A year has 53 weeks if it begins on a Thursday, or on a Wednesday and is a leap year (HTML 2.3.5.8). */
function isWeek(text) {
  const match = exec(/^(\d{4,})-W(\d{2})$/, text);
  if (match === null || toNumber(match[1]) === 0) return false;
  const year = toNumber(match[1]), before = year - 1;
  const begins = (1 + 5 * (before % 4) + 4 * (before % 100) + 6 * (before % 400)) % 7; // 0: Sunday
  const weeks = begins === 4 || (begins === 3 && isLeap(year)) ? 53 : 52;
  return toNumber(match[2]) >= 1 && toNumber(match[2]) <= weeks;
}
function localTime(value) {
  const match = exec(/^(\d{4,}-\d{2}-\d{2})[T ](.*)$/, value);
  if (match === null || !isDay(match[1]) || !test(TIME, match[2])) return "";
  let time = match[2];
  if (has(time, ".")) time = replaced(time, /\.?0+$/g, () => "");
  return match[1] + "T" + (time.length === 8 && endsWith(time, ":00") ? slice(time, 0, 5) : time);
}
/** Within min and max, by default the middle, at a step (HTML 4.10.5.1.13). */
function rangeValue(value, input) {
  const number = (name, otherwise) => {
    const text = attribute(input, name);
    return text !== null && test(FLOAT, text) ? toNumber(text) : otherwise;
  };
  const lowest = number("min", 0), highest = number("max", 100);
  let found = test(FLOAT, value) ? toNumber(value) : highest < lowest ? lowest : lowest + (highest - lowest) / 2;
  if (found > highest) found = highest;
  if (found < lowest) found = lowest;
  const step = number("step", 1), base = number("min", number("value", 0));
  if (keyword(input, "step") !== "any" && step > 0) {
    let steps = floor((found - base) / step + 0.5);
    if (base + steps * step > highest && highest >= lowest) steps--;
    const stepped = toNumber((base + steps * step).toPrecision(12));
    if (stepped !== found) found = stepped;
    else return test(FLOAT, value) && toNumber(value) === found ? value : toText(found);
  }
  return test(FLOAT, value) && toNumber(value) === found ? value : toText(found);
}
/** HTML 4.10.22.4, constructing the entry list: pairs of name and value; a file has a third item. */
function entryList(form, submitter, encoding) {
  const entries = [], checked = bare(); // by name, of radio buttons
  const add = (name, value, isFile) => push(entries, { name, value, isFile: !!isFile });
  each(fieldsOf(form), (field) => {
    const { tag } = field, type = tag === "input" ? typeOf(field) : "";
    if (isDisabled(field)) return; // Chromium submits those in a datalist, too
    const isButton = tag === "button" || contains(["submit", "image", "reset", "button"], type);
    if (isButton && field !== submitter) return;
    const name = attribute(field, "name") || "";
    if (type === "image") {
      add(name ? name + ".x" : "x", "0");
      add(name ? name + ".y" : "y", "0");
      return;
    }
    if (!name || (type === "checkbox" && !isChecked(field))) return;
    if (type === "radio" && field !== (checked[name] ?? (checked[name] = lastChecked(field)))) return;
    if (tag === "select") {
      each(selectedOptions(field), (option) => isOptionDisabled(option) || add(name, optionValue(option)));
    } else if (tag === "textarea") {
      if (keyword(field, "wrap") === "hard") miss("the layout of a textarea");
      add(name, areaValue(field));
    } else if (type === "file") {
      add(name, "", true);
    } else if (type === "hidden" && lower(name) === "_charset_") {
      add(name, encodingName(encoding));
    } else if (tag === "button") {
      add(name, attribute(field, "value") || "");
    } else if (tag === "input") {
      add(name, type === "submit" ? field.value ?? attribute(field, "value") ?? "Submit" : inputValue(field)); // its label, as in Chromium
    }
    const direction = attribute(field, "dirname");
    if (direction && (tag === "textarea" || contains(WITH_DIRECTION, type))) add(direction, directionOf(field));
  });
  return entries;
}
const WITH_DIRECTION = ["hidden", "text", "search", "tel", "url", "email", "password", "submit"];
const areaValue = (field) => field.value ?? replaced(textOf(field), /\r\n?/g, () => "\n");
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]|\ud802[\udc00-\udfff]|\ud803[\udc00-\udfff]|\ud83a|\ud83b/;
/** The directionality of a field (HTML 3.2.6.4). */
function directionOf(field) {
  for (let one = field; one !== null; one = one.parent) {
    const given = one.type === ELEMENT ? keyword(one, "dir") : "";
    if (given === "ltr" || given === "rtl") return given;
    if (given === "auto") {
      const text = one !== field ? textOf(one) : one.tag === "input" ? inputValue(one) : areaValue(one);
      const letter = exec(/[A-Za-z\u00aa-\uffff]/, text);
      return letter !== null && test(RIGHT_TO_LEFT, slice(text, letter.index, letter.index + 2)) ? "rtl" : "ltr";
    }
    if (one === field && one.tag === "input" && typeOf(one) === "tel") return "ltr";
  }
  return "ltr";
}
const MIXED_CASE = bare({ big5: "Big5", shift_jis: "Shift_JIS", gb18030: "gb18030", macintosh: "macintosh" });
const encodingName = (name) => MIXED_CASE[name] || (test(/^(?:windows-|x-)/, name) ? name : upper(name));

/** HTML 4.10.22.3, form submission. */
function submitForm(form, submitter) {
  if (!isConnected(form)) return;
  if (form.isCut) miss("the rest of the page");
  if (isOlder(form) || some(fieldsOf(form), isOlder)) doubts();
  const given = (name) => (submitter && attribute(submitter, "form" + name)) ?? attribute(form, name);
  const method = lower(given("method") || "");
  if (method === "dialog") return;
  const target = given("target") ?? baseTarget();
  if (!isOwnWindow(target)) return;
  const action = given("action");
  const url = action ? parsedUrl(action, documentBase(), page.request.encoding) : here();
  if (url === null) return;
  if (!allowsUrl(["form-action"], url.href)) return;
  const encoding = formEncoding(form);
  const entries = changedByListeners(form, entryList(form, submitter, encoding));
  const noReferrer = contains(words(lower(attribute(form, "rel") || "")), "noreferrer");
  if (!test(/^https?:$/, url.protocol)) {
    if (method !== "post" && url.protocol !== "javascript:") follow("form", changedUrl(url.href, "search", urlencoded(entries, encoding)));
    else follow("form", url);
  } else if (method === "post") {
    follow("form", url, encodedBody(entries, lower(given("enctype") || ""), encoding, noReferrer));
  } else {
    const query = urlencoded(entries, encoding);
    const parts = split(url.href, /#/g);
    const found = query ? changedUrl(url.href, "search", query)
      : parsedUrl(split(parts[0], /\?/g)[0] + "?" + (has(url.href, "#") ? "#" + join(arraySlice(parts, 1), "#") : ""));
    follow("form", found, { noReferrer });
  }
}
/** The event formdata lets listeners change the entries (HTML 4.10.22.4, step 7). */
function changedByListeners(form, entries) {
  if (!listens(form, "formdata")) return entries;
  const event = newEvent("formdata", { bubbles: true }, prototypes.FormDataEvent), data = create(prototypes.FormData);
  weakSet(records, data, bare({ pairs: entries, changed() {} }));
  own(event).formData = data;
  dispatch(form, event);
  return own(data).pairs;
}
/** HTML 4.10.22.5, selecting a form submission encoding; an unknown label names none. */
function formEncoding(form) {
  const labels = attribute(form, "accept-charset");
  if (labels === null) return page.request.encoding;
  const found = find(words(labels), (label) => ask("encode", ["", label, "name"]));
  return found === null ? "utf-8" : ask("encode", ["", found, "name"]);
}
const withLineEnds = (text) => replaced(text, /\r\n|\r|\n/g, () => "\r\n");
const formText = (text, encoding) => (test(/^[\w*.-]*$/, text) ? text : ask("encode", [withLineEnds(text), encoding, "form"]));
const urlencoded = (entries, encoding) => join(map(entries, (entry) =>
  formText(entry.name, encoding) + "=" + formText(entry.value, encoding)), "&");
function encodedBody(entries, enctype, encoding, noReferrer) {
  if (enctype === "text/plain") {
    const text = join(map(entries, (entry) => `${withLineEnds(entry.name)}=${withLineEnds(entry.value)}\r\n`), "");
    return { method: "POST", body: ask("encode", [text, encoding, "bytes"]), type: enctype, noReferrer };
  }
  if (enctype === "multipart/form-data") {
    const boundary = "----WebKitFormBoundary" + randomLetters(16);
    const quoted = (name) => replaced(name, /\r|\n|"/g, (match) => ({ __proto__: null, "\r": "%0D", "\n": "%0A", '"': "%22" })[match[0]]);
    const text = join(map(entries, (entry) => `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(withLineEnds(entry.name))}"` +
      (entry.isFile ? '; filename=""\r\nContent-Type: application/octet-stream' : "") + `\r\n\r\n${withLineEnds(entry.value)}\r\n`), "");
    return { method: "POST", body: ask("encode", [`${text}--${boundary}--\r\n`, encoding, "bytes"]),
      type: `${enctype}; boundary=${boundary}`, noReferrer };
  }
  const text = urlencoded(entries, encoding);
  return { method: "POST", body: toBase64(text), type: "application/x-www-form-urlencoded", noReferrer };
}
function randomLetters(count) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  let text = "";
  for (let at = 0; at < count; at++) text += letters[floor(random() * letters.length)];
  return text;
}
const baseTarget = () => {
  const element = first(documentRecord, (record) => isElement(record, "base") && attribute(record, "target") !== null);
  return element === null ? "" : attribute(element, "target");
};
/** HTML 7.3.1.7, the rules for choosing a navigable: whether the target is the page's own window. */
const isOwnWindow = (target) => contains(["", "_self", "_top", "_parent"], lower(target)) || (target !== "" && target === page.kept.name);

/** HTML 4.10.22.3 with a submitter: validation, the submit event, then the submission. */
function requestSubmit(form, submitter) {
  if (!isConnected(form)) return;
  const skips = attribute(form, "novalidate") !== null || (submitter && attribute(submitter, "formnovalidate") !== null);
  doubts(); // a script that was left out may listen
  if (!skips && some(fieldsOf(form), isInvalid)) return;
  const event = newEvent("submit", { bubbles: true, cancelable: true }, prototypes.SubmitEvent);
  own(event).submitter = wrap(submitter);
  if (dispatch(form, event)) submitForm(form, submitter);
}
/** Whether a field fails the constraint validation (HTML 4.10.21). */
function isInvalid(field) {
  if (isDisabled(field) || attribute(field, "readonly") !== null || field.tag === "button") return false;
  const type = field.tag === "input" ? typeOf(field) : field.tag;
  if (type === "hidden" || isSubmitButton(field)) return false;
  const value = field.tag === "select" ? join(map(selectedOptions(field), optionValue), "") : field.tag === "textarea" ? areaValue(field)
    : field.tag === "input" ? inputValue(field) : "";
  if (attribute(field, "required") !== null) {
    if (type === "checkbox" ? !isChecked(field) : type === "radio" ? lastChecked(field) === null : value === "") return true;
  }
  if (field.customValidity) return true;
  if (value !== "" && some(["pattern", "min", "max", "minlength"], (name) => attribute(field, name) !== null)) miss("the validation of a field");
  return value !== "" && ((type === "email" && !test(/^[^@\s]+@[^@\s]+$/, value)) || (type === "url" && parsedUrl(value) === null));
}
/** What a click does if no listener cancels it: the activation behavior of the element or an ancestor. */
function activate(record, event) {
  for (let one = record; isElement(one); one = one.parent) {
    if ((one.tag === "a" || one.tag === "area") && attribute(one, "href") !== null) return followLink(one, event);
    if (one.tag === "button" || (one.tag === "input" && contains(["submit", "image", "reset"], typeOf(one)))) {
      const form = formOf(one);
      if (form !== null && !isDisabled(one) && isSubmitButton(one)) requestSubmit(form, one);
      return undefined;
    }
    if (one.tag === "label") {
      const control = labelled(one);
      if (control !== null && control !== record) click(control);
      return undefined;
    }
    if (one.tag === "summary") {
      if (!isElement(one.parent, "details") || first(one.parent, (child) => isElement(child, "summary")) !== one) return undefined;
      return attribute(one.parent, "open") === null ? setAttribute(one.parent, "open", "") : removeAttribute(one.parent, "open");
    }
  }
  return undefined;
}
const labelled = (label) => {
  const id = attribute(label, "for");
  return id !== null ? byId(documentRecord, id) : first(label, (one) => isElement(one) && contains(CONTROLS, one.tag));
};
/** HTML 4.6.5, follow the hyperlink. */
function followLink(record, event) {
  const { ctrlKey, shiftKey, altKey, button } = own(event);
  if (ctrlKey || shiftKey || altKey || button) return; // another tab or window, a download, or nothing
  const target = attribute(record, "target") ?? baseTarget();
  if (!isOwnWindow(target) || attribute(record, "download") !== null) return;
  const url = parsedUrl(attribute(record, "href"), documentBase(), page.request.encoding);
  if (url === null) return;
  const noReferrer = contains(words(lower(attribute(record, "rel") || "")), "noreferrer");
  follow("link", url, { noReferrer, policy: attribute(record, "referrerpolicy") });
}
/** A synthetic click (HTML 6.4.4) or a dispatched click event: listeners first, then what the element does. */
function click(record) {
  if (contains(["button", "input", "select", "textarea"], record.tag) && isDisabled(record)) return;
  clickWith(record, untrusted(newEvent("click", { bubbles: true, cancelable: true, composed: true }, prototypes.PointerEvent)));
}
function clickWith(record, event) {
  if (isConnected(record) || isOlder(record)) doubts(); // a script that was left out may listen
  const isBox = record.tag === "input" && isCheckable(record), before = record.checked;
  if (isBox) record.checked = typeOf(record) === "radio" ? true : !isChecked(record);
  const goesOn = dispatch(record, event);
  if (!goesOn) {
    if (isBox) record.checked = before;
    return false;
  }
  if (isBox && isConnected(record)) {
    fire(record, "input", { bubbles: true });
    fire(record, "change", { bubbles: true });
  } else {
    activate(record, event);
  }
  return true;
}

// ── Wrappers: what scripts hold ─────────────────────────────────────────────────────────────────────────────────────

const prototypes = bare();
/** Makes a class of the page visible on the window; its prototype is kept for wrappers. */
function expose(name, made) {
  prototypes[name] = made.prototype;
  defineProperty(made.prototype, Symbol.toStringTag, { value: name, configurable: true });
  defineProperty(global, name, { value: made, writable: true, enumerable: false, configurable: true });
}

/** The object by which a script sees a record. */
function wrap(record) {
  if (record === null || record === undefined) return null;
  if (record === windowRecord) return global;
  if (record.wrapper === null) {
    const wrapper = create(prototypeOf(record));
    weakSet(records, wrapper, record);
    record.wrapper = record.tag === "form" && record.type === ELEMENT ? new ProxyOfTheWorld(wrapper, formTraps) : wrapper;
    if (record.wrapper !== wrapper) weakSet(records, record.wrapper, record);
  }
  return record.wrapper;
}
function prototypeOf(record) {
  if (record.type === TEXT) return prototypes.Text;
  if (record.type === COMMENT) return prototypes.Comment;
  if (record.type === DOCUMENT) return prototypes.HTMLDocument;
  if (record.type === FRAGMENT) return prototypes.DocumentFragment;
  if (record.namespace === SVG) return prototypes.SVGElement;
  return prototypes[INTERFACES[record.tag]] || (test(PLAIN, record.tag) ? prototypes.HTMLElement : prototypes.HTMLUnknownElement);
}
const wrapAll = (list) => map(list, wrap);

/** HTML 4.10.3: a form's fields by name hide its own properties. */
const formTraps = bare({
  get(target, key, self) {
    const field = typeof key === "string" ? fieldByKey(own(target), key) : undefined;
    return field === undefined ? Reflect_get(target, key, self) : field;
  },
  has: (target, key) => key in target || (typeof key === "string" && fieldByKey(own(target), key) !== undefined),
});
const Reflect_get = Reflect.get, Reflect_set = Reflect.set;
function fieldByKey(form, key) {
  if (test(/^\d+$/, key)) return wrap(controlsOf(form)[toNumber(key)]) || undefined;
  const found = key === "" ? [] : fieldsNamed(form, key);
  return found.length === 0 ? undefined : found.length === 1 ? wrap(found[0]) : radioList(found);
}
/** The length of a list. That of the scripts is only used to find the last one. */
function counted(list) {
  if (list.length === 0 || list[0].tag !== "script") doubts();
  return list.length;
}
/** A live collection (DOM 4.2.10): computed at each use. */
/** `assign`: what an assignment to an index or to the length does. */
function collection(compute, prototype, assign) {
  const item = (target, key) => {
    if (typeof key !== "string") return undefined;
    const list = compute();
    if (test(/^\d+$/, key)) return lookedUp(list[toNumber(key)]) || undefined;
    if (key === "length") return counted(list);
    if (key in target) return undefined;
    const found = filter(list, (one) => one.type === ELEMENT && isNamed(one, key));
    return found.length === 0 ? undefined : found.length > 1 && contains(CONTROLS, found[0].tag) ? radioList(found) : wrap(found[0]);
  };
  const made = create(prototype || prototypes.HTMLCollection);
  const seen = new ProxyOfTheWorld(made, bare({
    get(target, key, self) {
      const found = item(target, key);
      return found === undefined ? Reflect_get(target, key, self) : found;
    },
    set(target, key, value, self) {
      if (!assign || typeof key !== "string" || !test(/^(?:\d+|length|selectedIndex)$/, key)) return Reflect_set(target, key, value, self);
      assign(key, value);
      return true;
    },
    has: (target, key) => key in target || item(target, key) !== undefined,
    ownKeys: (target) => [...map(compute(), (_, at) => toText(at)), ...ownKeys(target)],
    getOwnPropertyDescriptor(target, key) {
      const found = item(target, key);
      return found === undefined || key === "length" ? getOwnPropertyDescriptor(target, key)
        : { value: found, writable: false, enumerable: true, configurable: true };
    },
  }));
  weakSet(records, seen, bare({ list: compute }));
  return seen;
}
expose("HTMLCollection", class HTMLCollection {
  item(at) { return lookedUp(own(this).list()[at]); }
  namedItem(name) { return this[name] ?? null; }
  [iteratorSymbol]() { return apply(arrayValues, wrapAll(own(this).list()), []); }
});
expose("NodeList", class NodeList {
  item(at) { return lookedUp(own(this).list()[at]); }
  forEach(action, self) { each(wrapAll(own(this).list()), (node, at) => apply(action, self, [node, at, this])); }
  keys() { return apply(arrayValues, map(own(this).list(), (_, at) => at), []); }
  values() { return apply(arrayValues, wrapAll(own(this).list()), []); }
  entries() { return apply(arrayValues, map(own(this).list(), (one, at) => [at, wrap(one)]), []); }
  [iteratorSymbol]() { return apply(arrayValues, wrapAll(own(this).list()), []); }
});
const nodeList = (compute) => collection(compute, prototypes.NodeList);
expose("RadioNodeList", class RadioNodeList extends global.NodeList {
  get value() { const one = find(own(this).list(), (field) => isCheckable(field) && isChecked(field)); return one ? inputValue(one) : ""; }
  set value(value) {
    const one = find(own(this).list(), (field) => isCheckable(field) && inputValue(field) === toText(value));
    if (one) wrap(one).checked = true;
  }
});
const radioList = (list) => collection(() => list, prototypes.RadioNodeList);
const fixed = (list) => nodeList(() => list);

function illegal() {
  throw new TypeErrorOfTheWorld("Illegal constructor");
}
const targetOf = (object) => (object === undefined || object === null || object === global ? windowRecord : own(object));

expose("EventTarget", class EventTarget {
  constructor() {
    if (new.target === EventTarget || !weakGet(records, this)) weakSet(records, this, selfMade(this));
  }
  addEventListener(type, callback, options) { addListener(targetOf(this), toText(type), callback, options); }
  removeEventListener(type, callback, options) {
    removeListener(targetOf(this), toText(type), callback, typeof options === "object" && options ? !!options.capture : !!options);
  }
  dispatchEvent(event) {
    const record = targetOf(this), state = own(event);
    page.running++;
    const goesOn = state.type === "click" && isElement(record) && has(toText(getTag(event)), "Mouse") ? clickWith(record, event)
      : dispatch(record, event);
    page.running--;
    return goesOn !== false;
  }
});
const getTag = (event) => (event instanceof global.MouseEvent ? "Mouse" : "");
const selfMade = (object) => {
  const record = newRecord(0, "#target");
  record.wrapper = object;
  return record;
};

expose("Node", class Node extends global.EventTarget {
  constructor() { illegal(); }
  get nodeType() { return own(this).type; }
  get nodeName() { const one = own(this); return one.type === ELEMENT ? shownTag(one) : one.tag; }
  get nodeValue() { const one = toRead(this); return one.type === TEXT || one.type === COMMENT ? one.data : null; }
  set nodeValue(text) { const one = own(this); if (one.type === TEXT || one.type === COMMENT) setData(one, text ?? ""); }
  get baseURI() { return documentBase(); }
  get isConnected() { return isConnected(own(this)); }
  get ownerDocument() { return own(this) === documentRecord ? null : wrap(documentRecord); }
  get parentNode() { return wrap(own(this).parent); }
  get parentElement() { const { parent } = own(this); return isElement(parent) ? wrap(parent) : null; }
  get childNodes() { const one = own(this); return nodeList(() => one.children); }
  get firstChild() { return wrap(own(this).children[0]); }
  get lastChild() { const { children } = own(this); return wrap(children[children.length - 1]); }
  get previousSibling() { return wrap(beside(own(this), -1)); }
  get nextSibling() { return wrap(beside(own(this), 1)); }
  get textContent() { const one = toRead(this); return one.type === DOCUMENT ? null : one.type === COMMENT ? one.data : textOf(one); }
  set textContent(text) {
    const one = own(this), value = text === null ? "" : toText(text);
    if (one.type === TEXT || one.type === COMMENT) one.data = value;
    else setText(one, value);
  }
  appendChild(child) { insert(own(this), own(child), null); return child; }
  insertBefore(child, before) { insert(own(this), own(child), before ? own(before) : null); return child; }
  removeChild(child) {
    if (own(child).parent !== own(this)) throw domError("NotFoundError", "The node to be removed is not a child of this node.");
    detach(own(child));
    return child;
  }
  replaceChild(child, old) {
    insert(own(this), own(child), own(old));
    detach(own(old));
    return old;
  }
  cloneNode(deep) { return wrap(copied(own(this), !!deep)); }
  contains(other) { return other !== null && within(own(this), own(other)); }
  hasChildNodes() { return own(this).children.length > 0; }
  getRootNode() { return wrap(root(own(this))); }
  compareDocumentPosition(other) { return comparison(own(this), own(other)); }
  isSameNode(other) { return other === this; }
  normalize() {}
});
each(["ELEMENT", 1, "ATTRIBUTE", 2, "TEXT", 3, "COMMENT", 8, "DOCUMENT", 9, "DOCUMENT_FRAGMENT", 11], (name, at) => {
  if (typeof name === "string") {
    const value = [1, 2, 3, 8, 9, 11][at / 2];
    global.Node[name + "_NODE"] = value;
    prototypes.Node[name + "_NODE"] = value;
  }
});
/** DOM 4.4, compareDocumentPosition. */
function comparison(record, other) {
  if (record === other) return 0;
  if (root(record) !== root(other)) return 1 | 32 | 2;
  if (within(other, record)) return 8 | 2;
  if (within(record, other)) return 16 | 4;
  let isBefore = false;
  walk(root(record), (one) => one === record || (one === other && (isBefore = true)));
  return isBefore ? 2 : 4;
}
const shownTag = (record) => (record.namespace === HTML ? upper(record.tag) : record.tag);
const beside = (record, step) => (record.parent === null ? null : record.parent.children[listIndex(record.parent.children, record) + step]);
const besideElement = (record, step) => {
  const list = siblings(record);
  return record.parent === null ? null : list[listIndex(list, record) + step];
};
const within = (outer, inner) => {
  for (let one = inner; one !== null; one = one.parent) if (one === outer) return true;
  return false;
};
function copied(record, deep) {
  const copy = newRecord(record.type, record.tag);
  if (isOlder(record)) copy.since = record.since;
  copy.data = record.data;
  copy.namespace = record.namespace;
  copy.value = record.value;
  copy.checked = record.checked;
  copy.started = record.started;
  each(ownKeys(record.attributes), (name) => (mine(copy, "attributes")[name] = record.attributes[name]));
  if (deep) each(inside(record).children, (child) => attach(inside(copy), copied(child, true)));
  return copy;
}
/** What append, before and others accept: nodes and texts. */
const asRecords = (values) => map(values, (value) => (weakGet(records, value) && own(value).type ? own(value) : newText(toText(value))));
const insertAll = (parent, list, before) => each(list, (one) => insert(parent, one, before));

function setData(record, text) {
  record.data = toText(text);
  observe(record, "characterData", []);
}
expose("CharacterData", class CharacterData extends global.Node {
  get data() { return toRead(this).data; }
  set data(text) { setData(own(this), text); }
  get length() { return toRead(this).data.length; }
  remove() { detach(own(this)); }
});
expose("Text", class Text extends global.CharacterData {
  constructor(text = "") { return wrap(newText(toText(text))); }
  get wholeText() {
    const one = toRead(this), list = one.parent === null ? [one] : one.parent.children;
    let from = listIndex(list, one), end = from + 1, text = "";
    while (from > 0 && list[from - 1].type === TEXT) from--;
    while (end < list.length && list[end].type === TEXT) end++;
    for (; from < end; from++) text += list[from].data;
    return text;
  }
});
expose("Comment", class Comment extends global.CharacterData {
  constructor(text = "") { return wrap(newText(toText(text), COMMENT)); }
});

/** Properties and methods that documents, fragments and elements share. */
function addParentMembers(prototype) {
  const members = {
    get children() { const one = own(this); return collection(() => elementChildren(one)); },
    get firstElementChild() { return wrap(elementChildren(own(this))[0]); },
    get lastElementChild() { const list = elementChildren(own(this)); return wrap(list[list.length - 1]); },
    get childElementCount() { return elementChildren(toRead(this)).length; },
    append(...nodes) { insertAll(own(this), asRecords(nodes), null); },
    prepend(...nodes) { const one = own(this); insertAll(one, asRecords(nodes), one.children[0] || null); },
    replaceChildren(...nodes) { const one = own(this); removeChildren(one); insertAll(one, asRecords(nodes), null); },
    querySelector(text) { return lookedUp(select(own(this), text)); },
    querySelectorAll(text) { return fixed(selectAll(own(this), text)); },
  };
  const found = {
    getElementsByTagName(tag) {
      const one = own(this), name = lower(toText(tag));
      return collection(() => descendants(one, (record) => isElement(record) && (name === "*" || record.tag === name)));
    },
    getElementsByClassName(names) {
      const one = own(this), wanted = words(toText(names));
      return collection(() => descendants(one, (record) => isElement(record) && wanted.length > 0 &&
        !some(wanted, (name) => !contains(words(attribute(record, "class") || ""), name))));
    },
  };
  share(prototype, members);
  if (prototype !== prototypes.DocumentFragment) share(prototype, found);
}
expose("DocumentFragment", class DocumentFragment extends global.Node {
  constructor() { return wrap(newRecord(FRAGMENT, "#document-fragment")); }
  getElementById(id) { return lookedUp(byId(own(this), toText(id))); }
});
addParentMembers(prototypes.DocumentFragment);

expose("Element", class Element extends global.Node {
  get tagName() { return shownTag(own(this)); }
  get localName() { return own(this).tag; }
  get namespaceURI() { return own(this).namespace; }
  get attributes() { return attributesOf(toRead(this)); }
  get classList() { return tokens(own(this), "class"); }
  get className() { return attribute(toRead(this), "class") || ""; }
  set className(text) { setAttribute(own(this), "class", text); }
  get innerHTML() { return join(map(inside(toRead(this)).children, serialized), ""); }
  set innerHTML(text) { setMarkup(own(this), text === null ? "" : toText(text)); }
  get outerHTML() { return serialized(toRead(this)); }
  set outerHTML(text) {
    const one = own(this), { parent } = one;
    if (parent === null) return;
    insertAll(parent, fragment(toText(text), parent.tag), one);
    detach(one);
  }
  get previousElementSibling() { return wrap(besideElement(own(this), -1)); }
  get nextElementSibling() { return wrap(besideElement(own(this), 1)); }
  getAttribute(name) { return attribute(toRead(this), lower(toText(name))); }
  setAttribute(name, value) { setAttribute(own(this), lower(toText(name)), value); }
  removeAttribute(name) { removeAttribute(own(this), lower(toText(name))); }
  hasAttribute(name) { return lower(toText(name)) in toRead(this).attributes; }
  hasAttributes() { return ownKeys(toRead(this).attributes).length > 0; }
  getAttributeNames() { return ownKeys(toRead(this).attributes); }
  toggleAttribute(name, force) {
    const one = toRead(this), key = lower(toText(name)), sets = force === undefined ? !(key in one.attributes) : !!force;
    if (sets && !(key in one.attributes)) setAttribute(one, key, "");
    if (!sets) removeAttribute(one, key);
    return sets;
  }
  setAttributeNS(_, name, value) { setAttribute(own(this), toText(name), value); }
  getAttributeNS(_, name) { return attribute(toRead(this), toText(name)); }
  matches(text) { return matchesAny(toRead(this), selectorsIn(text)); }
  webkitMatchesSelector(text) { return matchesAny(toRead(this), selectorsIn(text)); }
  closest(text) {
    const list = selectorsIn(text);
    for (let one = own(this); isElement(one); one = one.parent) if (matchesAny(one, list)) return wrap(one);
    return null;
  }
  remove() { detach(own(this)); }
  before(...nodes) { const one = own(this); if (one.parent) insertAll(one.parent, asRecords(nodes), one); }
  after(...nodes) { const one = own(this); if (one.parent) insertAll(one.parent, asRecords(nodes), beside(one, 1) || null); }
  replaceWith(...nodes) {
    const one = own(this);
    if (one.parent) insertAll(one.parent, asRecords(nodes), one);
    detach(one);
  }
  insertAdjacentHTML(place, text) { insertAt(own(this), place, fragment(toText(text), own(this).tag)); }
  insertAdjacentElement(place, element) { insertAt(own(this), place, [own(element)]); return element; }
  insertAdjacentText(place, text) { insertAt(own(this), place, [newText(toText(text))]); }
  scrollIntoView() { scrolls(); }
  scrollTo() { scrolls(); }
});
addParentMembers(prototypes.Element);
/** Attributes that each element reflects as text. */
reflect(prototypes.Element, "id slot");

function insertAt(record, place, list) {
  const where = lower(toText(place));
  if (where === "beforebegin" || where === "afterend") {
    if (record.parent) insertAll(record.parent, list, where === "beforebegin" ? record : beside(record, 1) || null);
  } else if (where === "afterbegin" || where === "beforeend") {
    insertAll(record, list, where === "afterbegin" ? record.children[0] || null : null);
  } else throw domError("SyntaxError", "The value provided is not one of the four places.");
}
/** The nodes of a text of markup. Their scripts do not run (HTML 8.5.4). */
function fragment(text, context) {
  const list = grown(ask("parse", [text, context === "html" ? "body" : context]));
  each(list, (one) => {
    one.parent = null;
    walk(one, (inner) => {
      if (inner.tag === "script") inner.started = true;
      if (inner.tag === "img") loadMedia(inner);
    });
  });
  return list;
}
/** A fragment whose scripts run when it is inserted (createContextualFragment). */
function executable(text) {
  const made = newRecord(FRAGMENT, "#document-fragment");
  each(fragment(text, "body"), (one) => {
    walk(one, (inner) => void (inner.started = false));
    attach(made, one);
  });
  return made;
}
function setMarkup(record, text) {
  removeChildren(inside(record));
  insertAll(inside(record), fragment(text, record.tag), null);
}
const VOID = ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
const RAW = ["script", "style", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"];
const escapes = bare({ "&": "&amp;", "\u00a0": "&nbsp;", '"': "&quot;", "<": "&lt;", ">": "&gt;" });
/** HTML 13.3, serializing HTML fragments. */
function serialized(record) {
  if (record.type === COMMENT) return `<!--${record.data}-->`;
  if (record.type === TEXT) {
    return record.parent !== null && contains(RAW, record.parent.tag) ? record.data
      : replaced(record.data, /[&\u00a0<>]/g, (match) => escapes[match[0]]);
  }
  const named = join(map(ownKeys(record.attributes), (name) =>
    ` ${name}="${replaced(record.attributes[name], /[&\u00a0"<>]/g, (match) => escapes[match[0]])}"`), "");
  const start = `<${record.tag}${named}>`;
  return contains(VOID, record.tag) ? start : `${start}${join(map(inside(record).children, serialized), "")}</${record.tag}>`;
}

// ── Attributes ──────────────────────────────────────────────────────────────────────────────────────────────────────

function setAttribute(record, name, value) {
  mine(record, "attributes")[name] = toText(value);
  if (startsWith(name, "on") && hasOwn(record.handlers, slice(name, 2))) delete record.handlers[slice(name, 2)];
  attributeChanged(record, name);
}
function removeAttribute(record, name) {
  delete mine(record, "attributes")[name];
  if (startsWith(name, "on") && hasOwn(record.handlers, slice(name, 2))) delete record.handlers[slice(name, 2)];
  attributeChanged(record, name);
}
function attributeChanged(record, name) {
  observe(record, "attributes", [], name);
  if (name === "id") treeVersion++;
  if (name === "id" || name === "name") named(record);
  if (contains(["img", "audio", "video"], record.tag) && name === "src") loadMedia(record);
  if (!isConnected(record)) return;
  if (record.tag === "meta" || record.tag === "base") effects[record.tag](record);
  if (record.tag === "body" && startsWith(name, "on")) readHandlers(record);
  if (record.tag === "iframe" && (name === "src" || name === "srcdoc")) loadFrame(record);
  if (record.tag === "script" && name === "src") prepareScript(record);
  if (record.tag === "details" && name === "open") occurs(record, "toggle");
}
/** Properties that reflect attributes as text, as URL or as boolean: `property` or `property:attribute`. */
function reflect(prototype, texts, urls = "", booleans = "", numbers = "") {
  const add = (list, get, set) => each(words(list), (word) => {
    const parts = split(word, /:/g), name = parts[1] || lower(parts[0]);
    defineProperty(prototype, parts[0], {
      get() { return get(toRead(this), name); }, set(value) { set(own(this), name, value); }, enumerable: true, configurable: true,
    });
  });
  add(texts, (record, name) => attribute(record, name) || "", setAttribute);
  add(urls, (record, name) => (attribute(record, name) === null ? "" : inDocument(attribute(record, name))), setAttribute);
  add(booleans, (record, name) => attribute(record, name) !== null,
    (record, name, value) => (value ? setAttribute(record, name, "") : removeAttribute(record, name)));
  add(numbers, (record, name) => (test(/^(?:max|min)length$/, name) && attribute(record, name) === null ? -1 : toNumber(attribute(record, name)) || 0), setAttribute);
}
function attributesOf(record) {
  const names = ownKeys(record.attributes), list = map(names, (name) => ({ name, value: record.attributes[name], nodeName: name, nodeValue: record.attributes[name] }));
  each(names, (name, at) => defineProperty(list, name, { value: list[at], configurable: true }));
  defineProperty(list, "getNamedItem", { value: (name) => find(list, (one) => one.name === lower(toText(name))) });
  defineProperty(list, "item", { value: (at) => list[at] || null });
  return list;
}
expose("DOMTokenList", class DOMTokenList {
  get length() { return toRead(this).list().length; }
  get value() { return toRead(this).text(); }
  item(at) { return toRead(this).list()[at] ?? null; }
  contains(token) { return contains(toRead(this).list(), toText(token)); }
  add(...added) { own(this).set((list) => each(added, (token) => contains(list, toText(token)) || push(list, toText(token)))); }
  remove(...removed) {
    const gone = map(removed, toText);
    own(this).set((list) => each(arraySlice(list), (token) => contains(gone, token) && splice(list, listIndex(list, token), 1)));
  }
  toggle(token, force) {
    const adds = force === undefined ? !this.contains(token) : !!force;
    own(this).set((list) => {
      const at = listIndex(list, toText(token));
      if (adds && at < 0) push(list, toText(token));
      if (!adds && at >= 0) splice(list, at, 1);
    });
    return adds;
  }
  replace(old, token) {
    const had = this.contains(old);
    own(this).set((list) => had && splice(list, listIndex(list, toText(old)), 1, toText(token)));
    return had;
  }
  forEach(action, self) { each(toRead(this).list(), (token, at) => apply(action, self, [token, at, this])); }
  toString() { return toRead(this).text(); }
  [iteratorSymbol]() { return apply(arrayValues, toRead(this).list(), []); }
});
for (let at = 0; at < 32; at++) {
  defineProperty(prototypes.DOMTokenList, at, { get() { return toRead(this).list()[at]; }, enumerable: false, configurable: true });
}
function tokens(record, name) {
  const made = create(prototypes.DOMTokenList);
  const list = () => words(attribute(record, name) || "");
  weakSet(records, made, bare({
    since: record.since, list, text: () => attribute(record, name) || "",
    set(change) {
      const changed = list();
      change(changed);
      setAttribute(record, name, join(changed, " "));
    },
  }));
  return made;
}
function dataset(record) {
  const attributeOf = (key) => "data-" + replaced(key, /[A-Z]/g, (match) => "-" + lower(match[0])), read = () => isOlder(record) && doubts();
  return new ProxyOfTheWorld(bare(), bare({
    get: (_, key) => (typeof key === "string" ? (read(), attribute(record, attributeOf(key)) ?? undefined) : undefined),
    set: (_, key, value) => (setAttribute(record, attributeOf(key), value), true),
    has: (_, key) => typeof key === "string" && (read(), attributeOf(key) in record.attributes),
    deleteProperty: (_, key) => (removeAttribute(record, attributeOf(key)), true),
    ownKeys: () => map(filter((read(), ownKeys(record.attributes)), (name) => startsWith(name, "data-")),
      (name) => replaced(slice(name, 5), /-([a-z])/g, (match) => upper(match[1]))),
    getOwnPropertyDescriptor: (_, key) => (attributeOf(key) in record.attributes
      ? { value: record.attributes[attributeOf(key)], writable: true, enumerable: true, configurable: true } : undefined),
  }));
}
const LENGTHS = /^(?:(?:min|max)?(?:width|height)|(?:min|max)(?:Width|Height)|top|left|right|bottom|fontSize|(?:margin|padding)\w*)$/;
const OF_OTHERS = /^(?:Moz|moz|ms|O|Khtml)[A-Z]/; // properties of other browsers
/** The text of a property's value, or null: a number without a unit is no length. */
function styleValue(name, given) {
  const text = stripped(given);
  if (test(LENGTHS, name) && test(/^-?[\d.]+$/, text)) return toNumber(text) === 0 ? "0px" : null;
  return test(/^[A-Za-z]+$/, text) ? lower(text) : text;
}
/** CSS properties of an element: kept, without effect. */
function styleOf(record) {
  if (record.style !== null) return record.style;
  const values = bare();
  const camel = (name) => replaced(toText(name), /-([a-z])/g, (match) => upper(match[1]));
  const methods = bare({
    setProperty: (name, value) => void (record.style[camel(name)] = value),
    removeProperty: (name) => delete values[camel(name)] && "",
    getPropertyValue: (name) => (isOlder(record) && doubts(), values[camel(name)] || ""),
  });
  const read = (text) => each(split(text, /;/g), (part) => {
    const at = indexOf(part, ":");
    const name = camel(stripped(slice(part, 0, at))), value = styleValue(name, slice(part, at + 1));
    if (at > 0 && value !== null) values[name] = value;
  });
  read(attribute(record, "style") || "");
  const hyphened = (name) => replaced(name, /[A-Z]/g, (match) => "-" + lower(match[0]));
  defineProperty(values, "cssText", {
    get: () => join(map(filter(ownKeys(values), (name) => name !== "cssText" && values[name]),
      (name) => `${hyphened(name)}: ${values[name]};`), " "),
    set(text) { each(ownKeys(values), (name) => name !== "cssText" && delete values[name]); read(toText(text)); },
  });
  record.style = new ProxyOfTheWorld(values, bare({
    get(_, key) {
      if (typeof key !== "string") return undefined;
      if (key in methods) return methods[key];
      if (isOlder(record)) doubts();
      return key === "length" ? ownKeys(values).length - 1 : values[key] ?? (test(OF_OTHERS, key) ? undefined : "");
    },
    set(_, key, value) {
      const text = styleValue(key, toText(value));
      if (text === null) return true;
      values[key] = text;
      mine(record, "attributes").style = values.cssText;
      return true;
    },
    has: (_, key) => typeof key === "string" && !test(OF_OTHERS, key),
  }));
  return record.style;
}
const FOCUSABLE = ["a", "area", "button", "input", "select", "textarea", "iframe"];
/* What begins on a line of its own, besides the elements whose computed display is block. */
const LINES = /^(?:caption|dir|figcaption|hgroup|legend|li|menu|search|summary|table|tbody|tfoot|thead|tr)$/;
const UNRENDERED = words("textarea select audio video canvas iframe object svg math");
const isHidden = (record) => contains(UNSEEN, record.tag) || attribute(record, "hidden") !== null ||
  test(/(?:^|[;\s])display\s*:\s*none/i, attribute(record, "style") || "");
/** Whether the page has a style sheet that may hide or change the text of elements. */
const mayHide = () => first(documentRecord, (one) => (isElement(one, "style") ? test(/none|hidden|collapse|transform/, textOf(one))
  : isElement(one, "link") && contains(words(keyword(one, "rel")), "stylesheet"))) !== null;
/** innerText (HTML 3.2.7): the text as it is shown, without the effects of style sheets. */
function visibleText(record) {
  for (let one = record; isElement(one); one = one.parent) if (isHidden(one) && one.tag !== "html") return textOf(record);
  let text = "", lines = 0, space = false;
  const add = (part) => {
    if (lines > 0 && text !== "") text += lines > 1 ? "\n\n" : "\n";
    else if (space && text !== "" && !endsWith(text, "\n")) text += " ";
    text += part;
    lines = 0;
    space = false;
  };
  const visit = (one) => {
    if (one.type === TEXT) {
      if (ancestor(one.parent, "pre")) {
        if (one.data !== "") add(one.data);
        return;
      }
      each(split(one.data, /[\t\n\f\r ]+/g), (word, at) => {
        if (at > 0) space = true;
        if (word !== "") add(word);
      });
    } else if (one.tag === "br") {
      space = false;
      add("\n");
    } else if (one === record || (one.type === ELEMENT && !isHidden(one) && !contains(UNRENDERED, one.tag))) {
      if (one !== record && (attribute(one, "class") || attribute(one, "id")) && trim(textOf(one)) !== "" && mayHide()) miss("innerText and a style sheet");
      const gap = one === record ? 0 : one.tag === "p" ? 2 : test(BLOCKS, one.tag) || test(LINES, one.tag) ? 1 : 0;
      const edge = () => {
        if (gap > 0) space = false;
        lines = max(lines, gap);
      };
      edge();
      each(one.children, visit);
      edge();
      if ((one.tag === "td" || one.tag === "th") && one !== record && cellAfter(one) !== null) add("\t");
    }
  };
  visit(record);
  return text;
}
const cellAfter = (record) => {
  const list = siblings(record);
  return list[listIndex(list, record) + 1] || null;
};

expose("HTMLElement", class HTMLElement extends global.Element {
  get innerText() { return visibleText(toRead(this)); }
  set innerText(text) {
    const one = own(this), lines = split(text === null ? "" : toText(text), /\r\n?|\n/g);
    if (lines.length < 2) return setText(one, lines[0]);
    removeChildren(one);
    each(lines, (line, at) => {
      if (at > 0) insert(one, newElement("br"), null);
      if (line !== "") insert(one, newText(line), null);
    });
  }
  get outerText() { return visibleText(toRead(this)); }
  get dataset() { return dataset(own(this)); }
  get style() { return styleOf(own(this)); }
  set style(text) { setAttribute(own(this), "style", text); own(this).style = null; }
  get nonce() { return own(this).nonce || attribute(own(this), "nonce") || ""; }
  set nonce(text) { own(this).nonce = toText(text); }
  get tabIndex() { return toNumber(attribute(own(this), "tabindex") ?? (contains(FOCUSABLE, own(this).tag) ? 0 : -1)); }
  set tabIndex(value) { setAttribute(own(this), "tabindex", value); }
  click() { click(own(this)); }
  focus() { if (listens(own(this), "focus")) fire(own(this), "focus"); }
  blur() {}
});
reflect(prototypes.HTMLElement, "title lang dir accessKey", "", "hidden inert autofocus draggable");

// ── Layout: none ────────────────────────────────────────────────────────────────────────────────────────────────────

/* Measures of an element are missed, with one exception. Libraries such as jQuery make elements without class and id, measure
them to know the browser, and remove them: these have the size that their own style gives. */
const isProbe = (record) => !record.fromParser && attribute(record, "class") === null && attribute(record, "id") === null;
const pixels = (text) => (test(/^[\d.]+px$/, text) ? toNumber(slice(text, 0, -2)) : 0);
function measure(record, name) {
  if (!isProbe(record)) miss(name);
  if (isOlder(record)) doubts();
  return pixels(has(name, "Width") ? styleOf(record).width : has(name, "Height") ? styleOf(record).height : "");
}
const MEASURES = words("offsetWidth offsetHeight offsetLeft offsetTop clientWidth clientHeight clientLeft clientTop scrollWidth scrollHeight");
each(MEASURES, (name) => share(startsWith(name, "offset") ? prototypes.HTMLElement : prototypes.Element, {
  get [name]() { return measure(own(this), name); },
}));
function box(record, name) {
  const width = measure(record, name + "Width"), height = measure(record, name + "Height");
  return { x: 0, y: 0, left: 0, top: 0, right: width, bottom: height, width, height };
}
share(prototypes.Element, {
  getBoundingClientRect() { return box(own(this), "getBoundingClientRect"); },
  getClientRects() { return isConnected(own(this)) ? [box(own(this), "getClientRects")] : []; },
});
const BLOCKS = /^(?:address|article|aside|blockquote|body|center|dd|details|dialog|div|dl|dt|fieldset|figure|footer|form|h[1-6]|header|hr|html|main|nav|ol|p|pre|section|ul)$/;
const UNDISPLAYED = /^(?:head|link|meta|script|style|template|title|noscript|base|datalist)$/;
const INITIAL = bare({ visibility: "visible", opacity: "1", position: "static", cssFloat: "none" });
/** The computed style, where no style sheet has a say; otherwise it is missed. */
function computedStyle(record) {
  const inline = styleOf(record);
  if (isOlder(record)) doubts();
  if (isProbe(record)) return inline;
  const hasSheet = some(["style", "link"], (tag) => byTag(documentRecord, tag).length > 0);
  const display = inline.display || (attribute(record, "hidden") !== null || test(UNDISPLAYED, record.tag) ? "none" : test(BLOCKS, record.tag) ? "block" : "inline");
  const read = (name) => {
    if (hasSheet || !(name === "display" || name in INITIAL)) miss("getComputedStyle");
    return name === "display" ? display : inline[name] || INITIAL[name] || "";
  };
  return new ProxyOfTheWorld(bare(), bare({
    get: (_, key) => (typeof key !== "string" ? undefined : key === "getPropertyValue" ? (name) => read(toText(name)) : read(key)),
  }));
}

// ── The interfaces of single elements ───────────────────────────────────────────────────────────────────────────────

/** The interface of each tag. */
const INTERFACES = bare({ a: "HTMLAnchorElement", area: "HTMLAreaElement", form: "HTMLFormElement", input: "HTMLInputElement",
  select: "HTMLSelectElement", option: "HTMLOptionElement", textarea: "HTMLTextAreaElement", button: "HTMLButtonElement",
  meta: "HTMLMetaElement", script: "HTMLScriptElement", iframe: "HTMLIFrameElement", img: "HTMLImageElement", link: "HTMLLinkElement",
  base: "HTMLBaseElement", body: "HTMLBodyElement", template: "HTMLTemplateElement", div: "HTMLDivElement", span: "HTMLSpanElement",
  p: "HTMLParagraphElement", html: "HTMLHtmlElement", head: "HTMLHeadElement", title: "HTMLTitleElement", style: "HTMLStyleElement",
  canvas: "HTMLCanvasElement", video: "HTMLVideoElement", audio: "HTMLAudioElement", object: "HTMLObjectElement",
  embed: "HTMLEmbedElement", label: "HTMLLabelElement", table: "HTMLTableElement", frame: "HTMLFrameElement",
  fieldset: "HTMLFieldSetElement", details: "HTMLDetailsElement", dialog: "HTMLDialogElement", ul: "HTMLUListElement",
  ol: "HTMLOListElement", li: "HTMLLIElement", br: "HTMLBRElement", hr: "HTMLHRElement", pre: "HTMLPreElement",
  h1: "HTMLHeadingElement", h2: "HTMLHeadingElement", h3: "HTMLHeadingElement", h4: "HTMLHeadingElement", td: "HTMLTableCellElement",
  tr: "HTMLTableRowElement", tbody: "HTMLTableSectionElement", iframe: "HTMLIFrameElement", progress: "HTMLProgressElement",
  frameset: "HTMLFrameSetElement", optgroup: "HTMLOptGroupElement", legend: "HTMLLegendElement" });
each(ownKeys(INTERFACES), (tag) => {
  const name = INTERFACES[tag];
  if (!(name in prototypes)) expose(name, ({ [name]: class extends global.HTMLElement {} })[name]);
});
expose("SVGElement", class SVGElement extends global.Element {
  get dataset() { return dataset(own(this)); }
  get style() { return styleOf(own(this)); }
});
expose("HTMLUnknownElement", class HTMLUnknownElement extends global.HTMLElement {});
/** Elements without an interface of their own, and custom elements. */
const PLAIN = new RegExp("-|^(?:abbr|acronym|address|article|aside|basefont|bdi|bdo|big|center|cite|code|dd|dfn|dt|em|figcaption|figure|footer|" +
  "header|hgroup|kbd|main|mark|nav|nobr|noframes|noscript|plaintext|rb|rp|rtc?|ruby|samp|search|section|small|strike|strong|sub|summary|sup|" +
  "tt|var|wbr|[bisu])$");
const of = (tag) => prototypes[INTERFACES[tag]];

reflect(of("a"), "target rel download hreflang type name ping rev shape coords charset referrerPolicy");
reflect(of("area"), "target rel download alt shape coords ping referrerPolicy");
reflect(of("form"), "name target acceptCharset:accept-charset autocomplete rel", "", "noValidate");
reflect(of("input"), "accept alt autocomplete dirName formEnctype formMethod formTarget max min name pattern placeholder step align " +
  "defaultValue:value", "src formAction", "disabled formNoValidate multiple readOnly required defaultChecked:checked", "maxLength minLength size");
reflect(of("select"), "name autocomplete", "", "disabled multiple required", "size");
reflect(of("option"), "label", "", "disabled defaultSelected:selected");
reflect(of("textarea"), "name placeholder autocomplete dirName wrap", "", "disabled readOnly required", "cols rows maxLength minLength");
reflect(of("button"), "name value formEnctype formMethod formTarget", "formAction", "disabled formNoValidate");
reflect(of("meta"), "name content httpEquiv:http-equiv media scheme");
reflect(of("script"), "type charset crossOrigin integrity referrerPolicy event htmlFor:for fetchPriority", "src", "defer noModule");
reflect(of("details"), "name", "", "open");
reflect(of("iframe"), "name width height allow loading referrerPolicy scrolling frameBorder align srcdoc sandbox", "src", "allowFullscreen");
reflect(of("img"), "alt srcset sizes crossOrigin loading name align border decoding referrerPolicy", "src", "isMap", "width height");
each(["audio", "video"], (tag) => reflect(of(tag), "preload crossOrigin", "src", "autoplay controls loop"));
reflect(of("link"), "rel media type hreflang as crossOrigin integrity referrerPolicy", "href", "disabled");
reflect(of("base"), "target");
reflect(of("body"), "background bgColor text link");
reflect(of("label"), "htmlFor:for");
reflect(of("style"), "media type");

/** The parts of a link's URL (HTML 4.6.3, HTMLHyperlinkElementUtils). */
function addUrlParts(prototype, get, set) {
  each(["protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"], (part) => {
    defineProperty(prototype, part, {
      get() { const url = get(this); return url === null ? (part === "protocol" ? ":" : "") : url[part]; },
      set(value) {
        const url = get(this), changed = url === null ? null : changedUrl(url.href, part, value);
        if (changed !== null) set(this, changed);
      },
      enumerable: true, configurable: true,
    });
  });
}
each(["a", "area"], (tag) => {
  const urlOf = (object) => {
    const href = attribute(toRead(object), "href");
    return href === null ? null : parsedUrl(href, documentBase(), page.request.encoding);
  };
  addUrlParts(of(tag), urlOf, (object, url) => setAttribute(own(object), "href", url.href));
  share(of(tag), {
    get href() { const url = urlOf(this); return url === null ? attribute(toRead(this), "href") || "" : url.href; },
    set href(value) { setAttribute(own(this), "href", value); },
    get origin() { const url = urlOf(this); return url === null ? "" : url.origin; },
    get text() { return textOf(toRead(this)); },
    set text(value) { setText(own(this), toText(value)); },
    get relList() { return tokens(own(this), "rel"); },
    toString() { return this.href; },
  });
});
share(of("base"), {
  get href() { return inDocument(attribute(toRead(this), "href") || ""); },
  set href(value) { setAttribute(own(this), "href", value); },
});
share(of("progress"), {
  get max() { const found = toNumber(attribute(toRead(this), "max")); return found > 0 ? found : 1; },
  set max(value) { setAttribute(own(this), "max", toText(toNumber(value))); },
  get value() { const found = toNumber(attribute(toRead(this), "value")); return found > 0 ? (found < this.max ? found : this.max) : 0; },
  set value(value) { setAttribute(own(this), "value", toText(toNumber(value))); },
  get position() { return attribute(toRead(this), "value") === null ? -1 : this.value / this.max; },
});
const ENCTYPES = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
const oneOf = (list, value, otherwise) => (contains(list, lower(value || "")) ? lower(value) : otherwise);
share(of("form"), {
  get action() { return attribute(toRead(this), "action") ? inDocument(attribute(toRead(this), "action")) : page.url; },
  set action(value) { setAttribute(own(this), "action", value); },
  get method() { return oneOf(["get", "post", "dialog"], attribute(toRead(this), "method"), "get"); },
  set method(value) { setAttribute(own(this), "method", value); },
  get enctype() { return oneOf(ENCTYPES, attribute(toRead(this), "enctype"), ENCTYPES[0]); },
  set enctype(value) { setAttribute(own(this), "enctype", value); },
  get encoding() { return oneOf(ENCTYPES, attribute(toRead(this), "enctype"), ENCTYPES[0]); },
  set encoding(value) { setAttribute(own(this), "enctype", value); },
  get elements() { const one = own(this); return collection(() => controlsOf(one)); },
  get length() { return controlsOf(toRead(this)).length; },
  submit() { submitForm(own(this), null); },
  requestSubmit(submitter) {
    const form = own(this), button = submitter ? own(submitter) : null;
    if (button !== null && !isSubmitButton(button)) throw new TypeErrorOfTheWorld("The specified element is not a submit button.");
    if (button !== null && formOf(button) !== form) throw domError("NotFoundError", "The specified element is not owned by this form element.");
    requestSubmit(form, button);
  },
  reset() {
    if (!dispatch(own(this), newEvent("reset", { bubbles: true, cancelable: true }))) return;
    each(fieldsOf(own(this)), (field) => {
      field.value = field.checked = field.selected = null;
      each(optionsOf(field), (option) => (option.selected = null));
    });
  },
  checkValidity() { return !some(fieldsOf(toRead(this)), isInvalid); },
  reportValidity() { return !some(fieldsOf(toRead(this)), isInvalid); },
});
each(["input", "select", "option", "textarea", "button", "label", "object", "fieldset"], (tag) => share(of(tag), {
  get form() { return wrap(formOf(own(this))); },
}));
each(["input", "select", "textarea", "button"], (tag) => share(of(tag), {
  checkValidity() { return !isInvalid(toRead(this)); },
  reportValidity() { return !isInvalid(toRead(this)); },
  setCustomValidity(text) { own(this).customValidity = toText(text); },
}));
share(of("input"), {
  get type() { return typeOf(toRead(this)); },
  set type(value) { setAttribute(own(this), "type", value); },
  get value() { return inputValue(toRead(this)); },
  set value(value) {
    const one = own(this), text = value === null ? "" : toText(value);
    if (contains(["hidden", "submit", "image", "reset", "button", "checkbox", "radio"], typeOf(one))) setAttribute(one, "value", text);
    else one.value = text;
  },
  get checked() { return isChecked(toRead(this)); },
  set checked(value) {
    const one = own(this);
    if (value && typeOf(one) === "radio" && lastChecked(one) !== null) lastChecked(one).checked = false;
    one.checked = !!value;
  },
  select() {},
});
share(of("textarea"), {
  get type() { return "textarea"; },
  get value() { return areaValue(toRead(this)); },
  set value(value) { own(this).value = value === null ? "" : toText(value); },
  get defaultValue() { return textOf(toRead(this)); },
  set defaultValue(value) { setText(own(this), toText(value)); },
  select() {},
});
share(of("button"), {
  get type() { return oneOf(["submit", "reset", "button"], attribute(toRead(this), "type"), "submit"); },
  set type(value) { setAttribute(own(this), "type", value); },
});
share(of("select"), {
  get type() { return attribute(toRead(this), "multiple") === null ? "select-one" : "select-multiple"; },
  get options() {
    const one = own(this);
    return collection(() => optionsOf(one), undefined, (key, value) => {
      const list = optionsOf(one), at = toNumber(key);
      if (key === "length") each(arraySlice(list, +value), detach);
      else if (key === "selectedIndex") chooseOption(one, list[value] || null);
      else if (value === null && list[at]) detach(list[at]);
      else if (value !== null && list[at]) { insert(list[at].parent, own(value), list[at]); detach(list[at]); }
      else if (value !== null) {
        for (let count = list.length; count < at && count < TASKS_MAX; count++) insert(one, newElement("option"), null);
        insert(one, own(value), null);
      }
    });
  },
  get selectedOptions() { const one = toRead(this); return collection(() => selectedOptions(one)); },
  get length() { return optionsOf(toRead(this)).length; },
  set length(count) { this.options.length = count; },
  get selectedIndex() { const one = toRead(this); return listIndex(optionsOf(one), selectedOptions(one)[0]); },
  set selectedIndex(at) { const one = own(this); chooseOption(one, optionsOf(one)[at] || null); },
  get value() { const chosen = selectedOptions(toRead(this))[0]; return chosen ? optionValue(chosen) : ""; },
  set value(value) { const one = own(this); chooseOption(one, find(optionsOf(one), (option) => optionValue(option) === toText(value))); },
  add(option, before) { insert(own(this), own(option), before ? own(before) : null); },
  item(at) { return wrap(optionsOf(own(this))[at]); },
});
share(of("option"), {
  get value() { return optionValue(toRead(this)); },
  set value(value) { setAttribute(own(this), "value", value); },
  get text() { return optionText(toRead(this)); },
  set text(value) { setText(own(this), toText(value)); },
  get selected() { return isSelected(toRead(this)); },
  set selected(value) {
    const one = own(this), list = ancestor(one, "select");
    if (value && list !== null && attribute(list, "multiple") === null) chooseOption(list, one);
    else one.selected = !!value;
  },
  get index() { const list = ancestor(toRead(this), "select"); return list === null ? 0 : listIndex(optionsOf(list), toRead(this)); },
});
share(of("script"), {
  get text() { return textOf(toRead(this)); },
  set text(value) { setText(own(this), toText(value)); },
  get async() { const one = own(this); return attribute(one, "async") !== null || (!one.fromParser && one.async !== false); },
  set async(value) { own(this).async = !!value; if (value) setAttribute(own(this), "async", ""); else removeAttribute(own(this), "async"); },
});
share(of("title"), {
  get text() { return textOf(toRead(this)); },
  set text(value) { setText(own(this), toText(value)); },
});
share(of("template"), {
  get content() {
    return wrap(inside(own(this)));
  },
});
share(of("img"), {
  get complete() { awaits("whether an image loads"); return attribute(own(this), "src") === null; },
});

// ── Event objects ───────────────────────────────────────────────────────────────────────────────────────────────────

expose("Event", class Event {
  constructor(type, options = {}) {
    const event = newEvent(type, options || {}, new.target.prototype);
    own(event).isTrusted = false;
    each(ownKeys(options || {}), (name) => (hasProperty(own(event), name) ? 0 : own(event)[name] = options[name]));
    return event;
  }
  get type() { return own(this).type; }
  get target() { return wrap(own(this).target); }
  get srcElement() { return wrap(own(this).target); }
  get currentTarget() { return wrap(own(this).current); }
  get eventPhase() { return own(this).phase; }
  get bubbles() { return own(this).bubbles; }
  get cancelable() { return own(this).cancelable; }
  get defaultPrevented() { return own(this).canceled; }
  get returnValue() { return !own(this).canceled; }
  set returnValue(value) { if (!value) this.preventDefault(); }
  get timeStamp() { return own(this).time; }
  get isTrusted() { return own(this).isTrusted; }
  get composed() { return own(this).composed; }
  get cancelBubble() { return own(this).stopped; }
  set cancelBubble(value) { if (value) own(this).stopped = true; }
  preventDefault() { if (own(this).cancelable) own(this).canceled = true; }
  stopPropagation() { own(this).stopped = true; }
  stopImmediatePropagation() { own(this).stopped = own(this).stoppedNow = true; }
  composedPath() { return own(this).current === null ? [] : map(own(this).path, wrap); }
  initEvent(type, bubbles, cancelable) {
    const state = own(this);
    state.type = toText(type);
    state.bubbles = !!bubbles;
    state.cancelable = !!cancelable;
  }
});
const EVENTS = bare({ UIEvent: "Event", MouseEvent: "UIEvent", PointerEvent: "MouseEvent", KeyboardEvent: "UIEvent", FocusEvent: "UIEvent",
  InputEvent: "UIEvent", TouchEvent: "UIEvent", WheelEvent: "MouseEvent", CustomEvent: "Event", ErrorEvent: "Event",
  HashChangeEvent: "Event", PopStateEvent: "Event", SubmitEvent: "Event", FormDataEvent: "Event", MessageEvent: "Event", StorageEvent: "Event",
  ProgressEvent: "Event", PageTransitionEvent: "Event" });
each(ownKeys(EVENTS), (name) => expose(name, ({ [name]: class extends global[EVENTS[name]] {} })[name]));
const eventFields = (name, fields, initial = null) => each(words(fields), (field) => defineProperty(prototypes[name], field, {
  get() { return own(this)[field] ?? initial; }, enumerable: true, configurable: true,
}));
eventFields("CustomEvent", "detail");
eventFields("ErrorEvent", "error");
eventFields("ErrorEvent", "filename", "");
defineProperty(prototypes.ErrorEvent, "message", {
  get() { if (own(this).isUncertain) miss("error.message"); return own(this).message ?? ""; }, enumerable: true, configurable: true,
});
eventFields("ErrorEvent", "lineno colno", 0);
eventFields("HashChangeEvent", "oldURL newURL", "");
eventFields("SubmitEvent", "submitter");
eventFields("FormDataEvent", "formData");
eventFields("MessageEvent", "data source");
eventFields("MessageEvent", "origin", "");
eventFields("UIEvent", "view");
eventFields("UIEvent", "detail", 0);
eventFields("MouseEvent", "relatedTarget");
eventFields("MouseEvent", "button buttons clientX clientY screenX screenY", 0);
eventFields("KeyboardEvent", "key code", "");
eventFields("KeyboardEvent", "keyCode", 0);
each(["MouseEvent", "KeyboardEvent"], (name) => eventFields(name, "ctrlKey shiftKey altKey metaKey", false));
eventFields("PopStateEvent", "state");
eventFields("PageTransitionEvent", "persisted", false);
eventFields("UIEvent", "which", 0);
defineProperty(prototypes.KeyboardEvent, "which", { get() { return this.keyCode; }, enumerable: true, configurable: true });
each(words("NONE CAPTURING_PHASE AT_TARGET BUBBLING_PHASE"), (name, at) => each([global.Event, prototypes.Event], (object) => {
  defineProperty(object, name, { value: at, enumerable: true });
}));
each(words("x:clientX y:clientY pageX:clientX pageY:clientY"), (word) => {
  const names = split(word, /:/g);
  defineProperty(prototypes.MouseEvent, names[0], { get() { return own(this)[names[1]] ?? 0; }, enumerable: true, configurable: true });
});
defineProperty(prototypes.MouseEvent, "which", { get() { return this.button + 1; }, enumerable: true, configurable: true });
share(prototypes.CustomEvent, { initCustomEvent(type, bubbles, cancelable, detail) { this.initEvent(type, bubbles, cancelable); own(this).detail = detail; } });
share(prototypes.MouseEvent, { initMouseEvent(type, bubbles, cancelable) { this.initEvent(type, bubbles, cancelable); } });

// ── The document ────────────────────────────────────────────────────────────────────────────────────────────────────

expose("Document", class Document extends global.Node {
  get URL() { return page.url; }
  get documentURI() { return page.url; }
  get domain() { return here().hostname; }
  set domain(value) {
    const name = toText(value), host = here().hostname;
    if (name !== host && (!endsWith(host, "." + name) || !has(name, "."))) throw domError("SecurityError", `'${name}' is not a suffix of '${host}'.`);
  }
  get referrer() { return page.request.referrer; }
  get cookie() { doubts(); return join(map(ownKeys(page.jar), (key) => (key === "=" ? page.jar[key] : `${slice(key, 1)}=${page.jar[key]}`)), "; "); }
  set cookie(text) { setCookie(toText(text)); }
  get title() { const one = first(documentRecord, (record) => isElement(record, "title")); if (one === null || isOlder(one)) doubts(); return one ? join(words(textOf(one)), " ") : ""; }
  set title(text) {
    const one = first(documentRecord, (record) => isElement(record, "title"));
    if (one) setText(one, toText(text));
    else if (partOf("head")) { const made = newElement("title"); setText(made, toText(text)); insert(partOf("head"), made, null); }
  }
  get readyState() { return page.readyState; }
  get documentElement() { return wrap(documentElement()); }
  get scrollingElement() { return wrap(documentElement()); }
  get head() { return wrap(partOf("head")); }
  get body() { return wrap(theBody()); }
  set body(node) { const old = theBody(); if (old) { insert(old.parent, own(node), old); detach(old); } else insert(documentElement(), own(node), null); }
  get activeElement() { return wrap(theBody()); }
  get currentScript() { return wrap(page.currentScript); }
  get defaultView() { return global; }
  get compatMode() { return test(/^\s*(?:<!--[\s\S]*?-->\s*)*<!doctype\s+html/i, page.request.html) ? "CSS1Compat" : "BackCompat"; }
  get characterSet() { return encodingName(page.request.encoding); }
  get charset() { return encodingName(page.request.encoding); }
  get inputEncoding() { return encodingName(page.request.encoding); }
  get contentType() { return "text/html"; }
  get hidden() { return false; }
  get visibilityState() { return "visible"; }
  get webkitHidden() { return false; }
  get webkitVisibilityState() { return "visible"; }
  get prerendering() { return false; }
  get designMode() { return "off"; }
  get all() { return awaits("document.all"), undefined; } // of type undefined in browsers, too
  get doctype() { return this.compatMode === "CSS1Compat" ? { name: "html", publicId: "", systemId: "", nodeType: 10 } : null; }
  get forms() { return collection(() => byTag(documentRecord, "form")); }
  get images() { return collection(() => byTag(documentRecord, "img")); }
  get scripts() { return collection(() => byTag(documentRecord, "script")); }
  get links() { return collection(() => descendants(documentRecord, (one) => contains(["a", "area"], one.tag) && "href" in one.attributes)); }
  get anchors() { return collection(() => descendants(documentRecord, (one) => one.tag === "a" && "name" in one.attributes)); }
  get embeds() { return collection(() => byTag(documentRecord, "embed")); }
  get implementation() { return create(prototypes.DOMImplementation); }
  getElementById(id) { return lookedUp(byId(documentRecord, toText(id))); }
  getElementsByName(name) {
    const wanted = toText(name);
    return nodeList(() => descendants(documentRecord, (one) => isElement(one) && attribute(one, "name") === wanted));
  }
  createElement(tag) {
    const name = lower(toText(tag));
    if (!test(/^[a-z_:][^\s<>\/]*$/, name)) throw domError("InvalidCharacterError", `The tag name provided ('${name}') is not a valid name.`);
    return wrap(newElement(name));
  }
  createElementNS(space, tag) { const made = newElement(toText(tag)); made.namespace = toText(space); return wrap(made); }
  createTextNode(text) { return wrap(newText(toText(text))); }
  createComment(text) { return wrap(newText(toText(text), COMMENT)); }
  createDocumentFragment() { return wrap(newRecord(FRAGMENT, "#document-fragment")); }
  createEvent(kind) {
    const name = replaced(toText(kind), /s$/g, () => "");
    const found = find(["Event", "CustomEvent", ...ownKeys(EVENTS)], (one) => lower(one) === lower(name));
    return untrusted(newEvent("", {}, prototypes[found || "Event"]));
  }
  createRange() {
    const made = { createContextualFragment: (text) => wrap(executable(toText(text))), selectNode() {}, selectNodeContents() {}, detach() {} };
    each(words("setStart setEnd setStartBefore setEndAfter insertNode deleteContents cloneContents extractContents surroundContents collapse " +
      "getBoundingClientRect getClientRects startContainer endContainer startOffset endOffset commonAncestorContainer"),
    (name) => missing(made, name, "range."));
    return made;
  }
  importNode(node, deep) { return wrap(copied(own(node), !!deep)); }
  adoptNode(node) { detach(own(node)); return node; }
  write(...texts) { if (!parser.stopped || parser.points.length) writeText(join(map(texts, toText), "")); }
  writeln(...texts) { if (!parser.stopped || parser.points.length) writeText(join(map(texts, toText), "") + "\n"); }
  open(...values) {
    if (values.length > 2) return apply(global.open, global, values);
    if (!parser.active) openDocument();
    return this;
  }
  close() { closeDocument(); }
  hasFocus() { return true; }
  execCommand() { return false; }
});
addParentMembers(prototypes.Document);
expose("HTMLDocument", class HTMLDocument extends global.Document {});

/** The cookies that the page sees; each assignment goes to the trace's own jar (RFC 6265bis, 5.6). */
function setCookie(text) {
  if (page.cookies.length < COOKIES_MAX) push(page.cookies, text);
  const parts = split(text, /;/g), pair = stripped(parts[0]), at = indexOf(pair, "=");
  const name = at < 0 ? "" : stripped(slice(pair, 0, at)), value = stripped(slice(pair, at + 1));
  const settings = bare();
  each(arraySlice(parts, 1), (part) => {
    const equals = indexOf(part, "=");
    settings[lower(stripped(equals < 0 ? part : slice(part, 0, equals)))] = equals < 0 ? "" : stripped(slice(part, equals + 1));
  });
  const url = here(), domain = settings.domain && lower(replaced(settings.domain, /^\./g, () => ""));
  if ("httponly" in settings || (name === "" && value === "")) return;
  if (domain && domain !== url.hostname && (!endsWith(url.hostname, "." + domain) || !has(domain, "."))) return;
  if (test(/[\x00-\x1f\x7f]/, replaced(text, /[\t ]*(?:[;=]|$)[\t ]*|^\t+/g, () => "")) || (lower(settings.samesite || "") === "none" && !("secure" in settings))) return;
  const isHost = startsWith(lower(name), "__host-");
  if ((isHost || startsWith(lower(name), "__secure-")) && !("secure" in settings)) return;
  if (isHost && (domain || settings.path !== "/")) return;
  if ("secure" in settings && url.protocol !== "https:" && !test(/^(?:localhost|127\.)/, url.hostname)) return;
  const path = settings.path || "";
  if (path[0] === "/" && url.pathname !== path && !startsWith(url.pathname, endsWith(path, "/") ? path : path + "/")) return;
  const age = settings["max-age"];
  const gone = age !== undefined && test(/^-?\d+$/, age) ? toNumber(age) <= 0
    : settings.expires !== undefined && parseDate(settings.expires) <= now();
  if (gone || page.jar["=" + name] !== value) delete page.jar["=" + name]; // a new value is a new cookie: the last one
  if (!gone) page.jar["=" + name] = value;
}

/** Elements that are found by name: as properties of the document and of the window (HTML 3.1.5, 7.2.2.3). */
const namedProperties = bare();
function named(record) {
  const id = attribute(record, "id"), name = attribute(record, "name");
  const onDocument = contains(["form", "img", "iframe", "embed", "object"], record.tag);
  each(onDocument || record.tag === "frameset" ? [id, name] : [id], (key) => key && nameOnWindow(key));
  if (onDocument && name) nameOnDocument(name);
  if (onDocument && id && (record.tag === "object" || (record.tag === "img" && name))) nameOnDocument(id);
}
const hasName = (record, key) => isElement(record) && (attribute(record, "id") === key ||
  (attribute(record, "name") === key && contains(["form", "img", "iframe", "embed", "object", "frameset"], record.tag)));
function nameOnWindow(key) {
  if (hasOwn(namedProperties, key)) return;
  defineProperty(namedProperties, key, {
    get() {
      const found = descendants(documentRecord, (record) => hasName(record, key));
      if (found.length === 1 && found[0].tag === "iframe") miss("a frame's window");
      return found.length === 0 ? undefined : found.length === 1 ? wrap(found[0]) : collection(() => found);
    },
    set(value) { defineProperty(global, key, { value, writable: true, enumerable: true, configurable: true }); },
    configurable: true,
  });
}
function nameOnDocument(key) {
  if (key === "location") return; // it cannot be hidden
  defineProperty(wrap(documentRecord), key, {
    get() {
      const found = descendants(documentRecord, (record) => hasName(record, key) && record.tag !== "frameset");
      if (found.length === 1 && found[0].tag === "iframe") miss("a frame's window");
      return found.length === 0 ? prototypes.Document[key] : found.length === 1 ? wrap(found[0]) : collection(() => found);
    },
    set() {},
    configurable: true,
  });
}

// ── Location, history, storage ──────────────────────────────────────────────────────────────────────────────────────

expose("Location", class Location { constructor() { illegal(); } });
const theLocation = create(prototypes.Location);
function setPart(part, value) {
  if (part === "protocol" && !test(/^[a-z][a-z\d+.-]*(?::|$)/i, stripped(toText(value)))) throw domError("SyntaxError", `'${value}' is an invalid protocol.`);
  const url = changedUrl(page.url, part, value);
  if (part === "hash") {
    if (url.hash !== here().hash) moveTo(url.hash ? url.href : withoutFragment(page.url) + "#");
  } else if (url !== null) {
    follow("script", url, { reloads: part === "search" || part === "pathname" });
  }
}
const locationMembers = {
  get ancestorOrigins() { return create(bare({ length: 0, item: () => null, contains: () => false })); },
  get href() { return page.url; }, set href(value) { navigate("script", value); },
  get origin() { return here().origin; },
  assign(href) { navigate("script", href); },
  replace(href) { navigate("script", href); },
  reload() { follow("script", here(), { reloads: true, isReload: true }); },
  toString() { return page.url; },
};
guard(locationMembers, (object) => object === theLocation);
each(ownKeys(locationMembers), (name) => {
  const property = getOwnPropertyDescriptor(locationMembers, name);
  property.configurable = false;
  if ("value" in property) property.writable = false;
  defineProperty(theLocation, name, property);
});
each(["protocol", "host", "hostname", "port", "pathname", "search", "hash"], (part) => defineProperty(theLocation, part, {
  get: () => here()[part], set: (value) => setPart(part, value), enumerable: true, configurable: false,
}));

let historyState = null, historyLength = 2; // a new tab has an empty page before the first
const changeHistory = (state, _, href) => {
  if (href !== undefined && href !== null) {
    const url = parsedUrl(href, documentBase(), page.request.encoding);
    if (url === null || url.origin !== here().origin) throw domError("SecurityError", `A history state object with URL '${href}' cannot be created.`);
    page.url = url.href;
  }
  historyState = state;
};
expose("History", class History {
  constructor() { illegal(); }
  get length() { return historyLength; }
  get state() { return historyState; }
  get scrollRestoration() { return "auto"; }
  set scrollRestoration(_) {}
  pushState(state, title, href) { changeHistory(state, title, href); historyLength++; }
  replaceState(state, title, href) { changeHistory(state, title, href); }
  back() { miss("history.back"); }
  forward() {}
  go(by) { if (!by) theLocation.reload(); else if (by < 0) miss("history.go"); }
});

expose("Storage", class Storage {
  constructor() { illegal(); }
  get length() { doubts(); return ownKeys(own(this).values).length; }
  key(at) { doubts(); return ownKeys(own(this).values)[at] ?? null; }
  getItem(key) { doubts(); return own(this).values[toText(key)] ?? null; }
  setItem(key, value) { own(this).values[toText(key)] = toText(value); }
  removeItem(key) { delete own(this).values[toText(key)]; }
  clear() { own(this).values = bare(); }
});
function newStorage(values) {
  const state = bare({ values }), made = create(prototypes.Storage);
  const seen = new ProxyOfTheWorld(made, bare({
    get: (target, key, self) => (typeof key === "string" && !(key in target) ? (doubts(), state.values[key]) : Reflect_get(target, key, self)),
    set: (_, key, value) => (key === "length" || (state.values[key] = toText(value)), true),
    has: (target, key) => key in target || (doubts(), key in state.values),
    deleteProperty: (_, key) => delete state.values[key],
    ownKeys: () => (doubts(), ownKeys(state.values)),
    getOwnPropertyDescriptor: (_, key) => (key in state.values
      ? { value: state.values[key], writable: true, enumerable: true, configurable: true } : undefined),
  }));
  weakSet(records, made, state);
  weakSet(records, seen, state);
  return seen;
}

// ── URL, URLSearchParams, FormData ──────────────────────────────────────────────────────────────────────────────────

const escapedName = (text) => ask("encode", [text, "utf-8", "form"]);
function decodedName(text) {
  const spaced = replaced(text, /\+/g, () => " ");
  return replaced(spaced, /(?:%[0-9A-Fa-f]{2})+/g, (match) => decodedBytes(map(arraySlice(split(match[0], /%/g), 1), (digits) => toNumber("0x" + digits))));
}
/** UTF-8 decode (Encoding 6): each part that is no UTF-8 becomes one U+FFFD. */
function decodedBytes(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const one = bytes[at++], rest = one < 0x80 ? 0 : one >= 0xc2 && one < 0xe0 ? 1 : one >= 0xe0 && one < 0xf0 ? 2 : one >= 0xf0 && one < 0xf5 ? 3 : -1;
    let point = rest < 0 ? 0xfffd : rest === 0 ? one : one & (0x3f >> rest), left = rest;
    let lowest = one === 0xe0 ? 0xa0 : one === 0xf0 ? 0x90 : 0x80, highest = one === 0xed ? 0x9f : one === 0xf4 ? 0x8f : 0xbf;
    for (; left > 0 && at < bytes.length && bytes[at] >= lowest && bytes[at] <= highest; left--) {
      point = (point << 6) | (bytes[at++] & 0x3f);
      lowest = 0x80;
      highest = 0xbf;
    }
    if (left > 0) point = 0xfffd;
    text += point > 0xffff ? fromCharCode(0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff)) : fromCharCode(point);
  }
  return text;
}
const pairsIn = (query) => map(filter(split(query, /&/g), (part) => part !== ""), (part) => {
  const at = indexOf(part, "=");
  return { name: decodedName(at < 0 ? part : slice(part, 0, at)), value: at < 0 ? "" : decodedName(slice(part, at + 1)) };
});
const pairsText = (pairs) => join(map(pairs, (pair) => escapedName(pair.name) + "=" + escapedName(pair.value)), "&");

/** What URLSearchParams and FormData share: a list of pairs. */
const pairMethods = {
  append(name, value) { const one = own(this); push(one.pairs, { name: toText(name), value: toText(value) }); one.changed(); },
  delete(name) { const one = own(this); one.pairs = filter(one.pairs, (pair) => pair.name !== toText(name)); one.changed(); },
  get(name) { const pair = find(own(this).pairs, (one) => one.name === toText(name)); return pair === null ? null : pair.value; },
  getAll(name) { return map(filter(own(this).pairs, (one) => one.name === toText(name)), (one) => one.value); },
  has(name) { return some(own(this).pairs, (one) => one.name === toText(name)); },
  set(name, value) {
    const one = own(this), key = toText(name), found = find(one.pairs, (pair) => pair.name === key);
    if (found === null) push(one.pairs, { name: key, value: toText(value) });
    else {
      found.value = toText(value);
      one.pairs = filter(one.pairs, (pair) => pair === found || pair.name !== key);
    }
    one.changed();
  },
  forEach(action, self) { each(arraySlice(own(this).pairs), (pair) => apply(action, self, [pair.value, pair.name, this])); },
  keys() { return apply(arrayValues, map(own(this).pairs, (pair) => pair.name), []); },
  values() { return apply(arrayValues, map(own(this).pairs, (pair) => pair.value), []); },
  entries() { return apply(arrayValues, map(own(this).pairs, (pair) => [pair.name, pair.value]), []); },
  [iteratorSymbol]() { return this.entries(); },
};
expose("URLSearchParams", class URLSearchParams {
  constructor(from = "") {
    const state = bare({ pairs: [], changed() {} });
    weakSet(records, this, state);
    if (typeof from !== "object" || from === null) {
      const text = toText(from);
      state.pairs = pairsIn(text[0] === "?" ? slice(text, 1) : text);
    } else if (typeof from[iteratorSymbol] === "function") {
      for (const pair of from) {
        if (pair.length !== 2) throw new TypeErrorOfTheWorld("Failed to construct 'URLSearchParams': Sequence initializer must only contain pair elements");
        push(state.pairs, { name: toText(pair[0]), value: toText(pair[1]) });
      }
    } else {
      each(ownKeys(from), (name) => push(state.pairs, { name, value: toText(from[name]) }));
    }
  }
  get size() { return own(this).pairs.length; }
  sort() {
    const one = own(this);
    sort(one.pairs, (left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0));
    one.changed();
  }
  toString() { return pairsText(own(this).pairs); }
});
share(prototypes.URLSearchParams, pairMethods);
share(prototypes.URLSearchParams, {
  delete(name, value) {
    const one = own(this);
    one.pairs = filter(one.pairs, (pair) => !isPair(pair, name, value));
    one.changed();
  },
  has(name, value) { return some(own(this).pairs, (pair) => isPair(pair, name, value)); },
});
const isPair = (pair, name, value) => pair.name === toText(name) && (value === undefined || pair.value === toText(value));
expose("URL", class URL {
  constructor(href, base) {
    const from = base === undefined ? null : parsedUrl(base);
    const url = base !== undefined && from === null ? null : parsedUrl(href, from ? from.href : "");
    if (url === null) throw new TypeErrorOfTheWorld(`Failed to construct 'URL': Invalid URL`);
    weakSet(records, this, bare({ url, params: null }));
  }
  static canParse(href, base) { return parsedUrl(href, base === undefined ? "" : base) !== null; }
  static parse(href, base) { return global.URL.canParse(href, base) ? new global.URL(href, base) : null; }
  get href() { return own(this).url.href; }
  set href(value) {
    const url = parsedUrl(value);
    if (url === null) throw new TypeErrorOfTheWorld("Failed to set the 'href' property on 'URL': Invalid URL");
    changeUrl(own(this), url);
  }
  get origin() { return own(this).url.origin; }
  get searchParams() {
    const one = own(this);
    if (one.params === null) {
      one.params = new global.URLSearchParams(one.url.search);
      own(one.params).changed = () => (one.url = changedUrl(one.url.href, "search", pairsText(own(one.params).pairs)));
    }
    return one.params;
  }
  toString() { return own(this).url.href; }
  toJSON() { return own(this).url.href; }
});
function changeUrl(state, url) {
  state.url = url;
  if (state.params !== null) own(state.params).pairs = pairsIn(slice(url.search, 1));
}
addUrlParts(prototypes.URL, (object) => own(object).url, (object, url) => changeUrl(own(object), url));
share(global.URL, { createObjectURL() { miss("URL.createObjectURL"); return ""; }, revokeObjectURL() {} });
expose("FormData", class FormData {
  constructor(form) {
    const pairs = form ? map(entryList(own(form), null, "utf-8"), (one) => ({ name: one.name, value: one.value })) : [];
    weakSet(records, this, bare({ pairs, changed() {} }));
  }
});
share(prototypes.FormData, pairMethods);

// ── What this world has only in part ────────────────────────────────────────────────────────────────────────────────

expose("DOMImplementation", class DOMImplementation {
  hasFeature() { return true; }
  createHTMLDocument(title = "") { return wrap(separateDocument(`<!doctype html><title>${toText(title)}</title>`)); }
});
expose("DOMParser", class DOMParser {
  parseFromString(text, type) {
    if (lower(toText(type)) !== "text/html") miss("a document in XML");
    return wrap(separateDocument(toText(text)));
  }
});
/** A document beside the page's own: its scripts do not run, and it has no window. */
function separateDocument(text) {
  const made = newRecord(FRAGMENT, "#document");
  each(fragmentOf(text), (child) => attach(made, child));
  made.wrapper = create(separatePrototype);
  weakSet(records, made.wrapper, made);
  return made;
}
const fragmentOf = (text) => grown(ask("parse", [text, ""]));
const separatePrototype = create(prototypes.DocumentFragment);
addParentMembers(separatePrototype);
const within2 = (object, tag) => wrap(first(own(object), (one) => isElement(one, tag)));
share(separatePrototype, {
  get documentElement() { return within2(this, "html"); },
  get head() { return within2(this, "head"); },
  get body() { return within2(this, "body"); },
  get title() { const one = first(own(this), (record) => isElement(record, "title")); return one ? textOf(one) : ""; },
  createElement(tag) { return wrap(newElement(lower(toText(tag)))); },
});

/** Mutation observers get one call with the records of a task; only the kinds and the nodes are told. */
function observe(record, type, added, name = null) {
  each(page.observers, (observer) => {
    if (!some(observer.targets, (one) => (one.record === record || (one.options.subtree && within(one.record, record))) && one.options[type])) return;
    push(observer.queue, { type, target: wrap(record), addedNodes: wrapAll(added), removedNodes: [], attributeName: name });
    if (observer.queue.length > 1) return;
    microtask(() => {
      const list = observer.queue;
      observer.queue = [];
      call(observer.callback, observer.wrapper, [list, observer.wrapper]);
    });
  });
}
const microtask = global.queueMicrotask;
expose("MutationObserver", class MutationObserver {
  constructor(callback) { weakSet(records, this, bare({ callback, wrapper: this, targets: [], queue: [] })); }
  observe(node, options = {}) {
    const one = own(this);
    push(one.targets, { record: own(node), options: bare({ ...options }) });
    if (!contains(page.observers, one)) push(page.observers, one);
  }
  disconnect() { own(this).targets = []; }
  takeRecords() { const one = own(this), list = one.queue; one.queue = []; return list; }
});
expose("TextEncoder", class TextEncoder {
  get encoding() { return "utf-8"; }
  encode(text = "") {
    const data = fromBase64(ask("encode", [toText(text), "utf-8", "bytes"])), bytes = [];
    for (let at = 0; at < data.length; at++) push(bytes, charCode(data, at));
    return new global.Uint8Array(bytes);
  }
});
expose("TextDecoder", class TextDecoder {
  constructor(label = "utf-8", options = {}) {
    if (!test(/^\s*utf-?8\s*$/i, toText(label))) miss("TextDecoder of " + label);
    weakSet(records, this, bare({ fatal: !!(options && options.fatal), keepsMark: !!(options && options.ignoreBOM) }));
  }
  get fatal() { return own(this).fatal; }
  get ignoreBOM() { return own(this).keepsMark; }
  get encoding() { return "utf-8"; }
  decode(bytes) {
    if (bytes === undefined) return "";
    const list = bytes instanceof global.ArrayBuffer ? new global.Uint8Array(bytes) : bytes;
    const text = decodedBytes(list);
    if (own(this).fatal && has(text, "\ufffd")) throw new TypeErrorOfTheWorld("The encoded data was not valid.");
    return text[0] === "\ufeff" && !own(this).keepsMark ? slice(text, 1) : text;
  }
});

/** What scripts give to navigator.sendBeacon. Its content is not kept: who reads it misses it. */
expose("Blob", class Blob {
  constructor(parts = [], options = {}) { weakSet(records, this, bare({ type: lower(toText((options && options.type) || "")) })); }
  get type() { return own(this).type; }
});
each(words("size arrayBuffer bytes slice stream text"), (name) => missing(prototypes.Blob, name, "Blob."));

/** Messages between two ports arrive in a task. */
expose("MessagePort", class MessagePort extends prototypes.EventTarget.constructor {
  constructor() { super(); own(this).other = null; }
  postMessage(data) {
    const { other } = own(this);
    queue(0, () => {
      const event = newEvent("message", {}, prototypes.MessageEvent);
      own(event).data = data;
      dispatch(own(other), event);
    });
  }
  start() {}
  close() {}
});
expose("MessageChannel", class MessageChannel {
  constructor() {
    this.port1 = new MessagePortOfTheWorld();
    this.port2 = new MessagePortOfTheWorld();
    own(this.port1).other = this.port2;
    own(this.port2).other = this.port1;
  }
});
const MessagePortOfTheWorld = global.MessagePort;

/** Interfaces whose objects do nothing here but wait. */
const WAITING = bare({ WebSocket: "send close", EventSource: "close", Worker: "postMessage terminate", SharedWorker: "",
  IntersectionObserver: "observe unobserve disconnect takeRecords", ResizeObserver: "observe unobserve disconnect",
  PerformanceObserver: "observe disconnect takeRecords", BroadcastChannel: "postMessage close" });
each(ownKeys(WAITING), (name) => {
  expose(name, ({ [name]: class extends global.EventTarget {
    constructor() { super(); awaits(name); }
  } })[name]);
  each(words(WAITING[name]), (method) => share(prototypes[name], { [method]() { return []; } }));
});
expose("AbortSignal", class AbortSignal extends global.EventTarget {
  get aborted() { return own(this).aborted === true; }
  get reason() { return own(this).reason; }
  throwIfAborted() { if (own(this).aborted) throw own(this).reason; }
  static abort(reason) {
    const controller = new global.AbortController();
    controller.abort(reason);
    return controller.signal;
  }
  static timeout() { awaits("AbortSignal.timeout"); return new global.AbortSignal(); }
});
expose("AbortController", class AbortController {
  constructor() { this.signal = new SignalOfTheWorld(); }
  abort(reason = domError("AbortError", "signal is aborted without reason")) {
    const signal = own(this.signal);
    if (signal.aborted) return;
    signal.aborted = true;
    signal.reason = reason;
    fire(signal, "abort");
  }
});
const SignalOfTheWorld = global.AbortSignal;
defineProperty(prototypes.AbortSignal, "onabort", {
  get() { return handlerOf(own(this), "abort"); }, set(value) { setHandler(own(this), "abort", value); }, enumerable: true, configurable: true,
});

/** Requests of a script: never sent. Only time would bring their answers. */
const never = () => new global.Promise(() => {});
function waitsFor(name) {
  awaits(name);
  return never();
}
expose("XMLHttpRequest", class XMLHttpRequest extends global.EventTarget {
  open() { own(this).opened = 1; }
  send() { awaits("XMLHttpRequest"); }
  abort() {}
  setRequestHeader() {}
  getResponseHeader() { return null; }
  getAllResponseHeaders() { return ""; }
  overrideMimeType() {}
  get readyState() { return own(this).opened || 0; }
  get status() { miss("XMLHttpRequest"); return 0; }
  get responseText() { miss("XMLHttpRequest"); return ""; }
  get response() { miss("XMLHttpRequest"); return ""; }
});

// ── The clock ───────────────────────────────────────────────────────────────────────────────────────────────────────

const READING_MS = 0.1; // each reading of the clock takes so long on it, so that a loop that waits for a time ends
function now() {
  page.clock += READING_MS;
  return floor(page.request.now_ms + page.clock);
}
class VirtualDate extends DateOfTheWorld {
  constructor(...values) {
    if (values.length === 0) super(now());
    else super(...values);
  }
  static now() { return now(); }
}
function DateOfThePage(...values) {
  return new.target === undefined ? new VirtualDate().toString() : construct(VirtualDate, values, new.target);
}
each(["now", "parse", "UTC"], (name) => defineProperty(DateOfThePage, name, { value: VirtualDate[name], writable: true, configurable: true }));
defineProperty(DateOfThePage, "length", { value: 7 });
defineProperty(DateOfThePage, "prototype", { value: DateOfTheWorld.prototype });
defineProperty(DateOfThePage, "name", { value: "Date" });
defineProperty(DateOfTheWorld.prototype, "constructor", { value: DateOfThePage, writable: true, configurable: true });
defineProperty(global, "Date", { value: DateOfThePage, writable: true, configurable: true });

const timers = bare();
let timerCount = 0;
function startTimer(action, delay, values, repeats, depth = 0) {
  const id = ++timerCount, wait = max(repeats || depth > 4 ? 4 : 0, toNumber(delay) || 0);
  const run = () => {
    if (!repeats) delete timers[id];
    const level = page.timerDepth;
    page.timerDepth = depth + 1;
    if (typeof action === "function") call(action, global, values);
    else if (page.evalBlocked) report(null, "EvalError: a string is not evaluated");
    else { noteText(toText(action)); runText(toText(action)); }
    page.timerDepth = level;
    if (repeats && id in timers) timers[id] = queue(wait, run);
  };
  timers[id] = queue(wait > 0x7fffffff ? 0 : wait, run);
  return id;
}
function stopTimer(id) {
  const task = timers[id];
  if (task === undefined) return;
  cancel(task);
  delete timers[id];
}
page.timerDepth = 0;

// ── The window ──────────────────────────────────────────────────────────────────────────────────────────────────────

weakSet(records, global, windowRecord);
windowRecord.wrapper = global;
defineProperty(documentRecord, "wrapper", { value: create(prototypes.HTMLDocument), writable: true });
weakSet(records, documentRecord.wrapper, documentRecord);
defineProperty(documentRecord.wrapper, "location", {
  get: () => theLocation, set: (value) => navigate("script", value), enumerable: true, configurable: false,
});
expose("Navigator", class Navigator { constructor() { illegal(); } });
const navigatorObject = create(prototypes.Navigator);

/** Properties that a script cannot replace (HTML 7.2.2, LegacyUnforgeable). */
each(["window", "document", "location", "top"], (name) => defineProperty(global, name, {
  get: name === "document" ? () => documentRecord.wrapper : name === "location" ? () => theLocation : () => global,
  set: name === "location" ? (value) => navigate("script", value) : undefined,
  enumerable: true, configurable: false,
}));
/** Defines a property of the window that a script may replace by a value of its own. */
function replaceable(name, get) {
  defineProperty(global, name, {
    get, set(value) { defineProperty(global, name, { value, writable: true, enumerable: true, configurable: true }); },
    enumerable: true, configurable: true,
  });
}
each(["self", "parent", "frames"], (name) => replaceable(name, () => global));
each(["opener", "frameElement"], (name) => replaceable(name, () => null));
replaceable("length", () => byTag(documentRecord, "iframe").length);
replaceable("origin", () => here().origin);
replaceable("event", () => page.event);
const SIZES = bare({ innerWidth: 1920, innerHeight: 969, outerWidth: 1920, outerHeight: 1080, devicePixelRatio: 1, screenX: 0, screenY: 0,
  screenLeft: 0, screenTop: 0, scrollX: 0, scrollY: 0, pageXOffset: 0, pageYOffset: 0 });
each(ownKeys(SIZES), (name) => replaceable(name, () => SIZES[name]));
/* What the tab keeps from page to page: window.name, and the storages of each origin. */
const keptOf = (name) => {
  const origins = page.kept.origins, origin = here().origin;
  if (!hasOwn(origins, origin)) origins[origin] = bare();
  if (!hasOwn(origins[origin], name)) origins[origin][name] = bare();
  return origins[origin][name];
};
function readKept(text) {
  page.kept = text ? bare(parseJson(text)) : bare({ name: "", origin: "", origins: bare() });
  page.isReload = page.kept.isReload === true;
  bare(page.kept.origins);
  each(ownKeys(page.kept.origins), (origin) => {
    bare(page.kept.origins[origin]);
    each(ownKeys(page.kept.origins[origin]), (name) => bare(page.kept.origins[origin][name]));
  });
}
function writtenKept() {
  const { kept } = page;
  const isReload = page.jump !== null && page.jump.isReload;
  if (kept.name === "" && storages.localStorage === null && storages.sessionStorage === null && isReload === !!kept.isReload) return page.request.kept || "";
  kept.isReload = isReload;
  const { origin } = here();
  each(["localStorage", "sessionStorage"], (name) => storages[name] && (kept.origins[origin][name] = own(storages[name]).values));
  kept.origin = origin;
  const text = stringify(kept);
  return text.length > KEPT_MAX ? "" : text;
}
const KEPT_MAX = 65536; // characters; more is not kept
/** Secure Contexts 3.1, is url potentially trustworthy. */
const isSecure = () => test(/^https:|^http:\/\/(?:localhost|127\.\d+\.\d+\.\d+)[:/]/, page.url);
const constants = (values) => {
  const made = create({ __proto__: Object.prototype });
  each(ownKeys(values), (name) => defineProperty(made, name, { value: values[name], writable: true, enumerable: true, configurable: true }));
  return made;
};
const screenObject = create(constants({ width: 1920, height: 1080, availWidth: 1920, availHeight: 1040, availLeft: 0, availTop: 0, colorDepth: 24,
  pixelDepth: 24, orientation: { type: "landscape-primary", angle: 0 }, isExtended: false }));
replaceable("screen", () => screenObject);
replaceable("navigator", () => navigatorObject);
replaceable("history", () => historyObject);
const historyObject = create(prototypes.History);
const storages = bare({ localStorage: null, sessionStorage: null });
each(ownKeys(storages), (name) => replaceable(name, () => storages[name] || (storages[name] = newStorage(keptOf(name)))));
/* A page of another site does not see the name (HTML 7.4.5, update document for history step application). */
defineProperty(global, "name", {
  get: () => (doubts(), page.kept.origin === "" || page.kept.origin === here().origin ? page.kept.name : (miss("window.name"), "")),
  set(value) { page.kept.name = toText(value); page.kept.origin = ""; },
  enumerable: true, configurable: true,
});
let status = "";
defineProperty(global, "status", { get: () => status, set(value) { status = toText(value); }, enumerable: true, configurable: true });
each(["closed", "isSecureContext", "crossOriginIsolated"], (name) => replaceable(name,
  () => name === "isSecureContext" && isSecure()));

/** The media features whose values this world has; others are missed. */
const MEDIA = bare({ "min-width": (size) => size <= SIZES.innerWidth, "max-width": (size) => size >= SIZES.innerWidth,
  "min-height": (size) => size <= SIZES.innerHeight, "max-height": (size) => size >= SIZES.innerHeight });
const FEATURES = bare({ orientation: "landscape", "prefers-color-scheme": "light", "prefers-reduced-motion": "no-preference",
  hover: "hover", pointer: "fine", "any-hover": "hover", "any-pointer": "fine", "display-mode": "browser" });
const matchesMedia = (text) => some(split(text, /,/g), (query) => !some(split(stripped(query), /\s+and\s+/g), (part) => {
  if (test(/^(?:only\s+)?(?:screen|all)$/, part)) return false;
  const found = exec(/^\(\s*([a-z-]+)\s*:\s*(?:([\d.]+)px|([a-z-]+))\s*\)$/, part);
  if (found !== null && found[2] && hasOwn(MEDIA, found[1])) return !MEDIA[found[1]](toNumber(found[2]));
  if (found !== null && found[3] && hasOwn(FEATURES, found[1])) return FEATURES[found[1]] !== found[3];
  miss("matchMedia");
  return true;
}));

/** HTML 2.7.3, StructuredSerialize and back: of plain objects, lists, dates, maps and sets. Others are missed. */
const MapOfTheWorld = Map, SetOfTheWorld = Set;
const mapGet = uncurried(Map.prototype.get), mapSet = uncurried(Map.prototype.set), mapEach = uncurried(Map.prototype.forEach);
const setAdd = uncurried(Set.prototype.add), setEach = uncurried(Set.prototype.forEach), timeOf = uncurried(Date.prototype.getTime);
function cloned(value, known) {
  if (typeof value === "function" || typeof value === "symbol") throw domError("DataCloneError", "It could not be cloned.");
  if (typeof value !== "object" || value === null) return value;
  const found = mapGet(known, value), prototype = getPrototypeOf(value);
  if (found !== undefined) return found;
  const keep = (made) => (mapSet(known, value, made), made);
  if (prototype === DateOfTheWorld.prototype) return keep(new DateOfTheWorld(timeOf(value)));
  if (prototype === MapOfTheWorld.prototype) {
    const made = keep(new MapOfTheWorld());
    mapEach(value, (item, key) => mapSet(made, cloned(key, known), cloned(item, known)));
    return made;
  }
  if (prototype === SetOfTheWorld.prototype) {
    const made = keep(new SetOfTheWorld());
    setEach(value, (item) => setAdd(made, cloned(item, known)));
    return made;
  }
  if (!isArray(value) && prototype !== objectPrototype && prototype !== null) {
    miss("structuredClone of an object of its own class");
    return value;
  }
  const made = keep(isArray(value) ? new ArrayOfTheWorld(value.length) : {});
  each(ownKeys(value), (name) => typeof name === "string" && getOwnPropertyDescriptor(value, name).enumerable && (made[name] = cloned(value[name], known)));
  return made;
}
const objectPrototype = Object.prototype, ArrayOfTheWorld = Array;

const functions = {
  setTimeout(action, delay, ...values) { return startTimer(action, delay, values, false, page.timerDepth); },
  setInterval(action, delay, ...values) { return startTimer(action, delay, values, true); },
  clearTimeout(id) { stopTimer(id); },
  clearInterval(id) { stopTimer(id); },
  requestAnimationFrame(action) { return startTimer(action, 16, [page.clock + 16], false); },
  cancelAnimationFrame(id) { stopTimer(id); },
  requestIdleCallback(action) { return startTimer(action, 1, [{ didTimeout: false, timeRemaining: () => 10 }], false); },
  cancelIdleCallback(id) { stopTimer(id); },
  open(href = "", target = "_blank") {
    if (!isOwnWindow(toText(target)) || target === "") return null;
    if (toText(href) !== "") navigate("script", href);
    return global;
  },
  alert() {},
  print() {},
  confirm() { miss("confirm"); return false; },
  prompt() { miss("prompt"); return null; },
  stop() {
    if (page.jump !== null && page.jump.task !== page.tasksRun) exceed("a jump that is stopped");
    parser.stopped = true;
    page.jump = null;
    if (page.refresh !== null && page.refresh.task) cancel(page.refresh.task);
    page.refresh = null;
  },
  focus() {}, blur() {}, close() {}, scroll: scrolls, scrollTo: scrolls, scrollBy: scrolls, moveTo() {}, resizeTo() {},
  postMessage(data) {
    queue(0, () => {
      const event = newEvent("message", {}, prototypes.MessageEvent);
      own(event).data = data;
      own(event).origin = here().origin;
      own(event).source = global;
      dispatch(windowRecord, event);
    });
  },
  fetch() { return waitsFor("fetch"); },
  getComputedStyle(element) { return computedStyle(own(element)); },
  matchMedia(text) {
    return { matches: matchesMedia(lower(toText(text))), media: toText(text), addListener() {}, removeListener() {}, addEventListener() {}, removeEventListener() {} };
  },
  structuredClone(value) { return cloned(value, new MapOfTheWorld()); },
  reportError(error) { report(error); },
};
each(ownKeys(functions), (name) => defineProperty(global, name, { value: functions[name], writable: true, enumerable: true, configurable: true }));
each(["setTimeout", "setInterval", "fetch"], (name) => defineProperty(global[name], "length", { value: 1, configurable: true }));
each(["requestAnimationFrame", "cancelAnimationFrame"], (name) => defineProperty(global, "webkit" + upper(name[0]) + slice(name, 1), {
  value: functions[name], writable: true, enumerable: true, configurable: true,
}));
defineProperty(global, "webkitURL", { value: global.URL, writable: true, configurable: true });
defineProperty(global, "WebKitMutationObserver", { value: global.MutationObserver, writable: true, configurable: true });
replaceable("clientInformation", () => navigatorObject);
const consoleObject = {};
each(["log", "info", "warn", "error", "debug", "trace", "dir", "table", "group", "groupEnd", "groupCollapsed", "time", "timeEnd",
  "timeLog", "assert", "count", "countReset", "clear", "dirxml", "profile", "profileEnd", "timeStamp"],
(name) => (consoleObject[name] = ({ [name]() {} })[name]));
missing(consoleObject, "memory", "console.");
global.console = consoleObject;
global.Image = function Image(width, height) {
  const made = newElement("img");
  if (width !== undefined) mine(made, "attributes").width = toText(width);
  if (height !== undefined) mine(made, "attributes").height = toText(height);
  return wrap(made);
};
global.Option = function Option(text = "", value) {
  const made = newElement("option");
  setText(made, toText(text));
  if (value !== undefined) mine(made, "attributes").value = toText(value);
  return wrap(made);
};
global.Audio = function Audio() { return wrap(newElement("audio")); };
prototypes.Image = of("img");
prototypes.Option = of("option");
global.Intl = {
  DateTimeFormat: function DateTimeFormat(locales, options) {
    const made = {
      resolvedOptions: () => ({ locale: page.request.languages[0] || "en-US", calendar: "gregory", numberingSystem: "latn", timeZone: "UTC",
        year: "numeric", month: "numeric", day: "numeric" }),
      format: (date) => dateText(date === undefined ? new DateOfThePage() : new DateOfTheWorld(date), locales, options, THREE, EACH),
    };
    each(["formatToParts", "formatRange"], (name) => missing(made, name, "Intl.DateTimeFormat."));
    return made;
  },
  Collator: function Collator(locales, options) {
    const made = { compare: (one, other) => localeCompare(toText(one), other, locales, options) };
    missing(made, "resolvedOptions", "Intl.Collator.");
    return made;
  },
  NumberFormat: function NumberFormat(locales, options) {
    const made = { format: (value) => numberText(value, locales, options) };
    each(["formatToParts", "formatRange", "resolvedOptions"], (name) => missing(made, name, "Intl.NumberFormat."));
    return made;
  },
};
each(words("DisplayNames DurationFormat ListFormat Locale PluralRules RelativeTimeFormat Segmenter " +
  "getCanonicalLocales supportedValuesOf"), (name) => missing(global.Intl, name, "Intl."));
/* Only what a script asks about how it came here: a first visit. */
function entriesByType(type) {
  if (type !== "navigation") return miss("performance.getEntriesByType"), [];
  const entry = { name: page.url, entryType: "navigation", type: page.isReload ? "reload" : "navigate", redirectCount: 0, serverTiming: [], startTime: 0 };
  each(words("duration nextHopProtocol transferSize encodedBodySize decodedBodySize deliveryType activationStart workerStart responseStatus " +
    "domInteractive domComplete domContentLoadedEventStart domContentLoadedEventEnd loadEventStart loadEventEnd fetchStart " +
    "domainLookupStart domainLookupEnd connectStart connectEnd secureConnectionStart requestStart responseStart responseEnd " +
    "redirectStart redirectEnd unloadEventStart unloadEventEnd initiatorType notRestoredReasons toJSON"),
    (name) => missing(entry, name, "performance."));
  return [entry];
}
defineProperty(global, "performance", { value: {
  now: () => (page.clock += READING_MS), mark() {}, measure() {}, clearMarks() {}, clearMeasures() {}, getEntriesByType: entriesByType,
  get timing() { const at = floor(page.request.now_ms); return { navigationStart: at, fetchStart: at, responseStart: at, domLoading: at, loadEventEnd: 0 }; },
  get timeOrigin() { return page.request.now_ms; },
  get navigation() { return { type: page.isReload ? 1 : 0, redirectCount: 0 }; },
}, writable: true, configurable: true });

defineProperty(global, Symbol.toStringTag, { value: "Window", configurable: true });
replaceable("crypto", () => cryptoObject);
const cryptoObject = {
  getRandomValues(list) {
    for (let at = 0; at < list.length; at++) list[at] = floor(random() * 4294967296);
    return list;
  },
  randomUUID() {
    const digits = (count) => join(map(listOf(count), () => floor(random() * 16).toString(16)), "");
    return `${digits(8)}-${digits(4)}-4${digits(3)}-${"89ab"[floor(random() * 4)]}${digits(3)}-${digits(12)}`;
  },
  get subtle() { return miss("crypto.subtle"), undefined; },
};
const listOf = (count) => {
  const list = [];
  while (list.length < count) push(list, 0);
  return list;
};

const tagged = bare({ Screen: screenObject, Performance: global.performance, console: consoleObject, Crypto: cryptoObject, Intl: global.Intl });
each(ownKeys(tagged), (name) => defineProperty(tagged[name], Symbol.toStringTag, { value: name, configurable: true }));
const platformOf = (agent) => (has(agent, "Windows") ? "Win32" : has(agent, "Macintosh") ? "MacIntel" : has(agent, "iPhone") ? "iPhone"
  : has(agent, "iPad") ? "iPad" : has(agent, "Android") ? "Linux armv81" : "Linux x86_64");
const emptyValues = () => apply(arrayValues, [], []);
const navigatorMembers = {
  get userAgent() { return page.request.user_agent; },
  get appVersion() { return replaced(page.request.user_agent, /^Mozilla\//g, () => ""); },
  get platform() { return platformOf(page.request.user_agent); },
  get language() { return page.request.languages[0] || "en-US"; },
  get languages() { return freeze(arraySlice(page.request.languages.length ? page.request.languages : ["en-US"])); },
  get maxTouchPoints() { return test(/Android|iPhone|iPad|Mobile/, page.request.user_agent) ? 5 : 0; },
  get vendor() { return has(page.request.user_agent, "Chrome/") ? "Google Inc." : has(page.request.user_agent, "Safari/") ? "Apple Computer, Inc." : ""; },
  appName: "Netscape", appCodeName: "Mozilla", product: "Gecko", productSub: "20030107", vendorSub: "", cookieEnabled: true, onLine: true,
  webdriver: true, hardwareConcurrency: 4, doNotTrack: null, pdfViewerEnabled: false,
  get plugins() { return { length: 0, item: () => null, namedItem: () => null, refresh() {}, [iteratorSymbol]: emptyValues }; },
  get mimeTypes() { return { length: 0, item: () => null, namedItem: () => null, [iteratorSymbol]: emptyValues }; },
  javaEnabled: () => false, sendBeacon: () => true, vibrate: () => false,
};
share(prototypes.Navigator, navigatorMembers);
each(ownKeys(navigatorMembers), (name) => defineProperty(prototypes.Navigator, name, { enumerable: true }));

/** Event handlers of the window, of documents and of elements. */
const HANDLERS = words("abort animationend animationstart beforeunload blur cancel canplay change click close contextmenu dblclick drag " +
  "dragend dragenter dragleave dragover dragstart drop error focus formdata hashchange input invalid keydown keypress keyup load " +
  "loadeddata loadedmetadata loadend loadstart message messageerror mousedown mouseenter mouseleave mousemove mouseout mouseover mouseup " +
  "mousewheel offline online pagehide pageshow paste copy cut pause play playing pointercancel pointerdown pointerenter pointerleave " +
  "pointermove pointerout pointerover pointerup popstate progress readystatechange rejectionhandled reset resize scroll scrollend select " +
  "selectionchange selectstart storage submit suspend timeout toggle transitionend " +
  "unhandledrejection unload visibilitychange volumechange waiting webkitvisibilitychange wheel");
each(HANDLERS, (type) => {
  const property = {
    get() { return handlerOf(targetOf(this), type); },
    set(value) { setHandler(targetOf(this), type, value); },
    enumerable: true, configurable: true,
  };
  each(["HTMLElement", "SVGElement", "Document", "XMLHttpRequest", "MessagePort"], (name) => defineProperty(prototypes[name], "on" + type, property));
  if (type !== "readystatechange") defineProperty(global, "on" + type, property);
  if (contains(OF_THE_WINDOW, type)) {
    each(["body"], (tag) => defineProperty(of(tag), "on" + type, {
      get: () => handlerOf(windowRecord, type), set(value) { setHandler(windowRecord, type, value); }, enumerable: true, configurable: true,
    }));
  }
});

// ── Names that Chromium has and this world has not ──────────────────────────────────────────────────────────────────

const MISSED_IF_SECURE = bare({
  Window: `AbsoluteOrientationSensor Accelerometer AudioDecoder AudioEncoder AudioPlaybackStats AudioWorklet
    AuthenticatorAssertionResponse AuthenticatorAttestationResponse AuthenticatorResponse BatteryManager Cache
    CacheStorage CaptureController Clipboard ClipboardChangeEvent ClipboardItem CookieChangeEvent CookieStore
    CookieStoreManager CreateMonitor Credential CredentialsContainer CryptoKey DeviceMotionEvent
    DeviceMotionEventAcceleration DeviceMotionEventRotationRate DeviceOrientationEvent DevicePosture DigitalCredential
    DocumentPictureInPicture EyeDropper FederatedCredential FetchLaterResult FileSystemDirectoryHandle
    FileSystemFileHandle FileSystemHandle FileSystemObserver FileSystemWritableFileStream FontData GPU GPUAdapter
    GPUAdapterInfo GPUBindGroup GPUBindGroupLayout GPUBuffer GPUBufferUsage GPUCanvasContext GPUColorWrite
    GPUCommandBuffer GPUCommandEncoder GPUCompilationInfo GPUCompilationMessage GPUComputePassEncoder GPUComputePipeline
    GPUDevice GPUDeviceLostInfo GPUError GPUExternalTexture GPUInternalError GPUMapMode GPUOutOfMemoryError
    GPUPipelineError GPUPipelineLayout GPUQuerySet GPUQueue GPURenderBundle GPURenderBundleEncoder GPURenderPassEncoder
    GPURenderPipeline GPUSampler GPUShaderModule GPUShaderStage GPUSupportedFeatures GPUSupportedLimits GPUTexture
    GPUTextureUsage GPUTextureView GPUUncapturedErrorEvent GPUValidationError GravitySensor Gyroscope HID
    HIDConnectionEvent HIDDevice HIDInputReportEvent IdentityCredential IdentityCredentialError IdentityProvider
    IdleDetector ImageCapture ImageDecoder ImageTrack ImageTrackList Keyboard KeyboardLayoutMap LanguageDetector
    LanguageModel LinearAccelerationSensor Lock LockManager MIDIAccess MIDIConnectionEvent MIDIInput MIDIInputMap
    MIDIMessageEvent MIDIOutput MIDIOutputMap MIDIPort MediaDeviceInfo MediaDevices MediaKeyMessageEvent MediaKeySession
    MediaKeyStatusMap MediaKeySystemAccess MediaKeys NavigationPreloadManager NavigatorLogin NavigatorManagedData
    OTPCredential OrientationSensor PasswordCredential PaymentAddress PaymentManager PaymentMethodChangeEvent
    PaymentRequest PaymentRequestUpdateEvent PaymentResponse Presentation PresentationAvailability
    PresentationConnection PresentationConnectionAvailableEvent PresentationConnectionCloseEvent
    PresentationConnectionList PresentationReceiver PresentationRequest PressureObserver PressureRecord
    ProtectedAudience PublicKeyCredential RelativeOrientationSensor ScreenDetailed ScreenDetails Sensor SensorErrorEvent
    Serial SerialPort ServiceWorker ServiceWorkerContainer ServiceWorkerRegistration SpeechRecognitionPhrase
    StorageBucket StorageBucketManager StorageManager SubtleCrypto Summarizer Translator USB USBAlternateInterface
    USBConfiguration USBConnectionEvent USBDevice USBEndpoint USBInTransferResult USBInterface
    USBIsochronousInTransferPacket USBIsochronousInTransferResult USBIsochronousOutTransferPacket
    USBIsochronousOutTransferResult USBOutTransferResult VideoDecoder VideoEncoder VirtualKeyboard WGSLLanguageFeatures
    WakeLock WakeLockSentinel WebTransport WebTransportBidirectionalStream WebTransportDatagramDuplexStream
    WebTransportError Worklet XRAnchor XRAnchorSet XRBoundedReferenceSpace XRCPUDepthInformation XRCamera
    XRCompositionLayer XRCubeLayer XRCylinderLayer XRDOMOverlayState XRDepthInformation XREquirectLayer XRFrame XRHand
    XRHitTestResult XRHitTestSource XRInputSource XRInputSourceArray XRInputSourceEvent XRInputSourcesChangeEvent
    XRJointPose XRJointSpace XRLayer XRLayerEvent XRLightEstimate XRLightProbe XRPlane XRPlaneSet XRPose
    XRProjectionLayer XRQuadLayer XRRay XRReferenceSpace XRReferenceSpaceEvent XRRenderState XRRigidTransform XRSession
    XRSessionEvent XRSpace XRSubImage XRSystem XRTransientInputHitTestResult XRTransientInputHitTestSource XRView
    XRViewerPose XRViewport XRVisibilityMaskChangeEvent XRWebGLBinding XRWebGLDepthInformation XRWebGLLayer
    XRWebGLSubImage caches cookieStore documentPictureInPicture fetchLater getScreenDetails queryLocalFonts
    showDirectoryPicker showOpenFilePicker showSaveFilePicker`,
  Navigator: `adAuctionComponents canLoadAdAuctionFencedFrame clearAppBadge clearOriginJoinedAdInterestGroups clipboard
    cpuPerformance createAuctionNonce credentials deprecatedReplaceInURN deprecatedRunAdAuctionEnforcesKAnonymity
    deprecatedURNToURL devicePosture getBattery getInstalledRelatedApps getInterestGroupAdAuctionData getUserMedia gpu
    hid joinAdInterestGroup keyboard leaveAdInterestGroup locks login managed mediaDevices presentation
    protectedAudience registerProtocolHandler requestMIDIAccess requestMediaKeySystemAccess runAdAuction serial
    setAppBadge storage storageBuckets unregisterProtocolHandler updateAdInterestGroups usb userAgentData
    virtualKeyboard wakeLock webkitGetUserMedia xr`,
});
const MISSED = bare({
  Window: `AbstractRange AnalyserNode Animation AnimationEffect AnimationEvent AnimationPlaybackEvent AnimationTimeline
    AnimationTrigger Attr AudioBuffer AudioBufferSourceNode AudioContext AudioData AudioDestinationNode AudioListener
    AudioNode AudioParam AudioParamMap AudioProcessingEvent AudioScheduledSourceNode AudioSinkInfo AudioWorkletNode
    BackgroundFetchManager BackgroundFetchRecord BackgroundFetchRegistration BarProp BaseAudioContext
    BeforeInstallPromptEvent BeforeUnloadEvent BiquadFilterNode BlobEvent BrowserCaptureMediaStreamTrack
    ByteLengthQueuingStrategy CDATASection CSPViolationReportBody CSS CSSAnimation CSSConditionRule CSSContainerRule
    CSSCounterStyleRule CSSFontFaceRule CSSFontFeatureValuesRule CSSFontPaletteValuesRule CSSFunctionDeclarations
    CSSFunctionDescriptors CSSFunctionRule CSSGroupingRule CSSImageValue CSSImportRule CSSKeyframeRule CSSKeyframesRule
    CSSKeywordValue CSSLayerBlockRule CSSLayerStatementRule CSSMarginRule CSSMathClamp CSSMathInvert CSSMathMax
    CSSMathMin CSSMathNegate CSSMathProduct CSSMathSum CSSMathValue CSSMatrixComponent CSSMediaRule CSSNamespaceRule
    CSSNestedDeclarations CSSNumericArray CSSNumericValue CSSPageRule CSSPerspective CSSPositionTryDescriptors
    CSSPositionTryRule CSSPositionValue CSSPropertyRule CSSPseudoElement CSSRotate CSSRule CSSRuleList CSSScale
    CSSScopeRule CSSSkew CSSSkewX CSSSkewY CSSStartingStyleRule CSSStyleDeclaration CSSStyleRule CSSStyleSheet
    CSSStyleValue CSSSupportsRule CSSTransformComponent CSSTransformValue CSSTransition CSSTranslate CSSUnitValue
    CSSUnparsedValue CSSVariableReferenceValue CSSViewTransitionRule CanvasCaptureMediaStreamTrack CanvasGradient
    CanvasPattern CanvasRenderingContext2D CaretPosition ChannelMergerNode ChannelSplitterNode ChapterInformation
    CharacterBoundsUpdateEvent ClipboardEvent CloseEvent CloseWatcher CommandEvent CompositionEvent CompressionStream
    ConstantSourceNode ContentVisibilityAutoStateChangeEvent ConvolverNode CountQueuingStrategy CrashReportContext
    CropTarget Crypto CustomElementRegistry CustomStateSet DOMError DOMMatrix DOMMatrixReadOnly DOMPoint
    DOMPointReadOnly DOMQuad DOMRect DOMRectList DOMRectReadOnly DOMStringList DOMStringMap DataTransfer
    DataTransferItem DataTransferItemList DecompressionStream DelayNode DelegatedInkTrailPresenter
    DocumentPictureInPictureEvent DocumentTimeline DocumentType DragEvent DynamicsCompressorNode EditContext
    ElementInternals EncodedAudioChunk EncodedVideoChunk EventCounts External FeaturePolicy Fence FencedFrameConfig File
    FileList FileReader FontFace FontFaceSet FontFaceSetLoadEvent FragmentDirective GainNode Gamepad GamepadButton
    GamepadEvent GamepadHapticActuator Geolocation GeolocationCoordinates GeolocationPosition GeolocationPositionError
    HTMLAllCollection HTMLCameraElement HTMLDListElement HTMLDataElement HTMLDataListElement HTMLDirectoryElement
    HTMLFencedFrameElement HTMLFontElement HTMLFormControlsCollection HTMLGeolocationElement HTMLMapElement
    HTMLMarqueeElement HTMLMediaElement HTMLMenuElement HTMLMeterElement HTMLMicrophoneElement HTMLModElement
    HTMLOptionsCollection HTMLOutputElement HTMLParamElement HTMLPictureElement HTMLQuoteElement
    HTMLSelectedContentElement HTMLSlotElement HTMLSourceElement HTMLTableCaptionElement HTMLTableColElement
    HTMLTimeElement HTMLTrackElement HTMLUserMediaElement Headers Highlight HighlightRegistry IDBCursor
    IDBCursorWithValue IDBDatabase IDBFactory IDBIndex IDBKeyRange IDBObjectStore IDBOpenDBRequest IDBRecord IDBRequest
    IDBTransaction IDBVersionChangeEvent IIRFilterNode IdleDeadline ImageBitmap ImageBitmapRenderingContext ImageData
    Ink InputDeviceCapabilities InputDeviceInfo IntegrityViolationReportBody InteractionContentfulPaint InterestEvent
    IntersectionObserverEntry KeyframeEffect LargestContentfulPaint LaunchParams LaunchQueue LayoutShift
    LayoutShiftAttribution MathMLElement MediaCapabilities MediaElementAudioSourceNode MediaEncryptedEvent MediaError
    MediaList MediaMetadata MediaQueryList MediaQueryListEvent MediaRecorder MediaSession MediaSource MediaSourceHandle
    MediaStream MediaStreamAudioDestinationNode MediaStreamAudioSourceNode MediaStreamEvent MediaStreamTrack
    MediaStreamTrackAudioStats MediaStreamTrackEvent MediaStreamTrackGenerator MediaStreamTrackProcessor
    MediaStreamTrackVideoStats MimeType MimeTypeArray MutationRecord NamedNodeMap NavigateEvent Navigation
    NavigationActivation NavigationCurrentEntryChangeEvent NavigationDestination NavigationHistoryEntry
    NavigationPrecommitController NavigationTransition NavigatorUAData NetworkInformation NodeFilter NodeIterator
    NodeRange NotRestoredReasonDetails NotRestoredReasons Notification Observable OfflineAudioCompletionEvent
    OfflineAudioContext OffscreenCanvas OffscreenCanvasRenderingContext2D OpaqueRange Origin OscillatorNode
    OverconstrainedError PageRevealEvent PageSwapEvent PannerNode Path2D Performance PerformanceElementTiming
    PerformanceEntry PerformanceEventTiming PerformanceLongAnimationFrameTiming PerformanceLongTaskTiming
    PerformanceMark PerformanceMeasure PerformanceNavigation PerformanceNavigationTiming PerformanceObserverEntryList
    PerformancePaintTiming PerformanceResourceTiming PerformanceScriptTiming PerformanceServerTiming
    PerformanceSoftNavigation PerformanceTiming PerformanceTimingConfidence PeriodicSyncManager PeriodicWave
    PermissionStatus Permissions PermissionsPolicy PictureInPictureEvent PictureInPictureWindow Plugin PluginArray
    ProcessingInstruction Profiler PromiseRejectionEvent PushManager PushSubscription PushSubscriptionOptions
    QuotaExceededError RTCCertificate RTCDTMFSender RTCDTMFToneChangeEvent RTCDataChannel RTCDataChannelEvent
    RTCDtlsTransport RTCEncodedAudioFrame RTCEncodedVideoFrame RTCError RTCErrorEvent RTCIceCandidate RTCIceTransport
    RTCPeerConnection RTCPeerConnectionIceErrorEvent RTCPeerConnectionIceEvent RTCRtpReceiver RTCRtpScriptTransform
    RTCRtpSender RTCRtpTransceiver RTCSctpTransport RTCSessionDescription RTCStatsReport RTCTrackEvent Range
    ReadableByteStreamController ReadableStream ReadableStreamBYOBReader ReadableStreamBYOBRequest
    ReadableStreamDefaultController ReadableStreamDefaultReader RemotePlayback ReportBody ReportingObserver Request
    ResizeObserverEntry ResizeObserverSize Response RestrictionTarget SVGAElement SVGAngle SVGAnimateElement
    SVGAnimateMotionElement SVGAnimateTransformElement SVGAnimatedAngle SVGAnimatedBoolean SVGAnimatedEnumeration
    SVGAnimatedInteger SVGAnimatedLength SVGAnimatedLengthList SVGAnimatedNumber SVGAnimatedNumberList
    SVGAnimatedPreserveAspectRatio SVGAnimatedRect SVGAnimatedString SVGAnimatedTransformList SVGAnimationElement
    SVGCircleElement SVGClipPathElement SVGComponentTransferFunctionElement SVGDefsElement SVGDescElement
    SVGEllipseElement SVGFEBlendElement SVGFEColorMatrixElement SVGFEComponentTransferElement SVGFECompositeElement
    SVGFEConvolveMatrixElement SVGFEDiffuseLightingElement SVGFEDisplacementMapElement SVGFEDistantLightElement
    SVGFEDropShadowElement SVGFEFloodElement SVGFEFuncAElement SVGFEFuncBElement SVGFEFuncGElement SVGFEFuncRElement
    SVGFEGaussianBlurElement SVGFEImageElement SVGFEMergeElement SVGFEMergeNodeElement SVGFEMorphologyElement
    SVGFEOffsetElement SVGFEPointLightElement SVGFESpecularLightingElement SVGFESpotLightElement SVGFETileElement
    SVGFETurbulenceElement SVGFilterElement SVGForeignObjectElement SVGGElement SVGGeometryElement SVGGradientElement
    SVGGraphicsElement SVGImageElement SVGLength SVGLengthList SVGLineElement SVGLinearGradientElement SVGMPathElement
    SVGMarkerElement SVGMaskElement SVGMatrix SVGMetadataElement SVGNumber SVGNumberList SVGPathElement
    SVGPatternElement SVGPoint SVGPointList SVGPolygonElement SVGPolylineElement SVGPreserveAspectRatio
    SVGRadialGradientElement SVGRect SVGRectElement SVGSVGElement SVGScriptElement SVGSetElement SVGStopElement
    SVGStringList SVGStyleElement SVGSwitchElement SVGSymbolElement SVGTSpanElement SVGTextContentElement SVGTextElement
    SVGTextPathElement SVGTextPositioningElement SVGTitleElement SVGTransform SVGTransformList SVGUnitTypes
    SVGUseElement SVGViewElement Sanitizer Scheduler Scheduling Screen ScreenOrientation ScriptProcessorNode
    ScrollTimeline SecurityPolicyViolationEvent Selection ShadowRoot SnapEvent SourceBuffer SourceBufferList
    SpeechGrammar SpeechGrammarList SpeechRecognition SpeechRecognitionErrorEvent SpeechRecognitionEvent SpeechSynthesis
    SpeechSynthesisErrorEvent SpeechSynthesisEvent SpeechSynthesisUtterance SpeechSynthesisVoice StaticRange
    StereoPannerNode StylePropertyMap StylePropertyMapReadOnly StyleSheet StyleSheetList Subscriber SyncManager
    TaskAttributionTiming TaskController TaskPriorityChangeEvent TaskSignal Temporal TextDecoderStream TextEncoderStream
    TextEvent TextFormat TextFormatUpdateEvent TextMetrics TextTrack TextTrackCue TextTrackCueList TextTrackList
    TextUpdateEvent TimeRanges TimelineTrigger TimelineTriggerRange TimelineTriggerRangeList ToggleEvent Touch TouchList
    TrackEvent TransformStream TransformStreamDefaultController TransitionEvent TreeWalker TrustedHTML TrustedScript
    TrustedScriptURL TrustedTypePolicy TrustedTypePolicyFactory URLPattern UserActivation VTTCue ValidityState
    VideoColorSpace VideoFrame VideoPlaybackQuality ViewTimeline ViewTransition ViewTransitionTypeSet Viewport
    VirtualKeyboardGeometryChangeEvent VisibilityStateEntry VisualViewport WaveShaperNode WebAssembly
    WebGL2RenderingContext WebGLActiveInfo WebGLBuffer WebGLContextEvent WebGLFramebuffer WebGLObject WebGLProgram
    WebGLQuery WebGLRenderbuffer WebGLRenderingContext WebGLSampler WebGLShader WebGLShaderPrecisionFormat WebGLSync
    WebGLTexture WebGLTransformFeedback WebGLUniformLocation WebGLVertexArrayObject WebKitCSSMatrix
    WebKitMutationObserver WebSocketError WebSocketStream WindowControlsOverlay WindowControlsOverlayGeometryChangeEvent
    WritableStream WritableStreamDefaultController WritableStreamDefaultWriter XMLDocument XMLHttpRequestEventTarget
    XMLHttpRequestUpload XMLSerializer XPathEvaluator XPathExpression XPathResult XSLTProcessor captureEvents
    cdc_adoQpoasnfa76pfcZLmcfl_Array cdc_adoQpoasnfa76pfcZLmcfl_JSON cdc_adoQpoasnfa76pfcZLmcfl_Object
    cdc_adoQpoasnfa76pfcZLmcfl_Promise cdc_adoQpoasnfa76pfcZLmcfl_Proxy cdc_adoQpoasnfa76pfcZLmcfl_Symbol
    cdc_adoQpoasnfa76pfcZLmcfl_Window chrome clientInformation crashReport createImageBitmap credentialless
    customElements external fence find getSelection indexedDB launchQueue locationbar menubar moveBy navigation
    offscreenBuffering originAgentCluster personalbar releaseEvents requestResize resizeBy scheduler scrollbars
    speechSynthesis statusbar styleMedia toolbar trustedTypes viewport visualViewport webkitCancelAnimationFrame
    webkitMediaStream webkitRTCPeerConnection webkitRequestAnimationFrame webkitRequestFileSystem
    webkitResolveLocalFileSystemURL webkitSpeechGrammar webkitSpeechGrammarList webkitSpeechRecognition
    webkitSpeechRecognitionError webkitSpeechRecognitionEvent webkitURL`,
  Node: `isDefaultNamespace isEqualNode lookupNamespaceURI lookupPrefix`,
  Element: `activeViewTransition animate assignedSlot attachShadow checkVisibility computedStyleMap currentCSSZoom
    customElementRegistry elementTiming getAnimations getAttributeNode getAttributeNodeNS getElementsByTagNameNS getHTML
    hasAttributeNS hasPointerCapture moveBefore part prefix pseudo releasePointerCapture removeAttributeNS
    removeAttributeNode requestFullscreen requestPointerLock role scroll scrollBy scrollIntoViewIfNeeded scrollLeft
    scrollTop setAttributeNode setAttributeNodeNS setHTML setHTMLUnsafe setPointerCapture shadowRoot startViewTransition
    webkitRequestFullScreen webkitRequestFullscreen`,
  HTMLElement: `attachInternals attributeStyleMap autocapitalize autocorrect contentEditable editContext enterKeyHint focusGroup
    focusGroupStart hidePopover inputMode isContentEditable offsetParent popover showPopover spellcheck togglePopover
    translate virtualKeyboardPolicy writingSuggestions`,
  Document: `activeViewTransition adoptedStyleSheets alinkColor applets bgColor browsingTopics captureEvents
    caretPositionFromPoint caretRangeFromPoint clear createAttribute createAttributeNS createCDATASection
    createExpression createNSResolver createNodeIterator createProcessingInstruction createTreeWalker
    customElementRegistry dir elementFromPoint elementsFromPoint evaluate exitFullscreen exitPictureInPicture
    exitPointerLock featurePolicy fgColor fonts fragmentDirective fullscreen fullscreenElement fullscreenEnabled
    getAnimations getElementsByTagNameNS getSelection hasPrivateToken hasRedemptionRecord hasStorageAccess
    hasUnpartitionedCookieAccess lastModified linkColor moveBefore pictureInPictureElement pictureInPictureEnabled
    plugins pointerLockElement queryCommandEnabled queryCommandIndeterm queryCommandState queryCommandSupported
    queryCommandValue releaseEvents requestStorageAccess rootElement startViewTransition styleSheets timeline vlinkColor
    wasDiscarded webkitCancelFullScreen webkitCurrentFullScreenElement webkitExitFullscreen webkitFullscreenElement
    webkitFullscreenEnabled webkitIsFullScreen xmlEncoding xmlStandalone xmlVersion`,
  Event: `AT_TARGET BUBBLING_PHASE CAPTURING_PHASE NONE cancelBubble composed`,
  HTMLAnchorElement: `attributionSrc interestForElement`,
  HTMLFormElement: `relList`,
  HTMLInputElement: `createValueRange files height incremental indeterminate labels list popoverTargetAction popoverTargetElement
    selectionDirection selectionEnd selectionStart setRangeText setSelectionRange showPicker stepDown stepUp useMap
    validationMessage validity valueAsDate valueAsNumber webkitEntries webkitdirectory width willValidate`,
  HTMLSelectElement: `labels namedItem showPicker validationMessage validity willValidate`,
  HTMLTextAreaElement: `createValueRange labels selectionDirection selectionEnd selectionStart setRangeText setSelectionRange textLength
    validationMessage validity willValidate`,
  HTMLButtonElement: `command commandForElement interestForElement labels popoverTargetAction popoverTargetElement validationMessage
    validity willValidate`,
  HTMLScriptElement: `attributionSrc blocking`,
  HTMLIFrameElement: `adAuctionHeaders allowPaymentRequest browsingTopics contentDocument contentWindow credentialless csp featurePolicy
    getSVGDocument longDesc marginHeight marginWidth privateToken`,
  HTMLImageElement: `attributionSrc browsingTopics currentSrc decode fetchPriority hspace longDesc lowsrc naturalHeight naturalWidth
    useMap vspace x y`,
  HTMLLinkElement: `blocking charset fetchPriority imageSizes imageSrcset relList rev sheet sizes target`,
  HTMLCanvasElement: `captureStream getContext height toBlob toDataURL transferControlToOffscreen width`,
  HTMLVideoElement: `HAVE_CURRENT_DATA HAVE_ENOUGH_DATA HAVE_FUTURE_DATA HAVE_METADATA HAVE_NOTHING NETWORK_EMPTY NETWORK_IDLE
    NETWORK_LOADING NETWORK_NO_SOURCE addTextTrack buffered canPlayType cancelVideoFrameCallback captureStream
    controlsList currentSrc currentTime defaultMuted defaultPlaybackRate disablePictureInPicture disableRemotePlayback
    duration ended error getVideoPlaybackQuality height load loading mediaKeys muted networkState pause paused play
    playbackRate played playsInline poster preservesPitch readyState remote requestPictureInPicture
    requestVideoFrameCallback seekable seeking setMediaKeys setSinkId sinkId srcObject textTracks videoHeight videoWidth
    volume webkitAudioDecodedByteCount webkitDecodedFrameCount webkitDroppedFrameCount webkitVideoDecodedByteCount width`,
  HTMLAudioElement: `HAVE_CURRENT_DATA HAVE_ENOUGH_DATA HAVE_FUTURE_DATA HAVE_METADATA HAVE_NOTHING NETWORK_EMPTY NETWORK_IDLE
    NETWORK_LOADING NETWORK_NO_SOURCE addTextTrack buffered canPlayType captureStream controlsList currentSrc
    currentTime defaultMuted defaultPlaybackRate disableRemotePlayback duration ended error load loading mediaKeys muted
    networkState pause paused play playbackRate played preservesPitch readyState remote seekable seeking setMediaKeys
    setSinkId sinkId srcObject textTracks volume webkitAudioDecodedByteCount webkitVideoDecodedByteCount`,
  HTMLObjectElement: `align archive border checkValidity code codeBase codeType contentDocument contentWindow data declare getSVGDocument
    height hspace name reportValidity setCustomValidity standby type useMap validationMessage validity vspace width
    willValidate`,
  HTMLStyleElement: `blocking disabled sheet`,
  HTMLTableElement: `align bgColor border caption cellPadding cellSpacing createCaption createTBody createTFoot createTHead deleteCaption
    deleteRow deleteTFoot deleteTHead frame insertRow rows rules summary tBodies tFoot tHead width`,
  HTMLDialogElement: `close closedBy open requestClose returnValue show showModal`,
  HTMLFieldSetElement: `checkValidity disabled elements name reportValidity setCustomValidity type validationMessage validity willValidate`,
  CharacterData: `after appendData before deleteData insertData nextElementSibling previousElementSibling replaceData replaceWith
    substringData`,
  MouseEvent: `fromElement getModifierState layerX layerY movementX movementY offsetX offsetY pageX pageY toElement x y`,
  DOMImplementation: `createDocument createDocumentType`,
  XMLHttpRequest: `DONE HEADERS_RECEIVED LOADING OPENED UNSENT responseType responseURL responseXML setAttributionReporting
    setPrivateToken statusText timeout upload withCredentials`,
  Navigator: `connection geolocation getGamepads ink mediaCapabilities mediaSession permissions scheduling userActivation
    webkitPersistentStorage webkitTemporaryStorage windowControlsOverlay`,
  Performance: `clearMarks clearMeasures clearResourceTimings eventCounts getEntries getEntriesByName interactionCount memory
    onresourcetimingbufferfull setResourceTimingBufferSize toJSON`,
});

/** Reading such a name is a miss; a script may give it a value of its own. Interfaces and some objects are there, and using one is a miss. */
function missing(object, name, owner) {
  if (name in object) return;
  const isThere = owner === "" && (test(/^[A-Z]/, name) || contains(OBJECTS, name));
  defineProperty(object, name, {
    get() {
      if (isThere) return stubs[name] || (stubs[name] = stubOf(name));
      miss(owner + name);
      return undefined;
    },
    set(value) { defineProperty(this === undefined ? object : this, name, { value, writable: true, enumerable: true, configurable: true }); },
    enumerable: owner === "navigator.", configurable: true,
  });
}
const OBJECTS = words("CSS Temporal WebAssembly caches cookieStore customElements external indexedDB navigation scheduler speechSynthesis trustedTypes visualViewport");
const stubs = bare(), nothing = function () {};
/* Interfaces of which nothing in this world is an instance. */
const WITHOUT_INSTANCES = /^(?:File|FileList|FileReader|Headers|Request|Response|ReadableStream|WritableStream|OffscreenCanvas|ImageBitmap|ImageData)$/;
function stubOf(name) {
  const use = () => { miss(name); return undefined; };
  const refuse = () => { miss(name); throw new TypeErrorOfTheWorld("Illegal constructor"); };
  return new ProxyOfTheWorld(contains(OBJECTS, name) ? {} : boundTo(nothing), bare({
    get: (_, key) => (key === hasInstance && test(WITHOUT_INSTANCES, name) ? () => false : use()),
    has: use, set: refuse, deleteProperty: refuse, defineProperty: refuse, getPrototypeOf: refuse, ownKeys: refuse,
    getOwnPropertyDescriptor: use, apply: refuse, construct: refuse,
  }));
}
const secureNames = bare({ Window: bare(), Navigator: create(prototypes.Navigator) });
setPrototypeOf(navigatorObject, secureNames.Navigator);
defineProperty(secureNames.Navigator, "deviceMemory", { value: 8, enumerable: true });
defineProperty(secureNames.Navigator, "serviceWorker", {
  get: () => ({ register: () => waitsFor("a service worker"), ready: waitsFor("a service worker"), controller: null,
    getRegistrations: () => waitsFor("a service worker"), addEventListener() {} }),
});
each(ownKeys(MISSED_IF_SECURE), (owner) => each(words(MISSED_IF_SECURE[owner]), (name) => {
  if (name in (owner === "Window" ? global : navigatorObject)) return;
  missing(secureNames[owner], name, owner === "Window" ? "" : "navigator.");
}));
each(ownKeys(MISSED), (owner) => each(words(MISSED[owner]), (name) => {
  const object = owner === "Window" ? global : owner === "Navigator" ? prototypes.Navigator
    : owner === "Performance" ? global.performance : prototypes[owner];
  missing(object, name, owner === "Window" ? "" : lower(owner) + ".");
}));

// ── Running a page ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Text that a visitor may see, as a number of characters. */
const UNSEEN = ["head", "html", "script", "style", "title", "noscript", "noframes", "noembed", "iframe", "textarea", "option", "template"];
function textCharacters() {
  let count = 0;
  walk(documentRecord, (one) => void (one.type === TEXT && !contains(UNSEEN, one.parent.tag) && (count += trim(one.data).length)));
  return count;
}
/** Runs the tasks until the page has certainly left, or nothing more happens in time. */
function runTasks() {
  const end = page.request.refresh_max_s * 1000;
  for (let count = 0; page.tasks.length; count++) {
    const task = page.tasks[0], left = page.jump;
    if (left !== null && task.due >= left.due + LEAVING_MS) return;
    if (left === null && task.due > end) return;
    if (count >= TASKS_MAX) {
      exceed("too many timers");
      return;
    }
    shift(page.tasks);
    page.clock = max(page.clock, task.due);
    if (left !== null && task.kind === "refresh") continue; // a navigation cancels it
    page.tasksRun++;
    task.run();
    checkpoint();
    if (left !== null && page.jump !== left && !isSame(left, page.jump) && task.due > left.due + SURE_MS) miss("a second jump");
    if (left !== null && page.jump !== null && isSame(left, page.jump)) page.jump = left;
  }
}
const isSame = (left, right) => right !== null && left.url === right.url && left.method === right.method && left.body === right.body;

function outcome() {
  const { jump } = page, found = bare({ kind: "stays", text_characters: textCharacters(), cookies: page.cookies,
    referrer_policies: page.referrerPolicies, kept: writtenKept() });
  if (jump !== null) {
    const late = jump.due > 0 || jump.how === "meta" || jump.how === "refresh-header" || jump.failed || jump.readsUnknown;
    if (jump.skipped && late) return needs(found);
    const missed = jump.missed || (page.missed === "32 MB of memory" && page.missed) || (page.missed === "a second jump" && page.missed) || (late && jump.awaited);
    if (missed) return unresolved(found, missed);
    const event = late && allowsInline(null, true) ? eventNotFired(OF_ANIMATIONS) : "";
    if (event) return unresolved(found, "the event " + event);
    found.kind = "goes";
    found.how = jump.how;
    found.url = jump.url;
    found.method = jump.method;
    found.body = jump.body || "";
    found.content_type = jump.type;
    found.delay_s = jump.due / 1000;
    found.no_referrer = jump.noReferrer;
    found.referrer_policies = jump.policies;
    return found;
  }
  if (page.needs.length && page.request.fetches_left > 0) return needs(found);
  const showsMuch = page.request.unknown_stay && found.text_characters > MUCH_TEXT;
  const missed = (showsMuch ? page.missedToLeave : page.missed) || (page.request.unknown_stay ? "" : page.awaited);
  if (missed && page.texts) return unresolved(found, missed);
  if (page.asked && !page.request.unknown_stay && runsAnswers()) return unresolved(found, page.asked);
  const event = page.request.unknown_stay || !allowsInline(null, true) ? "" : eventNotFired(/^/);
  return event ? unresolved(found, "the event " + event) : found;
}
/** Events that come by what a visitor does. */
const VISITORS_EVENTS = words("afterprint auxclick beforeinput beforeprint beforeunload blur change click contextmenu copy cut dblclick " +
  "drag dragend dragenter dragleave dragover dragstart drop focus focusin focusout fullscreenchange hashchange input keydown keypress " +
  "keyup mousedown mouseenter mouseleave mousemove mouseout mouseover mouseup mousewheel offline online orientationchange pagehide paste " +
  "pointercancel pointerdown pointerenter pointerleave pointermove pointerout pointerover pointerup reset resize scroll scrollend search " +
  "select selectstart storage submit touchcancel touchend touchmove touchstart unload visibilitychange wheel");
/** An event without a visitor, of these types, that this world has not fired, and by whose handler the page may leave; or "". */
function eventNotFired(types) {
  let found = "";
  walk(documentRecord, (record) => record.type === ELEMENT && !contains(["body", "frameset"], record.tag) &&
    some(ownKeys(record.attributes), (name) => {
      const type = slice(name, 2);
      if (!startsWith(name, "on") || !test(types, type) || hasOwn(record.handlers, type)) return false;
      if (contains(VISITORS_EVENTS, type) && !(type === "focus" && attribute(record, "autofocus") !== null)) return false;
      if (!mayLeave(record.attributes[name])) return false;
      found = type;
      return true;
    }));
  return found;
}
function unresolved(found, why) {
  found.kind = "unresolved";
  found.why = slice(why, 0, 200);
  return found;
}
function needs(found) {
  if (page.request.fetches_left <= 0) return unresolved(found, page.needs[0]);
  found.kind = "needs";
  found.needs = page.needs;
  return found;
}
function prepare(request) {
  page.request = request;
  setPrototypeOf(request, null);
  setPrototypeOf(request.scripts, null);
  page.url = request.url;
  readKept(request.kept);
  page.schemes = request.schemes || ["http", "https"];
  each(split(request.cookie, /;/g), (part) => {
    const pair = stripped(part), at = indexOf(pair, "=");
    const name = at < 0 ? "" : slice(pair, 0, at), value = slice(pair, at + 1);
    // Cookies of one name, of several paths, stay together: the first counts.
    const key = "=" + name; // no key is a number: numbers would come first
    if (pair) page.jar[key] = key in page.jar ? `${page.jar[key]}; ${pair}` : value;
  });
  each(request.policies, addPolicy);
  if (!isSecure()) {
    setPrototypeOf(namedProperties, prototypes.Window);
    setPrototypeOf(navigatorObject, prototypes.Navigator);
    delete cryptoObject.randomUUID;
    delete cryptoObject.subtle;
  }
  parser.text = request.html;
  parser.active = true;
}
expose("Window", class Window extends global.EventTarget {});
/* Names come after those of elements, and those of secure contexts only for pages by https. */
setPrototypeOf(secureNames.Window, prototypes.Window);
setPrototypeOf(namedProperties, secureNames.Window);
setPrototypeOf(global, namedProperties);
guard(prototypes.Document, (object) => weakGet(records, object) === documentRecord);
guard(prototypes.Navigator, (object) => object === navigatorObject);
guard(prototypes.History, (object) => object === historyObject);
each(ownKeys(prototypes), (name) => {
  markBuiltIn(prototypes[name]);
  markBuiltIn(global[name]);
});
each([global, theLocation, String.prototype, Array.prototype, BigInt.prototype, Number.prototype, Error, Date.prototype, Math, DateOfThePage, navigatorObject, prototypes.Navigator,
  global.performance], markBuiltIn);

defineProperty(global, "__run", {
  value(text) {
    if (page.request !== null) return "";
    prepare(parseJson(text));
    if (page.request.refresh !== null) declareRefresh("refresh-header", page.request.refresh);
    parseTo(null);
    if (!parser.stopped && !parser.opened) {
      const { openings } = parser;
      // The end of the answer comes in a task of its own: timers without a delay run before it.
      if (page.request.whole) queue(0, () => parser.stopped || parser.openings !== openings || endParsing());
      else endParsing();
    }
    runTasks();
    const found = outcome();
    each(["cookies", "needs", "referrer_policies"], (name) => found[name] && setPrototypeOf(found[name], null));
    return stringify(found);
  },
});
BUILT_INS = filter(ownKeys(global), (name) => typeof name === "string").length;
})(globalThis);
