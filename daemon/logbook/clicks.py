"""Reads the rows of one click: its trace and its hit. Units of work."""

import json
from typing import Any
from uuid import UUID

from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES

JSON = ("inbound_params", "extracted_params", "redirect_chain")


async def find_click(conn: Connection, click_id: str) -> list[UUID]:
    """The requests with this click id, at most 20: clicks before their repeats, then the newest first."""
    return [row["request_id"] for row in await conn.fetch(QUERIES["requests_of_click_id"], click_id)]


async def read_click(conn: Connection, request_id: UUID) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The row of active_trace_requests with the offer's name and with JSON columns decoded, and the row of hits."""
    row = await conn.fetchrow(QUERIES["trace_of_click"], request_id)
    hit = await conn.fetchrow(QUERIES["hit_of_click"], request_id)
    trace = None if row is None else {**row, **{name: row[name] and json.loads(row[name]) for name in JSON}}
    return trace, None if hit is None else dict(hit)
