"""The nodes of one database, as a node read them at its last renewal. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from daemon.nodes.figures import NO_FIGURES, NodeFigures


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

    @property
    def leases(self) -> bool:
        return self.state == "active" and self.trusted_for_s > 0


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
