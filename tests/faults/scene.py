"""What is broken: the daemon, PostgreSQL and the ad network as processes, in one directory that is kept as evidence."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from daemon.control import socket as control
from daemon.database import cluster, embedded
from tests.acceptance.processes import REPOSITORY, as_toml, environment
from tests.fakes.wire import free_port
from tests.faults.records import Down
from tests.faults.servers import Postgres, SceneBroke, furnished
from tests.faults.visitors import Visitors, exchange

IPS = 120
COOLDOWN_S = 1.0
DEADLINE_S = 5.0
LOCK_S = 5.0
SERVING_WAIT_S = 60.0
POLL_S = 0.02
# Chains of two redirects and a page, 0.3 and 0.75 s long: what is broken finds clicks in every state.
OFFERS = {"quick": 100, "slow": 250}
HOPS = 2


@dataclass(slots=True)
class Scene:
    """`faulty`: arguments for faulty.py, which the daemon is started by instead of `tracepool serve`."""

    directory: Path
    postgres: Postgres
    visitors: Visitors
    url: str | None
    faulty: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    downs: list[Down] = field(default_factory=list)
    process: trio.Process | None = None

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
        """The daemon's process; it may take a while to serve."""
        words = ["-m", "tests.faults.faulty", *self.faulty, "--"] if self.faulty else ["-m", "daemon"]
        with (self.directory / "daemon.log").open("ab") as log:
            self.process = await trio.lowlevel.open_process(
                [sys.executable, *words, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env=environment(),
                start_new_session=True,
            )

    async def serving(self) -> None:
        """Returns once it answers clicks. Raises SceneBroke when it ends instead, or takes SERVING_WAIT_S."""
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

    async def end(self, number: signal.Signals, patience_s: float) -> tuple[int, Down]:
        """Signals the daemon and waits for its end. Gives its status and a Down that is still open."""
        assert self.process is not None
        began_s, wall_s = time.monotonic(), time.time()
        self.process.send_signal(number)
        with trio.move_on_after(patience_s):
            status = await self.process.wait()
            down = Down(began_s, time.monotonic(), float("inf"), wall_s, number == signal.SIGKILL)
            self.downs.append(down)
            return status, down
        raise SceneBroke(f"the daemon still runs {patience_s:g} s after {number.name}: see daemon.log")

    def up(self) -> None:
        """It serves again: every Down that is open ends now."""
        now_s = time.monotonic()
        for at, down in enumerate(self.downs):
            if down.ended_s == float("inf"):
                self.downs[at] = Down(down.began_s, down.gone_s, now_s, down.wall_s, down.killed)

    async def restart(self) -> float:
        """Starts the daemon; gives the seconds until it served."""
        began_s = time.monotonic()
        await self.spawn()
        await self.serving()
        self.up()
        return time.monotonic() - began_s

    def log(self, event: str) -> list[dict[str, Any]]:
        """The daemon's lines of one event so far."""
        found = []
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
        """What the control socket says."""
        answer = await trio.to_thread.run_sync(control.ask, self.state_dir, "status")
        if answer is None:
            raise SceneBroke("no daemon answers at the control socket")
        return answer

    def postgres_answers(self) -> bool:
        return embedded.running_url(self.postgres.directory) is not None

    async def sql(self, statement: str) -> list[dict[str, Any]]:
        return await trio.to_thread.run_sync(self.postgres.sql, statement)


async def until(holds: Callable[[], Any], what: str, patience_s: float) -> None:
    """Polls in a thread. Raises SceneBroke when it did not happen."""
    with trio.move_on_after(patience_s):
        while True:
            if await trio.to_thread.run_sync(holds):
                return
            await trio.sleep(POLL_S)
    raise SceneBroke(f"within {patience_s:g} s this did not happen: {what}")


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
) -> AsyncIterator[Scene]:
    """A scene with everything up and visitors coming. Its directory stays: whoever staged it removes it.

    `own_postgres`: a server of the scene, at database.url; else the daemon's embedded one. `dress` is entered with the
    daemon's state directory before anything is in it.
    """
    directory = _new_directory()
    with dress(directory / "state"):
        async with _staged_in(directory, rng, own_postgres, ips, faulty, settings or {}) as scene:
            yield scene


@asynccontextmanager
async def _staged_in(
    directory: Path,
    rng: random.Random,
    own_postgres: bool,
    ips: int,
    faulty: Sequence[str],
    settings: Mapping[str, Mapping[str, object]],
) -> AsyncIterator[Scene]:
    addresses = [f"127.3.0.{number}" for number in range(1, ips + 1)]
    proxy_port = free_port(*addresses)
    postgres = Postgres(directory / ("postgres" if own_postgres else "state"))
    await trio.to_thread.run_sync(postgres.start)
    network = await _network(directory, addresses, proxy_port)
    visitors = Visitors(free_port(), tuple(OFFERS), random.Random(rng.random()))
    url = postgres.server.url if own_postgres else None
    scene = Scene(directory, postgres, visitors, url, tuple(w.format(directory=directory) for w in faulty), settings)
    try:
        offers = {name: f"http://track.example/c/{ms}/{HOPS}/0/0" for name, ms in OFFERS.items()}
        await trio.to_thread.run_sync(furnished, postgres.server.url, addresses, proxy_port, offers)
        scene.write_settings()
        await scene.restart()
        if not own_postgres:
            await trio.to_thread.run_sync(postgres.let_go)  # the daemon holds it now
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visitors.run)
            yield scene
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_take_down, scene, network)
            await network.wait()
            if scene.process is not None:
                await scene.process.wait()


def _take_down(scene: Scene, network: trio.Process) -> None:
    """However the scene stands: frozen, killed, half started."""
    if scene.process is not None and scene.process.poll() is None:
        scene.process.kill()
    network.terminate()
    data = scene.postgres.server.data_dir
    if cluster.running(data) is not None:
        scene.postgres.thaw()
        scene.postgres.let_go()
    if (found := cluster.running(data)) is not None:  # the daemon's embedded one, which it was killed over
        os.kill(found[0], signal.SIGINT)
        cluster.wait(lambda: not cluster.is_server_of(found[0], data), 30.0, "PostgreSQL did not stop")


def _new_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="tracepool-faults-", dir="/tmp"))
    for path in (directory, directory / "state", directory / "postgres"):
        path.mkdir(exist_ok=True)
        path.chmod(0o711)  # as root, the server runs under another account
    return directory


async def _network(directory: Path, addresses: Sequence[str], proxy_port: int) -> trio.Process:
    words = ["--proxies", f"{addresses[0]}-{addresses[-1]}", "--proxy-port", str(proxy_port)]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "daemon.demo.network", *words, "--log", str(directory / "network.jsonl")],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        start_new_session=True,
    )
    assert process.stdout is not None
    if not await process.stdout.receive_some():
        raise SceneBroke("the network did not start")
    return process
