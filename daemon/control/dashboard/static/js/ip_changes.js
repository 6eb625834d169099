// Resets, checks and removals of IPs: each asks with the count, and changes exactly what was asked about.

import { post } from "./api.js";
import { question } from "./dialogs.js";
import { ms, number } from "./dom.js";
import { change, changed, outcome } from "./forms.js";

const CHECKED_MAX = 20; // IPs of one request
const NAMED_MAX = 5;

const several = (n) => `${number(n)} ${n === 1 ? "IP" : "IPs"}`;
const named = (names) => `${names.slice(0, NAMED_MAX).join(", ")}${names.length > NAMED_MAX ? ` and ${number(names.length - NAMED_MAX)} more` : ""}`;

/** `selection`: as in POST /api/ips/reset. `id`: the element of the outcome. If other IPs meet it by then, nothing is changed. */
async function changeIps(id, path, selection, words) {
  await change(id, {
    act: async () => {
      const found = await post(path, { ...selection, dry_run: true });
      const { count, title, text, yes, nothing } = words(found);
      if (!count) return nothing;
      return (await question(title, text, yes)) ? words(await post(path, { ...selection, expected: count })).done : "";
    },
    done: (text) => text,
  });
  changed("ips");
}

export const resetIps = (id, selection) =>
  changeIps(id, "/api/ips/reset", selection, ({ reset }) => ({
    count: reset.length,
    title: `Reset ${several(reset.length)}?`,
    text: `Available again, with failures in a row from 0: ${named(reset)}.`,
    yes: "Reset",
    done: `reset ${number(reset.length)}: ${named(reset)}`,
    nothing: "Nothing was changed: none of them is unhealthy.",
  }));

export const retireIps = (id, selection) =>
  changeIps(id, "/api/ips/remove", selection, ({ removed, locked }) => ({
    count: removed,
    title: `Retire ${several(removed)}?`,
    text: `Removed from the pool for good.${locked ? ` ${number(locked)} of them locked: their traces end first.` : ""} Traces and hits stay.`,
    yes: "Retire",
    done: `removed ${number(removed)}${locked ? ` (${number(locked)} of them locked: their traces end first)` : ""}`,
    nothing: "Nothing was changed: no IP meets these conditions.",
  }));

/** Checks the IPs, some at a time, and shows the counts by result as they come. */
export async function checkIps(id, ids) {
  const counts = new Map();
  const said = [];
  const text = () => [...counts].map(([kind, n]) => `${number(n)} ${kind.replaceAll("_", " ")}`).join(", ");
  await change(id, {
    ...(ids.length > CHECKED_MAX ? { title: `Check ${several(ids.length)}?`, text: "The check fetches provision.check_url through each of them, 20 at a time.", yes: "Check" } : {}),
    act: async () => {
      for (let at = 0; at < ids.length; at += CHECKED_MAX) {
        outcome(id, `checking ${several(ids.length)}: ${text() || "the first results come soon"}`);
        for (const one of (await post("/api/ips/check", { ids: ids.slice(at, at + CHECKED_MAX) })).items) {
          counts.set(one.kind, (counts.get(one.kind) ?? 0) + 1);
          if (one.message) said.push(`${one.ip}: ${one.message}`);
          else if (ids.length === 1) said.push(`${one.ip}: ${ms(one.ms)}${one.exit_ip ? `, exit address ${one.exit_ip}` : ""}`);
        }
      }
    },
    done: () => [`checked ${several(ids.length)}: ${text() || "none is left"}`, ...said.slice(0, NAMED_MAX)].join("; "),
  });
}
