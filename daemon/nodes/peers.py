"""The nodes of one database, as a node read them at its last renewal. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from daemon.nodes.figures import NO_COUNTRY_FIGURES, NO_FIGURES, NodeFigures, decoded
from daemon.pool.messages import Counts, Elsewhere

READ_PER_S = 20
READ_EACH_MAX_S = 3.0  # balancer.SILENT_S and membership.STEADY_S are longer
RENEW_MIN_S = 0.5  # between two renewals


@dataclass(frozen=True, slots=True)
class Peer:
    """A node's row. `trusted_for_s` and `free_in_s` are by PostgreSQL's clock at the renewal, and may be negative.

    `free_in_s`: until other nodes may free its IPs. `leases`: whether the node may have leases now.
    """

    node_id: UUID
    name: str
    epoch: int
    state: str
    draining: bool
    version: str
    trusted_for_s: float
    free_in_s: float
    figures: NodeFigures = NO_FIGURES
    trust_s: float = 900.0
    quiet_s: float = 0.0
    started_s: float = 0.0  # wall clock of PostgreSQL

    @property
    def leases(self) -> bool:
        return self.state == "active" and self.trusted_for_s > 0

    @property
    def seen_s_ago(self) -> float:
        """How old its last renewal was; for a node that left or was removed, how long ago that happened."""
        ended = self.state in ("left", "removed")
        return max(0.0, (0.0 if ended else self.trust_s) - self.trusted_for_s)


def peer_of(row: Mapping[str, Any]) -> Peer:
    """From a row of `nodes` with the columns of the query load_nodes."""
    trusted_for_s = row["trusted_until_s"] - row["now_s"]
    at_once = row["state"] == "lost"
    return Peer(
        node_id=row["node_id"],
        name=row["name"],
        epoch=row["epoch"],
        state=row["state"],
        draining=row["draining"],
        version=row["version"],
        trusted_for_s=trusted_for_s,
        free_in_s=trusted_for_s + (0.0 if at_once else row["quiet_s"]),
        figures=decoded(row["figures"]),
        trust_s=row["trust_s"],
        quiet_s=row["quiet_s"],
        started_s=row["started_s"],
    )


def is_reading_due(nodes: int, passed_s: float, *, hurried: bool) -> bool:
    """Whether a renewal reads the rows of the other nodes, which it did `passed_s` ago. `nodes`: how many were read.

    Up to READ_PER_S nodes each renewal does. With more nodes a node reads about READ_PER_S rows per second, so that all
    readings together grow with the nodes and not with their square; but after READ_EACH_MAX_S it reads in any case.
    `hurried`: somewhere a request waits for an IP.
    """
    each_s = min(nodes / READ_PER_S, READ_EACH_MAX_S)
    return passed_s >= (each_s / 2 if hurried else each_s) - RENEW_MIN_S


@dataclass(frozen=True, slots=True)
class Peers:
    """`read_s`: when the rows were read, on the monotonic clock. Before the first renewal `by_id` is empty."""

    me: UUID
    read_s: float
    by_id: Mapping[UUID, Peer] = field(default_factory=dict)

    def leasing(self) -> Iterator[Peer]:
        return (peer for peer in self.by_id.values() if peer.leases)

    def others(self) -> Iterator[Peer]:
        return (peer for peer in self.leasing() if peer.node_id != self.me)

    def elsewhere(self, country: str) -> Elsewhere:
        """What the other nodes have of a country."""
        others = [(peer.node_id, peer.figures.countries.get(country, NO_COUNTRY_FIGURES)) for peer in self.others()]
        sums = (
            sum(getattr(figures, name) for _, figures in others)
            for name in ("total", "available", "locked", "cooldown", "failed", "waiting")
        )
        before = sum(1 for node_id, figures in others if figures.available and node_id < self.me)
        return Elsewhere(Counts(*sums), before)
