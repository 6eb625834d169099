"""Queries on batch traces: rows of active_trace_requests with a priority above 0."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from daemon.countries import canonical
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.trace.jobs import BATCH_PRIORITY

COPY_BATCH_ROWS = 5_000


async def add_traces(conn: Connection, urls: Sequence[str], country: str) -> list[UUID]:
    """Adds a row for each URL, which a running daemon traces. Returns the ids in the order of `urls`."""
    ids = [uuid4() for _ in urls]
    await conn.execute("create temp table asked (place bigint, request_id uuid, url text) on commit drop")
    rows = list(zip(range(len(ids)), ids, urls, strict=True))
    for start in range(0, len(rows), COPY_BATCH_ROWS):
        await conn.copy_records_to_table("asked", records=rows[start : start + COPY_BATCH_ROWS])
    await conn.execute(QUERIES["add_batch_traces"], canonical(country), BATCH_PRIORITY)
    return ids


async def traces_of(conn: Connection, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """The rows of the traces that have ended."""
    return [dict(row) for row in await conn.fetch(QUERIES["ended_traces"], list(ids))]
