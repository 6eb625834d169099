"""GET /api/statistics: how things stood, minute by minute."""

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_querystring, validate_response

from daemon.control.api import Cursor, GetContext, Time, picked
from daemon.database.listings import STATISTICS, Asked, read_page


@dataclass(frozen=True, slots=True)
class StatisticsQuery:
    """A series: the rows from `since` to before `until`. 1,440 rows are a day."""

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
class StatisticsPage:
    """`next` is the cursor of the following page; null at the end."""

    items: list[StatisticsRow]
    next: str | None


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("statistics", __name__)

    @routes.get("/api/statistics")
    @validate_querystring(StatisticsQuery)
    @validate_response(StatisticsPage)
    async def statistics(query_args: StatisticsQuery) -> StatisticsPage:
        """The pool's statistics as a series."""
        query = query_args
        asked = Asked(query.sort, query.limit, query.cursor, {"since": query.since, "until": query.until})
        page = await context().database.work(read_page, STATISTICS, asked)
        return StatisticsPage([_row(row) for row in page["items"]], page["next"])

    return routes


def _row(row: dict[str, Any]) -> StatisticsRow:
    return picked(StatisticsRow, row, country_breakdown=orjson.loads(row["country_breakdown"]))
