"""The actor of the maintenance rounds: rounds.py has the work of a round, and decides which node does it.

Each node's actor wakes up once in each interval, not all at the same instant: the first one does the round.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from uuid import UUID

import structlog
import trio

from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.maintenance.advisor import Advisor
from daemon.maintenance.rounds import Report, claim_round, end_own_traces, remove_due_rows, run_once
from daemon.pool.directory import PoolDirectory
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.troubles import Troubles

MAINTAINING = "maintenance"
RETRY_S = 5.0
FLUSH_S = 3.0
SPREAD_S_MAX = 10.0  # over which the nodes' actors wake up
SPREAD_SHARE = 0.2  # of the interval

log = structlog.get_logger("daemon.maintenance")


@dataclass(slots=True, eq=False)
class Maintenance:
    """`flush` returns once PostgreSQL has every present entry of the journal. `queued()`: requests of all nodes.

    `_paused_s`: when the present pause began. `_ahead_s`: PostgreSQL's clock minus trio's at the last claim.
    """

    database: Database
    live: LiveSettings
    directory: PoolDirectory
    queued: Callable[[], int]
    flush: Callable[[], Awaitable[None]]
    advisor: Advisor
    troubles: Troubles
    _: KW_ONLY
    node_id: UUID
    _one_at_a_time: trio.Lock = field(default_factory=trio.Lock, init=False)
    _paused_s: float = field(default=0.0, init=False)
    _ahead_s: float = field(default=0.0, init=False)
    _pausing: trio.CancelScope = field(default_factory=trio.CancelScope, init=False)

    def __post_init__(self) -> None:
        self.live.subscribe(self._end_pause)

    async def run(self) -> None:
        await self._patiently(self._begin)
        while True:
            await self._pause()
            await self._patiently(self._round_if_due)

    async def _begin(self) -> None:
        [row] = await self.database.fetch("clock")
        self._ahead_s = row["now_s"] - trio.current_time()
        await self.advisor.refresh()

    async def _pause(self) -> None:
        """Wait for the next interval. A reload that changes maintenance.interval_s changes the end of this pause."""
        self._paused_s = trio.current_time()
        with trio.CancelScope() as self._pausing:
            self._end_pause(self.live.current)
            await trio.sleep_forever()

    def _end_pause(self, settings: Settings) -> None:
        interval_s, paused_s = settings.maintenance.interval_s, self._paused_s + self._ahead_s
        delay_s = min(SPREAD_S_MAX, SPREAD_SHARE * interval_s) * (self.node_id.int % 1_000 / 1_000)
        next_s = (math.floor((paused_s - delay_s) / interval_s) + 1) * interval_s + delay_s
        self._pausing.deadline = next_s - self._ahead_s

    async def _patiently(self, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
                break
            except DatabaseUnavailable as e:
                self.troubles.note(MAINTAINING, e, effect="the round is tried again; clicks are traced as usual")
                await trio.sleep(min(RETRY_S, self.live.current.maintenance.interval_s))
        self.troubles.over(MAINTAINING)

    async def _round_if_due(self) -> None:
        claim = await claim_round(self.database, self.live.current, self.node_id)
        self._ahead_s = claim.now_s - trio.current_time()
        if claim.is_mine:
            await self.round(is_scheduled=True)
        else:
            await self._end_overdue()
            ended = await end_own_traces(self.database, self.live.current, self.node_id)
            removed = await remove_due_rows(self.database, self.live.current, self.node_id)
            if ended or removed:
                log.info("maintenance", timed_out_traces=ended, removed_rows=removed)
            await self.advisor.refresh()

    async def round_now(self) -> Report:
        """A round that an operator requests, after the journal is shipped. Raises DatabaseUnavailable."""
        with trio.move_on_after(FLUSH_S):  # while PostgreSQL refuses a statement, rows wait longer than a command may
            await self.flush()
        return await self.round()

    async def round(self, *, is_scheduled: bool = False) -> Report:
        """Do one round, after one that is under way. Raises DatabaseUnavailable."""
        async with self._one_at_a_time:
            report = await run_once(
                self.database,
                self.live.current,
                node_id=self.node_id,
                is_scheduled=is_scheduled,
                queued=self.queued(),
                overdue_ips=await self._end_overdue(),
                expire_ips=False,
            )
            report = replace(report, advice=await self.advisor.refresh())
        if report.changed:
            log.info("maintenance", timed_out_traces=report.timed_out_traces, removed_rows=report.removed_rows)
        if report.unhealthy:
            log.warning("ips_unhealthy", count=len(report.unhealthy), ips=[u.ip for u in report.unhealthy][:10],
                        advice="when an IP works again: tracepool reset --ip ADDRESS")  # fmt: skip
        return report

    async def _end_overdue(self) -> int:
        """This node's IPs whose timer failed, see messages.CountOverdue."""
        overdue = await self.directory.overdue()
        if overdue:
            log.error("timer_failed", overdue_ips=overdue, effect="their locks and cooldowns are ended now")
        return overdue
