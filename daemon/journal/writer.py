"""The journal as the actors see it: `record` and `durable`. What has gathered is committed in one transaction.

Group commit: while one commit is on its way to the disk, what arrives waits for the next. Who asks for durability has
the commit begin there and then, and is woken as the disk is done: no task stands between, as each would cost a turn of
the loop. When the disk refuses, those who asked are told so, the entries are dropped, counted and logged, and the
daemon goes on.
"""

import sqlite3
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
FORGET_S = 1.0  # how much longer entries stay that may go, when nothing else is to be committed

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
        self._pending_since_s = 0.0
        self._nap = trio.CancelScope()  # until something is to be committed that nobody waits for
        self._forget_seq = self._applied_seq = 0  # what the next commit tells the spool; 0: nothing new
        self._logged_s = float("-inf")
        self._handed_over_s: float | None = None  # since when the disk has had the commit under way
        self._fault: Exception | None = None  # of ours, for `run` to raise
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
            now = self._pending_since_s = trio.current_time()
            self._nap.deadline = min(self._nap.deadline, now + GATHER_S)
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
        self._hand_over()
        await waiting.done.wait()
        return waiting.durable

    def applied(self, applied_seq: int, forget_seq: int) -> None:
        """PostgreSQL has the entries up to `applied_seq`; the next commit, within FORGET_S, removes those up to
        `forget_seq`.
        """
        self._applied_seq = applied_seq
        self._forget_seq = forget_seq or self._forget_seq

    async def run(self) -> None:
        """Commits what nobody waits for until cancelled; what was recorded before the cancel is on disk as it ends."""
        try:
            while self._fault is None:
                ends_s = self._pending_since_s + GATHER_S if self._pending else trio.current_time() + FORGET_S
                with trio.CancelScope(deadline=ends_s) as self._nap:
                    await trio.sleep_forever()
                is_due = self._pending and trio.current_time() >= self._pending_since_s + GATHER_S
                if is_due or self._applied_seq:
                    self._hand_over()
            fault, self._fault = self._fault, None
            raise fault
        finally:
            with trio.CancelScope(shield=True):
                while self._pending or self._waiting or self._applied_seq or self._handed_over_s is not None:
                    self._hand_over()
                    await self.committed.wait()

    def _hand_over(self) -> None:
        """Gives the disk what has gathered. While it is still at something `_settle` does so, where somebody waits."""
        if self._handed_over_s is not None:
            return
        batch, self._pending = self._pending, []
        waiting, self._waiting = self._waiting, []
        forget_seq, applied_seq, self._forget_seq, self._applied_seq = self._forget_seq, self._applied_seq, 0, 0
        self._handed_over_s = trio.current_time()
        token = trio.lowlevel.current_trio_token()

        def deliver(result: Any) -> None:
            token.run_sync_soon(self._settle, result, len(batch), waiting)

        trio.lowlevel.start_thread_soon(partial(self._spool.append, batch, forget_seq, applied_seq), deliver)

    def _settle(self, result: Any, entries: int, waiting: list[_Waiting]) -> None:
        """The disk is done, with `result` (outcome's). Runs in trio's thread, where nothing may be raised."""
        self._handed_over_s = None
        durable = False
        try:
            made_room = result.unwrap()
            durable = True
            self._drop(
                made_room, "journal.spool_bytes_max is reached: the oldest hits and traces go; mend the database"
            )
        except sqlite3.Error as e:
            self._drop(entries, f"{self._spool.path}: {e}: free space or repair the disk")
        except Exception as e:
            self._fault = e
            self._nap.cancel()
        for one in waiting:
            one.durable = durable
            one.done.set()
        self.committed.set()
        self.committed = trio.Event()
        if self._waiting:
            self._hand_over()

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if count and trio.current_time() >= self._logged_s + LOG_EVERY_S:
            self._logged_s = trio.current_time()
            log.error("journal_refused", dropped=count, dropped_in_all=self.dropped, why=why)
