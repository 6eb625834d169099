"""`tracepool logs` and `explain`, and their sources: rotated files, unfinished streams, a fake journalctl."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import BadInput
from daemon.logbook import sources
from daemon.logbook.parse import Line, Splitter
from tests.integration.commands import PROJECT, Commands
from tests.integration.databases import PostgresServer
from tests.integration.test_cli_process import running
from tests.support.terminal import run_on_a_terminal
from tests.support.waiting import wait_until

REQUEST = "6f1c2d3e-8a5b-4c7d-9e0f-112233445566"


def click(number: int, outcome: str = "resolved", **more: Any) -> str:
    fields = {"event": "click", "level": "info", "ts": f"2026-01-02T10:00:{number:02}Z", "request_id": f"{number}",
              "offer": "sale", "outcome": outcome, "location": "https://a.example/", **more}  # fmt: skip
    return json.dumps(fields) + "\n"


def numbers(out: str) -> list[int]:
    return [int(json.loads(line).get("request_id", -1)) for line in out.splitlines()]


# the command


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Commands:
    """Commands without a database: a log needs none."""
    return Commands("postgresql://127.0.0.1:1/none", tmp_path, monkeypatch, capfd)


def test_a_file_is_narrowed_down_to_json_lines(command: Commands, tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.write_text(click(1) + "Traceback\n" + click(2, "fallback") + click(3, "fallback", offer="other") + '{"half')
    everything = command("logs", str(log))
    assert (everything.status, everything.err) == (0, "")
    assert numbers(everything.out) == [1, -1, 2, 3, -1]
    assert everything.lines[0] + "\n" == click(1), "a line of ours is passed on as it is"
    assert numbers(command("logs", "--outcome", "fallback", str(log)).out) == [2, 3]
    assert numbers(command("logs", str(log), "--outcome", "fallback", "--offer", "sale").out) == [2]
    assert numbers(command("logs", str(log), "--since", "2026-01-02T10:00:03Z").out) == [3, -1]


@pytest.mark.parametrize("arguments", [("logs", "-", "--offer", "sale"), ("logs", "--offer", "sale", "-")])
def test_standard_input_is_read_with_options_before_and_after(command: Commands, arguments: tuple[str, ...]) -> None:
    assert numbers(command(*arguments, stdin=click(1) + click(2)).out) == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--since", "soon"), "give a span such as 90s, 10m, 2h or 1d"),
        (("--outcome", "lost"), "allowed: resolved, fallback, left, refused"),
        (("/nowhere/serve.log",), "/nowhere/serve.log: No such file or directory"),
        (("/",), "/: Is a directory"),
    ],
)
def test_wrong_usage_is_one_line_with_a_hint(command: Commands, arguments: tuple[str, ...], hint: str) -> None:
    done = command("logs", *arguments)
    assert (done.status, done.out) == (2, "")
    assert hint in done.err
    assert done.err.count("\n") == 1


@pytest.mark.slow
def test_lines_of_a_stream_are_shown_as_they_arrive(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("w") as written, subprocess.Popen(
        [sys.executable, "-m", "daemon", "logs", "-"], cwd=PROJECT, stdin=subprocess.PIPE, stdout=written, text=True
    ) as child:  # fmt: skip
        assert child.stdin is not None
        child.stdin.write(click(1) + click(2)[:20])
        child.stdin.flush()
        wait_until(lambda: numbers(out.read_text()) == [1])
        child.stdin.write(click(2)[20:])
        child.stdin.flush()
        wait_until(lambda: numbers(out.read_text()) == [1, 2])
        child.stdin.close()
        assert child.wait(10) == 0


@pytest.mark.slow
def test_following_begins_with_the_last_ten_lines_and_survives_a_rotation(tmp_path: Path) -> None:
    log, out = tmp_path / "serve.log", tmp_path / "out"
    log.write_text("".join(click(number) for number in range(1, 31)))
    with out.open("w") as written, running("logs", str(log), "--follow", state_dir=tmp_path) as child:
        assert child.stdout is not None
        for line in iter(child.stdout.readline, ""):
            written.write(line)
            written.flush()
            number = json.loads(line)["request_id"]
            if number == "30":
                with log.open("a") as more:
                    more.write(click(31))
            elif number == "31":
                log.rename(tmp_path / "serve.log.1")
                log.write_text(click(32))
            elif number == "32":
                break
        child.kill()
    assert numbers(out.read_text()) == [*range(21, 33)]


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_ends_the_command(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.write_text("".join(click(number % 60) for number in range(20_000)))
    with running("logs", str(log), state_dir=tmp_path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(20) == 141


def test_on_a_terminal_lines_have_colours_and_no_control_sequences_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.write_text(click(1) + click(2, "fallback", reason="no_ip", offer="s\u001b[2Jale") + "plain \u0007 text\n")
    command = [sys.executable, "-m", "daemon", "logs", str(log)]
    status, output = run_on_a_terminal(command, PROJECT, columns=200)
    assert status == 0
    text = output.decode()
    assert "\x1b[32m  resolved" in text
    assert "\x1b[33m  fallback" in text
    assert "\x1b[2J" not in text
    assert "\x07" not in text


# sources


def pieces_of(source: Iterator[bytes]) -> list[Line]:
    splitter = Splitter()
    return [line for piece in source for line in splitter.feed(piece)]


class Followed:
    """A file that is followed, one read at a time."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("daemon.logbook.sources.POLL_S", 0.0)
        self._source = sources.file(path, follow=True)
        self._splitter = Splitter()

    def read(self) -> list[int]:
        """Reads until the second pause: a rotation is detected at the first one, and the new file is read after it."""
        found: list[Line] = []
        pauses = 0
        for piece in self._source:
            found += self._splitter.feed(piece)
            pauses += not piece
            if pauses == 2:
                break
        return [int(line.fields.get("request_id", -1)) for line in found]


