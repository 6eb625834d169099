"""Every nursery of the daemon: what starts when, what restarts, what stops in which order. Read this first.

Start: the public listeners (clicks get 503), the database, the spool; what the spool holds is shipped; the pools are
loaded from the rows, the workers start, and clicks are served.

Restart (restarts.py): an actor that raises is logged with its cause and started again; a pool actor starts over from
the rows, with the messages it had not answered. One that raises too often ends the daemon.

Stop, from the innermost nursery outwards: no new connections, the clicks in flight get their answers, the workers hand
back their leases, the pool actors handle what was sent to them, the journal is committed and shipped, the database is
let go. What cannot be shipped in SHIP_S stays in the spool for the next start. A second signal cancels all of it.
"""

import gc
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import trio
import trio_asyncio

from daemon import logs, systemd
from daemon.click.clicks import Clicks
from daemon.click.listeners import open_listeners
from daemon.click.offers import Offers
from daemon.click.routes import public_app
from daemon.click.server import Server, ServerLimits
from daemon.clocks import read_clocks
from daemon.config import DEADLINE_MAX_S, Settings
from daemon.config_sources import load
from daemon.control import socket as control
from daemon.control.overview import Overview
from daemon.database.postgres import Database
from daemon.database.reached import RETRY_S, held_database, reached_database
from daemon.descriptors import allow_descriptors, descriptors_wanted
from daemon.errors import BadSettings, DatabaseUnavailable, TheirFault
from daemon.journal.shipper import Shipper
from daemon.journal.spool import Spool
from daemon.journal.writer import JournalWriter
from daemon.maintenance.actor import Maintenance
from daemon.pool.adoption import Adoption
from daemon.pool.directory import PoolDirectory, Post, rules_of
from daemon.pool.pool import Pool
from daemon.reload import taken_over
from daemon.restarts import restarted, run_pool_actor
from daemon.start_lines import say_ready, start_facts
from daemon.state_dir import state_dir_held
from daemon.trace.fetch import Fetcher
from daemon.trace.jobs import TraceJob
from daemon.trace.workers import Tracer, credentials_of, limits_of

SHIP_S = 3.0
# Python's own but the last: a full collection takes 0.6 s with 5,000 clicks waiting, and finds next to nothing.
COLLECTOR_THRESHOLDS = (700, 10, 200)
ANSWER_MARGIN_S = 3.0  # that a connection has beyond the longest deadline

log = structlog.get_logger("daemon")


async def run_daemon(settings: Settings, config_file: Path | None) -> None:
    """The daemon, until SIGTERM or SIGINT. Returns after a stop; raises what ended it otherwise."""
    with state_dir_held(settings.state_dir):
        async with trio_asyncio.open_loop():
            daemon = _Daemon(settings, config_file)
            listeners = await open_listeners(settings.click.bind, backlog=settings.click.backlog)
            log.info("starting", **start_facts(settings, config_file, listeners))
            allow_descriptors(descriptors_wanted(settings))
            async with trio.open_nursery() as outermost:
                outermost.start_soon(_watch_signals, daemon, outermost.cancel_scope)
                outermost.start_soon(daemon.serve_clicks, listeners)
                with daemon.starting:
                    await daemon.run()
                daemon.stop_clicks.set()
                await daemon.clicks_stopped.wait()
                outermost.cancel_scope.cancel()
    log.info("stopped", clicks_answered=daemon.clicks.answered if daemon.clicks else 0)


@dataclass(frozen=True, slots=True)
class _Journal:
    spool: Spool
    writer: JournalWriter
    shipper: Shipper


@dataclass(frozen=True, slots=True)
class _Pools:
    directory: PoolDirectory
    offers: Offers
    adoption: Adoption


@dataclass(frozen=True, slots=True)
class _Workers:
    tracer: Tracer
    jobs: "trio.MemorySendChannel[TraceJob]"


