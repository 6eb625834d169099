"""The processes of a fault test: daemon, PostgreSQL and ad network, in one directory that is kept as evidence."""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from daemon.control import socket as control
from daemon.database import cluster, embedded
from tests.fakes.relay import Relay
from tests.fakes.wire import free_port
from tests.faults.records import Down
from tests.faults.visitors import CLICKS_PER_S, Visitors
from tests.support import waiting
from tests.support.exchange import exchange
from tests.support.forked import Forked, fork
from tests.support.processes import REPOSITORY, as_toml, environment
from tests.support.servers import Postgres, SceneBroke, furnished
from tests.support.state_dirs import drop_server, put_cluster

# Half as many IPs as the clicks ask for, so that each IP is leased again as soon as it has rested.
IPS = 8
COOLDOWN_S = 1.0
DEADLINE_S = 3.0
LOCK_S = 5.0
SERVING_WAIT_S = 60.0
POLL_S = 0.02
# Chains of two redirects and a page, 0.3 and 0.75 s long, so that a fault meets clicks in every state.
OFFERS = {"quick": 100, "slow": 250}
HOPS = 2
NETWORK_LOG = "network.jsonl"


@dataclass(slots=True)
class Scene:
    """A daemon and its surroundings. `url`: the setting database.url; None means the embedded PostgreSQL.

    `addresses`, `proxy_port`: the IPs. `faulty`: arguments for faulty.py, which then runs the daemon. `beside`: further
    daemons on the same database, each in its own directory. `relay`: between the daemon and PostgreSQL; `to_replica`:
    between PostgreSQL and its replica. `downs`: when the daemon was down. `clock_shift_s`: by which the daemon's wall
    clock is wrong. `served_s`, `first_served_s`: the last and the first time when the daemon began to serve. `code`:
    the checkout that it runs.
    """

    directory: Path
    postgres: Postgres
    visitors: Visitors
    url: str | None
    faulty: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    downs: list[Down] = field(default_factory=list)
    process: trio.Process | Forked | None = None
    beside: list["Scene"] = field(default_factory=list)
    relay: Relay | None = None
    to_replica: Relay | None = None
    addresses: Sequence[str] = ()
    proxy_port: int = 0
    clock_shift_s: float = 0.0
    served_s: float = 0.0
    first_served_s: float = 0.0
    code: Path = REPOSITORY
    network_log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.network_log = self.directory / NETWORK_LOG

    @property
    def daemons(self) -> tuple["Scene", ...]:
        return (self, *self.beside)

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def config(self) -> Path:
        return self.directory / "settings.toml"

    def write_settings(self, more: Mapping[str, Mapping[str, object]] | None = None) -> None:
        sections: dict[str, dict[str, object]] = {
            "click": {"bind": [f"127.0.0.1:{self.visitors.port}"], "deadline_s": DEADLINE_S},
            "control": {"bind": "127.0.0.1:0"},
            "pool": {"lock_s": LOCK_S, "cooldown_s": COOLDOWN_S},
            "trace": {"allow_private": True, "timeout_s": LOCK_S - 1, "hop_timeout_s": LOCK_S - 1},
        }
        if self.url is not None:
            sections["database"] = {"url": self.url}
        for given in (self.settings, more or {}):
            for section, values in given.items():
                sections.setdefault(section, {}).update(values)
        self.config.write_text(as_toml(self.state_dir, sections))

    async def spawn(self) -> None:
        """Start the daemon's process, without waiting until it serves."""
        module, words = ("tests.faults.faulty", [*self.faulty, "--"]) if self.faulty else ("daemon", [])
        arguments = [*words, "serve", "--config", str(self.config)]
        path, env = self.directory / "daemon.log", environment(PYTHONPATH=str(self.code))
        if self.code == REPOSITORY:
            self.process = await trio.to_thread.run_sync(fork, module, arguments, self.code, env, path, path)
            return
        with path.open("ab") as log:
            self.process = await trio.lowlevel.open_process(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.code,
                env=env,
                start_new_session=True,
            )

    async def serving(self) -> None:
        """Wait until the daemon is ready. Raises SceneBroke if it ends or is not ready within SERVING_WAIT_S."""
        assert self.process is not None
        with trio.move_on_after(SERVING_WAIT_S):
            while self.process.poll() is None:
                try:
                    answer = await exchange(self.visitors.port, "/readyz")
                except OSError:
                    answer = None
                if answer is not None and answer[0] == 200:
                    return
                await trio.sleep(POLL_S)
            raise SceneBroke(f"the daemon ended with {self.process.returncode} instead of serving: see daemon.log")
        raise SceneBroke(f"the daemon does not serve after {SERVING_WAIT_S:g} s: see daemon.log")

    def assert_alive(self) -> None:
        """Raise SceneBroke if the daemon's process has ended by itself."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise SceneBroke(f"the daemon ended with {self.process.returncode}: see daemon.log")

    async def end(self, number: signal.Signals, patience_s: float) -> tuple[int, Down]:
        """Signal the daemon and wait for its end. Returns its exit status and a Down that is still open."""
        assert self.process is not None
        began_s, wall_s = time.monotonic(), time.time() + self.clock_shift_s
        self.process.send_signal(number)
        with trio.move_on_after(patience_s):
            status = await self.process.wait()
            killed = number == signal.SIGKILL
            down = Down(began_s, time.monotonic(), float("inf"), wall_s, killed, self.visitors.port)
            self.downs.append(down)
            return status, down
        raise SceneBroke(f"the daemon still runs {patience_s:g} s after {number.name}: see daemon.log")

    def up(self) -> None:
        """Close every open Down: the daemon serves again."""
        now_s = self.served_s = time.monotonic()
        self.first_served_s = self.first_served_s or now_s
        for at, down in enumerate(self.downs):
            if down.ended_s == float("inf"):
                self.downs[at] = replace(down, ended_s=now_s)

    async def restart(self) -> float:
        """Start the daemon. Returns the seconds until it served."""
        began_s = time.monotonic()
        await self.spawn()
        await self.serving()
        self.up()
        return time.monotonic() - began_s

    def log(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event in the daemon's log."""
        found: list[dict[str, Any]] = []
        if self.process is None:
            return found
        with (self.directory / "daemon.log").open("rb") as lines:
            for line in lines:
                if event.encode() in line and line.startswith(b"{"):
                    parsed = json.loads(line)
                    if parsed["event"] == event:
                        found.append(parsed)
        return found

    async def logged(self, event: str, count: int, patience_s: float = 10.0) -> None:
        await until(lambda: len(self.log(event)) >= count, f"{count} lines {event!r} in its log", patience_s)

    async def status(self) -> dict[str, Any]:
        """The status that the daemon returns at its control socket."""
        answer = await trio.to_thread.run_sync(control.ask, self.state_dir, "status")
        if answer is None:
            raise SceneBroke("no daemon answers at the control socket")
        return answer

    def postgres_answers(self) -> bool:
        return embedded.running_url(self.postgres.directory) is not None

    async def sql(self, statement: str) -> list[dict[str, Any]]:
        return await trio.to_thread.run_sync(self.postgres.sql, statement)

    async def run_sql(self, script: str) -> None:
        """Run statements that return no rows, in one transaction."""
        await trio.to_thread.run_sync(self.postgres.run, script)


