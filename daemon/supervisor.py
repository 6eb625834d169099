"""The order of the daemon: what starts when, what restarts, what stops in which order. Read this first.

Start: the listeners (clicks and the control face get 503), the spool (clicks of offers that an earlier run knew fall
back), the database; this node joins, which waits for another node to end; what the spool holds is shipped; the pools
are loaded from the rows, the workers start, and clicks are traced. A database that refuses a statement is waited for
like one that cannot be reached.

Restart (restarts.py): an actor that raises is logged with its cause and started again after a pause; a pool actor
starts over from the rows, with the messages it had not answered.

Stop, from the innermost nursery outwards: no new connections, the clicks in flight get their answers, the workers hand
back their leases, the pool actors handle what was sent to them, the journal is committed and shipped, the node leaves,
the database is let go, the control face stops. What cannot be shipped in parts.SHIP_S stays in the spool for the next
start. A second signal cancels all of it.
"""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import trio

from daemon import hangup, logs, systemd
from daemon.click.clicks import Clicks
from daemon.click.listeners import open_listeners, passed_listeners
from daemon.click.livez import listener_probes
from daemon.click.offers import Offers
from daemon.click.routes import click_handler, server_limits
from daemon.click.server import click_server
from daemon.clocks import read_clocks
from daemon.collector import settle_collector
from daemon.config import Settings
from daemon.control import socket as control
from daemon.control.api import Seat
from daemon.control.metrics import Metrics
from daemon.control.overview import Overview
from daemon.control.standing import ControlFace, open_control
from daemon.control.tracing import TracesForOthers
from daemon.control.watching import Watching
from daemon.database.postgres import Database, database_loop
from daemon.database.reached import reached_database
from daemon.descriptors import allow_descriptors, descriptors_wanted
from daemon.journal.spool import Spool
from daemon.journal.writer import JournalWriter
from daemon.maintenance.actor import Maintenance
from daemon.maintenance.advisor import Advisor
from daemon.maintenance.rounds import Report
from daemon.parts import (
    Journal,
    Pools,
    Workers,
    journal_shipped,
    journal_spooled,
    offers_known,
    pools_loaded,
    workers_ready,
)
from daemon.pool.remembered import remembered_offers
from daemon.reloading import reloaded
from daemon.restarts import restarted
from daemon.start_lines import say_ready, start_facts, starting_commands, status_line, superseded
from daemon.state_dir import state_dir_held
from daemon.trace.batch import Batch
from daemon.troubles import Troubles
from daemon.watchdog import Watchdog

HOLD_S = 3.0
FLUSH_S = 3.0

log = structlog.get_logger("daemon")


async def run_daemon(settings: Settings, config_file: Path | None) -> None:
    """The daemon, until SIGTERM or SIGINT. Returns after a stop; raises what ended it otherwise."""
    with state_dir_held(settings.state_dir):
        async with database_loop():
            passed = passed_listeners(systemd.passed_sockets(os.environ))
            listeners = passed or await open_listeners(settings.click.bind, backlog=settings.click.backlog)
            control_listeners = await open_control(settings)
            daemon = _Daemon(settings, config_file, listeners, passed=bool(passed))
            with logs.tapped(daemon.watching.events):
                log.info("starting", **start_facts(settings, config_file, [*listeners, *control_listeners]))
                if passed:
                    log.info("socket_activated", superseded=superseded(settings))
                systemd.notify(systemd.status("starting: clicks of offers that are known fall back"))
                allow_descriptors(descriptors_wanted(settings))
                async with trio.open_nursery() as outermost:
                    await outermost.start(_watch_signals, daemon, outermost.cancel_scope)
                    outermost.start_soon(daemon.serve_clicks)
                    outermost.start_soon(daemon.control.serve, control_listeners)
                    with daemon.starting:
                        await daemon.run()
                    daemon.stop_clicks.set()
                    await daemon.clicks_stopped.wait()
                    outermost.cancel_scope.cancel()
    log.info("stopped", clicks_answered=daemon.clicks.answered if daemon.clicks else 0)


