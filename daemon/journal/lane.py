"""One of the two lanes in which the spool's entries reach PostgreSQL: facts, or states. Each keeps its order.

The transaction of a batch also moves the lane's row of journal_position, so an entry is applied once, however often it
is sent. Facts are applied at any time. States wait while this node has no claim on the database, and change only the
rows of IPs that this node owns. Their additions to an IP's counters are applied for any owner.

An entry whose values PostgreSQL refuses is found by halving its batch, and is kept among the refused entries, if
PostgreSQL takes other entries of its kind. Otherwise the cause is no single row but a table, a constraint or a trigger:
the lane stops, and tries again.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID, uuid4

import msgspec
import structlog

from daemon.database.failures import REFUSALS, Refusal, refusal_of
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseOccupied, StatementRefused
from daemon.journal.entries import COUNTED, KINDS, STATES, Hit, IpChanged, IpGiven, TracePending, TraceQueued
from daemon.journal.forgetting import without_forgotten
from daemon.journal.refused import FOLLOWS, OF_TRACES, PENDING, PREFIX, REQUEST_ID
from daemon.journal.spool import PASSED_OVER, Spool, SpooledEntry

FACTS, OF_IPS = "facts", "states"
"""The lanes."""
KINDS_OF = {FACTS: tuple(kind for kind in KINDS.values() if kind not in STATES), OF_IPS: STATES}
"""In the order of a trace's states."""
GIVEN = KINDS[IpGiven]
OF_OWNER = (KINDS[IpChanged], GIVEN)
"""The kinds that change only the rows of their node."""
INSERTED = (KINDS[TracePending], KINDS[TraceQueued], KINDS[Hit])
OTHERS_TRIED_MAX = 20
OTHERS_READ_MAX = 2_000
NO_TRAFFIC = '"traffic":[]'
EVERY_ROW_REMEDY = "change or drop the constraint, trigger, index or column type that refuses the rows"

log = structlog.get_logger("daemon.journal")


async def apply_batch(
    conn: Connection,
    node_id: object,
    epoch: int,
    lane: str,
    after_seq: int,
    batch: Sequence[SpooledEntry],
    claim: UUID | None = None,
    days_kept: Mapping[str, float] = MappingProxyType({}),
    old: Counter[str] | None = None,
) -> bool:
    """A unit of work. False, with nothing changed, if the lane's position is not `after_seq`.

    `days_kept`, by kind: an entry that is older makes no row, and is counted in `old`.

    `claim`: this node's at the time when the batch was read, for states. It is locked from the end of the work to the
    end of the transaction: a node that lost its claim may have lost these IPs and own them again. A lock during the
    work would hold up the renewal of this node's trust while an IP's row is locked.
    """
    moved = await conn.fetchval(QUERIES["move_position"], node_id, lane, epoch, batch[-1].seq, after_seq)
    if moved is None:
        return False
    if lane == FACTS and (kept := await without_forgotten(conn, batch)) is not None:
        batch = kept
    for kind in KINDS_OF[lane]:
        if bodies := [entry.body for entry in batch if entry.kind == kind]:
            done = await _execute(conn, kind, bodies, node_id, days_kept.get(kind))
            if old is not None and kind in days_kept and int(done.split()[-1]) < len(bodies):
                array = f"[{','.join(bodies)}]"
                old[kind] += await conn.fetchval(QUERIES["count_old"], array, days_kept[kind])
    if claim is not None and not await conn.fetch(QUERIES["hold_claim"], node_id, claim):
        raise DatabaseOccupied("this node has lost its claim on the database")
    return True


async def _execute(
    conn: Connection, kind: str, bodies: Sequence[str], node_id: object, days_kept: float | None = None
) -> Any:
    array = f"[{','.join(bodies)}]"
    if kind == COUNTED:
        return await conn.execute(QUERIES["apply_ip_changed"], array, None)
    if kind == GIVEN:
        await conn.execute(QUERIES["lock_given"], array)
    further = (node_id,) if kind in OF_OWNER else (days_kept,) if kind in INSERTED else ()
    return await conn.execute(QUERIES[f"apply_{kind}"], array, *further)


