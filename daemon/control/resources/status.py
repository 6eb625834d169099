"""The daemon's status and advice, a maintenance round now, and GET /api/events, which the dashboard follows."""

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, field
from datetime import UTC, datetime
from typing import Any

import trio
from pydantic.dataclasses import dataclass
from quart import Blueprint, Response, g, request
from quart_schema import hide, validate_response

from daemon.control.api import ControlContext, GetContext, from_row, note_change
from daemon.control.events import WATCHERS_MAX, sse
from daemon.control.problems import ProblemRaised
from daemon.control.status import AdviceStatus, Status
from daemon.maintenance.first_run import FirstRun
from daemon.maintenance.rounds import Report

BEAT_S = 0.2
STATUS_S = 1.0
STREAM_S_MAX = 900.0
STREAM_START = b": tracepool\nretry: 2000\n\n"
KEEP_ALIVE = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class AdviceList:
    """The most severe first. `first_run`: the first steps of a new installation, as in GET /api/status."""

    items: list[AdviceStatus]
    first_run: FirstRun | None


@dataclass(frozen=True, slots=True)
class MaintenanceReport(Report):
    """What a round found and did. `statistics` is the row of ip_pool_statistics that the round wrote."""

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
    """`timestamp`: when the round ended."""

    success: bool
    maintenance_completed: bool
    pool_stats: PoolStats
    timestamp: datetime


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("status", __name__)
    _add_events(routes, context)

    @routes.get("/api/status")
    @validate_response(Status)
    async def status() -> dict[str, Any]:
        """The status of pools, clicks, queues and journal."""
        return await context().overview.status()

    @routes.get("/api/advice")
    @validate_response(AdviceList)
    async def advice() -> dict[str, Any]:
        """What should be done: each advice with its rule and the figures that met the rule."""
        advisor = context().overview.advisor
        steps = advisor.first_run()
        return {"items": [*map(asdict, advisor.advice())], "first_run": None if steps is None else asdict(steps)}

    @routes.post("/api/maintenance")
    @validate_response(MaintenanceReport)
    async def run_maintenance() -> MaintenanceReport:
        """Run a maintenance round now."""
        report = await context().maintenance()
        note_change(timed_out_traces=report.timed_out_traces, removed_rows=report.removed_rows)
        return MaintenanceReport(**report.as_dict())

    @routes.post("/functions/v1/ip-pool-maintenance")
    @validate_response(PoolMaintenance)
    async def ip_pool_maintenance() -> PoolMaintenance:
        """Run a maintenance round now; a short answer."""
        statistics = (await context().maintenance()).statistics
        percent, unhealthy = statistics["pool_utilization_percent"], statistics["failed_ips"]
        stats = from_row(PoolStats, statistics, utilization_percent=percent, unhealthy_ips=unhealthy)
        return PoolMaintenance(True, True, stats, datetime.now(UTC))

    return routes


def _add_events(routes: Blueprint, context: GetContext) -> None:
    """GET /api/events, a stream of server-sent events (HTML, 9.2).

    `status` is the answer of GET /api/status, with `outlook` by country as in GET /api/pools and `in_flight` as in
    GET /api/traces/in-flight; `click` and `trace` are log lines; `event` is a notable log line, the last 200 first
    (those after Last-Event-ID, if the client sends that header). A stream ends within a second after its token is
    revoked, and after STREAM_S_MAX.
    """
    cache = _StatusCache()

    @routes.get("/api/events")
    @hide
    async def events() -> Response:
        here = context()
        if here.observers.events.full:
            why = f"{WATCHERS_MAX} clients follow the events already"
            raise ProblemRaised(503, why, kind="/problems/busy", title="Busy")
        after = request.headers.get("Last-Event-ID", "")
        stream = _stream(here, cache, g.is_admitted, int(after) if after.isdecimal() and len(after) < 16 else 0)
        return Response(stream, content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _stream(
    context: ControlContext, cache: "_StatusCache", is_admitted: Callable[[], bool], after: int
) -> AsyncIterator[bytes]:
    events, began_s, sent_s = context.observers.events, trio.current_time(), float("-inf")
    if events.full:  # other streams have begun since the handler checked
        return
    yield STREAM_START
    with events.watched(after) as watcher:
        while not context.stopping.is_set() and not watcher.dropped and trio.current_time() < began_s + STREAM_S_MAX:
            piece = watcher.taken()
            if trio.current_time() >= sent_s + STATUS_S - BEAT_S / 2:
                if not is_admitted():
                    return
                sent_s = trio.current_time()
                piece += await cache.status(context) + KEEP_ALIVE
            if piece:
                yield piece
            await trio.sleep(BEAT_S)


class _StatusCache:
    """The `status` message, made once a second however many clients follow the events."""

    def __init__(self) -> None:
        self._made_s = float("-inf")
        self._message = b""

    async def status(self, context: ControlContext) -> bytes:
        if trio.current_time() >= self._made_s + STATUS_S - BEAT_S:
            self._made_s = trio.current_time()
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