def test_a_followed_file_may_be_appended_to_truncated_renamed_and_gone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "serve.log"
    log.write_text(click(1))
    followed = Followed(log, monkeypatch)
    assert followed.read() == [1]
    with log.open("a") as more:
        more.write(click(2) + click(3)[:10])
        more.flush()
        assert followed.read() == [2]
        more.write(click(3)[10:])
    assert followed.read() == [3]
    log.write_text(click(4))
    assert followed.read() == [4], "truncated and rewritten"
    with log.open("a") as old:
        log.rename(tmp_path / "serve.log.1")
        old.write(click(5) + '{"never ended')
        old.flush()
        assert followed.read() == [5], "no new file yet: the old file may still be written to"
        old.write("\n" + click(6))
    log.write_text(click(7))
    assert followed.read() == [-1, 6, 7]


def test_a_fifo_is_read_to_its_end_even_if_it_is_followed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", f"printf '%s' '{click(1)}' > {fifo}"]):
        assert len(pieces_of(sources.file(fifo, follow=True))) == 1


@contextmanager
def journalctl(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fake journalctl, first on PATH; yields the file that it writes its arguments to."""
    program, arguments = directory / "journalctl", directory / "arguments"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {arguments}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    yield arguments


def test_journalctl_gets_the_units_and_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = click(1).strip()
    with journalctl(tmp_path, f"echo '{line}'", monkeypatch) as recorded:
        assert len(pieces_of(sources.journald(follow=False, since_s=1_700_000_000.4, pattern="6f1c"))) == 1
        arguments = recorded.read_text().split()
        assert {"--unit=tracepool.service", "--unit=tracepool@*.service"} <= set(arguments)
        assert {"--since=@1700000000", "--grep=6f1c", "--output=cat", "--all"} <= set(arguments)
        assert "--follow" not in arguments
        pieces_of(sources.journald(follow=True, since_s=None))
        assert {"--follow", "--lines=10"} <= set(recorded.read_text().split())
        pieces_of(sources.journald(follow=True, since_s=5.0))
        assert {"--follow", "--no-tail", "--since=@5"} <= set(recorded.read_text().split())


def test_an_error_of_journalctl_is_shown(command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with journalctl(tmp_path, "echo 'Failed to open the journal' >&2; exit 1", monkeypatch):
        done = command("logs")
    assert (done.status, done.out) == (1, "")
    assert done.err == "tracepool: journalctl: Failed to open the journal\n"
    with journalctl(tmp_path, "exit 0", monkeypatch):
        assert "or name a log file" in command("logs").err


def test_without_journalctl_the_error_asks_for_a_file(
    command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = command("logs")
    assert (done.status, done.out) == (1, "")
    assert "name the log's file, or - for standard input" in done.err


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        next(sources.file(tmp_path / "nothing", follow=False))


# explain


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Commands]:
    with journalctl(tmp_path, "exit 1", monkeypatch):
        yield Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


def test_explain_shows_a_click_from_rows_and_log(tracepool: Commands, tmp_path: Path) -> None:
    tracepool.sql(
        "insert into active_trace_requests (request_id, tracking_url, target_country, status, verdict, provider,"
        " inbound_params, ip_assigned, ip_unused_s, ip_choices, final_url, redirect_chain, trace_time_ms, wait_time_ms)"
        f" values ('{REQUEST}', 'https://ads.example/go', 'us', 'completed', 'ok', 'luna', '{{\"gclid\": \"x\"}}',"
        " 'luna-us-3', 252.4, 28, 'https://shop.example/?cid=7',"
        """ '[{"url": "https://ads.example/go", "status": 302, "ms": 10, "kind": "http"}]', 900, 5)"""
    )
    tracepool.sql(
        "insert into hits (request_id, offer_name, outcome, location, visitor_address, wait_ms) values"
        f" ('{REQUEST}', 'sale', 'resolved', 'https://shop.example/?cid=7&gclid=x', '192.0.2.7', 910)"
    )
    done = tracepool("explain", REQUEST.upper())
    assert (done.status, done.err) == (0, "")
    assert "of the 28 available IPs this one had rested longest: its last use began 4 min 12 s before" in done.out
    assert "  added      gclid=x" in done.lines
    log = tmp_path / "serve.log"
    log.write_text(click(1) + click(2, request_id=REQUEST, visitor="192.0.2.9"))
    found = tracepool("explain", REQUEST, str(log), "--json").json
    assert found["answered"]["added"] == {"gclid": "x"}
    assert found["visitor"] == "192.0.2.7", "rows have precedence"
    assert [line["request_id"] for line in found["log"]] == [REQUEST]
    piped = tracepool("explain", REQUEST, "-", "--json", stdin=log.read_text()).json
    assert piped == found


def test_explain_finds_a_click_by_its_click_id_before_its_repeats(tracepool: Commands) -> None:
    repeat = REQUEST.replace(REQUEST[0], "0")
    for request_id, kind in ((repeat, "repeat"), (REQUEST, "click")):
        tracepool.sql(
            "insert into hits (request_id, offer_name, outcome, location, wait_ms, kind, click_id, created_at) values"
            f" ('{request_id}', 'sale', 'resolved', 'L', 9, '{kind}', 'Cj0_KC', now() - interval '1 hour')"
        )
    done = tracepool("explain", "Cj0_KC")
    assert done.lines[0].startswith(f"click {REQUEST} of offer sale")
    assert f"1 more requests have this click id, such as its repeats: {repeat}" in done.err


def test_an_unknown_id_and_a_bad_id_are_helpful_errors(tracepool: Commands) -> None:
    unknown = tracepool("explain", REQUEST)
    assert (unknown.status, unknown.out) == (1, "")
    assert f"nothing is known of {REQUEST}" in unknown.err
    assert "tracepool logs" in unknown.err
    wrong = tracepool("explain", "6f1c")
    assert (wrong.status, wrong.out) == (2, "")
    assert "'6f1c' is no request id" in wrong.err


def test_while_the_database_is_away_only_the_log_is_used(
    tracepool: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPOOL_DATABASE__URL", "postgresql://127.0.0.1:1/none")
    log = tmp_path / "serve.log"
    log.write_text(click(2, "fallback", request_id=REQUEST, reason="deadline"))
    done = tracepool("explain", REQUEST, str(log))
    assert done.status == 0
    assert "only the log is used" in done.err
    assert "fallback   deadline" in done.out
