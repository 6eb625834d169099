"""What the benchmarks measure, on loopback and as processes of their own: PostgreSQL, the demo network, the daemon.

Everything is started here, lies in one temporary directory and is stopped again, in the reverse order, however a
benchmark ends.
"""

import asyncio
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from daemon.database import cluster, embedded
from daemon.database.schema import migrate
from daemon.demo.wire import free_port_for
from tests.bench import secure_network

START_S = 90.0
STOP_S = 40.0
PROXY_PORT_FROM = 17_000
LOG_TAIL_BYTES = 3_000


class BenchmarkBroke(Exception):
    """A benchmark could not be carried out."""


@dataclass(frozen=True, slots=True)
class Network:
    """A running ad network with proxies. `log` is a file with a JSON line for each request that ended.

    `authority` is the certificate that https clients have to trust; None if the network has no https.
    """

    addresses: tuple[str, ...]
    proxy_port: int
    log: Path
    pid: int
    authority: Path | None = None

    def chain_url(self, requests: int, delay_ms: int) -> str:
        """A tracking URL of a chain of `requests` requests, the last for the landing page; https if that is served."""
        start = "http://track.example" if self.authority is None else f"https://{secure_network.HOST}"
        return f"{start}/c/{delay_ms}/{requests - 1}/0/0"


@dataclass(frozen=True, slots=True)
class Service:
    """A process that answers clicks."""

    process: psutil.Process
    port: int

    def click_url(self, offer: str) -> str:
        return f"http://127.0.0.1:{self.port}/track-hit?offer={offer}"

    def cpu_s(self) -> float:
        """User and system time so far, including child processes."""
        times = [one.cpu_times() for one in (self.process, *self.process.children(recursive=True))]
        return sum(one.user + one.system for one in times)


@dataclass(frozen=True, slots=True)
class Daemon(Service):
    """A running daemon. `ready_s`: from the start of its process until it sent READY=1.

    `parts`: its process, and with several processes the others too.
    """

    ready_s: float
    log: Path
    parts: tuple[psutil.Process, ...]

    def cpu_s(self) -> float:
        """User and system time so far, without PostgreSQL and child processes that a part runs for a page's scripts."""
        times = [part.cpu_times() for part in self.parts]
        return sum(one.user + one.system for one in times)

    def resident_mb(self) -> float:
        return sum(float(part.memory_info().rss) for part in self.parts) / 1e6


