"""State directories that the embedded server's account can enter; as root, it cannot enter pytest's tmp_path."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from daemon.database import cluster

_one_at_a_time = threading.Lock()
_at_the_end = contextlib.ExitStack()
remove_model = _at_the_end.close
"""To be called when the tests of this process have ended."""


@contextlib.contextmanager
def open_state_dir(*, empty: bool = False) -> Iterator[Path]:
    """A new directory under /tmp with mode 0711, removed at the end together with a server that a test left in it.

    Unless it is `empty`, the embedded PostgreSQL is there, with the tables and without rows, and does not run.
    """
    state_dir = Path(tempfile.mkdtemp(prefix="tracepool-test-", dir="/tmp")).resolve()
    state_dir.chmod(0o711)
    try:
        if not empty:
            put_cluster(state_dir)
        yield state_dir
    finally:
        for pid_file in state_dir.rglob("postmaster.pid"):
            drop_server(pid_file.parent)
        shutil.rmtree(state_dir)


def put_cluster(state_dir: Path) -> None:
    """Make the files of an embedded PostgreSQL with the tables; the server does not run."""
    with _one_at_a_time:
        model = _model()
    subprocess.run(["cp", "-a", model / "postgres", state_dir], check=True)  # it keeps the owner


@functools.cache
def _model() -> Path:
    """A state directory to copy: a copy takes a twentieth of the CPU time of initdb and the migrations."""
    state_dir = _at_the_end.enter_context(open_state_dir(empty=True))
    command = [sys.executable, "-m", "daemon", "offers", "list"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"TRACEPOOL_STATE_DIR": str(state_dir)})
    with (state_dir / "postgres" / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.write("fsync = off\n")  # a busy disk takes longer than tests wait
    return state_dir


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
