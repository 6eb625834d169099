"""The real daemon as the demo's child: its settings, its start, its readiness, its stop."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

import daemon
from daemon.control import socket as control
from daemon.demo.network import free_port_for
from daemon.demo.surroundings import PORTS_LOST_MAX, Say
from daemon.errors import TheirFault

CLICK_HOST = "127.0.0.1"
CLICK_PORT, CONTROL_PORT = 8080, 8081
START_S = 60.0
STOP_S = 20.0
"""A stop takes as long as the clicks in flight, and those hang up when the demo ends."""
POLL_S = 0.03
LOG_LINES_SHOWN = 12
# What would turn the child to another database, state directory or supervisor than the demo's own.
FOREIGN_VARIABLES = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "STATE_DIRECTORY")


class DaemonEnded(TheirFault):
    """The daemon ended by itself."""


@dataclass(frozen=True, slots=True)
class DaemonProcess:
    """A running daemon. `config` is its settings file, `log` where its lines go."""

    process: trio.Process
    config: Path
    log: Path
    state_dir: Path
    port: int
    control_port: int

    @property
    def url(self) -> str:
        return f"http://{CLICK_HOST}:{self.port}"

    @property
    def dashboard_url(self) -> str:
        return f"http://{CLICK_HOST}:{self.control_port}/"

    async def ended(self) -> DaemonEnded:
        """Waits for its end, and tells of it with its last words."""
        status = await self.process.wait()
        return DaemonEnded(f"the daemon ended with status {status}. The end of its log:\n{_tail(self.log)}")

    async def ready(self, ips: Mapping[str, int]) -> None:
        """Returns once it answers clicks and has adopted these numbers of IPs. Raises DaemonEnded, TheirFault."""
        with trio.move_on_after(START_S):
            async with httpx.AsyncClient(trust_env=False) as client:
                while self.process.poll() is None:
                    with suppress(httpx.HTTPError):  # it does not listen yet, or is ending: its process says so
                        answer = await client.get(f"{self.url}/readyz")
                        if answer.status_code == httpx.codes.OK and await self._adopted(ips):
                            return
                    await trio.sleep(POLL_S)
            raise await self.ended()
        raise TheirFault(f"the daemon was not ready within {START_S:g} s. The end of its log:\n{_tail(self.log)}")

    async def _adopted(self, ips: Mapping[str, int]) -> bool:
        status = await trio.to_thread.run_sync(control.ask, self.state_dir, "status")
        countries = status["countries"] if status else {}
        return {country: counts["total"] for country, counts in countries.items()} == dict(ips)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after STOP_S. Its embedded database is shared: whoever leaves last stops that."""
        if self.process.poll() is None:
            self.process.terminate()
        with trio.move_on_after(STOP_S):
            await self.process.wait()
        if self.process.poll() is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def running_daemon(state_dir: Path, ips: Mapping[str, int], say: Say) -> AsyncIterator[DaemonProcess]:
    """A ready daemon on CLICK_PORT, or on the next port that is free. Raises DaemonEnded, PortBusy, TheirFault."""
    port, control_port = CLICK_PORT, CONTROL_PORT
    for attempt in range(PORTS_LOST_MAX):
        port = free_port_for([CLICK_HOST], port)
        control_port = free_port_for([CLICK_HOST], max(port + 1, control_port))
        async with _started(state_dir, port, control_port) as process:
            try:
                await process.ready(ips)
            except DaemonEnded:
                lost_port = any(free_port_for([CLICK_HOST], one) != one for one in (port, control_port))
                if lost_port and attempt + 1 < PORTS_LOST_MAX:
                    continue
                raise
            if port != CLICK_PORT:
                say(f"port {CLICK_PORT} is busy: clicks come to {port} instead")
            yield process
            return


@asynccontextmanager
async def _started(state_dir: Path, port: int, control_port: int) -> AsyncIterator[DaemonProcess]:
    config, log = state_dir / "tracepool.toml", state_dir / "daemon.log"
    config.write_text(_settings(state_dir, port, control_port))
    command = [sys.executable, "-m", "daemon", "serve", "--config", str(config)]
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=Path(daemon.__file__).parents[1],  # `-m daemon` is then this very package, installed or not
            env=_environment(),
            start_new_session=True,  # a terminal's Ctrl-C is for the demo, which stops the daemon itself
        )
    child = DaemonProcess(process, config, log, state_dir, port, control_port)
    try:
        yield child
    finally:
        with trio.CancelScope(shield=True):
            await child.stop()


def _settings(state_dir: Path, port: int, control_port: int) -> str:
    """TOML; a JSON string is a TOML string too."""
    return "\n".join(
        [
            f"state_dir = {json.dumps(str(state_dir))}",
            "[click]",
            f'bind = ["{CLICK_HOST}:{port}"]',
            "[control]",
            f'bind = "{CLICK_HOST}:{control_port}"',
            "[trace]",
            "allow_private = true  # the demo's hosts exist on loopback only",
            "",
        ]
    )


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TRACEPOOL_") and name not in FOREIGN_VARIABLES
    }


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in lines[-LOG_LINES_SHOWN:]) or "  (empty)"
