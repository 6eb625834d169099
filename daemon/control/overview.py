"""What `tracepool status` shows, from memory alone: it answers with the database away as well."""

import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import trio

from daemon import __version__
from daemon.click.clicks import Clicks
from daemon.click.server import Server
from daemon.config import Settings
from daemon.database.postgres import NOTIFICATIONS_MAX
from daemon.journal.shipper import Shipper
from daemon.journal.spool import Spool
from daemon.journal.writer import PENDING_MAX, JournalWriter
from daemon.maintenance.advisor import Advisor, said
from daemon.moment import Moment
from daemon.nodes.member import Member
from daemon.pool.adoption import Adoption
from daemon.pool.directory import MAILBOX_MAX, PoolDirectory
from daemon.trace.jobs import TraceJob
from daemon.trace.provider_health import ProviderHealth
from daemon.trace.workers import Tracer
from daemon.troubles import Troubles


@dataclass(frozen=True, slots=True)
class Overview:
    settings: Callable[[], Settings]
    server: Server
    clicks: Clicks
    directory: PoolDirectory
    adoption: Adoption
    tracer: Tracer
    jobs: "trio.MemorySendChannel[TraceJob]"
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
        """Clicks without an IP yet: those no worker has taken, and those who wait in a pool."""
        waiting = sum(counts.waiting for counts in self.directory.counts().values())
        return self.jobs.statistics().current_buffer_used + waiting

    async def status(self) -> dict[str, Any]:
        """Percentages and milliseconds to one decimal; `queues` with the bound of each."""
        countries = {
            country: {**counts.as_dict(), "utilisation_percent": round(counts.utilisation_percent, 1)}
            for country, counts in sorted(self.directory.counts().items())
        }
        last_minute = asdict(self.clicks.tally.last_minute(self.now().tick_s))
        for wait in ("wait_p50_ms", "wait_p95_ms"):
            last_minute[wait] = None if last_minute[wait] is None else round(last_minute[wait], 1)
        return {
            "countries": countries,
            "active_traces": self.tracer.active,
            "last_minute": last_minute,
            "traffic_today": self.tracer.spending.today(self.now().wall_s),
            "providers": self.providers.status(),
            "advice": [said(advice) for advice in self.advisor.advice()],
            "queues": self.queues(),
            "journal": {
                "recorded": self.writer.recorded,
                "dropped": self.writer.dropped,
                "refused": self.shipper.refused,
                "late_hits": self.clicks.late_hits,
                "backlog": await self.backlog(),
                "database_reachable": self.shipper.reachable,
            },
            "troubles": [trouble.shown() for trouble in self.troubles],
            "node": self.member.standing(),
            "node_id": str(self.spool.node_id),
            "epoch": self.spool.epoch,
            "uptime_s": round(self.now().tick_s - self.started_s, 1),
            "version": __version__,
        }

    async def backlog(self) -> int | None:
        """Entries to be shipped; None while the disk refuses to say, when the rest of the status is wanted most."""
        try:
            return await trio.to_thread.run_sync(self.spool.backlog, self.shipper.shipped_seq)
        except sqlite3.Error:
            return None

    def queues(self) -> dict[str, dict[str, int]]:
        settings = self.settings()
        jobs = self.jobs.statistics()
        queues = {
            "connections": (self.server.connections, settings.click.connections_max),
            "clicks_waiting": (self.clicks.waiting, settings.click.waiting_max),
            "traces_waiting_for_a_worker": (jobs.current_buffer_used, settings.trace.queue_max),
            "workers_busy": (self.tracer.busy, settings.trace.workers),
            "entries_waiting_for_the_disk": (self.writer.pending, PENDING_MAX),
            "journal_spool_bytes": (self.spool.bytes, self.spool.bytes_max),
            "edits_to_be_adopted": (self.adoption.waiting, NOTIFICATIONS_MAX),
        }
        for post in self.directory:
            queues[f"waiting_for_an_ip_{post.country}"] = (post.view.counts.waiting, settings.pool.waiting_max)
            queues[f"mailbox_{post.country}"] = (post.mailbox.statistics().current_buffer_used, MAILBOX_MAX)
        return {name: {"length": length, "max": most} for name, (length, most) in queues.items()}
