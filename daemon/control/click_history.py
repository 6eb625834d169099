"""Time series of any range: PostgreSQL's recorded minutes, and those in memory that are not recorded yet. Pure.

Memory has the last hour in steps of 5 s and the last day by minute, since the daemon started (history.py). PostgreSQL
has one row for each minute with clicks (table click_minutes).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from daemon.control.history import COLUMNS, MINUTE_S, OTHER, PERCENTS, Percentiles, Series

POINTS_MAX = 750
STEPS_S = (60, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)
RANGE_S_MAX = POINTS_MAX * STEPS_S[-1]
NAMES = tuple(f"p{percent}" for percent in PERCENTS)


@dataclass(frozen=True, slots=True)
class Range:
    """From `since_s` to before `until_s`, seconds since 1970."""

    since_s: float
    until_s: float

    @property
    def length_s(self) -> float:
        return self.until_s - self.since_s

    @property
    def step_s(self) -> int:
        """Of the recorded minutes, so that there are at most POINTS_MAX buckets."""
        return next((step for step in STEPS_S if self.length_s <= POINTS_MAX * step), STEPS_S[-1])


def cut(series: Series, wanted: Range) -> Series:
    """The part of a series, by the wall clock, that is in the range."""
    first, last = _places(series.from_s, series.step_s, len(series.counts[OTHER]), wanted)
    first_minute, last_minute = _places(series.minutes_from_s, series.times_step_s, len(series.wait_ms["p50"]), wanted)
    return Series(
        step_s=series.step_s,
        from_s=series.from_s + first * series.step_s,
        counts={name: counts[first:last] for name, counts in series.counts.items()},
        minutes_from_s=series.minutes_from_s + first_minute * series.times_step_s,
        wait_ms={name: values[first_minute:last_minute] for name, values in series.wait_ms.items()},
        trace_ms={name: values[first_minute:last_minute] for name, values in series.trace_ms.items()},
        times_step_s=series.times_step_s,
    )


def _places(from_s: float, step_s: float, size: int, wanted: Range) -> tuple[int, int]:
    first = min(size, max(0, int((wanted.since_s - from_s) // step_s)))
    return first, max(first, min(size, -int((from_s - wanted.until_s) // step_s)))


def joined(wanted: Range, rows: Iterable[Mapping[str, Any]], memory: Series | None) -> Series:
    """`rows`: those of the query click_history. `memory`: minutes by the wall clock; those after the last row count."""
    step_s = wanted.step_s
    from_s = wanted.since_s // step_s * step_s
    size = max(1, -int((from_s - wanted.until_s) // step_s))
    counts = {name: [0] * size for name in COLUMNS}
    wait_ms, trace_ms = _nothing(size), _nothing(size)
    recorded_s = wanted.since_s
    for row in rows:
        at = int((row["at"] - from_s) // step_s)
        recorded_s = row["recorded_s"]
        counts["resolved"][at] += row["resolved"]
        counts["background"][at] += row["background"]
        for reason, count in json.loads(row["fallbacks"] or "{}").items():
            counts[reason if reason in counts else OTHER][at] += count
        for name in NAMES:
            wait_ms[name][at], trace_ms[name][at] = row[f"wait_{name}"], row[f"trace_{name}"]
    if memory is not None:
        _add(memory, recorded_s, from_s, step_s, counts, wait_ms, trace_ms)
    return Series(float(step_s), from_s, counts, from_s, wait_ms, trace_ms, float(step_s))


def _nothing(size: int) -> Percentiles:
    return {name: [None] * size for name in NAMES}


def _add(
    memory: Series,
    recorded_s: float,
    from_s: float,
    step_s: float,
    counts: dict[str, list[int]],
    wait_ms: Percentiles,
    trace_ms: Percentiles,
) -> None:
    size = len(counts[OTHER])

    def place(minute: int, begin_s: float) -> int | None:
        middle_s = begin_s + (minute + 0.5) * MINUTE_S
        at = int((middle_s - from_s) // step_s)
        return at if middle_s >= recorded_s and 0 <= at < size else None

    for name, values in memory.counts.items():
        for minute, count in enumerate(values):
            if count and (at := place(minute, memory.from_s)) is not None:
                counts[name][at] += count
    for target, source in ((wait_ms, memory.wait_ms), (trace_ms, memory.trace_ms)):
        for name, times in source.items():
            for minute, ms in enumerate(times):
                if ms is not None and (at := place(minute, memory.minutes_from_s)) is not None:
                    target[name][at] = ms
