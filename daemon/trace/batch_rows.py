"""The rows of the batch lane, as operators add, read and cancel them: units of work."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from daemon.countries import canonical, names_of
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.trace.jobs import BATCH_PRIORITY
from daemon.trace.request_ids import new_request_id

CHANNEL = "tracepool_traces"
COPY_BATCH_ROWS = 5_000


async def add_traces(
    conn: Connection, urls: Sequence[str], country: str, *, now: bool = False, timeout_s: float | None = None
) -> list[UUID]:
    """Adds a row for each URL, which a running daemon traces. Returns the ids in the order of `urls`.

    `now`: ahead of pool.batch_below_percent. `timeout_s`: traces that have not ended by then are given up.
    """
    ids = [new_request_id(time.time()) for _ in urls]
    await conn.execute("create temp table asked (place bigint, request_id uuid, url text) on commit drop")
    rows = list(zip(range(len(ids)), ids, urls, strict=True))
    for start in range(0, len(rows), COPY_BATCH_ROWS):
        await conn.copy_records_to_table("asked", records=rows[start : start + COPY_BATCH_ROWS])
    await conn.execute(QUERIES["add_batch_traces"], canonical(country), BATCH_PRIORITY, now, timeout_s)
    return ids


async def traces_of(conn: Connection, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """The rows of the traces that have ended."""
    return [dict(row) for row in await conn.fetch(QUERIES["ended_traces"], list(ids))]


async def cancel_traces(
    conn: Connection, why: str, *, ids: Sequence[UUID] | None = None, country: str | None = None
) -> int:
    """Cancels traces of the batch lane that have not ended: these, or all of a country, or all. Returns their number.

    A row that no node has ends at once. The node that has one of the others ends its trace within a second or two.
    """
    names = None if country is None else names_of(canonical(country))
    done = await conn.fetch(QUERIES["cancel_batch_traces"], None if ids is None else list(ids), names, why)
    await conn.execute("select pg_notify($1, '')", CHANNEL)
    return len(done)
