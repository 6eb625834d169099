// The first steps on a new installation, and what leads on from an empty panel: a form, or the command to run.

import { $, h, setText } from "./dom.js";

export const NO_IPS = { act: "add-ips", label: "Add IPs", command: "tracepool provision import ips.csv" };
const FORMS = { ips: ["add-ips", "Add IPs"], offer: ["new-offer", "New offer"] };

/** An empty panel's text, with the button of a form (see forms.js) and the command that does the same. */
export function lead(text, { act, label, command } = {}) {
  const form = act ? h("button", { type: "button", "data-act": act, "data-needs": "write" }, label) : null;
  return h("div", { class: "lead-on" }, h("p", {}, text), form, command ? h("code", { class: "command" }, command) : null);
}

export class FirstRun {
  status({ first_run: firstRun }) {
    $("first-run").hidden = !firstRun;
    document.documentElement.toggleAttribute("data-first-run", Boolean(firstRun));
    const mark = JSON.stringify(firstRun);
    if (!firstRun || mark === this.mark) return;
    this.mark = mark;
    const next = firstRun.steps.findIndex((step) => !step.done);
    const left = firstRun.steps.filter((step) => !step.done).length;
    setText($("first-run-left"), left === 1 ? "One step is left" : `${left} steps are left`);
    $("first-run-steps").replaceChildren(...firstRun.steps.map((step, at) => this.step(step, at === next)));
  }

  step(step, isNext) {
    const [act, label] = FORMS[step.key] ?? [];
    const form = act && !step.done ? h("button", { type: "button", class: isNext ? "main-action" : null, "data-act": act, "data-needs": "write" }, label) : null;
    const command = step.done ? null : h("code", { class: "command" }, step.command);
    return h(
      "li",
      { "data-done": String(step.done), "aria-current": isNext ? "step" : null },
      h("h3", {}, step.title, step.done ? h("span", { class: "tag", "data-mood": "good" }, "done") : null),
      h("p", {}, step.detail),
      form || command ? h("div", { class: "ways" }, form, form ? h("span", { class: "note", "data-needs": "write" }, "or") : null, command) : null,
    );
  }
}
