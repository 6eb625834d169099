"""Which nodes may lease, until when, and when another node is lost. Pure.

Two clocks are used and never compared. PostgreSQL's clock gives `trusted_until` in a node's row. The node itself counts
from before its request for trust, on its boot clock, which includes suspended time. So a node stops before another one
may begin, if the rates of the two clocks differ by less than MARGIN_SHARE.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from daemon.errors import DatabaseOccupied, NodeDisplaced

QUIET_MARGIN_S = 10.0
MARGIN_S = 0.5
MARGIN_SHARE = 0.01
STEADY_S = 5.0
LEFT_QUIET_MIN_S = 5.0
DOUBT_S = 10.0
PROTOCOL = 1  # 0: versions that know no owners and lease all IPs


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A row of `nodes`. Times in seconds on PostgreSQL's clock; `state`: see the table's comment.

    `has_claim`: of another run than this one.
    """

    node_id: UUID
    name: str
    epoch: int
    state: str
    trusted_until_s: float
    quiet_s: float
    protocol: int = PROTOCOL
    has_claim: bool = True

    @property
    def free_at_s(self) -> float:
        """When the node's leases and cooldowns are over, so that another node may use its IPs."""
        return self.trusted_until_s if self.state == "lost" else self.trusted_until_s + self.quiet_s


def node_row(row: Mapping[str, Any], claims: Collection[UUID] = ()) -> NodeRow:
    """From a row of `load_nodes`. `claims`: those of this run, also of a join whose answer was lost."""
    return NodeRow(
        node_id=row["node_id"],
        name=row["name"],
        epoch=row["epoch"],
        state=row["state"],
        trusted_until_s=row["trusted_until_s"],
        quiet_s=row["quiet_s"],
        protocol=row["protocol"],
        has_claim=row["claim"] is not None and row["claim"] not in claims,
    )


@dataclass(frozen=True, slots=True)
class Occupied:
    """Another daemon leases the same IPs until the row's `free_at_s`. `now_s`: PostgreSQL's clock."""

    node: NodeRow
    now_s: float

    @property
    def wait_s(self) -> float:
        return self.node.free_at_s - self.now_s

    def error(self) -> DatabaseOccupied:
        node = self.node
        return DatabaseOccupied(
            f"node {node.name} ({node.node_id}) works with this database, and two would use the same IPs: "
            f"its IPs are free in {self.wait_s:.0f} s, unless it renews its trust",
            f"stop that daemon; if its machine is gone for good: tracepool nodes remove {node.name}",
        )


@dataclass(frozen=True, slots=True)
class Joined:
    """`continues`: no other node has had this node's IPs meanwhile, so its journaled states are still valid."""

    continues: bool


@dataclass(frozen=True, slots=True)
class Displaced:
    """Another run with the same node id has joined after this one: `node` is the row as that run wrote it."""

    node: NodeRow

    def error(self, name: str) -> NodeDisplaced:
        """`name`: this node's."""
        node = self.node
        return NodeDisplaced(
            f"node {name}: another daemon, named {node.name}, has joined with the id of this node ({node.node_id}). "
            "One of the machines or state directories is a clone of the other. That daemon keeps the id and the IPs. "
            "Start this daemon again: it is a new node then, and sends the hits and traces of its journal"
        )


def admitted(rows: Iterable[NodeRow], node_id: UUID, epoch: int | None, now_s: float) -> Joined | Occupied | Displaced:
    """Whether `node_id` may join now.

    Other nodes with owners (PROTOCOL) do not matter. A node waits for a daemon of an earlier version, which leases all
    IPs. Another daemon with a clone of its state directory has displaced it, if the own row has a claim, and a later
    epoch than `epoch`, which is this run's if it has joined, or taken the row (clones.py), before.
    """
    known = list(rows)
    mine = next((row for row in known if row.node_id == node_id), None)
    copied = mine is not None and mine.has_claim and epoch is not None and mine.epoch > epoch
    if mine is not None and copied:
        return Displaced(mine)
    others = [row for row in known if row.protocol < PROTOCOL and row is not mine]
    occupied = [row for row in others if row.state in ("active", "removed") and row.free_at_s > now_s]
    if occupied:
        return Occupied(max(occupied, key=lambda row: row.free_at_s), now_s)
    return Joined(continues=mine is None or mine.state != "lost")


