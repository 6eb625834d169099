"""How long the free space of a disk lasts, and the advice on it."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from daemon.cli.status_disk import disk_lines
from daemon.maintenance.advice import advise
from daemon.maintenance.disk import Disk, Stored, disk_of, table_sizes
from daemon.maintenance.figures import Figures, Severity

GB = 10**9
DAY_S = 86_400.0


def disk(tables: dict[str, tuple[float, float | None]], free_bytes: int | None, **changes: Any) -> Disk:
    """`tables` by name: bytes more than a day ago, and the age of the oldest row in days; they are kept 90 days."""
    rows = [{"name": name, "bytes": 10 * GB, "rows": 1_000} for name in tables]
    kept = {name: 90.0 for name in tables if name != "ip_rotation_pool"}
    oldest_s = {name: None if age is None else age * DAY_S for name, (_, age) in tables.items()}
    earlier = {name: 10 * GB - int(grown) for name, (grown, _) in tables.items()}
    sizes = table_sizes(rows, kept, oldest_s, (DAY_S, earlier))
    found = disk_of(Stored(sizes, 20 * GB), 5, 10, free_bytes, holds_database=True)
    return replace(found, **changes)


def test_free_space_lasts_as_long_as_at_the_growth_of_the_last_day() -> None:
    found = disk({"hits": (GB, 0), "active_trace_requests": (GB, 0)}, 20 * GB)
    assert (found.bytes_per_day, found.days_left) == (2 * GB, 10)


def test_a_table_grows_until_its_oldest_row_is_as_old_as_its_retention() -> None:
    found = disk({"hits": (GB, 85), "active_trace_requests": (GB, 0)}, 20 * GB)
    assert [table.grows_days for table in found.tables] == [5, 90]
    assert found.days_left == 15, "5 days of both take 10 GB, and one of them takes the other 10 GB in 10 days"


@pytest.mark.parametrize("age", [90, 95])
def test_a_table_that_has_all_its_days_fills_no_disk(age: float) -> None:
    found = disk({"hits": (GB, age)}, GB)
    assert (found.bytes_per_day, found.days_left) == (GB, None)


def test_a_table_without_retention_grows_for_ever() -> None:
    assert disk({"ip_rotation_pool": (GB, None)}, 400 * GB).days_left == 400


def test_a_disk_that_suffices_until_all_days_are_there_has_no_end() -> None:
    assert disk({"hits": (GB, 85)}, 6 * GB).days_left is None


def test_nothing_is_said_before_ten_minutes_are_measured() -> None:
    rows = [{"name": "hits", "bytes": 2 * GB, "rows": 10}]
    for earlier in (None, (500.0, {"hits": GB}), (700.0, {})):
        [table] = table_sizes(rows, {"hits": 90}, {}, earlier)
        assert table.bytes_per_day is None
    assert table_sizes(rows, {"hits": 90}, {}, (700.0, {"hits": GB}))[0].bytes_per_day is not None


def test_a_table_that_has_become_smaller_does_not_grow() -> None:
    [table] = table_sizes([{"name": "hits", "bytes": GB, "rows": 1}], {}, {}, (DAY_S, {"hits": 2 * GB}))
    assert table.bytes_per_day == 0


def test_another_server_s_disk_is_not_known() -> None:
    sizes = disk({"hits": (GB, 0)}, GB).tables
    found = disk_of(Stored(sizes), 0, 10, GB, holds_database=False)
    assert (found.bytes_per_day, found.days_left, found.free_bytes) == (GB, None, GB)


@pytest.mark.parametrize(
    ("days", "free_bytes", "severity"),
    [(13.9, 50 * GB, Severity.WARNING), (2.9, 50 * GB, Severity.CRITICAL), (None, 10**8, Severity.CRITICAL)],
)
def test_a_disk_that_is_full_soon_is_advice(days: float | None, free_bytes: int, severity: Severity) -> None:
    found = disk({"hits": (GB, 0)}, free_bytes, days_left=days)
    [advice] = advise(Figures(0.0, disk=found))
    assert (advice.code, advice.severity) == ("disk_full_soon", severity)
    assert f"{free_bytes / 1e6:,.0f} MB free" in advice.sentence
    if days is not None:
        assert f"last {days:g} days at this rate; the table hits grows most" in advice.sentence


@pytest.mark.parametrize(("days", "free_bytes"), [(14.0, 50 * GB), (None, 50 * GB), (None, None)])
def test_a_disk_with_room_is_no_advice(days: float | None, free_bytes: int | None) -> None:
    found = disk({"hits": (GB, 0)}, free_bytes, days_left=days)
    assert advise(Figures(0.0, disk=found)) == ()


def test_status_says_how_long_the_disk_lasts_and_what_is_removed_and_built() -> None:
    found = asdict(disk({"hits": (GB, 0), "ip_rotation_pool": (0, None)}, 20 * GB, building=("hits_visitor 45%",)))
    found["removing"] = [{"table": "hits", "rows_left": 150_000}]
    assert disk_lines({"disk": found}) == [
        "database: 20 GB, with hits 10 GB (1,000 rows, 90 days), ip_rotation_pool 10 GB (1,000 rows);"
        " spool 5 B of 10 B",
        "disk of the state directory: 20 GB free; the tables grow by 1 GB a day: 20 days left",
        "removing 150,000 rows of hits that are older than 90 days",
        "building the index hits_visitor 45%; clicks go on",
    ]
    assert disk_lines({"disk": found | {"days_left": None}})[1].endswith("enough until old rows make room for new ones")
    assert disk_lines({"disk": found | {"holds_database": False}})[1].endswith("1 GB a day, on the disks of PostgreSQL")
    assert disk_lines({"disk": found | {"bytes_per_day": None}})[1].endswith("is known after ten minutes")
    assert disk_lines({}) == [], "a daemon of an earlier version"
