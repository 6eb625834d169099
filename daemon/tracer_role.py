"""role = "tracer": a daemon that traces for others and does nothing else. No clicks, no database, nothing on disk.

It listens on control.bind for POST /trace, and for probes. A stop waits for the traces under way as long as a click
elsewhere may (click.deadline_s); a second signal ends them at once.
"""

import signal
from pathlib import Path

import structlog
import trio

from daemon.control.api import TracerContext
from daemon.control.service import ControlFace, open_control
from daemon.control.tracing import TracesForOthers
from daemon.host import hangup, systemd
from daemon.host.clocks import read_clocks
from daemon.host.descriptors import allow_descriptors
from daemon.reloading import reloaded
from daemon.settings.model import Settings
from daemon.start_lines import descriptors_wanted, start_facts
from daemon.trace.backends import LocalBackend, fetcher_of

log = structlog.get_logger("daemon")


async def run_tracer(settings: Settings, config_file: Path | None) -> None:
    """Until SIGTERM or SIGINT. Raises BadSettings where others could connect and control.token is not set."""
    tracer = _TracerDaemon(settings, config_file)
    tracer.face.check_token()
    listeners = await open_control(settings)
    log.info("starting", role="tracer", **start_facts(settings, config_file, listeners))
    allow_descriptors(descriptors_wanted(settings))
    async with trio.open_nursery() as nursery:
        await nursery.start(tracer.watch_signals, nursery.cancel_scope)
        nursery.start_soon(tracer.face.serve, listeners)
        nursery.start_soon(tracer.face.run, TracerContext(lambda: tracer.settings, tracer.traces, tracer.stop))
        log.info("ready")
        systemd.notify("READY=1")
        await tracer.stop.wait()
        systemd.notify("STOPPING=1")
        log.info("stopping", active_traces=tracer.traces.active)
        await tracer.face.end()
        nursery.cancel_scope.cancel()
    log.info("stopped")


class _TracerDaemon:
    def __init__(self, settings: Settings, config_file: Path | None) -> None:
        self.settings = settings
        self.stop = trio.Event()
        self._config_file = config_file
        self._backend = LocalBackend(settings, fetcher_of(settings))
        self.traces = TracesForOthers(lambda: self.settings, self._backend)
        self.face = ControlFace(lambda: self.settings, read_clocks, stop_s=settings.click.deadline_s)

    async def watch_signals(
        self, everything: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            if hangup.taken():
                log.info("signal", signal="SIGHUP", received="while the process started")
                await self._reload()
            async for number in signals:
                log.info("signal", signal=signal.Signals(number).name)
                if number == signal.SIGHUP:
                    await self._reload()
                elif self.stop.is_set():
                    everything.cancel()
                    return
                else:
                    self.stop.set()

    async def _reload(self) -> None:
        self.settings, _ = await reloaded(self.settings, self._config_file)
        self._backend.use(self.settings)
        self.face.use(self.settings)
