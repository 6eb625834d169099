"""Builds the components of the daemon in their order and yields them as one frozen Runtime.

There is one async context manager per stage: it yields when its components are ready, and drains them on exit. All
dependencies are constructor arguments. supervisor.py describes the order of start and stop.
"""

import functools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
import trio

from daemon.checks.checker import Checker
from daemon.checks.prober import Prober
from daemon.click.clicks import Clicks
from daemon.click.routes import click_handler, server_limits
from daemon.control.api import ControlContext
from daemon.control.assembly import overview_of
from daemon.control.metrics import Metrics
from daemon.control.observers import Observers
from daemon.control.queues import Queues
from daemon.control.service import ControlFace
from daemon.control.socket import Commands
from daemon.control.tracing import TracesForOthers
from daemon.database.connect import reached_database, retry_until_available
from daemon.database.indexes import IndexBuilder, wanted_indexes
from daemon.database.postgres import Database
from daemon.departures import Departures
from daemon.errors import NodeDisplaced
from daemon.host.clocks import read_clocks
from daemon.http.server import Server, click_server
from daemon.journal.spool import Spool
from daemon.journal.spool_forgetting import CHANNEL, SpoolForgetting
from daemon.journal.writer import JournalWriter
from daemon.journal_start import NodeJournal, journal_shipped
from daemon.maintenance.actor import Maintenance
from daemon.nodes.balancer import Balancer
from daemon.nodes.figures import NO_FIGURES, NodeFigures
from daemon.nodes.identity import NodeListener
from daemon.offers.cache_file import remember_offers
from daemon.offers.model import Offers
from daemon.pool.actor import PoolActor, Publish
from daemon.pool.directory import PoolDirectory, rules_of
from daemon.pool.messages import Message
from daemon.pool.pool import Pool
from daemon.pool.rests import Rests
from daemon.restarts import restarted, run_pool_actor
from daemon.settings.live import LiveSettings
from daemon.sql_sync import SqlSync
from daemon.start_lines import log_provider
from daemon.trace.backends import Backends, fetcher_of
from daemon.trace.batch import Batch
from daemon.trace.browser.browser import Browser
from daemon.trace.dispatch import Dispatcher
from daemon.trace.engine.engines import Engines, engines_running, workers_of
from daemon.trace.jobs import TraceJob
from daemon.trace.provider_health import ProviderHealth
from daemon.trace.workers import Observer, Tracer
from daemon.troubles import Troubles

log = structlog.get_logger("daemon")


@dataclass(frozen=True, slots=True)
class Pools:
    directory: PoolDirectory
    sql_sync: SqlSync
    providers: ProviderHealth
    balancer: Balancer


@dataclass(frozen=True, slots=True)
class Workers:
    tracer: Tracer
    backends: Backends
    checker: Checker
    prober: Prober
    dispatcher: Dispatcher


@dataclass(frozen=True, slots=True)
class Faces:
    """The components that work from the start on, before clicks can be traced."""

    live: LiveSettings
    troubles: Troubles
    observers: Observers
    control: ControlFace
    server: Server


@dataclass(frozen=True, slots=True)
class Runtime:
    """All components of a daemon that is ready to trace clicks."""

    journal: NodeJournal
    pools: Pools
    workers: Workers
    clicks: Clicks
    maintenance: Maintenance
    batch: Batch
    indexes: IndexBuilder
    context: ControlContext

    def commands(self) -> Commands:
        """The requests that the control socket answers."""

        async def maintain() -> dict[str, Any]:
            return (await self.maintenance.round_now()).as_dict()

        overview, checker = self.context.overview, self.workers.checker
        metrics = functools.partial(self.context.observers.metrics.answer, overview)
        return {"status": overview.status, "maintenance": maintain, "check": checker.check, "metrics": metrics}


def faces_of(live: LiveSettings, clicks: Callable[[], Clicks | None]) -> Faces:
    """`clicks()` is None until the journal is open."""
    troubles, observers = Troubles(), Observers(Metrics(live), read_clocks)
    handler = click_handler(live.current, clicks, troubles.lines, lambda: bool(live.current.click.fallback_url))
    server = click_server(handler, server_limits(live))
    return Faces(live, troubles, observers, ControlFace(live, read_clocks), server)


