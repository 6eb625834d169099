"""The files of the spool: private, and watched while they are open.

A tool or an operator may delete, replace, truncate or overwrite them while the daemon runs. SQLite does not notice: it
writes on to a file that no path leads to, and a crash would lose what was written. `SpoolFiles.fault` notices; the
spool is then copied into a new file, from the old one that is still open, or else from memory.

Synchronous: it runs in a thread, see spool.py.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = ("", "-wal", "-shm")  # of the database, its log, and the log's index in shared memory
DIRECTORY_MODE, FILE_MODE = 0o700, 0o600
SHARED_BITS = 0o077
ASIDE = ".replaced"  # after the name of a foreign file, which is kept
UNFINISHED = ".new"
RECENT_MAX = 10_000
PRIMARY_CODE = 0xFF  # of SQLite's extended error codes
NO_DAMAGE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY)


@dataclass(frozen=True, slots=True)
class _Known:
    """A file as it was after the last look. `written_ns`: when it was written last."""

    device: int
    inode: int
    size: int
    written_ns: int


@dataclass(slots=True)
class SpoolFiles:
    """The files of a SQLite database in WAL mode. `path` is the database itself."""

    path: Path
    _known: dict[str, _Known] = field(default_factory=dict)

    def make_private(self) -> None:
        """Creates the database's file if it is missing, and closes the files to other accounts.

        SQLite gives the other files the mode of the database.
        """
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        for path in self._paths():
            if path.exists() and path.stat().st_mode & SHARED_BITS:
                path.chmod(FILE_MODE)

    def look(self) -> None:
        """Remembers the files as they are: call it after each checkpoint, which writes the database's file."""
        self._known = {suffix: known for suffix in SUFFIXES if (known := self._found(suffix)) is not None}

    def fault(self) -> str | None:
        """What somebody else has done to the files since, in words; None if nothing."""
        for suffix, known in self._known.items():
            name = f"{self.path.name}{suffix}"
            found = self._found(suffix)
            if found is None:
                return f"{name} was deleted"
            if (found.device, found.inode) != (known.device, known.inode):
                return f"{name} was replaced by another file"
            if found.size < known.size:
                return f"{name} was truncated from {known.size} to {found.size} bytes"
            if not suffix and found.written_ns != known.written_ns:
                return f"{name} was written by another program"
            self._known[suffix] = found
        return None

    def prepare(self) -> None:
        """Call it before the old files are read once more.

        The directory may be gone, too. To read a mapped page beyond the end of the index would end the process.
        """
        self.path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        index, known = SUFFIXES[2], self._known.get(SUFFIXES[2])
        found = self._found(index)
        if known is not None and found is not None and found.inode == known.inode and found.size < known.size:
            os.truncate(f"{self.path}{index}", known.size)

    def set_aside(self) -> list[str]:
        """Clears the path for a new database. Foreign files are renamed, own ones deleted. Returns the new names."""
        kept = []
        for suffix, path in zip(SUFFIXES, self._paths(), strict=True):
            found, known = self._found(suffix), self._known.get(suffix)
            if found is None:
                continue
            if known is not None and (found.device, found.inode) == (known.device, known.inode):
                path.unlink(missing_ok=True)
            else:
                kept.append(str(path.replace(f"{self.path}{ASIDE}{suffix}")))
        return kept

    def _paths(self) -> list[Path]:
        return [Path(f"{self.path}{suffix}") for suffix in SUFFIXES]

    def _found(self, suffix: str) -> _Known | None:
        try:
            found = os.stat(f"{self.path}{suffix}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _Known(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


class Recent:
    """The last entries that PostgreSQL does not have yet, in memory, for a file that cannot be read any more.

    `node`: node id and epoch. `last_seq`: of the last entry that was ever written.
    """

    def __init__(self, node: tuple[str, int], last_seq: int) -> None:
        self.node = node
        self.last_seq = last_seq
        self.rows: deque[tuple[int, str, str]] = deque(maxlen=RECENT_MAX)

    def add(self, entries: Sequence[tuple[str, str]], last_seq: int, applied_seq: int) -> None:
        """(kind, body) pairs were written, the last one as `last_seq`; PostgreSQL has those up to `applied_seq`."""
        self.last_seq = last_seq
        self.rows += [(seq, kind, body) for seq, (kind, body) in enumerate(entries, last_seq - len(entries) + 1)]
        while self.rows and self.rows[0][0] <= applied_seq:
            self.rows.popleft()

    def move(self, after_seq: int, by: int) -> None:
        """The entries after `after_seq`, and those to come, have numbers that are higher by `by`."""
        self.last_seq += by
        self.rows = deque(((seq + by * (seq > after_seq), kind, body) for seq, kind, body in self.rows), RECENT_MAX)

    def replace(self, bodies: Mapping[int, str]) -> None:
        """The entries of these numbers have other bodies now."""
        self.rows = deque(((seq, kind, bodies.get(seq, body)) for seq, kind, body in self.rows), RECENT_MAX)

    def rename(self, kinds: Mapping[str, str], after_seq: int) -> None:
        """The entries after `after_seq` of a kind in `kinds` have another kind now."""
        self.rows = deque(
            ((seq, kinds.get(kind, kind) if seq > after_seq else kind, body) for seq, kind, body in self.rows),
            RECENT_MAX,
        )


@dataclass(frozen=True, slots=True)
class Remade:
    """The files were made anew because of `why`. `aside`: the new names of foreign files.

    `lost`: entries that PostgreSQL did not have, and that were neither in the old files nor in memory.
    """

    why: str
    lost: int
    aside: list[str]


def made_anew(
    files: SpoolFiles, why: str, old: sqlite3.Connection, schema: str, recent: Recent, applied_seq: int
) -> Remade:
    """Puts a new database at the path, with all rows of the old files, which are still open.

    If these are damaged, the new one has what the memory has. Raises sqlite3.Error and OSError if the disk fails; then
    a later call may succeed.
    """
    files.prepare()
    lost = 0
    try:
        fresh = _copied(old, files.path, schema)
    except sqlite3.Error as e:
        if getattr(e, "sqlite_errorcode", 0) & PRIMARY_CODE in NO_DAMAGE:
            raise
        rows = [row for row in recent.rows if row[0] > applied_seq]
        fresh = _rebuilt(files.path, schema, recent, rows, applied_seq)
        lost = max(0, recent.last_seq - applied_seq - len(rows))
    aside = files.set_aside()
    fresh.replace(files.path)
    return Remade(why, lost, aside)


def _copied(old: sqlite3.Connection, path: Path, schema: str) -> Path:
    fresh = _created(path, schema)
    old.execute("attach database ? as fresh", (str(fresh),))
    try:
        old.execute("begin")
        with old:  # which ends it
            tables = old.execute("select name from fresh.sqlite_master where type = 'table'").fetchall()
            for (table,) in tables:
                old.execute(f"delete from fresh.{table}")  # noqa: S608
                old.execute(f"insert into fresh.{table} select * from main.{table}")  # noqa: S608
    finally:
        with suppress(sqlite3.Error):
            old.execute("detach database fresh")
    return fresh


def _rebuilt(path: Path, schema: str, recent: Recent, rows: list[tuple[int, str, str]], applied_seq: int) -> Path:
    fresh = _created(path, schema)
    with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        connection.execute("begin")
        with connection:
            connection.execute("insert into node values (?, ?)", recent.node)
            connection.execute("insert into applied values (?)", (applied_seq,))
            connection.executemany("insert or replace into entries (seq, kind, body) values (?, ?, ?)", rows)
            connection.execute("delete from sqlite_sequence")
            connection.execute("insert into sqlite_sequence values ('entries', ?)", (recent.last_seq,))
    return fresh


def _created(path: Path, schema: str) -> Path:
    fresh = Path(f"{path}{UNFINISHED}")
    fresh.unlink(missing_ok=True)
    SpoolFiles(fresh).make_private()
    with closing(sqlite3.connect(fresh)) as connection:
        connection.executescript(schema)
    return fresh
