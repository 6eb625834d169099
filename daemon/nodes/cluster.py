"""The figures of all nodes together, from the rows that a node read last and from its own present figures. Pure.

A node that renews counts with what it reported. A node that leases no more, but whose last leases may still run, counts
with its IPs only, as IPs that rest. Figures that are older than a minute count without their clicks and traces.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from daemon.nodes.figures import (
    MINUTE_S,
    AttemptFigures,
    ClickFigures,
    CountryFigures,
    FallenOffer,
    Hindered,
    NodeFigures,
    ProviderFigures,
)
from daemon.nodes.peers import Peer, Peers
from daemon.nodes.waits import added

STALE_S = 5.0
GOOD = "ok"  # the health of a provider without trouble

SUMMED = [name for name in CountryFigures.__struct_fields__ if name not in ("sent", "out")]


@dataclass(frozen=True, slots=True)
class Counted:
    """A node whose figures count, and how old they are."""

    peer: Peer
    age_s: float

    @property
    def is_stale(self) -> bool:
        return self.age_s > STALE_S


@dataclass(frozen=True, slots=True)
class Cluster:
    """`nodes`: those whose figures count. `hindered`: with the node's name. `connections`: of all nodes, at most.

    `attempts`: one record for each country and provider.
    """

    nodes: tuple[Counted, ...]
    countries: Mapping[str, CountryFigures]
    clicks: ClickFigures
    clicks_per_s: float
    clicks_waiting: int
    queued: int
    active_traces: int
    refused: int
    providers: Mapping[str, ProviderFigures]
    hindered: tuple[tuple[str, Hindered], ...]
    connections: int
    attempts: tuple[AttemptFigures, ...] = ()


def known(peers: Peers, own: Peer | None, now_s: float) -> tuple[Counted, ...]:
    """All nodes, this one first, the others by name. `own`: this node with its present figures, instead of its row."""
    passed_s = max(0.0, now_s - peers.read_s) if peers.by_id else 0.0
    others = [
        Counted(
            replace(peer, trusted_for_s=peer.trusted_for_s - passed_s, free_in_s=peer.free_in_s - passed_s),
            peer.seen_s_ago + passed_s,
        )
        for peer in peers.by_id.values()
        if own is None or peer.node_id != own.node_id
    ]
    others.sort(key=lambda one: (one.peer.name, one.peer.node_id))
    return _with_gifts((*([] if own is None else [Counted(own, 0.0)]), *others))


def _with_gifts(nodes: tuple[Counted, ...]) -> tuple[Counted, ...]:
    """IPs that were given to a node and are not in its figures yet belong to it, also while it is not seen.

    A node that has ended gets none: such IPs belong to no node.
    """
    givers = [one.peer.figures.countries for one in nodes if one.peer.leases]
    return tuple(_with_gifts_of(givers, one) for one in nodes)


def _with_gifts_of(givers: Iterable[Mapping[str, CountryFigures]], one: Counted) -> Counted:
    peer, countries = one.peer, dict(one.peer.figures.countries)
    if peer.state != "active":
        return one
    for given in givers:
        for country, ips in given.items():
            if (sent := ips.sent.get(peer.node_id)) is None:
                continue
            has = countries.get(country, CountryFigures())
            if lacks := min(sent.count, max(0, sent.seen_at - has.adopted)):
                countries[country] = msgspec.structs.replace(has, available=has.available + lacks)
    if countries == peer.figures.countries:
        return one
    return replace(one, peer=replace(peer, figures=msgspec.structs.replace(peer.figures, countries=countries)))


def counted(peers: Peers, own: Peer | None, now_s: float) -> tuple[Counted, ...]:
    """Those of `known` whose IPs other nodes may not use yet: their figures count."""
    return tuple(one for one in known(peers, own, now_s) if one.peer.state != "lost" and one.peer.free_in_s > 0)


def cluster_of(nodes: tuple[Counted, ...]) -> Cluster:
    """The sum. Percentiles of waits come from the added counts, never from percentiles of nodes."""
    figures = [one.peer.figures for one in nodes]
    alive = [one.peer.figures for one in nodes if one.peer.leases and one.age_s <= MINUTE_S]
    fallbacks: Counter[str] = Counter()
    marked: Counter[str] = Counter()
    for each in alive:
        fallbacks.update(each.clicks.fallbacks)
        marked.update(each.clicks.marked)
    return Cluster(
        nodes=nodes,
        countries=_countries(nodes),
        clicks=ClickFigures(
            sum(each.clicks.resolved for each in alive),
            dict(fallbacks.most_common()),
            added(each.clicks.waits for each in alive),
            sum(each.clicks.background for each in alive),
            _fallen(alive),
            dict(marked),
        ),
        clicks_per_s=sum(each.clicks_per_s for each in alive),
        clicks_waiting=sum(each.clicks_waiting for each in alive),
        queued=sum(each.queued for each in alive),
        active_traces=sum(each.active_traces for each in alive),
        refused=sum(each.refused for each in figures),
        providers=_providers(alive),
        hindered=tuple((one.peer.name, held) for one in nodes if one.peer.leases for held in one.peer.figures.hindered),
        connections=sum(one.peer.figures.connections for one in nodes if one.peer.leases),
        attempts=_attempts(alive),
    )


def owned(peer: Peer) -> Mapping[str, CountryFigures]:
    """Its IPs by country. Those of a node that leases no more rest until its last leases are over."""
    if peer.leases:
        return peer.figures.countries
    return {
        country: CountryFigures(cooldown=ips.healthy, failed=ips.failed, out=ips.out)
        for country, ips in peer.figures.countries.items()
    }


def _countries(nodes: Iterable[Counted]) -> dict[str, CountryFigures]:
    sums: dict[str, CountryFigures] = {}
    for one in nodes:
        for country, ips in owned(one.peer).items():
            before = sums.get(country)
            sums[country] = ips if before is None else _sum(before, ips)
    return dict(sorted(sums.items()))


def _sum(one: CountryFigures, other: CountryFigures) -> CountryFigures:
    out = dict(one.out)
    for provider, (failed, others) in other.out.items():
        before = out.get(provider, (0, 0))
        out[provider] = (before[0] + failed, before[1] + others)
    return CountryFigures(**{name: getattr(one, name) + getattr(other, name) for name in SUMMED}, out=out)


def _fallen(figures: Iterable[NodeFigures]) -> tuple[FallenOffer, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    for each in figures:
        for fallen in each.clicks.fallen:
            counts[fallen.offer, fallen.country] += fallen.fallbacks
    return tuple(FallenOffer(*key, count) for key, count in counts.most_common())


def _attempts(figures: Iterable[NodeFigures]) -> tuple[AttemptFigures, ...]:
    found: dict[tuple[str, str], AttemptFigures] = {}
    for each in figures:
        for one in each.attempts:
            other = found.get((one.country, one.provider))
            found[one.country, one.provider] = one if other is None else _joint(one, other)
    return tuple(found.values())


def _joint(one: AttemptFigures, other: AttemptFigures) -> AttemptFigures:
    error, errors = one.error, one.errors
    if other.error == error:
        errors += other.errors
    elif other.errors > errors:
        error, errors = other.error, other.errors
    return one._replace(
        attempts=one.attempts + other.attempts, failed=one.failed + other.failed, error=error, errors=errors
    )


def _providers(figures: Iterable[NodeFigures]) -> dict[str, ProviderFigures]:
    by_name: dict[str, list[ProviderFigures]] = {}
    for each in figures:
        for name, provider in each.providers.items():
            by_name.setdefault(name, []).append(provider)
    return {name: _provider(several) for name, several in sorted(by_name.items())}


def _provider(several: list[ProviderFigures]) -> ProviderFigures:
    """The worst health that counts: a node's bad experience is over when another node has succeeded since."""
    succeeded_s = min((one.idle_s for one in several if one.state == GOOD and one.accepted), default=None)
    valid = [one for one in several if one.state == GOOD or succeeded_s is None or one.idle_s <= succeeded_s]
    bad = sorted((one for one in valid if one.state != GOOD), key=lambda one: (one.state, one.since))
    shown = bad[0] if bad else min(valid, key=lambda one: one.since)
    alike = [one for one in valid if one.state == shown.state]
    return msgspec.structs.replace(
        shown,
        traces=sum(one.traces for one in alike),
        refused=sum(one.refused for one in alike),
        spared=sum(one.spared for one in alike),
        idle_s=min(one.idle_s for one in several),
        accepted=any(one.accepted for one in alike),
    )
