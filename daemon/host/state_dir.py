"""The state directory: created if it is missing, and locked by one daemon at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.errors import AlreadyRunning, BadSettings

MODE = 0o711  # if the daemon is root, the account of the embedded server has to enter it


@contextmanager
def state_dir_held(path: Path) -> Iterator[None]:
    """Lock the directory. Raises AlreadyRunning with the other daemon's pid, or BadSettings if it cannot be used."""
    try:
        path.mkdir(mode=MODE, parents=True, exist_ok=True)
        lock = os.open(path / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise BadSettings(f"state_dir: {path}: {e.strerror}: name a directory that the daemon may write to") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(lock, 32).decode().strip() or "unknown"
            raise AlreadyRunning(
                f"another tracepool daemon (process {pid}) uses {path}: stop it, or set another state_dir"
            ) from None
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)
