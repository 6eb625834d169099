"""The journal's local spool: one SQLite file in the state directory. Synchronous: it runs in a thread.

WAL with synchronous=FULL: entries survive a power cut after `append` has returned. One connection writes; the shipper
reads through another one, so that neither waits for the other. Sequence numbers never repeat in a file, and a new file
has a new node id, so (node_id, seq) identifies an entry for ever.

The files are watched, see spool_files.py: if they are deleted, replaced or truncated while the daemon runs, they are
made anew with the same node id and the same sequence numbers.

Applied entries stay for a while: a database may lose them again, and they tell which IPs rest. `applied_seq` is the
last entry that PostgreSQL has had. Entries that PostgreSQL refused are kept in a table of their own, see refused.py.
"""

import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from daemon.database.failures import Refusal
from daemon.journal import copies, refused
from daemon.journal.entries import COUNTED, KINDS, STATES, IpChanged, IpGiven
from daemon.journal.refused import RefusedEntry
from daemon.journal.spool_files import Recent, Remade, SpoolFiles, made_anew

FILE = "journal.sqlite"  # in the state directory
SCHEMA = f"""
create table if not exists node (node_id text not null, epoch integer not null);
create table if not exists entries (seq integer primary key autoincrement, kind text not null, body text not null);
create table if not exists applied (seq integer not null);
{refused.SCHEMA}{copies.SCHEMA}"""
KEPT = (KINDS[IpChanged], KINDS[IpGiven])  # not removed for room: a lease must not be forgotten
PASSED_OVER = "passed_over"  # the kind of an empty entry
OUTDATED = {KINDS[IpChanged]: COUNTED, KINDS[IpGiven]: PASSED_OVER}
INSERT = "insert into entries (kind, body) values (?, ?)"
BYTES_USED = (
    "select (page_count - freelist_count) * page_size from pragma_page_count, pragma_freelist_count, pragma_page_size"
)
ROWS_AT_ONCE = 50  # per statement, since each statement releases and takes the GIL
MEASURED_EACH_BYTES = 65_536  # and whenever entries are removed
BUSY_TIMEOUT_S = 5.0
BYTES_MAX = 1024**3
DROP_ENTRIES = 5_000  # at a time, when the bound is reached
WAL_PAGES_MAX = 4_000  # checkpoint after about 16 MB
PAGES_OF_COMMIT = 4  # in the WAL, beside those of the rows
PAGE_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class SpooledEntry:
    seq: int
    kind: str
    body: str


