// The page: follows the events, and passes data to the panels.

import { Actions } from "./actions.js";
import { follow, ApiError } from "./api.js";
import { Cells } from "./cells.js";
import { Charts } from "./charts.js";
import { Connection } from "./connection.js";
import { Countries } from "./countries.js";
import { Disk } from "./disk.js";
import { $, announce, setZone, zone, zoneName } from "./dom.js";
import { Clicks } from "./find.js";
import { FirstRun } from "./first_run.js";
import { Events, Overview } from "./health.js";
import "./ip_form.js";
import { AllIps, Unhealthy } from "./ips.js";
import { Nodes } from "./nodes.js";
import { Offers } from "./offers.js";
import { Reports } from "./reports.js";
import { Search } from "./search.js";
import { signedIn } from "./session.js";
import { Tester } from "./tester.js";
import { Tokens } from "./tokens.js";
import { InFlight, RecentTraces } from "./traces.js";
import { Traffic } from "./traffic.js";

const SLOW_MS = 15000; // how often panels with slow data are loaded
const RELOADED = "tracepool-reloaded-for";

const connection = new Connection();
const panels = {};
let lastEvent = 0;

/** A panel's `status(body)` is called each second, its `load()` each SLOW_MS. */
function build() {
  panels.nodes = new Nodes();
  panels.firstRun = new FirstRun();
  panels.overview = new Overview();
  panels.disk = new Disk();
  panels.clicks = new Clicks();
  panels.offers = new Offers(panels.clicks);
  panels.tester = new Tester();
  panels.reports = new Reports();
  panels.search = new Search(panels.clicks, panels.offers);
  panels.countries = new Countries();
  panels.cells = new Cells();
  panels.charts = new Charts(() => panels.nodes.chosen);
  panels.nodes.onChoice = () => panels.charts.refresh();
  panels.flights = new InFlight();
  panels.traces = new RecentTraces();
  panels.unhealthy = new Unhealthy();
  panels.ips = new AllIps();
  panels.traffic = new Traffic();
  panels.actions = new Actions();
  panels.tokens = new Tokens();
  panels.events = new Events();
  delete document.documentElement.dataset.sifted; // no table has rows of the server any more
}

async function showStatus(body) {
  if (isOfAnotherVersion(body.version)) return;
  $("main").classList.remove("empty");
  const status = await panels.nodes.shown(body);
  for (const panel of Object.values(panels)) panel.status?.(status);
}

/** After an upgrade of the daemon the page is loaded again, once, when no dialog is open. */
function isOfAnotherVersion(version) {
  if (version === document.documentElement.dataset.version || document.querySelector("dialog[open]")) return false;
  if (sessionStorage.getItem(RELOADED) === version) return false;
  sessionStorage.setItem(RELOADED, version);
  location.reload();
  return true;
}

function receive(kind, body) {
  if (kind === "status") {
    const wasLost = connection.state === "lost";
    connection.heard();
    showStatus(body);
    if (wasLost) loadSlow();
  } else if (kind === "event") {
    lastEvent = body.id;
    panels.events.add(body);
    if (body.event === "ips_unhealthy" || body.event === "ips_adopted") panels.unhealthy.load();
  } else if (kind === "trace") {
    panels.traces.happened();
  } else if (kind === "click") {
    panels.clicks.happened();
  }
}

function loadSlow() {
  if (document.hidden || connection.state === "lost") return;
  for (const panel of Object.values(panels)) panel.load?.();
}

function chooseZone() {
  const choice = $("zone-choice");
  choice.options[0].textContent = `local (${Intl.DateTimeFormat().resolvedOptions().timeZone ?? "this browser"})`;
  choice.value = zone();
  choice.addEventListener("change", () => {
    setZone(choice.value);
    announce(`Times in ${zoneName()}`);
  });
}

async function main() {
  chooseZone();
  document.addEventListener("unauthorized", () => signedIn(connection));
  await signedIn(connection);
  build();
  loadSlow();
  setInterval(loadSlow, SLOW_MS);
  document.addEventListener("visibilitychange", loadSlow);
  for (;;) {
    try {
      await follow(lastEvent, receive, connection.begin());
      if (connection.isYoung) await connection.pause();
    } catch (trouble) {
      if (!(trouble instanceof ApiError)) throw trouble;
      if (trouble.status !== 401) {
        connection.lost(trouble.message, trouble.status > 0);
        await connection.pause();
      }
      await signedIn(connection);
      loadSlow();
    }
  }
}

main();