@asynccontextmanager
async def _pools_loaded(
    live: LiveSettings,
    database: Database,
    journal: NodeJournal,
    offers: Offers,
    also: Mapping[str, Callable[[], Awaitable[None]]],
    troubles: Troubles,
) -> AsyncIterator[Pools]:
    """The pools, loaded from the rows, with an actor each. The actors end when all their messages are handled.

    An IP that is in cooldown by an entry of the spool stays in cooldown, whatever its row has. `also`: further tables
    whose changes are announced, see SqlSync.
    """
    bodies = await trio.to_thread.run_sync(journal.spool.bodies, "ip_changed")
    rests = Rests()
    rests.learn(bodies, read_clocks(), rules_of(live.current))
    providers = ProviderHealth(functools.partial(log_provider, live))
    async with trio.open_nursery() as actors:

        def start_actor(pool: Pool, mailbox: "trio.MemoryReceiveChannel[Message]", publish: Publish) -> None:
            actor = PoolActor(
                pool, mailbox, journal.writer, read_clocks, journal.member.may_lease, providers.spared, publish
            )
            actors.start_soon(
                run_pool_actor, actor, journal.member, database, journal.shipper.flush, read_clocks, troubles
            )

        def new_pool(country: str) -> Pool:
            return Pool(country, rules_of(live.current), rests, random.random)

        directory = PoolDirectory(new_pool, start_actor, read_clocks)
        live.subscribe(directory.use)
        member = journal.member

        def longest_rest_s() -> float:
            return rests.longest_s(read_clocks().tick_s)

        member.report(lambda: NO_FIGURES, longest_rest_s)
        balancer = Balancer(member, directory, lambda: live.current.pool.cooldown_s)
        member.subscribe(NodeListener(renewed=balancer.wake))
        directory.on_wait(balancer.wake)
        member.subscribe(NodeListener(leasing_ended=directory.recheck_requests, rejoined=directory.start_over))
        remember = functools.partial(remember_offers, live.current.state_dir)
        departures = Departures(journal.spool.node_id, database, directory, rests, read_clocks)
        sql_sync = SqlSync(member, database, directory, offers, read_clocks, troubles, remember, also, departures)
        member.subscribe(NodeListener(rejoined=sql_sync.compare_soon))
        async with trio.open_nursery() as listening:
            listening.start_soon(restarted, "adoption", sql_sync.run)
            await sql_sync.compared.wait()
            member.doubt.reloaded(read_clocks().tick_s)
            member.report(lambda: NodeFigures(balancer.countries(), balancer.pools_s()), longest_rest_s)
            listening.start_soon(restarted, "balancer", balancer.run)
            yield Pools(directory, sql_sync, providers, balancer)
            listening.cancel_scope.cancel()
        directory.close()


@asynccontextmanager
async def _workers_ready(
    live: LiveSettings,
    database: Database,
    pools: Pools,
    journal: NodeJournal,
    troubles: Troubles,
    engines: Engines,
    observer: Observer,
) -> AsyncIterator[Workers]:
    """`trace.workers` workers. The exit cancels the traces that go on after their visitors were redirected."""
    fetcher = fetcher_of(live.current, engines)
    browser = Browser(live)
    backends = Backends(live, fetcher, browser)
    tracer = Tracer(live, backends, pools.directory, journal.writer, read_clocks, pools.providers, observer)
    checker = Checker(live, fetcher, pools.directory, read_clocks, pools.providers)
    prober = Prober(checker, pools.directory, read_clocks, random.random)

    async def read_traffic_costs() -> None:
        tracer.traffic_costs.begin(read_clocks().wall_s, await database.fetch("traffic_today"))

    await retry_until_available(read_traffic_costs, troubles)
    send, receive = trio.open_memory_channel[TraceJob](live.current.trace.queue_max)
    with send, receive:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(restarted, "browser", browser.run)
            for number in range(live.current.trace.workers):
                nursery.start_soon(restarted, f"worker {number}", tracer.work, receive.clone)
            dispatcher = Dispatcher(pools.directory, journal.writer, send, live, read_clocks, journal.spool.node_id)
            yield Workers(tracer, backends, checker, prober, dispatcher)
            nursery.cancel_scope.cancel()
        tracer.abandon(receive)
    await backends.aclose()


def _followed(faces: Faces, spool: Spool, database: Database) -> dict[str, Callable[[], Awaitable[None]]]:
    """What SqlSync calls when further tables have changed, by channel."""
    return faces.control.adopted_from(database) | {CHANNEL: SpoolForgetting(spool, database).take}


@asynccontextmanager
async def runtime_ready(
    faces: Faces,
    spool: Spool,
    writer: JournalWriter,
    clicks: Clicks,
    stopping: trio.Event,
    on_displaced: Callable[[NodeDisplaced], None],
) -> AsyncIterator[Runtime]:
    """All stages from the database to the workers. Clicks are traced only after `Clicks.begin`."""
    live, troubles, offers = faces.live, faces.troubles, clicks.offers
    async with (
        reached_database(live.current, troubles) as database,
        journal_shipped(live, spool, writer, database, offers, troubles, on_displaced) as journal,
        _pools_loaded(live, database, journal, offers, _followed(faces, spool, database), troubles) as pools,
        engines_running(workers_of(live.current)) as engines,
        _workers_ready(live, database, pools, journal, troubles, engines, faces.observers) as workers,
    ):
        directory, flush = pools.directory, journal.shipper.flush
        queues = Queues(
            live=live,
            server=faces.server,
            clicks=clicks,
            directory=directory,
            sql_sync=pools.sql_sync,
            tracer=workers.tracer,
            dispatcher=workers.dispatcher,
            spool=journal.spool,
            writer=journal.writer,
        )
        member, shipper = journal.member, journal.shipper
        batch = Batch(
            database,
            workers.dispatcher,
            journal.writer,
            flush,
            live,
            read_clocks,
            troubles,
            journal.spool.node_id,
            lambda country: member.peers.elsewhere(country),
            member.may_lease,
            offers.by_id,
            workers.tracer.end_batch_trace,
        )
        overview = overview_of(
            queues,
            database,
            pools.providers,
            shipper,
            member,
            pools.balancer,
            troubles,
            faces.observers,
            batch,
            read_clocks,
        )
        member.report(overview.report.figures)
        advisor, queued = overview.advisor, overview.report.queued
        node_id = journal.spool.node_id
        maintenance = Maintenance(database, live, directory, queued, flush, advisor, troubles, node_id=node_id)
        traces = TracesForOthers(
            live, workers.backends.local, workers_busy=lambda: workers.tracer.busy, is_of_the_pool=directory.has
        )
        context = ControlContext(
            *(live, traces, stopping, overview, database, maintenance.round_now, faces.observers, workers.checker)
        )
        indexes = IndexBuilder(database, troubles, node_id, wanted_indexes())
        yield Runtime(journal, pools, workers, clicks, maintenance, batch, indexes, context)
