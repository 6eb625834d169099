"""Starts, restarts and stops the daemon, in this order. Read this first.

Start: the listeners (the control face gets 503; clicks of offers in the cache file fall back), the spool, the database;
this node joins; the spool is shipped; this node takes the IPs that nobody owns, the pools are loaded from its rows, the
workers start, and clicks are traced. The start waits for a disk (journal_start.py), for a database that cannot be used
yet, and for a daemon of a version that knows no owners.

Restart (restarts.py): if an actor raises, the error is logged and the actor is started again after a pause. A pool
actor loads its rows again and keeps its unanswered messages.

Stop, from the innermost nursery outwards: no new connections, the clicks in flight are answered, the workers release
their leases, the pool actors handle their remaining messages, the journal is committed and shipped, the node leaves,
the database is closed, the control face stops. Entries that are not shipped within journal_start.SHIP_S stay in the
spool for the next start. A second signal cancels all of this. The daemon stops in the same way, with an error, if
another run has joined with its node id: a machine was cloned, and its next start is a new node.
"""

import functools
import os
from pathlib import Path

import structlog
import trio

from daemon import logs
from daemon.click.clicks import Clicks
from daemon.click.country_file import CountryFile
from daemon.click.visitor_country import VisitorCountries
from daemon.control import socket as control
from daemon.control.journal import journal_commands
from daemon.database.postgres import database_loop
from daemon.errors import NodeDisplaced
from daemon.host import systemd
from daemon.host.clocks import read_clocks
from daemon.host.process import allow_descriptors, settle_collector
from daemon.host.signals import watch_signals
from daemon.host.state_dir import StateDir, state_dir_held
from daemon.http.listeners import Listeners, listeners_of
from daemon.http.probe import is_served_by_another, listener_probes
from daemon.journal_start import journal_written, spool_opened
from daemon.offers.cache_file import remembered_offers
from daemon.offers.model import Offers
from daemon.restarts import restarted
from daemon.runtime import Runtime, faces_of, runtime_ready
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.start_lines import descriptors_wanted, log_ready, start_facts, starting_commands, status_line
from daemon.watchdog import Watchdog

HOLD_S = 3.0
LOOK_S = 1.0
FILE_S = 2.0

log = structlog.get_logger("daemon")


