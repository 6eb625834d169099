"""tracepool as a process, as operators run it: daemons and other commands, their logs, their database, and clicks."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import trio

from daemon.control import socket as control
from daemon.database import embedded
from daemon.database.binaries import psql_path
from daemon.database.embedded import running_url
from daemon.trace.engine.process import CHILD
from tests.fakes.network import FakeNetwork, fake_network
from tests.fakes.wire import free_port
from tests.support.forked import Forked, fork
from tests.support.waiting import PATIENCE_S, POLL_S, until

REPOSITORY = Path(__file__).parents[2]
ADOPTED_S = 5.0
"""Operators are promised one second; this allows for a slow machine and is below any polling interval."""
HAND_OVER = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execvpe(sys.argv[2], sys.argv[2:], os.environ | {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
"""
CANARY = "c4n4ry-of-every-run"
"""A password in the environment of every daemon and command; no log may contain it."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment, without variables that lead commands to the tester's own daemon."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TRACEPOOL_")}
    for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID"):
        ours.pop(name, None)
    return ours | {"TRACEPOOL_PROVIDERS__CANARY__PASSWORD": CANARY} | more


async def start_command(
    arguments: Sequence[str],
    output: Path,
    errors: Path,
    passed: socket.socket | None = None,
    fresh: bool = False,
    /,
    **env: str,
) -> trio.Process | Forked:
    """Start `tracepool ARGUMENTS` with its output in files, and with a socket passed as by systemd.

    `fresh`: in a new interpreter, as with a passed socket; else by a fork, which is quicker.
    """
    if passed is None and not fresh:
        words = "daemon", arguments, REPOSITORY, environment(**env), output, errors
        return await trio.to_thread.run_sync(fork, *words)
    command = [sys.executable, "-m", "daemon", *arguments]
    if passed is not None:
        command = [sys.executable, "-c", HAND_OVER, str(passed.fileno()), *command]
    with output.open("ab") as out, errors.open("ab") as err:
        return await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=() if passed is None else (passed.fileno(),),
            stdout=out,
            stderr=err,
            cwd=REPOSITORY,
            env=environment(**env),
            start_new_session=True,
        )


async def run_command(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `tracepool ARGUMENTS` to its end."""
    return await trio.to_thread.run_sync(partial(run_forked, arguments, environment(**env)))


