"""Applies the spool to PostgreSQL in order, in batches. The transaction of a batch also moves journal_position.

So an entry is applied once, however often it is sent. During an outage, or while PostgreSQL refuses a statement, the
spool grows. If PostgreSQL refuses the values of one entry, that entry is found by halving its batch, logged and left
out. Applied entries stay in the spool for `keep_s`: a database that lost its last seconds, by a failover or a restored
backup, gets them again.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TypeVar, TypeVarTuple
from uuid import UUID, uuid4

import msgspec
import structlog
import trio

from daemon.database.failures import REFUSALS
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseBusy, DatabaseOccupied, DatabaseUnavailable, StatementRefused
from daemon.journal.entries import KINDS, Hit, IpChanged, TracePending
from daemon.journal.spool import Spool, SpooledEntry
from daemon.journal.writer import JournalWriter
from daemon.troubles import Troubles

BATCH_MAX = 2_000
# The pause between two batches joins the entries of many clicks: a transaction costs more than the rows of a click.
# Each entry of the last batch makes it longer.
GATHER_MIN_S = 0.2
GATHER_EACH_S = 0.005
GATHER_MAX_S = 2.0
PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 2.0
SLOW_READ_S = 30.0
ALL = tuple(KINDS.values())  # in the order of a trace's states
FACTS = tuple(kind for kind in ALL if kind != KINDS[IpChanged])
INSERTED = (KINDS[TracePending], KINDS[Hit])
OTHERS_TRIED_MAX = 20
EVERY_ROW_REMEDY = "change or drop the constraint, trigger, index or column type that refuses the rows"
SHIPPING = "writing rows"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = structlog.get_logger("daemon.journal")


async def apply_batch(
    conn: Connection,
    node_id: object,
    epoch: int,
    after_seq: int,
    batch: Sequence[SpooledEntry],
    claim: UUID | None,
    kinds: Sequence[str],
) -> bool:
    """A unit of work. False, with nothing changed, if the position is not `after_seq`.

    `claim`: this node's, checked and locked for the transaction if given. `kinds`: the kinds to apply.
    """
    if claim is not None and not await conn.fetch(QUERIES["hold_claim"], node_id, claim):
        raise DatabaseOccupied("this node has lost its claim on the database")
    moved = await conn.fetchval(QUERIES["move_position"], node_id, epoch, batch[-1].seq, after_seq)
    if moved is None:
        return False
    for kind in kinds:
        if bodies := [entry.body for entry in batch if entry.kind == kind]:
            await conn.execute(QUERIES[f"apply_{kind}"], f"[{','.join(bodies)}]")
    return True


@dataclass(eq=False, repr=False)
class Shipper:
    """`shipped_seq`: the last applied entry. `refused`: how many entries PostgreSQL refused.

    `claim()` gives this node's claim, or None while another node has the database: then only facts are applied. It
    raises DatabaseOccupied while nothing may be written. Without `claim` there are no other nodes.
    """

    _spool: Spool
    _writer: JournalWriter
    _database: Database
    _troubles: Troubles
    _: KW_ONLY
    keep_s: Callable[[], float] = lambda: 0.0
    claim: Callable[[], UUID | None] | None = None
    # (time, position) while the entries are kept
    _applied: deque[tuple[float, int]] = field(default_factory=deque, init=False)
    _accepted: dict[str, SpooledEntry] = field(default_factory=dict, init=False)  # the last one of each kind
    _noted_seq: int = field(default=0, init=False)  # the position given to the spool last
    _progress: trio.Event = field(default_factory=trio.Event, init=False)
    _hurry: trio.Event = field(default_factory=trio.Event, init=False)  # `flush` waits for rows
    shipped_seq: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    reachable: bool = field(default=True, init=False)

    async def find_position(self) -> None:
        """Reads the position from PostgreSQL; raises DatabaseUnavailable.

        A database that was further before has lost entries. The spool's entries are applied again, and the position
        skips those that the spool has no more.
        """
        rows = await self._database.fetch("read_position", self._spool.node_id)
        position = rows[0]["seq"] if rows else 0
        first, last = await self._read(self._spool.bounds)
        if position > last:
            await trio.to_thread.run_sync(self._spool.continue_after, position)
            log.warning("spool_is_an_old_copy", continues_after=position)
            last = position
        known = max(self.shipped_seq, self._spool.applied_seq)
        begins_after = last if first is None else first - 1
        if position < known:
            lost = max(0, min(known, begins_after) - position)
            log.error("database_is_older", entries=known - position, applied_again=known - position - lost, lost=lost,
                      why="PostgreSQL has lost rows: a restored backup, a failover, or another database",
                      effect="the entries that are still in the spool are applied again")  # fmt: skip
        if position < begins_after:
            await self._database.fetch("move_position", self._spool.node_id, self._spool.epoch, begins_after, position)
            position = begins_after
        self.shipped_seq = position
        self._keep(position)

    async def run(self) -> None:
        pause_s = PAUSE_MIN_S
        while True:
            committed = self._writer.committed
            batch = await self._read(self._spool.read, self.shipped_seq, BATCH_MAX)
            if not batch:
                with trio.move_on_after(SLOW_READ_S):
                    await committed.wait()
                self._forget()
                await self._gather(0)
                continue
            try:
                await self._ship(batch)
            except DatabaseUnavailable as e:
                self._troubles.note(SHIPPING, e, effect="rows wait in the spool; clicks go on")
                self.reachable = isinstance(e, StatementRefused | DatabaseBusy | DatabaseOccupied)
                await trio.sleep(pause_s)
                pause_s = min(PAUSE_MAX_S, 2 * pause_s)
                continue
            self._troubles.over(SHIPPING)
            self.reachable, pause_s = True, PAUSE_MIN_S
            if len(batch) < BATCH_MAX:
                await self._gather(len(batch))

    async def flush(self) -> None:
        """Returns when PostgreSQL has all entries that were recorded before the call and not dropped."""
        await self._writer.durable()
        _, target_seq = await self._read(self._spool.bounds)
        self._hurry.set()
        while self.shipped_seq < target_seq:
            await self._progress.wait()

    async def discard_states(self) -> None:
        """The spooled states of IPs are not applied, because another node has leased the IPs since."""
        if passed := await trio.to_thread.run_sync(self._spool.pass_over, "ip_changed", self.shipped_seq):
            log.warning("states_passed_over", entries=passed, why="another node has leased these IPs since")

    async def _gather(self, entries: int) -> None:
        with trio.move_on_after(min(GATHER_MAX_S, GATHER_MIN_S + GATHER_EACH_S * entries)):
            await self._hurry.wait()
        self._hurry = trio.Event()

    async def _read(self, method: Callable[[*Ts], T], *args: *Ts) -> T:
        """Calls a reading method of the spool, again while the disk fails."""
        while True:
            try:
                return await trio.to_thread.run_sync(method, *args)
            except sqlite3.Error as e:
                log.error("journal_unreadable", why=str(e), retry_in_s=PAUSE_MAX_S, effect="rows wait; clicks go on")
                await trio.sleep(PAUSE_MAX_S)

    async def _ship(self, batch: Sequence[SpooledEntry]) -> None:
        try:
            applied = await self._apply(batch)
        except REFUSALS as e:
            if len(batch) > 1:
                await self._ship(batch[: len(batch) // 2])
                await self._ship(batch[len(batch) // 2 :])
                return
            if not await self._takes_others(batch[0]):
                name = f"apply_{batch[0].kind}"
                raise StatementRefused(f"PostgreSQL refuses every row of {name}: {e}", EVERY_ROW_REMEDY) from e
            applied = await self._apply([SpooledEntry(batch[0].seq, "passed_over", "{}")])
            self.refused += applied
            log.error("entry_refused", kind=batch[0].kind, seq=batch[0].seq, body=batch[0].body, why=str(e))
        if applied:
            self._accepted |= {entry.kind: entry for entry in batch}
            self.shipped_seq = batch[-1].seq
            self._keep(self.shipped_seq)
        else:
            before = self.shipped_seq
            await self.find_position()
            log.warning("position_moved", expected=before, found=self.shipped_seq)
        self._forget()
        self._progress.set()
        self._progress = trio.Event()

    async def _takes_others(self, refused: SpooledEntry) -> bool:
        """Whether PostgreSQL takes another entry of this kind: then the cause is the refused entry's values.

        Otherwise the cause is a constraint, a trigger or a column's type, and the rows wait as for a refused statement.
        """
        later = await self._read(self._spool.read, refused.seq, BATCH_MAX)
        others = [entry for entry in later if entry.kind == refused.kind][:OTHERS_TRIED_MAX]
        if (accepted := self._accepted.get(refused.kind)) is not None:
            others.insert(0, accepted)
        for other in others:
            try:
                await self._database.work(_try, other, own=True)
            except _Accepted:
                return True
            except REFUSALS:
                continue
        return False

    async def _apply(self, batch: Sequence[SpooledEntry]) -> bool:
        node_id, epoch = self._spool.node_id, self._spool.epoch
        claim = self.claim() if self.claim else None
        kinds = ALL if claim or not self.claim else FACTS
        return await self._database.work(apply_batch, node_id, epoch, self.shipped_seq, batch, claim, kinds, own=True)

    def _keep(self, seq: int) -> None:
        now_s = trio.current_time()
        while self._applied and self._applied[-1][1] >= seq:  # the position went back
            self._applied.pop()
        self._applied.append((now_s, seq))

    def _forget(self) -> None:
        """Removes the entries that were applied `keep_s` ago."""
        until_s, forget_seq = trio.current_time() - self.keep_s(), 0
        while self._applied and self._applied[0][0] <= until_s:
            forget_seq = self._applied.popleft()[1]
        if forget_seq or self.shipped_seq != self._noted_seq:
            self._noted_seq = self.shipped_seq
            self._writer.applied(self.shipped_seq, forget_seq)


class _Accepted(Exception):
    """Rolls back an entry that PostgreSQL accepted."""


async def _try(conn: Connection, entry: SpooledEntry) -> None:
    """A unit of work that always raises, for a rollback: _Accepted, or PostgreSQL's error."""
    body = entry.body
    if entry.kind in INSERTED:  # with a new id, since PostgreSQL does not check all of a row that exists
        body = msgspec.json.encode(msgspec.json.decode(body) | {"request_id": str(uuid4())}).decode()
    await conn.execute(QUERIES[f"apply_{entry.kind}"], f"[{body}]")
    raise _Accepted
