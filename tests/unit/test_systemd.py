"""systemd's protocols: sd_listen_fds(3), sd_watchdog_enabled(3), sd_notify(3)."""

import os
import socket
import time
from pathlib import Path

import pytest

from daemon.errors import BadSettings
from daemon.host import systemd
from daemon.host.systemd import PassedSocket, passed_sockets, watchdog_s

OURS, OTHERS = str(os.getpid()), "1"


def two_descriptors(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made_private: list[int] = []
    monkeypatch.setattr(os, "set_inheritable", lambda fd, inheritable: made_private.append(fd))
    return made_private


def test_sockets_have_the_names_of_their_units_and_no_child_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made_private = two_descriptors(monkeypatch)
    environ = {"LISTEN_PID": OURS, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "click:tracepool.socket", "HOME": "/"}
    assert passed_sockets(environ) == [PassedSocket(3, "click"), PassedSocket(4, "tracepool.socket")]
    assert environ == {"HOME": "/"}
    assert made_private == [3, 4]


def test_sockets_without_names_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    two_descriptors(monkeypatch)
    assert passed_sockets({"LISTEN_PID": OURS, "LISTEN_FDS": "1"}) == [PassedSocket(3, "unknown")]


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": OTHERS, "LISTEN_FDS": "1"}, {"LISTEN_PID": "", "LISTEN_FDS": ""}],
)
def test_sockets_of_another_process_are_not_taken(environ: dict[str, str]) -> None:
    assert passed_sockets(environ) == []
    assert environ == {}


@pytest.mark.parametrize("count", ["", "-1", "two", "1.5"])
def test_a_number_of_sockets_that_is_none_is_named(count: str) -> None:
    with pytest.raises(BadSettings, match="LISTEN_FDS"):
        passed_sockets({"LISTEN_PID": OURS, "LISTEN_FDS": count})


def test_names_that_are_not_as_many_are_named() -> None:
    with pytest.raises(BadSettings, match="LISTEN_FDNAMES: 'click' are not the names of 2 sockets"):
        passed_sockets({"LISTEN_PID": OURS, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "click"})


@pytest.mark.parametrize(
    ("environ", "expected_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": OURS}, 1.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": OTHERS}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_ours_only_where_it_is_meant_for_us(environ: dict[str, str], expected_s: float | None) -> None:
    assert watchdog_s(environ) == expected_s


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_is_one_datagram_of_lines(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"@tracepool-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        systemd.notify("READY=1", systemd.status("serving\nMAINPID=1  and more"))
        assert manager.recv(1024) == b"READY=1\nSTATUS=serving MAINPID=1 and more", "no line of it is another message"


def test_a_manager_that_is_gone_or_busy_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    systemd.notify("READY=1")
    monkeypatch.setattr(systemd, "SEND_S", 0.001)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "busy"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "busy"))
        manager.setblocking(False)
        for _ in range(30):  # more messages than an unread socket holds: net.unix.max_dgram_qlen is at least 10
            systemd.notify("WATCHDOG=1")


def test_a_reload_tells_when_it_began() -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    first, second = systemd.reloading()
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
