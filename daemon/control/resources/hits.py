"""GET /api/hits: every answered click."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_querystring, validate_response

from daemon.control.api import Cursor, GetContext, Limit, Time, Word, picked
from daemon.database.listings import HITS, Asked, read_page


@dataclass(frozen=True, slots=True)
class HitsQuery:
    """`reason`: of a fallback. Times: RFC 3339, with their zone."""

    offer: Word | None = None
    outcome: Literal["resolved", "fallback"] | None = None
    reason: Word | None = None
    visitor: Word | None = None
    since: Time | None = None
    until: Time | None = None
    sort: Literal["-created", "created", "-wait_ms", "wait_ms"] = "-created"
    cursor: Cursor | None = None
    limit: Limit = 50


@dataclass(frozen=True, slots=True)
class HitRow:
    """A row of hits."""

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


@dataclass(frozen=True, slots=True)
class HitPage:
    """`next` is the cursor of the following page; null at the end."""

    items: list[HitRow]
    next: str | None


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("hits", __name__)

    @routes.get("/api/hits")
    @validate_querystring(HitsQuery)
    @validate_response(HitPage)
    async def list_hits(query_args: HitsQuery) -> HitPage:
        """The answered clicks, the newest first."""
        query = query_args
        names = ("offer", "outcome", "reason", "visitor", "since", "until")
        asked = Asked(query.sort, query.limit, query.cursor, {name: getattr(query, name) for name in names})
        page = await context().database.work(read_page, HITS, asked)
        return HitPage([picked(HitRow, row) for row in page["items"]], page["next"])

    return routes
