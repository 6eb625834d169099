"""The journal's Recorder: `record` and `durable`, with group commit to the spool.

While one commit is under way, new entries are collected for the next one. `durable` starts a commit at once, unless one
is under way, and is woken when the disk is done, without a task between, which would cost a turn of the loop. If the
disk fails, `durable` returns False, the entries are dropped, counted and logged, and the daemon goes on.
"""

import sqlite3
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
import trio

from daemon.journal.entries import Entry, encode
from daemon.journal.spool import Spool
from daemon.oneshot import OneShot

PENDING_MAX = 200_000  # entries in memory while the disk hangs
LOG_EVERY_S = 1.0
GATHER_S = 0.05  # after which entries are committed for which no task waits
FORGET_S = 1.0  # after which removable entries are removed if there is nothing else to commit

log = structlog.get_logger("daemon.journal")


class JournalWriter:
    """Counts `recorded` entries, and `dropped` ones: the disk failed or a limit was reached.

    `remade`: how often the spool's files were made anew, `remade_why` for the last time.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._pending: list[tuple[str, str]] = []
        self._waiting: list[OneShot[bool]] = []
        self._pending_since_s = 0.0
        self._pause = trio.CancelScope()  # of `run`, until the next commit is due
        self._forget_seq = self._applied_seq = 0  # for the next commit; 0: nothing new
        self._logged_s = float("-inf")
        self._commit_began_s: float | None = None  # of the commit under way
        self._fault: Exception | None = None  # for `run` to raise
        self.committed = trio.Event()  # set and replaced with each commit: the shipper waits for it
        self.recorded = 0
        self.dropped = 0
        self.remade = 0
        self.remade_why: str | None = None

    @property
    def pending(self) -> int:
        return len(self._pending)

    @property
    def held_s(self) -> float:
        """The age of the commit under way; 0 without one."""
        return 0.0 if self._commit_began_s is None else trio.current_time() - self._commit_began_s

    def record(self, *entries: Entry) -> None:
        self._accept(entries)

    async def durable(self, *entries: Entry) -> bool:
        """True when the entries and all before them are on disk; False if the disk failed or a limit was reached."""
        if not self._accept(entries):
            return False
        reply: OneShot[bool] = OneShot()
        self._waiting.append(reply)
        self._commit()
        return await reply.receive()

    def _accept(self, entries: tuple[Entry, ...]) -> bool:
        if len(self._pending) + len(entries) > PENDING_MAX:
            self._drop(len(entries), f"{PENDING_MAX} entries wait for the disk already")
            return False
        if entries and not self._pending:
            now = self._pending_since_s = trio.current_time()
            self._pause.deadline = min(self._pause.deadline, now + GATHER_S)
        self._pending += map(encode, entries)
        self.recorded += len(entries)
        return True

    def applied(self, applied_seq: int, forget_seq: int) -> None:
        """PostgreSQL has the entries up to `applied_seq`. A commit within FORGET_S removes those up to `forget_seq`."""
        self._applied_seq = applied_seq
        self._forget_seq = forget_seq or self._forget_seq

    async def run(self) -> None:
        """Commits entries for which no task waits, until cancelled; then commits all that was recorded before."""
        try:
            while self._fault is None:
                ends_s = self._pending_since_s + GATHER_S if self._pending else trio.current_time() + FORGET_S
                with trio.CancelScope(deadline=ends_s) as self._pause:
                    await trio.sleep_forever()
                is_due = self._pending and trio.current_time() >= self._pending_since_s + GATHER_S
                if is_due or self._applied_seq:
                    self._commit()
                elif not self._pending:
                    await self._check_files()
            fault, self._fault = self._fault, None
            raise fault
        finally:
            with trio.CancelScope(shield=True):
                while self._pending or self._waiting or self._applied_seq or self._commit_began_s is not None:
                    self._commit()
                    await self.committed.wait()

    async def _check_files(self) -> None:
        """While there is nothing to commit."""
        with suppress(sqlite3.Error):  # the next commit has the same error, and reports it
            await trio.to_thread.run_sync(self._spool.check_files)
        self._report_remade()

    def _report_remade(self) -> None:
        while self._spool.remade:
            remade = self._spool.remade.pop()
            self.remade += 1
            self.remade_why = remade.why
            log.error("spool_remade", file=str(self._spool.path), why=remade.why, lost=remade.lost,
                      effect="a new file has the entries of the old one, or else those in memory",
                      aside=remade.aside or None,
                      next="let no other program write to the state directory")  # fmt: skip

    def _commit(self) -> None:
        """Starts a commit in a thread, unless one is under way: then `_settle` starts the next one if a task waits."""
        if self._commit_began_s is not None:
            return
        batch, self._pending = self._pending, []
        waiting, self._waiting = self._waiting, []
        forget_seq, applied_seq, self._forget_seq, self._applied_seq = self._forget_seq, self._applied_seq, 0, 0
        self._commit_began_s = trio.current_time()
        token = trio.lowlevel.current_trio_token()

        def deliver(result: Any) -> None:
            token.run_sync_soon(self._settle, result, len(batch), waiting)

        trio.lowlevel.start_thread_soon(partial(self._spool.append, batch, forget_seq, applied_seq), deliver)

    def _settle(self, result: Any, entries: int, waiting: list[OneShot[bool]]) -> None:
        """Ends a commit with its `result` (an outcome). Runs in trio's thread, where no exception may be raised."""
        self._commit_began_s = None
        durable = False
        try:
            made_room = result.unwrap()
            durable = True
            self._drop(made_room, "journal.spool_bytes_max is reached: the oldest entries go; repair the database")
        except sqlite3.Error as e:
            self._drop(entries, f"{self._spool.path}: {e}: free space or repair the disk")
        except Exception as e:
            self._fault = e
            self._pause.cancel()
        self._report_remade()
        for reply in waiting:
            reply.send_nowait(durable)
        self.committed.set()
        self.committed = trio.Event()
        if self._waiting:
            self._commit()

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if count and trio.current_time() >= self._logged_s + LOG_EVERY_S:
            self._logged_s = trio.current_time()
            log.error("journal_refused", dropped=count, dropped_in_all=self.dropped, why=why)
