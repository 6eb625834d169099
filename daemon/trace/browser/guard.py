"""The parent process of a browser: starts it, and removes its processes and its profile directory when it ends.

Imports only the standard library, because it is run as a script:

    python guard.py READ_FD WRITE_FD UID GID PROGRAM ARGUMENT…

The browser reads commands from READ_FD and writes events to WRITE_FD. It runs as the account UID and GID. The guard's
standard input is a pipe from the daemon. It ends when the daemon wants the browser to end, or has ended itself, by
SIGKILL too. If the guard is killed, the kernel kills the browser, or the script that has started it. In this case the
daemon closes the pipes, and the browser ends by itself.
"""

import ctypes
import fcntl
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "tracepool-browser-"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38  # prctl(2)
# Private writable memory of one process of the browser. An idle one has 300 to 650 MB of it, most of it never touched.
DATA_BYTES_MAX = 1024**3
FD_MAX = 4_096
TO_BROWSER, FROM_BROWSER = 3, 4  # of --remote-debugging-pipe


def main(reads: str, writes: str, uid: str, gid: str, *command: str) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input ends the guard
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    remove_profiles_left()
    profile = Path(tempfile.mkdtemp(prefix=PREFIX))
    held = _hold(profile)
    try:
        if os.geteuid() == 0:  # the units forbid the call otherwise, even to no effect
            os.chown(profile, int(uid), int(gid))
        browser = os.fork()
        if browser == 0:
            _become(libc, int(reads), int(writes), int(uid), int(gid), profile, command)
        os.close(int(reads))
        os.close(int(writes))
        ended = os.pidfd_open(browser)
        select.select([0, ended], [], [])
        _kill_all()
    finally:
        shutil.rmtree(profile, ignore_errors=True)
        os.close(held)


def remove_profiles_left() -> None:
    """Removes the profile directories of guards that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            held = _hold(left)
            shutil.rmtree(left, ignore_errors=True)
            os.close(held)


def _hold(directory: Path) -> int:
    """Locks a directory of this account, so that no other guard removes it. Raises OSError if another one holds it."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return held


def _become(
    libc: ctypes.CDLL, reads: int, writes: int, uid: int, gid: int, profile: Path, command: tuple[str, ...]
) -> None:
    """Replaces this process by the browser. Does not return."""
    try:
        os.setsid()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for limit, most in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_DATA, DATA_BYTES_MAX),
            (resource.RLIMIT_NOFILE, min(FD_MAX, hard)),
        ):
            resource.setrlimit(limit, (most, most))
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of the account, which clears it
        copies = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10) for number in (reads, writes)]
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.dup2(copies[0], TO_BROWSER)
        os.dup2(copies[1], FROM_BROWSER)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(profile), "TMPDIR": str(profile)}
        os.chdir("/")
        os.execve(command[0], [*command, f"--user-data-dir={profile}"], environment)  # noqa: S606 - no shell
    finally:
        os._exit(127)


def _kill_all() -> None:
    """Kills all descendants: those that lose their parent become children of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        with suppress(OSError, ValueError):
            for child in map(int, children.read_text().split()):
                os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
