"""The private socket: commands get their answers, and no client disturbs the daemon."""

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from daemon.control import socket as control
from daemon.errors import DatabaseUnavailable, TheirFault
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import PATIENCE_S


class FakeDaemon:
    """The daemon's side of the socket: commands with fixed answers."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.gate = trio.Event()

    async def status(self) -> dict[str, Any]:
        return {"countries": {"us": {"total": 3}}, "text": "ü\n"}

    async def unreachable(self) -> dict[str, Any]:
        raise DatabaseUnavailable("PostgreSQL cannot be reached")

    async def broken(self) -> dict[str, Any]:
        raise ZeroDivisionError("on purpose")

    async def slow(self) -> dict[str, Any]:
        await self.gate.wait()
        return {}

    async def large(self) -> dict[str, Any]:
        return {"text": "x" * 3_000_000}

    async def echo(self, ip: str, timeout_s: float) -> dict[str, Any]:
        return {"ip": ip, "timeout_s": timeout_s}

    async def ask(
        self, command: str, timeout_s: float = 5.0, arguments: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        return await trio.to_thread.run_sync(control.ask, self.state_dir, command, timeout_s, arguments)

    async def raw(self, line: bytes, *, end: bool = True) -> bytes:
        stream = await trio.open_unix_socket(str(self.state_dir / control.NAME))
        async with stream:
            await stream.send_all(line)
            if end:
                await stream.send_eof()
            with trio.fail_after(PATIENCE_S):
                return b"".join([bytes(piece) async for piece in stream])


@asynccontextmanager
async def served(state_dir: Path) -> AsyncIterator[FakeDaemon]:
    daemon = FakeDaemon(state_dir)
    commands: control.Commands = {
        name: getattr(daemon, name) for name in ("status", "unreachable", "broken", "slow", "large", "echo")
    }
    async with trio.open_nursery() as nursery:
        await nursery.start(control.serve, state_dir, commands)
        yield daemon
        nursery.cancel_scope.cancel()


async def test_a_command_gets_its_answer(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        for _ in range(3):
            assert await daemon.ask("status") == {"countries": {"us": {"total": 3}}, "text": "ü\n"}
        answer = await daemon.ask("large")
        assert answer is not None
        assert len(answer["text"]) == 3_000_000


async def test_a_command_gets_its_arguments_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        assert await daemon.ask("echo", arguments={"ip": "ü", "timeout_s": 2}) == {"ip": "ü", "timeout_s": 2}
        for wrong in ({}, {"ip": "x"}, {"ip": "x", "timeout_s": 1, "more": 1}):
            with pytest.raises(TheirFault, match="unknown command or arguments"):
                await daemon.ask("echo", arguments=wrong)
        with pytest.raises(TheirFault, match="unknown command or arguments"):
            await daemon.ask("status", arguments={"ip": "x"})


async def test_only_the_owner_can_connect_and_a_stop_removes_the_file(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    os.umask(umask)
    async with served(tmp_path):
        mode = (tmp_path / control.NAME).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert os.umask(umask) == umask, "the process's umask is unchanged"
    assert not (tmp_path / control.NAME).exists()


async def test_the_path_of_the_state_directory_may_be_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with served(deep) as daemon:
        assert await daemon.ask("status")


async def test_without_a_daemon_there_is_no_answer(tmp_path: Path) -> None:
    assert control.ask(tmp_path, "status") is None
    assert control.ask(tmp_path / "missing", "status") is None
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / control.NAME))
    left.close()  # as a killed daemon leaves it
    assert control.ask(tmp_path, "status") is None
    async with served(tmp_path) as daemon:
        assert await daemon.ask("status")


async def test_an_error_of_the_command_is_raised(tmp_path: Path, expected_errors: LoggedErrors) -> None:
    expected_errors.expect("command_failed")
    async with served(tmp_path) as daemon:
        with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
            await daemon.ask("unreachable")
        with pytest.raises(TheirFault, match="see its log"):
            await daemon.ask("broken")
        with pytest.raises(TheirFault, match="known commands: status, unreachable"):
            await daemon.ask("no-such-command")
        assert await daemon.ask("status")
    assert len(expected_errors.named("command_failed")) == 1


async def test_a_daemon_that_does_not_answer_is_an_error_after_the_timeout(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        with pytest.raises(TheirFault, match=r"did not answer within 0\.05 s"):
            await daemon.ask("slow", 0.05)
        daemon.gate.set()
        assert await daemon.ask("slow") == {}


async def test_a_daemon_that_stops_before_it_answers_is_an_error(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:

        async def ask(daemon: FakeDaemon) -> None:
            with pytest.raises(TheirFault, match="stopped before it answered"):
                await daemon.ask("slow")

        async with served(tmp_path) as daemon:
            nursery.start_soon(ask, daemon)
            await trio.sleep(0.2)


HOSTILE = [
    b"",
    b"\n",
    b"{}\n",
    b"[]\n",
    b"null\n",
    b'"status"\n',
    b'{"command": []}\n',
    b'{"command": "echo", "arguments": 7}\n',
    b'{"command": "echo", "arguments": [1, 2]}\n',
    b'{"command": "status"',
    b"\xff\xfe\n",
    b"[" * 4_000 + b"\n",
    b"x" * 100_000,
    b'{"command": "' + b"x" * 4_050 + b'"}\n',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
async def test_malformed_lines_do_not_disturb_the_daemon(line: bytes, tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        try:
            answer = await daemon.raw(line)
        except trio.BrokenResourceError:
            answer = b""  # closed before the whole line was read
        assert not answer or list(json.loads(answer)) == ["error"]
        assert await daemon.ask("status")


async def test_clients_that_leave_or_never_read_do_not_disturb_the_daemon(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon, trio.open_nursery() as nursery:
        path = str(tmp_path / control.NAME)
        for _ in range(10):
            await (await trio.open_unix_socket(path)).aclose()
            leaving = await trio.open_unix_socket(path)
            await leaving.send_all(b'{"command": "large"}\n')
            await leaving.aclose()
        silent = await trio.open_unix_socket(path)
        unread = await trio.open_unix_socket(path)
        await unread.send_all(b'{"command": "large"}\n')
        assert await daemon.ask("status")
        await silent.aclose()
        await unread.aclose()
        assert await daemon.ask("status")
        nursery.cancel_scope.cancel()
