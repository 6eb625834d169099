// Tokens: who may use the control face. A new token's text is shown once, and kept nowhere.

import { get, post, remove, token } from "./api.js";
import { announce, button, h, tag, when } from "./dom.js";
import { change, Field, Form, onChanged, opens, changed } from "./forms.js";
import { session } from "./session.js";
import { made, Table } from "./table.js";

const READS = "Only a token with the role operator sees the tokens.";
const state = (one) => (one.revoked_at ? "revoked" : one.current ? "in force, yours" : "in force");

export class Tokens {
  constructor() {
    this.items = [];
    this.table = new Table(
      "tokens",
      [
        (one) => one.name,
        (one) => made(one.role, () => tag(one.role, one.role === "operator" ? "warn" : null)),
        (one) => state(one),
        (one) => when(one.created_at),
        (one) => (one.last_used_at ? when(one.last_used_at) : "never"),
        (one) => (one.revoked_at ? when(one.revoked_at) : made("revoke", () => button("Revoke", () => this.revoke(one), { "aria-label": `Revoke ${one.name}` }))),
      ],
      { key: (one) => `${one.name} ${one.created_at}`, empty: "Loading." },
    );
    onChanged("tokens", () => this.load());
    opens("new-token", () => this.create());
  }

  async load() {
    if (!document.documentElement.hasAttribute("data-may-write")) return this.none(READS);
    try {
      this.items = (await get("/api/tokens")).items;
      this.table.empty = session.name === "settings" ? "No token but that of the settings (control.token)." : "No token: every program of this machine may use this page.";
      this.table.show(this.items);
    } catch (trouble) {
      this.none(trouble.status === 403 ? READS : trouble.message);
    }
  }

  none(why) {
    this.items = [];
    this.table.empty = why;
    this.table.show([]);
  }

  create() {
    const first = !this.items.some((one) => !one.revoked_at) && !token.get();
    const fields = [
      new Field({ name: "name", help: "Whose token it is; the log of actions has it with each change.", required: true }),
      new Field({ name: "role", kind: "choice", choices: ["read", "operator"], value: first ? "operator" : "read", help: "operator may also change things." }),
    ];
    const warning = h("p", { class: "warned" }, "From the first token on, this page and the API ask for one. This tab signs in with the new token.");
    const create = async (form) => {
      const made = await post("/api/tokens", { name: fields[0].text, role: fields[1].text });
      if (first) token.set(made.token);
      form.saved();
      form.form.replaceChildren(...created(made, form));
      form.form.querySelector("input").select();
      announce("The token is created.");
      changed("tokens");
    };
    return new Form("A new token", fields, {
      layout: (nodes) => [...(first ? [warning] : []), h("div", { class: "fields" }, ...nodes)],
      actions: [{ text: "Create the token", act: create }],
    });
  }

  async revoke(one) {
    const own = one.current ? " It is the token of this tab: you must sign in with another one." : "";
    await change("tokens-outcome", {
      title: `Revoke the token ${one.name}?`,
      text: `Programs that use it are refused within a second. It cannot come back.${own}`,
      yes: "Revoke",
      act: () => remove(`/api/tokens/${encodeURIComponent(one.name)}`),
      done: ({ revoked }) => `revoked ${revoked}`,
    });
    changed("tokens");
  }
}

function created(made, form) {
  const field = h("input", { class: "token-text", readonly: "", "aria-label": `The token ${made.name}`, autocomplete: "off", spellcheck: "false" });
  field.value = made.token;
  const copy = async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(made.token);
      announce("Copied");
    } catch {
      announce("Selected: copy it with the keyboard");
    }
  };
  return [
    h("p", { class: "outcome" }, made.note),
    h("div", { class: "answers" }, field, button("Copy", copy)),
    h("p", { class: "note" }, "Only its hash is stored. When this dialog is closed, nobody can read the token again."),
    h("div", { class: "answers form-answers" }, button("I have kept it", () => form.end(), { class: "main-action" })),
  ];
}