class _Daemon:
    """One run. A signal that comes before its clicks are traced cancels `starting`."""

    def __init__(
        self, settings: Settings, config_file: Path | None, listeners: list[trio.SocketListener], *, passed: bool
    ) -> None:
        self.settings = settings
        self._config_file = config_file
        self._remark = ""
        self._users_of_settings: list[Callable[[Settings], None]] = []
        self.starting = trio.CancelScope()
        self.accept = trio.Event()  # connections at a socket of systemd's
        self.stop = trio.Event()
        self.stop_clicks = trio.Event()
        self.clicks_stopped = trio.Event()
        self.clicks: Clicks | None = None
        self.metrics = Metrics(settings)
        self.watching = Watching(self.metrics, read_clocks)
        self.control = ControlFace(lambda: self.settings, read_clocks)
        self._follow_settings(self.control.use, self.metrics.use)
        self.troubles = Troubles()
        handler = click_handler(settings, lambda: self.clicks, self.troubles.lines)
        self.server = click_server(handler, server_limits(settings))
        self._listeners = listeners
        self._passed = passed  # the listeners are systemd's own, who keeps them open for the next run
        watchdog_s = systemd.watchdog_s(os.environ)
        probes = listener_probes(self.server, listeners, passed=passed)
        self.watchdog = Watchdog(watchdog_s, probes) if watchdog_s else None

    async def serve_clicks(self) -> None:
        """Until `stop_clicks`. Connections at systemd's socket wait a moment for the pools, rather than fall back."""
        try:
            if self._passed:
                with trio.move_on_after(HOLD_S):
                    await self.accept.wait()
            async with trio.open_nursery() as nursery:
                if self.watchdog is not None:
                    nursery.start_soon(restarted, "watchdog", self.watchdog.run, lambda: self.stop)
                await self.server.serve(self._listeners, stop=self.stop_clicks, handed_back=self._passed)
                nursery.cancel_scope.cancel()
        finally:
            self.clicks_stopped.set()

    def _follow_settings(self, *uses: Callable[[Settings], None]) -> None:
        """Each of `uses` is called with the settings of now, and after every reload."""
        for use in uses:
            use(self.settings)
        self._users_of_settings += uses

    async def reload(self) -> None:
        """Takes over what can be of the settings as they stand now; invalid ones change nothing."""
        told = self.is_ready and not self.stop.is_set()
        if told:
            systemd.notify(*systemd.reloading())
        self.settings, why = await reloaded(self.settings, self._config_file)
        self._remark = f"; the settings as they stand now are refused: {why}" if why else ""
        for use in self._users_of_settings:
            use(self.settings)
        if told and not self.stop.is_set():
            systemd.notify("READY=1", systemd.status(f"serving{self._remark}"))

    @property
    def is_ready(self) -> bool:
        return self.clicks is not None and self.clicks.is_tracing

    async def run(self) -> None:
        """From the spool inwards, and out again once `stop` is set."""
        offers = Offers()
        offers.replace(await trio.to_thread.run_sync(remembered_offers, self.settings.state_dir))
        commands: control.Commands = starting_commands(self.troubles)
        async with journal_spooled(self.settings) as (spool, writer), trio.open_nursery() as asked:
            await asked.start(control.serve, self.settings.state_dir, commands)
            self.clicks = clicks = Clicks(self.settings, offers, None, writer, None, read_clocks)
            clicks.observe = self.watching.click
            self._follow_settings(clicks.use)
            try:
                await self._run(spool, writer, offers, clicks, commands)
            finally:
                with trio.CancelScope(shield=True):  # what is answered until the end is recorded as well
                    self.stop_clicks.set()
                    await self.clicks_stopped.wait()
                    await self.control.end()
            asked.cancel_scope.cancel()

    async def _run(
        self, spool: Spool, writer: JournalWriter, offers: Offers, clicks: Clicks, commands: control.Commands
    ) -> None:
        now, troubles = lambda: self.settings, self.troubles
        async with (
            reached_database(self.settings, troubles) as database,
            offers_known(database, offers),
            journal_shipped(now, spool, writer, database, troubles) as journal,
            pools_loaded(now, database, journal, offers, self.control.adopted_from(database), troubles) as pools,
            workers_ready(self.settings, database, pools, journal, troubles) as workers,
        ):
            await self._serve(database, journal, pools, workers, clicks, commands)

    async def _serve(
        self,
        database: Database,
        journal: Journal,
        pools: Pools,
        workers: Workers,
        clicks: Clicks,
        commands: control.Commands,
    ) -> None:
        self.control.check_token()
        advisor = Advisor(database, self.settings, pools.directory, clicks.tally, read_clocks, self.troubles)
        advisor.suspects, advisor.refusals = pools.providers.suspects, pools.providers.refusals
        overview = self._overview(journal, pools, workers, clicks, advisor)
        maintenance = Maintenance(
            database, self.settings, pools.directory, overview.queued, advisor, read_clocks, self.troubles
        )
        self._follow_settings(maintenance.use, workers.tracer.use, pools.directory.use, workers.checker.use)
        workers.tracer.observer = self.watching

        batch = Batch(
            database,
            pools.directory,
            journal.writer,
            journal.shipper.flush,
            workers.jobs,
            lambda: self.settings,
            read_clocks,
            self.troubles,
        )

        async def round_now() -> Report:
            with trio.move_on_after(FLUSH_S):  # while a statement is refused, rows wait for longer than a command does
                await journal.shipper.flush()
            return await maintenance.round()

        async def maintenance_now() -> dict[str, Any]:
            return (await round_now()).as_dict()

        async with trio.open_nursery() as background:
            background.start_soon(restarted, "maintenance", maintenance.run)
            background.start_soon(restarted, "batch", batch.run)
            background.start_soon(restarted, "probes", workers.prober.run)
            commands.update(status=overview.status, maintenance=maintenance_now, check=workers.checker.check)
            settle_collector()
            traces = TracesForOthers(
                lambda: self.settings,
                workers.backends.local,
                workers_busy=lambda: workers.tracer.busy,
                is_of_the_pool=pools.directory.has,
            )
            seat = Seat(
                lambda: self.settings, traces, self.stop, overview, database, round_now, self.metrics, self.watching
            )
            background.start_soon(restarted, "control", self.control.run, lambda: seat)
            await self._until_stopped(journal, pools, workers, clicks)
            background.cancel_scope.cancel()

    async def _until_stopped(self, journal: Journal, pools: Pools, workers: Workers, clicks: Clicks) -> None:
        """Clicks are traced, until those in flight have their answers once `stop` is set."""
        clicks.begin(pools.directory, workers.jobs)
        self.accept.set()
        say_ready(pools.directory, pools.offers)
        if self.watchdog is not None:
            line = functools.partial(status_line, pools.directory, clicks, workers.tracer)
            self.watchdog.begin(pools.directory, journal.writer, lambda: line() + self._remark)
        systemd.notify("READY=1", systemd.status(f"serving{self._remark}"))
        await self.stop.wait()
        systemd.notify("STOPPING=1", systemd.status(f"stopping: {clicks.waiting} clicks get their answers"))
        log.info("stopping", clicks_in_flight=clicks.waiting, active_traces=workers.tracer.active)
        self.stop_clicks.set()
        await self.clicks_stopped.wait()

    def _overview(self, journal: Journal, pools: Pools, workers: Workers, clicks: Clicks, advisor: Advisor) -> Overview:
        return Overview(
            settings=lambda: self.settings,
            server=self.server,
            clicks=clicks,
            directory=pools.directory,
            adoption=pools.adoption,
            tracer=workers.tracer,
            jobs=workers.jobs,
            spool=journal.spool,
            writer=journal.writer,
            shipper=journal.shipper,
            advisor=advisor,
            providers=pools.providers,
            member=journal.member,
            troubles=self.troubles,
            now=read_clocks,
            started_s=trio.current_time(),
        )


async def _watch_signals(
    daemon: _Daemon, everything: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        if hangup.taken():
            log.info("signal", signal="SIGHUP", received="while the process started")
            await daemon.reload()
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
                daemon.accept.set()
                if not daemon.is_ready:
                    daemon.starting.cancel()
