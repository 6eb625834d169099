// Forms in a dialog: fields with their sentences, one request at a time, and input that stays until it is saved.

import { ApiError } from "./api.js";
import { question } from "./dialogs.js";
import { $, announce, button, h, number, setText, shown } from "./dom.js";

const LOST = "The daemon does not answer: it is not known whether this was saved. Your input is still here. Try again when the page is live: a second time changes nothing twice.";

/** An input with its label, its help and the place of its error. kind: text, choice, flag, number, words, file. */
export class Field {
  constructor({ name, label = name.replaceAll("_", " "), kind = "text", choices = [], help = "", placeholder = null, value = "", required = false }) {
    Object.assign(this, { name, kind });
    const id = `field-${name}`;
    const about = { id, name, "aria-describedby": `${id}-help ${id}-error`, autocomplete: "off", spellcheck: "false" };
    if (kind === "choice") this.input = h("select", about, ...choices.map((choice) => h("option", { value: choice }, choice)));
    else if (kind === "words" || kind === "lines") this.input = h("textarea", { ...about, rows: kind === "lines" ? 8 : 2, placeholder });
    else if (kind === "flag") this.input = h("input", { ...about, type: "checkbox" });
    else if (kind === "file") this.input = h("input", { ...about, type: "file" });
    else this.input = h("input", { ...about, type: "text", placeholder, inputmode: kind === "number" ? "decimal" : null, "aria-required": required ? "true" : null });
    this.error = h("p", { class: "field-error", id: `${id}-error` });
    this.note = h("p", { class: "field-note" });
    const title = h("label", { for: id }, label, required ? h("span", { class: "needed" }, " (needed)") : null);
    const parts = kind === "flag" ? [h("div", { class: "flagged" }, this.input, title)] : [title, this.input];
    this.element = h("div", { class: `field of-${kind}`, "data-field": name }, ...parts, h("p", { class: "note", id: `${id}-help` }, help), this.note, this.error);
    if (kind !== "file") this.show(value);
  }

  /** The text of the input. Lists are in one line, as in a file. */
  get text() {
    if (this.kind === "flag") return String(this.input.checked);
    if (this.kind === "words") return this.input.value.trim().replace(/\s+/g, " ");
    return this.kind === "lines" ? this.input.value : this.input.value.trim();
  }

  show(text) {
    if (this.kind === "flag") this.input.checked = text === "true";
    else this.input.value = text;
    this.first = this.text;
  }

  /** Takes over what is saved now. What was typed since `sent` stays. */
  take(text, sent) {
    const typed = this.text === sent ? null : this.kind === "flag" ? this.input.checked : this.input.value;
    this.show(text);
    if (typed === null) return;
    if (this.kind === "flag") this.input.checked = typed;
    else this.input.value = typed;
  }

  get changed() {
    return this.kind === "file" ? this.input.files.length > 0 : this.text !== this.first;
  }

  complain(sentence) {
    setText(this.error, sentence);
    if (sentence) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }
}

/** A form in the dialog for forms. `actions`: [{text, act, plain}]; the first one is that of Enter. */
export class Form {
  constructor(title, fields, { actions, layout = (nodes) => nodes, closed = () => {} }) {
    Object.assign(this, { fields, closed });
    this.trouble = h("p", { class: "outcome form-trouble", "data-mood": "bad", role: "alert", tabindex: "-1" });
    this.result = h("div", { class: "form-result", role: "status" });
    this.buttons = actions.map(({ text, act, plain, mood }, at) =>
      h("button", { type: at ? "button" : "submit", class: plain ? null : "main-action", "data-mood": mood, ...(at ? { click: () => this.run(act) } : {}) }, text),
    );
    this.form = h(
      "form",
      { class: "form", novalidate: "", submit: (event) => (event.preventDefault(), this.run(actions[0].act)), input: (event) => this.edited(event) },
      ...layout(fields.map((field) => field.element)),
      this.trouble,
      h("div", { class: "answers form-answers" }, ...this.buttons, button("Close", () => this.close())),
      this.result,
    );
    this.dialog = $("form-dialog");
    setText($("form-title"), title);
    $("form-body").replaceChildren(this.form);
    $("form-close").onclick = () => this.close();
    this.dialog.oncancel = (event) => {
      event.preventDefault();
      this.close();
    };
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    fields.find((field) => !field.input.readOnly)?.input.focus();
  }

  field(name) {
    return this.fields.find((field) => field.name === name);
  }

  get changed() {
    return this.fields.some((field) => field.changed);
  }

  edited(event) {
    const field = this.fields.find(({ input }) => input === event.target);
    field?.complain("");
    setText(this.trouble, "");
  }

  /** Asks first if input would be lost. */
  async close() {
    if (this.busy && !(await question("Close the form?", "The request is on its way: it may still be carried out.", "Close"))) return;
    if (!this.busy && this.changed && !(await question("Discard your input?", "What you typed is not saved.", "Discard"))) return;
    this.end();
  }

