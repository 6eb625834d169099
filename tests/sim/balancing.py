"""What a node knows of the others' figures, and its gifts: nodes/balance.py with nodes/balancer.py's bookkeeping."""

import math
from collections import deque
from typing import TYPE_CHECKING
from uuid import UUID

from daemon.nodes.balance import MOVED_S, SETTLED_S, Given, gifts
from daemon.nodes.figures import CountryFigures, NodeFigures, Sent
from daemon.pool.messages import Decision, Give, NoIPAvailable
from tests.sim.loop import Task
from tests.sim.tables import NodeRecord

if TYPE_CHECKING:
    from tests.sim.node import Run

EACH_S = 1.0
MEMORY_S = 30.0
MISSED_S = 5.0


class _Country:
    """`sent`: see CountryFigures."""

    def __init__(self) -> None:
        self.wanted = 0
        self.wanted_per_s = 0.0
        self.missed: deque[float] = deque()
        self.given: deque[Given] = deque()
        self.sent: dict[UUID, Sent] = {}


class Balancing:
    def __init__(self, run: "Run") -> None:
        self._run = run
        self._countries: dict[str, _Country] = {}
        self._peers: dict[UUID, NodeFigures] = {}
        self._draining: frozenset[UUID] = frozenset()
        self._settled: dict[UUID, float] = {}
        self._cycle_s = run.rules.cooldown_s + run.world.hops * run.world.hop_s

    def _of(self, country: str) -> _Country:
        return self._countries.setdefault(country, _Country())

    def wanted(self, country: str) -> None:
        self._of(country).wanted += 1

    def note(self, country: str, decision: Decision) -> None:
        """After each decision of a pool."""
        found = self._of(country)
        for _, answer in decision.answers:
            if isinstance(answer, NoIPAvailable) and answer.why != "untrusted":
                found.missed.append(self._run.tick())

    def figures(self) -> NodeFigures:
        now_s = self._run.tick()
        known = self._countries.keys() | self._run.pools.keys()
        return NodeFigures(countries={country: self._country(country, now_s) for country in known})

    def _country(self, name: str, now_s: float) -> CountryFigures:
        found, pool = self._of(name), self._run.pools.get(name)
        while found.missed and found.missed[0] < now_s - MISSED_S:
            found.missed.popleft()
        values = {"wanted_per_s": found.wanted_per_s, "missed": len(found.missed), "sent": dict(found.sent)}
        if pool is None:
            return CountryFigures(**values)  # type: ignore[arg-type]
        counts = pool.counts()
        return CountryFigures(
            counts.available, counts.locked, counts.cooldown, counts.failed, counts.waiting,
            adopted=pool.adopted, **values,  # type: ignore[arg-type]
        )  # fmt: skip

    def read(self, rows: list[NodeRecord], now_s: float) -> None:
        """After each renewal."""
        leasing = [row for row in rows if row.state == "active" and row.trusted_until_s > now_s]
        self._peers = {row.node_id: row.figures for row in leasing}
        self._draining = frozenset(row.node_id for row in leasing if row.draining)
        for row in leasing:
            self._settled.setdefault(row.node_id, self._run.tick())
        self._settled = {node: since for node, since in self._settled.items() if node in self._peers}

    def hurry_if_short(self) -> None:
        """A request waits here: the others learn of it soon."""
        if any(pool.waiting for pool in self._run.pools.values()):
            self._run.hurried.set()

    def run(self) -> Task:
        while True:
            self._smooth()
            if self._run.boot() < self._run._trusted_until_s and self._run.era == self._run._handled_era:
                self._give()
            yield EACH_S

    def _smooth(self) -> None:
        weight = 1 - math.exp(-EACH_S / MEMORY_S)
        for found in self._countries.values():
            found.wanted_per_s += weight * (found.wanted / EACH_S - found.wanted_per_s)
            found.wanted = 0

    def _give(self) -> None:
        me, now_s = self._run.home.node_id, self._run.tick()
        if me not in self._peers or len(self._peers) < 2:
            return
        own = self.figures()
        settled = {node for node, since in self._settled.items() if now_s - since >= SETTLED_S}
        for country in list(self._run.pools):
            nodes = {node: figures.countries.get(country, CountryFigures()) for node, figures in self._peers.items()}
            nodes[me] = own.countries[country]
            found = self._of(country)
            while found.given and found.given[0].at_s < now_s - MOVED_S:
                found.given.popleft()
            for gift in gifts(
                country, me, nodes, found.given, now_s,
                draining=self._draining, settled=settled, cycle_s=self._cycle_s,
            ):  # fmt: skip
                pool = self._run.pools[country]
                before = len(pool.ips)
                self._run.handle(country, Give(gift.to, gift.count, gift.later, gift.failed))
                if given := before - len(pool.ips):
                    found.given.append(Given(gift.to, given, now_s))
                    adopted = nodes[gift.to].adopted
                    earlier = found.sent.get(gift.to, Sent(0, adopted))
                    left = max(0, min(earlier.count, earlier.seen_at - adopted))
                    found.sent[gift.to] = Sent(left + given, adopted + left + given)
