"""This node's row in the table `nodes`: the node joins, renews its trust each second, and leaves.

It may lease while it trusts itself. An outage of PostgreSQL stops it only when the trust ends. If it loses its claim,
it stops at once and joins again. Each `NodeListener` is notified of these changes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Any
from uuid import UUID, uuid4

import structlog
import trio

from daemon import __version__
from daemon.database.postgres import Connection, Database, OwnConnection
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseOccupied, DatabaseUnavailable
from daemon.nodes.membership import Joined, NodeRow, Occupied, admitted, trusts_itself_until
from daemon.troubles import Troubles

NODES_LOCK = (0x74726163, 3)  # of an advisory lock that ends with its transaction
RENEW_S = 1.0
RENEW_TIMEOUT_S = 5.0
JOIN_RETRY_S = 2.0
LEAVE_S = 3.0
RENEWING = "renewing this node's trust"
JOINING = "joining as a node"

log = structlog.get_logger("daemon.nodes")


@dataclass(frozen=True, slots=True)
class Identity:
    """`trust_s`: how long the node leases without PostgreSQL. `quiet_s()`: how long its leases may last after that."""

    node_id: UUID
    name: str
    epoch: int
    trust_s: float
    quiet_s: Callable[[], float]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """This node. `trusted_for_s`: how long it may lease without PostgreSQL; null: no limit, with its own database."""

    name: str
    node_id: str
    epoch: int
    leasing: bool
    trusted_for_s: float | None


@dataclass(frozen=True, slots=True)
class NodeListener:
    """Callbacks. `ips_lost`: another node has leased this node's IPs, so their spooled states are out of date.

    `rejoined`: the node has joined again after losing its claim, and another one may have leased its IPs.
    """

    leasing_ended: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    ips_lost: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    rejoined: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint


@dataclass(eq=False, repr=False)
class Member:
    """One run of the daemon as a node: `join`, then `run`, and `leave` if all its entries are shipped.

    `_boot_s` reads the boot clock. `alone`: there can be no other node.
    """

    _database: Database
    _identity: Identity
    _troubles: Troubles
    _boot_s: Callable[[], float]
    _: KW_ONLY
    alone: bool = False
    _trusted_until_s: float = field(default=float("-inf"), init=False)
    _rejoins: int = field(default=0, init=False)  # how often the claim was lost
    _rejoins_handled: int = field(default=0, init=False)  # by all listeners
    _listeners: list[NodeListener] = field(default_factory=list, init=False)
    _epoch: int | None = field(default=None, init=False)  # of the row, once this run has joined
    _claim: UUID | None = field(default=None, init=False)
    # set when it is known whether another node has the database
    decided: trio.Event = field(default_factory=trio.Event, init=False)
    _is_occupied: bool = field(default=False, init=False)  # another node has the database

    def subscribe(self, listener: NodeListener) -> None:
        self._listeners.append(listener)

    def may_lease(self) -> bool:
        return self._rejoins_handled == self._rejoins and self._boot_s() < self._trusted_until_s

    def claim(self) -> UUID | None:
        """This run's claim; None while another node has the database: then this node may write only facts.

        Raises DatabaseOccupied while neither is known: then nothing may be written.
        """
        if self._claim is None and not self._is_occupied:
            raise DatabaseOccupied("this node has no claim on the database now")
        return self._claim

    @property
    def trusted_for_s(self) -> float | None:
        """How long the node may lease without PostgreSQL; None: no limit."""
        return None if self.alone else max(0.0, self._trusted_until_s - self._boot_s())

    async def join(self) -> None:
        """Returns once no other node has the database."""
        while True:
            asked_s, claim = self._boot_s(), uuid4()
            try:
                found = await self._database.work(self._join, claim)
                if isinstance(found, Joined):
                    break
                await self._lose_ips()
                raise occupied_by(found)
            except DatabaseUnavailable as e:
                self._troubles.note(JOINING, e, effect="this node leases nothing: clicks fall back")
                await trio.sleep(JOIN_RETRY_S)
        if not found.continues:
            await self._lose_ips()
        self._claim, self._is_occupied = claim, False
        self.decided.set()
        self._trust_from(asked_s)
        self._troubles.over(JOINING)
        log.info("node_joined", name=self._identity.name, node_id=str(self._identity.node_id))

    async def _lose_ips(self) -> None:
        """Another node has, or had, the database."""
        if not self._is_occupied:
            for listener in self._listeners:
                await listener.ips_lost()
            self._is_occupied = True
            self.decided.set()

    async def _join(self, conn: Connection, claim: UUID) -> Joined | Occupied:
        me = self._identity
        await conn.execute(QUERIES["keep_nodes_out"], *NODES_LOCK)
        rows = await conn.fetch(QUERIES["load_nodes"])
        now_s = await conn.fetchval("select extract(epoch from clock_timestamp())::float8")
        known = [node_row(row) for row in rows]
        if self.alone:
            known = [row for row in known if row.node_id == me.node_id]
        found = admitted(known, me.node_id, self._epoch, now_s)
        if isinstance(found, Joined):
            await conn.execute(QUERIES["take_over"], me.node_id)
            values = me.node_id, me.name, me.epoch, claim, me.trust_s, me.quiet_s(), __version__
            self._epoch = await conn.fetchval(QUERIES["join_node"], *values)
        return found

    def _trust_from(self, asked_s: float) -> None:
        trust_s = float("inf") if self.alone else self._identity.trust_s
        self._trusted_until_s = trusts_itself_until(asked_s, trust_s)

    async def run(self) -> None:
        """Renews the trust until cancelled; joins again if the claim is lost."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_trust)
            while True:
                try:
                    async with self._database.own_connection(RENEW_TIMEOUT_S) as connection:
                        while await self._renewed(connection):
                            self._troubles.over(RENEWING)
                            await trio.sleep(RENEW_S)
                except DatabaseUnavailable as e:
                    self._troubles.note(RENEWING, e, effect=self._while_unheard())
                    await trio.sleep(RENEW_S)
                    continue
                await self._rejoin(nursery)

    async def _renewed(self, connection: OwnConnection) -> bool:
        me, asked_s = self._identity, self._boot_s()
        if not await connection.fetch("renew_node", me.node_id, self._claim, me.trust_s, me.quiet_s()):
            return False
        self._trust_from(asked_s)
        return True

    async def _rejoin(self, nursery: trio.Nursery) -> None:
        self._claim, self._trusted_until_s = None, float("-inf")
        self._rejoins += 1
        log.critical("node_claim_lost", effect="no IP is leased until this node has joined again",
                     why="its row in the table nodes was removed, or has another claim")  # fmt: skip
        for listener in self._listeners:
            await listener.leasing_ended()
        await self.join()
        nursery.start_soon(self._notify_rejoined, self._rejoins)  # the trust is renewed meanwhile

    async def _notify_rejoined(self, rejoin: int) -> None:
        for listener in self._listeners:
            await listener.rejoined()
        self._rejoins_handled = rejoin

    async def _watch_trust(self) -> None:
        leases = self.may_lease()
        while True:
            leased, leases = leases, self.may_lease()
            if leases and not leased:
                log.info("node_leases_again")
            elif leased and not leases and self._claim is not None and self._boot_s() >= self._trusted_until_s:
                why = f"PostgreSQL did not answer for {self._identity.trust_s:g} s (node.trust_s)"
                log.critical("node_trust_ended", why=why, effect="no IP is leased: clicks fall back until it answers")
                for listener in self._listeners:
                    await listener.leasing_ended()
            await trio.sleep(RENEW_S)

    def _while_unheard(self) -> str:
        left_s = self.trusted_for_s
        if left_s is None:
            return "clicks are traced as before"
        return f"clicks are traced as before for {left_s:.0f} s more" if left_s else "clicks fall back"

    async def leave(self) -> None:
        """Lets other nodes take over at once. Only for a stop after which no entry is left in the spool."""
        with trio.move_on_after(LEAVE_S, shield=True):
            try:
                await self._database.fetch("leave_node", self._identity.node_id, self._claim)
            except DatabaseUnavailable as e:
                log.warning("node_could_not_leave", why=str(e), effect="another node waits until its trust has ended")
        self._claim = None

    def status(self) -> NodeStatus:
        left_s = self.trusted_for_s
        return NodeStatus(
            name=self._identity.name,
            node_id=str(self._identity.node_id),
            epoch=self._epoch or 0,
            leasing=self.may_lease(),
            trusted_for_s=None if left_s is None else round(left_s, 1),
        )


