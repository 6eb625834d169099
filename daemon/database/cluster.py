"""The embedded cluster on disk and its server process. embedded.py holds the locks around these functions.

`data` is the cluster's directory. Its parent also holds the socket's directory `run`, `server.log` and, if the account
cannot read the wheel, a copy of the programs.
"""

import contextlib
import errno
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.database.binaries import ELSEWHERE, Account, Binaries, installed, run
from daemon.errors import DatabaseSetupFailed

DATABASE = SUPERUSER = "tracepool"
PORT = 5432  # of the socket's name
SOCKET_NAME = f".s.PGSQL.{PORT}"
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path less its NUL, unix(7)
READY_WAIT_S = 30  # covers crash recovery after a kill
POLL_S = 0.02
START_ATTEMPTS_MAX = 2
START_RETRY_S = 1.0  # the backends of a killed server need a moment to notice
LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_TAIL_BYTES = 4096

# Written into postgresql.conf at creation; an operator may change them there.
FIRST_SETTINGS = {
    "cluster_name": "tracepool",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",  # two lines every five minutes
}
CREATE_DATABASE = r"""SELECT 'CREATE DATABASE tracepool'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'tracepool') \gexec"""
# Words of the messages of PostgreSQL (in English, see `run`) and the C library, and advice for operators.
DISK_ADVICE = {
    "Disk quota exceeded": "The disk is full: free some space.",
    "No space left on device": "The disk is full: free some space.",
    "Read-only file system": "The file system is read-only: mount it writable or choose another state_dir.",
}
ADVICE = DISK_ADVICE | {
    "wrong ownership": "Its files belong to another user: give them back with chown, or run tracepool as that user.",
    "invalid permissions": "Its directory is open to others: `chmod 0700` it.",
    "ermission denied": "It lacks a permission: check the owners and modes on that path.",
    "contains errors": "Correct its configuration file; the line is named below.",
    "is still in use": "Processes of a killed server still run: wait a moment and start again.",
    'lock file "postmaster.pid" already exists': "Another server holds the data: stop it first.",
    "shared memory": "The machine is short of shared memory: free some, or lower shared_buffers in postgresql.conf.",
}


def binaries_for(data: Path) -> Binaries:
    """The installation that can read `data`; the newest one for a new cluster."""
    choices = installed()
    try:
        written_by = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return choices[0]
    for binaries in choices:
        if str(binaries.major) == written_by:
            return binaries
    have = ", ".join(str(binaries.major) for binaries in choices)
    raise DatabaseSetupFailed(
        f"{data} was written by PostgreSQL {written_by}; this installation has {have}. Start it once more with the "
        f"tracepool that wrote it or a PostgreSQL {written_by}, save it with `pg_dump -U {SUPERUSER} {DATABASE} > "
        f"tracepool.sql`, move {data} away, start tracepool again and load it with `tracepool psql -f tracepool.sql`."
    )


def create_cluster(binaries: Binaries, data: Path, account: Account) -> None:
    """Runs initdb in another directory and renames it, so that an unfinished cluster is never used.

    initdb syncs its files: to skip that saves nothing measurable and risks an empty cluster after a power cut.
    """
    unfinished = data.with_name("data.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    command: list[str | Path] = [binaries.bin_dir / "initdb", "-D", unfinished, f"--username={SUPERUSER}"]
    command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
    if binaries.major >= 17:  # case rules for all of Unicode, the same on every machine
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    for name, value in FIRST_SETTINGS.items():
        command += ["--set", f"{name}={value}"]
    made = run(command, account)
    if made.returncode:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise failed(f"initdb could not create {data}.", made.stderr or made.stdout)
    unfinished.rename(data)


def launch(binaries: Binaries, data: Path, account: Account) -> Path:
    """Starts the server as `account` and waits until it accepts connections. Returns its socket directory."""
    log, socket_dir = data.parent / "server.log", _socket_dir(data.parent, account)
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_name("server.log.1"))
    options = {"listen_addresses": "", "unix_socket_directories": str(socket_dir), "unix_socket_permissions": "0700"}
    words = ["-p", str(PORT), *(word for name, value in options.items() for word in ("-c", f"{name}={value}"))]
    command: list[str | Path] = [binaries.bin_dir / "pg_ctl", "start", "-D", data, "-l", log]
    command += ["-w", "-t", str(READY_WAIT_S), "-s", "-o", shlex.join(words)]
    for attempt in range(1, START_ATTEMPTS_MAX + 1):
        _remove_stale_locks(data, socket_dir)
        log_from = log.stat().st_size if log.exists() else 0
        # pg_ctl starts the server in its own session: neither Ctrl-C nor the end of this process stops it.
        started = run(command, account)
        if started.returncode == 0:
            return socket_dir
        if found := running(data):
            raise failed(
                f"PostgreSQL (process {found[0]}) is still starting in {data} after {READY_WAIT_S} s, as it may after "
                "a crash: try again.",
                _log_since(log, log_from),
            )
        if attempt < START_ATTEMPTS_MAX:
            time.sleep(START_RETRY_S)
    raise failed(f"PostgreSQL could not start in {data}.", f"{started.stderr.strip()}\n{_log_since(log, log_from)}")


