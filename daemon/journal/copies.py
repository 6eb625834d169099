"""Recognises a spool that was copied: the original may still run, and two nodes must not have one node id.

The spool's file records where it lies: the machine's id, the file's inode, its device, and the host's name with the
path. It is the same file on the same machine with the same inode, and with the same device or the same path: device
numbers may change with a restart or a new mount, and a directory may be moved within a file system.

A cloned machine has all of this in common with its original, but not the start of its kernel. So the spool also records
the boot and the device of its last run. With another boot or device it may be a copy: nodes/clones.py finds out whether
another run with its node id is alive.

A copy becomes a node of its own. Entries that PostgreSQL had by the copy's own note are dropped. Of the others only
facts are kept: PostgreSQL takes a hit, a trace and its traffic once, however often they are sent. What concerns rows of
IPs is the original's, and so are its rests.
"""

import os
import platform
import sqlite3
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.host.clocks import boot_id

SCHEMA = """
create table if not exists place (
    machine text not null, inode integer not null, device integer not null, path text not null);
create table if not exists boot (id text not null, device integer not null);
"""
BUSY_TIMEOUT_S = 5.0
OF_IPS = "kind like 'ip\\_%' escape '\\' or kind like 'refused\\_ip\\_%' escape '\\'"
MACHINE_ID = Path("/etc/machine-id")

Place = tuple[str, int, int, str]


def place_of(path: Path) -> Place:
    found, machine = path.stat(), ""
    with suppress(OSError):  # a container without one
        machine = MACHINE_ID.read_text().strip()
    return machine, found.st_ino, found.st_dev, f"{platform.node()}:{os.path.realpath(path)}"


def is_copy(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the open database at `path` was copied there. False for a file of a version that recorded no place."""
    known: Place | None = _row(connection, "select machine, inode, device, path from place")
    if known is None:
        return False
    here = place_of(path)
    return known[:2] != here[:2] or not (known[2] == here[2] or known[3] == here[3])


def may_be_copy(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether a file that is no copy by its place may be one: it was not used since the start of this machine."""
    if _row(connection, "select node_id from node") is None:
        return False
    here = boot_id()
    return not here or _row(connection, "select id, device from boot") != (here, path.stat().st_dev)


@dataclass(frozen=True, slots=True)
class Opened:
    """A run's node, as the spool's file has it."""

    node_id: str
    epoch: int
    applied_seq: int
    is_copy: bool
    may_be_copy: bool


def opened(connection: sqlite3.Connection, path: Path) -> Opened:
    """Begins a run of the file's node, of a new one for a copy or a new file, inside the caller's transaction."""
    copied = is_copy(connection, path)
    if copied:
        keep_facts(connection)
    doubtful = may_be_copy(connection, path)
    record_place(connection, path)
    if not doubtful:
        record_boot(connection, path)
    node_id, epoch, applied_seq = _begun(connection)
    return Opened(node_id, epoch, applied_seq, copied, doubtful)


def made_own(connection: sqlite3.Connection, path: Path, *, all_facts: bool) -> Opened:
    """Makes the file that of a new node, inside the caller's transaction. `all_facts`: see keep_facts."""
    keep_facts(connection, all_facts=all_facts)
    record_boot(connection, path)
    node_id, epoch, applied_seq = _begun(connection)
    return Opened(node_id, epoch, applied_seq, is_copy=True, may_be_copy=False)


def _begun(connection: sqlite3.Connection) -> tuple[str, int, int]:
    row = connection.execute("select node_id, epoch from node").fetchone()
    if row is None:
        row = (str(uuid.uuid4()), 0)
        connection.execute("insert into node values (?, ?)", row)
        connection.execute("delete from applied")
    connection.execute("update node set epoch = epoch + 1")
    if connection.execute("select seq from applied").fetchone() is None:
        connection.execute("insert into applied values (0)")
    return row[0], row[1] + 1, connection.execute("select seq from applied").fetchone()[0]


def node_id_of(path: Path) -> uuid.UUID | None:
    """The node id in a spool's file. None without one, and for a copy: its node id is the original's."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, BUSY_TIMEOUT_S)) as connection:
            row = None if is_copy(connection, path) else _row(connection, "select node_id from node")
    except sqlite3.Error:
        return None
    return uuid.UUID(row[0]) if row else None


def may_be_cloned(path: Path) -> bool:
    """Whether the spool's file may be a copy although its place is the same, see may_be_copy."""
    try:
        with closing(sqlite3.connect(path, BUSY_TIMEOUT_S)) as connection:
            return may_be_copy(connection, path)
    except (sqlite3.Error, OSError):
        return False


def _row(connection: sqlite3.Connection, query: str) -> Any:
    """None too for a table that a file of an earlier version lacks."""
    try:
        return connection.execute(query).fetchone()
    except sqlite3.OperationalError as e:
        if "no such table" in str(e):
            return None
        raise


def record_place(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("delete from place")
    connection.execute("insert into place values (?, ?, ?, ?)", place_of(path))


def record_boot(connection: sqlite3.Connection, path: Path) -> None:
    """Only once it is known that the file is no copy, or a node of its own: then a next start asks no more."""
    connection.execute("delete from boot")
    connection.execute("insert into boot values (?, ?)", (boot_id(), path.stat().st_dev))


def keep_facts(connection: sqlite3.Connection, *, all_facts: bool = False) -> None:
    """Leaves in a copy what its own node sends, inside the caller's transaction.

    `all_facts`: another run has moved the node's position too, so this file does not know what PostgreSQL has.
    """
    if not all_facts:
        connection.execute("delete from entries where seq <= (select max(seq) from applied)")
    connection.execute(f"update entries set kind = 'passed_over', body = '{{}}' where {OF_IPS}")  # noqa: S608
    connection.execute(f"delete from refused where {OF_IPS}")  # noqa: S608
    connection.execute("delete from applied")
    connection.execute("delete from node")
