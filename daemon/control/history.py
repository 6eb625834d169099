"""Time series of the last hour's and the last day's clicks and traces. Pure: the time is an argument of each call.

Memory is constant: counts are rings of buckets; times are a histogram of the current minute, whose percentiles are kept
when the minute ends. A click costs a few additions and a search in EDGES_MS.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

FALLBACK_REASONS = (
    *("deadline", "no_ip", "no_pool", "trace_failed", "overload", "starting"),
    *("unknown_offer", "paused", "bad_offer"),  # of clicks that no offer serves
)
OTHER = "other"  # all other reasons
COLUMNS = ("resolved", "background", "left", "refused", *FALLBACK_REASONS, OTHER)
UNWAITED = ("background", "refused")
MINUTE_S = 60.0
DAY_MINUTES, HOUR_MINUTES = 1_440, 60
PERCENTS = (50, 95, 99)
# Fine steps near usual deadlines, so that a wait of 9.9 s is not shown as more than 10 s.
EDGES_MS = (
    *(1.1**n for n in range(90)),
    *(float(ms) for ms in range(5_500, 15_000, 100)),
    *(15_000 * 1.1**n for n in range(20)),
)

Span = Literal["hour", "day"]
MINUTES: Mapping[Span, int] = {"hour": HOUR_MINUTES, "day": DAY_MINUTES}
Percentiles = dict[str, list[float | None]]  # p50, p95, p99: milliseconds by minute; None for an empty minute


@dataclass(frozen=True, slots=True)
class Series:
    """`counts` by column, in buckets of `step_s` from `from_s` on.

    Percentiles are by minute, or another `times_step_s`, from `minutes_from_s` on.
    """

    step_s: float
    from_s: float
    counts: dict[str, list[int]]
    minutes_from_s: float
    wait_ms: Percentiles
    trace_ms: Percentiles
    times_step_s: float = MINUTE_S

    def moved(self, by_s: float) -> "Series":
        """The series by another clock."""
        return replace(self, from_s=self.from_s + by_s, minutes_from_s=self.minutes_from_s + by_s)


class History:
    """`began_s`: when recording began. `totals`: all clicks since then, by column."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.totals = dict.fromkeys(COLUMNS, 0)
        self._hour, self._day = hour_and_day()
        self._waits, self._traces = _Times(), _Times()

    def click(self, now_s: float, outcome: str, reason: str | None, wait_s: float) -> None:
        """`outcome`: resolved, fallback, background, left or refused; waits are those of clicks not in UNWAITED."""
        column = reason or OTHER if outcome == "fallback" else outcome
        if column not in self.totals:
            column = OTHER
        self.totals[column] += 1
        self._hour.add(now_s, column)
        self._day.add(now_s, column)
        if outcome not in UNWAITED:
            self._waits.add(now_s, wait_s * 1000)

    def trace(self, now_s: float, ms: float) -> None:
        self._traces.add(now_s, ms)

    def series(self, span: Span, now_s: float) -> Series:
        """The series up to the current bucket, which is not over yet."""
        minutes = MINUTES[span]
        counts = self._hour if span == "hour" else self._day
        return series_of(counts, self._waits.read(now_s, minutes), self._traces.read(now_s, minutes), span, now_s)


