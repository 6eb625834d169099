"""The journal as the actors see it: `record` and `durable`. One task commits what has gathered, in one transaction.

Group commit: while one commit is on its way to the disk, what arrives waits for the next. When the disk refuses, those
who asked for durability are told so, the entries are dropped, counted and logged, and the daemon goes on.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
import trio

from daemon.journal.entries import Entry, encode
from daemon.journal.spool import Spool

PENDING_MAX = 200_000  # entries in memory while the disk hangs
LOG_EVERY_S = 1.0
GATHER_S = 0.05  # what nobody waits for goes with the next commit that somebody waits for, or after this
FORGET_S = 1.0  # shipped entries stay at most this much longer when nothing else is to be committed

log = structlog.get_logger("daemon.journal")


@dataclass(slots=True)
class _Waiting:
    done: trio.Event = field(default_factory=trio.Event)
    durable: bool = False


class JournalWriter:
    """Counts: `recorded` entries taken, `dropped` entries that the disk or a bound refused."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._pending: list[tuple[str, str]] = []
        self._waiting: list[_Waiting] = []
        self._urgent = trio.Event()  # somebody waits for durability
        self._nap = trio.CancelScope()  # until which nobody does
        self._shipped_seq = 0
        self._logged_s = float("-inf")
        self._handed_over_s: float | None = None  # since when the disk has had the commit under way
        self.committed = trio.Event()  # set, and replaced, with each commit: the shipper waits for it
        self.recorded = 0
        self.dropped = 0

    @property
    def pending(self) -> int:
        return len(self._pending)

    @property
    def held_s(self) -> float:
        """For how long the disk has held up the commit under way; 0 where there is none."""
        return 0.0 if self._handed_over_s is None else trio.current_time() - self._handed_over_s

    def record(self, *entries: Entry) -> None:
        if len(self._pending) + len(entries) > PENDING_MAX:
            self._drop(len(entries), f"{PENDING_MAX} entries wait for the disk already")
            return
        if entries and not self._pending:
            self._nap.deadline = min(self._nap.deadline, trio.current_time() + GATHER_S)
        self._pending += map(encode, entries)
        self.recorded += len(entries)

    async def durable(self, *entries: Entry) -> bool:
        """True once the entries, and all before them, are on disk; False if they could not be put there."""
        if len(self._pending) + len(entries) > PENDING_MAX:
            self._drop(len(entries), f"{PENDING_MAX} entries wait for the disk already")
            return False
        self.record(*entries)
        waiting = _Waiting()
        self._waiting.append(waiting)
        self._urgent.set()
        await waiting.done.wait()
        return waiting.durable

    def forget(self, shipped_seq: int) -> None:
        """Entries up to `shipped_seq` are in PostgreSQL: the next commit removes them, within FORGET_S."""
        self._shipped_seq = shipped_seq

    async def run(self) -> None:
        """Commits until cancelled; what was recorded before the cancel is committed before it ends."""
        try:
            while True:
                with trio.move_on_after(GATHER_S if self._pending else FORGET_S) as self._nap:
                    await self._urgent.wait()
                if self._pending or self._waiting or self._shipped_seq:
                    await self._commit()
        finally:
            with trio.CancelScope(shield=True):
                while self._pending or self._waiting:
                    await self._commit()

    async def _commit(self) -> None:
        self._urgent = trio.Event()
        batch, self._pending = self._pending, []
        waiting, self._waiting = self._waiting, []
        shipped_seq, self._shipped_seq = self._shipped_seq, 0
        durable = True
        self._handed_over_s = trio.current_time()
        try:
            made_room = await self._append(batch, shipped_seq)
            self._drop(
                made_room, "journal.spool_bytes_max is reached: the oldest hits and traces go; mend the database"
            )
        except sqlite3.Error as e:
            durable = False
            self._drop(len(batch), f"{self._spool.path}: {e}: free space or repair the disk")
        finally:
            self._handed_over_s = None
        for one in waiting:
            one.durable = durable
            one.done.set()
        self.committed.set()
        self.committed = trio.Event()

    async def _append(self, batch: Sequence[tuple[str, str]], shipped_seq: int) -> int:
        """As trio.to_thread.run_sync, without what only its other users need; a cancel waits for the disk."""
        task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()

        def deliver(result: Any) -> None:
            token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        trio.lowlevel.start_thread_soon(partial(self._spool.append, batch, shipped_seq), deliver)
        made_room: int = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return made_room

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if count and trio.current_time() >= self._logged_s + LOG_EVERY_S:
            self._logged_s = trio.current_time()
            log.error("journal_refused", dropped=count, dropped_in_all=self.dropped, why=why)
