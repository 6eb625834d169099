"""Which node should own how many of a country's IPs, and what the owner gives away now. Pure, the same on each node."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from daemon.nodes.figures import CountryFigures


@dataclass(frozen=True, slots=True)
class Gift:
    """`count` IPs of `country` for the node `to`."""

    country: str
    to: UUID
    count: int


def targets(nodes: Mapping[UUID, CountryFigures], draining: frozenset[UUID] = frozenset()) -> dict[UUID, int]:
    """How many healthy IPs of one country each node should own; their sum is what all nodes own now."""
    raise NotImplementedError
