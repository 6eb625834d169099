"""Takes the spool to PostgreSQL, in order, in batches; the transaction that applies a batch moves journal_position.

So an entry is applied once, however often it is sent. PostgreSQL away, or refusing a statement, only makes the spool
longer. An entry whose values PostgreSQL refuses, while it takes others of the kind, is found by halving its batch,
logged and left out, so that it does not hold up the others. Applied entries stay in the spool for `keep_s`: a database
that comes back without its last seconds, from a failover or a backup, gets them again.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar, TypeVarTuple
from uuid import UUID, uuid4

import msgspec
import structlog
import trio

from daemon.database.failures import REFUSALS
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseOccupied, DatabaseUnavailable, StatementRefused
from daemon.journal.entries import KINDS, Hit, IpChanged, TracePending
from daemon.journal.spool import Spool, SpooledEntry
from daemon.journal.writer import JournalWriter
from daemon.troubles import Troubles

BATCH_MAX = 2_000
# Between two batches, so that the entries of many clicks travel together: a transaction costs more than what a click
# writes. A few entries wait for the shortest time, and each of the last batch adds to it.
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
EVERY_ROW_REMEDY = "change or drop the constraint, trigger, index or column type that refuses them"
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
    """A unit of work. False, with nothing changed, when the position is not at `after_seq`.

    `claim`: this node's, which must hold until the rows are there; None: it need not. `kinds`: those to apply.
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


class Shipper:
    """`shipped_seq`: how far PostgreSQL has it. `refused`: entries it would not take.

    `claim()` is this node's; None while another node has the database: then facts alone are applied, and what the
    entries say of IPs is passed over. It raises DatabaseOccupied where nothing may be written. Without `claim` no other
    node is thought of.
    """

    def __init__(
        self,
        spool: Spool,
        writer: JournalWriter,
        database: Database,
        troubles: Troubles,
        *,
        keep_s: Callable[[], float] = lambda: 0.0,
        claim: Callable[[], UUID | None] | None = None,
    ) -> None:
        self._spool = spool
        self._writer = writer
        self._database = database
        self._troubles = troubles
        self._keep_s = keep_s
        self._claim = claim
        self._applied: deque[tuple[float, int]] = deque()  # when each position was reached, while it is kept
        self._accepted: dict[str, SpooledEntry] = {}  # the last one of each kind
        self._noted_seq = 0  # the position that the spool notes with its next commit
        self._progress = trio.Event()
        self._hurry = trio.Event()  # somebody waits for rows
        self.shipped_seq = 0
        self.refused = 0
        self.reachable = True

    async def find_position(self) -> None:
        """Where PostgreSQL stands; raises DatabaseUnavailable.

        A database that once was further lacks entries. Those that the spool still has are applied again; the position
        passes over the others, which nobody has.
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
                      why="PostgreSQL has lost rows that it had: a backup, a failover, or another database",
                      effect="entries that the spool still has are applied again")  # fmt: skip
        if position < begins_after:
            await self._database.work(_move_position, self._spool.node_id, self._spool.epoch, begins_after, position)
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
                self.reachable = isinstance(e, StatementRefused | DatabaseOccupied)
                await trio.sleep(pause_s)
                pause_s = min(PAUSE_MAX_S, 2 * pause_s)
                continue
            self._troubles.over(SHIPPING)
            self.reachable, pause_s = True, PAUSE_MIN_S
            if len(batch) < BATCH_MAX:
                await self._gather(len(batch))

    async def flush(self) -> None:
        """Returns once PostgreSQL has everything that was recorded before the call, but for what was dropped."""
        await self._writer.durable()
        target_seq = await self._read(self._spool.last_seq)
        self._hurry.set()
        while self.shipped_seq < target_seq:
            await self._progress.wait()

    async def discard_states(self) -> None:
        """Another node has had the IPs since: what the spool still says of them is not applied."""
        if passed := await trio.to_thread.run_sync(self._spool.pass_over, "ip_changed", self.shipped_seq):
            log.warning("states_passed_over", entries=passed, why="another node has had these IPs since")

    async def _gather(self, entries: int) -> None:
        with trio.move_on_after(min(GATHER_MAX_S, GATHER_MIN_S + GATHER_EACH_S * entries)):
            await self._hurry.wait()
        self._hurry = trio.Event()

    async def _read(self, ask: Callable[[*Ts], T], *args: *Ts) -> T:
        """What the spool says. A disk that refuses even reads is asked again: what it holds may come back with it."""
        while True:
            try:
                return await trio.to_thread.run_sync(ask, *args)
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
            applied = await self._apply([_passed_over(batch[0])])
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
        """Whether PostgreSQL takes another entry of this kind: then the refused one's own values are at fault.

        Else a constraint, a trigger or a column's type is, and the rows wait as for any statement that is refused.
        """
        later = await self._read(self._spool.read, refused.seq, BATCH_MAX)
        others = [entry for entry in later if entry.kind == refused.kind][:OTHERS_TRIED_MAX]
        if (accepted := self._accepted.get(refused.kind)) is not None:
            others.insert(0, accepted)
        for other in others:
            try:
                await self._database.work(_try, other, own=True)
            except _Taken:
                return True
            except REFUSALS:
                continue
        return False

    async def _apply(self, batch: Sequence[SpooledEntry]) -> bool:
        node_id, epoch = self._spool.node_id, self._spool.epoch
        claim = self._claim() if self._claim else None
        kinds = ALL if claim or not self._claim else FACTS
        return await self._database.work(apply_batch, node_id, epoch, self.shipped_seq, batch, claim, kinds, own=True)

    def _keep(self, seq: int) -> None:
        now_s = trio.current_time()
        while self._applied and self._applied[-1][1] >= seq:  # the position went back
            self._applied.pop()
        self._applied.append((now_s, seq))

    def _forget(self) -> None:
        """Lets go of entries that were applied `keep_s` ago."""
        until_s, forget_seq = trio.current_time() - self._keep_s(), 0
        while self._applied and self._applied[0][0] <= until_s:
            forget_seq = self._applied.popleft()[1]
        if forget_seq or self.shipped_seq != self._noted_seq:
            self._noted_seq = self.shipped_seq
            self._writer.applied(self.shipped_seq, forget_seq)


class _Taken(Exception):
    """PostgreSQL took the entry; nothing of it stays."""


async def _try(conn: Connection, entry: SpooledEntry) -> None:
    """A unit of work that always raises, so that nothing stays: _Taken, or what PostgreSQL says."""
    body = entry.body
    if entry.kind in INSERTED:  # as a row of its own: of one that is there, not everything would be looked at
        body = msgspec.json.encode(msgspec.json.decode(body) | {"request_id": str(uuid4())}).decode()
    await conn.execute(QUERIES[f"apply_{entry.kind}"], f"[{body}]")
    raise _Taken


async def _move_position(conn: Connection, node_id: object, epoch: int, to_seq: int, from_seq: int) -> None:
    await conn.execute(QUERIES["move_position"], node_id, epoch, to_seq, from_seq)


def _passed_over(entry: SpooledEntry) -> SpooledEntry:
    """The same place in the order, with nothing to apply."""
    return SpooledEntry(entry.seq, "passed_over", "{}")
