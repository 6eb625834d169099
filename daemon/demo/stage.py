"""The parts of the demo: a state directory, the ad network, a database with IPs and offers, and the real daemon.

Each part is a context manager that removes everything that it made.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

import daemon
from daemon.control import socket as control
from daemon.database import embedded
from daemon.database.binaries import choose_account, refuse_unless_reachable
from daemon.database.postgres import open_database
from daemon.database.schema import migrate
from daemon.demo.network import DemoNetwork, demo_network
from daemon.demo.showcase import ADDRESSES, ALL_ADDRESSES, OFFERS
from daemon.demo.wire import free_port_for, listen
from daemon.errors import DatabaseSetupFailed, TheirFault
from daemon.host.state_dir import directories_of
from daemon.offers.schema import offer_fields
from daemon.offers.store import add_offers
from daemon.pool.provision_rows import new_ip
from daemon.pool.store import add_ips
from daemon.settings.model import Settings

PROXY_PORT, CLICK_PORT, CONTROL_PORT = 7000, 8080, 8081
CLICK_HOST = "127.0.0.1"
PORTS_LOST_MAX = 20
"""How often another program may take a port between the check that it is free and the daemon's start."""
STATE_DIR_MODE = 0o711  # as root, so that the embedded server's account can enter
START_S = 60.0
STOP_S = 20.0
"""A stop waits for the clicks in flight, whose clients disconnect when the demo ends."""
POLL_S = 0.03
CONNECT_S_MAX = 5.0
LOG_LINES_SHOWN = 12
# They would give the daemon another state directory, other secrets or another supervisor than the demo's own.
FOREIGN_VARIABLES = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "STATE_DIRECTORY")

Say = Callable[[str], None]


class NoLoopbackRange(TheirFault):
    """The demo needs the addresses 127.1.0.1 to 127.1.0.15 of its own machine."""


class DaemonEnded(TheirFault):
    """The daemon ended by itself."""


@contextmanager
def private_state_dir(say: Say) -> Iterator[Path]:
    """Make a directory for everything that the demo writes; remove it at the end.

    Raises DatabaseSetupFailed, OSError.
    """
    path = Path(tempfile.mkdtemp(prefix="tracepool-demo-", dir=_enterable_directory())).resolve()
    try:
        path.chmod(STATE_DIR_MODE if os.geteuid() == 0 else 0o700)
        yield path
    finally:
        try:
            shutil.rmtree(path)
        except OSError as e:
            say(f"{path} could not be removed: {e}")


def _enterable_directory() -> str:
    """The directory for temporary files; as root, one that the embedded server's account can enter too."""
    first, account = tempfile.gettempdir(), choose_account()
    for place in (first, "/tmp", "/var/tmp"):  # noqa: S108  # mkdtemp makes a private directory in it
        with suppress(DatabaseSetupFailed, OSError):
            refuse_unless_reachable(Path(place), account)
            return place
    return first  # the start of the server then fails with the name of the directory that it cannot enter


@asynccontextmanager
async def ad_network(say: Say) -> AsyncIterator[DemoNetwork]:
    """Run the network; its proxies use PROXY_PORT or the next free port. Raises NoLoopbackRange, PortBusy."""
    _refuse_without_loopback_range()
    async with demo_network(ALL_ADDRESSES, PROXY_PORT) as network:
        if network.proxy_port != PROXY_PORT:
            say(f"port {PROXY_PORT} is busy on these addresses: the proxies take {network.proxy_port} instead")
        yield network


def _refuse_without_loopback_range() -> None:
    if sys.platform != "linux":
        raise NoLoopbackRange(
            f"tracepool demo needs Linux, where all of 127.0.0.0/8 is loopback; this is {sys.platform}"
        )
    for address in ("127.0.0.1", ALL_ADDRESSES[0], ALL_ADDRESSES[-1]):
        try:
            with listen(address, 0) as listener:  # where the interface is down, only the connect fails
                socket.create_connection(listener.getsockname(), CONNECT_S_MAX).close()
        except OSError as e:
            raise NoLoopbackRange(
                f"{NoLoopbackRange.__doc__} They do not work here ({e.strerror or e}): `ip link set lo up`, or leave "
                "the sandbox that has no loopback of its own."
            ) from e


def tracking_urls(network: DemoNetwork) -> dict[str, str]:
    """The first URL of each offer's chain, by the offer's name."""
    return {
        offer.name: network.chain_url(
            offer.redirects, offer.delay_ms, host=f"track.{offer.name}.example", landing=offer.landing
        )
        for offer in OFFERS
    }


