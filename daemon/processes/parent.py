"""The parent of several processes: it opens the listeners, runs the embedded PostgreSQL, and starts one child for each.

A child is a whole daemon, and a node with a state directory of its own (plan.py). All accept connections from the same
listeners (http/listeners.py), so one that ends or hangs holds up no click. The children end with the parent, whatever
ends it (host/child.py).

Start: the first child alone, which also migrates the database. If it ends with status 78 (bad settings or an unfit
database), so does the parent, after one message. The others follow when it is ready, or after FIRST_S. Last, the nodes
of directories that no child uses any more are ended (retirement.py); each needs PostgreSQL.

Restart: a child that ends or hangs is started again (child.py). If all end with status 78, so does the parent.

Stop: the children answer their clicks and end, then the embedded PostgreSQL stops. A second signal ends them at once.

systemd sees the parent as it sees a daemon of one process. The watchdog is fed while each child has reported in its
time, or has been killed for that and is being started again.
"""

import functools
import math
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
import trio

from daemon import __version__
from daemon.database import embedded
from daemon.database.connect import embedded_running
from daemon.errors import BadSettings
from daemon.host import systemd
from daemon.host.signals import watch_signals
from daemon.host.state_dir import NODES, retired_directories, state_dir_held
from daemon.http.listeners import CLICK, CONTROL, OF_PARENT, Listeners, listeners_of, name_of
from daemon.pauses import Pauses
from daemon.processes.child import Child
from daemon.processes.plan import Plan, connections_of, count_of
from daemon.processes.reports import Reports
from daemon.settings.model import Settings
from daemon.troubles import Troubles

DATABASE_S = 10.0
FIRST_S = 30.0
RELOAD_S = 5.0
LOOK_S = 0.2
WATCHDOG_S = 30.0  # without systemd's: as WatchdogSec= of the unit
EMBEDDED_CONNECTIONS_MAX = 90  # of the embedded PostgreSQL at first (database/cluster.py), less those of commands
FEEDS = 3  # of systemd's watchdog in its time

log = structlog.get_logger("daemon.processes")


async def run_parent(settings: Settings, config_file: Path | None) -> None:
    """Run until SIGTERM or SIGINT. Raises BadSettings if the children end with status 78."""
    with _held(settings):
        count, url, reports = count_of(settings), None, Reports()
        listeners = await listeners_of(settings, os.environ)
        if settings.database.url is None:
            url = embedded.future_url(settings.state_dir)
        names = [(one, CLICK if listeners.kept else OF_PARENT) for one in listeners.click]
        names += [(one, CONTROL) for one in listeners.control]
        plan = Plan(
            settings=settings,
            config_file=config_file,
            count=count,
            url=url,
            passed=[(listener.socket.fileno(), name) for listener, name in names],
            notify=reports.address,
            watchdog_s=systemd.watchdog_s(os.environ) or WATCHDOG_S,
        )
        try:
            await _Parent(plan, listeners, reports).run()
        finally:
            reports.close()


@contextmanager
def _held(settings: Settings) -> Iterator[None]:
    """Raises AlreadyRunning if another parent, or a daemon of one process, has the state directory."""
    embedded_here = settings.database.url is None
    with (
        state_dir_held(settings.state_dir, embedded=embedded_here) as checked,
        state_dir_held(settings.state_dir / NODES),
    ):
        checked.release()  # the first child holds it
        yield


