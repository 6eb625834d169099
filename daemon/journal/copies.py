"""Recognises a spool that was copied: the original may still run, and two nodes must not have one node id.

The spool's file records where it lies: the machine's id, the file's inode, its device, and the host's name with the
path. It is the same file on the same machine with the same inode, and with the same device or the same path: device
numbers may change with a restart or a new mount, and a directory may be moved within a file system.

A copy becomes a node of its own. Entries that PostgreSQL had by the copy's own note are dropped. Of the others only
facts are kept: PostgreSQL takes a hit, a trace and its traffic once, however often they are sent. What concerns rows of
IPs is the original's, and so are its rests.
"""

import os
import platform
import sqlite3
from contextlib import suppress
from pathlib import Path

SCHEMA = """
create table if not exists place (
    machine text not null, inode integer not null, device integer not null, path text not null);
"""
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
    known: Place | None = connection.execute("select machine, inode, device, path from place").fetchone()
    if known is None:
        return False
    here = place_of(path)
    return known[:2] != here[:2] or not (known[2] == here[2] or known[3] == here[3])


def settled(connection: sqlite3.Connection, path: Path) -> bool:
    """Makes a copy a node of its own, and records the place, inside the caller's transaction. Whether it is a copy."""
    copied = is_copy(connection, path)
    if copied:
        keep_facts(connection)
    record_place(connection, path)
    return copied


def record_place(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("delete from place")
    connection.execute("insert into place values (?, ?, ?, ?)", place_of(path))


def keep_facts(connection: sqlite3.Connection) -> None:
    """Leaves in a copy what its own node sends, inside the caller's transaction."""
    connection.execute("delete from entries where seq <= (select max(seq) from applied)")
    connection.execute(f"update entries set kind = 'passed_over', body = '{{}}' where {OF_IPS}")  # noqa: S608
    connection.execute(f"delete from refused where {OF_IPS}")  # noqa: S608
    connection.execute("delete from applied")
    connection.execute("delete from node")
