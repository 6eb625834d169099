"""Sizes of the tables and of the spool, and how many days the disk's free space lasts. Pure.

A table with a retention grows until its oldest row is as old as its retention. From then on removed rows make room for
new ones, and its size stays as it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MEASURED_S_MIN = 600.0  # a shorter time says too little of a day
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table with its indexes. `rows`: PostgreSQL's estimate. `days_kept`: null where no row is removed by its age.

    `bytes_per_day`: its growth in the last day; null before ten minutes are measured. `grows_days`: after so many days
    removed rows make room for new ones; null without a retention.
    """

    name: str
    bytes: int
    rows: int
    days_kept: float | None
    bytes_per_day: float | None
    grows_days: float | None


@dataclass(frozen=True, slots=True)
class Removal:
    """Rows that are older than their retention and are being removed. `rows_left`: an estimate."""

    table: str
    rows_left: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What PostgreSQL stores. `building`: indexes that are being built, such as "hits_visitor 45%"."""

    tables: tuple[TableSize, ...] = ()
    database_bytes: int = 0
    removing: tuple[Removal, ...] = ()
    building: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disk:
    """`free_bytes`: of the file system of the state directory; null if unknown. `holds_database`: as well as the spool.

    `bytes_per_day`: growth of all tables; null before ten minutes are measured. `days_left`: until the disk is full at
    this rate; null if that is unknown, or if the tables reach their retention before.
    """

    tables: tuple[TableSize, ...]
    database_bytes: int
    removing: tuple[Removal, ...]
    building: tuple[str, ...]
    spool_bytes: int
    spool_bytes_max: int
    free_bytes: int | None
    holds_database: bool
    bytes_per_day: float | None
    days_left: float | None


def table_sizes(
    rows: Iterable[Mapping[str, Any]],
    days_kept: Mapping[str, float],
    oldest_s: Mapping[str, float | None],
    earlier: tuple[float, Mapping[str, int]] | None,
) -> tuple[TableSize, ...]:
    """`rows`: name, bytes and rows of each table. `earlier`: an age in seconds, and the sizes at that time."""
    return tuple(
        TableSize(
            name=name,
            bytes=int(row["bytes"]),
            rows=int(row["rows"]),
            days_kept=days_kept.get(name),
            bytes_per_day=_bytes_per_day(name, int(row["bytes"]), earlier),
            grows_days=_grows_days(days_kept.get(name), oldest_s.get(name)),
        )
        for row in rows
        for name in [str(row["name"])]
    )


def disk_of(
    stored: Stored, spool_bytes: int, spool_bytes_max: int, free_bytes: int | None, *, holds_database: bool
) -> Disk:
    rates = [table.bytes_per_day for table in stored.tables if table.bytes_per_day is not None]
    per_day = sum(rates) if rates else None
    days_left = None
    if holds_database and free_bytes is not None and per_day is not None:
        days_left = _days_left(free_bytes, stored.tables)
    return Disk(
        tables=stored.tables,
        database_bytes=stored.database_bytes,
        removing=stored.removing,
        building=stored.building,
        spool_bytes=spool_bytes,
        spool_bytes_max=spool_bytes_max,
        free_bytes=free_bytes,
        holds_database=holds_database,
        bytes_per_day=per_day if per_day is None else round(per_day, 0),
        days_left=days_left if days_left is None else round(days_left, 1),
    )


def _bytes_per_day(name: str, now_bytes: int, earlier: tuple[float, Mapping[str, int]] | None) -> float | None:
    if earlier is None or earlier[0] < MEASURED_S_MIN:
        return None
    before = earlier[1].get(name)
    return None if before is None else max(0.0, (now_bytes - before) * DAY_S / earlier[0])


def _grows_days(kept_days: float | None, oldest_s: float | None) -> float | None:
    return None if kept_days is None else max(0.0, kept_days - (oldest_s or 0.0) / DAY_S)


def _days_left(free_bytes: float, tables: Iterable[TableSize]) -> float | None:
    """When the growth of all tables together is `free_bytes`. The growth of each one ends after its grows_days."""
    growing = sorted(
        (table.grows_days if table.grows_days is not None else float("inf"), table.bytes_per_day)
        for table in tables
        if table.bytes_per_day
    )
    day, rate = 0.0, sum(rate for _, rate in growing)
    for ends_day, table_rate in growing:
        if rate > 0 and free_bytes <= rate * (ends_day - day):
            return day + free_bytes / rate
        free_bytes -= rate * (ends_day - day)
        day, rate = ends_day, rate - table_rate
    return None