class Spool:
    """Raises sqlite3.Error if the disk fails; the write is rolled back then.

    Above `bytes_max` the oldest hits and traces are removed, but no states of IPs: a lease must not be forgotten.
    `opened_seq`: the last entry of earlier runs. `refused`: how many entries that PostgreSQL refused are kept.
    `refused_traces`: see refused.traces. `is_copy`, `may_be_copy`: see copies.py.
    """

    def __init__(self, path: Path, bytes_max: int = BYTES_MAX) -> None:
        self.path = path
        self.bytes_max = bytes_max
        self.remade: list[Remade] = []
        self._files = SpoolFiles(path)
        self._one_at_a_time = threading.Lock()  # threads of several tasks write through the one connection
        self._reading = threading.Lock()
        self._open()
        with self._transaction():
            self._use(copies.opened(self._writer, path))
        self._count_refused()
        self.bytes = self.bytes_used()  # of the last measurement
        self._unmeasured_bytes = 0
        self.opened_seq = self.bounds()[1]
        self._recent = Recent((str(self.node_id), self.epoch), self.opened_seq)
        self._files.look()

    def _use(self, run: copies.Opened) -> None:
        self.node_id, self.epoch, self.applied_seq = uuid.UUID(run.node_id), run.epoch, run.applied_seq
        self.is_copy, self.may_be_copy = run.is_copy, run.may_be_copy
        self._facts_seq = 0

    def is_original(self) -> None:
        """No other run with this node id is alive: the next start of this boot need not ask again."""
        with self._transaction():
            copies.record_boot(self._writer, self.path)
        self.may_be_copy = False

    def become_copy(self, *, all_facts: bool = False) -> None:
        """Another run with this node id is alive: this file is a new node's from now on, see copies.py."""
        with self._transaction():
            self._use(copies.made_own(self._writer, self.path, all_facts=all_facts))
            self._recent.node = str(self.node_id), self.epoch
            self._recent.rename(dict.fromkeys(STATES, PASSED_OVER), 0)
        self._count_refused()

    def _open(self) -> None:
        try:
            self._files.make_private()
        except OSError as e:
            raise sqlite3.OperationalError(e.strerror) from e
        self._writer = self._connect()
        self._writer.executescript(SCHEMA)
        self._reader = self._connect()
        self._wal_pages = 0  # at most, since the last checkpoint
        self._is_open = True

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma wal_autocheckpoint = 0")  # see _checkpoint
        return connection

    def check_files(self) -> None:
        """Makes the files anew if they are not those that were opened."""
        with self._one_at_a_time:
            self._keep_files()

    def _keep_files(self) -> None:
        if not self._is_open:  # it could not be opened again
            self._open()
        if (why := self._files.fault()) is None:
            return
        try:
            with self._reading:
                self._remake(why)
        except OSError as e:
            raise sqlite3.OperationalError(f"{why}, and it cannot be made anew: {e.strerror}") from e

    def _remake(self, why: str) -> None:
        self.remade.append(made_anew(self._files, why, self._writer, SCHEMA, self._recent, self.applied_seq))
        self.close()  # before the new file is opened: SQLite deletes the log at the old name
        self._files.look()
        self._open()
        copies.record_place(self._writer, self.path)
        self._count_refused()
        self._files.look()

    def _checkpoint(self, written_bytes: int, mode: str = "passive") -> None:
        """Moves the WAL's pages to the database now and then. SQLite's own checkpoints would hide foreign writes."""
        self._wal_pages += PAGES_OF_COMMIT + written_bytes // PAGE_BYTES
        if self._wal_pages >= WAL_PAGES_MAX:
            with suppress(sqlite3.Error):  # what is committed stays in the WAL
                self._writer.execute(f"pragma wal_checkpoint({mode})").fetchall()
            self._wal_pages = 0
            self._files.look()

    def _count_refused(self) -> None:
        self.refused, self.refused_traces = refused.count(self._writer), refused.traces(self._writer)

    def append(self, entries: Sequence[tuple[str, str]], forget_seq: int = 0, applied_seq: int = 0) -> int:
        """Makes (kind, body) pairs durable in order, removes entries up to `forget_seq`, and notes `applied_seq`.

        0 means none. Returns how many entries were removed for room before PostgreSQL had them. Without entries it
        still commits, so that a failing disk is noticed.
        """
        written_bytes = sum(len(body) for _, body in entries)
        self._unmeasured_bytes += written_bytes
        alone = not forget_seq and not applied_seq
        if 0 < len(entries) <= ROWS_AT_ONCE and alone and self._unmeasured_bytes < MEASURED_EACH_BYTES:
            with self._one_at_a_time:
                self._keep_files()
                self._insert(entries)  # a statement alone is a transaction
                self._checkpoint(written_bytes)
            return 0
        with self._transaction(written_bytes):
            self.applied_seq = max(self.applied_seq, applied_seq)
            self._writer.execute("update applied set seq = ?", (self.applied_seq,))
            if forget_seq:
                self._writer.execute("delete from entries where seq <= ?", (forget_seq,))
            for start in range(0, len(entries), ROWS_AT_ONCE):
                self._insert(entries[start : start + ROWS_AT_ONCE])
            self.bytes, self._unmeasured_bytes = self.bytes_used(), 0
            return self._make_room() if self.bytes > self.bytes_max else 0

    def _insert(self, rows: Sequence[tuple[str, str]]) -> None:
        done = self._writer.execute(", ".join([INSERT, *["(?, ?)"] * (len(rows) - 1)]), [*chain(*rows)])
        self._recent.add(rows, done.lastrowid or 0, self.applied_seq)

    @contextmanager
    def _transaction(self, written_bytes: int = 0, checkpoint: str = "passive") -> Iterator[None]:
        with self._one_at_a_time:
            self._keep_files()
            self._writer.execute("begin immediate")
            with self._writer:  # which ends it
                yield
            self._checkpoint(written_bytes, checkpoint)

    def bytes_used(self) -> int:
        """The size of the pages in use."""
        return int(self._writer.execute(BYTES_USED).fetchone()[0])

    def _make_room(self) -> int:
        """Removes applied facts, else applied states, else refused entries, else other facts.

        Returns how many were removed without having been applied.
        """
        oldest = "delete from {0} where seq in (select seq from {0} where {1} order by seq limit ?)"
        facts = f"seq <= ? and kind not in {STATES}"
        for which, seq in ((facts, self._facts_seq), ("seq <= ?", self.applied_seq)):
            if self._writer.execute(oldest.format("entries", which), (seq, DROP_ENTRIES)).rowcount:
                return 0
        for table, which in (("refused", "true"), ("entries", f"kind not in {KEPT}")):
            if removed := self._writer.execute(oldest.format(table, which), (DROP_ENTRIES,)).rowcount:
                break
        self._count_refused()
        return removed

    def _query(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._reading:
            return self._reader.execute(sql, values).fetchall()

    def read(self, after_seq: int, entries_max: int) -> list[SpooledEntry]:
        following = "select seq, kind, body from entries where seq > ? order by seq limit ?"
        rows = self._query(following, (after_seq, entries_max))
        return [SpooledEntry(*row) for row in rows]

    def last(self, kind: str, up_to_seq: int) -> SpooledEntry | None:
        """The last entry of a kind up to `up_to_seq`."""
        latest = "select seq, kind, body from entries where kind = ? and seq <= ? order by seq desc limit 1"
        rows = self._query(latest, (kind, up_to_seq))
        return SpooledEntry(*rows[0]) if rows else None

    def backlog(self, facts_seq: int, states_seq: int | None = None) -> int:
        """How many facts follow `facts_seq`, and states `states_seq` (default: the same)."""
        states_seq = facts_seq if states_seq is None else states_seq
        [(count,)] = self._query(
            f"select count(*) from entries where seq > case when kind in {STATES} then ? else ? end",  # noqa: S608
            (states_seq, facts_seq),
        )
        return int(count)

    def note_facts(self, seq: int) -> None:
        """PostgreSQL has all facts up to `seq`, while `applied_seq` counts facts and states."""
        self._facts_seq = seq

    def bounds(self) -> tuple[int | None, int]:
        """(the first entry that is there, the last one that was ever written), read in one transaction."""
        [(first, last)] = self._query(
            "select (select min(seq) from entries), (select seq from sqlite_sequence where name = 'entries')"
        )
        return first, last or 0

    def bodies(self, kind: str) -> list[str]:
        """The bodies of all entries of a kind, applied ones too, in order."""
        kinds = (kind, f"{refused.PREFIX}{kind}")
        rows = self._query("select body from entries where kind in (?, ?) order by seq", kinds)
        return [body for (body,) in rows]

    def outdate_states(self, after_seq: int) -> int:
        """The states of IPs after `after_seq` are out of date: of them, only what they add to counters is applied.

        Returns their number. Refused ones are removed.
        """
        with self._transaction():
            changed = sum(
                self._writer.execute(
                    "update entries set kind = ? where kind = ? and seq > ?", (new, kind, after_seq)
                ).rowcount
                for kind, new in OUTDATED.items()
            )
            self._writer.executemany("delete from refused where kind = ?", [(kind,) for kind in OUTDATED])
            self._recent.rename(OUTDATED, after_seq)
            self._count_refused()
        return changed

    def replace(self, table: str, bodies: Mapping[int, str]) -> None:
        """Gives entries of the table, `entries` or `refused`, other bodies; the old ones are overwritten."""
        with self._transaction(WAL_PAGES_MAX * PAGE_BYTES, "truncate"):  # a checkpoint follows, which empties the WAL
            self._writer.execute("pragma secure_delete = on")
            rows = [(body, seq) for seq, body in bodies.items()]
            self._writer.executemany(f"update {table} set body = ? where seq = ?", rows)  # noqa: S608
            self._writer.execute("pragma secure_delete = off")
            self._recent.replace(bodies if table == "entries" else {})

    def refuse(self, seq: int, at_s: float, refusal: Refusal) -> None:
        """Keeps an entry that PostgreSQL refused."""
        with self._transaction():
            refused.keep(self._writer, seq, at_s, refusal)
            self._count_refused()

    def refused_entries(self) -> list[RefusedEntry]:
        with self._reading:
            return refused.listed(self._reader)

    def send_again(self, ids: Sequence[int]) -> int:
        with self._transaction():
            moved = refused.send_again(self._writer, ids)
            self._count_refused()
        return moved

    def drop_refused(self, ids: Sequence[int]) -> int:
        with self._transaction():
            dropped = refused.drop(self._writer, ids)
            self._count_refused()
        return dropped

    def continue_after(self, seq: int) -> None:
        """This file is an old copy of one that has reached `seq`: what this run has written, and writes, follows it."""
        with self._transaction():
            moved = max(seq, self._recent.last_seq) - self.opened_seq  # no old and new numbers are the same
            self._writer.execute("update entries set seq = seq + ? where seq > ?", (moved, self.opened_seq))
            self._writer.execute("delete from sqlite_sequence where name = 'entries'")
            last_seq = self._recent.last_seq + moved
            self._writer.execute("insert into sqlite_sequence values ('entries', ?)", (last_seq,))
            self._recent.move(self.opened_seq, moved)

    def close(self) -> None:
        self._is_open = False
        for connection in (self._reader, self._writer):
            with suppress(sqlite3.Error):  # a damaged file cannot be closed in order
                connection.close()
