"""What systemd and the daemon say to each other: sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3).

Without systemd, where none of their variables is set, all of it does nothing.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

import structlog

from daemon.errors import BadSettings

FIRST_FD = 3  # SD_LISTEN_FDS_START
SEND_S = 0.1  # the whole daemon waits: a manager that is busy for longer misses a message
STATUS_CHARACTERS_MAX = 200

log = structlog.get_logger("daemon")


def notify(*assignments: str) -> None:
    """`READY=1`, `WATCHDOG=1` and the like. A manager that does not listen is no reason to stop."""
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
    """The assignment that `systemctl status` shows a line by."""
    return "STATUS=" + " ".join(line.split())[:STATUS_CHARACTERS_MAX]


def reloading() -> tuple[str, str]:
    """What begins a reload; READY=1 ends it. Type=notify-reload tells by the time which SIGHUP it answers."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_s(environ: MutableMapping[str, str]) -> float | None:
    """How long the manager waits for a WATCHDOG=1 before it ends us, or None where it does not."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # it is the process's that started us
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) > 0 else None


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """A descriptor that the manager opened for us, and the FileDescriptorName= of its unit."""

    fd: int
    name: str


def passed_sockets(environ: MutableMapping[str, str]) -> list[PassedSocket]:
    """The sockets that came with the start, taken out of the environment: they are no child's.

    Raises BadSettings where the variables contradict each other.
    """
    pid, count, names = (environ.pop(f"LISTEN_{what}", "") for what in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()):
        return []  # they are the process's that started us
    if not count.isdecimal():
        raise BadSettings(f"environment variable LISTEN_FDS: {count!r} is not a number of sockets")
    fds = range(FIRST_FD, FIRST_FD + int(count))
    named = names.split(":") if names else ["unknown"] * len(fds)
    if len(named) != len(fds):
        raise BadSettings(f"environment variable LISTEN_FDNAMES: {names!r} are not the names of {count} sockets")
    for fd in fds:
        os.set_inheritable(fd, False)
    return [PassedSocket(fd, name) for fd, name in zip(fds, named, strict=True)]
