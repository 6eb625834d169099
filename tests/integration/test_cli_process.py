"""The command as a process, with the embedded server: exit statuses, signals, pipes, psql and a running daemon."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon import __version__
from daemon.database import cluster
from tests.integration.commands import PROJECT, process
from tests.support.state_dirs import open_state_dir
from tests.support.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow

SERVER_ENDS_S = 60  # its last checkpoint waits for a busy disk


@pytest.fixture(scope="module")
def state_dir() -> Iterator[Path]:
    """One cluster for the module, because starting it again takes only 0.2 s."""
    with open_state_dir() as path:
        yield path


def _heed_interrupts() -> None:
    """A shell lets the programs that it starts in the background ignore SIGINT, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running(*arguments: str, state_dir: Path, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process in its own process group, which is killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-m", "daemon", *arguments],
        cwd=PROJECT,
        env={**os.environ, "TRACEPOOL_STATE_DIR": str(state_dir), **options.pop("env", {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heed_interrupts,
        **options,
    )
    with child:  # closes its pipes
        try:
            yield child
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)


def server_runs(state_dir: Path) -> bool:
    return cluster.running(state_dir / "postgres/data") is not None


@pytest.mark.parametrize(
    "words",
    ["", "demo", "serve", "provision", "provision generate", "provision import", "provision list", "provision check",
     "provision remove", "offers suggest",
     "offers", "offers add", "offers list", "offers show", "offers update", "offers remove", "offers import", "status",
     "logs", "explain",
     "reset", "maintenance", "plan", "psql", "database-url"],
)  # fmt: skip
def test_help_fits_a_terminal_and_has_an_example(words: str, capfd: pytest.CaptureFixture[str]) -> None:
    from daemon.__main__ import main

    assert main([*words.split(), "--help"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert max(map(len, said.out.splitlines())) <= 80
    assert "\n    tracepool" in said.out or "$(tracepool" in said.out
    text = re.split(r"^   (?:Commands|Arguments|Parameters) ", said.out, maxsplit=1, flags=re.MULTILINE)[0]
    assert not [line for line in text.splitlines() if line.endswith(" ")], "a line had to be broken to fit"


def test_wrong_usage_is_one_line_with_a_hint(state_dir: Path) -> None:
    for arguments, hint in [
        (("frobnicate",), "Try: tracepool --help"),
        (("serve", "--bogus"), "Try: tracepool serve --help"),
        (("offers", "add", "x"), "Try: tracepool offers add --help"),
        (("provision", "generate", "--count", "many"), "Try: tracepool provision generate --help"),
    ]:
        done = process(*arguments, state_dir=state_dir)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("tracepool: ")
        assert done.stderr.endswith(f"{hint}\n")
        assert done.stderr.count("\n") == 1


def test_the_version_is_told(state_dir: Path) -> None:
    assert process("--version", state_dir=state_dir).stdout == f"tracepool {__version__}\n"


@pytest.mark.parametrize("command", ["serve", "status", "psql"])
def test_bad_settings_exit_with_78_and_name_file_key_and_range(state_dir: Path, tmp_path: Path, command: str) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[click]\ndeadline_s = 0\ncolour = 1\n")
    done = process(command, "--config", str(config), state_dir=state_dir)
    assert done.returncode == 78
    assert f"tracepool: {config}: click.deadline_s: " in done.stderr
    assert "allowed: 1 to 60" in done.stderr
    assert f"tracepool: {config}: click.colour: unknown key" in done.stderr


def test_a_database_that_is_away_is_one_line_without_its_password(state_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"postgresql://me:canary-word@127.0.0.1:{port}/x"
    done = process("provision", "list", state_dir=state_dir, env={"TRACEPOOL_DATABASE__URL": url})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tracepool: PostgreSQL cannot be reached")
    assert "Next: check that PostgreSQL runs and that database.url leads to it" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "canary-word" not in done.stderr


def test_a_reader_that_leaves_is_no_error(state_dir: Path) -> None:
    process("provision", "generate", "--count", "3000", "--prefix", "pipe-", state_dir=state_dir)
    with running("provision", "list", "--json", state_dir=state_dir) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(PATIENCE_S) == 141
        assert child.stderr is not None
        assert child.stderr.read() == ""


def test_ctrl_c_is_quiet_and_lets_the_server_go(state_dir: Path) -> None:
    with running("status", "--watch", "--json", state_dir=state_dir) as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["daemon"] is None
        assert server_runs(state_dir)
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(SERVER_ENDS_S) == 130
        assert child.stderr is not None
        assert child.stderr.read() == ""
    assert not server_runs(state_dir)


def test_psql_gets_its_arguments_untouched_and_gives_its_status(state_dir: Path) -> None:
    done = process("psql", "-At", "-c", "select '--config', count(*) from offers", state_dir=state_dir)
    assert (done.returncode, done.stdout, done.stderr) == (0, "--config|0\n", "")
    assert process("psql", "-At", "-v", "ON_ERROR_STOP=1", state_dir=state_dir, input="nonsense;").returncode == 3
    piped = process("psql", "-At", state_dir=state_dir, input="select 40 + 2")
    assert (piped.returncode, piped.stdout) == (0, "42\n")
    assert not server_runs(state_dir)


def test_ctrl_c_in_psql_cancels_its_query(state_dir: Path) -> None:
    # The notice comes from the query itself: a SIGINT before psql has sent the query would not end it.
    query = "do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$;\n\\echo after\n"
    with running("psql", "-At", state_dir=state_dir, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write(query)
        child.stdin.flush()
        assert child.stderr.readline() == "NOTICE:  begun\n"
        os.killpg(child.pid, signal.SIGINT)
        child.stdin.close()
        assert child.wait(PATIENCE_S) == 3  # the status of psql for a script that Ctrl-C ended
        assert child.stdout.read() == ""
        assert "Traceback" not in child.stderr.read()
    assert not server_runs(state_dir)


def test_a_password_stands_in_psqls_environment_and_not_on_its_command_line(state_dir: Path, tmp_path: Path) -> None:
    spy = tmp_path / "psql"
    spy.write_text(
        f"#!{sys.executable}\nimport os, sys\nprint(sys.argv[1:], os.environ.get('PGPASSWORD'))\nsys.exit(7)\n"
    )
    spy.chmod(0o755)
    environment = {
        "TRACEPOOL_DATABASE__URL": "postgresql://me:canary-word@127.0.0.1:1/x",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    done = process("psql", "-c", "select 1", state_dir=state_dir, env=environment)
    assert (done.returncode, done.stdout) == (7, "['-c', 'select 1'] canary-word\n")
    assert "canary-word" not in done.stderr


def test_the_database_url_is_for_other_tools(state_dir: Path) -> None:
    done = process("database-url", state_dir=state_dir)
    assert done.stdout == f"postgresql://tracepool@/tracepool?host={state_dir}/postgres/run&port=5432\n"
    assert "runs only while" in done.stderr
    given = "postgresql://me:word@db.example/x"
    other = process("database-url", state_dir=state_dir, env={"TRACEPOOL_DATABASE__URL": given})
    assert (other.stdout, other.stderr) == (f"{given}\n", "")


def test_commands_beside_a_running_daemon_reach_it_within_a_second(state_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"

    def countries() -> dict[str, Any]:
        done = process("status", "--json", state_dir=state_dir)
        found = json.loads(done.stdout)
        assert found["daemon"] == "running"
        pools: dict[str, Any] = found["countries"]
        return pools

    with running(
        "serve", state_dir=state_dir, env={"TRACEPOOL_CLICK__BIND": bind, "TRACEPOOL_CONTROL__BIND": "127.0.0.1:0"}
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if json.loads(line)["event"] == "ready":
                break
        process("provision", "generate", "--country", "gb", "--count", "7", state_dir=state_dir)
        wait_until(lambda: countries().get("uk", {}).get("total") == 7)
        assert process("database-url", state_dir=state_dir).stderr == ""
        assert "Ended now: " in process("maintenance", state_dir=state_dir).stdout
        process("provision", "remove", "--country", "uk", state_dir=state_dir)
        wait_until(lambda: countries().get("uk", {}).get("total", 0) == 0)
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
    assert not server_runs(state_dir)
