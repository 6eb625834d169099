"""GET /api/history: clicks and times of the last hour or day, from the daemon's memory."""

from typing import Literal

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_querystring, validate_response

from daemon.control.api import GetContext
from daemon.control.history import FALLBACK_REASONS, OTHER


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """The hour comes in steps of 5 s, the day in minutes."""

    span: Literal["hour", "day"] = "hour"


@dataclass(frozen=True, slots=True)
class TimePercentiles:
    """Milliseconds by minute; null where nothing came."""

    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Counts in buckets of `step_s` from `from_s` (seconds since 1970) on, the last of which is not over yet; times by
    minute from `minutes_from_s` on. Nothing is known of the time before `began_s`, when the daemon started.
    """

    span: str
    began_s: float
    step_s: float
    from_s: float
    resolved: list[int]
    fallbacks: dict[str, list[int]]
    left: list[int]
    refused: list[int]
    minutes_from_s: float
    wait_ms: TimePercentiles
    trace_ms: TimePercentiles
    deadline_ms: float


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("history", __name__)

    @routes.get("/api/history")
    @validate_querystring(HistoryQuery)
    @validate_response(HistoryAnswer)
    async def history(query_args: HistoryQuery) -> HistoryAnswer:
        """Clicks, fallbacks by reason, wait and trace times over the last hour or day."""
        here = context()
        now = here.overview.now()
        series = here.observers.history.series(query_args.span, now.tick_s)
        counts = series.counts
        return HistoryAnswer(
            span=query_args.span,
            began_s=round(now.wall_at(here.observers.history.began_s)),
            step_s=series.step_s,
            from_s=round(now.wall_at(series.from_s)),
            resolved=counts["resolved"],
            fallbacks={reason: counts[reason] for reason in (*FALLBACK_REASONS, OTHER)},
            left=counts["left"],
            refused=counts["refused"],
            minutes_from_s=round(now.wall_at(series.minutes_from_s)),
            wait_ms=TimePercentiles(**series.wait_ms),
            trace_ms=TimePercentiles(**series.trace_ms),
            deadline_ms=here.settings().click.deadline_s * 1000,
        )

    return routes