  end() {
    this.dialog.close();
    this.closed();
  }

  /** Runs an action; while one runs, no other begins. */
  async run(act) {
    if (this.busy) return;
    this.busy = true;
    this.form.setAttribute("aria-busy", "true");
    for (const one of this.buttons) one.disabled = true;
    this.complain([], "");
    try {
      await act(this);
    } catch (trouble) {
      if (!(trouble instanceof ApiError)) throw trouble;
      this.say(); // what an earlier action said is not of this one
      this.complain(trouble.errors, trouble.status ? trouble.message : LOST);
      if (trouble.status === 401) this.suspend();
    } finally {
      this.busy = false;
      this.form.removeAttribute("aria-busy");
      for (const one of this.buttons) one.disabled = false;
      this.refocus?.();
      this.refocus = null;
    }
  }

  /** Makes way for the form that asks for a token, and comes back with its input. */
  suspend() {
    this.refocus = null;
    this.dialog.close();
    const back = () => {
      this.dialog.showModal();
      this.complain([], "You are signed in again, and nothing was changed. Your input is still here: try again.");
      this.refocus?.();
      this.refocus = null;
    };
    document.addEventListener("admitted", back, { once: true });
    signInAgain();
  }

  /** Puts each sentence at its field, and the focus into the first wrong field. `text`: if no field has the fault. */
  complain(errors, text) {
    const known = errors.filter(({ field }) => this.field(field.split(".")[0]));
    for (const field of this.fields) field.complain(known.filter((error) => error.field.split(".")[0] === field.name).map((error) => error.message).join("; "));
    setText(this.trouble, known.length && known.length === errors.length ? "" : text);
    const wrong = this.fields.find(({ input }) => input.hasAttribute("aria-invalid"));
    if (wrong) wrong.element.closest("details")?.setAttribute("open", "");
    const target = wrong?.input ?? (text ? this.trouble : null);
    if (target) this.refocus = () => target.focus();
  }

  /** Shows what became of an action. */
  say(...nodes) {
    this.result.replaceChildren(...nodes);
  }

  /** The input is saved: closing asks nothing. */
  saved() {
    for (const field of this.fields) field.first = field.text;
  }
}

/** Shows an outcome below a panel's table, and announces it. */
export function outcome(id, text, mood = "good") {
  $(id).dataset.mood = mood;
  setText($(id), text);
  announce(shown(text));
}

/** Asks, runs one change, and shows its outcome in the element `id`. A second press does nothing while it runs. */
const running = new Set();
export async function change(id, { title, text, yes, act, done }) {
  if (running.has(id)) return;
  running.add(id);
  try {
    if (title && !(await question(title, text, yes))) return;
    outcome(id, done(await act()));
  } catch (trouble) {
    if (!(trouble instanceof ApiError)) throw trouble;
    if (trouble.status === 401) signInAgain();
    outcome(id, trouble.status ? trouble.message : "The daemon does not answer: it is not known whether this was done.", "bad");
  } finally {
    running.delete(id);
  }
}

/** Buttons above a table that act on the rows which its filter shows. `actions`: [[word, act(keys)]]; `key`: of an item, for the request; null: it cannot be changed. */
export class BulkBar {
  constructor(table, noun, key, actions) {
    Object.assign(this, { table, noun, key, text: "" });
    this.words = h("span");
    const buttons = actions.map(([word, act]) => button(word, () => act(this.keys())));
    this.element = h("div", { class: "tools bulk", role: "group", "data-needs": "write", "aria-label": `Change the ${noun} that the filter shows` }, this.words, ...buttons);
    table.table.closest(".scroll").before(this.element);
    table.onSift = () => this.count(this.text);
    this.count("");
  }

  keys() {
    return this.table.visible().map(this.key).filter((key) => key !== null);
  }

  /** `text`: what the buttons act on, if that is not what the table shows. */
  count(text) {
    this.text = text;
    const n = this.keys().length;
    setText(this.words, text || `The ${number(n)} ${n === 1 ? this.noun.replace(/s$/, "") : this.noun} shown:`);
    this.element.hidden = n === 0;
  }
}

const signInAgain = () => document.dispatchEvent(new CustomEvent("unauthorized"));
export const changed = (what) => document.dispatchEvent(new CustomEvent("changed", { detail: what }));
export const onChanged = (what, act) => document.addEventListener("changed", ({ detail }) => detail === what && act());

const openers = new Map();
/** An element with data-act="word" opens a form, wherever it stands. */
export const opens = (word, act) => openers.set(word, act);
document.addEventListener("click", (event) => {
  const asked = event.target.closest?.("[data-act]");
  if (asked && openers.has(asked.dataset.act)) openers.get(asked.dataset.act)(asked);
});
