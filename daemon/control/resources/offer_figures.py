"""GET /api/reports/offers: a row for each offer, what hurts first."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_querystring, validate_response

from daemon.control.api import GetContext, Time
from daemon.control.offer_figures import (
    ROWS_MAX,
    Counted,
    FigureCache,
    OfferRow,
    Span,
    count,
    offers_now,
    rows_of,
    window_of_span,
)
from daemon.control.overview import Overview
from daemon.control.report_groups import Window, window_of
from daemon.database.postgres import Database
from daemon.errors import DatabaseBusy
from daemon.maintenance.node_report import counts_of

SCAN_S_MAX = 60.0
LONG = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class OfferFiguresQuery:
    """The time: `span`, whose days are UTC; or from `since` to before `until`, RFC 3339 with a zone."""

    span: Span = "1h"
    since: Time | None = None
    until: Time | None = None


@dataclass(frozen=True, slots=True)
class OfferFiguresRow:
    """The figures are those of GET /api/reports. `cost` is null where the time is too long for the table of traces.

    `state` unknown: the name of a click that no offer has; removed: the offer existed; broken: no tracking URL of the
    active offer is usable. `ips`, `ips_available`: of its `countries`; `without_ips`: those
    of them that have none.
    """

    offer: str
    offer_id: str | None
    state: Literal["active", "paused", "broken", "removed", "unknown"]
    paused_to: str | None
    countries: tuple[str, ...]
    ips: int
    ips_available: int
    without_ips: tuple[str, ...]
    clicks: int
    landed: int
    fallbacks: dict[str, int]
    background: int
    repeats: int
    previews: int
    wait_p50_ms: float | None
    wait_p95_ms: float | None
    cost: float | None


@dataclass(frozen=True, slots=True)
class OfferFiguresAnswer:
    """`items`: broken offers; active ones with a country without IPs; then by fallbacks times their share of clicks.

    The figures are of the time from `since` to `until`; of a `span`, `until` is when they were counted: long times are
    counted less often. Waits are exact to 3%. At most 3,000; `left_out`: how many are not listed.
    """

    since: datetime
    until: datetime
    items: list[OfferFiguresRow]
    left_out: int


def blueprint(context: GetContext) -> Blueprint:
    routes, cache = Blueprint("offer_figures", __name__), FigureCache()

    @routes.get("/api/reports/offers")
    @validate_querystring(OfferFiguresQuery)
    @validate_response(OfferFiguresAnswer)
    async def offer_figures(query_args: OfferFiguresQuery) -> OfferFiguresAnswer:
        """A row for each offer: clicks, fallbacks, waits, cost, IPs and state; what hurts comes first."""
        here, now = context(), datetime.now(UTC)
        if query_args.since is None and query_args.until is None:
            key: object = query_args.span
            window = window_of_span(query_args.span, now)
        else:
            key, window = (query_args.since, query_args.until), window_of(query_args.since, query_args.until, now)
        is_long = window.until - window.since > LONG
        counted = await cache.counted(key, partial(_count, here.database, window), is_long=is_long)
        offers = await here.database.work(offers_now)
        ips = counts_of(here.overview.report.cluster().countries)
        rows = rows_of(counted, offers, partial(_is_broken, here.overview), ips)
        window, left_out = counted.window, counted.left_out + max(0, len(rows) - ROWS_MAX)
        return OfferFiguresAnswer(window.since, window.until, [_shown(row) for row in rows[:ROWS_MAX]], left_out)

    return routes


async def _count(database: Database, window: Window) -> Counted:
    try:
        return await database.work(count, window, SCAN_S_MAX)
    except DatabaseBusy as e:
        why = f"{e}: the time may have too many hits to count in {SCAN_S_MAX:g} s: choose a shorter one"
        raise DatabaseBusy(why) from None


def _is_broken(overview: Overview, offer: Mapping[str, Any]) -> bool:
    closed = overview.clicks.offers.closed(offer["offer_name"])
    return closed is not None and closed.reason == "bad_offer" and str(closed.id) == str(offer["id"])


def _shown(row: OfferRow) -> OfferFiguresRow:
    figures = row.figures
    return OfferFiguresRow(
        offer=row.name,
        offer_id=row.id,
        state=row.state,
        paused_to=row.paused_to,
        countries=row.countries,
        ips=row.ips,
        ips_available=row.ips_available,
        without_ips=row.without_ips,
        clicks=figures.clicks,
        landed=figures.landed,
        fallbacks=figures.fallbacks,
        background=figures.background,
        repeats=figures.repeats,
        previews=figures.previews,
        wait_p50_ms=figures.wait_p50_ms,
        wait_p95_ms=figures.wait_p95_ms,
        cost=row.cost,
    )
