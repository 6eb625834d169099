"""This node's row in the table `nodes`: the node joins, renews its trust each second, and leaves.

It may lease while it trusts itself. An outage of PostgreSQL stops it only when the trust ends. It loses its claim if
its row is another run's, or removed, or if the database has lost renewals: a backup was restored, or a replica without
the last second took over. Then it stops leasing at once, joins again, and all pools are reloaded. Each `NodeListener`
is notified of these changes. Renewals without an answer may be applied, also late, so a `beat` may grow by more than 1.

A renewal reads the rows of all nodes, `peers`; with many nodes not each renewal does (peers.is_reading_due). Nodes that
are silent for too long are lost (membership.Watch): the node frees their IPs.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from uuid import UUID, uuid4

import structlog
import trio

from daemon.database.postgres import Database, OwnConnection
from daemon.errors import DatabaseOccupied, DatabaseUnavailable, NodeDisplaced
from daemon.nodes.figures import ENCODER, NO_FIGURES, NodeFigures
from daemon.nodes.freeing import Freeing
from daemon.nodes.identity import Identity, NodeListener, NodeStatus
from daemon.nodes.joining import Entered, JoinRequest, joined
from daemon.nodes.membership import Displaced, Doubt, Watch, left_quiet_s, sighting_of, trusts_itself_until
from daemon.nodes.owned import Tenure
from daemon.nodes.peers import RENEW_MIN_S, Peers, is_reading_due, peer_of
from daemon.storable import stored_json
from daemon.troubles import Troubles

RENEW_S = 1.0
RENEW_TIMEOUT_S = 5.0
JOIN_RETRY_S = 2.0
LEAVE_S = 3.0
BEFORE_S = 60.0
RENEWING = "renewing this node's trust"
JOINING = "joining as a node"

log = structlog.get_logger("daemon.nodes")


@dataclass(eq=False, repr=False)
class Member:
    """One run of the daemon as a node: `join`, then `run`, and `leave` if all its entries are shipped.

    `_boot_s` reads the boot clock. `alone`: there can be no other node. `taken_epoch`: of the row, if this run has
    taken it before it joins, see clones.py. `on_displaced` is called when another run with its node id has joined.
    `before`: the last figures of the run before this one, if that ended BEFORE_S ago at most.
    """

    _database: Database
    _identity: Identity
    _troubles: Troubles
    _boot_s: Callable[[], float]
    _: KW_ONLY
    alone: bool = False
    taken_epoch: int | None = None
    on_displaced: Callable[[NodeDisplaced], None] = lambda error: None
    peers: Peers = field(init=False)
    before: NodeFigures = field(default=NO_FIGURES, init=False)
    _figures: Callable[[], NodeFigures] = field(init=False)
    _longest_rest_s: Callable[[], float] = field(init=False)
    _trusted_until_s: float = field(default=float("-inf"), init=False)
    _rejoins: int = field(default=0, init=False)  # how often the claim was lost
    _rejoins_handled: int = field(default=0, init=False)  # by all listeners
    _listeners: list[NodeListener] = field(default_factory=list, init=False)
    _epoch: int | None = field(default=None, init=False)  # of the row, once this run has joined
    _claim: UUID | None = field(default=None, init=False)
    _claims: set[UUID] = field(default_factory=set, init=False)  # of all joins, also without an answer
    is_displaced: bool = field(default=False, init=False)
    _beat: int = field(default=0, init=False)  # of the last renewal that was confirmed
    _draining: bool = field(default=False, init=False)
    doubt: Doubt = field(default_factory=Doubt, init=False)
    _watch: Watch = field(default_factory=Watch, init=False)
    _joined: trio.Event = field(default_factory=trio.Event, init=False)
    _hurried: trio.Event = field(default_factory=trio.Event, init=False)
    _hurries_others: bool = field(default=False, init=False)
    # set when it is known whether another node leases this node's IPs
    decided: trio.Event = field(default_factory=trio.Event, init=False)
    _is_occupied: bool = field(default=False, init=False)  # another node leases this node's IPs

    def __post_init__(self) -> None:
        self.report(lambda: NO_FIGURES, lambda: 0.0)
        self.peers = Peers(self._identity.node_id, float("-inf"))
        self._epoch = self.taken_epoch
        self._freeing = Freeing(self._database, self._identity.trust_s, self._identity.quiet_s)

    def subscribe(self, listener: NodeListener) -> None:
        self._listeners.append(listener)

    def report(self, figures: Callable[[], NodeFigures], longest_rest_s: Callable[[], float] | None = None) -> None:
        """`figures()` is written with each renewal; `longest_rest_s()`: until the last endpoint has rested."""
        self._figures = figures
        if longest_rest_s is not None:
            self._longest_rest_s = longest_rest_s

    def may_lease(self) -> bool:
        is_trusted = self._boot_s() < self._trusted_until_s
        return is_trusted and self._rejoins_handled == self._rejoins and not self._draining

    def claim(self) -> UUID | None:
        """This run's claim; None while another node leases this node's IPs: then this node may write only facts.

        Raises DatabaseOccupied while neither is known: then nothing may be written.
        """
        if self._claim is None and not self._is_occupied:
            raise DatabaseOccupied("this node has no claim on the database now")
        return self._claim

    @property
    def term(self) -> int:
        """The epoch of the node's last join, see owned.Tenure."""
        return self._epoch or 0

    async def tenure(self) -> Tenure:
        """The claim under which rows are taken and read now. Waits while there is none."""
        while self._claim is None:
            await self._joined.wait()
        me = self._identity
        return Tenure(
            node_id=me.node_id,
            claim=self._claim,
            term=self.term,
            beat=self._beat,
            server_s=self.doubt.server_s,
            takes=not self._draining,
            alone=self.alone,
            rests_s=self._newcomers_rest_s(),
        )

    def _newcomers_rest_s(self) -> float:
        is_shared = not self.alone and any(self.peers.others())
        return self._identity.quiet_s() if is_shared and self.doubt.holds(trio.current_time()) else 0.0

    def hurry(self, *, others: bool = False) -> None:
        """Renew soon, RENEW_MIN_S after the last renewal. `others`: then the other nodes renew too."""
        self._hurries_others = self._hurries_others or others
        self._hurried.set()

    @property
    def trusted_for_s(self) -> float | None:
        """How long the node may lease without PostgreSQL; None: no limit."""
        return None if self.alone else max(0.0, self._trusted_until_s - self._boot_s())

    async def join(self) -> None:
        """Returns once this node has joined. It waits for a daemon that would lease the same IPs.

        Raises NodeDisplaced if another run with the same node id has joined after this one.
        """
        while True:
            asked_s, claim = self._boot_s(), uuid4()
            self._claims.add(claim)
            try:
                request = JoinRequest(
                    self._identity, claim, self._claims, self._epoch, self._encoded_figures(), self.alone
                )
                found = await self._database.work(joined, request)
                if isinstance(found, Entered):
                    break
                if isinstance(found, Displaced):
                    self.is_displaced = True
                    raise found.error(self._identity.name)
                await self._lose_ips()
                raise found.error()
            except DatabaseUnavailable as e:
                self._troubles.note(JOINING, e, effect="this node leases nothing: clicks fall back")
                await trio.sleep(JOIN_RETRY_S)
        if not found.continues:
            await self._lose_ips()
        self._epoch, self._beat, self._draining = found.epoch, found.beat, found.draining
        now_s = trio.current_time()
        self.doubt.found_server(found.server_s, now_s)
        self.peers = Peers(self._identity.node_id, now_s, found.peers)
        mine = found.peers.get(self._identity.node_id)
        if mine is not None and mine.seen_s_ago <= BEFORE_S:
            self.before = mine.figures
        self._claim, self._is_occupied, self._watch = claim, False, Watch()
        self.decided.set()
        self._joined.set()
        self._trust_from(asked_s)
        self._troubles.over(JOINING)
        log.info("node_joined", name=self._identity.name, node_id=str(self._identity.node_id))

    async def _lose_ips(self) -> None:
        """Other nodes own, or owned, this node's IPs."""
        if not self._is_occupied:
            for listener in self._listeners:
                await listener.ips_lost()
            self._is_occupied = True
            self.decided.set()

    def _encoded_figures(self) -> str:
        return stored_json(ENCODER, self._figures())

    def _trust_from(self, asked_s: float) -> None:
        trust_s = float("inf") if self.alone else self._identity.trust_s
        self._trusted_until_s = trusts_itself_until(asked_s, trust_s)

    async def run(self) -> None:
        """Renews the trust until cancelled; joins again if the claim is lost. Returns if it is displaced."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_trust)
            nursery.start_soon(self._freeing.run)
            while True:
                try:
                    async with self._database.own_connection(RENEW_TIMEOUT_S) as connection:
                        while await self._renewed(connection):
                            await self._pause()
                except DatabaseUnavailable as e:
                    self._troubles.note(RENEWING, e, effect=self._while_unheard())
                    await trio.sleep(RENEW_S)
                    continue
                try:
                    await self._rejoin(nursery)
                except NodeDisplaced as e:
                    self.on_displaced(e)
                    nursery.cancel_scope.cancel()
                    return

    async def _pause(self) -> None:
        self._troubles.over(RENEWING)
        await trio.sleep(RENEW_MIN_S)
        with trio.move_on_after(RENEW_S - RENEW_MIN_S):
            await self._hurried.wait()

    async def _renewed(self, connection: OwnConnection) -> bool:
        """False: the claim is lost."""
        me, asked_s = self._identity, self._boot_s()
        passed_s, hurried = trio.current_time() - self.peers.read_s, self._hurried.is_set()
        reads = is_reading_due(len(self.peers.by_id), passed_s, hurried=hurried)
        values = me.node_id, self._claim, me.trust_s, me.quiet_s(), self._encoded_figures(), self._hurries_others
        self._hurries_others, self._hurried = False, trio.Event()
        rows = await connection.fetch("renew_node", *values, reads)
        mine = next((row for row in rows if row["node_id"] == me.node_id), None)
        if mine is None or mine["epoch"] < self.term:
            self.doubt.rows_lost()
        if mine is None or mine["renewed"] is None:
            return self._lost_claim("its row in the table nodes was removed, or has another claim")
        if mine["renewed"] <= self._beat:
            self.doubt.rows_lost()
            return self._lost_claim(
                "the database has lost its last changes: a backup was restored, or a replica took over"
            )
        self._beat, self._draining = mine["renewed"], mine["draining"]
        self._trust_from(asked_s)
        now_s = trio.current_time()
        self.doubt.found_server(mine["server_s"], now_s)
        if not reads:
            return True
        self.peers = Peers(me.node_id, now_s, {row["node_id"]: peer_of(row) for row in rows})
        others = [sighting_of(row) for row in rows if row is not mine]
        self._freeing.found_lost(self._watch.lost(others, now_s))
        for listener in self._listeners:
            listener.renewed(self.peers)
        return True

    def _lost_claim(self, why: str) -> bool:
        self._claim, self._trusted_until_s = None, float("-inf")
        self._joined = trio.Event()
        self._rejoins += 1
        log.critical("node_claim_lost", effect="no IP is leased until this node has joined again", why=why)
        return False

    async def _rejoin(self, nursery: trio.Nursery) -> None:
        for listener in self._listeners:
            await listener.leasing_ended()
        await self.join()
        nursery.start_soon(self._notify_rejoined, self._rejoins)  # the trust is renewed meanwhile

    async def _notify_rejoined(self, rejoin: int) -> None:
        for listener in self._listeners:
            await listener.rejoined()
        self.doubt.reloaded(trio.current_time())
        self._rejoins_handled = rejoin

    async def _watch_trust(self) -> None:
        leases = self.may_lease()
        while True:
            leased, leases = leases, self.may_lease()
            if leases and not leased:
                log.info("node_leases_again")
            elif leased and not leases and self._claim is not None:
                if self._draining:
                    log.warning("node_drains", effect="it leases no IP, and gives its IPs to the other nodes",
                                next="tracepool nodes list")  # fmt: skip
                elif self._boot_s() >= self._trusted_until_s:
                    why = f"PostgreSQL did not answer for {self._identity.trust_s:g} s (node.trust_s)"
                    effect = "no IP is leased: clicks fall back until it answers"
                    log.critical("node_trust_ended", why=why, effect=effect)
                for listener in self._listeners:
                    await listener.leasing_ended()
            await trio.sleep(RENEW_S)

    def _while_unheard(self) -> str:
        if (left_s := self.trusted_for_s) is None:
            return "clicks are traced as before"
        return f"clicks are traced as before for {left_s:.0f} s more" if left_s else "clicks fall back"

    async def leave(self) -> None:
        """Lets other nodes use the rested IPs. Only for a stop after which no entry is left in the spool."""
        quiet_s = left_quiet_s(self._longest_rest_s())
        with trio.move_on_after(LEAVE_S, shield=True):
            try:
                await self._database.fetch("leave_node", self._identity.node_id, self._claim, quiet_s)
            except DatabaseUnavailable as e:
                effect = "the other nodes have its IPs when its trust has ended"
                log.warning("node_could_not_leave", why=str(e), effect=effect)
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