class _Daemon:
    """One run. It is ready once it has `clicks`; a signal that comes before cancels `starting`."""

    def __init__(self, settings: Settings, config_file: Path | None) -> None:
        self.settings = settings
        self._config_file = config_file
        self._users_of_settings: list[Callable[[Settings], None]] = []
        self.starting = trio.CancelScope()
        self.stop = trio.Event()
        self.stop_clicks = trio.Event()
        self.clicks_stopped = trio.Event()
        self.clicks: Clicks | None = None
        self.server = Server(public_app(settings, lambda: self.clicks), _server_limits(settings))

    async def serve_clicks(self, listeners: list[trio.SocketListener]) -> None:
        await self.server.serve(listeners, stop=self.stop_clicks)
        self.clicks_stopped.set()

    async def reload(self) -> None:
        """Takes over what can be of the settings as they stand now; invalid ones change nothing."""
        try:
            after = await trio.to_thread.run_sync(load, self._config_file)
        except BadSettings as e:
            log.error("reload_refused", why=str(e), effect="the settings stay as they were")
            return
        logs.hide_secrets(after)
        self.settings, live, waiting = taken_over(self.settings, after)
        logs.configure(self.settings.log.level)
        for use in self._users_of_settings:
            use(self.settings)
        log.info("reloaded", taken_over=live, wait_for_a_restart=waiting)

    async def run(self) -> None:
        """From the database inwards, and out again once `stop` is set."""
        async with (
            reached_database(self.settings) as database,
            held_database(database, self.stop.set),
            _journal(self.settings, database) as journal,
            _pools(lambda: self.settings, database, journal) as pools,
            _workers(self.settings, pools, journal) as workers,
        ):
            clicks = Clicks(self.settings, pools.offers, pools.directory, journal.writer, workers.jobs, read_clocks)
            await self._serve(database, journal, pools, workers, clicks)

    async def _serve(
        self, database: Database, journal: _Journal, pools: _Pools, workers: _Workers, clicks: Clicks
    ) -> None:
        overview = Overview(
            settings=self.settings,
            server=self.server,
            clicks=clicks,
            directory=pools.directory,
            adoption=pools.adoption,
            tracer=workers.tracer,
            jobs=workers.jobs,
            spool=journal.spool,
            writer=journal.writer,
            shipper=journal.shipper,
            now=read_clocks,
            started_s=trio.current_time(),
        )
        maintenance = Maintenance(database, self.settings, pools.directory, overview.queued, read_clocks)
        self._users_of_settings += [clicks.use, maintenance.use, workers.tracer.use, pools.directory.use]

        async def maintenance_now() -> dict[str, Any]:
            await journal.shipper.flush()
            return (await maintenance.round()).as_dict()

        async with trio.open_nursery() as background:
            background.start_soon(restarted, "maintenance", maintenance.run)
            commands: control.Commands = {"status": overview.status, "maintenance": maintenance_now}
            await background.start(control.serve, self.settings.state_dir, commands)
            # What is loaded by now stays: the collector need not look at 100,000 IPs again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTOR_THRESHOLDS)
            self.clicks = clicks
            say_ready(pools.directory, pools.offers)
            systemd.notify("READY=1")
            await self.stop.wait()
            systemd.notify("STOPPING=1")
            log.info("stopping", clicks_in_flight=clicks.waiting, active_traces=workers.tracer.active)
            self.stop_clicks.set()
            await self.clicks_stopped.wait()
            background.cancel_scope.cancel()


async def _patiently(work: Callable[[], Awaitable[None]]) -> None:
    """PostgreSQL may leave again between the first time that it was reached and the end of the start."""
    while True:
        try:
            await work()
            return
        except DatabaseUnavailable as e:
            log.warning("database_unavailable", why=str(e), retry_in_s=RETRY_S)
            await trio.sleep(RETRY_S)