class _Parent:
    def __init__(self, plan: Plan, listeners: Listeners, reports: Reports) -> None:
        self._plan = plan
        self._listeners = listeners
        self._reports = reports
        self._stop = trio.Event()
        self._is_unfit = False
        self._was_ready = False
        self._feed_s = 0.0
        self._retiring: subprocess.Popen[bytes] | None = None
        self._retired = trio.Event()
        self._children = [
            Child(plan.name_of(number), functools.partial(self._start, number), plan.watchdog_s)
            for number in range(1, plan.count + 1)
        ]

    def _start(self, number: int, *, is_retired: bool = False) -> "subprocess.Popen[bytes]":
        """In this thread: the child ends with the thread that has started it."""
        return subprocess.Popen(  # noqa: S603 - a program of our own
            self._plan.command(is_retired=is_retired),
            stdin=subprocess.DEVNULL,
            env=self._plan.environment(number, os.environ, is_retired=is_retired),
            pass_fds=[fd for fd, _ in self._plan.passed],
            start_new_session=True,  # a terminal's Ctrl-C reaches only the parent
        )

    async def run(self) -> None:
        async with trio.open_nursery() as outermost:
            await outermost.start(self._reap)
            await outermost.start(watch_signals, self._announce, self._reload, self._end, self._end_now)
            systemd.notify(systemd.status("starting"))
            database = trio.Event()
            outermost.start_soon(self._watch)
            async with trio.open_nursery() as beside:
                beside.start_soon(self._run_database, database)
                await self._run_children(database)
                beside.cancel_scope.cancel()
            outermost.cancel_scope.cancel()
        if self._is_unfit:
            raise BadSettings("all processes have ended with status 78: the lines above say why")
        log.info("processes_stopped", processes=self._plan.count)

    def _announce(self) -> None:
        plan = self._plan
        log.info(
            "processes_starting",
            version=__version__,
            processes=[child.name for child in self._children],
            listening=[name_of(one) for one in (*self._listeners.click, *self._listeners.control)],
            state_dir=str(plan.settings.state_dir),
            database_connections_max=(connections := connections_of(plan.settings, plan.count)),
        )
        if plan.url is not None and connections > EMBEDDED_CONNECTIONS_MAX:
            log.warning("many_connections", wanted=connections, allowed=EMBEDDED_CONNECTIONS_MAX,
                        next="raise max_connections in postgres/data/postgresql.conf of the state directory and start"
                             " again, or lower processes")  # fmt: skip

    async def _reap(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGCHLD) as signals:
            task_status.started()
            async for _ in signals:
                for child in self._children:
                    child.reap()
                if self._retiring is not None and self._retiring.poll() is not None:
                    self._retired.set()

    async def _run_database(self, has_started: trio.Event) -> None:
        if self._plan.url is None:
            has_started.set()
            return
        async with embedded_running(self._plan.settings, Troubles()):
            has_started.set()
            await trio.sleep_forever()

    async def _run_children(self, database: trio.Event) -> None:
        """Return when all children have ended."""
        first, *others = self._children
        try:
            async with trio.open_nursery() as nursery:
                await _first_of(database, self._stop, at_most_s=DATABASE_S)
                nursery.start_soon(first.run, self._note_end)
                await _first_of(first.ready, first.ended_once, self._stop, at_most_s=FIRST_S)
                for child in others:
                    nursery.start_soon(child.run, self._note_end)
                nursery.start_soon(self._retire)
        finally:
            for child in self._children:
                child.kill()

    def _note_end(self) -> None:
        if all(child.is_unfit for child in self._children if child.was_started):
            self._is_unfit = True
            self._end()

    async def _retire(self) -> None:
        """End the nodes of the directories that no child uses, one after the other, when all children are ready."""
        for directory in retired_directories(self._plan.settings.state_dir, self._plan.count):
            for child in self._children:
                await _first_of(child.ready, self._stop, at_most_s=math.inf)
            await self._retire_one(int(directory.name))

    async def _retire_one(self, number: int) -> None:
        pauses = Pauses()
        while not self._stop.is_set():
            try:
                process = self._start(number, is_retired=True)
            except OSError as e:
                status: int | str = str(e)
            else:
                self._retiring, self._retired = process, trio.Event()
                await self._retired.wait()
                status = process.returncode
            if status == 0 or self._stop.is_set():
                return
            pause_s = pauses.after_crash(trio.current_time())
            log.error("node_not_retired", process=self._plan.name_of(number), status=status, restart_in_s=pause_s,
                      effect="its IPs are not used until it is")  # fmt: skip
            with trio.move_on_after(pause_s):
                await self._stop.wait()

    async def _watch(self) -> None:
        while True:
            await self._reports.wait(LOOK_S)
            by_pid = {child.pid: child for child in self._children}
            for pid, assignments in self._reports.read():
                if pid in by_pid:
                    by_pid[pid].report(assignments)
                    self._extend_start(assignments)
            for child in self._children:
                child.look()
            self._tell()

    def _extend_start(self, assignments: Sequence[str]) -> None:
        """A child whose listeners answer extends the time limit of the start."""
        if not self._was_ready:
            for assignment in assignments:
                if assignment.startswith("EXTEND_TIMEOUT_USEC="):
                    systemd.notify(assignment)

    def _tell(self) -> None:
        """Tell systemd that all children are ready, and that they are watched."""
        if self._stop.is_set():
            return
        if not self._was_ready and all(child.ready.is_set() for child in self._children):
            self._was_ready = True
            log.info("processes_ready", processes=self._plan.count)
            systemd.notify("READY=1", systemd.status(self._line()))
        watchdog_s = systemd.watchdog_s(os.environ)
        if self._was_ready and watchdog_s is not None and trio.current_time() >= self._feed_s:
            self._feed_s = trio.current_time() + watchdog_s / FEEDS
            systemd.notify("WATCHDOG=1", systemd.status(self._line()))

    def _line(self) -> str:
        """The figures of all children, for `systemctl status`."""
        ready = sum(child.ready.is_set() for child in self._children)
        return f"{ready} of {len(self._children)} processes serve; " + "; ".join(
            f"{child.name}: {child.line}" for child in self._children
        )

    async def _reload(self) -> None:
        notifies = self._was_ready and not self._stop.is_set()
        if notifies:
            systemd.notify(*systemd.reloading())
        reloading = [child for child in self._children if child.hang_up()]
        with trio.move_on_after(RELOAD_S):
            for child in reloading:
                await child.reloaded.wait()
        if notifies:
            systemd.notify("READY=1", systemd.status(self._line()))

    def _end(self) -> None:
        """Stop accepting connections here, and let the children end."""
        self._stop.set()
        systemd.notify("STOPPING=1", systemd.status("stopping: the processes answer their clicks"))
        for listener in (*self._listeners.click, *self._listeners.control):
            listener.socket.close()
        for child in self._children:
            child.stop()
        if self._retiring is not None and self._retiring.poll() is None:
            self._retiring.terminate()

    def _end_now(self) -> None:
        log.warning("stopping_now")
        for child in self._children:
            child.stop()


async def _first_of(*events: trio.Event, at_most_s: float) -> None:
    """Wait until one of the events is set."""

    async def end_after(event: trio.Event, scope: trio.CancelScope) -> None:
        await event.wait()
        scope.cancel()

    with trio.move_on_after(at_most_s):
        async with trio.open_nursery() as nursery:
            for event in events:
                nursery.start_soon(end_after, event, nursery.cancel_scope)
