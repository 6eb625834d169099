"""Traces of the batch lane: new ones, those that wait, and their cancellation."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_request, validate_response

from daemon.control.actions import queued
from daemon.control.api import STRICT, ControlContext, Flag, GetContext, Url, Word, note_change
from daemon.control.problems import ProblemRaised
from daemon.errors import BadInput
from daemon.offers.macros import tracking_url
from daemon.trace import batch_rows
from daemon.trace.batch_queue import WaitingTraces


@dataclass(frozen=True, slots=True, config=STRICT)
class TracesNew:
    """URLs to trace through the IPs of a country.

    `now`: as soon as an IP is free, ahead of pool.batch_below_percent. `timeout_s`: a trace that has not ended by then
    is given up.
    """

    urls: Annotated[list[Url], Field(min_length=1, max_length=10_000)]
    country: Word = "us"
    now: Flag = False
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class TracesCancel:
    """Either `request_ids`, or all traces of `country` that wait or run."""

    request_ids: Annotated[list[UUID], Field(min_length=1, max_length=10_000)] | None = None
    country: Word | None = None


@dataclass(frozen=True, slots=True)
class TracesCancelled:
    """How many traces were cancelled. One that has an IP ends within a second or two, and its IP rests as usual."""

    cancelled: int


@dataclass(frozen=True, slots=True)
class WaitingList:
    """By country."""

    items: list[WaitingTraces]


@dataclass(frozen=True, slots=True)
class TracesQueued:
    """The traces' ids, in the order of the URLs; GET /api/traces/ID shows each one's state."""

    request_ids: list[UUID]


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("batch_traces", __name__)

    @routes.post("/api/traces")
    @validate_request(TracesNew)
    @validate_response(TracesQueued, 202)
    async def queue_traces(data: TracesNew) -> tuple[TracesQueued, int]:
        """Trace URLs at low priority: they wait while the country's pool is above pool.batch_below_percent.

        With `now` they wait for a free IP only. GET /api/traces/waiting says why they wait.
        """
        private = context().settings().trace.allow_private
        urls = [tracking_url(url, allow_private=private) for url in data.urls]
        add = partial(batch_rows.add_traces, now=data.now, timeout_s=data.timeout_s)
        ids = await context().database.work(add, urls, data.country)
        done = queued(data.urls, data.country)
        note_change(done.subject, **done.detail)
        return TracesQueued(ids), 202

    @routes.get("/api/traces/waiting")
    @validate_response(WaitingList)
    async def waiting() -> WaitingList:
        """The traces of POST /api/traces and `tracepool trace` that have not ended, and why they wait."""
        return WaitingList(context().overview.traces_waiting())

    @routes.post("/api/traces/cancel")
    @validate_request(TracesCancel)
    @validate_response(TracesCancelled)
    async def cancel_traces(data: TracesCancel) -> TracesCancelled:
        """Cancel traces that wait or run; those of clicks go on."""
        if (data.request_ids is None) == (data.country is None):
            raise BadInput("give either request_ids or country")
        cancelled = await cancelled_by(context(), ids=data.request_ids, country=data.country)
        note_change(traces=cancelled, country=data.country)
        return TracesCancelled(cancelled)

    @routes.delete("/api/traces/<uuid:request_id>")
    @validate_response(TracesCancelled)
    async def cancel_trace(request_id: UUID) -> TracesCancelled:
        """Cancel a trace that waits or runs."""
        if not await cancelled_by(context(), ids=[request_id]):
            raise ProblemRaised(404, f"no trace with the id {request_id} waits or runs, or it is the trace of a click")
        note_change(str(request_id))
        return TracesCancelled(1)

    return routes


async def cancelled_by(here: ControlContext, **which: Any) -> int:
    cancelling = partial(batch_rows.cancel_traces, **which)
    return await here.database.work(cancelling, "cancelled by an operator (/api/traces)")
