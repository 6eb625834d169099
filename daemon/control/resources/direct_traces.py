"""A trace now, for a program that waits for it: through an IP of the pool, or a proxy that the program brings."""

from collections.abc import Callable
from typing import Annotated, NotRequired
from uuid import UUID

from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_request, validate_response
from typing_extensions import TypedDict

from daemon.control.api import GetContext, TracerContext, Url, Word, note_change
from daemon.control.direct_trace import DirectTraceRequest, DirectTraces
from daemon.trace.service_shape import MODE, Header, TraceAnswer, TraceRequest
from daemon.web.query import PARAMS_MAX, extracted_params

COUNTRY = "us"  # of a request that names none
ParamName = Annotated[str, Field(max_length=8_192)]
ParamValue = Annotated[str, Field(max_length=8_192)]
ParamValues = ParamValue | Annotated[list[ParamValue], Field(max_length=100)]


@dataclass(frozen=True, slots=True)
class ParallelRequest:
    """`offer_id`: an offer's id, or its name; the settings of an offer that is served hold for the trace.

    Macros of `tracking_url` take the values of `inbound_params`. An optional field that is null is as one left out;
    `target_country` is then us.
    """

    request_id: UUID
    offer_id: Word
    tracking_url: Url
    target_country: Word | None = None
    inbound_params: Annotated[dict[ParamName, ParamValues], Field(max_length=PARAMS_MAX)] | None = None
    referrer: Header | None = None


class ParallelAnswer(TypedDict):
    """`all_params`: those that came in, and of the landing URL's the ones with other names. `bandwidth_kb`: both ways,
    1 KB is 1,000 bytes. Without success there is an `error`.
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
    """There is none in the country, or none that comes free in time."""

    success: bool
    error: str


def parallel_routes(context: GetContext) -> Blueprint:
    routes, traces = Blueprint("parallel", __name__), DirectTraces()

    @routes.post("/functions/v1/process-trace-parallel")
    @validate_request(ParallelRequest)
    @validate_response(ParallelAnswer)
    @validate_response(NoIp, 503)
    async def process_trace_parallel(data: ParallelRequest) -> ParallelAnswer | tuple[NoIp, int]:
        """Trace a URL now, through an IP of the country's pool, and wait for the end.

        It waits for an IP as a click does. A trace that fails is a 200 with `success: false`. 409: the id has a trace
        already.
        """
        here = context()
        asked = DirectTraceRequest(
            request_id=data.request_id,
            offer=data.offer_id,
            tracking_url=data.tracking_url,
            country=data.target_country or COUNTRY,
            inbound=dict(data.inbound_params or {}),
            referrer=data.referrer,
        )
        ended = await traces.trace(asked, here.overview, here.database, here.settings())
        totals = ended.totals
        note_change(request_id=str(asked.request_id), offer=asked.offer, reason=ended.reason, ip=totals and totals.ip)
        if totals is None:
            return NoIp(success=False, error="No available IP"), 503
        extracted = extracted_params(ended.final_url) if ended.final_url else {}
        answer = ParallelAnswer(
            success=ended.final_url is not None,
            request_id=asked.request_id,
            final_url=ended.final_url,
            extracted_params=extracted,
            all_params={**asked.inbound, **{name: extracted[name] for name in extracted if name not in asked.inbound}},
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
        daemon's own pool; 503: as many traces as may are under way.
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
