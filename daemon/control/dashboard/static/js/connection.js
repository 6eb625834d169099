// The connection to the daemon. Without it: a banner, dimmed panels, the age of the figures, another title and icon.

import { $, announce, duration, setText, when } from "./dom.js";

const SILENT_MS = 8000; // the daemon sends its status each second
const RETRY_MS = 2000;
const TITLE = document.title;
const ICON = $("icon").href;
const LOST_ICON =
  "data:image/svg+xml," +
  encodeURIComponent('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#c2334d"/><path d="M9 9l14 14M23 9L9 23" stroke="#fff" stroke-width="4" stroke-linecap="round"/></svg>');

export class Connection {
  constructor() {
    this.state = "wait";
    this.heardAt = performance.timeOrigin; // the page itself has figures
    this.why = "";
    this.stream = null; // aborts the stream
    this.wake = () => {};
    $("banner-retry").addEventListener("click", () => this.again());
    addEventListener("online", () => this.again());
    document.addEventListener("visibilitychange", () => !document.hidden && this.check());
    setInterval(() => this.check(), 1000);
  }

  /** A signal for a new stream, which is aborted when the daemon is silent. */
  begin() {
    this.stream = new AbortController();
    this.beganAt = Date.now();
    return this.stream.signal;
  }

  /** Whether the stream began a moment ago: one that ends then would be asked for in a tight loop. */
  get isYoung() {
    return Date.now() - this.beganAt < RETRY_MS;
  }

  heard() {
    this.heardAt = Date.now();
    if (this.state !== "live") this.turn("live");
  }

  /** `answered`: the daemon, or a proxy before it, answers, but with an error: it starts, for example. */
  lost(why, answered = false) {
    Object.assign(this, { why, head: answered ? "No figures" : "No connection" });
    this.turn("lost");
    this.age();
  }

  waits() {
    this.turn("wait");
  }

  /** Also after the machine has slept: its clock has gone on, its timers have not. */
  check() {
    if (this.state === "lost") this.age();
    const silent_ms = Date.now() - Math.max(this.heardAt, this.beganAt ?? 0);
    if (this.stream && silent_ms > SILENT_MS) {
      this.lost(`the daemon sends nothing`);
      this.stream.abort();
      this.stream = null;
    }
  }

  again() {
    this.wake();
    if (this.state === "lost") this.stream?.abort();
  }

  /** Until the next try. */
  pause() {
    return new Promise((done) => {
      const timer = setTimeout(done, RETRY_MS);
      this.wake = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  turn(state) {
    const before = this.state;
    this.state = state;
    document.documentElement.dataset.live = state;
    const isLost = state === "lost";
    $("live").dataset.state = { live: "on", lost: "lost", wait: "wait" }[state];
    setText($("live-text"), { live: "live", lost: this.head?.toLowerCase(), wait: "not signed in" }[state]);
    $("banner").hidden = !isLost;
    document.title = isLost ? `✕ ${this.head} – ${TITLE}` : TITLE;
    const icon = isLost ? LOST_ICON : ICON;
    if ($("icon").href !== icon) {
      $("icon").type = "image/svg+xml";
      $("icon").href = icon;
    }
    if (isLost) setText($("banner-text"), `${this.head}: ${this.why}. This page tries again every ${RETRY_MS / 1000} s.`);
    if (before === "lost" && state === "live") announce("Connected again");
  }

  age() {
    const age = $("main").classList.contains("empty") ? "" : `The figures below are from ${when(new Date(this.heardAt))}, ${duration(Math.max(0, Date.now() - this.heardAt) / 1000)} ago.`;
    setText($("banner-age"), age);
  }
}
