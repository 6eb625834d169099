"""The lines of `tracepool status` about the disk: sizes, free space, and what is being removed or built."""

from collections.abc import Mapping
from typing import Any

from daemon.formats import size_in_words

SHOWN_TABLES = 3


def disk_lines(found: Mapping[str, Any]) -> list[str]:
    """No lines for the answer of a daemon of an earlier version."""
    disk = found.get("disk")
    if not disk:
        return []
    largest = sorted(disk["tables"], key=lambda table: -table["bytes"])[:SHOWN_TABLES]
    tables = ", ".join(map(_table, largest)) or "not read yet"
    spool = f"spool {size_in_words(disk['spool_bytes'])} of {size_in_words(disk['spool_bytes_max'])}"
    lines = [f"database: {size_in_words(disk['database_bytes'])}, with {tables}; {spool}"]
    if disk["free_bytes"] is not None:
        lines.append(f"disk of the state directory: {size_in_words(disk['free_bytes'])} free; {_forecast(disk)}")
    kept = {table["name"]: table["days_kept"] for table in disk["tables"]}
    lines += [
        f"removing {left['rows_left']:,} rows of {left['table']} that are older than {kept[left['table']]:g} days"
        for left in disk["removing"]
    ]
    return lines + [f"building the index {index}; clicks go on" for index in disk["building"]]


def _table(table: Mapping[str, Any]) -> str:
    kept = "" if table["days_kept"] is None else f", {table['days_kept']:g} days"
    return f"{table['name']} {size_in_words(table['bytes'])} ({table['rows']:,} rows{kept})"


def _forecast(disk: Mapping[str, Any]) -> str:
    per_day = disk["bytes_per_day"]
    if per_day is None:
        return "the growth of the tables is known after ten minutes"
    grows = f"the tables grow by {size_in_words(per_day)} a day"
    if not disk["holds_database"]:
        return f"{grows}, on the disks of PostgreSQL"
    if disk["days_left"] is not None:
        return f"{grows}: {disk['days_left']:g} days left"
    return f"{grows}: enough until old rows make room for new ones"
