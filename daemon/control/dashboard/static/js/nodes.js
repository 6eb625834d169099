// The nodes: their shares of each country as bars, what each does, and which node's figures the page shows.

import { get, post, remove } from "./api.js";
import { question } from "./dialogs.js";
import { $, announce, button, number, h, ms, setText, shown, duration, tag } from "./dom.js";
import { made, strip, Table } from "./table.js";

const INKS = 6; // colours of nodes; the label names the node
const COUNTRIES_MAX = 40;
const OWN_PANELS = ["picture", "flights", "state", "events-panel"]; // figures of the answering node only
const CHOSEN_PANELS = ["pools", "clicks", "times"]; // figures of the chosen node, or of all
const MOODS = { active: "good", draining: "warn", "not seen": "bad", left: null, removed: "warn", lost: "bad" };

function stateOf(node) {
  if (node.state !== "active") return node.draining ? `${node.state}, drained` : node.state;
  if (node.stale) return "not seen";
  return node.draining ? "draining" : "active";
}

const total = (node) => Object.values(node.ips).reduce((sum, n) => sum + n, 0);

export class Nodes {
  constructor() {
    this.nodes = [];
    this.chosen = ""; // the id of the node whose figures are shown; "": all nodes together
    this.table = new Table(
      "nodes",
      [
        (node) => (node.this ? `${node.name} (answers)` : node.name),
        (node) => made(stateOf(node), () => tag(stateOf(node), MOODS[stateOf(node)] ?? MOODS[node.state])),
        (node) => number(total(node)),
        (node) => number(node.clicks_per_s, 1),
        (node) => ms(node.wait_p95_ms),
        (node) => number(node.active_traces),
        (node) => number(node.backlog),
        (node) => `${duration(node.seen_s_ago)} ago`,
        (node) => node.version,
        (node) => made(this.action(node), () => this.actions(node)),
      ],
      { key: (node) => node.node_id, empty: "One node." },
    );
    this.shares = new Table(
      "shares",
      [(share) => share.country, (share) => made(share.mark, () => bar(share)), (share) => share.text, (share) => number(share.all)],
      { key: (share) => share.country, empty: "No IPs yet." },
    );
    $("node-choice").addEventListener("change", () => this.choose($("node-choice").value));
  }

  /** The status with the figures of the chosen node instead of those of all nodes. */
  async shown(status) {
    this.show(status);
    if (status.nodes.length < 2) return status;
    const backlogs = status.nodes.map((node) => node.backlog ?? 0);
    if (!this.chosen) return { ...status, backlog: backlogs.reduce((sum, n) => sum + n, 0) };
    try {
      const found = await get(`/api/nodes/${encodeURIComponent(this.chosen)}`);
      return { ...status, countries: found.countries, outlook: {}, active_traces: found.node.active_traces ?? 0, backlog: found.node.backlog, last_minute: found.last_minute };
    } catch (trouble) {
      setText($("node-trouble"), trouble.message);
      return status;
    }
  }

  show({ nodes, node: own }) {
    this.nodes = nodes;
    const several = nodes.length > 1;
    $("nodes-panel").hidden = !several;
    $("node-switch").hidden = !several;
    if (!several) this.chosen = "";
    if (several) this.options(nodes);
    this.label(several ? own.name : "");
    if (!several) return;
    this.table.show(nodes);
    this.shares.show(sharesOf(nodes));
    const stale = nodes.filter((node) => node.stale).map((node) => `${node.name}: not seen for ${duration(node.seen_s_ago)}, its figures are that old`);
    const away = own.nodes_read_s_ago > 5 ? [`the other nodes' figures are ${duration(own.nodes_read_s_ago)} old: PostgreSQL does not answer`] : [];
    setText($("node-trouble"), [...away, ...stale].join("; "));
  }

