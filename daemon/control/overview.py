"""The status of the running daemon, from memory alone: it is complete while the database is away."""

import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import trio

from daemon import __version__
from daemon.click.clicks import Clicks
from daemon.clock import Moment
from daemon.control.status import AdviceStatus, JournalStatus, LastMinuteStatus, QueueStatus, Status, country_status
from daemon.database.postgres import NOTIFICATIONS_MAX
from daemon.http.server import Server
from daemon.journal.shipper import Shipper
from daemon.journal.spool import Spool
from daemon.journal.writer import PENDING_MAX, JournalWriter
from daemon.maintenance.advisor import Advisor
from daemon.nodes.member import Member
from daemon.pool.directory import MAILBOX_MAX, PoolDirectory
from daemon.settings.live import LiveSettings
from daemon.sql_sync import SqlSync
from daemon.trace.dispatch import Dispatcher
from daemon.trace.provider_health import ProviderHealth
from daemon.trace.workers import Tracer
from daemon.troubles import Troubles


@dataclass(frozen=True, slots=True)
class Overview:
    live: LiveSettings
    server: Server
    clicks: Clicks
    directory: PoolDirectory
    sql_sync: SqlSync
    tracer: Tracer
    dispatcher: Dispatcher
    spool: Spool
    writer: JournalWriter
    shipper: Shipper
    advisor: Advisor
    providers: ProviderHealth
    member: Member
    troubles: Troubles
    now: Callable[[], Moment]
    started_s: float

    def queued(self) -> int:
        """Clicks without an IP: those in the queue of jobs, and those that wait in a pool."""
        waiting = sum(counts.waiting for counts in self.directory.counts().values())
        return self.dispatcher.queued + waiting

    async def status(self) -> dict[str, Any]:
        """A `Status` as a dict for JSON, percentages and milliseconds to one decimal."""
        counts, now = self.directory.counts(), self.now()
        status = Status(
            countries={country: country_status(counts[country]) for country in sorted(counts)},
            active_traces=self.tracer.active,
            last_minute=LastMinuteStatus(**asdict(self.clicks.tally.last_minute(now.tick_s).rounded())),
            traffic_today=self.tracer.traffic_costs.today(now.wall_s),
            providers=self.providers.status(),
            advice=[AdviceStatus(**asdict(advice)) for advice in self.advisor.advice()],
            queues=self.queues(),
            journal=JournalStatus(
                recorded=self.writer.recorded,
                dropped=self.writer.dropped,
                refused=self.spool.refused,
                late_hits=self.clicks.late_hits,
                backlog=await self.backlog(),
                database_reachable=self.shipper.reachable,
                spool_remade=self.writer.remade,
                spool_remade_why=self.writer.remade_why,
            ),
            troubles=[trouble.shown() for trouble in self.troubles],
            node=self.member.status(),
            node_id=str(self.spool.node_id),
            epoch=self.spool.epoch,
            uptime_s=round(now.tick_s - self.started_s, 1),
            version=__version__,
        )
        return asdict(status)

    async def backlog(self) -> int | None:
        """Entries to be shipped; None while the disk cannot be read, so that the rest of the status is still shown."""
        try:
            return await trio.to_thread.run_sync(self.shipper.backlog)
        except sqlite3.Error:
            return None

    def queues(self) -> dict[str, QueueStatus]:
        settings = self.live.current
        queues = {
            "connections": (self.server.connections, settings.click.connections_max),
            "clicks_waiting": (self.dispatcher.waiting, settings.click.waiting_max),
            "traces_waiting_for_a_worker": (self.dispatcher.queued, settings.trace.queue_max),
            "workers_busy": (self.tracer.busy, settings.trace.workers),
            "entries_waiting_for_the_disk": (self.writer.pending, PENDING_MAX),
            "journal_spool_bytes": (self.spool.bytes, self.spool.bytes_max),
            "edits_to_be_adopted": (self.sql_sync.waiting, NOTIFICATIONS_MAX),
        }
        for pool in self.directory:
            queues[f"waiting_for_an_ip_{pool.country}"] = (pool.view.counts.waiting, settings.pool.waiting_max)
            queues[f"mailbox_{pool.country}"] = (pool.mailbox.statistics().current_buffer_used, MAILBOX_MAX)
        return {name: QueueStatus(length, limit) for name, (length, limit) in queues.items()}
