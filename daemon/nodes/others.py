"""The other nodes' figures, by country, with their sums. What a renewal did not change is not summed again. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from daemon.nodes.balance import idle, on_their_way, to_come
from daemon.nodes.figures import NO_COUNTRY_FIGURES, NO_FIGURES, CountryFigures, NodeFigures, Sent
from daemon.nodes.peers import Peer
from daemon.pool.messages import NO_COUNTS, Counts


@dataclass(frozen=True, slots=True, eq=False)
class Others:
    """One country's `figures` of the other nodes `ids`, of which some may have none, and their sums.

    `idle`: IPs that the other nodes do not need. `to_come`: how many IPs a request may expect. `are_short`: whether any
    of the nodes is short. `sent`: their gifts on the way.
    """

    ids: frozenset[UUID] = frozenset()
    figures: Mapping[UUID, CountryFigures] = field(default_factory=dict)
    counts: Counts = NO_COUNTS
    broken: int = 0
    idle: int = 0
    to_come: int = 0
    are_short: bool = False
    sent: tuple[Mapping[UUID, Sent], ...] = ()

    def of(self, node: UUID) -> CountryFigures:
        return self.figures.get(node, NO_COUNTRY_FIGURES)

    def coming(self, node: UUID, adopted: int) -> int:
        """How many IPs are on their way from other nodes to `node`, which has adopted so many."""
        return on_their_way([sent[node] for sent in self.sent if node in sent], adopted)


NO_OTHERS = Others()


def summed(ids: frozenset[UUID], figures: Mapping[UUID, CountryFigures]) -> Others:
    available = locked = cooldown = failed = waiting = broken = idle_ = to_come_ = 0
    are_short, sent = False, []
    for its in figures.values():
        available += its.available
        locked += its.locked
        cooldown += its.cooldown
        failed += its.failed
        waiting += its.waiting
        broken += its.broken
        idle_ += idle(its)
        to_come_ += to_come(its)
        are_short = are_short or is_short(its)
        if its.sent:
            sent.append(its.sent)
    total = available + locked + cooldown + failed
    counts = Counts(total, available, locked, cooldown, failed, waiting)
    return Others(ids, dict(figures), counts, broken, idle_, to_come_, are_short, tuple(sent))


class OtherNodes:
    """`ids`: the other nodes that take part."""

    def __init__(self) -> None:
        self.ids: frozenset[UUID] = frozenset()
        self._nodes: dict[UUID, NodeFigures] = {}
        self._figures: dict[str, dict[UUID, CountryFigures]] = {}
        self._others: dict[str, Others] = {}  # of countries that have not changed since

    def countries(self) -> list[str]:
        """Those that other nodes have figures of."""
        return [country for country, figures in self._figures.items() if figures]

    def of(self, country: str) -> Others:
        found = self._others.get(country)
        if found is None:
            found = self._others[country] = summed(self.ids, self._figures.get(country, {}))
        return found

    def read(self, peers: Iterable[Peer]) -> None:
        """The other nodes that take part, as they are now."""
        now = {peer.node_id: peer.figures for peer in peers}
        if now.keys() != self.ids:
            self.ids = frozenset(now)
            self._others.clear()
        for node in self._nodes.keys() | now.keys():
            before, after = self._nodes.get(node, NO_FIGURES), now.get(node, NO_FIGURES)
            if before is not after:
                self._change(node, before.countries, after.countries)
        self._nodes = now

    def _change(self, node: UUID, before: Mapping[str, CountryFigures], after: Mapping[str, CountryFigures]) -> None:
        for country, its in after.items():
            if its != before.get(country):
                self._figures.setdefault(country, {})[node] = its
                self._others.pop(country, None)
        for country in before.keys() - after.keys():
            del self._figures[country][node]
            self._others.pop(country, None)


def is_short(figures: CountryFigures) -> bool:
    """Whether a request waits for an IP, or was refused lately."""
    return bool(figures.waiting or figures.missed)
