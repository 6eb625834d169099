"""What a process finds in its environment if the parent of several processes started it, and the parent's part of that.

Everything else that a child needs is passed as to any daemon: settings in the environment, and listeners, notifications
and watchdog as systemd passes them. Imports only the standard library: it is also run as a script, between fork and
exec, because only there the child's process id is known (LISTEN_PID of sd_listen_fds(3)):

    python child.py PARENT_PID DESCRIPTOR,… PROGRAM ARGUMENT…
"""

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Mapping, Sequence

ROLE = "TRACEPOOL_CHILD"
SERVE, RETIRE = "serve", "retire"
"""Roles: one of the processes that answer clicks; or it ends the node of a directory that no process uses any more."""
FIRST_FD = 3  # SD_LISTEN_FDS_START
PR_SET_PDEATHSIG = 1  # prctl(2)


def is_child(environ: Mapping[str, str]) -> bool:
    return ROLE in environ


def is_retired(environ: Mapping[str, str]) -> bool:
    return environ.get(ROLE) == RETIRE


def command_of(descriptors: Sequence[int], program: Sequence[str]) -> list[str]:
    """The command of a child that ends with this process. To be started by the main thread, which must live on."""
    passed = ",".join(map(str, descriptors))
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), passed, *program]


def become(parent: str, descriptors: str, *program: str) -> None:
    """Replace this process by the program."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the daemon handles it
    # SIGKILL, because a process that is stopped (SIGSTOP) would keep the ports on any other signal.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)  # the parent ended before prctl
    given = [int(number) for number in descriptors.split(",") if number]
    copies = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, FIRST_FD + len(given)) for number in given]
    for number in given:
        os.close(number)
    for place, copy in enumerate(copies, FIRST_FD):
        os.dup2(copy, place)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.execv(program[0], program)  # noqa: S606 - no shell


if __name__ == "__main__":
    become(*sys.argv[1:])
