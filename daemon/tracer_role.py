"""role = "tracer": a daemon that traces for others and does nothing else. No clicks, no database, nothing on disk.

It listens on control.bind for POST /trace, and for probes. A stop waits for the traces under way as long as a click
elsewhere may (click.deadline_s); a second signal ends them at once.
"""

from pathlib import Path

import structlog
import trio

from daemon.control.api import TracerContext
from daemon.control.service import ControlFace, open_control
from daemon.control.tracing import TracesForOthers
from daemon.host import systemd
from daemon.host.clocks import read_clocks
from daemon.host.descriptors import allow_descriptors
from daemon.host.signals import watch_signals
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.start_lines import descriptors_wanted, start_facts
from daemon.trace.backends import LocalBackend, fetcher_of

log = structlog.get_logger("daemon")


async def run_tracer(settings: Settings, config_file: Path | None) -> None:
    """Until SIGTERM or SIGINT. Raises BadSettings where others could connect and control.token is not set."""
    live, stop = LiveSettings(settings, config_file), trio.Event()
    face = ControlFace(live, read_clocks)
    face.check_token()
    listeners = await open_control(settings)
    log.info("starting", role="tracer", **start_facts(settings, config_file, listeners))
    allow_descriptors(descriptors_wanted(settings))
    traces = TracesForOthers(live, LocalBackend(live, fetcher_of(settings)))
    async with trio.open_nursery() as nursery:
        await nursery.start(watch_signals, live.reload, stop.set, nursery.cancel_scope.cancel)
        nursery.start_soon(face.serve, listeners)
        nursery.start_soon(face.run, TracerContext(live, traces, stop))
        log.info("ready")
        systemd.notify("READY=1")
        await stop.wait()
        systemd.notify("STOPPING=1")
        log.info("stopping", active_traces=traces.active)
        await face.end(live.current.click.deadline_s)
        nursery.cancel_scope.cancel()
    log.info("stopped")
