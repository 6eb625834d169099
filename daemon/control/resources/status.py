"""How things stand, what should be done, a maintenance round, and GET /api/events: all of that as it happens."""

from collections.abc import AsyncIterator
from dataclasses import asdict, field
from datetime import UTC, datetime
from typing import Any

import trio
from pydantic.dataclasses import dataclass
from quart import Blueprint, Response, request
from quart_schema import hide, validate_response

from daemon.control.api import ControlContext, GetContext, note_change
from daemon.control.events import WATCHERS_MAX, sse
from daemon.control.problems import ProblemRaised
from daemon.control.status import AdviceStatus, Status
from daemon.maintenance.rounds import Report

BEAT_S = 0.2
STATUS_S = 1.0
STREAM_S_MAX = 900.0
AT_FIRST = b": tracepool\nretry: 2000\n\n"
KEEP_ALIVE = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class AdviceList:
    """The gravest first."""

    items: list[AdviceStatus]


@dataclass(frozen=True, slots=True)
class MaintenanceReport(Report):
    """What a round found and did. `statistics` is the row of ip_pool_statistics that it wrote."""

    advice: tuple[AdviceStatus, ...] = field()


@dataclass(frozen=True, slots=True)
class PoolStats:
    total_ips: int
    available_ips: int
    utilization_percent: float
    active_requests: int
    unhealthy_ips: int


@dataclass(frozen=True, slots=True)
class PoolMaintenance:
    """`timestamp`: when the round had ended."""

    success: bool
    maintenance_completed: bool
    pool_stats: PoolStats
    timestamp: datetime


def status_routes(context: GetContext) -> Blueprint:
    routes = Blueprint("status", __name__)

    @routes.get("/api/status")
    @validate_response(Status)
    async def status() -> dict[str, Any]:
        """How things stand: pools, clicks, queues, journal."""
        return await context().overview.status()

    return routes


def advice_routes(context: GetContext) -> Blueprint:
    routes = Blueprint("advice", __name__)

    @routes.get("/api/advice")
    @validate_response(AdviceList)
    async def advice() -> dict[str, Any]:
        """What should be done, each with its rule and the figures that met it."""
        return {"items": [asdict(advice) for advice in context().overview.advisor.advice()]}

    return routes


def maintenance_routes(context: GetContext) -> Blueprint:
    routes = Blueprint("maintenance", __name__)

    @routes.post("/api/maintenance")
    @validate_response(MaintenanceReport)
    async def round_now() -> MaintenanceReport:
        """A maintenance round now."""
        report = await context().maintenance()
        note_change(timed_out_traces=report.timed_out_traces, removed_traces=report.removed_traces)
        return MaintenanceReport(**report.as_dict())

    @routes.post("/functions/v1/ip-pool-maintenance")
    @validate_response(PoolMaintenance)
    async def ip_pool_maintenance() -> PoolMaintenance:
        """A maintenance round now, told in brief."""
        statistics = (await context().maintenance()).statistics
        stats = PoolStats(
            total_ips=statistics["total_ips"],
            available_ips=statistics["available_ips"],
            utilization_percent=statistics["pool_utilization_percent"],
            active_requests=statistics["active_requests"],
            unhealthy_ips=statistics["failed_ips"],
        )
        return PoolMaintenance(True, True, stats, datetime.now(UTC))

    return routes


def events_routes(context: GetContext) -> Blueprint:
    """GET /api/events, a stream (HTML, 9.2).

    `status` is what GET /api/status says, with `outlook` by country as in GET /api/pools and `in_flight` as in
    GET /api/traces/in-flight; `click` and `trace` are lines of the log; `event` is a notable one, the last 200 first
    (after Last-Event-ID, if that is sent). A stream ends after a while, so that who asks proves again that they may.
    """
    routes = Blueprint("events", __name__)
    pulse = _Pulse()

    @routes.get("/api/events")
    @hide
    async def events() -> Response:
        here = context()
        if here.observers.events.full:
            raise ProblemRaised(
                503, f"{WATCHERS_MAX} clients follow the events already", kind="/problems/busy", title="Busy"
            )
        after = request.headers.get("Last-Event-ID", "")
        stream = _stream(here, pulse, int(after) if after.isdecimal() and len(after) < 16 else 0)
        return Response(stream, content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return routes


async def _stream(context: ControlContext, pulse: "_Pulse", after: int) -> AsyncIterator[bytes]:
    events, began_s, told_s = context.observers.events, trio.current_time(), float("-inf")
    if events.full:  # many came at once
        return
    yield AT_FIRST
    with events.watched(after) as watcher:
        while not context.stopping.is_set() and not watcher.dropped and trio.current_time() < began_s + STREAM_S_MAX:
            piece = watcher.taken()
            if trio.current_time() >= told_s + STATUS_S - BEAT_S / 2:
                told_s = trio.current_time()
                piece += await pulse.status(context) + KEEP_ALIVE
            if piece:
                yield piece
            await trio.sleep(BEAT_S)


class _Pulse:
    """The status as a message, made once a second however many look on."""

    def __init__(self) -> None:
        self._at_s = float("-inf")
        self._message = b""

    async def status(self, context: ControlContext) -> bytes:
        if trio.current_time() >= self._at_s + STATUS_S - BEAT_S:
            self._at_s = trio.current_time()
            self._message = sse("status", await status_message(context))
        return self._message


async def status_message(context: ControlContext) -> dict[str, Any]:
    """The body of a `status` message of GET /api/events."""
    overview, pool = context.overview, context.settings().pool
    depletion = context.observers.depletion(overview, pool.cooldown_s)
    return {
        **await overview.status(),
        "outlook": {country: asdict(one) for country, one in depletion.items()},
        "in_flight": [asdict(flight) for flight in context.observers.flights(overview, pool.lock_s)],
        "deadline_s": context.settings().click.deadline_s,
    }
