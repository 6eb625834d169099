"""How full the queues of this node are."""

from dataclasses import dataclass

from daemon.click.clicks import Clicks
from daemon.database.postgres import NOTIFICATIONS_MAX
from daemon.http.server import Server
from daemon.journal.spool import Spool
from daemon.journal.writer import PENDING_MAX, JournalWriter
from daemon.maintenance.node_report import Load
from daemon.pool.directory import MAILBOX_MAX, PoolDirectory
from daemon.settings.live import LiveSettings
from daemon.sql_sync import SqlSync
from daemon.trace.dispatch import Dispatcher
from daemon.trace.workers import Tracer


@dataclass(frozen=True, slots=True)
class Queues:
    live: LiveSettings
    server: Server
    clicks: Clicks
    directory: PoolDirectory
    sql_sync: SqlSync
    tracer: Tracer
    dispatcher: Dispatcher
    spool: Spool
    writer: JournalWriter

    def lengths(self) -> dict[str, tuple[int, int]]:
        """Length and limit by name."""
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
        return queues

    def load(self) -> Load:
        return Load(self.clicks.waiting, self.queued(), self.tracer.active, self.spool.refused, self.lengths())

    def queued(self) -> int:
        """Clicks without an IP: those in the queue of jobs, and those that wait in a pool."""
        waiting = sum(counts.waiting for counts in self.directory.counts().values())
        return self.dispatcher.queued + waiting
