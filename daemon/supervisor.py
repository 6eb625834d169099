"""The order of the daemon: what starts when, what restarts, what stops in which order. Read this first.

Start: the listeners (clicks and the control face get 503), the spool (clicks of offers that an earlier run knew fall
back), the database; what the spool holds is shipped; the pools are loaded from the rows, the workers start, and clicks
are traced.

Restart (restarts.py): an actor that raises is logged with its cause and started again; a pool actor starts over from
the rows, with the messages it had not answered. One that raises too often ends the daemon.

Stop, from the innermost nursery outwards: no new connections, the clicks in flight get their answers, the workers hand
back their leases, the pool actors handle what was sent to them, the journal is committed and shipped, the database is
let go, the control face stops. What cannot be shipped in parts.SHIP_S stays in the spool for the next start. A second
signal cancels all of it.
"""

import gc
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import trio
import trio_asyncio

from daemon import systemd
from daemon.click.clicks import Clicks
from daemon.click.listeners import open_listeners
from daemon.click.offers import Offers
from daemon.click.routes import public_app
from daemon.click.server import Server, ServerLimits
from daemon.clocks import read_clocks
from daemon.config import DEADLINE_MAX_S, Settings
from daemon.control import socket as control
from daemon.control.api import Seat
from daemon.control.overview import Overview
from daemon.control.standing import ControlFace, open_control
from daemon.control.tracing import TracesForOthers
from daemon.database.postgres import Database
from daemon.database.reached import held_database, reached_database
from daemon.descriptors import allow_descriptors, descriptors_wanted
from daemon.journal.spool import Spool
from daemon.journal.writer import JournalWriter
from daemon.maintenance.actor import Maintenance
from daemon.maintenance.rounds import Report
from daemon.parts import Journal, Pools, Workers, journal_shipped, journal_spooled, pools_loaded, workers_ready
from daemon.pool.remembered import remembered_offers
from daemon.reloading import reloaded
from daemon.restarts import restarted
from daemon.start_lines import say_ready, start_facts
from daemon.state_dir import state_dir_held
from daemon.trace.batch import Batch

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
            control_listeners = await open_control(settings)
            log.info("starting", **start_facts(settings, config_file, [*listeners, *control_listeners]))
            allow_descriptors(descriptors_wanted(settings))
            async with trio.open_nursery() as outermost:
                outermost.start_soon(_watch_signals, daemon, outermost.cancel_scope)
                outermost.start_soon(daemon.serve_clicks, listeners)
                outermost.start_soon(daemon.control.serve, control_listeners)
                with daemon.starting:
                    await daemon.run()
                daemon.stop_clicks.set()
                await daemon.clicks_stopped.wait()
                outermost.cancel_scope.cancel()
    log.info("stopped", clicks_answered=daemon.clicks.answered if daemon.clicks else 0)


class _Daemon:
    """One run. A signal that comes before its clicks are traced cancels `starting`."""

    def __init__(self, settings: Settings, config_file: Path | None) -> None:
        self.settings = settings
        self._config_file = config_file
        self._users_of_settings: list[Callable[[Settings], None]] = []
        self.starting = trio.CancelScope()
        self.stop = trio.Event()
        self.stop_clicks = trio.Event()
        self.clicks_stopped = trio.Event()
        self.clicks: Clicks | None = None
        self.control = ControlFace(lambda: self.settings, read_clocks)
        self.server = Server(public_app(settings, lambda: self.clicks), _server_limits(settings))

    async def serve_clicks(self, listeners: list[trio.SocketListener]) -> None:
        try:
            await self.server.serve(listeners, stop=self.stop_clicks)
        finally:
            self.clicks_stopped.set()

    async def reload(self) -> None:
        self.settings = await reloaded(self.settings, self._config_file)
        for use in self._users_of_settings:
            use(self.settings)

    @property
    def is_ready(self) -> bool:
        return self.clicks is not None and self.clicks.is_tracing

    async def run(self) -> None:
        """From the spool inwards, and out again once `stop` is set."""
        offers = Offers()
        offers.replace(await trio.to_thread.run_sync(remembered_offers, self.settings.state_dir))
        async with journal_spooled(self.settings) as (spool, writer):
            self.clicks = clicks = Clicks(self.settings, offers, None, writer, None, read_clocks)
            try:
                await self._run(spool, writer, offers, clicks)
            finally:
                with trio.CancelScope(shield=True):  # what is answered until the end is recorded as well
                    self.stop_clicks.set()
                    await self.clicks_stopped.wait()
                    await self.control.end()

    async def _run(self, spool: Spool, writer: JournalWriter, offers: Offers, clicks: Clicks) -> None:
        async with (
            reached_database(self.settings) as database,
            held_database(database, self.stop.set),
            journal_shipped(spool, writer, database) as journal,
            pools_loaded(
                lambda: self.settings, database, journal, offers, self.control.adopted_from(database)
            ) as pools,
            workers_ready(self.settings, pools, journal) as workers,
        ):
            await self._serve(database, journal, pools, workers, clicks)

    async def _serve(
        self, database: Database, journal: Journal, pools: Pools, workers: Workers, clicks: Clicks
    ) -> None:
        self.control.check_token()
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
        self._users_of_settings += [workers.checker.use, self.control.use]

        batch = Batch(
            database,
            pools.directory,
            journal.writer,
            journal.shipper.flush,
            workers.jobs,
            lambda: self.settings,
            read_clocks,
        )

        async def round_now() -> Report:
            await journal.shipper.flush()
            return await maintenance.round()

        async def maintenance_now() -> dict[str, Any]:
            return (await round_now()).as_dict()

        async with trio.open_nursery() as background:
            background.start_soon(restarted, "maintenance", maintenance.run)
            background.start_soon(restarted, "batch", batch.run)
            commands: control.Commands = {
                "status": overview.status,
                "maintenance": maintenance_now,
                "check": workers.checker.check,
            }
            await background.start(control.serve, self.settings.state_dir, commands)
            # What is loaded by now stays: the collector need not look at 100,000 IPs again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTOR_THRESHOLDS)
            traces = TracesForOthers(
                lambda: self.settings,
                workers.backends.local,
                workers_busy=lambda: workers.tracer.busy,
                is_of_the_pool=pools.directory.has,
            )
            seat = Seat(lambda: self.settings, traces, self.stop, overview, database, round_now)
            background.start_soon(restarted, "control", self.control.run, lambda: seat)
            clicks.begin(pools.directory, workers.jobs)
            say_ready(pools.directory, pools.offers)
            systemd.notify("READY=1")
            await self.stop.wait()
            systemd.notify("STOPPING=1")
            log.info("stopping", clicks_in_flight=clicks.waiting, active_traces=workers.tracer.active)
            self.stop_clicks.set()
            await self.clicks_stopped.wait()
            background.cancel_scope.cancel()


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
                if not daemon.is_ready:
                    daemon.starting.cancel()