until = partial(waiting.until, failure=SceneBroke)
"""As `waiting.until`, but raises SceneBroke if the condition never becomes true."""

Equip = Callable[[Scene], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def unequipped(_: Scene) -> AsyncIterator[None]:
    yield


def undressed(_: Path) -> AbstractContextManager[None]:
    return nullcontext()


@asynccontextmanager
async def staged(
    rng: random.Random,
    *,
    own_postgres: bool = True,
    ips: int = IPS,
    faulty: Sequence[str] = (),
    settings: Mapping[str, Mapping[str, object]] | None = None,
    dress: Callable[[Path], AbstractContextManager[None]] = undressed,
    equip: Equip = unequipped,
    clicks_per_s: float = CLICKS_PER_S,
) -> AsyncIterator[Scene]:
    """Run a scene whose processes serve and whose visitors send clicks. The caller removes its directory.

    `own_postgres`: database.url is a server of the scene; else the daemon uses its embedded server. `dress` is entered
    with the daemon's empty state directory; `equip` with the scene, when PostgreSQL has its rows and before the daemon
    starts.
    """
    directory = await trio.to_thread.run_sync(_new_directory)
    with dress(directory / "state"):
        words = tuple(word.format(directory=directory) for word in faulty)
        scene = Scene(
            directory,
            Postgres(directory / ("postgres" if own_postgres else "state")),
            Visitors(free_port(), tuple(OFFERS), random.Random(rng.random()), clicks_per_s=clicks_per_s),
            None,
            words,
            settings or {},
        )
        async with _up(scene, own_postgres, ips, equip):
            yield scene


@asynccontextmanager
async def _up(scene: Scene, own_postgres: bool, ips: int, equip: Equip) -> AsyncIterator[None]:
    addresses = [f"127.3.0.{number}" for number in range(1, ips + 1)]
    proxy_port = free_port(*addresses)
    scene.addresses, scene.proxy_port = addresses, proxy_port
    postgres = scene.postgres
    await trio.to_thread.run_sync(postgres.start)
    network = await _network(scene.directory, addresses, proxy_port)
    if own_postgres:
        scene.url = postgres.server.url
    try:
        offers = {name: f"http://track.example/c/{ms}/{HOPS}/0/0" for name, ms in OFFERS.items()}
        await trio.to_thread.run_sync(furnished, postgres.server.url, addresses, proxy_port, offers)
        async with equip(scene):
            scene.write_settings()
            await scene.restart()
            if not own_postgres:
                await trio.to_thread.run_sync(postgres.let_go)  # the daemon holds it now
            async with trio.open_nursery() as nursery:
                nursery.start_soon(scene.visitors.run)
                yield
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            running = [daemon.process for daemon in scene.daemons if daemon.process and daemon.process.poll() is None]
            for process in (network, *running):
                process.kill()
            await trio.to_thread.run_sync(_take_down, scene)
            for process in (network, *running):
                await process.wait()


def _take_down(scene: Scene) -> None:
    """Stop PostgreSQL, whether it is frozen, killed, half started, or left behind by a killed daemon."""
    data = scene.postgres.server.data_dir
    if cluster.running(data) is not None:
        scene.postgres.thaw()
    drop_server(data)
    scene.postgres.let_go()


def _new_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="tracepool-faults-", dir="/tmp"))
    for path in (directory, directory / "state", directory / "postgres"):
        path.mkdir(exist_ok=True)
        path.chmod(0o711)  # as root, the server runs under another account
    put_cluster(directory / "postgres")
    return directory


async def _network(directory: Path, addresses: Sequence[str], proxy_port: int) -> trio.Process:
    words = ["--proxies", f"{addresses[0]}-{addresses[-1]}", "--proxy-port", str(proxy_port)]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.fakes.network", *words, "--log", str(directory / NETWORK_LOG)],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        start_new_session=True,
    )
    assert process.stdout is not None
    if not await process.stdout.receive_some():
        raise SceneBroke("the network did not start")
    return process
