"""The embedded PostgreSQL: a server in the state directory, shared by the daemon and the commands beside it.

All its files are in `state_dir/postgres`, closed to other accounts: `data` (the cluster), `run` (its Unix socket; there
is no TCP), `server.log`, and two lock files. Each process that uses the server holds `users.lock` shared. Starts and
stops happen under `change.lock`; the last user stops the server. A killed process holds no lock, and its server runs on
until the next process attaches. Synchronous: call it in a thread from Trio.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from daemon.database import cluster
from daemon.database.binaries import Account, choose_account, installed, reachable, refuse_unless_reachable
from daemon.errors import DatabaseSetupFailed

STOP_WAIT_S = 30.0
LOCK_WAIT_S = 90.0  # for a whole start and a whole stop by another process


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server, used by this process until `stop`. `url` is for asyncpg and libpq."""

    data_dir: Path
    socket_dir: Path
    url: str
    started_here: bool
    _users_lock: FileIO = field(repr=False, compare=False)

    def stop(self) -> None:
        """Ends this process's use of the server; the last user stops it. Calling it again does nothing.

        A server that died meanwhile is no error: `stop` and `start` bring it back. Raises DatabaseSetupFailed if the
        server does not stop in STOP_WAIT_S.
        """
        if not self._users_lock.closed:
            with cluster.translated_errors(self.data_dir.parent), _changing(self.data_dir.parent):
                _release(self.data_dir, self._users_lock)


def start(state_dir: Path, answer_s: float | None = None) -> EmbeddedServer:
    """Attaches to the running server of this state directory, or starts it, after creating the cluster if needed.

    Takes about a second the first time, 0.2 s later, up to 30 s after a crash. Creates the database `tracepool`. Raises
    DatabaseSetupFailed with PostgreSQL's messages and advice. `answer_s`: how long to wait for a running server that
    does not answer, instead of those 30 s.
    """
    home = state_dir.resolve() / "postgres"
    data = home / "data"
    with cluster.translated_errors(home):
        account = choose_account(data, home)
        _make_home(home, account)
        with _changing(home, account):
            users_lock = _open_lock(home / "users.lock", account)
            try:
                fcntl.flock(users_lock, fcntl.LOCK_SH)
                return _attach_or_start(data, account, users_lock, answer_s or cluster.READY_WAIT_S)
            except BaseException:
                users_lock.close()
                raise


def future_url(state_dir: Path) -> str:
    """The URL that this state directory's server will have when it has started."""
    return cluster.url(cluster.socket_dir_of(state_dir.resolve() / "postgres"))


def running_url(state_dir: Path) -> str | None:
    """The URL of this state directory's running server, or None. Changes nothing and takes no lock."""
    try:
        running = cluster.running(state_dir.resolve() / "postgres" / "data")
        return cluster.url(running[1]) if running and cluster.answers(installed()[0], running[1]) else None
    except (OSError, subprocess.TimeoutExpired, DatabaseSetupFailed):
        return None  # no access: not usable for this process


def _attach_or_start(data: Path, account: Account, users_lock: FileIO, answer_s: float) -> EmbeddedServer:
    binaries = cluster.binaries_for(data)
    running = cluster.running(data)
    if running is None:
        refuse_unless_reachable(data.parent, account)
        server_binaries = reachable(binaries, account, data.parent)
        if not (data / "PG_VERSION").exists():
            cluster.create_cluster(server_binaries, data, account)
        socket_dir = cluster.launch(server_binaries, data, account)
    else:
        socket_dir = running[1]
        cluster.wait(
            lambda: cluster.answers(binaries, socket_dir),
            answer_s,
            f"A PostgreSQL server (process {running[0]}) holds {data} but did not answer in {answer_s:g} s: "
            f"it may still be recovering from a crash, so try again; else see {data.parent / 'server.log'}.",
        )
    try:
        cluster.create_database(binaries, data, socket_dir)
    except BaseException:
        _release(data, users_lock)  # only if it is ready: a server stopped in its recovery would begin that again
        raise
    return EmbeddedServer(data, socket_dir, cluster.url(socket_dir), running is None, users_lock)


def _make_home(home: Path, account: Account) -> None:
    """Creates missing directories. Existing ones keep their modes; as root, new ones let the account through."""
    if not home.exists():
        there = next(parent for parent in home.parents if parent.exists())
        refuse_unless_reachable(there, account)
        for directory in reversed(home.parents[: list(home.parents).index(there)]):
            directory.mkdir(mode=0o700, exist_ok=True)
            directory.chmod(0o700 if account.is_us else 0o711)
        home.mkdir(mode=0o700, exist_ok=True)
    if not account.is_us and home.stat().st_uid == 0:
        os.chown(home, account.uid, account.gid)


@contextlib.contextmanager
def _changing(home: Path, account: Account | None = None) -> Iterator[None]:
    """Lets one process at a time start or stop the server. Raises DatabaseSetupFailed after LOCK_WAIT_S."""
    with _open_lock(home / "change.lock", account) as lock:
        message = f"Another process has been starting or stopping the server in {home} for {LOCK_WAIT_S:.0f} s."
        cluster.wait(lambda: _try_exclusive(lock), LOCK_WAIT_S, message)
        yield


def _open_lock(path: Path, account: Account | None = None) -> FileIO:
    """Python opens it close-on-exec: a server that inherited users.lock would never be stopped."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if account is not None and not account.is_us:
        os.fchown(fd, account.uid, account.gid)  # the account itself may run a command here
    return FileIO(fd, "r+")


def _try_exclusive(lock: FileIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _release(data: Path, users_lock: FileIO) -> None:
    """Closes `users_lock`, and stops the server if no other process holds it. The caller holds change.lock."""
    users_lock.close()
    with _open_lock(data.parent / "users.lock") as lock:
        if not _try_exclusive(lock):
            return
    if (running := cluster.running(data)) is None:  # change.lock keeps new users out
        return
    # A fast shutdown, like `pg_ctl stop -m fast`; pg_ctl itself does not run as root.
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(running[0], signal.SIGINT)
    message = f"PostgreSQL (process {running[0]}) in {data} has not stopped {STOP_WAIT_S:.0f} s after SIGINT."
    cluster.wait(lambda: not cluster.is_server_of(running[0], data), STOP_WAIT_S, message)
    if running[1] != data.parent / "run":
        with contextlib.suppress(OSError):  # a directory under /tmp that is not empty, or deleted already
            running[1].rmdir()
