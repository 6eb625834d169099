"""When a node may join, and until when it may lease. Pure.

Two clocks are used and never compared. Other nodes compare `trusted_until` with PostgreSQL's clock. The node itself
counts from before its request for trust, on its boot clock, which includes suspended time. So a node stops before
another one may begin, if the rates of the two clocks differ by less than MARGIN_SHARE.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

QUIET_MARGIN_S = 10.0
MARGIN_S = 0.5
MARGIN_SHARE = 0.01
STEADY_S = 5.0


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A row of `nodes`. Times in seconds on PostgreSQL's clock; `state`: see the table's comment."""

    node_id: UUID
    name: str
    epoch: int
    state: str
    trusted_until_s: float
    quiet_s: float

    @property
    def free_at_s(self) -> float:
        """When the node's leases and cooldowns are over, so that another node may use its IPs."""
        at_once = self.state in ("left", "lost")
        return self.trusted_until_s if at_once else self.trusted_until_s + self.quiet_s


@dataclass(frozen=True, slots=True)
class Occupied:
    """Another node has the database until its `free_at_s`. `now_s`: PostgreSQL's clock."""

    node: NodeRow
    now_s: float

    @property
    def wait_s(self) -> float:
        return self.node.free_at_s - self.now_s


@dataclass(frozen=True, slots=True)
class Joined:
    """`continues`: no other node has had the database meanwhile, so this node's journaled states are still valid."""

    continues: bool


def admitted(rows: Iterable[NodeRow], node_id: UUID, epoch: int | None, now_s: float) -> Joined | Occupied:
    """Whether `node_id` may join now. Occupied names the node that keeps it out for the longest time.

    `epoch`: of this run, if it has joined before. If the node's own row has a later epoch, another daemon runs with a
    copy of the state directory.
    """
    known = list(rows)
    mine = next((row for row in known if row.node_id == node_id), None)
    others = [row for row in known if row is not mine or (epoch is not None and row.epoch > epoch)]
    occupied = [row for row in others if row.state != "lost" and row.free_at_s > now_s]
    if occupied:
        return Occupied(max(occupied, key=lambda row: row.free_at_s), now_s)
    return Joined(continues=mine is None or not (mine in others or mine.state == "lost"))


def quiet_s(lock_s: float, cooldown_s: float) -> float:
    return lock_s + cooldown_s + QUIET_MARGIN_S


def trusts_itself_until(asked_s: float, trust_s: float) -> float:
    """On the boot clock, which read `asked_s` before the request for `trust_s`."""
    return asked_s + trust_s * (1 - MARGIN_SHARE) - MARGIN_S


@dataclass(frozen=True, slots=True)
class Sighting:
    """Another node's row at a renewal. `free_in_s`: until its leases and cooldowns are over, by PostgreSQL's clock."""

    node_id: UUID
    beat: int
    epoch: int
    state: str
    free_in_s: float

    @property
    def version(self) -> tuple[int, int, str]:
        """Differs after each renewal, join, stop and removal of the node."""
        return self.beat, self.epoch, self.state


class Watch:
    """Decides when another node is lost, by this node's own monotonic clock: nobody can set that clock.

    PostgreSQL's clock is only compared with itself, within one reading of a row. Renewals fail for all nodes if
    PostgreSQL is away. So no node is lost before this node has renewed its trust for STEADY_S without a longer pause:
    meanwhile the others renew theirs. After each join the node begins with a new Watch.
    """

    def __init__(self) -> None:
        self._seen: dict[UUID, tuple[tuple[int, int, str], float]] = {}  # the version, and when its IPs are free
        self._read_s = self._steady_from_s = float("-inf")

    def lost(self, others: Iterable[Sighting], now_s: float) -> list[Sighting]:
        """Call it after each renewal. The nodes to mark as lost, if their rows still have the same version."""
        if now_s - self._read_s > STEADY_S:
            self._steady_from_s = now_s
        self._read_s = now_s
        known = [sighting for sighting in others if sighting.state != "lost"]
        before, self._seen = self._seen, {}
        for sighting in known:
            version, free_at_s = before.get(sighting.node_id, (None, 0.0))
            if version != sighting.version:
                free_at_s = now_s + sighting.free_in_s
            self._seen[sighting.node_id] = sighting.version, free_at_s
        if now_s - self._steady_from_s < STEADY_S:
            return []
        return [sighting for sighting in known if self._seen[sighting.node_id][1] <= now_s]
