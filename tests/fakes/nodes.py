"""Nodes that share a country's IPs, on a virtual clock: real pools, actors and balancers, a database in memory."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import trio

from daemon.journal.entries import Entry, IpGiven
from daemon.nodes.balancer import Balancer
from daemon.nodes.figures import NO_FIGURES, NodeFigures
from daemon.nodes.peers import Peer, Peers
from daemon.oneshot import OneShot
from daemon.pool.actor import PoolActor, Publish
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Acquire, Adopt, Lease, Message, NoIPAvailable, Release
from daemon.pool.pool import Pool
from daemon.pool.states import Event, Rules
from tests.fakes.asked import clocks
from tests.fakes.ips import an_ip

GIVE_S = 0.15  # from the decision to the receiver's pool
RENEW_S = 1.0
RENEW_MIN_S = 0.5
RESTARTED_LEASE_NO = 1_000_000


@dataclass(eq=False)
class Shared:
    """The database: whose each IP is, and the nodes' rows."""

    owners: dict[UUID, UUID] = field(default_factory=dict)
    rows: dict[UUID, Peer] = field(default_factory=dict)
    renewed_s: dict[UUID, float] = field(default_factory=dict)
    nodes: dict[UUID, "PlayedNode"] = field(default_factory=dict)
    moves: Counter[UUID] = field(default_factory=Counter)  # by receiver
    edit_no: int = 0

    def owned(self) -> Counter[UUID]:
        return Counter(self.owners.values())