def leasing_elsewhere(rows: Iterable[NodeRow], node_id: UUID | None, now_s: float) -> Occupied | None:
    """The other node that may lease its IPs for the longest time; None: there is none.

    A node that left leases none: its rows have their rests.
    """
    active = [row for row in rows if row.node_id != node_id and row.state in ("active", "removed")]
    busy = [row for row in active if row.free_at_s > now_s]
    return Occupied(max(busy, key=lambda row: row.free_at_s), now_s) if busy else None


def quiet_s(lock_s: float, cooldown_s: float) -> float:
    return lock_s + cooldown_s + QUIET_MARGIN_S


def left_quiet_s(longest_rest_s: float) -> float:
    """After a stop in order only rests still run. A restart in place within this time keeps its IPs."""
    return max(LEFT_QUIET_MIN_S, longest_rest_s + 1)


def trusts_itself_until(asked_s: float, trust_s: float) -> float:
    """On the boot clock, which read `asked_s` before the request for `trust_s`."""
    return asked_s + trust_s * (1 - MARGIN_SHARE) - MARGIN_S


@dataclass(frozen=True, slots=True)
class Sighting:
    """Another node's row at a renewal. `lasts_s`: how long its leases and cooldowns may last after a change of the row.

    `free_in_s`: until they are over, by PostgreSQL's clock.
    """

    node_id: UUID
    name: str
    beat: int
    epoch: int
    state: str
    lasts_s: float
    free_in_s: float

    @property
    def version(self) -> tuple[int, int, str]:
        """Differs after each renewal, join, stop and removal of the node."""
        return self.beat, self.epoch, self.state


def sighting_of(row: Mapping[str, Any]) -> Sighting:
    """From a row of `renew_node`. A daemon without owners that has stopped left the rests in the rows."""
    trust_s = row["trust_s"] if row["state"] == "active" else 0.0
    quiet_s = 0.0 if row["state"] == "left" and row["protocol"] < PROTOCOL else row["quiet_s"]
    return Sighting(
        node_id=row["node_id"],
        name=row["name"],
        beat=row["beat"],
        epoch=row["epoch"],
        state=row["state"],
        lasts_s=trust_s + quiet_s,
        free_in_s=row["trusted_until_s"] + quiet_s - row["now_s"],
    )


class Watch:
    """Decides when another node is lost, by this node's own monotonic clock: nobody can set that clock.

    A change of a node's row happened before it was read, so its leases and cooldowns are over `lasts_s` after the
    reading. PostgreSQL's clock counts only for a row that this node reads for the first time, and can then only shorten
    that. Renewals fail for all nodes if PostgreSQL is away. So no node is lost before this node has renewed its trust
    for STEADY_S without a longer pause: meanwhile the others renew theirs. After each join the node begins with a new
    Watch.
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
            seen = before.get(sighting.node_id)
            if seen is None:
                seen = sighting.version, now_s + min(sighting.free_in_s, sighting.lasts_s)
            elif seen[0] != sighting.version:
                seen = sighting.version, now_s + sighting.lasts_s
            self._seen[sighting.node_id] = seen
        if now_s - self._steady_from_s < STEADY_S:
            return []
        return [sighting for sighting in known if self._seen[sighting.node_id][1] <= now_s]


class Doubt:
    """Whether changes of owners may be lost, so that an IP which comes to this node now may be in use elsewhere.

    After a start of the server, a failover or a restored backup, for DOUBT_S: meanwhile the other nodes see that too,
    and lease nothing that is not theirs. If this node has lost its claim, the time begins when its pools are reloaded.
    """

    def __init__(self) -> None:
        self.server_s: float | None = None
        self._until_s = float("-inf")

    def found_server(self, started_s: float, now_s: float) -> None:
        """Call it after each renewal. `started_s`: when the server started, by its own clock."""
        if self.server_s not in (None, started_s):
            self._until_s = max(self._until_s, now_s + DOUBT_S)
        self.server_s = started_s

    def rows_lost(self) -> None:
        self._until_s = float("inf")

    def reloaded(self, now_s: float) -> None:
        """Call it when all pools have been reloaded."""
        if self._until_s == float("inf"):
            self._until_s = now_s + DOUBT_S

    def holds(self, now_s: float) -> bool:
        return now_s < self._until_s
