"""For a command that uses IPs while no daemon runs: no node joins or leases meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import trio

from daemon.database.postgres import Database, OwnConnection
from daemon.nodes.clones import is_alive
from daemon.nodes.joining import NODES_LOCK
from daemon.nodes.member import RENEW_S, RENEW_TIMEOUT_S
from daemon.nodes.membership import leasing_elsewhere, node_row


@asynccontextmanager
async def nodes_kept_out(
    database: Database, node_id: UUID | None, *, may_be_cloned: bool = False
) -> AsyncIterator[None]:
    """No node joins or leases inside the block. `node_id`: the node of a state directory in which no daemon runs.

    `may_be_cloned`: that node may run on another machine, so its row is watched first.

    Raises DatabaseOccupied if another node may lease, and DatabaseUnavailable, also inside the block, if the connection
    that holds the lock is lost.
    """
    async with database.own_connection(RENEW_TIMEOUT_S) as connection:
        await connection.begin()
        await connection.fetch("keep_nodes_out", *NODES_LOCK)
        if node_id is not None and may_be_cloned and await is_alive(database, node_id):
            node_id = None
        rows = await connection.fetch("load_nodes")
        found = leasing_elsewhere(map(node_row, rows), node_id, rows[0]["now_s"] if rows else 0.0)
        if found is not None:
            raise found.error()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_connection, connection)
            yield
            nursery.cancel_scope.cancel()


async def _watch_connection(connection: OwnConnection) -> None:
    while True:
        await trio.sleep(RENEW_S)
        await connection.execute("select 1")
