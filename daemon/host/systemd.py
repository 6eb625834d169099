"""systemd's protocols: sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3).

Without systemd their environment variables are not set, and these functions do nothing.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

import structlog

from daemon.errors import BadSettings

FIRST_FD = 3  # SD_LISTEN_FDS_START
SEND_S = 0.1  # sending blocks the whole daemon; a message that systemd does not read in this time is lost
STATUS_CHARACTERS_MAX = 200

log = structlog.get_logger("daemon")


def notify(*assignments: str) -> None:
    """Send assignments such as `READY=1` and `WATCHDOG=1`. An error is only logged."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(SEND_S)
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.send("\n".join(assignments).encode())
    except OSError as e:
        log.warning("notify_failed", message=" ".join(assignments), why=str(e))


def status(line: str) -> str:
    """The assignment that makes `systemctl status` show a line."""
    return "STATUS=" + " ".join(line.split())[:STATUS_CHARACTERS_MAX]


def reloading() -> tuple[str, str]:
    """The assignments at the begin of a reload, which READY=1 ends. systemd matches the time with its SIGHUP."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_s(environ: MutableMapping[str, str]) -> float | None:
    """The time after which systemd kills this process without a WATCHDOG=1; None without a watchdog."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # it is for the parent process
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) > 0 else None


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """A descriptor that systemd opened for this process, and the FileDescriptorName= of its unit."""

    fd: int
    name: str


def passed_sockets(environ: MutableMapping[str, str]) -> list[PassedSocket]:
    """The sockets that systemd passed. Their variables are removed, so that no child process uses them.

    Raises BadSettings if the variables contradict each other.
    """
    pid, count, names = (environ.pop(f"LISTEN_{what}", "") for what in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()):
        return []  # they are for the parent process
    if not count.isdecimal():
        raise BadSettings(f"environment variable LISTEN_FDS: {count!r} is not a number of sockets")
    fds = range(FIRST_FD, FIRST_FD + int(count))
    named = names.split(":") if names else ["unknown"] * len(fds)
    if len(named) != len(fds):
        raise BadSettings(f"environment variable LISTEN_FDNAMES: {names!r} are not the names of {count} sockets")
    for fd in fds:
        os.set_inheritable(fd, False)
    return [PassedSocket(fd, name) for fd, name in zip(fds, named, strict=True)]