  options(nodes) {
    const select = $("node-choice");
    const wanted = ["", ...nodes.map((node) => node.node_id)];
    if ([...select.options].map((option) => option.value).join() === wanted.join()) return;
    const options = nodes.map((node) => h("option", { value: node.node_id }, node.this ? `${node.name} (answers)` : node.name));
    select.replaceChildren(h("option", { value: "" }, `all ${nodes.length} nodes`), ...options);
    if (!wanted.includes(this.chosen)) this.chosen = "";
    select.value = this.chosen;
  }

  choose(id) {
    this.chosen = id;
    const name = this.nodes.find((node) => node.node_id === id)?.name;
    announce(name ? `Figures of node ${name}` : "Figures of all nodes");
    this.onChoice?.();
  }

  /** Panels say whose figures they have, if there are several nodes. `name`: of the answering node, "" if alone. */
  label(name) {
    const chosen = this.nodes.find((node) => node.node_id === this.chosen)?.name;
    const of = name && (chosen ? ` of node ${chosen}` : " of all nodes");
    if (this.labelled === name + of) return;
    this.labelled = name + of;
    const labels = [...OWN_PANELS.map((id) => [id, name && ` of node ${name}`]), ...CHOSEN_PANELS.map((id) => [id, of])];
    for (const [id, text] of labels) {
      document.querySelector(`#${id} .of-node`)?.remove();
      if (text) $(id).querySelector("h2").append(h("span", { class: "of-node" }, text));
    }
  }

  action(node) {
    if (node.state !== "active") return node.draining ? "undrain" : "";
    return `${node.draining ? "undrain" : "drain"}${node.stale ? " remove" : ""}`;
  }

  actions(node) {
    const word = node.draining ? "undrain" : "drain";
    const all = [];
    if (node.state === "active" || node.draining) all.push(button(word === "drain" ? "Drain" : "Undrain", () => this.drain(node, word), { "aria-label": `${word} ${shown(node.name)}` }));
    if (node.state === "active" && node.stale) all.push(button("Remove", () => this.remove(node), { "aria-label": `Remove ${shown(node.name)}` }));
    return h("span", { class: "answers" }, ...all);
  }

  async drain(node, word) {
    const why = `${node.name} gives its ${number(total(node))} IPs away and leases none: its clicks fall back until it is undrained.`;
    if (word === "drain" && !(await question("Drain this node?", why, "Drain"))) return;
    await this.change(() => post(`/api/nodes/${encodeURIComponent(node.node_id)}/${word}`), `${node.name}: ${word}`);
  }

  async remove(node) {
    const why = `Only if the daemon of ${node.name} certainly no longer runs: otherwise two nodes would use the same IPs. Others use its IPs after ${duration(node.quiet_s)}.`;
    if (!(await question("Remove this node?", why, "Remove"))) return;
    await this.change(() => remove(`/api/nodes/${encodeURIComponent(node.node_id)}`), `${node.name}: removed`);
  }

  async change(act, done) {
    try {
      await act();
      setText($("node-outcome"), done);
      announce(done);
    } catch (trouble) {
      setText($("node-outcome"), trouble.message);
    }
  }
}

/** By country, the largest first: what each node owns. */
function sharesOf(nodes) {
  const sums = new Map();
  for (const node of nodes) for (const [country, n] of Object.entries(node.ips)) sums.set(country, (sums.get(country) ?? 0) + n);
  const countries = [...sums].sort((a, b) => b[1] - a[1]).slice(0, COUNTRIES_MAX);
  return countries.map(([country, all]) => {
    const parts = nodes.map((node, at) => ({ name: node.name, n: node.ips[country] ?? 0, ink: (at % INKS) + 1 })).filter((part) => part.n);
    const text = parts.map((part) => `${part.name} ${part.n}`).join(", ");
    return { country, all, parts, text, mark: `${all} ${text}` };
  });
}

function bar({ country, all, parts }) {
  let x = 0;
  const rectangles = parts.map(({ n, ink }) => {
    const width = (100 * n) / all;
    x += width;
    return [`share s${ink}`, x - width, width];
  });
  return strip("bar", `${country}: ${parts.map(({ name, n }) => `${name} owns ${n}`).join(", ")} of ${all}`, rectangles);
}
