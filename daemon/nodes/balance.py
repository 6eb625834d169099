"""Which node should own how many of a country's IPs, and what the owner gives away now. Pure, the same on each node.

A gift has one of four causes:

- a request waits for an IP, or was refused lately, and the giver has idle IPs beyond its own demand of OWN_S
- the receiver owns less than half of its target, and runs for SETTLED_S: the deficit at once
- the giver owns more than its target, or the receiver less, by over HYSTERESIS: at most MOVED_MAX per MOVED_S
- the giver drains: everything

Each node computes the gifts of all nodes, with givers and receivers in a fixed order, and makes its own ones. So two
givers do not fill one deficit twice. Gifts on their way count as the receiver's: each giver publishes them (`sent`).
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from uuid import UUID

from daemon.nodes.figures import CountryFigures

HYSTERESIS = 0.2  # of the target
MOVED_MAX = 0.05  # of a country's healthy IPs, and at least one, per MOVED_S and receiver
MOVED_S = 10.0
OWN_S = 2.0  # a giver keeps idle IPs for its own demand of this time
SETTLED_S = 10.0  # a node that has just started may stop again
CYCLE_S = 65.0  # from one lease of an IP to the next possible one
HEADROOM = 1.25  # IPs that a node's demand needs at least, as a multiple of those in use
EVEN_PER_S = 0.2  # requests per second that are added to the demand of all nodes together: few requests say little


@dataclass(frozen=True, slots=True)
class Gift:
    """`count` IPs of `country` for the node `to`: idle ones now, and up to `later` of them as they become available.

    `failed`: also this many failed IPs.
    """

    country: str
    to: UUID
    count: int
    later: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """A gift that was made at `at_s`."""

    to: UUID
    count: int
    at_s: float


def targets(
    nodes: Mapping[UUID, CountryFigures], draining: AbstractSet[UUID] = frozenset(), *, cycle_s: float = CYCLE_S
) -> dict[UUID, int]:
    """How many healthy IPs of one country each node should own; their sum is what all nodes own now.

    A node that does not drain gets one IP while there are enough. The others go by demand; what no demand needs is
    divided evenly. All zero if all nodes drain.
    """
    total = sum(figures.healthy for figures in nodes.values())
    takers = sorted(node for node in nodes if node not in draining)
    aims = dict.fromkeys(sorted(nodes), 0)
    if not takers:
        return aims
    if total < len(takers):
        # An owner keeps its IP unless another one's demand is clearly higher.
        wish = {node: nodes[node].wanted_per_s * (1.5 if nodes[node].healthy else 1.0) for node in takers}
        first = sorted(takers, key=lambda node: (-wish[node], -nodes[node].healthy, node))
        return aims | dict.fromkeys(first[:total], 1)
    evenly = EVEN_PER_S / len(takers)
    needs = {node: (nodes[node].wanted_per_s + evenly) * cycle_s * HEADROOM for node in takers}
    spare = max(0.0, total - sum(needs.values())) / len(takers)
    return aims | _divided(total, {node: need + spare for node, need in needs.items()})


def _divided(total: int, weights: Mapping[UUID, float]) -> dict[UUID, int]:
    """`total` in whole numbers by weight, at least one each (largest remainder; the first of equal ones)."""
    rest, scale = total - len(weights), sum(weights.values())
    exact = {node: rest * weight / scale for node, weight in weights.items()}
    parts = {node: int(part) for node, part in exact.items()}
    left = rest - sum(parts.values())
    for node in sorted(weights, key=lambda node: (parts[node] - exact[node], node))[:left]:
        parts[node] += 1
    return {node: part + 1 for node, part in parts.items()}


def unseen(nodes: Mapping[UUID, CountryFigures], node: UUID) -> int:
    """How many IPs are on their way to `node`, as the givers' figures say."""
    adopted = nodes[node].adopted
    count = 0
    for figures in nodes.values():
        if (sent := figures.sent.get(node)) is not None:
            count += max(0, min(sent.count, sent.seen_at - adopted))
    return count


def idle(figures: CountryFigures) -> int:
    """How many available IPs the node does not need within OWN_S."""
    return max(0, figures.available - figures.waiting - int(figures.wanted_per_s * OWN_S + 0.5))


def to_come(figures: CountryFigures) -> int:
    """How many IPs a request on another node may expect: idle ones, now or as soon as the next rest ends."""
    return max(0, figures.available + figures.soon - figures.waiting - int(figures.wanted_per_s * OWN_S + 0.5))


