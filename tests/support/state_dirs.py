"""State directories that the embedded server's account can enter; as root, it cannot enter pytest's tmp_path."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from daemon.database import cluster


@contextlib.contextmanager
def open_state_dir() -> Iterator[Path]:
    """A new directory under /tmp with mode 0711, removed at the end together with a server that a test left in it."""
    state_dir = Path(tempfile.mkdtemp(prefix="tracepool-test-", dir="/tmp")).resolve()
    state_dir.chmod(0o711)
    try:
        yield state_dir
    finally:
        for pid_file in state_dir.rglob("postmaster.pid"):
            drop_server(pid_file.parent)
        shutil.rmtree(state_dir)


def drop_server(data: Path) -> None:
    """Stop the server whose `data` nobody needs again.

    By an immediate shutdown (SIGQUIT): it writes no checkpoint, which on a busy disk takes longer than tests wait.
    """
    stop_server(data, signal.SIGQUIT)


def stop_server(data: Path, how: signal.Signals = signal.SIGINT) -> None:
    """Signal the server that holds `data`, past all locks, and wait until it has ended."""
    if found := cluster.running(data):
        os.kill(found[0], how)
        cluster.wait(lambda: not cluster.is_server_of(found[0], data), 30, f"server {found[0]} did not end")
