"""This node's identity, its status, and the listeners that its member notifies."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import trio

from daemon.nodes.peers import Peers


@dataclass(frozen=True, slots=True)
class Identity:
    """`trust_s`: how long the node leases without PostgreSQL. `quiet_s()`: how long its leases may last after that."""

    node_id: UUID
    name: str
    epoch: int
    trust_s: float
    quiet_s: Callable[[], float]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """This node. `trusted_for_s`: how long it may lease without PostgreSQL; null: no limit, with its own database."""

    name: str
    node_id: str
    epoch: int
    leasing: bool
    trusted_for_s: float | None


@dataclass(frozen=True, slots=True)
class NodeListener:
    """Callbacks. `ips_lost`: another node may own this node's IPs, so their spooled states are out of date.

    `rejoined`: the node has joined again after losing its claim. `renewed`: after each renewal.
    """

    leasing_ended: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    ips_lost: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    rejoined: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    renewed: Callable[[Peers], None] = lambda peers: None
