"""PostgreSQL as nodes and operators see it: tables, triggers, and one method for each statement of the daemon.

Each method is one transaction. The same rules in SQL: database/queries.sql and database/migrations/. `faults` are the
deliberate mistakes of mutants.py.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any
from uuid import UUID

from daemon.journal.entries import IpChanged, IpGiven
from daemon.nodes.figures import NO_FIGURES, NodeFigures
from daemon.pool.states import Endpoint
from tests.sim.loop import Refused

_STATE = ("status", "locked_until", "is_healthy", "consecutive_failures")  # an operator's edit keeps these


@dataclass(slots=True, eq=False)
class IpRow:
    """A row of ip_rotation_pool, with the columns of `load_ips`."""

    id: UUID
    ip_address: str
    ip_port: str
    country: str
    node_id: UUID | None = None
    edit_no: int = 0
    status: str = "available"
    locked_until: float | None = None
    locked_by_request: UUID | None = None
    last_used_at: float | None = None
    last_health_check: float | None = None
    lease_no: int = 0
    is_healthy: bool = True
    consecutive_failures: int = 0
    total_uses: int = 0
    success_count: int = 0
    failure_count: int = 0
    avg_response_time_ms: float | None = None
    probe_failures: int = 0
    provider: str = "static"
    username: str | None = None
    password: str | None = None

    def __getitem__(self, column: str) -> Any:
        return getattr(self, column)

    def copied(self) -> "IpRow":
        return IpRow(*_ROW(self))

    @property
    def endpoint(self) -> Endpoint:
        return self.ip_address, self.ip_port, ""


_ROW = attrgetter(*(column.name for column in fields(IpRow)))


@dataclass(slots=True, eq=False)
class NodeRecord:
    """A row of `nodes`. Times by the database's clock."""

    node_id: UUID
    name: str
    epoch: int = 0
    claim: int | None = None
    state: str = "active"
    trusted_until_s: float = 0.0
    trust_s: float = 0.0
    quiet_s: float = 0.0
    beat: int = 0
    draining: bool = False
    figures: NodeFigures = NO_FIGURES


@dataclass(slots=True)
class Data:
    """What a backup holds."""

    nodes: dict[UUID, NodeRecord] = field(default_factory=dict)
    ips: dict[UUID, IpRow] = field(default_factory=dict)
    by_endpoint: dict[Endpoint, UUID] = field(default_factory=dict)
    owned: dict[UUID | None, dict[UUID, None]] = field(default_factory=dict)
    departed: dict[tuple[Endpoint, UUID], None] = field(default_factory=dict)  # the endpoint, and its owner
    positions: dict[tuple[UUID, str], int] = field(default_factory=dict)
    facts: Counter[int] = field(default_factory=Counter)
    edit_no: int = 0
    edited: dict[int, IpRow] = field(default_factory=dict)  # by edit number

    def copied(self) -> "Data":
        ips = {ip_id: row.copied() for ip_id, row in self.ips.items()}
        return Data(
            nodes={node_id: copy.copy(row) for node_id, row in self.nodes.items()},
            ips=ips,
            by_endpoint=dict(self.by_endpoint),
            owned={owner: dict(ids) for owner, ids in self.owned.items()},
            departed=dict(self.departed),
            positions=dict(self.positions),
            facts=Counter(self.facts),
            edit_no=self.edit_no,
            edited={row.edit_no: row for row in ips.values()},
        )


