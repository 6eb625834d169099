"""When a node may join, and until when it may lease. Pure.

Two clocks are used and never compared with each other. Another node reads `trusted_until` by PostgreSQL's clock. The
node itself counts from before it asked for trust, by its boot clock, which goes on while the machine is suspended. So a
node stops before another one may begin, as long as the two clocks run alike within MARGIN_SHARE.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

QUIET_MARGIN_S = 10.0
MARGIN_S = 0.5
MARGIN_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A row of `nodes`. Times in seconds by PostgreSQL's clock; states as the table's comment has them."""

    node_id: UUID
    name: str
    epoch: int
    state: str
    trusted_until_s: float
    quiet_s: float

    @property
    def free_at_s(self) -> float:
        """From when on nothing that the node began can run, so that another node may use its IPs."""
        at_once = self.state in ("left", "lost")
        return self.trusted_until_s if at_once else self.trusted_until_s + self.quiet_s


@dataclass(frozen=True, slots=True)
class Occupied:
    """Another node may still lease: it has the database until `free_at_s`, by PostgreSQL's clock `now_s`."""

    node: NodeRow
    now_s: float

    @property
    def wait_s(self) -> float:
        return self.node.free_at_s - self.now_s


@dataclass(frozen=True, slots=True)
class Joined:
    """`continues`: no other node has had the database since this one had it, so its journaled states still hold."""

    continues: bool


def admitted(rows: Iterable[NodeRow], node_id: UUID, epoch: int | None, now_s: float) -> Joined | Occupied:
    """Whether `node_id` may join now; with several others, the one that keeps it out for longest is named.

    `epoch`: of this run, once it has joined. An active row of its own with a later one is another daemon's that has a
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
    """By the boot clock that read `asked_s` before PostgreSQL was asked for `trust_s` more."""
    return asked_s + trust_s * (1 - MARGIN_SHARE) - MARGIN_S
