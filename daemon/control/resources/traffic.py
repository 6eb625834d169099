"""GET /api/traffic: bytes and money by day, provider and offer."""

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_querystring, validate_response

from daemon.control.api import Cursor, Day, GetContext, Limit, Word, picked
from daemon.database.listings import TRAFFIC, Asked, read_page

Sort = Literal["-day", "day", "-bytes", "bytes", "-cost", "cost", "-traces", "traces"]


@dataclass(frozen=True, slots=True)
class TrafficQuery:
    """The days from `since` to before `until`, in UTC."""

    since: Day | None = None
    until: Day | None = None
    provider: Word | None = None
    offer: Word | None = None
    sort: Sort = "-day"
    cursor: Cursor | None = None
    limit: Limit = 50


@dataclass(frozen=True, slots=True)
class TrafficRow:
    """What the traces of an offer took of a provider on a day (UTC). `cost`: US dollars, at the prices of that time."""

    day: date
    provider: str
    offer_id: UUID | None
    offer_name: str | None
    traces: int
    bytes_received: int
    bytes_sent: int
    cost: float


@dataclass(frozen=True, slots=True)
class TrafficPage:
    """`next` is the cursor of the following page; null at the end."""

    items: list[TrafficRow]
    next: str | None


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("traffic", __name__)

    @routes.get("/api/traffic")
    @validate_querystring(TrafficQuery)
    @validate_response(TrafficPage)
    async def traffic(query_args: TrafficQuery) -> TrafficPage:
        """Bytes and money by day, provider and offer, the newest first."""
        query = query_args
        filters = {name: getattr(query, name) for name in ("since", "until", "provider", "offer")}
        page = await context().database.work(read_page, TRAFFIC, Asked(query.sort, query.limit, query.cursor, filters))
        return TrafficPage([picked(TrafficRow, row) for row in page["items"]], page["next"])

    return routes