class Tables:
    """`notify(first, last, node_id)` announces edits, to all nodes or one. `moves`: rows that changed their owner."""

    def __init__(self, clock: Callable[[], float], faults: AbstractSet[str] = frozenset()) -> None:
        self.data = Data()
        self.clock = clock
        self.faults = faults
        self.notify: Callable[[int, int, UUID | None], None] = lambda first, last, node_id: None
        self.told: Callable[[IpRow, str], None] = lambda row, what: None  # for the history of an endpoint
        self.moves = 0
        self.foreign_states: list[str] = []  # states that a node wrote over another node's

    # Nodes

    def join(
        self, node_id: UUID, name: str, claim: int, epoch: int, trust_s: float, quiet_s: float
    ) -> tuple[bool, int, int]:
        """(whether the node's journaled states are still valid, its epoch, its beat)."""
        row = self.data.nodes.get(node_id)
        continues = row is None or row.state != "lost"
        now_s = self.clock()
        if row is None:
            row = self.data.nodes[node_id] = NodeRecord(node_id, name)
        is_quiet = row.trusted_until_s + row.quiet_s <= now_s
        row.quiet_s = quiet_s if is_quiet else max(row.quiet_s, quiet_s)
        row.epoch = row.epoch + 1 if "epoch_reused" in self.faults else max(row.epoch + 1, epoch)
        row.claim, row.state, row.trusted_until_s = claim, "active", now_s + trust_s
        row.trust_s = trust_s
        row.beat += 1
        return continues, row.epoch, row.beat

    def renew(
        self, node_id: UUID, claim: int, beat: int, trust_s: float, quiet_s: float, figures: NodeFigures, reads: bool
    ) -> tuple[float, int | None, list[NodeRecord]]:
        """(the clock, the new beat or None if the claim or a beat is lost, copies of all rows or of the own one)."""
        row, now_s, found = self.data.nodes.get(node_id), self.clock(), None
        lost_rows = row is not None and row.beat < beat and "no_beat_check" not in self.faults
        if row is not None and row.claim == claim and row.state == "active" and not lost_rows:
            row.trusted_until_s, row.trust_s, row.figures = now_s + trust_s, trust_s, figures
            row.quiet_s = max(row.quiet_s, quiet_s)
            row.beat += 1
            found = row.beat
        rows = self.data.nodes.values() if reads else filter(None, [row])
        return now_s, found, [copy.copy(known) for known in rows]

    def leave(self, node_id: UUID, claim: int, quiet_s: float) -> None:
        row = self.data.nodes.get(node_id)
        if row is not None and row.claim == claim:
            row.state, row.trusted_until_s, row.quiet_s = "left", self.clock(), quiet_s

    def remove_node(self, node_id: UUID) -> None:
        """The command `nodes remove`."""
        row = self.data.nodes.get(node_id)
        if row is not None and row.state == "active":
            row.state, row.claim, row.epoch = "removed", None, row.epoch + 1
            row.trusted_until_s = min(row.trusted_until_s, self.clock())

    def mark_lost(self, node_id: UUID, seen: tuple[int, int, str]) -> bool:
        """Only a row that is still as it was `seen`: (beat, epoch, state)."""
        row = self.data.nodes.get(node_id)
        if row is None or (row.beat, row.epoch, row.state) != seen:
            return False
        row.state, row.claim, row.epoch = "lost", None, row.epoch + 1
        return True

    def free_lost(self) -> int:
        """Removes lost and unknown owners from rows."""
        freed = []
        for owner in list(self.data.owned):
            known = self.data.nodes.get(owner) if owner is not None else None
            if owner is None or (known is not None and known.state != "lost"):
                continue
            freed += [self.data.ips[ip_id] for ip_id in self.data.owned[owner]]
        first = self.data.edit_no + 1
        for row in freed:
            self._own(row, None)
            row.status = "available" if row.is_healthy else "failed"
            row.locked_until = row.locked_by_request = None
            row.lease_no += 1
            self._number(row)
        if freed:
            self.notify(first, self.data.edit_no, None)
        return len(freed)

    # IPs

    def _check(self, node_id: UUID, claim: int, beat: int) -> None:
        """Each reading of nodes/owned.py begins so: a database that has lost this claim or beat is not read."""
        row = self.data.nodes.get(node_id)
        if row is None or row.claim != claim or row.state != "active":
            raise Refused("this node has lost its claim")
        if row.beat < beat and "no_beat_check" not in self.faults:
            raise Refused("the database has lost rows")

    def take(self, node_id: UUID, claim: int, beat: int) -> int:
        """Nobody's rows, but those whose endpoint another node may still use."""
        self._check(node_id, claim, beat)
        free = [self.data.ips[ip_id] for ip_id in self.data.owned.get(None, ())]
        if self.data.departed and "take_departed" not in self.faults:
            free = [row for row in free if not self._is_in_use_elsewhere(row.endpoint, node_id)]
        for row in free:
            self._own(row, node_id)
        return len(free)

    def takeable(self, node_id: UUID) -> bool:
        nobodys = self.data.owned.get(None, {})
        return any(not self._is_in_use_elsewhere(self.data.ips[ip_id].endpoint, node_id) for ip_id in nobodys)

    def rows_of(self, node_id: UUID, claim: int, beat: int) -> list[IpRow]:
        self._check(node_id, claim, beat)
        return [self.data.ips[ip_id].copied() for ip_id in self.data.owned.get(node_id, ())]

    def edited(
        self, node_id: UUID, claim: int, beat: int, edits: Iterable[tuple[int, int]]
    ) -> tuple[list[IpRow], set[UUID]]:
        """The node's rows with these edit numbers, and the ids of rows that are not the node's, or no more."""
        self._check(node_id, claim, beat)
        numbers = sorted({number for first, last in edits for number in range(first, last + 1)})
        rows = [row for number in numbers if (row := self.data.edited.get(number)) is not None]
        mine = [row.copied() for row in rows if row.node_id == node_id]
        return mine, {row.id for row in rows if row.node_id != node_id}

    def fingerprint(self, node_id: UUID) -> tuple[int, int, bool]:
        owned = self.data.owned.get(node_id, {})
        return len(owned), sum(self.data.ips[ip_id].edit_no for ip_id in owned), self.takeable(node_id)

    def departures(self, node_id: UUID) -> list[Endpoint]:
        return [endpoint for endpoint, owner in self.data.departed if owner == node_id]

    def confirm(self, node_id: UUID, endpoints: Iterable[Endpoint]) -> None:
        """The owner uses these endpoints no more, and their rests are over."""
        for endpoint in endpoints:
            self.data.departed.pop((endpoint, node_id), None)
        if self.data.owned.get(None):
            self.notify(self.data.edit_no, self.data.edit_no, None)

    # The journal

    def position(self, node_id: UUID, lane: str) -> int:
        return self.data.positions.get((node_id, lane), 0)

    def apply(self, node_id: UUID, lane: str, claim: int | None, after: int, batch: list[tuple[int, Any]]) -> bool:
        """False, with nothing changed, if the lane's position is not `after`."""
        if self.position(node_id, lane) != after:
            return False
        if lane == "states" and not self._unowned:
            row = self.data.nodes.get(node_id)
            if row is None or row.claim != claim or row.state != "active":
                raise Refused("this node has lost its claim")
        given: dict[UUID | None, list[IpRow]] = {}
        for _, entry in batch:
            if isinstance(entry, IpChanged):
                self._change(entry, node_id)
            elif isinstance(entry, IpGiven):
                if (moved := self._give(entry, node_id)) is not None:
                    given.setdefault(moved.node_id, []).append(moved)
            else:
                self.data.facts[entry] += 1
        for receiver, moved_rows in given.items():
            first = self.data.edit_no + 1
            for moved in moved_rows:
                self._number(moved)
            self.notify(first, self.data.edit_no, receiver)
        self.data.positions[node_id, lane] = batch[-1][0]
        return True

    def _change(self, entry: IpChanged, node_id: UUID) -> None:
        row = self.data.ips.get(entry.id)
        if row is None or ((row.node_id != node_id or entry.lease_no < row.lease_no) and not self._unowned):
            return
        if row.node_id != node_id:
            self.foreign_states.append(f"{row.endpoint[0]}: the state of another node's IP was written")
        for column in _STATE if row.edit_no <= entry.edit_no else ():
            setattr(row, column, getattr(entry, column))
        row.last_used_at, row.lease_no = entry.last_used_at, entry.lease_no
        row.locked_by_request, row.probe_failures = entry.locked_by_request, entry.probe_failures

    def _give(self, entry: IpGiven, node_id: UUID) -> IpRow | None:
        """The row, if its owner has changed; its edit number follows."""
        row, to = self.data.ips.get(entry.id), self.data.nodes.get(entry.to)
        if row is None or ((row.node_id != node_id or row.lease_no > entry.lease_no) and not self._unowned):
            return None
        row.lease_no = entry.lease_no + 1
        may_have = to is not None and to.state == "active" and not self._is_in_use_elsewhere(row.endpoint, entry.to)
        self._own(row, entry.to if may_have else None)
        row.locked_until = row.locked_by_request = None
        return row

    @property
    def _unowned(self) -> bool:
        return "unowned_states" in self.faults

    # Operators

    def insert(self, row: IpRow) -> bool:
        if row.endpoint in self.data.by_endpoint:
            return False
        self.data.ips[row.id] = row
        self.data.by_endpoint[row.endpoint] = row.id
        row.node_id = None
        self.data.owned.setdefault(None, {})[row.id] = None
        self._announce(row)
        return True

    def delete(self, ip_id: UUID) -> bool:
        row = self.data.ips.pop(ip_id, None)
        if row is None:
            return False
        self._departs(row)
        self.data.edited.pop(row.edit_no, None)
        del self.data.by_endpoint[row.endpoint]
        del self.data.owned[row.node_id][ip_id]
        self.notify(0, 0, None)
        return True

    def set_endpoint(self, ip_id: UUID, address: str, port: str) -> bool:
        row = self.data.ips.get(ip_id)
        if row is None or (address, port, "") in self.data.by_endpoint:
            return False
        self._departs(row)
        del self.data.by_endpoint[row.endpoint]
        row.ip_address, row.ip_port = address, port
        self.data.by_endpoint[row.endpoint] = ip_id
        if row.node_id is not None and self._is_in_use_elsewhere(row.endpoint, row.node_id):
            self._own(row, None)
            row.lease_no += 1
        self._announce(row)
        return True

    def set_state(self, ip_id: UUID, status: str, locked_until: float | None = None, *, healthy: bool = True) -> None:
        if (row := self.data.ips.get(ip_id)) is not None:
            row.status, row.locked_until, row.is_healthy = status, locked_until, healthy
            row.consecutive_failures = 0
            self._announce(row)

    def set_country(self, ip_id: UUID, country: str) -> None:
        if (row := self.data.ips.get(ip_id)) is not None:
            row.country = country
            self._announce(row)

    def _announce(self, row: IpRow) -> None:
        self._number(row)
        self.notify(row.edit_no, row.edit_no, None)

    def _number(self, row: IpRow) -> None:
        self.data.edit_no += 1
        self.data.edited.pop(row.edit_no, None)
        row.edit_no = self.data.edit_no
        self.data.edited[row.edit_no] = row

    def _own(self, row: IpRow, node_id: UUID | None) -> None:
        self.moves += row.node_id != node_id
        del self.data.owned[row.node_id][row.id]
        row.node_id = node_id
        self.data.owned.setdefault(node_id, {})[row.id] = None
        self.told(row, "owner changed")

    def _departs(self, row: IpRow) -> None:
        if row.node_id is not None:
            self.data.departed[row.endpoint, row.node_id] = None

    def _is_in_use_elsewhere(self, endpoint: Endpoint, node_id: UUID) -> bool:
        for departed, owner in self.data.departed:
            known = self.data.nodes.get(owner)
            if departed == endpoint and owner != node_id and known is not None and known.state != "lost":
                return True
        return False

    def restore(self, backup: Data) -> None:
        """The database is `backup` from now on. A sequence's numbers go on, as after `setval`."""
        edit_no = self.data.edit_no
        self.data = backup.copied()
        self.data.edit_no = edit_no

    def rows(self) -> Iterator[IpRow]:
        yield from self.data.ips.values()
