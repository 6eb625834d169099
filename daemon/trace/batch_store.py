"""Units of work on traces that nobody waits for: rows of active_trace_requests with a priority above 0."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from daemon.countries import canonical
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES

PRIORITY = 1
COPY_BATCH_ROWS = 5_000


async def add_traces(conn: Connection, urls: Sequence[str], country: str) -> list[UUID]:
    """Rows for a running daemon to trace, now or when it runs again; gives their ids in the order of `urls`."""
    ids = [uuid4() for _ in urls]
    await conn.execute("create temp table asked (place bigint, request_id uuid, url text) on commit drop")
    rows = list(zip(range(len(ids)), ids, urls, strict=True))
    for start in range(0, len(rows), COPY_BATCH_ROWS):
        await conn.copy_records_to_table("asked", records=rows[start : start + COPY_BATCH_ROWS])
    await conn.execute(QUERIES["add_batch_traces"], canonical(country), PRIORITY)
    return ids


async def traces_of(conn: Connection, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """The rows that have ended, as a command shows them."""
    return [dict(row) for row in await conn.fetch(QUERIES["ended_traces"], list(ids))]
