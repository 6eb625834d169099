"""The state directory: created if it is missing, and locked by one daemon at a time."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from daemon.errors import AlreadyRunning, BadSettings, DiskUnavailable

MODE = 0o711  # if the daemon is root, the account of the embedded server has to enter it
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors of a disk that is full, has no inode left, is read-only or fails: they may pass."""


class StateDir:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def hold(self) -> None:
        """Creates and locks the directory, unless that is done.

        Raises AlreadyRunning with the other daemon's pid, BadSettings if the directory cannot be used, and
        DiskUnavailable if its disk refuses the lock file: a later call may succeed.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(mode=MODE, parents=True, exist_ok=True)
            lock = os.open(self.path / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
            raise AlreadyRunning(
                f"another tracepool daemon (process {pid}) uses {self.path}: stop it, or set another state_dir"
            ) from None
        self._lock = lock
        with suppress(OSError):  # the lock holds without the pid
            os.truncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)


def is_held(path: Path) -> bool:
    """Whether a daemon holds the directory."""
    try:
        lock = os.open(path / "daemon.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def state_dir_held(path: Path) -> Iterator[StateDir]:
    """Holds the directory, or leaves that to a later call of `hold` if the disk refuses the lock file.

    Raises AlreadyRunning and BadSettings.
    """
    state_dir = StateDir(path)
    with suppress(DiskUnavailable):
        state_dir.hold()
    try:
        yield state_dir
    finally:
        state_dir.release()
