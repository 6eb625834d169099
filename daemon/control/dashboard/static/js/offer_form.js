// Offers: add, change, pause, check and remove them. The form is made from GET /api/offer-settings.

import { ApiError, get, getVersion, patch, post, remove } from "./api.js";
import { question } from "./dialogs.js";
import { announce, h, number, shown } from "./dom.js";
import { BulkBar, change, changed, Field, Form, opens } from "./forms.js";

const FIRST = ["offer_name", "final_url", "countries", "is_active"]; // always shown; the others below "More settings"
const OUTCOME = "offers-outcome";

let settings = null;
async function settingsOfOffers() {
  settings ??= (await get("/api/offer-settings")).items;
  return settings;
}

/** A value in the notation of an import file, as the API takes it back. */
function textOf(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) {
    const words = value.map((item) => (item && typeof item === "object" && typeof item.url === "string" ? `${item.weight ?? 1}:${item.url}` : item));
    return words.every((word) => typeof word === "string" && /^[^\s,[{]+$/.test(word)) ? words.join(" ") : JSON.stringify(value);
  }
  return typeof value === "object" ? textOfObject(value) : String(value);
}

/** A setting's value in the row of an offer. An offer with one country has it in `target_country` alone. */
const valueIn = (offer, { name }) => (name === "countries" ? (offer.countries?.length ? offer.countries : [offer.target_country]) : offer[name]);

function textOfObject(value) {
  const plain = (word) => typeof word === "string" && /^[^\s,=[{]+$/.test(word);
  const pairs = Object.entries(value);
  if (!pairs.length) return "";
  const shares = pairs.flatMap(([name, items]) => (Array.isArray(items) ? items.map((item) => `${name}:${item?.weight ?? 1}:${item?.url}`) : [null]));
  if (pairs.every(([name, items]) => plain(name) && Array.isArray(items) && items.every((item) => plain(item?.url)))) return shares.join(" ");
  if (pairs.every(([name, item]) => plain(name) && plain(item))) return pairs.map(([name, item]) => `${name}=${item}`).join(" ");
  const [[kind, names]] = pairs;
  if (pairs.length === 1 && ["keep", "drop"].includes(kind) && Array.isArray(names) && names.length && names.every(plain)) return `${kind} ${names.join(" ")}`;
  return JSON.stringify(value);
}

const fieldOf = (setting, value, more = {}) =>
  new Field({ ...setting, label: setting.name, placeholder: setting.kind === "choice" || setting.kind === "flag" ? null : `such as ${setting.example}`, value: textOf(value), ...more });

/** The fields that are always shown, and the others in a part to open. */
function layout(fields, open) {
  const isFirst = (element) => FIRST.includes(element.dataset.field);
  return (nodes) => [
    h("div", { class: "fields" }, ...nodes.filter(isFirst)),
    h("details", { class: "more-settings", open: open ? "" : null }, h("summary", {}, "More settings"), h("div", { class: "fields" }, ...nodes.filter((node) => !isFirst(node)))),
  ];
}

/** The body of a request: the texts of the fields; an empty one removes the setting. */
const bodyOf = (fields) => Object.fromEntries(fields.map((field) => [field.name, field.kind === "flag" ? field.text === "true" : field.text || null]));

/** An outcome, and what becomes of each macro. */
function told(title, macros = []) {
  const lines = macros.map(({ sentence, warns }) => h("li", { class: warns ? "warned" : null }, sentence));
  return [h("p", { class: "outcome" }, title), lines.length ? h("ul", { class: "said" }, ...lines) : null].filter(Boolean);
}

async function check(form, body) {
  const { macros } = await post("/api/offers/check", body);
  form.say(...told("The values are good: nothing is saved yet.", macros));
  announce("The values are good: nothing is saved yet.");
}

/** Opens the form for a new offer. */
async function newOffer() {
  let all;
  try {
    all = await settingsOfOffers();
  } catch (trouble) {
    return failed("A new offer", trouble);
  }
  const fields = all.map((setting) => fieldOf(setting, setting.default));
  const body = () => Object.fromEntries(Object.entries(bodyOf(fields)).filter(([name, value]) => value !== null || name === "offer_name").map(([name, value]) => [name, value ?? ""]));
  const add = async (form) => {
    const offer = await post("/api/offers", body());
    form.saved();
    form.say(...told(`added ${offer.offer_name}: /track-hit?offer=${encodeURIComponent(offer.offer_name)}`, offer.macros));
    announce(`added ${shown(offer.offer_name)}`);
    changed("offers");
  };
  return new Form("A new offer", fields, { layout: layout(fields, false), actions: [{ text: "Add the offer", act: add }, { text: "Check", act: (form) => check(form, body()), plain: true }] });
}

/** Opens the form of an offer. `key`: its name or its id. */
async function editOffer(key) {
  let all, found;
  try {
    [all, found] = [await settingsOfOffers(), await getVersion(`/api/offers/${encodeURIComponent(key)}`)];
  } catch (trouble) {
    return failed("An offer", trouble);
  }
  const path = `/api/offers/${found.body.id}`;
  const [name, ...rest] = all;
  const fields = rest.map((setting) => fieldOf(setting, valueIn(found.body, setting)));
  const used = rest.some((setting) => !FIRST.includes(setting.name) && textOf(valueIn(found.body, setting)) !== textOf(setting.default));
  const body = () => bodyOf(fields.filter((field) => field.changed));

  const save = async (form) => {
    const changes = body();
    if (!Object.keys(changes).length) return form.say(...told("Nothing differs from what is saved."));
    const sent = new Map(fields.map((field) => [field, field.text]));
    try {
      found = await patch(path, changes, found.version);
    } catch (trouble) {
      return late(form, trouble);
    }
    const offer = found.body;
    for (const field of fields) {
      field.take(textOf(valueIn(offer, field)), sent.get(field));
      field.note.replaceChildren();
    }
    form.say(...told(`updated ${offer.offer_name}`, offer.macros));
    announce(`updated ${shown(offer.offer_name)}`);
    changed("offers");
  };

  /** Another change came first. */
  const late = (form, trouble) => {
    if (trouble.status === 412) return newer(form, trouble);
    if (trouble.status !== 404) throw trouble;
    throw new ApiError(404, `The offer ${found.body.offer_name} was removed meanwhile: nothing was changed. What you typed is still here.`);
  };

  /** The values of the other change become the saved ones, and the input stays. */
  const newer = async (form, trouble) => {
    const before = found;
    found = await getVersion(path);
    const lines = [];
    for (const field of fields) {
      const [was, now] = [textOf(valueIn(before.body, field)), textOf(valueIn(found.body, field))];
      if (was === now) continue;
      lines.push(`${field.name}: ${was || "(nothing)"} → ${now || "(nothing)"}`);
      const typed = field.changed && field.text !== now;
      field.take(now, typed ? null : field.text);
      field.note.replaceChildren(typed ? `Saved by another: ${shown(now || "(nothing)")}` : "");
    }
    form.complain([], trouble.message);
    form.say(h("p", {}, "What the other change set:"), h("ul", { class: "said" }, ...lines.map((line) => h("li", {}, line))));
  };

  const gone = async (form) => {
    const text = `Its clicks get the fallback of the settings, or 404. Its hits and traces stay. To pause it instead, take "is active" away.`;
    if (!(await question(`Remove the offer ${found.body.offer_name}?`, text, "Remove"))) return;
    try {
      await remove(path, found.version);
    } catch (trouble) {
      return late(form, trouble);
    }
    form.saved();
    form.end();
    changed("offers");
  };

  return new Form(`Offer ${found.body.offer_name}`, fields, {
    layout: layout(fields, used),
    actions: [{ text: "Save", act: save }, { text: "Check", act: (form) => check(form, body()), plain: true }, { text: "Remove the offer", act: gone, plain: true, mood: "bad" }],
  });
}

function failed(title, trouble) {
  if (!(trouble instanceof ApiError)) throw trouble;
  const form = new Form(title, [], { actions: [] });
  form.complain([], trouble.message);
  form.refocus();
  return form;
}

const offers = (n) => `${number(n)} ${n === 1 ? "offer" : "offers"}`;

/** Pauses offers or serves them again, after a question. `keys`: names or ids. */
async function pauseOffers(keys, active) {
  const [word, done] = active ? ["Resume", "serves"] : ["Pause", "paused"];
  const why = active ? "Their clicks are traced again within a second." : "Their clicks go to the offer that takes them, else to the fallback URL, else they get 404.";
  await change(OUTCOME, {
    title: `${word} ${offers(keys.length)}?`,
    text: why,
    yes: word,
    act: () => post("/api/offers/change", { offers: keys, changes: { is_active: active } }),
    done: ({ changed: names }) => `${done} ${offers(names.length)}${names.length <= 5 ? `: ${names.join(", ")}` : ""}`,
  });
  changed("offers");
}

async function removeOffers(keys) {
  await change(OUTCOME, {
    title: `Remove ${offers(keys.length)}?`,
    text: "Their clicks get the fallback of the settings, or 404. Their hits and traces stay. All are removed, or none.",
    yes: "Remove",
    act: () => post("/api/offers/remove", { offers: keys }),
    done: ({ removed }) => `removed ${offers(removed.length)}${removed.length <= 5 ? `: ${removed.join(", ")}` : ""}`,
  });
  changed("offers");
}

/** Adds the changes of all offers that the table's filter shows. `key`: of an item; null: no offer that exists. */
export function offersBar(table, key) {
  return new BulkBar(table, "offers", key, [
    ["Pause", (keys) => pauseOffers(keys, false)],
    ["Resume", (keys) => pauseOffers(keys, true)],
    ["Remove", removeOffers],
  ]);
}

opens("new-offer", () => newOffer());
opens("edit-offer", (element) => editOffer(element.dataset.offer));
