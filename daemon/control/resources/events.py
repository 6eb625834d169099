"""GET /api/events: how things stand each second, and clicks, traces and notable events as they happen (HTML, 9.2).

`status` is what GET /api/status says, with `outlook` by country as in GET /api/pools and `in_flight` as in
GET /api/traces/in-flight; `click` and `trace` are lines of the log; `event` is a notable one, the last 200 first (after
Last-Event-ID, if that is sent). A stream ends after a while, so that who asks proves again that they may.
"""

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import trio
from quart import Blueprint, Response, request
from quart_schema import hide

from daemon.control.api import ControlContext, GetContext
from daemon.control.events import WATCHERS_MAX, sse
from daemon.control.problems import ProblemRaised

BEAT_S = 0.2
STATUS_S = 1.0
STREAM_S_MAX = 900.0
AT_FIRST = b": tracepool\nretry: 2000\n\n"
KEEP_ALIVE = b": still here\n\n"


def blueprint(context: GetContext) -> Blueprint:
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
            self._message = sse("status", await standing(context))
        return self._message


async def standing(context: ControlContext) -> dict[str, Any]:
    """What a `status` message says."""
    overview, pool = context.overview, context.settings().pool
    status = await overview.status()
    outlooks = context.observers.depletion(overview, pool.cooldown_s)
    status["outlook"] = {country: asdict(outlook) for country, outlook in outlooks.items()}
    status["in_flight"] = [asdict(flight) for flight in context.observers.flights(overview, pool.lock_s)]
    status["deadline_s"] = context.settings().click.deadline_s
    return status
