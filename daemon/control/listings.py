"""Lists of rows for the control face, a page at a time: units of work.

The SQL is made of the constants here; a client's values are arguments, never a part of the SQL. A cursor is text that
names the last row of a page by its sort key and its id: a page costs the same wherever it begins, and no row is skipped
or repeated while rows come and go.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.click.repeats import CLICK_ID_CHARACTERS_MAX
from daemon.database.failures import REFUSALS
from daemon.database.postgres import Connection
from daemon.errors import BadInput
from daemon.web.privacy import truncated_address


@dataclass(frozen=True, slots=True)
class Order:
    """An SQL expression that is never null, and its type."""

    expression: str
    type: str


@dataclass(frozen=True, slots=True)
class Listing:
    """`filters` by name: a condition with `{}` for its argument. `orders` by name; `-name` is descending."""

    source: str
    columns: str
    id: str
    orders: Mapping[str, Order]
    filters: Mapping[str, str]


_TIME = "timestamptz"


def _between(column: str) -> dict[str, str]:
    return {"since": f"{column} >= {{}}::timestamptz", "until": f"{column} < {{}}::timestamptz"}


IPS = Listing(
    source="ip_rotation_pool i left join nodes n on n.node_id = i.node_id",
    columns="i.*, i.username is not null as has_login, n.name as owner",
    id="i.id",
    orders={
        "created": Order("i.created_at", _TIME),
        "ip": Order("(address_order(i.ip_address) || lpad(i.ip_port, 5, '0'))", "text"),
        "country": Order("lower(btrim(i.country))", "text"),
        "status": Order("i.status", "text"),
        "last_used": Order("coalesce(i.last_used_at, '-infinity')", _TIME),
        "uses": Order("i.total_uses", "bigint"),
        "failures": Order("i.consecutive_failures", "bigint"),
        "response_ms": Order("coalesce(i.avg_response_time_ms, -1)", "float8"),
    },
    filters={
        "countries": "lower(btrim(i.country)) = any({}::text[])",
        "provider": "i.provider = {}::text",
        "status": "i.status = {}::text",
        "healthy": "i.is_healthy = {}::boolean",
        "node": "n.name = {}::text",
        "ip": "({0}::text in (i.ip_address, i.ip_address || ':' || i.ip_port))",
    },
)
TRACES = Listing(
    source="active_trace_requests t left join offers o on o.id = t.offer_id left join hits h using (request_id)",
    columns="t.*, coalesce(h.offer_name, o.offer_name) as offer_name",
    id="t.request_id",
    orders={
        "created": Order("t.created_at", _TIME),
        "trace_ms": Order("coalesce(t.trace_time_ms, -1)", "bigint"),
        "wait_ms": Order("coalesce(t.wait_time_ms, -1)", "bigint"),
        "bytes": Order("t.bytes_received", "bigint"),
    },
    filters={
        **_between("t.created_at"),
        "offer": "coalesce(h.offer_name, o.offer_name) = {}::text",
        "status": "t.status = {}::text",
        "ip": "t.ip_assigned = {}::text",
        "countries": "lower(btrim(t.target_country)) = any({}::text[])",
        "batch": "(t.priority > 0 and h.request_id is null) = {}::boolean",
    },
)
HITS = Listing(
    source="hits h",
    columns="h.*",
    id="h.request_id",
    orders={"created": Order("h.created_at", _TIME), "wait_ms": Order("h.wait_ms", "bigint")},
    filters={
        **_between("h.created_at"),
        "offer": "h.offer_name = {}::text",
        "outcome": "h.outcome = {}::text",
        "kind": "h.kind = {}::text",
        "reason": "h.reason = {}::text",
        "countries": "lower(btrim(h.country)) = any({}::text[])",
        "visitor": "h.visitor_address = any({}::text[])",
        "click_id": f"h.click_id = left({{}}::text, {CLICK_ID_CHARACTERS_MAX})",
    },
)
CLICKS = Listing(
    source="hits h left join active_trace_requests t using (request_id)",
    columns=(
        "h.*, coalesce(h.country, t.target_country) as country, t.status as trace_status, t.ip_assigned as ip,"
        " t.trace_time_ms as trace_ms"
    ),
    id="h.request_id",
    orders=HITS.orders,
    filters={**HITS.filters, "request_id": "h.request_id = {}::uuid", "ip": "t.ip_assigned = {}::text"},
)
OFFERS = Listing(
    source="offers o",
    columns="o.*",
    id="o.id",
    orders={
        "name": Order("o.offer_name", "text"),
        "created": Order("o.created_at", _TIME),
        "updated": Order("o.updated_at", _TIME),
        "country": Order("lower(btrim(o.target_country))", "text"),
    },
    filters={
        "offer": "o.offer_name = {}::text",
        "countries": "exists (select from unnest(array_append(o.countries, o.target_country)) n"
        " where lower(btrim(n)) = any({}::text[]))",
        "active": "o.is_active = {}::boolean",
        "user_agent": "o.user_agent = {}::text",
        "trace_backend": "o.trace_backend = {}::text",
        "tracer": "o.tracer = {}::text",
        "mode": "o.mode = {}::text",
    },
)
STATISTICS = Listing(
    source="ip_pool_statistics s",
    columns="s.*",
    id="s.id",
    orders={"recorded": Order("s.recorded_at", _TIME)},
    filters=_between("s.recorded_at"),
)
TRAFFIC = Listing(
    source="traffic f",
    columns="f.*",
    id="(f.day || ' ' || coalesce(f.offer_id::text, '') || ' ' || f.provider)",
    orders={
        "day": Order("f.day", "date"),
        "bytes": Order("(f.bytes_received + f.bytes_sent)", "bigint"),
        "cost": Order("f.cost", "float8"),
        "traces": Order("f.traces", "bigint"),
    },
    filters={
        "since": "f.day >= {}::date",
        "until": "f.day < {}::date",
        "provider": "f.provider = {}::text",
        "offer": "f.offer_name = {}::text",
    },
)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The page that a client asks for. A filter whose value is None does not apply."""

    sort: str
    limit: int
    cursor: str | None
    filters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of a page. `key`: the sort key as PostgreSQL's text; `id` orders rows with equal keys."""

    sort: str
    key: str
    id: str


