// Adding IPs: a pasted list or a file, read as `tracepool provision import` reads it; and numbered sessions.

import { post, postText } from "./api.js";
import { announce, h, number, shown } from "./dom.js";
import { changed, Field, Form, opens } from "./forms.js";

const BYTES_MAX = 4 * 1024 * 1024;
const EXAMPLE = "192.0.2.7:3128\n192.0.2.8:3128:user:password\nhttp://user:password@192.0.2.9:3128";

const summary = (read, dry) => `${dry ? "would add" : "added"} ${number(read.added)}, skipped ${number(read.skipped)} (already there), refused ${number(read.refused)}`;

function table(caption, heads, rows) {
  const head = h("tr", { role: "row" }, ...heads.map((name) => h("th", { scope: "col", role: "columnheader" }, name)));
  const cell = (text, at) => (at ? h("td", { role: "cell", class: "why", "data-label": heads[at] }, text) : h("th", { scope: "row", role: "rowheader", "data-label": heads[at] }, text));
  const body = rows.map((row) => h("tr", { role: "row" }, ...row.map(cell)));
  const content = [h("caption", {}, caption), h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, ...body)];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, h("table", { role: "table" }, ...content));
}

/** What the daemon read: counts, warnings, the lines that it refused, and the first rows. */
function read(answer, dry) {
  const rows = answer.sample.map((ip) => [`${ip.ip_address}:${ip.ip_port}`, ip.country, ip.provider, ip.has_login ? "its own login" : "the provider's login", ip.notes ?? ""]);
  return [
    h("p", { class: "outcome", "data-mood": answer.refused ? "bad" : "good" }, summary(answer, dry)),
    ...answer.warnings.map((warning) => h("p", { class: "warned" }, warning)),
    answer.lines.length ? table("Lines that are not added", ["Line", "Why"], answer.lines.map((one) => [String(one.line), one.reason])) : null,
    dry && rows.length ? h("h3", {}, rows.length === 1 ? "The first row" : `The first ${rows.length} rows`) : null,
    dry && rows.length ? table("The first rows", ["IP", "Country", "Provider", "Login", "Notes"], rows) : null,
  ].filter(Boolean);
}

/** Opens the form for IPs. `country`: the one that the rows without a country get. */
export function addIps(country = "us") {
  const list = new Field({ name: "list", label: "Paste a list", kind: "lines", placeholder: EXAMPLE, help: "One proxy a line, or a table with the header ip_address,ip_port,country,provider,username,password,notes, or JSON lines." });
  const file = new Field({ name: "file", label: "Or choose a file", kind: "file", help: "CSV, what a spreadsheet exports, JSON lines or a vendor's list; up to 4 MB. Instead of the list above." });
  const fields = [
    list,
    file,
    new Field({ name: "country", value: country, help: "Of rows that name none." }),
    new Field({ name: "provider", value: "luna", help: "Of rows that name none: a provider of the settings." }),
    new Field({ name: "strict", kind: "flag", help: "If one row is bad, add nothing." }),
  ];

  const send = async (form, dry) => {
    const chosen = file.input.files[0];
    if (chosen && list.text.trim()) return form.complain([{ field: "file", message: "there is a list above too: use one of them, and add the other afterwards" }], "");
    if (!chosen && !list.text.trim()) return form.complain([{ field: "list", message: "paste a list, or choose a file" }], "");
    if ((chosen?.size ?? list.text.length) > BYTES_MAX) return form.complain([{ field: chosen ? "file" : "list", message: "larger than 4 MB: split it, or use `tracepool provision import`" }], "");
    const [countryField, provider, strict] = fields.slice(2);
    const query = { country: countryField.text || "us", provider: provider.text || "luna", strict: strict.text, dry_run: dry };
    const answer = await postText("/api/ips/import-file", query, chosen ?? list.text);
    form.say(...read(answer, dry));
    announce(summary(answer, dry));
    if (dry || (answer.refused && strict.text === "true")) return;
    form.saved();
    file.input.value = "";
    if (!answer.refused) list.show("");
    changed("ips");
  };
  const numbered = h("p", { class: "note" }, "A gateway provider numbers its sessions: ", h("button", { type: "button", class: "link", click: () => sessions(country) }, "add numbered sessions"), " instead.");
  return new Form("Add IPs", fields, {
    layout: (nodes) => [numbered, h("div", { class: "fields" }, ...nodes)],
    actions: [{ text: "Add the IPs", act: (form) => send(form, false) }, { text: "Preview", act: (form) => send(form, true), plain: true }],
  });
}

function sessions(country) {
  const fields = [
    new Field({ name: "count", kind: "number", value: "30", help: "How many.", required: true }),
    new Field({ name: "country", value: country, help: "The country of the IPs." }),
    new Field({ name: "provider", value: "luna", help: "The provider's name in the settings." }),
    new Field({ name: "prefix", help: "The text before the number; empty: PROVIDER-COUNTRY-." }),
    new Field({ name: "port", value: "7000", help: "The port of each." }),
  ];
  const send = async (form, dry) => {
    const [count, ...words] = fields;
    if (!/^\d{1,9}$/.test(count.text)) return form.complain([{ field: "count", message: `count must be 1 to 10000, not ${count.text || "empty"}` }], "");
    const given = Object.fromEntries(words.filter((field) => field.text).map((field) => [field.name, field.text]));
    const answer = await post("/api/ips/generate", { ...given, count: Number(count.text), dry_run: dry });
    const text = `${dry ? "would add" : "added"} ${number(answer.added)}, skipped ${number(answer.skipped)} (already there): ${answer.first} to ${answer.last}`;
    form.say(h("p", { class: "outcome" }, text));
    announce(shown(text));
    if (dry) return;
    form.saved();
    changed("ips");
  };
  return new Form("Add numbered sessions", fields, {
    layout: (nodes) => [h("div", { class: "fields" }, ...nodes)],
    actions: [{ text: "Add the sessions", act: (form) => send(form, false) }, { text: "Preview", act: (form) => send(form, true), plain: true }],
  });
}

opens("add-ips", (element) => addIps(element.dataset.country || "us"));
