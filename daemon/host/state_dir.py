"""The state directory: made where it is missing, and held by one daemon at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.errors import AlreadyRunning, BadSettings

MODE = 0o711  # as root, the embedded server's account has to pass through


@contextmanager
def state_dir_held(path: Path) -> Iterator[None]:
    """Raises AlreadyRunning with the other daemon's pid, or BadSettings where the directory cannot be used."""
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
                f"another tracepool daemon (process {pid}) works in {path}: stop it, or set another state_dir"
            ) from None
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)