def cursor_of(position: Position) -> str:
    text = json.dumps([position.sort, position.key, position.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position_at(cursor: str, sort: str) -> Position:
    """Raises BadInput for a cursor that no list with this sort returned."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(found, list):
            raise ValueError("no list")
        given_sort, key, row_id = found
        if "\0" in given_sort + key + row_id:
            raise ValueError("NUL")
    except (ValueError, TypeError, RecursionError):
        raise BadInput("cursor: this list did not return it; leave it out to begin at the first page") from None
    if given_sort != sort:
        raise BadInput(f"cursor: it belongs to sort={given_sort[:40]}; leave it out when the order changes")
    return Position(given_sort, key, row_id)


async def read_page(conn: Connection, listing: Listing, query: PageQuery) -> tuple[list[dict[str, Any]], str | None]:
    """The rows, and the cursor of the following page; None at the end. Raises BadInput for a bad cursor."""
    descending = query.sort.startswith("-")
    order = listing.orders[query.sort.removeprefix("-")]
    conditions, arguments = conditions_of(listing, query.filters)
    if query.cursor is not None:
        position = position_at(query.cursor, query.sort)
        arguments += [position.key, position.id]
        key, row_id = f"${len(arguments) - 1}::text::{order.type}", f"${len(arguments)}"
        conditions.append(
            f"({order.expression}, {listing.id}::text) {'<' if descending else '>'} ({key}, {row_id}::text)"
        )
    where = " and ".join(conditions) or "true"
    way = "desc" if descending else "asc"
    statement = (
        f"select {listing.columns}, ({order.expression})::text as page_key, {listing.id}::text as page_id"  # noqa: S608
        f" from {listing.source} where {where}"
        f" order by {order.expression} {way}, {listing.id}::text {way} limit {query.limit + 1}"
    )
    try:
        rows = [dict(row) for row in await conn.fetch(statement, *arguments)]
    except REFUSALS as e:
        if query.cursor is None:
            raise
        raise BadInput(f"cursor: this list did not return it: {e}") from None
    if len(rows) <= query.limit:
        return rows, None
    last = rows[query.limit - 1]
    return rows[: query.limit], cursor_of(Position(query.sort, last["page_key"], last["page_id"]))


def conditions_of(listing: Listing, filters: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    """The conditions of the filters that have a value, and their arguments from $1 on."""
    conditions: list[str] = []
    arguments: list[Any] = []
    for name, value in filters.items():
        if value is not None:
            arguments.append(visitor_texts(value) if name == "visitor" else value)
            conditions.append(listing.filters[name].format(f"${len(arguments)}"))
    return conditions, arguments


def visitor_texts(visitor: str) -> list[str]:
    """The address as rows have it, and its network, which rows have if privacy.visitor_address is truncated."""
    return list(dict.fromkeys((visitor, truncated_address(visitor) or visitor)))


async def read_one(conn: Connection, listing: Listing, row_id: object) -> dict[str, Any] | None:
    row = await conn.fetchrow(f"select {listing.columns} from {listing.source} where {listing.id} = $1", row_id)  # noqa: S608
    return dict(row) if row else None
