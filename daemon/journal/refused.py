"""Entries that PostgreSQL refused, in a table of the spool's file until an operator sends them again or drops them.

These functions take a connection to the file. The spool calls them while the daemon runs, and the command
`tracepool journal` while it does not.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.database.failures import Refusal

Connection = sqlite3.Connection

SCHEMA = """
create table if not exists refused (
    seq integer primary key, kind text not null, body text not null, refused_at real not null, sqlstate text not null,
    why text not null, constraint_name text not null, table_name text not null);
"""
PREFIX = "refused_"
"""Before the kind of an entry that is among the refused ones, in the table of entries: it is not applied again."""
REQUEST_ID = slice(len('{"request_id":"'), len('{"request_id":"') + 36)  # of a body, in which it is the first field
PENDING = "trace_pending"
OF_TRACES = (PENDING, "trace_processing", "trace_finished")
FOLLOWS = "the entry trace_pending of this trace was refused"
BUSY_TIMEOUT_S = 5.0
DiskError = sqlite3.Error
KEEP = "insert or replace into refused select seq, kind, body, ?, ?, ?, ?, ? from entries where seq = ?"
SEND_AGAIN = """
insert into entries (kind, body)
select kind, case kind when 'ip_changed' then json_set(body, '$.again', json('true')) else body end
from refused where seq in (select value from json_each(?)) order by seq
"""
DROP = "delete from refused where seq in (select value from json_each(?))"


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """`id`: its sequence number in the journal. `since`: when PostgreSQL refused it, wall seconds."""

    id: int
    kind: str
    since: float
    sqlstate: str
    why: str
    constraint: str
    table: str
    body: str


def keep(connection: sqlite3.Connection, seq: int, at_s: float, refusal: Refusal) -> None:
    """Puts an entry among the refused ones, inside the caller's transaction."""
    values = (at_s, refusal.sqlstate, refusal.why, refusal.constraint, refusal.table, seq)
    connection.execute(KEEP, values)
    connection.execute("update entries set kind = ? || kind where seq = ?", (PREFIX, seq))


def listed(connection: sqlite3.Connection) -> list[RefusedEntry]:
    rows = connection.execute(
        "select seq, kind, refused_at, sqlstate, why, constraint_name, table_name, body from refused order by seq"
    )
    return [RefusedEntry(*row) for row in rows]


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("select count(*) from refused").fetchone()[0])


def traces(connection: sqlite3.Connection) -> set[str]:
    """The request ids of the traces whose entry trace_pending is refused: their other entries have no row to change."""
    rows = connection.execute("select body from refused where kind = ?", (PENDING,))
    return {body[REQUEST_ID] for (body,) in rows}


def send_again(connection: sqlite3.Connection, ids: Sequence[int]) -> int:
    """Moves refused entries to the end of the journal, inside the caller's transaction. Returns how many.

    With no `ids` all of them. All entries of a trace go together, in their order.
    """
    chosen = _chosen(connection, ids)
    connection.execute(SEND_AGAIN, (chosen,))
    return connection.execute(DROP, (chosen,)).rowcount


def drop(connection: sqlite3.Connection, ids: Sequence[int]) -> int:
    """Removes refused entries for good, all without `ids`, inside the caller's transaction. Returns how many."""
    return connection.execute(DROP, (_chosen(connection, ids),)).rowcount


def _chosen(connection: sqlite3.Connection, ids: Sequence[int]) -> str:
    """The sequence numbers as a JSON array, with those of the same traces."""
    entries = listed(connection)
    of = {entry.body[REQUEST_ID] for entry in entries if entry.id in ids and entry.kind in OF_TRACES}
    return str(
        [
            entry.id
            for entry in entries
            if not ids or entry.id in ids or (entry.kind in OF_TRACES and entry.body[REQUEST_ID] in of)
        ]
    )


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The spool's file, in one transaction, while no daemon runs. Raises sqlite3.Error."""
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", BUSY_TIMEOUT_S, isolation_level=None, uri=True)
    ) as connection:
        connection.executescript(SCHEMA)
        connection.execute("begin immediate")
        with connection:
            yield connection