def running(data: Path) -> tuple[int, Path] | None:
    """Process id and socket directory of the server that runs on `data`, ready or not, from its postmaster.pid."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    if not is_server_of(pid, data):
        return None
    named = lines[4] if len(lines) > 4 and lines[4] else str(data.parent / "run")
    return pid, Path(named)


def is_server_of(pid: int, data: Path) -> bool:
    """Whether the process is a running server on `data`, not a zombie or another process with the same id.

    True in case of doubt: then PostgreSQL's own locks decide.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs as another user
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return not Path("/proc/self").exists()
    if Path(os.fsdecode(words[0])).name != "postgres" or b"-D" not in words:
        return False
    try:
        return data.samefile(os.fsdecode(words[words.index(b"-D") + 1]))
    except OSError:
        return True


def _remove_stale_locks(data: Path, socket_dir: Path) -> None:
    """PostgreSQL itself does not remove a lock file whose process id is in use by another process or a zombie."""
    if running(data) is None:
        (data / "postmaster.pid").unlink(missing_ok=True)
        (socket_dir / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)  # the directory is private


def answers(binaries: Binaries, socket_dir: Path) -> bool:
    ask: list[str | Path] = [binaries.bin_dir / "pg_isready", "-q", "-t", "3", "-h", socket_dir]
    return run([*ask, "-U", SUPERUSER, "-d", "postgres"]).returncode == 0


def socket_dir_of(home: Path) -> Path:
    """`run` beside the cluster, or a directory under /tmp if that path is too long or unfit for a URL."""
    beside = home / "run"
    name = f"tracepool-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    for directory in (beside, Path(tempfile.gettempdir(), name), Path("/tmp", name)):  # noqa: S108 - checked below
        length = len(os.fsencode(directory / SOCKET_NAME))
        if length <= SOCKET_PATH_BYTES_MAX and re.fullmatch(r"[A-Za-z0-9/._-]+", str(directory)):
            return directory
    raise DatabaseSetupFailed(f"No directory has a path short enough for the server's socket. {ELSEWHERE}")


def _socket_dir(home: Path, account: Account) -> Path:
    """The directory for the server's socket, made if it is missing, and closed to others."""
    directory = socket_dir_of(home)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not account.is_us and found.st_uid == 0 and not directory.is_symlink():
        os.chown(directory, account.uid, account.gid, follow_symlinks=False)
        found = directory.lstat()
    if directory.is_symlink() or found.st_uid != account.uid or found.st_mode & 0o077:
        raise DatabaseSetupFailed(
            f"{directory} must be a directory of the user {account.name} with mode 0700, to hold the server's socket, "
            "but has another owner or is open to others: remove it."
        )
    return directory


def create_database(binaries: Binaries, data: Path, socket_dir: Path) -> None:
    """Creates DATABASE if it is missing, without an error in the server's log if it exists."""
    psql: list[str | Path] = [binaries.bin_dir / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", socket_dir]
    made = run([*psql, "-U", SUPERUSER, "-d", "postgres"], stdin=CREATE_DATABASE)
    if made.returncode:
        raise failed(f"The database {DATABASE} could not be created in {data}.", made.stderr)


def url(socket_dir: Path) -> str:
    """With the port, because clients would take it from $PGPORT."""
    return f"postgresql://{SUPERUSER}@/{DATABASE}?host={socket_dir}&port={PORT}"


def wait(done: Callable[[], bool], wait_s: float, message: str) -> None:
    """Calls `done` every POLL_S until it is true. Raises DatabaseSetupFailed with `message` after `wait_s`."""
    until = time.monotonic() + wait_s
    while not done():
        if time.monotonic() > until:
            raise DatabaseSetupFailed(message)
        time.sleep(POLL_S)


def limit_log(data: Path) -> None:
    """Moves the log of a running server to server.log.1 when it is large: the server goes on at the file's start.

    No link is followed, because the directory belongs to the server's account.
    """
    log = data.parent / "server.log"
    with contextlib.suppress(OSError):
        if log.lstat().st_size <= LOG_BYTES_MAX:
            return
        former = log.with_name("server.log.1")
        with open(os.open(log, os.O_RDWR | os.O_NOFOLLOW), "r+b") as file:
            former.unlink(missing_ok=True)
            with open(os.open(former, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as kept:
                shutil.copyfileobj(file, kept)
            file.truncate(0)


def failed(what: str, said: str) -> DatabaseSetupFailed:
    """An error with the failed step and advice, and as its note PostgreSQL's own message."""
    error = DatabaseSetupFailed(f"{what} {_advice_on(said)}")
    error.add_note(f"PostgreSQL said:\n{said.strip() or '(nothing)'}")
    return error


def is_of_disk(said: str) -> bool:
    """Whether the message is about a disk that is full or read-only."""
    return any(words in said for words in DISK_ADVICE)


def _advice_on(said: str) -> str:
    return next((advice for words, advice in ADVICE.items() if words in said), ELSEWHERE)


@contextlib.contextmanager
def translated_errors(home: Path) -> Iterator[None]:
    """Turns errors of the operating system into DatabaseSetupFailed with advice."""
    try:
        yield
    except subprocess.TimeoutExpired as e:
        raise DatabaseSetupFailed(f"{e.cmd[0]} did not end in {e.timeout:.0f} s. The disk may be very slow.") from e
    except OSError as e:
        advice = _advice_on(str(e))
        if e.errno in (errno.EACCES, errno.EPERM):
            advice = f"Run tracepool as the user that owns {home}, or as root. {ELSEWHERE}"
        raise DatabaseSetupFailed(f"The embedded PostgreSQL in {home} cannot be used: {e}. {advice}") from e


def _log_since(log: Path, log_from: int) -> str:
    """The last LOG_TAIL_BYTES that the server logged since offset `log_from`."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(log_from, log.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