@dataclass(slots=True)
class _Plan:
    """The gifts of all nodes; `offers` and `needs` of the current step. `now`, `later`: (giver, receiver): count."""

    offers: dict[UUID, int] = field(default_factory=dict)
    made: dict[UUID, int] = field(default_factory=dict)
    got: dict[UUID, int] = field(default_factory=dict)

    def match(
        self, offers: Mapping[UUID, int], needs: Mapping[UUID, int], order: Iterable[UUID]
    ) -> dict[tuple[UUID, UUID], int]:
        """Fills the needs in `order` from the offers, by the givers' ids. `offers` and `needs` lack earlier steps."""
        parts = dict[tuple[UUID, UUID], int]()
        left = {giver: offer - self.made.get(giver, 0) for giver, offer in sorted(offers.items())}
        for receiver in order:
            need = needs.get(receiver, 0)
            for giver, offer in left.items():
                part = min(need, offer)
                if part > 0 and giver != receiver:
                    parts[giver, receiver] = part
                    left[giver] -= part
                    need -= part
                    self.made[giver] = self.made.get(giver, 0) + part
                    self.got[receiver] = self.got.get(receiver, 0) + part
        return parts


def gifts(
    country: str,
    me: UUID,
    nodes: Mapping[UUID, CountryFigures],
    given: Iterable[Given],
    now_s: float,
    *,
    draining: AbstractSet[UUID] = frozenset(),
    settled: AbstractSet[UUID] | None = None,
    cycle_s: float = CYCLE_S,
) -> list[Gift]:
    """What `me` gives now. `nodes`: the figures of all nodes that lease, with `me`.

    `given`: the gifts that `me` has made in this country within MOVED_S. `settled`: nodes that run for SETTLED_S; None:
    all.
    """
    if len(nodes) < 2 or me not in nodes or not nodes[me].total:
        return []
    aims = targets(nodes, draining, cycle_s=cycle_s)
    takers = [node for node in aims if node not in draining]
    coming = {node: unseen(nodes, node) for node in nodes}
    owned = {node: figures.healthy + coming[node] for node, figures in nodes.items()}
    if any(coming.values()):
        aims = targets(_with(nodes, coming), draining, cycle_s=cycle_s)
    plan = _Plan()
    order = sorted(takers, key=lambda node: (owned[node] / max(1, aims[node]), node))

    offers = {n: f.available if n in draining else idle(f) for n, f in nodes.items()}
    needs = {n: nodes[n].waiting + nodes[n].missed - nodes[n].available - coming[n] for n in takers}
    now = plan.match(offers, needs, order)

    offers = {node: nodes[node].healthy - aims[node] for node in nodes}
    left = {node: aims[node] - owned[node] - plan.got.get(node, 0) for node in takers}
    needs = {n: left[n] for n in takers if owned[n] * 2 < aims[n] and (settled is None or n in settled)}
    later = plan.match(offers, needs, order)

    left = {node: aims[node] - owned[node] - plan.got.get(node, 0) for node in takers}
    drained = plan.match({n: offer for n, offer in offers.items() if n in draining}, left, order)

    most = max(1, int(MOVED_MAX * sum(owned.values())))
    left = {node: min(most, aims[node] - owned[node] - plan.got.get(node, 0)) for node in takers}
    low = {node for node in takers if owned[node] < aims[node] * (1 - HYSTERESIS)}
    high = {node for node in nodes if nodes[node].healthy > aims[node] * (1 + HYSTERESIS)}
    slow = plan.match({n: o for n, o in offers.items() if n in high}, left, order)
    left = {node: left[node] - sum(part for (_, to), part in slow.items() if to == node) for node in low}
    for pair, part in plan.match({n: o for n, o in offers.items() if n not in draining}, left, order).items():
        slow[pair] = slow.get(pair, 0) + part

    failed = _failed_parts(nodes[me].failed, takers) if me in draining else {}
    lately = dict[UUID, int]()
    for earlier in given:
        if now_s - earlier.at_s < MOVED_S:
            lately[earlier.to] = lately.get(earlier.to, 0) + earlier.count
    found = []
    for to in takers:
        pair = me, to
        wait = later.get(pair, 0) + drained.get(pair, 0) + max(0, slow.get(pair, 0) - lately.get(to, 0))
        gift = Gift(country, to, now.get(pair, 0) + wait, wait, failed.get(to, 0))
        if gift.count or gift.failed:
            found.append(gift)
    return found


def _with(nodes: Mapping[UUID, CountryFigures], coming: Mapping[UUID, int]) -> dict[UUID, CountryFigures]:
    return {
        node: CountryFigures(
            available=figures.healthy + coming[node], failed=figures.failed, wanted_per_s=figures.wanted_per_s
        )
        for node, figures in nodes.items()
    }


def _failed_parts(failed: int, takers: list[UUID]) -> dict[UUID, int]:
    """The failed IPs of a draining node in even parts."""
    if not takers:
        return {}
    each, more = divmod(failed, len(takers))
    return {node: each + (place < more) for place, node in enumerate(takers)}