@dataclass(eq=False)
class PlayedNode:
    """`leases`, `refused`: answers to `ask`. `draining` as an operator sets it."""

    number: int
    shared: Shared
    rules: Rules
    nursery: trio.Nursery
    draining: bool = False
    is_up: bool = True
    leases: int = 0
    waits_s: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    renewals: int = 0

    def __post_init__(self) -> None:
        self.id = UUID(int=self.number)
        self.term = 0
        self.before = NO_FIGURES
        self.peers = Peers(self.id, float("-inf"))
        self._hurried = trio.Event()
        self._hurries_others = False
        self._boot()
        self.shared.nodes[self.id] = self

    def _boot(self) -> None:
        self.directory = PoolDirectory(self._pool, self._start, clocks)
        self.balancer = Balancer(self, self.directory, lambda: self.rules.cooldown_s)  # type: ignore[arg-type]
        self.directory.on_wait(self.balancer.wake)
        self._lives: list[trio.CancelScope] = []

    def _live(self, run: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task of this run of the node."""
        self._lives.append(life := trio.CancelScope())

        async def lives() -> None:
            with life:
                await run(*args)

        self.nursery.start_soon(lives)

    def restart(self) -> None:
        """In place, with its own IPs, all of which have rested."""
        for life in self._lives:
            life.cancel()
        self.before = self.shared.rows[self.id].figures
        self._boot()
        own = [ip_id for ip_id, owner in self.shared.owners.items() if owner == self.id]
        self.directory.open("us", [an_ip(str(ip_id), id=ip_id, lease_no=RESTARTED_LEASE_NO) for ip_id in own])
        self._live(self.balancer.run)

    def hurry(self, *, others: bool = False) -> None:
        """The other nodes renew too when this one has."""
        self._hurries_others = self._hurries_others or others
        self._hurried.set()

    def _pool(self, country: str) -> Pool:
        return Pool(country, self.rules, chance=random.Random(self.number).random)

    def _start(self, pool: Pool, mailbox: "trio.MemoryReceiveChannel[Message]", publish: Publish) -> None:
        actor = PoolActor(pool, mailbox, self, clocks, lambda: not self.draining, publish=publish)
        self._live(actor.run, [])

    def record(self, *entries: Entry) -> None:
        for entry in entries:
            if isinstance(entry, IpGiven):
                self.nursery.start_soon(self._deliver, entry)

    async def durable(self, *entries: Entry) -> bool:
        self.record(*entries)
        return True

    async def _deliver(self, entry: IpGiven) -> None:
        await trio.sleep(GIVE_S)
        assert self.shared.owners[entry.id] == self.id
        self.shared.owners[entry.id] = entry.to
        self.shared.moves[entry.to] += 1
        self.shared.edit_no += 1
        row = an_ip(str(entry.id), id=entry.id, edit_no=self.shared.edit_no, lease_no=entry.lease_no + 1)
        receiver = self.shared.nodes[entry.to]
        pool = receiver.directory.known("us") or receiver.directory.open("us", ())
        await pool.mailbox.send(Adopt((row,)))

    async def run(self) -> None:
        self._live(self.balancer.run)
        while True:
            if self.is_up:
                self._renew()
            await trio.sleep(RENEW_MIN_S)
            with trio.move_on_after(RENEW_S - RENEW_MIN_S):
                await self._hurried.wait()
            self._hurried = trio.Event()

    def _renew(self) -> None:
        self.renewals += 1
        now_s = trio.current_time()
        figures = NodeFigures(self.balancer.countries(), max(0.1, self.balancer.pools_s()))
        self.shared.rows[self.id] = Peer(
            self.id, f"n{self.number}", 1, "active", self.draining, "1", 900, 1100, figures
        )
        self.shared.renewed_s[self.id] = now_s
        ages_s = {node: now_s - at_s for node, at_s in self.shared.renewed_s.items()}
        rows = {node: replace(row, trusted_for_s=900 - ages_s[node]) for node, row in self.shared.rows.items()}
        self.peers = Peers(self.id, now_s, rows)
        self.balancer.wake()
        if self._hurries_others:
            self._hurries_others = False
            for node in self.shared.nodes.values():
                node.hurry()

    async def ask(self, patience_s: float, hold_s: float) -> Lease | NoIPAvailable:
        """A click: refused at once, or sent to the pool."""
        asked_s = trio.current_time()
        pool = self.directory.find("us")
        if pool is None:
            self.refused["no_pool"] += 1
            return NoIPAvailable(None, "no_pool")
        if why := pool.turns_away(asked_s + patience_s, asked_s):
            self.refused[why] += 1
            return NoIPAvailable(None, why)
        reply: OneShot[Any] = OneShot()
        with reply:
            await pool.mailbox.send(Acquire(UUID(int=random.getrandbits(128)), asked_s + patience_s, reply))
            answer: Lease | NoIPAvailable = NoIPAvailable(None, "restarted")
            with trio.move_on_after(patience_s + 1):
                answer = await reply.receive()
        if isinstance(answer, NoIPAvailable):
            self.refused[answer.why] += 1
            return answer
        self.leases += 1
        self.waits_s.append(trio.current_time() - asked_s)
        assert self.shared.owners[answer.ip_id] == self.id
        await trio.sleep(hold_s)
        await pool.mailbox.send(Release(answer.ip_id, answer.lease_no, Event.RELEASED_OK, 100.0))
        return answer

    async def clicks(self, per_s: Callable[[float], float], seconds: float, chance: random.Random) -> None:
        """Clicks at random, `per_s(time since the start)` on average."""
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            while (passed_s := trio.current_time() - began_s) < seconds:
                rate = per_s(passed_s)
                await trio.sleep(chance.expovariate(max(rate, 1e-3)))
                if chance.random() < per_s(trio.current_time() - began_s) / max(rate, 1e-3):
                    nursery.start_soon(self.ask, 9.0, chance.uniform(1.0, 5.0))


def started(
    nursery: trio.Nursery, nodes: int, ips: int, rules: Rules | None = None, owner: int = 1
) -> list[PlayedNode]:
    """All IPs are the first node's."""
    shared, rules = Shared(), rules or Rules()
    found = [PlayedNode(number, shared, rules, nursery) for number in range(1, nodes + 1)]
    rows = [an_ip(f"192.0.2.{number}", port=str(number)) for number in range(ips)]
    shared.owners.update({row.id: UUID(int=1) for row in rows})
    found[0].directory.open("us", rows)
    for node in found:
        nursery.start_soon(node.run)
    return found
