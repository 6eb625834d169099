"""The state directory: created if it is missing, and locked by one daemon at a time.

With `processes` above 1, the first process uses the state directory, as a daemon of one process does. The others have
directories of their own below it, `nodes/2` and so on. Their parent holds `nodes`.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from daemon.errors import AlreadyRunning, BadSettings, DiskUnavailable

PRIVATE_MODE = 0o700
ENTERED_MODE = 0o711  # as root: the account of the embedded server has to pass through it
DATABASE = "postgres"  # the embedded server's directory
NODES = "nodes"
LOCK = "daemon.lock"
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors of a disk that is full, has no inode left, is read-only or fails: they may pass."""


class StateDir:
    """`embedded`: the embedded server keeps its data in this directory."""

    def __init__(self, path: Path, *, embedded: bool = False) -> None:
        self.path = path
        self._embedded = embedded
        self._lock: int | None = None

    def hold(self) -> None:
        """Creates the directory, closes it to other accounts, and locks it, unless that is done.

        Raises AlreadyRunning with the other daemon's pid, BadSettings if the directory cannot be used, and
        DiskUnavailable if its disk refuses the lock file: a later call may succeed.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
            self._close()
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            if e.errno in DISK_ERRORS:
                raise DiskUnavailable(f"{self.path}: {e.strerror}") from None
            raise BadSettings(
                f"state_dir: {self.path}: {e.strerror}: name a directory that the daemon may write to"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(lock, 32).decode().strip() or "unknown"
            os.close(lock)
            raise already_running(self.path, pid) from None
        self._lock = lock
        with suppress(OSError):  # the lock holds without the pid
            os.truncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    def _close(self) -> None:
        """Sets the mode, whatever the umask, and also if the directory existed already.

        A directory with other directories in it, such as /var/lib, or with the sticky bit, such as /tmp, is not
        tracepool's alone and keeps its mode. The files of the daemon are closed to others in any case.
        """
        found = self.path.stat()
        is_entered = os.geteuid() == 0 and (self._embedded or (self.path / DATABASE).exists())
        mode = ENTERED_MODE if is_entered else PRIVATE_MODE
        is_shared = any(entry.is_dir() and entry.name not in (DATABASE, NODES) for entry in self.path.iterdir())
        if found.st_uid != os.geteuid() or found.st_mode & stat.S_ISVTX or is_shared:
            return
        if stat.S_IMODE(found.st_mode) != mode:
            self.path.chmod(mode)

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def already_running(path: Path, pid: str) -> AlreadyRunning:
    return AlreadyRunning(f"another tracepool daemon (process {pid}) uses {path}: stop it, or set another state_dir")


def refuse_beside_a_parent(state_dir: Path) -> None:
    """Raises AlreadyRunning if a parent of several processes uses the directory.

    While its first process restarts, nothing else holds the directory.
    """
    if is_held(state_dir / NODES):
        raise already_running(state_dir, (state_dir / NODES / LOCK).read_text().strip() or "unknown")


def is_held(path: Path) -> bool:
    """Whether a daemon holds the directory."""
    try:
        lock = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def directories_of(state_dir: Path) -> list[Path]:
    """The directory of each process: the state directory itself first, then those in `nodes`, in order."""
    return [state_dir, *(directory for _, directory in sorted(_numbered(state_dir)))]


def root_of(directory: Path) -> Path:
    """The state directory of a process's directory."""
    return directory.parent.parent if directory.parent.name == NODES else directory


def directory_of(state_dir: Path, number: int) -> Path:
    """`number`: 1 is the first process."""
    return state_dir if number == 1 else state_dir / NODES / str(number)


def retired_directories(state_dir: Path, processes: int) -> list[Path]:
    """The directories of processes beyond `processes`, of an earlier run with more of them."""
    return [directory for number, directory in sorted(_numbered(state_dir)) if number > processes]


def _numbered(state_dir: Path) -> list[tuple[int, Path]]:
    with suppress(OSError):
        return [
            (int(entry.name), entry)
            for entry in (state_dir / NODES).iterdir()
            if entry.name.isascii() and entry.name.isdecimal() and entry.is_dir()
        ]
    return []


@contextmanager
def state_dir_held(path: Path, *, embedded: bool = False) -> Iterator[StateDir]:
    """Holds the directory, or leaves that to a later call of `hold` if the disk refuses the lock file.

    Raises AlreadyRunning and BadSettings.
    """
    state_dir = StateDir(path, embedded=embedded)
    with suppress(DiskUnavailable):
        state_dir.hold()
    try:
        yield state_dir
    finally:
        state_dir.release()
