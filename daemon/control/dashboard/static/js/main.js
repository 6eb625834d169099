// The page: asks for a token if one is required, follows the events, and passes data to the panels.

import { follow, get, token, ApiError } from "./api.js";
import { Cells } from "./cells.js";
import { Charts } from "./charts.js";
import { Countries } from "./countries.js";
import { $, announce } from "./dom.js";
import { Events, Overview } from "./health.js";
import { AllIps, Unhealthy } from "./ips.js";
import { Nodes } from "./nodes.js";
import { InFlight, RecentTraces } from "./traces.js";
import { Traffic } from "./traffic.js";

const RETRY_MS = 2000;
const SLOW_MS = 15000; // how often panels with slow data are loaded

const panels = {};
let lastEvent = 0;

function build() {
  panels.nodes = new Nodes();
  panels.overview = new Overview();
  panels.countries = new Countries();
  panels.cells = new Cells();
  panels.charts = new Charts(() => panels.nodes.chosen);
  panels.nodes.onChoice = () => panels.charts.refresh();
  panels.flights = new InFlight();
  panels.traces = new RecentTraces();
  panels.unhealthy = new Unhealthy();
  panels.ips = new AllIps();
  panels.traffic = new Traffic();
  panels.events = new Events();
}

async function showStatus(body) {
  live("on", "live");
  const status = await panels.nodes.shown(body);
  for (const panel of Object.values(panels)) panel.status?.(status);
}

function receive(kind, body) {
  if (kind === "status") {
    showStatus(body);
  } else if (kind === "event") {
    lastEvent = body.id;
    panels.events.add(body);
    if (body.event === "ips_unhealthy" || body.event === "ips_adopted") panels.unhealthy.load();
  } else if (kind === "trace") {
    panels.traces.happened();
  }
}

function live(state, text) {
  const before = $("live").dataset.state;
  $("live").dataset.state = state;
  $("live-text").textContent = text;
  if (before === "lost" && state === "on") announce("Live again");
  if (before === "on" && state === "lost") announce(`Not live: ${text}`);
}

async function signedIn() {
  for (;;) {
    try {
      await get("/api/status");
      return;
    } catch (trouble) {
      if (trouble.status !== 401 && trouble.status !== 403) {
        live("lost", trouble.message);
        await new Promise((done) => setTimeout(done, RETRY_MS));
      } else {
        await ask(token.get() ? trouble.message : "");
      }
    }
  }
}

function ask(why) {
  live("wait", "a token is required");
  token.set(null);
  $("login").hidden = false;
  $("login-trouble").textContent = why;
  $("token").focus();
  return new Promise((done) => {
    $("login").onsubmit = (event) => {
      event.preventDefault();
      token.set($("token").value.trim());
      $("token").value = "";
      $("login").hidden = true;
      done();
    };
  });
}

function loadSlow() {
  if (document.hidden) return;
  for (const panel of Object.values(panels)) panel.load?.();
}

async function main() {
  await signedIn();
  $("main").classList.remove("empty");
  build();
  loadSlow();
  setInterval(loadSlow, SLOW_MS);
  for (;;) {
    try {
      await follow(lastEvent, receive);
    } catch (trouble) {
      if (!(trouble instanceof ApiError)) throw trouble;
      live("lost", trouble.message);
      if (trouble.status === 401) await signedIn();
    }
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
}

main();
