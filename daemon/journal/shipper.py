"""Applies the spool to PostgreSQL: facts and states, each in its order, as lane.py says.

During an outage, or while PostgreSQL refuses a statement, the spool grows. Applied entries stay in the spool for
`keep_s`: a database that lost its last seconds, by a failover or a restored backup, gets them again.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import structlog
import trio

from daemon.database.postgres import Database
from daemon.errors import DatabaseBusy, DatabaseOccupied, DatabaseUnavailable, StatementRefused
from daemon.journal.lane import FACTS, OF_IPS, Lane
from daemon.journal.spool import Spool
from daemon.journal.writer import JournalWriter
from daemon.troubles import Troubles

BATCH_MAX = 2_000
# The pause between two batches joins the entries of many clicks: a transaction costs more than the rows of a click.
# Each entry of the last batch makes it longer.
GATHER_MIN_S = 0.2
GATHER_EACH_S = 0.01
GATHER_MAX_S = 2.0
PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 2.0
SLOW_READ_S = 30.0
REFUSED_PAUSE_MAX_S = 10.0  # while everything is refused: each attempt is an error in PostgreSQL's log
SHIPPING = {FACTS: "writing rows", OF_IPS: "writing the IPs' states"}
"""The activities, by lane."""

log = structlog.get_logger("daemon.journal")


@dataclass(eq=False, repr=False)
class Shipper:
    """`claim()` gives this node's claim; without one it gives None or raises DatabaseOccupied, and states of IPs wait.

    Without the function `claim` there are no other nodes. `days_kept()`: by kind of entry, see lane.py.
    """

    _spool: Spool
    _writer: JournalWriter
    _database: Database
    _troubles: Troubles
    _: KW_ONLY
    keep_s: Callable[[], float] = lambda: 0.0
    claim: Callable[[], UUID | None] | None = None
    days_kept: Callable[[], Mapping[str, float]] = dict
    # (time, position) while the entries are kept
    _applied: deque[tuple[float, int]] = field(default_factory=deque, init=False)
    _noted_seq: int = field(default=0, init=False)  # the position given to the spool last
    _known: dict[str, int] = field(default_factory=dict, init=False)  # the positions that were found, by lane
    _finding: trio.Lock = field(default_factory=trio.Lock, init=False)
    _progress: trio.Event = field(default_factory=trio.Event, init=False)
    _hurry: dict[str, trio.Event] = field(default_factory=dict, init=False)  # by lane: somebody waits for rows
    _unreachable: set[str] = field(default_factory=set, init=False)  # lanes
    has_found_loss: bool = field(default=False, init=False)  # PostgreSQL has lost entries that it had
    facts: Lane = field(init=False)
    states: Lane = field(init=False)

    def __post_init__(self) -> None:
        self.facts, self.states = (
            Lane(name, self._spool, self._database, claim, self._read, self.find_position, self.days_kept)
            for name, claim in ((FACTS, lambda: (None, True)), (OF_IPS, self._claimed))
        )
        self._hurry = {name: trio.Event() for name in (FACTS, OF_IPS)}

    def _claimed(self) -> tuple[UUID | None, bool]:
        """(this node's claim, whether states of IPs may be written)."""
        try:
            claim = self.claim() if self.claim else None
        except DatabaseOccupied:
            return None, False
        return claim, claim is not None or self.claim is None

    @property
    def shipped_seq(self) -> int:
        """PostgreSQL has all entries up to this one."""
        return min(self.facts.seq, self.states.seq)

    @property
    def refused(self) -> int:
        """How many entries PostgreSQL has refused in this run."""
        return self.facts.refused + self.states.refused

    @property
    def too_old(self) -> int:
        """How many entries were older than their retention in this run, and made no row."""
        return self.facts.old.total()

    @property
    def reachable(self) -> bool:
        return not self._unreachable

    def backlog(self) -> int:
        """How many entries PostgreSQL does not have yet. Synchronous, for a thread; raises sqlite3.Error."""
        return self._spool.backlog(self.facts.seq, self.states.seq)

    async def find_position(self) -> None:
        """Reads the positions from PostgreSQL; raises DatabaseUnavailable.

        The first reading takes them: an earlier run that is still alive, with a copy of this spool, moves them no more.
        In that earlier run this raises DatabaseOccupied.

        A database that was further before has lost entries. The spool's entries are applied again, and the position
        skips those that the spool has no more.
        """
        async with self._finding:
            is_first = not self.facts.epoch
            rows = await self._read_positions()
            positions = {lane.name: 0 for lane in (self.facts, self.states)} | {row["lane"]: row["seq"] for row in rows}
            if is_first and (furthest := max(positions.values())) > self._spool.opened_seq:
                await trio.to_thread.run_sync(self._spool.continue_after, furthest)
                log.warning("spool_is_an_old_copy", continues_after=furthest)
            first, last = await self._read(self._spool.bounds)
            begins_after = last if first is None else first - 1
            known = self._report_lost(positions, begins_after)
            for lane in (self.facts, self.states):
                lane.furthest_seq = max(lane.furthest_seq, known[lane.name])
                position = positions[lane.name]
                if position < begins_after:
                    at = lane.epoch, begins_after, position
                    await self._database.fetch("move_position", self._spool.node_id, lane.name, *at)
                    position = begins_after
                lane.seq = self._known[lane.name] = position
            self._keep()

    async def _read_positions(self) -> list[Any]:
        spool, epoch = self._spool, self.facts.epoch
        if not epoch:
            rows = await self._database.fetch("take_positions", spool.node_id, spool.epoch)
            self.facts.epoch = self.states.epoch = max((row["epoch"] for row in rows), default=spool.epoch)
            return rows
        rows = await self._database.fetch("read_positions", spool.node_id)
        if any(row["epoch"] > epoch for row in rows):
            raise DatabaseOccupied("another run with a copy of this state directory writes the rows of this node")
        return rows

    def _report_lost(self, positions: dict[str, int], begins_after: int) -> dict[str, int]:
        """Returns the positions that were known before, by lane."""
        known = {
            lane.name: max(lane.seq, self._known.get(lane.name, self._spool.applied_seq))
            for lane in (self.facts, self.states)
        }
        behind = [name for name, position in positions.items() if position < known[name]]
        if not behind:
            return known
        self.has_found_loss = True
        position, before = min(positions[name] for name in behind), max(known[name] for name in behind)
        lost = max(0, min(before, begins_after) - position)
        log.error("database_is_older", entries=before - position, applied_again=before - position - lost, lost=lost,
                  why="PostgreSQL has lost rows: a restored backup, a failover, or another database",
                  effect="the entries that are still in the spool are applied again")  # fmt: skip
        return known

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for lane in (self.facts, self.states):
                nursery.start_soon(self._run_lane, lane)
            nursery.start_soon(self._hurry_gifts)

    async def _hurry_gifts(self) -> None:
        """Ends the pauses of a busy lane early: at the receiver, a click may wait for the IP."""
        while True:
            await self._writer.gave.wait()
            await trio.sleep(GATHER_MIN_S)  # for the gifts of this time together
            self._hurry[OF_IPS].set()

    async def _run_lane(self, lane: Lane) -> None:
        activity, pause_s = SHIPPING[lane.name], PAUSE_MIN_S
        while True:
            committed = self._writer.committed
            batch = await lane.read(BATCH_MAX)
            if not batch:
                with trio.move_on_after(SLOW_READ_S):
                    await committed.wait()
                self._forget()
                await self._gather(lane.name, 0)
                continue
            try:
                await lane.ship(batch)
            except DatabaseUnavailable as e:
                self._note(lane.name, e)
                self._note_progress()
                await trio.sleep(pause_s)
                pause_s = min(REFUSED_PAUSE_MAX_S if isinstance(e, StatementRefused) else PAUSE_MAX_S, 2 * pause_s)
                continue
            self._note_progress()
            if lane.is_past_refusal:
                self._troubles.over(activity)
            self._unreachable.discard(lane.name)
            pause_s = PAUSE_MIN_S
            if len(batch) < BATCH_MAX:
                await self._gather(lane.name, len(batch))

    def _note(self, lane: str, error: DatabaseUnavailable) -> None:
        self._troubles.note(SHIPPING[lane], error, effect="rows wait in the spool; clicks go on")
        if isinstance(error, StatementRefused | DatabaseBusy | DatabaseOccupied):
            self._unreachable.discard(lane)
        else:
            self._unreachable.add(lane)

    def _note_progress(self) -> None:
        self._spool.note_facts(self.facts.seq)
        self._keep()
        self._forget()
        self._progress.set()
        self._progress = trio.Event()

    async def flush(self) -> None:
        """Returns when PostgreSQL has all entries that were recorded before the call and not dropped."""
        await self._writer.durable()
        _, target_seq = await self._read(self._spool.bounds)
        for hurry in self._hurry.values():
            hurry.set()
        while self.shipped_seq < target_seq:
            await self._progress.wait()

    async def discard_states(self) -> None:
        """The spooled states of IPs are not applied, because other nodes may have leased the IPs since.

        What they add to the IPs' counters still is.
        """
        if passed := await trio.to_thread.run_sync(self._spool.outdate_states, self.states.seq):
            log.warning("states_passed_over", entries=passed, why="other nodes may have leased these IPs since")

    async def _gather(self, lane: str, entries: int) -> None:
        with trio.move_on_after(min(GATHER_MAX_S, GATHER_MIN_S + GATHER_EACH_S * entries)):
            await self._hurry[lane].wait()
        self._hurry[lane] = trio.Event()

    async def _read(self, method: Callable[..., Any], *args: Any) -> Any:
        """Calls a method of the spool, again while the disk fails."""
        while True:
            try:
                return await trio.to_thread.run_sync(partial(method, *args))
            except sqlite3.Error as e:
                log.error("journal_unreadable", why=str(e), retry_in_s=PAUSE_MAX_S, effect="rows wait; clicks go on")
                await trio.sleep(PAUSE_MAX_S)

    def _keep(self) -> None:
        now_s, seq = trio.current_time(), self.shipped_seq
        while self._applied and self._applied[-1][1] > seq:  # the position went back
            self._applied.pop()
        if not self._applied or self._applied[-1][1] < seq:
            self._applied.append((now_s, seq))

    def _forget(self) -> None:
        """Removes the entries that were applied `keep_s` ago."""
        until_s, forget_seq = trio.current_time() - self.keep_s(), 0
        while self._applied and self._applied[0][0] <= until_s:
            forget_seq = self._applied.popleft()[1]
        if forget_seq or self.shipped_seq != self._noted_seq:
            self._noted_seq = self.shipped_seq
            self._writer.applied(self.shipped_seq, forget_seq)