def run_forked(arguments: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `tracepool ARGUMENTS` to its end. In a thread."""
    with tempfile.TemporaryDirectory(prefix="tracepool-command-") as directory:
        output, errors = Path(directory, "out"), Path(directory, "err")
        process = fork("daemon", arguments, REPOSITORY, env, output, errors)
        status = process.wait_in_thread(PATIENCE_S)
        if status is None:
            process.kill()
            raise subprocess.TimeoutExpired(["tracepool", *arguments], PATIENCE_S)
        return subprocess.CompletedProcess(list(arguments), status, output.read_text(), errors.read_text())


async def end_of(process: trio.Process | Forked, patience_s: float = PATIENCE_S) -> int:
    with trio.move_on_after(patience_s):
        return await process.wait()
    pytest.fail(f"process {process.pid} did not end within {patience_s:g} s")


def processes_in(directory: Path) -> list[str]:
    """The command lines of all processes that contain the directory."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(directory) in word for word in words):
            found.append(" ".join(words))
    return found


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: another process has to wait for it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def engines_of(pid: int, module: str = CHILD) -> list[psutil.Process]:
    """The engines below a process, each followed by the process of its next page."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if is_alive(process) and module in process.cmdline():
                found.append(process)
    return found


@dataclass(frozen=True, slots=True)
class Serving:
    """A `tracepool serve` process."""

    process: trio.Process | Forked
    state_dir: Path
    port: int
    log_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def control_url(self) -> str:
        return f"http://{self.log('starting')[0]['listening'][-1]}"

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log's lines so far, or those of one event."""
        lines = []
        for text in self.log_file.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                line = {"event": "not JSON", "level": "error", "text": text}
            lines.append(line)
        return [line for line in lines if event is None or line["event"] == event]

    def faults(self) -> list[dict[str, Any]]:
        """The lines logged as errors."""
        return [line for line in self.log() if line["level"] in ("error", "critical")]

    async def logged(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        def enough() -> list[dict[str, Any]]:
            lines = self.log(event)
            return lines if len(lines) >= count else []

        return list(await until(enough, f"{count} lines {event!r} in its log"))

    async def ready(self) -> None:
        with trio.move_on_after(PATIENCE_S):
            while self.process.poll() is None:
                if self.log("ready"):
                    return
                await trio.sleep(POLL_S)
        pytest.fail(f"it is not ready; its status is {self.process.poll()}:\n{self.log_file.read_text()}")

    def status(self) -> dict[str, Any]:
        answer = control.ask(self.state_dir, "status")
        assert answer is not None, "no daemon answers"
        return answer

    def counts(self, country: str) -> dict[str, Any]:
        return dict(self.status()["countries"].get(country, {"total": 0}))

    async def psql(self, statement: str) -> list[list[str]]:
        """The rows of a statement, by the real psql. Fails if psql does."""
        url = await trio.to_thread.run_sync(running_url, self.state_dir)
        assert url is not None, "no database runs"
        return await psql(url, statement)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await end_of(self.process)


async def psql(url: str, statement: str) -> list[list[str]]:
    command = [str(psql_path()), "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", url, "-c", statement]
    run = partial(subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    done = await trio.to_thread.run_sync(run)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


@asynccontextmanager
async def serving(
    state_dir: Path,
    settings: Mapping[str, Mapping[str, object]] | None = None,
    passed: socket.socket | None = None,
    fresh: bool = False,
    /,
    *,
    ready: bool = True,
    **env: str,
) -> AsyncIterator[Serving]:
    """Run a daemon with these settings, by section, on a free port; kill it at the end of the block if it still runs.

    `passed`: a listening socket of 127.0.0.1, passed to the daemon as by systemd, instead of the free port. `fresh`:
    see start_command.
    """
    port = free_port() if passed is None else passed.getsockname()[1]
    sections = {section: dict(values) for section, values in (settings or {}).items()}
    sections["click"] = {"bind": [f"127.0.0.1:{port}"], "repeat_s": 0, **sections.get("click", {})}
    sections["control"] = {"bind": "127.0.0.1:0", **sections.get("control", {})}
    config, log = state_dir / "settings.toml", state_dir / f"serve-{time.monotonic_ns()}.log"
    config.write_text(as_toml(state_dir, sections))
    process = await start_command(["serve", "--config", str(config)], log, log, passed, fresh, **env)
    daemon = Serving(process, state_dir, port, log)
    try:
        if ready:
            await daemon.ready()
        yield daemon
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()
    assert CANARY not in log.read_text()


def as_toml(state_dir: Path, sections: Mapping[str, Mapping[str, object]]) -> str:
    """Settings as TOML: strings, numbers, booleans and lists of them are the same in JSON and TOML."""
    lines = [f"state_dir = {json.dumps(str(state_dir))}"]
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def database_of(state_dir: Path) -> AsyncIterator[str]:
    """Run the embedded database of a daemon that has stopped; yield its URL."""
    server = await trio.to_thread.run_sync(embedded.start, state_dir)
    try:
        yield server.url
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(server.stop)


@asynccontextmanager
async def network_of(addresses: Sequence[str]) -> AsyncIterator[FakeNetwork]:
    async with fake_network(addresses, proxy_port=free_port(*addresses)) as network:
        yield network


async def provision(daemon: Serving, network: FakeNetwork, addresses: Collection[str], country: str = "us") -> None:
    """Add the addresses as IPs of the country, and wait until they are adopted."""
    rows = ", ".join(f"('{address}', '{network.proxy_port}', '{country}')" for address in addresses)
    await daemon.psql(f"INSERT INTO ip_rotation_pool (ip_address, ip_port, country) VALUES {rows}")
    await until(lambda: daemon.counts(country)["total"] >= len(addresses), "the IPs are adopted", ADOPTED_S)


async def offer(daemon: Serving, name: str, url: str, country: str = "us") -> None:
    """Add an offer, and wait until it is adopted."""
    adopted = len(daemon.log("offers_adopted"))
    await daemon.psql(
        f"INSERT INTO offers (offer_name, final_url, target_country) VALUES ('{name}', '{url}', '{country}')"
    )
    await until(lambda: len(daemon.log("offers_adopted")) > adopted, "the offer is adopted", ADOPTED_S)


@dataclass(frozen=True, slots=True)
class Clicked:
    """A click and its answer; `status` is None if there was none. Times are readings of CLOCK_MONOTONIC.

    `sent_s`: when the kernel had the whole request; infinite if that never came.
    """

    sent_s: float
    answered_s: float
    status: int | None
    location: str | None
    request_id: str | None

    @property
    def redirected(self) -> bool:
        return self.status == 302 and self.location is not None


async def click(daemon: Serving, offer_name: str, gclid: str = "g") -> Clicked:
    """Send one click on a new connection."""
    sent_s = math.inf

    async def note(event: str, _: Mapping[str, Any]) -> None:
        nonlocal sent_s
        if event == "http11.send_request_body.complete":
            sent_s = time.monotonic()

    async with httpx.AsyncClient(trust_env=False, timeout=90.0, verify=False) as visitor:
        try:
            answer = await visitor.get(
                f"{daemon.url}/track-hit", params={"offer": offer_name, "gclid": gclid}, extensions={"trace": note}
            )
        except httpx.TransportError:
            return Clicked(sent_s, time.monotonic(), None, None, None)
    return Clicked(
        sent_s, time.monotonic(), answer.status_code, answer.headers.get("location"), answer.headers.get("x-request-id")
    )


def control_request(
    daemon: Serving, path: str = "/api/status", token: str | None = None, **request: Any
) -> httpx.Response:
    """Send one request to the control face of a daemon."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    method = request.pop("method", "GET")
    return httpx.request(method, f"{daemon.control_url}{path}", headers=headers, trust_env=False, timeout=20, **request)
