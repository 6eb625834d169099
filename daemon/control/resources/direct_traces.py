"""A trace now, for a program that waits for its end: through an IP of the pool, or through the program's own proxy.

The dispatcher treats a direct trace as it treats a click: the same priority, deadline and row. No hit is recorded,
because no visitor is redirected.
"""

from collections.abc import Callable
from typing import Annotated, NotRequired
from urllib.parse import quote
from uuid import UUID

from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_request, validate_response
from typing_extensions import TypedDict

from daemon.control.api import GetContext, TracerContext, Url, Word, note_change
from daemon.control.listings import TRACES, read_one
from daemon.control.overview import Overview
from daemon.control.problems import ProblemRaised
from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import Params
from daemon.offers.macros import template_of, tracking_url
from daemon.offers.values import OwnTracer
from daemon.settings.model import Settings
from daemon.trace.dispatch import JobRequest
from daemon.trace.jobs import Finished, TraceTotals
from daemon.trace.leases import ANSWER_LATE_S
from daemon.trace.service_shape import MODE, Header, TraceAnswer, TraceRequest
from daemon.web.query import PARAMS_MAX, Inbound, Param, extracted_params

COUNTRY = "us"  # of a request that names none
END_MARGIN_S = 2.0  # how long the last steps of a trace take beyond trace.timeout_s
ParamName = Annotated[str, Field(max_length=8_192)]
ParamValue = Annotated[str, Field(max_length=8_192)]
ParamValues = ParamValue | Annotated[list[ParamValue], Field(max_length=100)]


@dataclass(frozen=True, slots=True)
class ParallelRequest:
    """`offer_id`: an offer's id, or its name. The settings of an offer that is served apply to the trace.

    The macros of `tracking_url` take the values of `inbound_params`. An optional field that is null counts as left
    out; `target_country` is then us, and `tracer` that of the offer, else trace.tracer.
    """

    request_id: UUID
    offer_id: Word
    tracking_url: Url
    target_country: Word | None = None
    inbound_params: Annotated[dict[ParamName, ParamValues], Field(max_length=PARAMS_MAX)] | None = None
    referrer: Header | None = None
    tracer: OwnTracer | None = None

    @property
    def params(self) -> Params:
        return dict(self.inbound_params or {})


class ParallelAnswer(TypedDict):
    """`all_params`: the request's parameters, and those of the landing URL with other names.

    `bandwidth_kb`: received and sent; 1 KB is 1,000 bytes. Without success there is an `error`.
    """

    success: bool
    request_id: UUID
    final_url: str | None
    extracted_params: dict[str, str | list[str]]
    all_params: dict[str, str | list[str]]
    trace_time_ms: int
    ip_used: str
    mode_used: str
    bandwidth_kb: float
    error: NotRequired[str]


class NoIp(TypedDict):
    """The country has no IP, none became available in time, or as many requests wait as may."""

    success: bool
    error: str


class DirectTraces:
    """`under_way`: the ids of the traces that a program waits for."""

    def __init__(self) -> None:
        self.under_way: set[UUID] = set()

    async def trace(
        self, request: ParallelRequest, overview: Overview, database: Database, settings: Settings
    ) -> Finished:
        """The end of the trace; `reason` is that of a click's fallback, `totals` is None where the trace had no IP.

        Raises BadInput for a URL that no offer may have, ProblemRaised (409) where the id has a trace already.
        """
        url = tracking_url(request.tracking_url, allow_private=settings.trace.allow_private)
        if request.request_id in self.under_way:
            raise _has_a_trace(request.request_id)
        self.under_way.add(request.request_id)  # before the database is read: two requests may come at once
        try:
            if await _is_recorded(database, request.request_id):
                raise _has_a_trace(request.request_id)
            return await _traced(request, url, overview, settings)
        finally:
            self.under_way.remove(request.request_id)


