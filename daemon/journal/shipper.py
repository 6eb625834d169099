"""Takes the spool to PostgreSQL, in order, in batches; the transaction that applies a batch moves journal_position.

So an entry is applied once, however often it is sent. PostgreSQL away only makes the spool longer. An entry that
PostgreSQL refuses for what it says is found by halving its batch, logged and left out, so that it holds up nobody.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar, TypeVarTuple

import structlog
import trio

from daemon.database.postgres import QUERIES, REFUSALS, Connection, Database
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import KINDS
from daemon.journal.spool import Spool, SpooledEntry
from daemon.journal.writer import JournalWriter

BATCH_MAX = 2_000
# Between two batches, so that the entries of many clicks travel together: a transaction costs more than what a click
# writes. A few entries wait for the shortest time, and each of the last batch adds to it.
GATHER_MIN_S = 0.2
GATHER_EACH_S = 0.005
GATHER_MAX_S = 2.0
PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 2.0
SLOW_READ_S = 30.0

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = structlog.get_logger("daemon.journal")


async def apply_batch(
    conn: Connection, node_id: object, epoch: int, after_seq: int, batch: Sequence[SpooledEntry]
) -> bool:
    """A unit of work. False, with nothing changed, when the position is not at `after_seq`."""
    moved = await conn.fetchval(QUERIES["move_position"], node_id, epoch, batch[-1].seq, after_seq)
    if moved is None:
        return False
    for kind in KINDS.values():  # their order there is the order of a trace's states
        if bodies := [entry.body for entry in batch if entry.kind == kind]:
            await conn.execute(QUERIES[f"apply_{kind}"], f"[{','.join(bodies)}]")
    return True


class Shipper:
    """`shipped_seq`: how far PostgreSQL has it. `refused`: entries it would not take."""

    def __init__(self, spool: Spool, writer: JournalWriter, database: Database) -> None:
        self._spool = spool
        self._writer = writer
        self._database = database
        self._progress = trio.Event()
        self._hurry = trio.Event()  # somebody waits for rows
        self.shipped_seq = 0
        self.refused = 0
        self.reachable = True

    async def find_position(self) -> None:
        """Where PostgreSQL stands; raises DatabaseUnavailable."""
        rows = await self._database.fetch("read_position", self._spool.node_id)
        self.shipped_seq = rows[0]["seq"] if rows else 0
        if self.shipped_seq > await self._read(self._spool.last_seq):
            await trio.to_thread.run_sync(self._spool.continue_after, self.shipped_seq)
            log.warning("spool_is_an_old_copy", continues_after=self.shipped_seq)

    async def run(self) -> None:
        pause_s = PAUSE_MIN_S
        while True:
            committed = self._writer.committed
            batch = await self._read(self._spool.read, self.shipped_seq, BATCH_MAX)
            if not batch:
                with trio.move_on_after(SLOW_READ_S):
                    await committed.wait()
                await self._gather(0)
                continue
            try:
                await self._ship(batch)
            except DatabaseUnavailable as e:
                if self.reachable:
                    log.error("database_unavailable", why=str(e), effect="rows wait in the spool; clicks go on")
                self.reachable = False
                await trio.sleep(pause_s)
                pause_s = min(PAUSE_MAX_S, 2 * pause_s)
                continue
            if not self.reachable:
                log.info("database_back", shipped=len(batch))
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
        node_id, epoch = self._spool.node_id, self._spool.epoch
        try:
            applied = await self._database.work(apply_batch, node_id, epoch, self.shipped_seq, batch, own=True)
        except REFUSALS as e:
            if len(batch) > 1:
                await self._ship(batch[: len(batch) // 2])
                await self._ship(batch[len(batch) // 2 :])
                return
            self.refused += 1
            log.error("entry_refused", kind=batch[0].kind, seq=batch[0].seq, body=batch[0].body, why=str(e))
            await self._database.work(apply_batch, node_id, epoch, self.shipped_seq, [_passed_over(batch[0])], own=True)
            applied = True
        if applied:
            self.shipped_seq = batch[-1].seq
        else:
            before = self.shipped_seq
            await self.find_position()
            log.warning("position_moved", expected=before, found=self.shipped_seq)
        self._writer.forget(self.shipped_seq)
        self._progress.set()
        self._progress = trio.Event()


def _passed_over(entry: SpooledEntry) -> SpooledEntry:
    """The same place in the order, with nothing to apply."""
    return SpooledEntry(entry.seq, "passed_over", "{}")
