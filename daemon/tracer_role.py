"""role = "tracer": a daemon that only traces for other daemons. It has no clicks, no database and no files.

It answers POST /trace and probes on control.bind. A stop waits up to click.deadline_s for the traces in flight; a
second signal cancels them.
"""

from functools import partial
from pathlib import Path

import structlog
import trio

from daemon.control.api import TracerContext
from daemon.control.service import ControlFace
from daemon.control.tracing import TracesForOthers
from daemon.host import systemd
from daemon.host.clocks import read_clocks
from daemon.host.process import allow_descriptors
from daemon.host.signals import watch_signals
from daemon.http.listeners import open_control
from daemon.restarts import restarted
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.start_lines import descriptors_wanted, start_facts
from daemon.trace.backends import fetcher_of
from daemon.trace.browser.browser import Browser
from daemon.trace.engine.engines import engines_running, workers_of
from daemon.trace.local import LocalBackend

log = structlog.get_logger("daemon")


async def run_tracer(settings: Settings, config_file: Path | None) -> None:
    """Run until SIGTERM or SIGINT. Raises BadSettings if other hosts could connect and control.token is not set."""
    live, stop = LiveSettings(settings, config_file), trio.Event()
    face = ControlFace(live, read_clocks)
    face.check_token()
    listeners = await open_control(settings)
    announce = partial(log.info, "starting", role="tracer", **start_facts(settings, config_file, listeners))
    async with engines_running(workers_of(settings)) as engines, trio.open_nursery() as nursery:
        browser = Browser(live)
        traces = TracesForOthers(live, LocalBackend(live, fetcher_of(settings, engines), browser))
        await nursery.start(watch_signals, announce, live.reload, stop.set, nursery.cancel_scope.cancel)
        allow_descriptors(descriptors_wanted(settings))
        nursery.start_soon(restarted, "browser", browser.run)
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
