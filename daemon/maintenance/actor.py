"""The actor that does a maintenance round each interval and logs its report. The work of a round is in rounds.py."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog
import trio

from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.maintenance.advisor import Advisor
from daemon.maintenance.rounds import Report, run_once
from daemon.pool.directory import PoolDirectory
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.troubles import Troubles

MAINTAINING = "maintenance"
RETRY_S = 5.0
FLUSH_S = 3.0

log = structlog.get_logger("daemon.maintenance")


class Maintenance:
    def __init__(
        self,
        database: Database,
        live: LiveSettings,
        directory: PoolDirectory,
        queued: Callable[[], int],
        flush: Callable[[], Awaitable[None]],
        advisor: Advisor,
        troubles: Troubles,
    ) -> None:
        """`flush` returns once PostgreSQL has every present entry of the journal."""
        self._database = database
        self._live = live
        self._directory = directory
        self._queued = queued
        self._flush = flush
        self._advisor = advisor
        self._troubles = troubles
        self._one_at_a_time = trio.Lock()
        self._paused_s, self._pausing = 0.0, trio.CancelScope()
        live.subscribe(self._end_pause)

    async def run(self) -> None:
        await self._patiently(self._advisor.refresh)
        while True:
            await self._pause()
            await self._patiently(self.round)

    async def _pause(self) -> None:
        """Wait for maintenance.interval_s. A reload that changes it changes the end of this pause."""
        self._paused_s = trio.current_time()
        with trio.CancelScope() as self._pausing:
            self._end_pause(self._live.current)
            await trio.sleep_forever()

    def _end_pause(self, settings: Settings) -> None:
        self._pausing.deadline = self._paused_s + settings.maintenance.interval_s

    async def _patiently(self, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
                break
            except DatabaseUnavailable as e:
                self._troubles.note(MAINTAINING, e, effect="the round is tried again; clicks are traced as usual")
                await trio.sleep(min(RETRY_S, self._live.current.maintenance.interval_s))
        self._troubles.over(MAINTAINING)

    async def round_now(self) -> Report:
        """A round that an operator requests, after the journal is shipped. Raises DatabaseUnavailable."""
        with trio.move_on_after(FLUSH_S):  # while PostgreSQL refuses a statement, rows wait longer than a command may
            await self._flush()
        return await self.round()

    async def round(self) -> Report:
        """Do one round, after one that is under way. Raises DatabaseUnavailable."""
        async with self._one_at_a_time:
            overdue = await self._directory.overdue()
            report = await run_once(
                self._database, self._live.current, queued=self._queued(), overdue_ips=overdue, expire_ips=False
            )
            report = replace(report, advice=await self._advisor.refresh())
        if overdue:
            log.error("timer_failed", overdue_ips=overdue, effect="their locks and cooldowns are ended now")
        if report.changed:
            log.info("maintenance", timed_out_traces=report.timed_out_traces, removed_traces=report.removed_traces)
        if report.unhealthy:
            log.warning("ips_unhealthy", count=len(report.unhealthy), ips=[u.ip for u in report.unhealthy][:10],
                        advice="when an IP works again: tracepool reset --ip ADDRESS")  # fmt: skip
        return report