@asynccontextmanager
async def provisioned_database(state_dir: Path, network: DemoNetwork) -> AsyncIterator[None]:
    """Run the embedded PostgreSQL of the state directory, and add the demo's IPs and offers.

    The daemon uses the same server, which stops when neither uses it any more. Raises DatabaseSetupFailed.
    """
    server = await trio.to_thread.run_sync(embedded.start, state_dir)
    try:
        async with open_database(server.url, Settings().database, connections_max=1) as database:
            await database.work(migrate, database.schema)
            ips = [
                new_ip({"ip_address": address, "ip_port": network.proxy_port, "country": country, "provider": "demo"})
                for country, addresses in ADDRESSES.items()
                for address in addresses
            ]
            await database.work(add_ips, ips, lambda _: None)
            urls = tracking_urls(network)
            rows = (
                {"offer_name": offer.name, "final_url": urls[offer.name], "target_country": offer.country}
                for offer in OFFERS
            )
            await database.work(add_offers, [offer_fields(row, allow_private=True) for row in rows], False)
        yield
    finally:
        with trio.CancelScope(shield=True):  # `stop` has a limit of its own
            await trio.to_thread.run_sync(server.stop)


@dataclass(frozen=True, slots=True)
class DaemonProcess:
    """A running daemon with its settings file and its log file."""

    process: trio.Process
    processes: int
    config: Path
    log: Path
    url: str
    dashboard_url: str

    async def ended(self) -> DaemonEnded:
        """Wait for the end of the process. The error has the last lines of the log."""
        status = await self.process.wait()
        error = DaemonEnded(f"the daemon ended with status {status}")
        self._quote_log_in(error)
        return error

    async def ready(self, ips: Mapping[str, int]) -> None:
        """Wait until the daemon is ready and has adopted so many IPs per country. Raises DaemonEnded, TheirFault."""
        with trio.move_on_after(START_S):
            async with httpx.AsyncClient(trust_env=False) as client:
                while self.process.poll() is None:
                    with suppress(httpx.HTTPError):  # it does not listen yet, or its process has ended
                        answer = await client.get(f"{self.url}/readyz")
                        if answer.status_code == httpx.codes.OK and await self._adopted(ips):
                            return
                    await trio.sleep(POLL_S)
            raise await self.ended()
        error = TheirFault(f"the daemon was not ready within {START_S:g} s")
        self._quote_log_in(error)
        raise error

    async def _adopted(self, ips: Mapping[str, int]) -> bool:
        """Whether all processes answer, and have the IPs."""
        owned: Counter[str] = Counter()
        directories = directories_of(self.config.parent)
        for directory in directories:
            try:
                status = await trio.to_thread.run_sync(control.ask_process, directory, "status")
            except TheirFault:  # the process starts
                return False
            if status is None:
                return False
            owned.update({country: counts["total"] for country, counts in status["countries"].items()})
        return len(directories) == self.processes and all(owned[country] >= count for country, count in ips.items())

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after STOP_S."""
        if self.process.poll() is None:
            self.process.terminate()
        with trio.move_on_after(STOP_S):
            await self.process.wait()
        if self.process.poll() is None:
            self.process.kill()
            await self.process.wait()

    def _quote_log_in(self, error: TheirFault) -> None:
        """Add the end of the daemon's log as a note."""
        lines = self.log.read_text(errors="replace").split("\n")[-LOG_LINES_SHOWN - 1 :]
        error.add_note("The end of its log:\n" + ("\n".join(lines).rstrip() or "(empty)"))


@asynccontextmanager
async def running_daemon(state_dir: Path, processes: int, say: Say) -> AsyncIterator[DaemonProcess]:
    """Run a ready daemon on CLICK_PORT or the next free port. Raises DaemonEnded, PortBusy, TheirFault."""
    ips = {country: len(addresses) for country, addresses in ADDRESSES.items()}
    port, control_port = CLICK_PORT, CONTROL_PORT
    for attempt in range(PORTS_LOST_MAX):
        port = free_port_for([CLICK_HOST], port)
        control_port = free_port_for([CLICK_HOST], max(port + 1, control_port))
        async with _started(state_dir, processes, port, control_port) as process:
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
async def _started(state_dir: Path, processes: int, port: int, control_port: int) -> AsyncIterator[DaemonProcess]:
    config, log = state_dir / "tracepool.toml", state_dir / "daemon.log"
    config.write_text(  # a JSON string is a TOML string too
        f"state_dir = {json.dumps(str(state_dir))}\nprocesses = {processes}\n"
        f'click.bind = ["{CLICK_HOST}:{port}"]\ncontrol.bind = "{CLICK_HOST}:{control_port}"\n'
        "trace.allow_private = true  # the demo's hosts exist on loopback only\n"
    )
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "daemon", "serve", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=Path(daemon.__file__).parents[1],  # so that `-m daemon` is this package, installed or not
            env={name: value for name, value in kept.items() if not name.startswith("TRACEPOOL_")},
            start_new_session=True,  # a terminal's Ctrl-C reaches only the demo, which then stops the daemon
        )
    child = DaemonProcess(
        process, processes, config, log, f"http://{CLICK_HOST}:{port}", f"http://{CLICK_HOST}:{control_port}/"
    )
    try:
        yield child
    finally:
        with trio.CancelScope(shield=True):
            await child.stop()