@asynccontextmanager
async def _journal(settings: Settings, database: Database) -> AsyncIterator[_Journal]:
    """The journal, with all that an earlier run left in the spool shipped."""
    path = settings.state_dir / "journal.sqlite"
    try:
        spool = await trio.to_thread.run_sync(Spool, path, settings.journal.spool_bytes_max)
    except sqlite3.Error as e:
        raise TheirFault(f"{path}: {e}: the journal needs a disk that can be written to") from e
    writer = JournalWriter(spool)
    shipper = Shipper(spool, writer, database)
    try:
        await _patiently(shipper.find_position)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            nursery.start_soon(restarted, "shipper", shipper.run)
            await shipper.flush()
            yield _Journal(spool, writer, shipper)
            with trio.move_on_after(SHIP_S) as shipping:
                await writer.durable()
                await shipper.flush()
            if shipping.cancelled_caught:
                log.warning("not_all_shipped", effect="the rest is in the spool for the next start")
            nursery.cancel_scope.cancel()
    finally:
        spool.close()


@asynccontextmanager
async def _pools(settings: Callable[[], Settings], database: Database, journal: _Journal) -> AsyncIterator[_Pools]:
    """The pools as the rows have them, an actor for each. They end when all that was sent to them is handled."""
    departed: dict[tuple[str, str], float] = {}
    async with trio.open_nursery() as actors:

        def start_actor(post: Post) -> None:
            actors.start_soon(run_pool_actor, post, database, journal.writer, journal.shipper.flush, read_clocks)

        def new_pool(country: str) -> Pool:
            return Pool(country, rules_of(settings()), departed)

        directory, offers = PoolDirectory(new_pool, start_actor), Offers()
        adoption = Adoption(database, directory, offers, read_clocks)
        async with trio.open_nursery() as listening:
            listening.start_soon(restarted, "adoption", adoption.run)
            await adoption.compared.wait()
            yield _Pools(directory, offers, adoption)
            listening.cancel_scope.cancel()
        directory.close()


@asynccontextmanager
async def _workers(settings: Settings, pools: _Pools, journal: _Journal) -> AsyncIterator[_Workers]:
    """`trace.workers` of them. Leaving cancels the traces that go on behind their visitors' backs."""
    trace = settings.trace
    tracer = Tracer(
        Fetcher(
            hop_timeout_s=trace.hop_timeout_s,
            connect_timeout_s=trace.connect_timeout_s,
            headers_bytes_max=trace.headers_bytes_max,
        ),
        pools.directory,
        journal.writer,
        read_clocks,
        limits=limits_of(settings),
        timeout_s=trace.timeout_s,
        credentials=credentials_of(settings),
    )
    send, receive = trio.open_memory_channel[TraceJob](trace.queue_max)
    with send, receive:
        async with trio.open_nursery() as nursery:
            for number in range(trace.workers):
                nursery.start_soon(restarted, f"worker {number}", tracer.work, receive.clone)
            yield _Workers(tracer, send)
            nursery.cancel_scope.cancel()
        tracer.abandon(receive)


def _server_limits(settings: Settings) -> ServerLimits:
    click = settings.click
    return ServerLimits(
        answer_s=DEADLINE_MAX_S + ANSWER_MARGIN_S,  # an offer may set a deadline of its own
        head_s=click.head_timeout_s,
        head_bytes_max=click.head_bytes_max,
        connections_max=click.connections_max,
        connections_per_address_max=click.connections_per_address_max,
        backlog=click.backlog,
    )


async def _watch_signals(daemon: _Daemon, everything: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            log.info("signal", signal=signal.Signals(number).name)
            if number == signal.SIGHUP:
                await daemon.reload()
            elif daemon.stop.is_set():
                log.warning("stopping_now", clicks_cut=daemon.clicks.waiting if daemon.clicks else 0)
                everything.cancel()
                return
            else:
                daemon.stop.set()
                if daemon.clicks is None:
                    daemon.starting.cancel()
