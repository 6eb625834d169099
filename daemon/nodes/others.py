"""The other nodes' figures, by country, with their sums: of each renewal only what has changed is counted. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from daemon.nodes.balance import idle, on_their_way
from daemon.nodes.figures import NO_COUNTRY_FIGURES, CountryFigures, NodeFigures
from daemon.nodes.peers import Peer
from daemon.pool.messages import NO_COUNTS, Counts


@dataclass(eq=False, slots=True)
class Others:
    """One country's figures of the other nodes; a node that is not in `figures` has none.

    `adopted`: of all nodes, replaced at each change. `idle`: IPs that other nodes do not need. `short`: how many nodes
    have requests that wait for an IP, or were refused lately.
    """

    figures: dict[UUID, CountryFigures] = field(default_factory=dict)
    adopted: Mapping[UUID, int] = field(default_factory=dict)
    counts: Counts = NO_COUNTS
    broken: int = 0
    idle: int = 0
    short: int = 0
    givers: set[UUID] = field(default_factory=set)  # whose gifts are on their way

    def put(self, node: UUID, its: CountryFigures) -> None:
        """The node's figures now."""
        before = self.figures.get(node, NO_COUNTRY_FIGURES)
        if its is NO_COUNTRY_FIGURES:
            self.figures.pop(node, None)
        else:
            self.figures[node] = its
        self.counts = _changed(self.counts, before, its)
        self.broken += its.broken - before.broken
        self.idle += idle(its) - idle(before)
        self.short += is_short(its) - is_short(before)
        if its.adopted != before.adopted:
            self.adopted = {**self.adopted, node: its.adopted}
        if its.sent:
            self.givers.add(node)
        elif before.sent:
            self.givers.discard(node)

    def coming(self, node: UUID, adopted: int) -> int:
        """How many IPs are on their way from other nodes to `node`, which has adopted so many."""
        sent = (self.figures[giver].sent for giver in self.givers)
        return on_their_way([its[node] for its in sent if node in its], adopted)


class OtherNodes:
    """`ids`: the other nodes that take part. `read` updates what changed."""

    def __init__(self) -> None:
        self.ids: frozenset[UUID] = frozenset()
        self._figures: dict[UUID, NodeFigures] = {}
        self._by_country: dict[str, Others] = {}

    def countries(self) -> Iterable[str]:
        """That another node has figures of."""
        return [country for country, its in self._by_country.items() if its.figures]

    def of(self, country: str) -> Others:
        found = self._by_country.get(country)
        if found is None:
            found = self._by_country[country] = Others(adopted=dict.fromkeys(self.ids, 0))
        return found

    def nodes(self, country: str) -> dict[UUID, CountryFigures]:
        """The figures of all other nodes."""
        known = self.of(country).figures
        return {node: known.get(node, NO_COUNTRY_FIGURES) for node in self.ids}

    def read(self, peers: Iterable[Peer]) -> None:
        """The other nodes that take part, as they are now."""
        now = {peer.node_id: peer.figures for peer in peers}
        changed = [(node, its) for node, its in now.items() if its is not self._figures.get(node)]
        gone = [node for node in self._figures if node not in now]
        for node, its in (*changed, *((node, NodeFigures()) for node in gone)):
            before = self._figures.get(node, NodeFigures()).countries
            for country, figures in its.countries.items():
                if figures != before.get(country):
                    self.of(country).put(node, figures)
            for country in before.keys() - its.countries.keys():
                self.of(country).put(node, NO_COUNTRY_FIGURES)
        self._figures = now
        if now.keys() != self.ids:
            self.ids = frozenset(now)
            for others in self._by_country.values():
                others.adopted = {node: others.figures.get(node, NO_COUNTRY_FIGURES).adopted for node in now}


def is_short(figures: CountryFigures) -> bool:
    """Whether a request waits for an IP, or was refused lately."""
    return bool(figures.waiting or figures.missed)


def _changed(counts: Counts, before: CountryFigures, now: CountryFigures) -> Counts:
    return Counts(
        counts.total + now.total - before.total,
        counts.available + now.available - before.available,
        counts.locked + now.locked - before.locked,
        counts.cooldown + now.cooldown - before.cooldown,
        counts.failed + now.failed - before.failed,
        counts.waiting + now.waiting - before.waiting,
    )