def series_of(counts: "Counts", wait_ms: Percentiles, trace_ms: Percentiles, span: Span, now_s: float) -> Series:
    newest, columns = counts.read(now_s)
    return Series(
        step_s=counts.step_s,
        from_s=(newest - counts.size + 1) * counts.step_s,
        counts=columns,
        minutes_from_s=(now_s // MINUTE_S - MINUTES[span] + 1) * MINUTE_S,
        wait_ms=wait_ms,
        trace_ms=trace_ms,
    )


def hour_and_day() -> tuple["Counts", "Counts"]:
    return Counts(5.0, 720), Counts(MINUTE_S, DAY_MINUTES)


class Counts:
    """For each column a ring of `size` buckets of `step_s`."""

    def __init__(self, step_s: float, size: int) -> None:
        self.step_s, self.size = step_s, size
        self._columns = {name: array("Q", bytes(8 * size)) for name in COLUMNS}
        self._newest = 0

    def add(self, now_s: float, column: str) -> None:
        at = self._advance(now_s) % self.size
        self._columns[column][at] += 1

    def spread(self, from_s: float, now_s: float, column: str, count: int) -> None:
        """Adds `count` evenly to the buckets after that of `from_s`, up to the current one."""
        newest = self._advance(now_s)
        first = min(newest, max(int(from_s // self.step_s) + 1, newest - self.size + 1))
        buckets = newest - first + 1
        for passed in range(buckets):
            part = count * (passed + 1) // buckets - count * passed // buckets
            self._columns[column][(first + passed) % self.size] += part

    def read(self, now_s: float) -> tuple[int, dict[str, list[int]]]:
        """The current bucket's number, and each column from the oldest bucket to the current one."""
        newest = self._advance(now_s)
        first = (newest + 1) % self.size
        return newest, {name: [*column[first:], *column[:first]] for name, column in self._columns.items()}

    def _advance(self, now_s: float) -> int:
        number = int(now_s // self.step_s)
        if number <= self._newest:
            return self._newest
        for passed in range(max(self._newest + 1, number - self.size + 1), number + 1):
            for column in self._columns.values():
                column[passed % self.size] = 0
        self._newest = number
        return number


class Minutes:
    """The percentiles of each minute of a day."""

    def __init__(self) -> None:
        self._by_percent = [array("d", [math.nan]) * DAY_MINUTES for _ in PERCENTS]
        self.minute = 0

    def put(self, percentiles: Sequence[float]) -> None:
        """Those of the current minute; NaN without times. They replace those that were put before."""
        for values, ms in zip(self._by_percent, percentiles, strict=True):
            values[self.minute % DAY_MINUTES] = ms

    def advance(self, now_s: float) -> bool:
        """Whether a new minute has begun; it has no times yet."""
        minute = int(now_s // MINUTE_S)
        if minute <= self.minute:
            return False
        for values in self._by_percent:
            for passed in range(max(self.minute + 1, minute - DAY_MINUTES + 1), minute + 1):
                values[passed % DAY_MINUTES] = math.nan
        self.minute = minute
        return True

    def read(self, now_s: float, minutes: int) -> Percentiles:
        self.advance(now_s)
        found: Percentiles = {}
        for percent, values in zip(PERCENTS, self._by_percent, strict=True):
            several = (values[minute % DAY_MINUTES] for minute in range(self.minute - minutes + 1, self.minute + 1))
            found[f"p{percent}"] = [None if math.isnan(ms) else round(ms, 1) for ms in several]
        return found


class _Times:
    """Percentiles by minute: stored for past minutes, computed from the histogram for the current one."""

    def __init__(self) -> None:
        self._minutes = Minutes()
        self._histogram = array("Q", bytes(8 * (len(EDGES_MS) + 1)))
        self._most_ms = 0.0

    def add(self, now_s: float, ms: float) -> None:
        self._advance(now_s)
        self._histogram[bisect_right(EDGES_MS, ms)] += 1
        self._most_ms = max(self._most_ms, ms)

    def read(self, now_s: float, minutes: int) -> Percentiles:
        self._advance(now_s)
        self._minutes.put(self._percentiles())
        return self._minutes.read(now_s, minutes)

    def _advance(self, now_s: float) -> None:
        if int(now_s // MINUTE_S) <= self._minutes.minute:
            return
        self._minutes.put(self._percentiles())
        self._minutes.advance(now_s)
        self._most_ms = 0.0
        self._histogram = array("Q", bytes(8 * (len(EDGES_MS) + 1)))

    def _percentiles(self) -> list[float]:
        below = list(accumulate(self._histogram))
        if not below[-1]:
            return [math.nan] * len(PERCENTS)
        return [self._value(below, percent / 100 * below[-1]) for percent in PERCENTS]

    def _value(self, below: list[int], rank: float) -> float:
        """The value of a rank, interpolated linearly inside its bucket."""
        at = next(bucket for bucket, count in enumerate(below) if count >= rank)
        low = EDGES_MS[at - 1] if at else 0.0
        high = min(EDGES_MS[at] if at < len(EDGES_MS) else math.inf, self._most_ms)
        inside = self._histogram[at]
        return low + max(0.0, high - low) * (rank - (below[at] - inside)) / inside
