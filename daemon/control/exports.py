"""Hits and traces as CSV (RFC 4180), a chunk of lines at a time: units of work.

PostgreSQL makes the lines. Each chunk is a statement of its own and begins after the last row of the one before, so a
long export holds no transaction open, and its memory is that of one chunk.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from daemon.control.listings import HITS, TRACES, Listing, conditions_of
from daemon.countries import canonical, names_of
from daemon.database.postgres import Connection
from daemon.database.spreadsheets import FORMULA_STARTS, write_line
from daemon.database.sql import literal

LINES = 500

_STARTS = literal("^[" + "".join(start for start in FORMULA_STARTS if start != "-") + "-]")


@dataclass(frozen=True, slots=True)
class Export:
    """`texts`: the columns with any text. `times` are written in UTC. Other columns need no quotes."""

    listing: Listing
    table: str
    columns: tuple[str, ...]
    texts: frozenset[str]
    times: frozenset[str] = frozenset({"created_at", "completed_at"})

    @property
    def header(self) -> str:
        return write_line(self.columns)

    def line(self) -> str:
        """The SQL expression of a row's line."""
        return " || ',' || ".join(map(self._cell, self.columns)) + " || E'\\r\\n'"

    def _cell(self, column: str) -> str:
        value = "coalesce(h.offer_name, o.offer_name)" if self.table == "t" else "h.offer_name"
        if column != "offer_name":
            value = f"{self.table}.{column}"
        if column in self.times:
            value = f"""to_char({value} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
        if column in self.texts:
            safe = f"case when {value} ~ {_STARTS} then '''' || {value} else {value} end"
            value = f"""'"' || replace({safe}, '"', '""') || '"'"""
        return f"coalesce({value}::text, '')" if column not in self.texts else f"coalesce({value}, '')"


EXPORTS: Mapping[str, Export] = {
    "hits": Export(
        HITS,
        "h",
        (
            *("created_at", "request_id", "offer_name", "kind", "outcome", "reason", "location", "visitor_address"),
            *("user_agent", "referrer", "wait_ms", "click_id", "country"),
        ),
        frozenset(
            {
                *("offer_name", "outcome", "reason", "location", "visitor_address", "user_agent", "referrer"),
                *("click_id", "country"),
            }
        ),
    ),
    "traces": Export(
        TRACES,
        "t",
        (
            *("created_at", "completed_at", "request_id", "offer_name", "tracking_url", "target_country", "provider"),
            *("ip_assigned", "exit_ip", "status", "reason", "error_message", "final_url", "wait_time_ms"),
            *("trace_time_ms", "total_time_ms", "retry_count", "bytes_received", "bytes_sent", "cost", "priority"),
        ),
        frozenset(
            {
                *("offer_name", "tracking_url", "target_country", "provider", "ip_assigned", "exit_ip", "status"),
                *("reason", "error_message", "final_url"),
            }
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """The last row of a chunk."""

    created_at: Any
    request_id: Any


async def read_lines(
    conn: Connection, export: Export, filters: Mapping[str, Any], after: Place | None
) -> tuple[str, Place | None]:
    """The next lines, the oldest first, and where the following ones begin; None at the end."""
    conditions, arguments = conditions_of(export.listing, filters)
    row = f"{export.table}.created_at, {export.table}.request_id"
    if after is not None:
        arguments += [after.created_at, after.request_id]
        conditions.append(f"({row}) > (${len(arguments) - 1}::timestamptz, ${len(arguments)}::uuid)")
    found = await conn.fetch(
        f"select {export.line()} as line, {row} from {export.listing.source}"  # noqa: S608
        f" where {' and '.join(conditions) or 'true'} order by {row} limit {LINES}",
        *arguments,
    )
    place = Place(found[-1]["created_at"], found[-1]["request_id"]) if len(found) == LINES else None
    return "".join(row["line"] for row in found), place


async def each_chunk(
    work: Callable[..., Awaitable[tuple[str, Place | None]]], export: Export, filters: Mapping[str, Any]
) -> AsyncIterator[str]:
    """The header with the first lines, then all others. `work`: that of the database.

    `filters`: those of the listing, and `country`, which means all spellings of it.
    """
    country = filters.get("country")
    wanted = {name: value for name, value in filters.items() if name != "country"}
    if country is not None:
        wanted["countries"] = names_of(canonical(country))
    header, place = export.header, None
    while True:
        lines, place = await work(read_lines, export, wanted, place)
        yield header + lines
        header = ""
        if place is None:
            return
