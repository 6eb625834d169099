"""Reads the sizes of the tables from PostgreSQL, and those of the spool and the free space from the disk."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from daemon.database.embedded import future_url
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseUnavailable
from daemon.journal.spool import FILE
from daemon.maintenance.disk import DAY_S, Disk, Removal, Stored, disk_of, table_sizes
from daemon.maintenance.retention import GROWING, old_rows
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings

TABLES = (
    "hits",
    "active_trace_requests",
    "ip_pool_statistics",
    "click_minutes",
    "traffic",
    "actions",
    "ip_rotation_pool",
)
"""Those that are shown, and whose sizes each round records."""
REMOVING_S = 600.0  # rows that have outlived their retention so long are more than one round's
READ_S, READ_BUSY_S = 30.0, 5.0
SPOOL_FILES = (FILE, f"{FILE}-wal", f"{FILE}-shm")


@dataclass(slots=True, eq=False)
class Storage:
    """What PostgreSQL stores, as it was read last."""

    database: Database
    live: LiveSettings
    stored: Stored = field(default=Stored(), init=False)

    async def run(self) -> None:
        """Keeps `stored` up to date until cancelled."""
        while True:
            with suppress(DatabaseUnavailable):  # others say so
                self.stored = await self.database.work(read_stored, self.live.current)
            await trio.sleep(READ_BUSY_S if self.stored.removing or self.stored.building else READ_S)

    def disk(self) -> Disk:
        return disk_status(self.stored, self.live.current)


async def read_stored(conn: Connection, settings: Settings) -> Stored:
    """A unit of work."""
    rows = await conn.fetch(QUERIES["table_sizes"], list(TABLES))
    oldest_s: Mapping[str, float | None] = dict(await conn.fetchrow(QUERIES["oldest_rows"]))
    kept = {growing.table: growing.days_kept(settings.retention) for growing in GROWING}
    removing = [
        Removal(table, await old_rows(conn, table, kept[table]))
        for table, age_s in oldest_s.items()
        if age_s is not None and age_s > kept[table] * DAY_S + REMOVING_S
    ]
    return Stored(
        tables=table_sizes(rows, kept, oldest_s, _earlier(await conn.fetchrow(QUERIES["earlier_sizes"]))),
        database_bytes=await conn.fetchval(QUERIES["database_bytes"]),
        removing=tuple(removing),
        building=tuple(
            f"{row['name']} {row['percent'] or 0}%" for row in await conn.fetch(QUERIES["indexes_being_built"])
        ),
    )


def _earlier(row: Any) -> tuple[float, dict[str, int]] | None:
    """Operators may have written anything into the column."""
    found = None if row is None else json.loads(row["table_bytes"])
    if not isinstance(found, dict):
        return None
    return row["age_s"], {name: value for name, value in found.items() if isinstance(value, int)}


def disk_status(stored: Stored, settings: Settings) -> Disk:
    """With the sizes and the free space of the state directory's file system now."""
    directory, spool_bytes, free_bytes = settings.state_dir, 0, None
    for name in SPOOL_FILES:
        with suppress(OSError):
            spool_bytes += (directory / name).stat().st_size
    with suppress(OSError):
        found = os.statvfs(directory)
        free_bytes = found.f_bavail * found.f_frsize
    spool_max = settings.journal.spool_bytes_max
    return disk_of(stored, spool_bytes, spool_max, free_bytes, holds_database=_holds_database(settings))


def _holds_database(settings: Settings) -> bool:
    """Whether the database is an embedded one below the state directory, also for one of several processes."""
    if settings.database.url is None:
        return True
    url = settings.database.url.get_secret_value()
    return any(url == future_url(directory) for directory in (settings.state_dir, *settings.state_dir.parents[:2]))
