"""Traces and clicks: the rows of the last days, and the traces in flight."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_response

from daemon.control.api import Cursor, GetContext, Limit, Time, Url, Word, add_list, from_row
from daemon.control.listings import HITS, TRACES
from daemon.control.observers import Flight
from daemon.control.problems import ProblemRaised
from daemon.journal.entries import HitKind
from daemon.logbook.clicks import read_click

UNKNOWN: dict[str, Any] = {  # of a hop
    "status": None, "kind": "", "tier": None, "why": None, "cookies": None,
    "ms": 0.0, "bytes_received": 0, "bytes_sent": 0,
}  # fmt: skip
Status = Literal["pending", "processing", "completed", "failed", "timeout"]
Sort = Literal["-created", "created", "-trace_ms", "trace_ms", "-wait_ms", "wait_ms", "-bytes", "bytes"]


@dataclass(frozen=True, slots=True)
class TracesQuery:
    """`batch`: true for traces of the batch lane. Times: RFC 3339 with a zone."""

    offer: Word | None = None
    status: Status | None = None
    ip: Word | None = None
    country: Word | None = None
    batch: bool | None = None
    since: Time | None = None
    until: Time | None = None
    sort: Sort = "-created"
    cursor: Cursor | None = None
    limit: Limit = 50


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A row of active_trace_requests, without its redirect chain. `cost` in US dollars; null without an IP."""

    request_id: UUID
    offer_name: str | None
    tracking_url: str
    target_country: str
    ip_assigned: str | None
    status: str
    created_at: datetime
    completed_at: datetime | None
    final_url: str | None
    error_message: str | None
    wait_time_ms: int | None
    trace_time_ms: int | None
    total_time_ms: int | None
    retry_count: int
    bytes_received: int
    bytes_sent: int
    cost: float | None
    priority: int


@dataclass(frozen=True, slots=True)
class TraceHop:
    """One request of the redirect chain. `kind`: how the chain went on from there. `cookies`: how many were kept then.

    `tier`: what found that out, `markup`, `engine` or `browser`. `why`: why a page is `script_unresolved`.
    """

    url: str
    status: int | None
    kind: str
    tier: str | None
    why: str | None
    cookies: int | None
    ms: float
    bytes_received: int
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """The answer that the trace's visitor got."""

    outcome: str
    reason: str | None
    location: str
    wait_ms: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TraceDetail:
    """One trace with its hops and its click; `answer` is null if no visitor waited, or one still waits."""

    trace: TraceRow
    hops: list[TraceHop]
    inbound_params: dict[str, str | list[str]]
    extracted_params: dict[str, str | list[str]]
    answer: TraceAnswer | None


@dataclass(frozen=True, slots=True)
class FlightList:
    """`total`: the traces that have an IP. `items`: at most 200 of them, the oldest first."""

    total: int
    items: list[Flight]


@dataclass(frozen=True, slots=True)
class HitsFilter:
    """What lists and exports of hits have in common; see HitsQuery."""

    offer: Word | None = None
    outcome: Literal["resolved", "fallback", "background"] | None = None
    kind: HitKind | None = None
    reason: Word | None = None
    country: Word | None = None
    visitor: Word | None = None
    click_id: Url | None = None
    since: Time | None = None
    until: Time | None = None


@dataclass(frozen=True, slots=True)
class HitsQuery(HitsFilter):
    """`reason`: of a fallback. `kind`: repeats and previews used no IP. Times: RFC 3339 with a zone.

    `click_id`: the value of gclid or another click id.
    """

    sort: Literal["-created", "created", "-wait_ms", "wait_ms"] = "-created"
    cursor: Cursor | None = None
    limit: Limit = 50


@dataclass(frozen=True, slots=True)
class HitRow:
    """A row of hits. `country`: whose IPs were to trace the click."""

    request_id: UUID
    offer_name: str
    outcome: str
    reason: str | None
    location: str
    visitor_address: str | None
    user_agent: str | None
    referrer: str | None
    wait_ms: int
    created_at: datetime
    kind: HitKind
    click_id: str | None
    country: str | None


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("traces", __name__)
    summary = "The traces of the last days, the newest first."
    add_list(routes, context, "list_traces", "/api/traces", TRACES, TracesQuery, TraceRow, summary=summary)

    @routes.get("/api/traces/<uuid:request_id>")
    @validate_response(TraceDetail)
    async def show_trace(request_id: UUID) -> TraceDetail:
        """One trace with its hops."""
        row, hit = await context().database.work(read_click, request_id)
        if row is None:
            raise ProblemRaised(404, f"no trace has the id {request_id}: its row may be older than the retention")
        return TraceDetail(
            trace=from_row(TraceRow, row),
            hops=[from_row(TraceHop, UNKNOWN | hop) for hop in row["redirect_chain"] or ()],
            inbound_params=row["inbound_params"] or {},
            extracted_params=row["extracted_params"] or {},
            answer=None if hit is None else from_row(TraceAnswer, hit),
        )

    @routes.get("/api/traces/in-flight")
    @validate_response(FlightList)
    async def in_flight() -> FlightList:
        """The traces in flight, each with the time it has left."""
        here = context()
        flights = here.observers.flights(here.overview, here.settings().pool.lock_s)
        return FlightList(here.overview.tracer.active, flights)

    summary = "The answered clicks, the newest first."
    add_list(routes, context, "list_hits", "/api/hits", HITS, HitsQuery, HitRow, summary=summary)

    return routes
