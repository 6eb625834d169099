// The disk: what the tables and the spool take, and for how many days the rest is enough.

import { $, bytes, duration, h, number, setText, tag } from "./dom.js";
import { made, strip, Table } from "./table.js";

const DAY_S = 86400;
const SOON_DAYS = 14;
const NOW_DAYS = 3;

function daysLeft({ days_left: days, bytes_per_day: rate, free_bytes: free }) {
  if (free === null) return "unknown: the disk cannot be read";
  if (rate === null) return "known after ten minutes";
  if (days === null) return tag("enough: old rows are removed first", "good");
  return tag(days < 2 ? duration(days * DAY_S) : `${number(days)} days`, days < NOW_DAYS ? "bad" : days < SOON_DAYS ? "warn" : "good");
}

export class Disk {
  constructor() {
    this.total = 1;
    const size = (table) => {
      const share = (100 * table.bytes) / this.total;
      return made(`${table.bytes} ${this.total}`, () => h("span", { class: "left" }, strip("", `${number(share)} percent of the database`, [["left-all", 0, 100], ["left-now", 0, share]]), bytes(table.bytes)));
    };
    this.table = new Table(
      "disk-tables",
      [(table) => table.name, size, (table) => number(table.rows), (table) => bytes(table.bytes_per_day), (table) => (table.days_kept === null ? "for ever" : `${number(table.days_kept)} days`)],
      { key: (table) => table.name, empty: "No tables are measured yet.", orders: [(table) => table.name, (table) => table.bytes, (table) => table.rows, (table) => table.bytes_per_day, (table) => table.days_kept] },
    );
  }

  status({ disk }) {
    $("disk").hidden = !disk;
    const mark = JSON.stringify(disk);
    if (!disk || mark === this.mark) return;
    this.mark = mark;
    this.total = disk.database_bytes || 1;
    const facts = [
      ["Days left at this rate", daysLeft(disk)],
      ["Free on the disk", bytes(disk.free_bytes)],
      [disk.holds_database ? "Database, on this disk" : "Database, on another disk", bytes(disk.database_bytes)],
      ["Grows by", disk.bytes_per_day === null ? "–" : `${bytes(disk.bytes_per_day)} a day`],
      ["Spool", `${bytes(disk.spool_bytes)} of at most ${bytes(disk.spool_bytes_max)}`],
    ];
    $("disk-facts").replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    const removing = (disk.removing ?? []).map(({ table, rows_left: rows }) => `${number(rows)} old rows of ${table} are being removed`);
    const building = (disk.building ?? []).map((name) => `the index ${name} is being built`);
    setText($("disk-work"), [...removing, ...building].join("; "));
    this.table.show(disk.tables);
  }
}
