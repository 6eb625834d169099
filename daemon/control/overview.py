"""The status of the running daemon and of all nodes. It is complete while the database is away."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from daemon import __version__
from daemon.click.clicks import Clicks
from daemon.clock import Moment
from daemon.control.status import (
    AdviceStatus,
    DiskStatus,
    JournalStatus,
    LastMinuteStatus,
    OwnStatus,
    QueueStatus,
    Status,
    country_statuses,
)
from daemon.journal.shipper import Shipper
from daemon.journal.spool import Spool
from daemon.journal.writer import JournalWriter
from daemon.maintenance.advisor import Advisor
from daemon.maintenance.node_report import NodeReport, counts_of
from daemon.maintenance.provider_figures import provider_statuses
from daemon.maintenance.storage import Storage
from daemon.maintenance.traffic_today import TrafficToday
from daemon.nodes.listing import NodeEntry, entries_of
from daemon.nodes.member import Member
from daemon.pool.directory import PoolDirectory
from daemon.trace.batch_queue import WaitingTraces
from daemon.trace.dispatch import Dispatcher
from daemon.trace.workers import Tracer
from daemon.troubles import Troubles


@dataclass(frozen=True, slots=True)
class Overview:
    clicks: Clicks
    directory: PoolDirectory
    tracer: Tracer
    dispatcher: Dispatcher
    queue_lengths: Callable[[], Mapping[str, tuple[int, int]]]
    spool: Spool
    writer: JournalWriter
    shipper: Shipper
    advisor: Advisor
    storage: Storage
    report: NodeReport
    traffic: TrafficToday
    member: Member
    troubles: Troubles
    traces_waiting: Callable[[], list[WaitingTraces]]
    now: Callable[[], Moment]
    started_s: float

    async def status(self) -> dict[str, Any]:
        """A `Status` as a dict for JSON, percentages and milliseconds to one decimal."""
        now, cluster, disk = self.now(), self.report.cluster(), self.storage.disk()
        status = Status(
            countries=country_statuses(
                counts_of(cluster.countries),
                {country: ips.out for country, ips in cluster.countries.items()},
                self.clicks.offers.by_country,
            ),
            active_traces=cluster.active_traces,
            clicks_waiting=cluster.clicks_waiting,
            last_minute=LastMinuteStatus(**asdict(self.report.last_minute(cluster).rounded())),
            traffic_today=await self.traffic.today(),
            providers=provider_statuses(cluster.providers),
            advice=[AdviceStatus(**asdict(advice)) for advice in self.advisor.advice()],
            first_run=self.advisor.first_run(),
            traces_waiting=self.traces_waiting(),
            queues=self.queues(),
            journal=JournalStatus(
                recorded=self.writer.recorded,
                dropped=self.writer.dropped,
                refused=self.spool.refused,
                too_old=self.shipper.too_old,
                late_hits=self.clicks.late_hits,
                backlog=await self.report.backlog(),
                database_reachable=self.shipper.reachable,
                spool_remade=self.writer.remade,
                spool_remade_why=self.writer.remade_why,
            ),
            disk=DiskStatus(**{name: getattr(disk, name) for name in disk.__slots__}),
            troubles=[trouble.shown() for trouble in self.troubles],
            nodes=entries_of(cluster.nodes, self.spool.node_id),
            node=self._own_status(),
            node_id=str(self.spool.node_id),
            epoch=self.spool.epoch,
            uptime_s=round(now.tick_s - self.started_s, 1),
            version=__version__,
        )
        return asdict(status)

    def node_entries(self) -> list[NodeEntry]:
        """All nodes, this one first."""
        return entries_of(self.report.nodes(), self.spool.node_id)

    def _own_status(self) -> OwnStatus:
        now_s, counts, peers = self.now().tick_s, self.directory.counts(), self.report.peers()
        row = peers.by_id.get(peers.me)
        return OwnStatus(
            **asdict(self.member.status()),
            draining=row is not None and row.draining,
            countries=country_statuses(counts, {pool.country: pool.view.failing for pool in self.directory}, {}),
            active_traces=self.tracer.active,
            clicks_waiting=self.clicks.waiting,
            last_minute=LastMinuteStatus(**asdict(self.clicks.tally.last_minute(now_s).rounded())),
            nodes_read_s_ago=round(max(0.0, now_s - peers.read_s), 1) if peers.by_id else None,
        )

    def queues(self) -> dict[str, QueueStatus]:
        return {name: QueueStatus(length, limit) for name, (length, limit) in self.queue_lengths().items()}