class Read(Protocol):
    """Calls a method of the spool in a thread, again while the disk fails."""

    async def __call__(self, method: Callable[..., Any], *args: Any) -> Any: ...


@dataclass(eq=False, repr=False)
class Lane:
    """`seq`: the last entry that PostgreSQL has. `refused`: how many entries it has refused in this run.

    `_days_kept()`, by kind: an entry that is older when it is shipped makes no row; `old` counts these in this run.

    `_claimed()`: this node's claim, and whether this lane may write now. `_lost_position()` is called when the position
    is not the expected one. `furthest_seq`: what PostgreSQL had of this lane before it lost rows. An IP that was given
    up to there is not given again: the rows say who owns it now, and its new owner may have given it back since.
    """

    name: str
    _spool: Spool
    _database: Database
    _claimed: Callable[[], tuple[UUID | None, bool]]
    _disk: Read
    _lost_position: Callable[[], Awaitable[None]]
    _days_kept: Callable[[], Mapping[str, float]] = dict
    _accepted: dict[str, SpooledEntry] = field(default_factory=dict, init=False)  # the last one of each kind
    _is_stopped: bool = field(default=False, init=False)
    _refused_until_seq: int = field(default=0, init=False)  # the end of the last batch that was refused
    _claim: tuple[UUID | None, bool] = field(default=(None, True), init=False)  # when the batch was read
    _after_seq: int = field(default=0, init=False)  # `seq` when the batch was read
    seq: int = field(default=0, init=False)
    epoch: int = field(default=0, init=False)  # of this run, see take_positions
    furthest_seq: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    old: Counter[str] = field(default_factory=Counter, init=False)

    async def read(self, entries_max: int) -> list[SpooledEntry]:
        """The next entries; a single one after all were refused."""
        self._claim, self._after_seq = self._claimed(), self.seq
        found: list[SpooledEntry] = await self._disk(self._spool.read, self.seq, 1 if self._is_stopped else entries_max)
        return [
            SpooledEntry(entry.seq, PASSED_OVER, "{}")
            if entry.kind == GIVEN and entry.seq <= self.furthest_seq
            else entry
            for entry in found
        ]

    @property
    def is_past_refusal(self) -> bool:
        """PostgreSQL has all entries of the last batch that it refused, not only those before the refused entry."""
        return self.seq >= self._refused_until_seq

    async def ship(self, batch: Sequence[SpooledEntry]) -> None:
        """Applies the batch of the last `read`. Raises DatabaseUnavailable; what was applied before stays applied."""
        if not self._claim[1]:
            raise DatabaseOccupied("this node has no claim on the database now")
        try:
            await self._ship(await self._without_followers(batch), self._after_seq)
        except StatementRefused:
            self._is_stopped = True
            self._refused_until_seq = batch[-1].seq
            raise
        self._is_stopped = False

    async def _ship(self, batch: Sequence[SpooledEntry], after_seq: int) -> None:
        """`after_seq`: the position behind which the batch was read. The other lane may have found another since."""
        try:
            applied = await self._apply(batch, after_seq)
        except (*REFUSALS, StatementRefused) as e:
            if (refusal := refusal_of(e)) is None:
                raise
            if len(batch) > 1:
                first, rest = batch[: len(batch) // 2], batch[len(batch) // 2 :]
                await self._ship(first, after_seq)
                await self._ship(await self._without_followers(rest), first[-1].seq)
                return
            if not await self._takes_others(batch[0]):
                name = f"apply_{batch[0].kind}"
                raise StatementRefused(
                    f"PostgreSQL refuses every row of {name}: {refusal.why}", EVERY_ROW_REMEDY
                ) from e
            try:  # again: if the cause was removed just now, the other entries were taken for that reason
                applied = await self._apply(batch, after_seq)
            except (*REFUSALS, StatementRefused) as again:
                if (refusal := refusal_of(again)) is None:
                    raise
                batch = [await self._set_aside(batch[0], refusal)]
                applied = await self._apply(batch, after_seq)
        if applied:
            self._accepted |= {entry.kind: entry for entry in batch}
            self.seq = batch[-1].seq
        else:
            before = self.seq
            await self._lost_position()
            log.warning("position_moved", lane=self.name, expected=before, found=self.seq)

    async def _without_followers(self, batch: Sequence[SpooledEntry]) -> list[SpooledEntry]:
        """Sets the entries aside that change a trace's row, where the entry that inserts the row is set aside."""
        kept = list(batch)
        if self.name == FACTS and self._spool.refused_traces:
            for place, entry in enumerate(batch):
                follows = entry.kind in OF_TRACES and entry.kind != PENDING
                if follows and entry.body[REQUEST_ID] in self._spool.refused_traces:
                    kept[place] = await self._set_aside(entry, Refusal("", FOLLOWS))
        return kept

    async def _set_aside(self, entry: SpooledEntry, refusal: Refusal) -> SpooledEntry:
        """Keeps an entry among the refused ones. Returns what remains of it in the journal."""
        await self._disk(self._spool.refuse, entry.seq, time.time(), refusal)
        self.refused += 1
        log.error("entry_refused", kind=entry.kind, id=entry.seq, why=refusal.why, sqlstate=refusal.sqlstate,
                  constraint=refusal.constraint, table=refusal.table, kept=self._spool.refused,
                  remedy="tracepool journal refused list")  # fmt: skip
        return SpooledEntry(entry.seq, f"{PREFIX}{entry.kind}", "{}")

    async def _takes_others(self, refused: SpooledEntry) -> bool:
        """Whether PostgreSQL takes other entries of this kind: then the cause is the refused entry's values.

        Tries some of the entries that follow, evenly spread. Unless PostgreSQL refuses OTHERS_TRIED_MAX of them, the
        last entry that it accepted before is tried too.
        """
        before = self._accepted.get(refused.kind) or await self._disk(self._spool.last, refused.kind, self.seq)
        later = await self._disk(self._spool.read, refused.seq, OTHERS_READ_MAX)
        others = [entry for entry in later if _is_like(entry, refused)]
        refusals = 0
        for other in others[:: -(-len(others) // OTHERS_TRIED_MAX) or 1]:
            took = await self._tried(other)
            if took:
                return True
            refusals += took is False
        if refusals >= OTHERS_TRIED_MAX or before is None or not _is_like(before, refused):
            return False
        return bool(await self._tried(before))

    async def _tried(self, entry: SpooledEntry) -> bool | None:
        """Whether PostgreSQL takes the entry, which is rolled back; None if the entry changes no row."""
        try:
            await self._database.work(_try, entry, self._spool.node_id, own=True)
        except _Tried as tried:
            return True if tried.changes_rows else None
        except (*REFUSALS, StatementRefused):
            return False
        return None

    async def _apply(self, batch: Sequence[SpooledEntry], after_seq: int) -> bool:
        node_id, claim, days, old = self._spool.node_id, self._claim[0], self._days_kept(), Counter[str]()
        applied = await self._database.work(
            apply_batch, node_id, self.epoch, self.name, after_seq, batch, claim, days, old, own=True
        )
        if applied and old:
            self.old += old
            for kind, entries in old.items():
                log.warning("entries_too_old", kind=kind, entries=entries, days_kept=days[kind], in_all=self.old[kind],
                            effect="they make no rows: such rows would be removed at once")  # fmt: skip
        return applied


class _Tried(Exception):
    """Rolls back an entry that PostgreSQL accepted."""

    def __init__(self, changes_rows: bool) -> None:
        super().__init__()
        self.changes_rows = changes_rows


async def _try(conn: Connection, entry: SpooledEntry, node_id: UUID) -> None:
    """A unit of work that always raises, for a rollback: _Tried, or PostgreSQL's error."""
    body = entry.body
    if entry.kind in INSERTED:  # with a new id, since PostgreSQL does not check all of a row that exists
        body = msgspec.json.encode(msgspec.json.decode(body) | {"request_id": str(uuid4())}).decode()
    done = await _execute(conn, entry.kind, [body], node_id)
    await conn.execute("set constraints all immediate")  # as the commit would
    raise _Tried(not str(done).endswith(" 0"))


def _is_like(entry: SpooledEntry, other: SpooledEntry) -> bool:
    """Whether both change the same tables: a trace without an attempt adds nothing to the table `traffic`."""
    return entry.kind == other.kind and (NO_TRAFFIC in entry.body) == (NO_TRAFFIC in other.body)