async def _traced(request: ParallelRequest, url: str, overview: Overview, settings: Settings) -> Finished:
    now, offer = overview.now(), overview.clicks.offers.known(request.offer_id)
    job = JobRequest(
        request_id=request.request_id,
        tracking_url=_expanded(url, request),
        country=request.target_country or COUNTRY,
        asked=now,
        inbound=request.params,
        offer=offer,
        offer_id=None if offer else _id_in(request.offer_id),
        referrer=request.referrer,
        tracer=request.tracer,
    )
    accepted = overview.dispatcher.dispatch(job)
    if isinstance(accepted, str):
        return Finished(None, accepted)
    with accepted:
        ended = await accepted.finished(accepted.deadline_s + ANSWER_LATE_S)
        if ended is None and accepted.ip is not None:
            ended = await accepted.finished(accepted.deadline_s + settings.trace.timeout_s + END_MARGIN_S)
    if ended is not None:
        return ended
    if accepted.ip is None:
        return Finished(None, accepted.reason)
    ms = (overview.now().tick_s - now.tick_s) * 1000
    return Finished(None, "trace_failed", TraceTotals(accepted.ip, ms, 0, 0, "the trace did not end in time"))


def _has_a_trace(request_id: UUID) -> ProblemRaised:
    return ProblemRaised(409, f"request_id {request_id} has a trace already: each trace needs an id of its own")


async def _is_recorded(database: Database, request_id: UUID) -> bool:
    """False while PostgreSQL is away: the trace is done all the same."""
    try:
        return await database.work(read_one, TRACES, request_id) is not None
    except DatabaseUnavailable:
        return False


def _id_in(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _expanded(url: str, request: ParallelRequest) -> str:
    """The URL with its macros filled in, as for a click with these parameters."""
    template = template_of(url)
    if template is None:
        return url
    params = [
        Param(name, value, f"{quote(name, safe='')}={quote(value, safe='')}")
        for name, values in request.params.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return template.expanded(Inbound(request.offer_id, tuple(params)), request.request_id)


def parallel_routes(context: GetContext) -> Blueprint:
    routes, traces = Blueprint("parallel", __name__), DirectTraces()

    @routes.post("/functions/v1/process-trace-parallel")
    @validate_request(ParallelRequest)
    @validate_response(ParallelAnswer)
    @validate_response(NoIp, 503)
    async def process_trace_parallel(data: ParallelRequest) -> ParallelAnswer | tuple[NoIp, int]:
        """Trace a URL now, through an IP of the country's pool, and wait for the end.

        The trace waits for an IP as long as a click does. A trace that fails is a 200 with `success: false`. 409: the
        id has a trace already.
        """
        here = context()
        ended = await traces.trace(data, here.overview, here.database, here.settings())
        totals = ended.totals
        note_change(request_id=str(data.request_id), offer=data.offer_id, reason=ended.reason, ip=totals and totals.ip)
        if totals is None:
            why = "Too many requests wait" if ended.reason == "overload" else "No available IP"
            return NoIp(success=False, error=why), 503
        extracted = extracted_params(ended.final_url) if ended.final_url else {}
        answer = ParallelAnswer(
            success=ended.final_url is not None,
            request_id=data.request_id,
            final_url=ended.final_url,
            extracted_params=extracted,
            all_params={**data.params, **{name: extracted[name] for name in extracted if name not in data.params}},
            trace_time_ms=round(totals.ms),
            ip_used=totals.ip,
            mode_used=MODE,
            bandwidth_kb=round((totals.bytes_received + totals.bytes_sent) / 1000, 2),
        )
        return answer if totals.error is None else {**answer, "error": totals.error}

    return routes


def trace_for_others_routes(context: Callable[[], TracerContext]) -> Blueprint:
    routes = Blueprint("trace_for_others", __name__)

    @routes.post("/trace")
    @validate_request(TraceRequest)
    @validate_response(TraceAnswer)
    async def trace(data: TraceRequest) -> TraceAnswer:
        """Trace a URL through the proxy that the request names.

        A trace that fails is a 200 with `success: false`. 409: the proxy serves another trace, or is an IP of this
        daemon's own pool; 503: trace.workers traces are under way.
        """
        answer = await context().traces.trace(data)
        note_change(
            proxy=f"{data.proxy_ip}:{data.proxy_port}",
            hops=answer.total_steps,
            verdict=answer.verdict,
            reason=answer.reason,
            trace_ms=answer.total_timing_ms,
            bytes_received=answer.bytes_received,
        )
        return answer

    return routes
