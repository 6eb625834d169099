"""Figures over time: statistics by minute and traffic by day from the tables, /metrics."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint, Response, request
from quart_schema import hide

from daemon.control.api import Cursor, Day, GetContext, Limit, Time, Word, add_list, from_row
from daemon.control.listings import STATISTICS, TRAFFIC


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

    @routes.get("/metrics")
    @hide
    async def metrics() -> Response:
        here = context()
        body, content_type = await here.observers.metrics.page(here.overview, request.headers.get("Accept"))
        return Response(body, content_type=content_type)

    return routes


def _row(row: dict[str, Any]) -> StatisticsRow:
    return from_row(StatisticsRow, row, country_breakdown=msgspec.json.decode(row["country_breakdown"]))
