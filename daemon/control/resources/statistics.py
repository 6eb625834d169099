"""Figures over time: statistics by minute and traffic by day from the tables, the last day from memory, /metrics."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint, Response, request
from quart_schema import hide, validate_querystring, validate_response

from daemon.control.api import Cursor, Day, GetContext, Limit, Time, Word, add_list, from_row
from daemon.control.history import FALLBACK_REASONS, OTHER
from daemon.control.listings import STATISTICS, TRAFFIC
from daemon.control.resources.nodes import chosen_node


@dataclass(frozen=True, slots=True)
class StatisticsQuery:
    """The rows from `since` to before `until`. 1,440 rows are a day."""

    since: Time | None = None
    until: Time | None = None
    sort: Literal["-recorded", "recorded"] = "-recorded"
    cursor: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=1_440)] = 60


@dataclass(frozen=True, slots=True)
class StatisticsRow:
    """A row of ip_pool_statistics. Utilisation is (locked + cooldown) / healthy.

    `bytes_1h` and `cost_1h` (US dollars) are null in rows of an earlier version.
    """

    recorded_at: datetime
    total_ips: int
    available_ips: int
    locked_ips: int
    cooldown_ips: int
    failed_ips: int
    pool_utilization_percent: float
    active_requests: int
    completed_requests_1h: int
    failed_requests_1h: int
    avg_wait_time_ms: float | None
    avg_trace_time_ms: float | None
    requests_queued: int
    bytes_1h: int | None
    cost_1h: float | None
    country_breakdown: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TrafficQuery:
    """The days from `since` to before `until`, in UTC."""

    since: Day | None = None
    until: Day | None = None
    provider: Word | None = None
    offer: Word | None = None
    sort: Literal["-day", "day", "-bytes", "bytes", "-cost", "cost", "-traces", "traces"] = "-day"
    cursor: Cursor | None = None
    limit: Limit = 50


@dataclass(frozen=True, slots=True)
class TrafficRow:
    """The traffic of one offer through one provider on one day (UTC). `cost`: US dollars, at that day's prices."""

    day: date
    provider: str
    offer_id: UUID | None
    offer_name: str | None
    traces: int
    bytes_received: int
    bytes_sent: int
    cost: float


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """The hour is in steps of 5 s, the day in minutes.

    `node`: only this node's figures, by its name or the beginning of its id; without it, those of all nodes together.
    """

    span: Literal["hour", "day"] = "hour"
    node: Word | None = None


@dataclass(frozen=True, slots=True)
class TimePercentiles:
    """Milliseconds by minute; null for a minute without clicks or traces."""

    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Counts in buckets of `step_s` from `from_s` (seconds since 1970) on; the last bucket is not over yet.

    Times by minute from `minutes_from_s` on. There are no figures from before `began_s`, when the daemon started; it
    records what other nodes do since it first saw them. `node`: null for all nodes together. A minute's times that are
    not the answering node's own are those of the last minute before a renewal in it.
    """

    span: str
    began_s: float
    step_s: float
    from_s: float
    resolved: list[int]
    fallbacks: dict[str, list[int]]
    background: list[int]
    left: list[int]
    refused: list[int]
    minutes_from_s: float
    wait_ms: TimePercentiles
    trace_ms: TimePercentiles
    deadline_ms: float
    node: str | None = None


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("statistics", __name__)
    summary = "The pool's statistics by minute."
    add_list(
        routes,
        context,
        "statistics",
        "/api/statistics",
        STATISTICS,
        StatisticsQuery,
        StatisticsRow,
        _row,
        summary=summary,
    )
    summary = "Bytes and cost by day, provider and offer, the newest first."
    add_list(routes, context, "traffic", "/api/traffic", TRAFFIC, TrafficQuery, TrafficRow, summary=summary)

    @routes.get("/api/history")
    @validate_querystring(HistoryQuery)
    @validate_response(HistoryAnswer)
    async def history(query_args: HistoryQuery) -> HistoryAnswer:
        """Clicks, fallbacks by reason, wait and trace times over the last hour or day, of all nodes or of one."""
        here = context()
        now, recorded = here.overview.now(), here.observers.history
        entry = chosen_node(context, query_args.node) if query_args.node else None
        if entry is not None and entry.this:
            began_s, series = recorded.own.began_s, recorded.own.series(query_args.span, now.tick_s)
        else:
            node_id = None if entry is None else UUID(entry.node_id)
            began_s = recorded.began_s(node_id)
            series = recorded.series(query_args.span, now.tick_s, node_id)
        counts = series.counts
        return HistoryAnswer(
            span=query_args.span,
            began_s=round(now.wall_at(began_s)),
            step_s=series.step_s,
            from_s=round(now.wall_at(series.from_s)),
            resolved=counts["resolved"],
            fallbacks={reason: counts[reason] for reason in (*FALLBACK_REASONS, OTHER)},
            background=counts["background"],
            left=counts["left"],
            refused=counts["refused"],
            minutes_from_s=round(now.wall_at(series.minutes_from_s)),
            wait_ms=TimePercentiles(**series.wait_ms),
            trace_ms=TimePercentiles(**series.trace_ms),
            deadline_ms=here.settings().click.deadline_s * 1000,
            node=None if entry is None else entry.name,
        )

    @routes.get("/metrics")
    @hide
    async def metrics() -> Response:
        here = context()
        body, content_type = await here.observers.metrics.page(here.overview, request.headers.get("Accept"))
        return Response(body, content_type=content_type)

    return routes


def _row(row: dict[str, Any]) -> StatisticsRow:
    return from_row(StatisticsRow, row, country_breakdown=msgspec.json.decode(row["country_breakdown"]))