async def run_daemon(settings: Settings, config_file: Path | None) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises the error if anything else ends it."""
    with state_dir_held(settings.state_dir, embedded=settings.database.url is None) as state_dir:
        async with database_loop():
            listeners = await listeners_of(settings, os.environ)
            daemon = _Daemon(LiveSettings(settings, config_file), state_dir, listeners)
            with logs.tapped(daemon.faces.observers.events):
                facts = start_facts(settings, config_file, [*listeners.click, *listeners.control])
                async with trio.open_nursery() as outermost:

                    def stop_now() -> None:
                        log.warning("stopping_now", clicks_cut=daemon.clicks.waiting if daemon.clicks else 0)
                        outermost.cancel_scope.cancel()

                    announce = functools.partial(log.info, "starting", **facts)
                    await outermost.start(watch_signals, announce, daemon.reload, daemon.stop, stop_now)
                    if listeners.kept:
                        superseded = {"click.bind": list(settings.click.bind), "click.backlog": settings.click.backlog}
                        log.info("socket_activated", superseded=superseded)
                    systemd.notify(systemd.status("starting: clicks of known offers fall back"))
                    allow_descriptors(descriptors_wanted(settings))
                    outermost.start_soon(daemon.serve_clicks)
                    outermost.start_soon(daemon.faces.control.serve, listeners.control)
                    await daemon.run()
                    outermost.cancel_scope.cancel()
    log.info("stopped", clicks_answered=daemon.clicks.answered if daemon.clicks else 0)


class _Daemon:
    """One run of the daemon. A stop before clicks are traced cancels the start."""

    def __init__(self, live: LiveSettings, state_dir: StateDir, listeners: Listeners) -> None:
        self.clicks: Clicks | None = None
        self._state_dir = state_dir
        self._live = live
        self.faces = faces_of(live, lambda: self.clicks)
        self._listeners = listeners
        self._displaced: NodeDisplaced | None = None
        self._starting = trio.CancelScope()
        self._accept = trio.Event()  # set when listeners that another process holds too may accept connections
        self._stop = trio.Event()
        self._stop_clicks = trio.Event()
        self._clicks_stopped = trio.Event()
        watchdog_s = systemd.watchdog_s(os.environ)
        probes = listener_probes(self.faces.server, listeners.click, passed=listeners.kept, shared=listeners.shared)
        self._watchdog = Watchdog(watchdog_s, probes) if watchdog_s else None

    @property
    def _is_ready(self) -> bool:
        return self.clicks is not None and self.clicks.is_tracing

    @property
    def _remark(self) -> str:
        """An addition to the status of the unit while the last reload is refused."""
        why = self._live.refused
        return f"; the last reload was refused: {why}" if why else ""

    async def reload(self) -> None:
        """Read the settings again, and notify systemd of the reload."""
        notifies = self._is_ready and not self._stop.is_set()
        if notifies:
            systemd.notify(*systemd.reloading())
        await self._live.reload()
        if notifies and not self._stop.is_set():
            systemd.notify("READY=1", systemd.status(f"serving{self._remark}"))

    def stop(self) -> None:
        self._stop.set()
        self._accept.set()
        if not self._is_ready:
            self._starting.cancel()

    def stop_displaced(self, error: NodeDisplaced) -> None:
        log.critical("node_displaced", why=str(error), effect="this daemon stops; its next start is a new node")
        self._displaced = error
        self.stop()

    async def serve_clicks(self) -> None:
        """Serve until `_stop_clicks`."""
        try:
            if self._listeners.kept and not self._listeners.shared:
                await self._hold()
            async with trio.open_nursery() as nursery:
                if self._watchdog is not None:
                    nursery.start_soon(restarted, "watchdog", self._watchdog.run, lambda: self._stop)
                if self._listeners.shared:
                    await self._hold()
                server = self.faces.server
                await server.serve(self._listeners.click, stop=self._stop_clicks, handed_back=self._listeners.kept)
                nursery.cancel_scope.cancel()
        finally:
            self._clicks_stopped.set()

    async def _hold(self) -> None:
        """Let connections wait up to HOLD_S for the pools, and leave them to another process while one is ready."""
        with trio.move_on_after(HOLD_S):
            await self._accept.wait()
        shared = self._listeners.click if self._listeners.shared else []
        while shared and not self._accept.is_set() and await is_served_by_another(shared):
            with trio.move_on_after(LOOK_S):
                await self._accept.wait()

    async def run(self) -> None:
        """Run everything inside the listeners until `stop`. Returns once no click is served.

        Raises NodeDisplaced after a stop because another run has this node's id.
        """
        with self._starting:
            await self._run()
        await self._end_clicks()
        if self._displaced is not None:
            raise self._displaced

    async def _run(self) -> None:
        settings, offers = self._live.current, Offers()
        offers.replace(await trio.to_thread.run_sync(remembered_offers, settings.state_dir))
        commands: control.Commands = starting_commands(self.faces.troubles)
        async with journal_written() as writer, trio.open_nursery() as socket_nursery:
            observe, file = self.faces.observers.click, CountryFile(self._live, self.faces.troubles)
            with trio.move_on_after(FILE_S):
                await file.look()
            socket_nursery.start_soon(restarted, "country file", file.run)
            choose = VisitorCountries(self._live, file).offer_for
            self.clicks = clicks = Clicks(
                offers, None, writer, read_clocks, self._live, observe=observe, in_country=choose
            )
            await socket_nursery.start(control.serve, settings.state_dir, commands)
            try:
                spool = await spool_opened(settings, self._state_dir, writer, offers, self.faces.troubles)
                commands |= journal_commands(spool, writer)
                ready = runtime_ready(self.faces, spool, writer, clicks, self._stop, self.stop_displaced)
                async with ready as runtime:
                    await self._serve(runtime, commands)
            finally:
                with trio.CancelScope(shield=True):  # the last answers are recorded too
                    await self._end_clicks()
                    await self.faces.control.end()
            socket_nursery.cancel_scope.cancel()

    async def _serve(self, runtime: Runtime, commands: control.Commands) -> None:
        """Run the background actors, and trace clicks until the stop."""
        face, context = self.faces.control, runtime.context
        face.check_token()
        async with trio.open_nursery() as background:
            background.start_soon(restarted, "maintenance", runtime.maintenance.run)
            background.start_soon(restarted, "figures", context.overview.report.run)
            background.start_soon(restarted, "sizes", context.overview.storage.run)
            background.start_soon(restarted, "indexes", runtime.indexes.run)
            background.start_soon(restarted, "advice", context.overview.advisor.run)
            background.start_soon(restarted, "batch", runtime.batch.run)
            background.start_soon(restarted, "probes", runtime.workers.prober.run)
            commands.update(runtime.commands())
            settle_collector()
            background.start_soon(restarted, "control", face.run, lambda: context)
            await self._trace_clicks(runtime)
            background.cancel_scope.cancel()

    async def _trace_clicks(self, runtime: Runtime) -> None:
        """Trace clicks until `stop` is set and the clicks in flight are answered."""
        clicks, directory, tracer = runtime.clicks, runtime.pools.directory, runtime.workers.tracer
        clicks.begin(runtime.workers.dispatcher)
        self._accept.set()
        log_ready(directory, clicks.offers)
        if self._watchdog is not None:
            line = functools.partial(status_line, directory, clicks, tracer)
            self._watchdog.begin(directory, runtime.journal.writer, lambda: line() + self._remark)
        systemd.notify("READY=1", systemd.status(f"serving{self._remark}"))
        await self._stop.wait()
        systemd.notify("STOPPING=1", systemd.status(f"stopping: {clicks.waiting} clicks get their answers"))
        log.info("stopping", clicks_in_flight=clicks.waiting, active_traces=tracer.active)
        await self._end_clicks()

    async def _end_clicks(self) -> None:
        self._stop_clicks.set()
        await self._clicks_stopped.wait()