class Scene:
    """A context manager for a temporary directory and, once `database` is called, a PostgreSQL server in it.

    `peer_command` starts another service to compare with; empty for none.
    """

    def __init__(self, peer_command: str = "") -> None:
        self.peer_command = peer_command
        self._stack = ExitStack()
        self._server: embedded.EmbeddedServer | None = None
        self._made = 0

    def __enter__(self) -> "Scene":
        self.directory = Path(tempfile.mkdtemp(prefix="bench-"))
        self.directory.chmod(0o711)  # as root, the server runs under another account
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def server_log(self) -> Path:
        return self._running_server().data_dir.parent / "server.log"

    def postgres_processes(self) -> list[psutil.Process]:
        """Those of the PostgreSQL server, the postmaster first."""
        found = cluster.running(self._running_server().data_dir)
        if found is None:
            raise BenchmarkBroke("PostgreSQL does not run")
        postmaster = psutil.Process(found[0])
        return [postmaster, *postmaster.children(recursive=True)]

    def server_cpu_s(self) -> float:
        """User and system time so far of all processes of the PostgreSQL server, also of those that have ended."""
        postmaster, *children = self.postgres_processes()
        times = postmaster.cpu_times()
        total_s = times.user + times.system + times.children_user + times.children_system
        for child in children:
            with suppress(psutil.NoSuchProcess):
                total_s += sum(child.cpu_times()[:2])
        return float(total_s)

    def _running_server(self) -> embedded.EmbeddedServer:
        if self._server is None:
            self._server = embedded.start(self.directory)
            self._stack.callback(self._server.stop)
        return self._server

    def fresh_dir(self, name: str) -> Path:
        self._made += 1
        path = self.directory / f"{name}-{self._made}"
        path.mkdir(mode=0o711)
        return path

    def database(self, *, migrated: bool = True) -> str:
        """Create a database on the shared server; return its URL."""
        server = self._running_server()
        self._made += 1
        name = f"bench_{self._made}"
        execute(server.url, f"create database {name}")
        url = server.url.replace("/tracepool?", f"/{name}?")
        if url == server.url:
            raise BenchmarkBroke(f"no database name in {url}")
        if migrated:
            asyncio.run(_migrate(url))
        return url

    @contextmanager
    def network(
        self, addresses_count: int, *, secure: bool = False, module: str = "tests.fakes.network"
    ) -> Iterator[Network]:
        """Run the network with so many proxies, 250 in each subnet; `secure`: with an https origin."""
        addresses = tuple(f"127.1.{i // 250}.{i % 250 + 1}" for i in range(addresses_count))
        directory = self.fresh_dir("network")
        log, authority = directory / "requests.jsonl", directory / "authority.pem" if secure else None
        port = free_port_for(addresses, PROXY_PORT_FROM)
        module = module if authority is None else "tests.bench.secure_network"
        command = [sys.executable, "-m", module, "--proxies", ",".join(addresses)]
        command += ["--proxy-port", str(port), "--log", str(log)]
        command += [] if authority is None else ["--authority", str(authority)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                if not process.stdout.readline():
                    raise BenchmarkBroke("the ad network did not start")
                yield Network(addresses, port, log, process.pid, authority)
            finally:
                _stop(process)

    @contextmanager
    def daemon(
        self,
        url: str,
        sections: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        state_dir: Path | None = None,
        authority: Path | None = None,
        processes: int = 1,
    ) -> Iterator[Daemon]:
        """Run the daemon with a database until the block ends; yield when it is ready. `sections`: more settings.

        `authority` is a certificate that the daemon trusts instead of the system's certificates.
        """
        state_dir = state_dir or self.fresh_dir("state")
        with _free_port() as port:
            config = state_dir / "bench.toml"
            config.write_text(_toml(state_dir, url, port, sections or {}))
        log = state_dir / "daemon.log"
        notify = state_dir / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard, log.open("ab") as stderr:
            heard.bind(str(notify))
            heard.settimeout(START_S)
            environment = {k: v for k, v in os.environ.items() if not k.startswith("TRACEPOOL_")}
            environment["NOTIFY_SOCKET"] = str(notify)
            environment["TRACEPOOL_PROCESSES"] = str(processes)
            if authority is not None:
                environment["SSL_CERT_FILE"] = str(authority)
            command = [sys.executable, "-m", "daemon", "serve", "--config", str(config)]
            began_s = time.perf_counter()
            with subprocess.Popen(command, stderr=stderr, env=environment) as process:
                try:
                    _await_ready(heard, process, log)
                    ready_s = time.perf_counter() - began_s
                    parent = psutil.Process(process.pid)
                    parts = (parent, *(parent.children() if processes > 1 else ()))
                    yield Daemon(parent, port, ready_s, log, parts)
                finally:
                    _stop(process)
                    notify.unlink()

    def peer(self, environment: Mapping[str, str]) -> AbstractContextManager[Service]:
        """Run the other service; it listens on the port in PEER_PORT."""
        return self.service(shlex.split(self.peer_command), environment)

    @contextmanager
    def service(self, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Service]:
        """Run a command that listens on 127.0.0.1 at the port in PEER_PORT."""
        with _free_port() as port:
            environment = {**os.environ, **environment, "PEER_PORT": str(port)}
        with subprocess.Popen(command, env=environment) as process:
            try:
                _await_listening(port, process)
                yield Service(psutil.Process(process.pid), port)
            finally:
                _stop(process)


def execute(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def fetch(url: str, statement: str, *values: object) -> list[dict[str, Any]]:
    """The rows of one statement."""

    async def run() -> list[dict[str, Any]]:
        connection = await asyncpg.connect(url)
        try:
            return [dict(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    return asyncio.run(run())


def add_ips(url: str, network: Network, country: str = "us") -> None:
    """Add a row for each of the network's proxies."""
    values = ",".join(f"('{address}', '{network.proxy_port}', '{country}')" for address in network.addresses)
    execute(url, f"insert into ip_rotation_pool (ip_address, ip_port, country) values {values}")


def add_idle_ips(url: str, count: int, country: str = "us") -> None:
    """Add rows without proxies, to fill a pool."""
    execute(
        url,
        "insert into ip_rotation_pool (ip_address, country) "
        f"select host('127.64.0.0'::inet + i), '{country}' from generate_series(1, {count}) i",
        "analyze ip_rotation_pool",
    )


def add_offer(url: str, name: str, tracking_url: str, country: str = "us") -> None:
    execute(
        url,
        f"insert into offers (offer_name, final_url, target_country) values ('{name}', '{tracking_url}', '{country}')",
    )


def start_load(*words: str) -> "subprocess.Popen[str]":
    """Start the load generator in a separate process, so that its work does not delay its measurements."""
    return subprocess.Popen([sys.executable, "-m", "tests.bench.load", *words], stdout=subprocess.PIPE, text=True)


def loaded(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Wait for a load generator; return its figures."""
    out, _ = process.communicate()
    if process.returncode:
        raise BenchmarkBroke(f"the load generator ended with {process.returncode}")
    found: dict[str, Any] = json.loads(out)
    return found


async def _migrate(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await migrate(connection)
    finally:
        await connection.close()


def _toml(state_dir: Path, url: str, port: int, sections: Mapping[str, Mapping[str, Any]]) -> str:
    values: dict[str, dict[str, Any]] = {
        "database": {"url": url},
        "click": {"bind": [f"127.0.0.1:{port}"]},
        "control": {"bind": "127.0.0.1:0"},
        "trace": {"allow_private": True},
    }
    for section, given in sections.items():
        values.setdefault(section, {}).update(given)
    lines = [f"state_dir = {json.dumps(str(state_dir))}"]
    for section, keys in values.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


@contextmanager
def _free_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def _await_ready(heard: socket.socket, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends_s = time.perf_counter() + START_S
    heard.settimeout(0.2)
    while time.perf_counter() < ends_s:
        try:
            if b"READY=1" in heard.recv(4_096):
                return
        except TimeoutError:
            if process.poll() is not None:
                break
    raise BenchmarkBroke(f"the daemon did not become ready; its log ends with\n{log.read_text()[-LOG_TAIL_BYTES:]}")


def _await_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    ends_s = time.perf_counter() + START_S
    while time.perf_counter() < ends_s and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.1)
    raise BenchmarkBroke(f"the peer does not listen on port {port}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def seconds(values: Sequence[float]) -> float:
    """From the first to the last."""
    return max(values) - min(values)
