"""POST /trace: one trace for another daemon, or for any program that brings a proxy of its own."""

from collections.abc import Callable

from quart import Blueprint
from quart_schema import validate_request, validate_response

from daemon.control.api import TracerContext, note_change
from daemon.trace.service_shape import TraceAnswer, TraceRequest


def blueprint(context: Callable[[], TracerContext]) -> Blueprint:
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
