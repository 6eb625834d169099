"""Finds out at a start whether another run with this node's id is alive: the machine or its disk may be a clone.

A run changes its row each second. A row that does not change for WATCH_S belongs to a run that has ended, or that has
no connection to PostgreSQL. Of two clones that start at the same time, the first one to take the row is the original.
"""

from uuid import UUID, uuid4

import trio

from daemon.database.postgres import Database

WATCH_S = 2.5


async def is_alive(database: Database, node_id: UUID) -> bool:
    """Whether a run with this node id renews its trust. Raises DatabaseUnavailable."""
    before = await _run(database, node_id)
    if before is None or before[-1] not in ("active", "removed"):
        return False
    await trio.sleep(WATCH_S)
    return await _run(database, node_id) != before


async def taken_row(database: Database, node_id: UUID) -> int | None:
    """The epoch of the node's row, taken for a run that joins next; 0 without a row. None: another run is alive.

    Raises DatabaseUnavailable.
    """
    before = await _run(database, node_id)
    if before is None:
        return 0
    if before[-1] in ("active", "removed"):
        await trio.sleep(WATCH_S)
    rows = await database.fetch("take_row", node_id, *before, uuid4())
    return rows[0]["epoch"] if rows else None


async def _run(database: Database, node_id: UUID) -> tuple[object, ...] | None:
    """What a living run changes. The last value is the state."""
    rows = await database.fetch("find_run", node_id)
    return tuple(rows[0].values()) if rows else None
