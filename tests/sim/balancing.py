"""The daemon's own balancer (nodes/balancer.py) in a run of the simulation, whose pools have no actors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.nodes.balancer import EACH_S, PAUSE_S, Balancer
from daemon.nodes.figures import NodeFigures
from daemon.nodes.peers import Peer, Peers
from daemon.pool.messages import Message, PoolView
from tests.sim.loop import Signal, Task, Wait
from tests.sim.tables import NodeRecord

if TYPE_CHECKING:
    from tests.sim.node import Run


@dataclass(frozen=True, slots=True)
class _Handle:
    """As a PoolHandle; `mailbox` is the handle itself, and a message is handled at once."""

    run: "Run"
    country: str
    turned_away: int = 0

    @property
    def view(self) -> PoolView:
        return self.run.pools[self.country].view()

    @property
    def mailbox(self) -> "_Handle":
        return self

    def send_nowait(self, message: Message) -> None:
        self.run.handle(self.country, message)


class Balancing:
    """The balancer's member and directory."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self.peers = Peers(run.home.node_id, float("-inf"))
        row = run.world.tables.data.nodes.get(run.home.node_id)
        self.before = NodeFigures() if row is None else row.figures
        self._balancer: Balancer | None = None
        self._woken = Signal()
        self._handles: dict[str, _Handle] = {}

    # Member

    @property
    def term(self) -> int:
        return self._run.epoch

    def hurry(self, *, others: bool = False) -> None:
        self._run.hurried.set()

    # PoolDirectory

    def __iter__(self) -> Iterator[_Handle]:
        return iter([self._handle(country) for country in self._run.pools])

    def _handle(self, country: str) -> _Handle:
        found = self._handles.get(country)
        if found is None:
            found = self._handles[country] = _Handle(self._run, country)
        return found

    def known(self, country: str) -> _Handle | None:
        return self._handle(country) if country in self._run.pools else None

    def open(self, country: str, ips: tuple[()], term: int) -> None:
        self._run.open(country).load_rows(ips, self._run.moment(), term)

    # The run

    def figures(self) -> NodeFigures:
        if self._balancer is None:
            return NodeFigures()
        return NodeFigures(countries=self._balancer.countries(), pools_s=self._balancer.pools_s())

    def read(self, rows: list[NodeRecord], now_s: float) -> None:
        """After each renewal."""
        self.peers = Peers(self._run.home.node_id, self._run.tick(), {row.node_id: _peer(row, now_s) for row in rows})
        self._woken.set()

    def note_waiting(self) -> None:
        """A request waits for an IP, or got none."""
        self._woken.set()

    def run(self) -> Task:
        """As Balancer.run. Call it when the pools are loaded."""
        balancer: Any = Balancer
        run = self._run
        self._balancer = balancer(self, self, lambda: run.rules.cooldown_s, run.tick)
        while True:
            self._balancer.step(run.tick())
            yield PAUSE_S
            yield Wait(self._woken, EACH_S)


def _peer(row: NodeRecord, now_s: float) -> Peer:
    trusted_for_s = row.trusted_until_s - now_s
    return Peer(
        row.node_id, row.name, row.epoch, row.state, row.draining, "", trusted_for_s, trusted_for_s + row.quiet_s,
        row.figures, row.trust_s, row.quiet_s,
    )  # fmt: skip
