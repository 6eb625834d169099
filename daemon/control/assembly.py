"""Builds the Overview from the parts of a daemon."""

from collections.abc import Callable

from daemon.clock import Moment
from daemon.control.observers import Observers
from daemon.control.overview import Overview
from daemon.control.queues import Queues
from daemon.database.postgres import Database
from daemon.journal.shipper import Shipper
from daemon.maintenance.advisor import Advisor
from daemon.maintenance.node_report import NodeReport
from daemon.maintenance.storage import Storage
from daemon.maintenance.traffic_today import TrafficToday
from daemon.nodes.balancer import Balancer
from daemon.nodes.identity import NodeListener
from daemon.nodes.member import Member
from daemon.trace.batch import Batch
from daemon.trace.provider_health import ProviderHealth
from daemon.troubles import Troubles


def overview_of(
    queues: Queues,
    database: Database,
    providers: ProviderHealth,
    shipper: Shipper,
    member: Member,
    balancer: Balancer,
    troubles: Troubles,
    observers: Observers,
    batch: Batch,
    now: Callable[[], Moment],
) -> Overview:
    directory, clicks, tracer, spool = queues.directory, queues.clicks, queues.tracer, queues.spool
    report = NodeReport(
        queues.live,
        clicks.tally,
        providers,
        troubles,
        now,
        member.status,
        lambda: member.peers,
        balancer.countries,
        load=queues.load,
        count_backlog=shipper.backlog,
        curves=observers.curves,
        attempts=observers.attempts,
    )
    storage = Storage(database, queues.live)
    member.subscribe(NodeListener(renewed=observers.history.sample))
    return Overview(
        clicks=clicks,
        directory=directory,
        tracer=tracer,
        dispatcher=queues.dispatcher,
        queue_lengths=queues.lengths,
        spool=spool,
        writer=queues.writer,
        shipper=shipper,
        advisor=Advisor(database, queues.live, report, now, clicks.offers, storage.disk),
        storage=storage,
        report=report,
        traffic=TrafficToday(database, tracer.traffic_costs, now, lambda: len(report.nodes()) > 1),
        member=member,
        troubles=troubles,
        traces_waiting=batch.waiting,
        now=now,
        started_s=report.started_s,
    )
