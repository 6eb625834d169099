"""Which node should own how many of a country's IPs, and what the owner gives away now. Pure, the same on each node.

A gift has one of four causes:

- a request waits for an IP, or was refused lately, and the giver has idle IPs beyond its own demand of OWN_S
- the receiver owns less than half of its target, and runs for SETTLED_S: the deficit at once
- the giver owns more than its target, or the receiver less, by over HYSTERESIS: at most MOVED_MAX per MOVED_S
- the giver drains: everything

Each node computes the gifts of all nodes, with givers and receivers in a fixed order, and makes its own ones. So two
givers do not fill one deficit twice. Gifts on their way count as the receiver's: each giver publishes them (`sent`).
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import attrgetter
from uuid import UUID

from daemon.nodes.figures import CountryFigures, Sent

HYSTERESIS = 0.2  # of the target
MOVED_MAX = 0.05  # of a country's healthy IPs, and at least one, per MOVED_S and receiver
MOVED_S = 10.0
OWN_S = 2.0  # a giver keeps idle IPs for its own demand of this time
SETTLED_S = 10.0  # a node that has just started may stop again
CYCLE_S = 65.0  # from one lease of an IP to the next possible one
HEADROOM = 1.25  # IPs that a node's demand needs at least, as a multiple of those in use
EVEN_PER_S = 0.2  # requests per second that are added to the demand of all nodes together: few requests say little
_INT = attrgetter("int")  # an int compares faster than its UUID


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
    ids = sorted(nodes, key=_INT)
    may_take = [node not in draining for node in ids]
    return dict(zip(ids, _aims([nodes[node] for node in ids], may_take, [0] * len(ids), cycle_s), strict=True))


def _aims(
    nodes: Sequence[CountryFigures], may_take: Sequence[bool], coming: Sequence[int], cycle_s: float
) -> list[int]:
    """The targets in the order of `nodes`. `coming`: IPs on their way to each node, which count as its own."""
    aims = [0] * len(nodes)
    takers = [place for place, may in enumerate(may_take) if may]
    if not takers:
        return aims
    total = sum([its.available + its.locked + its.cooldown for its in nodes]) + sum(coming)
    if total < len(takers):
        # An owner keeps its IP unless another one's demand is clearly higher.
        owned = [its.healthy + more for its, more in zip(nodes, coming, strict=True)]
        wish = [its.wanted_per_s * (1.5 if owns else 1.0) for its, owns in zip(nodes, owned, strict=True)]
        for place in sorted(takers, key=lambda place: (-wish[place], -owned[place], place))[:total]:
            aims[place] = 1
        return aims
    evenly, scale = EVEN_PER_S / len(takers), cycle_s * HEADROOM
    needs = [(nodes[place].wanted_per_s + evenly) * scale for place in takers]
    spare = max(0.0, total - sum(needs)) / len(takers)
    for place, aim in zip(takers, _divided(total, [need + spare for need in needs]), strict=True):
        aims[place] = aim
    return aims


def _divided(total: int, weights: Sequence[float]) -> list[int]:
    """`total` in whole numbers by weight, at least one each (largest remainder; the first of equal ones)."""
    rest, scale = total - len(weights), sum(weights)
    exact = [rest * weight / scale for weight in weights]
    parts = [int(part) for part in exact]
    if left := rest - sum(parts):
        behind = [part - whole for part, whole in zip(parts, exact, strict=True)]
        for place in sorted(range(len(weights)), key=behind.__getitem__)[:left]:
            parts[place] += 1
    return [part + 1 for part in parts]


def on_their_way(sent: Iterable[Sent], adopted: int) -> int:
    """The gifts to one node that are not among its `adopted` IPs."""
    return sum([max(0, min(each.count, each.seen_at - adopted)) for each in sent])


def idle(figures: CountryFigures) -> int:
    """How many available IPs the node does not need within OWN_S."""
    return max(0, figures.available - figures.waiting - int(figures.wanted_per_s * OWN_S + 0.5))


def to_come(figures: CountryFigures) -> int:
    """How many IPs a request on another node may expect: idle ones, now or as soon as the next rest ends."""
    return max(0, figures.available + figures.soon - figures.waiting - int(figures.wanted_per_s * OWN_S + 0.5))


class _Plan:
    """The gifts of all nodes, which are known by their place. `owned`: with the IPs on their way."""

    def __init__(self, owned: Sequence[int], aims: Sequence[int], takers: Sequence[int]) -> None:
        self._owned, self._aims, self._takers = owned, aims, takers
        self._made, self._got = [0] * len(owned), [0] * len(owned)
        self._order = sorted(takers, key=lambda place: owned[place] / max(1, aims[place]))

    def deficits(self) -> dict[int, int]:
        """What the nodes lack of their targets."""
        return {place: self._aims[place] - self._owned[place] - self._got[place] for place in self._takers}

    def match(self, offers: Iterable[tuple[int, int]], needs: Mapping[int, int]) -> dict[tuple[int, int], int]:
        """Fills the needs, the poorest node's first, from the offers in their order: counts by giver and receiver.

        What was given by earlier calls is subtracted from `offers`, not from `needs`.
        """
        left = {giver: offer - self._made[giver] for giver, offer in offers if offer > self._made[giver]}
        parts = dict[tuple[int, int], int]()
        for receiver in self._order if left else ():
            need = needs.get(receiver, 0)
            for giver, offer in left.items() if need > 0 else ():
                part = min(need, offer)
                if part > 0 and giver != receiver:
                    parts[giver, receiver] = part
                    left[giver] -= part
                    need -= part
                    self._made[giver] += part
                    self._got[receiver] += part
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
    ids = sorted(nodes, key=_INT)
    figures = [nodes[node] for node in ids]
    drains = [node in draining for node in ids] if draining else [False] * len(ids)
    takers = [place for place, is_draining in enumerate(drains) if not is_draining]
    coming = _coming(ids, figures)
    aims = _aims(figures, [not is_draining for is_draining in drains], coming, cycle_s)
    mine = [node.int for node in ids].index(me.int)
    is_short = any(its.waiting or its.missed for its in figures)
    if not drains[mine] and figures[mine].healthy <= aims[mine] and not (is_short and idle(figures[mine])):
        return []  # it has nothing to give
    owned = [its.healthy + more for its, more in zip(figures, coming, strict=True)]
    plan = _Plan(owned, aims, takers)

    now = dict[tuple[int, int], int]()
    if is_short:
        offers = [(place, its.available if drains[place] else idle(its)) for place, its in enumerate(figures)]
        needs = {n: figures[n].waiting + figures[n].missed - figures[n].available - coming[n] for n in takers}
        now = plan.match(offers, needs)

    offers = [(place, its.healthy - aims[place]) for place, its in enumerate(figures)]
    needs = {place: lack for place, lack in plan.deficits().items() if owned[place] * 2 < aims[place]}
    if settled is not None:
        needs = {place: lack for place, lack in needs.items() if ids[place] in settled}
    wait = plan.match(offers, needs)
    if draining:
        wait = _sums(wait, plan.match([offer for offer in offers if drains[offer[0]]], plan.deficits()))
    slow = _slow_parts(plan, offers, owned, aims, drains)
    lately = dict[UUID, int]()
    for earlier in given:
        if now_s - earlier.at_s < MOVED_S:
            lately[earlier.to] = lately.get(earlier.to, 0) + earlier.count
    failed = _failed_parts(figures[mine].failed, takers) if drains[mine] else {}
    receivers = {to for giver, to in (*now, *wait, *slow) if giver == mine} | failed.keys()
    found = []
    for place in sorted(receivers):
        pair, to = (mine, place), ids[place]
        later = wait.get(pair, 0) + max(0, slow.get(pair, 0) - lately.get(to, 0))
        gift = Gift(country, to, now.get(pair, 0) + later, later, failed.get(place, 0))
        if gift.count or gift.failed:
            found.append(gift)
    return found


def _slow_parts(
    plan: _Plan, offers: Sequence[tuple[int, int]], owned: Sequence[int], aims: Sequence[int], drains: Sequence[bool]
) -> dict[tuple[int, int], int]:
    """From nodes that own clearly too many IPs, and to nodes that own clearly too few."""
    most = max(1, int(MOVED_MAX * sum(owned)))
    left = {place: min(most, lack) for place, lack in plan.deficits().items()}
    slow = plan.match([(n, offer) for n, offer in offers if offer > aims[n] * HYSTERESIS], left)
    for (_, to), part in slow.items():
        left[to] -= part
    left = {place: lack for place, lack in left.items() if owned[place] < aims[place] * (1 - HYSTERESIS)}
    return _sums(slow, plan.match([offer for offer in offers if not drains[offer[0]]], left))


def _sums(parts: dict[tuple[int, int], int], more: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], int]:
    for pair, part in more.items():
        parts[pair] = parts.get(pair, 0) + part
    return parts


def _coming(ids: Sequence[UUID], figures: Sequence[CountryFigures]) -> list[int]:
    """How many IPs are on their way to each node, as the givers' figures say."""
    coming = [0] * len(ids)
    if any(its.sent for its in figures):
        places = {node: place for place, node in enumerate(ids)}
        for its in figures:
            for to, sent in its.sent.items():
                if (place := places.get(to)) is not None:
                    coming[place] += on_their_way([sent], figures[place].adopted)
    return coming


def _failed_parts(failed: int, takers: Sequence[int]) -> dict[int, int]:
    """The failed IPs of a draining node in even parts."""
    if not (failed and takers):
        return {}
    each, more = divmod(failed, len(takers))
    return {place: each + (number < more) for number, place in enumerate(takers)}
