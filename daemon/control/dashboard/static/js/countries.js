// Pools by country: a bar of states, the use against its target band, and when the pool runs dry.

import { duration, number, percentage, tag } from "./dom.js";
import { lead, NO_IPS } from "./first_run.js";
import { made, strip, Table } from "./table.js";

export const STATES = ["available", "locked", "cooldown", "failed"];
const BAND = [50, 80];

function bar(item) {
  const { name, c } = item;
  const total = c.total || 1;
  const rectangles = [];
  let x = 0;
  for (const state of STATES) {
    const width = (100 * c[state]) / total;
    rectangles.push([`is-${state}`, x, width], [`over-${state}`, x, width]);
    x += width;
  }
  return strip("bar", `${name}: ${c.available} available, ${c.locked} locked, ${c.cooldown} in cooldown, ${c.failed} failed`, rectangles);
}

function use({ c }) {
  const used = c.utilisation_percent;
  return strip("band", `${used} percent in use; ${BAND[0]} to ${BAND[1]} is the target`, [
    ["band-all", 0, 100, { y: 2, height: 6 }],
    ["band-good", BAND[0], BAND[1] - BAND[0], { y: 2, height: 6 }],
    ["band-now", 0, Math.min(100, used), { y: 3.5, height: 3 }],
  ]);
}

function inUse(item) {
  const fragment = document.createDocumentFragment();
  const number = document.createElement("span");
  number.textContent = percentage(item.c.utilisation_percent);
  fragment.append(use(item), number);
  return fragment;
}

function dry({ outlook, c }) {
  if (!c.total) return ["no IPs", "bad"];
  if (outlook?.dry_in_s === 0) return ["dry now", "bad"];
  if (outlook && outlook.dry_in_s !== null) return [`in ${duration(outlook.dry_in_s)}`, "warn"];
  if (c.utilisation_percent > BAND[1]) return ["tight", "warn"];
  return ["holds", "good"];
}

export class Countries {
  constructor() {
    const numbers = STATES.map((state) => (item) => number(item.c[state]));
    this.table = new Table(
      "countries",
      [
        (item) => item.name,
        (item) => made(dry(item).join(), () => tag(...dry(item))),
        (item) => made(item.c.utilisation_percent, () => inUse(item)),
        (item) => made(STATES.map((state) => item.c[state]).join(), () => bar(item)),
        ...numbers,
      ],
      { key: (item) => item.name, empty: () => lead("No IPs yet.", NO_IPS), classes: [null, null, "use"], orders: [(item) => item.name, (item) => item.outlook?.dry_in_s, (item) => item.c.utilisation_percent, null, ...STATES.map((state) => (item) => item.c[state])] },
    );
  }

  status({ countries, outlook }) {
    this.table.show(Object.entries(countries).map(([name, c]) => ({ name, c, outlook: outlook[name] })));
  }
}
