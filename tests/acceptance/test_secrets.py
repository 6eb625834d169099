"""No password of any source appears in a log, traceback, answer, row, file or process list."""

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import trio

from daemon.database import embedded
from tests.fakes.network import Failure
from tests.fakes.wire import free_port
from tests.support.exchange import exchange
from tests.support.processes import (
    REPOSITORY,
    Serving,
    as_toml,
    click,
    environment,
    network_of,
    offer,
    psql,
    run_command,
    serving,
)
from tests.support.state_dirs import open_state_dir
from tests.support.waiting import until

CANARY = "c4n4ry"
"""In every password, and nowhere else."""
DATABASE = f"{CANARY}-db:p@ss/w%rd"
PROVIDER = f"{CANARY}-luna:\"'\\&é?#"
OTHER = f"{CANARY}-environment-word"
ADDRESSES = tuple(f"127.2.3.{number}" for number in range(1, 5))
TABLES = "select table_name from information_schema.tables where table_schema = 'public'"
CRASHING = """
import sys
from daemon.__main__ import main
from daemon.trace import local

def proxy_of(settings, leased):
    password = settings.providers[leased.provider].password.get_secret_value()
    raise ValueError(f"cannot use {password} or {password!r} for {leased.address}")

local.proxy_of = proxy_of
sys.exit(main(sys.argv[1:]))
"""
CRASHES = 6
WRONG: dict[str, dict[str, str]] = {
    "no address": {"TRACEPOOL_DATABASE__URL": CANARY},
    "a section that is a word": {"TRACEPOOL_DATABASE": CANARY},
    "a key that is not there": {"TRACEPOOL_DATABASE__PASSWORD": CANARY},
    "broken JSON": {"TRACEPOOL_PROVIDERS": f'{{"luna": {{"password": "{CANARY}"'},
    "a provider that is a word": {"TRACEPOOL_PROVIDERS": f'{{"luna": "{CANARY}"}}'},
    "a password with keys": {"TRACEPOOL_PROVIDERS__LUNA__PASSWORD__X": CANARY},
    "a port that is none": {"TRACEPOOL_DATABASE__URL": f"postgresql://u:{CANARY}@127.0.0.1:x/y"},
    "a bracket too few": {"TRACEPOOL_DATABASE__URL": f"postgresql://u:{CANARY}@[::1/y"},
    "an at sign too many": {"TRACEPOOL_DATABASE__URL": f"postgresql://u:at@{CANARY}@127.0.0.1:1/y"},
    "a slash too many": {"TRACEPOOL_DATABASE__URL": f"postgresql://u:or/{CANARY}@127.0.0.1:1/y"},
    "a colon too many": {"TRACEPOOL_DATABASE__URL": f"postgresql://u:one:{CANARY}@127.0.0.1:1/y"},
    "nobody there": {"TRACEPOOL_DATABASE__URL": f"postgresql://u:{CANARY}@127.0.0.1:1/y"},
    "a parameter": {"TRACEPOOL_DATABASE__URL": f"postgresql://u@127.0.0.1:1/y?password={CANARY}&sslmode=z"},
}


@pytest.fixture
def postgres() -> Iterator[str]:
    """A PostgreSQL server that accepts any password."""
    with open_state_dir() as directory:
        server = embedded.start(directory)
        try:
            yield server.url
        finally:
            server.stop()


def with_password(url: str, password: str) -> str:
    return f"{url}&password={quote(password, safe='')}"


def credentials_in(directory: Path, database_url: str) -> str:
    """A directory with credentials, as systemd makes it for $CREDENTIALS_DIRECTORY."""
    directory.mkdir(mode=0o700)
    (directory / "tracepool_database__url").write_text(database_url + "\n")
    (directory / "tracepool_providers__luna__password").write_text(PROVIDER)
    return str(directory)


def uncovered(text: str) -> list[str]:
    return [line for line in text.splitlines() if CANARY in line]


@asynccontextmanager
async def watched_processes() -> AsyncIterator[list[str]]:
    """Collect the command lines of processes that have a password in them while the block runs."""
    named: list[str] = []

    def look() -> None:
        for process in psutil.process_iter(["cmdline"]):
            named.extend(word for word in process.info["cmdline"] or [] if CANARY in word)

    async def watch() -> None:
        while True:
            await trio.to_thread.run_sync(look)
            await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield named
        nursery.cancel_scope.cancel()


