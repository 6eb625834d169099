"""The journal's Recorder: `record` and `durable`, with group commit to the spool.

While one commit is under way, new entries are collected for the next one. `durable` starts a commit at once, unless one
is under way, and is woken when the disk is done, without a task between, which would cost a turn of the loop.

If the disk fails, `durable` returns False, and the entries stay in memory, up to PENDING_MAX, until a later commit
succeeds. The same holds before the spool can be opened (`attach`). Entries beyond that are dropped, counted and logged.
"""

import sqlite3
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
import trio

from daemon.journal.entries import KINDS, Entry, Hit, IpGiven, encode
from daemon.journal.spool import Spool
from daemon.oneshot import OneShot

PENDING_MAX = 200_000  # entries in memory while the disk hangs or fails
COMMIT_MAX = 10_000  # entries in one commit
LOG_EVERY_S = 1.0
GATHER_S = 0.05  # after which entries are committed for which no task waits
FORGET_S = 1.0  # after which removable entries are removed if there is nothing else to commit
GIVEN = KINDS[IpGiven]
RETRY_S = 0.5  # after a second failure in a row; until then `durable` returns False at once

log = structlog.get_logger("daemon.journal")


class JournalWriter:
    """Counts `recorded` entries, and `dropped` ones: a limit was reached. `pending`: those in memory.

    `remade`: how often the spool's files were made anew, `remade_why` for the last time.
    """

    def __init__(self, spool: Spool | None = None) -> None:
        self._spool = spool
        self._pending: list[tuple[str, str]] = []
        self._waiting: list[OneShot[bool]] = []
        self._pending_since_s = 0.0
        self._pause = trio.CancelScope()  # of `run`, until the next commit is due
        self._forget_seq = self._applied_seq = 0  # for the next commit; 0: nothing new
        self._logged_s = float("-inf")
        self._commit_began_s: float | None = None  # of the commit under way
        self._failures, self._failed_s = 0, 0.0  # commits that failed one after the other, and when the last one did
        self._fault: Exception | None = None  # for `run` to raise
        self.committed = trio.Event()  # set and replaced with each commit: the shipper waits for it
        self.gave = trio.Event()  # the same for commits with a gift
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

    @property
    def _may_commit(self) -> bool:
        if self._spool is None:
            return False
        return self._failures < 2 or trio.current_time() >= self._failed_s + RETRY_S

    def attach(self, spool: Spool) -> None:
        """The spool is open: entries that were recorded before are committed now."""
        self._spool = spool
        self._commit()

    async def close(self) -> None:
        """After `run` has ended. Waits for a commit that `attach` began since: closing the spool in it ends Python."""
        with trio.CancelScope(shield=True):
            await self._finish()
        if self._spool is not None:
            self._spool.close()

    def record(self, *entries: Entry) -> None:
        self._accept(entries)

    async def durable(self, *entries: Entry) -> bool:
        """True when the entries and all before them are on disk; False if the disk failed or a limit was reached."""
        if not self._accept(entries) or not self._may_commit:
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

    def pending_hits(self, hits_max: int) -> list[tuple[str, str]]:
        """The first entries of hits that wait for the disk."""
        kind = KINDS[Hit]
        return [entry for entry in self._pending if entry[0] == kind][:hits_max]

    def forget(self, entries: Collection[tuple[str, str]]) -> None:
        """PostgreSQL has these pending entries already."""
        known = {id(entry) for entry in entries}
        self._pending = [entry for entry in self._pending if id(entry) not in known]

    def applied(self, applied_seq: int, forget_seq: int) -> None:
        """PostgreSQL has the entries up to `applied_seq`. A commit within FORGET_S removes those up to `forget_seq`."""
        self._applied_seq = applied_seq
        self._forget_seq = forget_seq or self._forget_seq

    async def run(self) -> None:
        """Commits entries for which no task waits, until cancelled; then commits all that was recorded before."""
        try:
            while self._fault is None:
                with trio.CancelScope(deadline=self._next_commit_s()) as self._pause:
                    await trio.sleep_forever()
                is_due = self._pending and trio.current_time() >= self._pending_since_s + GATHER_S
                if is_due or self._applied_seq:
                    self._commit()
                elif self._spool is not None and not self._pending:
                    await self._check_files(self._spool)
            fault, self._fault = self._fault, None
            raise fault
        finally:
            with trio.CancelScope(shield=True):
                await self._finish()

    def _next_commit_s(self) -> float:
        now_s = trio.current_time()
        if not self._may_commit:
            return now_s + RETRY_S
        return self._pending_since_s + GATHER_S if self._pending else now_s + FORGET_S

    async def _finish(self) -> None:
        while self._pending or self._waiting or self._applied_seq or self._commit_began_s is not None:
            if self._commit_began_s is None and (self._spool is None or self._failures >= 2):
                lost, self._pending = len(self._pending), []
                self._drop(lost, "the daemon stopped while the disk refused writes")
                self._applied_seq = 0
                continue
            self._commit()
            await self.committed.wait()

    async def _check_files(self, spool: Spool) -> None:
        """While there is nothing to commit."""
        with suppress(sqlite3.Error):  # the next commit has the same error, and reports it
            await trio.to_thread.run_sync(spool.check_files)
        self._report_remade(spool)

    def _report_remade(self, spool: Spool) -> None:
        while spool.remade:
            remade = spool.remade.pop()
            self.remade += 1
            self.remade_why = remade.why
            log.error("spool_remade", file=str(spool.path), why=remade.why, lost=remade.lost,
                      effect="a new file has the entries of the old one, or else those in memory",
                      aside=remade.aside or None,
                      next="let no other program write to the state directory")  # fmt: skip

    def _commit(self) -> None:
        """Starts a commit in a thread, unless one is under way: then `_settle` starts the next one if a task waits."""
        if self._commit_began_s is not None or self._spool is None or not self._may_commit:
            return
        batch, self._pending = self._pending[:COMMIT_MAX], self._pending[COMMIT_MAX:]
        waiting: list[OneShot[bool]] = []
        if not self._pending:
            waiting, self._waiting = self._waiting, []
        forget_seq, applied_seq, self._forget_seq, self._applied_seq = self._forget_seq, self._applied_seq, 0, 0
        self._commit_began_s = trio.current_time()
        token = trio.lowlevel.current_trio_token()

        def deliver(result: Any) -> None:
            token.run_sync_soon(self._settle, result, batch, waiting, (applied_seq, forget_seq))

        trio.lowlevel.start_thread_soon(partial(self._spool.append, batch, forget_seq, applied_seq), deliver)

    def _settle(
        self, result: Any, batch: list[tuple[str, str]], waiting: list[OneShot[bool]], seqs: tuple[int, int]
    ) -> None:
        """Ends a commit with its `result` (an outcome). Runs in trio's thread, where no exception may be raised."""
        self._commit_began_s = None
        durable = False
        try:
            made_room = result.unwrap()
            durable = True
            self._failures = 0
            if any(kind == GIVEN for kind, _ in batch):
                self.gave.set()
                self.gave = trio.Event()
            self._drop(made_room, "journal.spool_bytes_max is reached: the oldest entries go; repair the database")
        except sqlite3.Error as e:
            self._failures, self._failed_s = self._failures + 1, trio.current_time()
            self._keep(batch, e)
            self._applied_seq, self._forget_seq = self._applied_seq or seqs[0], self._forget_seq or seqs[1]
            waiting += self._waiting  # `durable` promises that the entries before are on disk too
            self._waiting = []
        except Exception as e:
            self._fault = e
            self._pause.cancel()
        if self._spool is not None:
            self._report_remade(self._spool)
        for reply in waiting:
            reply.send_nowait(durable)
        self.committed.set()
        self.committed = trio.Event()
        if self._waiting or len(self._pending) >= COMMIT_MAX:
            self._commit()

    def _keep(self, batch: list[tuple[str, str]], error: sqlite3.Error) -> None:
        """The entries of a failed commit are committed again, with later ones behind them."""
        entries = batch + self._pending
        self._pending, beyond = entries[:PENDING_MAX], len(entries) - PENDING_MAX
        self._pending_since_s = trio.current_time()
        why = f"{self._spool and self._spool.path}: {error}: free space or repair the disk"
        if beyond > 0:
            self._drop(beyond, why)
        else:
            self._log(why)

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if count:
            self._log(why, dropped=count)

    def _log(self, why: str, dropped: int = 0) -> None:
        if trio.current_time() >= self._logged_s + LOG_EVERY_S:
            self._logged_s = trio.current_time()
            log.error("journal_refused", dropped=dropped, dropped_in_all=self.dropped, kept=len(self._pending), why=why)
