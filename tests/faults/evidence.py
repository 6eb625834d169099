"""Gathers the history of a scene, and writes it to files for the analysis of a breach."""

import json
import time
from dataclasses import asdict, replace
from typing import Any

import trio

from tests.fakes.events import read_log
from tests.faults.checker import judge
from tests.faults.records import Breach, History, HitRow, Intervals, Rules, TraceRow, within
from tests.faults.scene import NETWORK_LOG, Scene

ROWS_WITHIN_S = 10.0
"""All rows must be there this soon after the last click or after PostgreSQL is back."""
LOOK_EVERY_S = 0.25
OF_PROXIES = ("overlap", "cooldown", "moved")
"""Kinds of breach that no later row puts right."""
SHOWN_MAX = 3

HITS = "select request_id::text, outcome, reason, location from hits"
TRACES = """select request_id::text, status, ip_assigned, extract(epoch from started_at)::float8 as started_s,
    extract(epoch from ip_locked_at)::float8 as leased_s, final_url, redirect_chain from active_trace_requests"""


def of_clicks(scene: Scene) -> History:
    """A history with only the answers to the visitors of all daemons."""
    visits = tuple(visit for daemon in scene.daemons for visit in daemon.visitors.visits)
    return History((), visits, tuple(down for daemon in scene.daemons for down in daemon.downs), (), ())


def late_hits(scene: Scene) -> set[str]:
    """Requests that were answered before their hit was durable."""
    clicks = (line for daemon in scene.daemons for line in daemon.log("click"))
    return {line["request_id"] for line in clicks if "hit_is_late" in line}


async def history_of(scene: Scene) -> History:
    return replace(
        of_clicks(scene),
        events=await trio.to_thread.run_sync(lambda: list(read_log(scene.directory / NETWORK_LOG))),
        hits=[HitRow(**row) for row in await scene.sql(HITS)],
        traces=[_trace_row(row) for row in await scene.sql(TRACES)],
    )


def _trace_row(row: dict[str, Any]) -> TraceRow:
    hops = json.loads(row["redirect_chain"] or "[]")
    return TraceRow(
        request_id=row["request_id"],
        status=row["status"],
        address=row["ip_assigned"],
        started_s=row["started_s"],
        leased_s=row["leased_s"],
        final_url=row["final_url"],
        urls=tuple(hop["url"] for hop in hops),
    )


async def judged(scene: Scene, rules: Rules, rows_within_s: float = ROWS_WITHIN_S) -> tuple[History, list[Breach]]:
    """The breaches in a scene whose clicks have ended; missing rows count after `rows_within_s`."""
    ends_s = time.monotonic() + rows_within_s
    while True:
        history = await history_of(scene)
        breaches = await trio.to_thread.run_sync(judge, history, rules)  # the visitors of other lanes go on
        if all(breach.kind in OF_PROXIES for breach in breaches) or time.monotonic() > ends_s:
            return history, breaches
        await trio.sleep(LOOK_EVERY_S)


async def rows_came(scene: Scene, forgotten: Intervals = ()) -> tuple[float, list[Breach]]:
    """Wait for the hits of all clicks answered so far. Returns the wait in seconds, and a breach after ROWS_WITHIN_S.

    Clicks answered before their hit was durable are left to `judged`; clicks that ended within `forgotten` are ignored.
    """
    began_s = time.monotonic()
    kept = (visit for visit in of_clicks(scene).visits if visit.answered and not within(visit.ended_s, forgotten))
    wanted = {visit.request_id for visit in kept} - late_hits(scene)
    while True:
        missing = wanted - {row["request_id"] for row in await scene.sql("select request_id::text from hits")}
        took_s = time.monotonic() - began_s
        if not missing:
            return took_s, []
        if took_s > ROWS_WITHIN_S:
            some = ", ".join(sorted(filter(None, missing))[:SHOWN_MAX])
            return took_s, [Breach("rows late", f"{len(missing)} hits are not there after {took_s:.1f} s: {some}")]
        await trio.sleep(LOOK_EVERY_S)


def write(scene: Scene, history: History, breaches: list[Breach]) -> None:
    """Write answers, rows and breaches as JSON lines beside the logs of the network and the daemon."""
    for name, records in (
        ("visits", history.visits),
        ("downs", history.downs),
        ("hits", history.hits),
        ("traces", history.traces),
        ("breaches", breaches),
    ):
        lines = (json.dumps(asdict(record)) for record in records)
        (scene.directory / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