@asynccontextmanager
async def nodes_kept_out(database: Database, node_id: UUID | None) -> AsyncIterator[None]:
    """No node joins or leases inside the block. `node_id`: a node that is known not to run.

    Raises DatabaseOccupied if another node may lease, and DatabaseUnavailable, also inside the block, if the connection
    that holds the lock is lost.
    """
    async with database.own_connection(RENEW_TIMEOUT_S) as connection:
        await connection.begin()
        await connection.fetch("keep_nodes_out", *NODES_LOCK)
        rows = await connection.fetch("load_nodes")
        found = admitted(map(node_row, rows), node_id or uuid4(), None, rows[0]["now_s"] if rows else 0.0)
        if isinstance(found, Occupied):
            raise occupied_by(found)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_connection, connection)
            yield
            nursery.cancel_scope.cancel()


async def _watch_connection(connection: OwnConnection) -> None:
    while True:
        await trio.sleep(RENEW_S)
        await connection.execute("select 1")


def node_row(row: Any) -> NodeRow:
    """From a row of `load_nodes`."""
    return NodeRow(**{name: row[name] for name in NodeRow.__slots__})


def occupied_by(found: Occupied) -> DatabaseOccupied:
    node = found.node
    return DatabaseOccupied(
        f"node {node.name} ({node.node_id}) works with this database, and two nodes would lease the same IPs: "
        f"its IPs are free in {found.wait_s:.0f} s, unless it renews its trust",
        f"stop that daemon; if its machine is gone for good: tracepool nodes remove {node.name}",
    )
