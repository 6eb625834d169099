"""Ranges of the dashboard's curves: recorded minutes, minutes in memory, and both joined."""

import json
from typing import Any

import pytest

from daemon.control.click_history import POINTS_MAX, Range, cut, joined
from daemon.control.history import History, Series

HOUR_S, DAY_S = 3_600.0, 86_400.0
NOW_S = 1_700_000_080.0  # 40 s into a minute


def in_memory(*clicks_s: float) -> Series:
    """A day with a resolved click at each of the times."""
    history = History(0.0)
    for at_s in clicks_s:
        history.click(at_s, "resolved", None, 0.1)
    return history.series("day", NOW_S)


def row(at_s: float, resolved: int = 1, recorded_s: float = NOW_S, **fallbacks: int) -> dict[str, Any]:
    times = {f"{kind}_{name}": 50.0 for kind in ("wait", "trace") for name in ("p50", "p95", "p99")}
    counts = {"resolved": resolved, "background": 2, "fallbacks": json.dumps(fallbacks)}
    return {"at": at_s, **counts, "recorded_s": recorded_s, **times}


@pytest.mark.parametrize(
    ("length_s", "step_s"), [(900, 60), (HOUR_S, 60), (DAY_S, 300), (7 * DAY_S, 900), (30 * DAY_S, 3_600)]
)
def test_the_steps_of_a_range_are_so_long_that_it_has_few_buckets(length_s: float, step_s: int) -> None:
    wanted = Range(NOW_S - length_s, NOW_S)
    assert wanted.step_s == step_s
    assert len(joined(wanted, [], None).counts["resolved"]) <= POINTS_MAX + 1


def test_a_part_of_memory_begins_and_ends_with_its_range() -> None:
    series = in_memory(NOW_S - 7_200, NOW_S - 1_800, NOW_S - 5)
    part = cut(series, Range(NOW_S - HOUR_S, NOW_S - 900))
    assert sum(part.counts["resolved"]) == 1
    assert part.from_s <= NOW_S - HOUR_S < part.from_s + part.step_s
    assert part.from_s + part.step_s * len(part.counts["resolved"]) >= NOW_S - 900
    assert len(part.wait_ms["p50"]) == len(part.counts["resolved"])


def test_a_range_that_memory_does_not_have_is_empty() -> None:
    assert cut(in_memory(NOW_S), Range(NOW_S - 9 * DAY_S, NOW_S - 8 * DAY_S)).counts["resolved"] == []


def test_recorded_minutes_come_first_and_memory_adds_the_minutes_after_them() -> None:
    recorded_s = NOW_S // 60 * 60 - 120
    rows = [row(recorded_s - 180, 4, recorded_s, no_ip=2), row(recorded_s - 60, 3, recorded_s)]
    memory = in_memory(recorded_s - 90, recorded_s + 30, recorded_s + 90)  # the first is recorded already
    found = joined(Range(recorded_s - 600, NOW_S), rows, memory)
    assert found.counts["resolved"][-6:] == [4, 0, 3, 1, 1, 0]
    assert sum(found.counts["no_ip"]) == 2
    assert sum(found.counts["background"]) == 4
    assert found.wait_ms["p95"][-4] == 50.0
    assert found.wait_ms["p95"][-3] == pytest.approx(100, rel=0.1)


def test_a_reason_that_this_version_does_not_know_counts_as_other() -> None:
    found = joined(Range(NOW_S - HOUR_S, NOW_S), [row(NOW_S // 60 * 60 - 600, aliens=2)], None)
    assert sum(found.counts["other"]) == 2
