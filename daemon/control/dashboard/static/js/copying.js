// URLs to copy. A tracking URL is never a link: whoever opens it has made a click.

import { announce, button, h } from "./dom.js";

/** A text with a button that copies it. */
export function copyable(text, what = text) {
  if (!text) return h("span", {}, "–");
  return h("span", { class: "copyable" }, h("span", { class: "url" }, text), copier(() => text, `Copy ${what.slice(0, 100)}`));
}

/** A button that copies `text()`. */
export function copier(text, label, words = "Copy") {
  const press = button(words, async () => {
    const done = await copied(text());
    announce(done ? "Copied" : "The browser does not let this page copy: select the text");
    press.textContent = done ? "Copied" : "Select it";
    setTimeout(() => (press.textContent = words), 2000);
  }, { class: "copy", "aria-label": label });
  return press;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedByCommand(text); // a page that came over http from another host has no clipboard
  }
}

function copiedByCommand(text) {
  const area = h("textarea", { class: "hidden", readonly: "" });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  const before = document.activeElement;
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}
