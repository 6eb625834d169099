"""The embedded PostgreSQL with its real programs: created once, shared, killed, attached to, refused with a reason."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

import daemon
from daemon.database import cluster, embedded
from daemon.database.binaries import Binaries, choose_account, installed, psql_path, reachable, run
from tests.support.state_dirs import open_state_dir, stop_server

pytestmark = pytest.mark.slow

PROJECT = Path(daemon.__file__).parent.parent
START_AND_STAY = """
import sys, time, pathlib
from daemon.database import embedded
server = embedded.start(pathlib.Path(sys.argv[1]))
print("started" if server.started_here else "attached", flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="module")
def state_dir() -> Iterator[Path]:
    """One cluster for the module; each test leaves its server stopped."""
    with open_state_dir(empty=True) as path:
        yield path


@pytest.fixture
def empty_dir() -> Iterator[Path]:
    with open_state_dir(empty=True) as path:
        yield path


def ask(url: str, sql: str) -> object:
    async def query() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(query())


def another_user(state_dir: Path) -> subprocess.Popen[str]:
    """A process in its own group that uses the server until its stdin closes."""
    return subprocess.Popen(
        [sys.executable, "-c", START_AND_STAY, str(state_dir)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def server_pid(state_dir: Path) -> int:
    found = cluster.running(state_dir / "postgres/data")
    assert found is not None
    return found[0]


def test_the_first_start_makes_a_database_that_asyncpg_and_psql_reach(state_dir: Path) -> None:
    server = embedded.start(state_dir)
    try:
        assert server.started_here
        assert ask(server.url, "SELECT current_database()") == "tracepool"
        assert ask(server.url, "SELECT current_setting('fsync') || current_setting('timezone')") == "onUTC"
        shown = run([psql_path(), server.url, "-XAtc", "SHOW server_encoding"])
        assert (shown.stdout, shown.stderr) == ("UTF8\n", "")
        assert embedded.running_url(state_dir) == server.url
        assert "tcp" not in str(ask(server.url, "SHOW listen_addresses")), "only its Unix socket"
    finally:
        server.stop()
    assert embedded.running_url(state_dir) is None


def test_a_second_start_finds_what_the_first_wrote(state_dir: Path) -> None:
    first = embedded.start(state_dir)
    ask(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()
    first.stop()
    second = embedded.start(state_dir)
    try:
        assert second.started_here
        assert ask(second.url, "SELECT answer FROM kept") == 42
        ask(second.url, "DROP TABLE kept")
    finally:
        second.stop()


def test_a_running_server_s_log_has_a_limit(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = embedded.start(state_dir)
    log = server.data_dir.parent / "server.log"
    try:
        for word, kept in (("first", 10**9), ("second", 1)):
            with pytest.raises(asyncpg.UndefinedColumnError):
                ask(server.url, f"select {word}")
            monkeypatch.setattr(cluster, "LOG_BYTES_MAX", kept)
            cluster.limit_log(server.data_dir)
        assert log.read_text() == ""
        assert all(word in log.with_name("server.log.1").read_text() for word in ("first", "second"))
        with pytest.raises(asyncpg.UndefinedColumnError):
            ask(server.url, "select third")
        assert "third" in log.read_text()
        assert "\0" not in log.read_text(), "the server appends at the new end"
    finally:
        server.stop()


def test_a_server_whose_owner_was_killed_is_attached_to_and_stopped_by_the_last_one_out(state_dir: Path) -> None:
    with another_user(state_dir) as owner:
        assert first_line(owner) == "started"
        owner.kill()
    pid = server_pid(state_dir)
    server = embedded.start(state_dir)
    assert not server.started_here
    assert server_pid(state_dir) == pid
    server.stop()
    assert embedded.running_url(state_dir) is None


def test_who_started_the_server_leaves_it_running_for_those_who_came_later(state_dir: Path) -> None:
    starter = embedded.start(state_dir)
    with another_user(state_dir) as later:
        assert first_line(later) == "attached"
        starter.stop()
        assert embedded.running_url(state_dir) == starter.url
    assert later.returncode == 0
    assert embedded.running_url(state_dir) is None


def test_of_several_that_start_at_once_one_starts_and_the_others_attach(empty_dir: Path) -> None:
    servers: list[embedded.EmbeddedServer] = []
    threads = [threading.Thread(target=lambda: servers.append(embedded.start(empty_dir))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(server.started_here for server in servers) == [False, False, False, True]
    for server in servers:
        assert embedded.running_url(empty_dir) is not None
        server.stop()
    assert embedded.running_url(empty_dir) is None


def test_a_signal_to_the_whole_terminal_session_does_not_reach_the_server(state_dir: Path) -> None:
    with another_user(state_dir) as owner:
        assert first_line(owner) == "started"
        os.killpg(owner.pid, signal.SIGKILL)
    with another_user(state_dir) as attached:
        assert first_line(attached) == "attached"
        assert os.getsid(server_pid(state_dir)) not in (owner.pid, attached.pid, os.getsid(0))
    assert embedded.running_url(state_dir) is None


def test_a_server_that_was_killed_is_let_go_and_started_again_with_its_data(state_dir: Path) -> None:
    server = embedded.start(state_dir)
    ask(server.url, "CREATE TABLE IF NOT EXISTS survives AS SELECT 1")
    stop_server(server.data_dir, signal.SIGKILL)
    assert embedded.running_url(state_dir) is None
    server.stop()
    again = embedded.start(state_dir)
    try:
        assert again.started_here
        assert ask(again.url, "SELECT count(*) FROM survives") == 1
    finally:
        again.stop()


@pytest.mark.parametrize("number", ["of_this_test", "unused"])
def test_a_stale_pid_file_does_not_keep_the_server_from_starting(state_dir: Path, number: str) -> None:
    embedded.start(state_dir).stop()
    data = state_dir / "postgres/data"
    pid = os.getpid() if number == "of_this_test" else 4_194_303
    (data / "postmaster.pid").write_text(f"{pid}\n{data}\n1\n5432\n{data.parent / 'run'}\n\n  1  1\nready   \n")
    assert embedded.running_url(state_dir) is None
    server = embedded.start(state_dir)
    assert server.started_here
    server.stop()


def test_the_server_sees_none_of_our_environment(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOOL_DATABASE__URL", "canary")
    monkeypatch.setenv("PGHOST", "192.0.2.1")
    monkeypatch.setenv("PGPORT", "1")
    server = embedded.start(state_dir)
    try:
        assert ask(server.url, "SELECT 1") == 1, "the URL has its host and port"
        environ = Path(f"/proc/{server_pid(state_dir)}/environ").read_bytes()
        assert b"canary" not in environ
        assert b"192.0.2.1" not in environ
    finally:
        server.stop()


def test_a_long_path_or_one_with_spaces_gets_its_socket_in_a_private_directory(empty_dir: Path) -> None:
    server = embedded.start(empty_dir / "with a space" / ("long" * 30))
    try:
        assert ask(server.url, "SELECT 1") == 1
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
        assert len(str(server.socket_dir)) < 100
    finally:
        server.stop()
    assert not server.socket_dir.exists()


def test_data_of_an_older_version_that_the_wheel_still_brings_are_served_by_it(empty_dir: Path) -> None:
    oldest = installed()[-1]
    account = choose_account()
    home = empty_dir / "postgres"
    home.mkdir(mode=0o700)
    os.chown(home, account.uid, account.gid)
    cluster.create_cluster(oldest, home / "data", account)
    server = embedded.start(empty_dir)
    try:
        assert str(ask(server.url, "SHOW server_version")).split(".")[0] == str(oldest.major)
    finally:
        server.stop()


@pytest.mark.root  # only root runs the server as another account
def test_binaries_out_of_the_accounts_reach_are_copied_once(empty_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = installed()[0]
    closed = empty_dir / "closed"
    closed.mkdir(mode=0o700)
    package = original.root.parent
    for source in (original.root, package.with_name(f"{package.name}.libs")):
        shutil.copytree(source, closed / source.relative_to(package.parent))
    here = Binaries(closed / original.root.relative_to(package.parent), original.version)
    monkeypatch.setattr(cluster, "installed", lambda: [here])
    server = embedded.start(empty_dir)
    try:
        assert ask(server.url, "SELECT 1") == 1
        copy = empty_dir / "postgres" / f"server-{original.version}"
        runs = Path(f"/proc/{server_pid(empty_dir)}/cmdline").read_bytes().split(b"\0")[0]
        assert os.fsdecode(runs).startswith(str(copy))
        made_at_ns = copy.stat().st_ctime_ns
        reachable(here, choose_account(), empty_dir / "postgres")
        assert copy.stat().st_ctime_ns == made_at_ns
    finally:
        server.stop()
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.root  # only root runs the server as another account
def test_the_server_of_an_unprivileged_user_is_attached_to_by_root(empty_dir: Path) -> None:
    account = choose_account()
    paths = f"{PROJECT}:{installed()[0].root.parent.parent}"
    probe = "import sys; sys.path[:0] = sys.argv[1].split(':'); import daemon.database.embedded"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            found = run([python, "-Bc", probe, paths], account).returncode == 0
        except OSError:
            continue
        if found:
            break
    else:
        pytest.skip(f"no Python that the user {account.name} can run")
    os.chown(empty_dir, account.uid, account.gid)
    with subprocess.Popen(
        [python, "-Bc", START_AND_STAY, str(empty_dir)],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
    ) as owner:
        assert first_line(owner) == "started"
        server = embedded.start(empty_dir)
        assert not server.started_here
        assert ask(server.url, "SELECT 1") == 1
        server.stop()
        assert embedded.running_url(empty_dir) == server.url
    assert owner.returncode == 0
    assert embedded.running_url(empty_dir) is None