def asked(state_dir: Path, line: bytes) -> str:
    """The control socket's answer, as bytes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(state_dir / "control.sock"))
        client.sendall(line + b"\n")
        return b"".join(iter(lambda: client.recv(65_536), b"")).decode()


async def test_a_password_appears_nowhere_that_a_daemon_and_its_commands_write(
    state_dir: Path, tmp_path: Path, postgres: str
) -> None:
    secret: dict[str, str] = {
        "CREDENTIALS_DIRECTORY": credentials_in(tmp_path / "credentials", with_password(postgres, DATABASE)),
        "TRACEPOOL_PROVIDERS__SOAX__PASSWORD": OTHER,
    }
    settings: dict[str, dict[str, object]] = {
        "log": {"level": "debug"},
        "trace": {"allow_private": True, "hop_timeout_s": 1},
        "pool": {"cooldown_s": 0},
        "providers.luna": {"username": "customer"},
        "providers.soax": {"username": "customer"},
    }
    said: list[str] = []

    async def run(*words: str) -> None:
        done = await run_command(*words, **secret)
        said.extend((done.stdout, done.stderr))

    async with (
        network_of(ADDRESSES) as network,
        watched_processes() as named,
        serving(state_dir, settings, ready=True, **secret) as daemon,
    ):
        config = ("--config", str(state_dir / "settings.toml"))
        rows = ", ".join(f"('{address}', '{network.proxy_port}', 'us')" for address in ADDRESSES)
        await psql(postgres, f"INSERT INTO ip_rotation_pool (ip_address, ip_port, country) VALUES {rows}")
        await psql(
            postgres, f"INSERT INTO offers (offer_name, final_url) VALUES ('sale', '{network.chain_url(2, 10)}')"
        )
        await until(lambda: any(line["active"] for line in daemon.log("offers_adopted")), "the offer is adopted")
        await until(lambda: daemon.counts("us")["total"] == len(ADDRESSES), "the IPs are adopted")
        assert (await click(daemon, "sale")).redirected
        failures: tuple[Failure, ...] = (407, 502, "refuse")
        for failure in failures:
            for address in ADDRESSES:
                network.fail(address, failure)
            assert (await click(daemon, "sale")).redirected
        for target in (
            "/track-hit",
            "/track-hit?offer=none",
            "/nowhere",
            "/track-hit?offer=a&offer=b",
            "ads.example:80",
        ):
            said.append(str(await exchange(daemon.port, target)))
        said += [asked(state_dir, json.dumps({"command": word}).encode()) for word in ("status", "maintenance", "x")]
        async with trio.open_nursery() as commands:
            for words in (
                ("status", "--json"),
                ("offers", "show", "sale"),
                ("offers", "add", "sale", "http://ads.example/"),
                ("provision", "list"),
                ("psql", "-c", "select pg_sleep(0.3), * from offers"),
                ("psql", "-c", "no such statement"),
            ):
                commands.start_soon(run, *words[:1], *config, *words[1:])
        for [table] in await psql(postgres, TABLES):
            said += ["".join(row) for row in await psql(postgres, f'select t::text from "{table}" t')]
        assert await daemon.stop() == 0
        assert daemon.log("trace")[0]["status"] == "completed"
        assert daemon.log("starting")[0]["settings"]["log.level"] == "debug"
        assert uncovered(daemon.log_file.read_text()) == []
    assert uncovered("\n".join(said)) == []
    assert named == []
    assert files_with_a_password(state_dir) == []
    assert "customer" in daemon.log_file.read_text(), "the log has the user name, which is no secret"


def files_with_a_password(directory: Path) -> list[str]:
    """The files that have a password in them, of all files in the state directory."""
    files = [file for file in directory.rglob("*") if file.is_file()]
    assert any(file.name == "journal.sqlite" for file in files)
    return [file.name for file in files if CANARY.encode() in file.read_bytes()]


async def test_a_crash_is_logged_with_its_cause_and_without_the_password(state_dir: Path, tmp_path: Path) -> None:
    program, log, config = tmp_path / "crashing.py", tmp_path / "crash.log", tmp_path / "settings.toml"
    program.write_text(CRASHING)
    port = free_port()
    sections: dict[str, dict[str, object]] = {
        "click": {"bind": [f"127.0.0.1:{port}"], "repeat_s": 0},
        "control": {"bind": "127.0.0.1:0"},
        "trace": {"workers": 1, "allow_private": True},
        "pool": {"cooldown_s": 0},
    }
    config.write_text(as_toml(state_dir, sections))
    command = [sys.executable, str(program), "serve", "--config", str(config)]
    env = environment(
        TRACEPOOL_PROVIDERS__LUNA__PASSWORD=PROVIDER,
        TRACEPOOL_PROVIDERS__LUNA__USERNAME="customer",
        PYTHONPATH=str(REPOSITORY),
    )
    with log.open("ab") as out:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
        )
    daemon = Serving(process, state_dir, port, log)
    try:
        await daemon.ready()
        await daemon.psql("INSERT INTO ip_rotation_pool (ip_address, country) VALUES ('127.2.3.9', 'us')")
        await offer(daemon, "sale", "http://ads.example/")
        await until(lambda: daemon.counts("us")["total"] == 1, "the IP is adopted")
        for _ in range(CRASHES):
            assert (await click(daemon, "sale")).status == 302
        assert await daemon.stop() == 0
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()
    assert len(daemon.log("actor_crashed")) == CRASHES
    for line in daemon.log("actor_crashed"):
        assert "ValueError: cannot use **********" in line["exception"]
    assert uncovered(log.read_text()) == []


async def test_no_wrong_setting_and_no_failed_command_shows_a_password(tmp_path: Path) -> None:
    found: dict[str, subprocess.CompletedProcess[str]] = {}

    async def ask(name: str) -> None:
        found[name] = await run_command("status", TRACEPOOL_STATE_DIR=str(tmp_path), **WRONG[name])

    async def ask_file() -> None:
        file = tmp_path / "wrong.toml"
        file.write_text(f"[providers.luna]\npassword = {CANARY}\n")
        found["no TOML"] = await run_command("status", "--config", str(file))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_file)
        for name in WRONG:
            nursery.start_soon(ask, name)
    for name, done in found.items():
        assert done.returncode in (1, 78), (name, done)
        assert done.stderr.startswith("tracepool: "), name
        assert "Traceback" not in done.stderr, name
        assert uncovered(done.stdout + done.stderr) == [], name
