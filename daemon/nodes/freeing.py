"""Frees the IPs of nodes that are lost, so that other nodes take them.

First one statement marks a node as lost, if its row is still as it was when it was found silent: a node that renews or
joins meanwhile is not lost. Then its rows are freed in chunks, only while it is lost: each chunk holds a lock on the
node's row, so a node that comes back joins before a chunk, and keeps its rows, or after it, and reads them as no longer
its own. A node that stops halfway leaves the rest to the others: each frees what is left, once a minute.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
import trio

from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseUnavailable
from daemon.nodes.membership import Sighting

FREE_EACH_S = 60.0
CHUNK_IPS = 5_000

log = structlog.get_logger("daemon.nodes")


@dataclass(eq=False, repr=False)
class Freeing:
    """`_trust_s`, `_quiet_s()`: this node's, for an owner whose row in `nodes` was deleted."""

    _database: Database
    _trust_s: float
    _quiet_s: Callable[[], float]
    _lost: Sequence[Sighting] = field(default=(), init=False)
    _found: trio.Event = field(default_factory=trio.Event, init=False)

    def found_lost(self, lost: Sequence[Sighting]) -> None:
        """The result of each renewal's Watch."""
        self._lost = lost
        if lost:
            self._found.set()

    async def run(self) -> None:
        while True:
            with trio.move_on_after(FREE_EACH_S):
                await self._found.wait()
            self._found = trio.Event()
            try:
                await self.run_once()
            except DatabaseUnavailable as e:
                log.info("ips_not_freed", why=str(e), effect="tried again within a minute, or by another node")

    async def run_once(self) -> int:
        """How many IPs were freed. Raises DatabaseUnavailable."""
        for node in self._lost:
            if await self._database.fetch("mark_lost", node.node_id, node.beat, node.epoch, node.state):
                write = log.info if node.state == "left" else log.warning
                write("node_lost", name=node.name, node_id=str(node.node_id), state=node.state,
                      effect="its IPs are free for the other nodes")  # fmt: skip
        for row in await self._database.fetch("enter_unknown_owners", self._trust_s, self._quiet_s()):
            log.warning("owner_unknown", node_id=str(row["node_id"]), why="its row in the table nodes was deleted",
                        effect="its IPs are free once its trust and its quiet time have passed")  # fmt: skip
        await self._database.fetch("forget_departed_of_lost")
        freed = 0
        while count := await self._database.work(_free, CHUNK_IPS, own=True):
            freed += count
        if freed:
            log.info("ips_freed", ips=freed)
        return freed


async def _free(conn: Connection, ips_max: int) -> int:
    row = await conn.fetchrow(QUERIES["free_ips"], ips_max)
    return row["ips"] if row else 0
