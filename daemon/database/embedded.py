"""The embedded PostgreSQL: a real server in the state directory, shared by the daemon and the commands beside it.

Everything lies in `state_dir/postgres`, closed to other accounts: `data` (the cluster), `run` (its Unix socket; there
is no TCP), `server.log`, and two lock files. Whoever uses the server holds `users.lock` shared. Starts and stops happen
under `change.lock`, and who lets go stops the server if nobody else holds `users.lock`: the last one out. A killed
process holds nothing, and its server stays for the next one, who attaches. Synchronous: call it in a thread from Trio.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from daemon.database import cluster
from daemon.database.binaries import Account, choose_account, installed, reachable, refuse_unless_reachable
from daemon.errors import DatabaseSetupFailed

STOP_WAIT_S = 30.0
LOCK_WAIT_S = 90.0  # another process may be at a whole start and a whole stop


@dataclass(slots=True)
class _Hold:
    """A shared lock on users.lock; closing it twice is once."""

    fd: int

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def is_open(self) -> bool:
        return self.fd >= 0


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A server that runs and is held by this process until `stop`. `url` serves asyncpg and libpq alike."""

    data_dir: Path
    socket_dir: Path
    url: str
    bin_dir: Path
    started_here: bool
    _hold: _Hold = field(repr=False, compare=False)

    def stop(self) -> None:
        """Let go of the server; it is stopped if nobody else uses it. Calling it again does nothing.

        A server that died meanwhile is no error: `stop` and `start` again bring it back. Raises DatabaseSetupFailed
        where the server does not stop in STOP_WAIT_S.
        """
        if not self._hold.is_open:
            return
        with cluster.named_errors(self.data_dir.parent), _changing(self.data_dir.parent):
            _let_go(self.data_dir, self._hold)


def start(state_dir: Path) -> EmbeddedServer:
    """The server of this state directory, attached to if it runs, else started, and created where there is none.

    Takes about a second the first time, 0.2 s later, up to 30 s after a crash. Ends with a database `tracepool`. Every
    failure is DatabaseSetupFailed with what PostgreSQL said and what to do.
    """
    home = state_dir.resolve() / "postgres"
    data = home / "data"
    with cluster.named_errors(home):
        account = choose_account(data, home)
        _make_home(home, account)
        with _changing(home, account):
            hold = _Hold(_open_lock(home / "users.lock", account))
            try:
                fcntl.flock(hold.fd, fcntl.LOCK_SH)
                return _attach_or_start(data, account, hold)
            except BaseException:
                hold.close()
                raise


def running_url(state_dir: Path) -> str | None:
    """The URL of the server that runs in this state directory now, or None. Touches nothing, holds nothing."""
    try:
        running = cluster.running(state_dir.resolve() / "postgres" / "data")
        return cluster.url(running[1]) if running and cluster.answers(installed()[0], running[1]) else None
    except (OSError, subprocess.TimeoutExpired, DatabaseSetupFailed):
        return None  # what cannot be looked at does not run for us


def _attach_or_start(data: Path, account: Account, hold: _Hold) -> EmbeddedServer:
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
            cluster.READY_WAIT_S,
            f"A PostgreSQL server (process {running[0]}) holds {data} but did not answer in {cluster.READY_WAIT_S} s: "
            f"it may still be recovering from a crash, so try again; else see {data.parent / 'server.log'}.",
        )
    try:
        cluster.create_database(binaries, data, socket_dir)
    except BaseException:
        _let_go(data, hold)  # only a server that is ready: stopped within its recovery, it would begin that again
        raise
    return EmbeddedServer(data, socket_dir, cluster.url(socket_dir), binaries.bin_dir, running is None, hold)


def _make_home(home: Path, account: Account) -> None:
    """Create what is missing. Directories that exist keep their modes; as root, new ones let the account through."""
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
    """One process at a time starts or stops the server. DatabaseSetupFailed if that takes LOCK_WAIT_S."""
    fd = _open_lock(home / "change.lock", account)
    try:
        message = f"Another process has been starting or stopping the server in {home} for {LOCK_WAIT_S:.0f} s."
        cluster.wait(lambda: _try_exclusive(fd), LOCK_WAIT_S, message)
        yield
    finally:
        os.close(fd)


def _open_lock(path: Path, account: Account | None = None) -> int:
    """Python opens it close-on-exec, which matters: a server that held its own users.lock would never be stopped."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if account is not None and not account.is_us:
        os.fchown(fd, account.uid, account.gid)  # the account itself may run a command here
    return fd


def _try_exclusive(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go(data: Path, hold: _Hold) -> None:
    """Give up our share and stop the server if it was the last one. The caller holds change.lock."""
    hold.close()
    users = os.open(data.parent / "users.lock", os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    finally:
        os.close(users)  # change.lock, which we hold, keeps new users out
    if (running := cluster.running(data)) is None:
        return
    # Fast shutdown, as `pg_ctl stop -m fast` does it; pg_ctl itself would refuse root.
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(running[0], signal.SIGINT)
    message = f"PostgreSQL (process {running[0]}) in {data} was told to stop and still runs after {STOP_WAIT_S:.0f} s."
    cluster.wait(lambda: not cluster.is_server_of(running[0], data), STOP_WAIT_S, message)
    if running[1] != data.parent / "run":
        with contextlib.suppress(OSError):  # a directory under /tmp that something else lies in, or that is gone
            running[1].rmdir()
