"""What a report consists of: its window, its groups and their figures. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from daemon.errors import BadInput

By = Literal["offer", "country", "provider", "day", "reason"]
Source = Literal["traffic", "active_trace_requests"]

LANDED = "landed"  # in place of a reason
BACKGROUND = "background"  # likewise, of clicks that nobody waited for
REPEAT, PREVIEW = "#repeat", "#preview"  # likewise, of hits that are no clicks: hits.kind after a #
DAYS = 7  # of a report without a beginning
KEYS: Mapping[By | None, tuple[str, ...]] = {
    None: ("offer", "country"),
    "offer": ("offer",),
    "country": ("country",),
    "provider": ("provider",),
    "day": ("day",),
    "reason": ("reason",),
}
OF_TRAFFIC = ("offer", "provider", "day")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` to before `until`, in UTC; `until` is at most `now`, the time of the report."""

    since: datetime
    until: datetime
    now: datetime

    @property
    def is_of_days(self) -> bool:
        """Whether the window has whole days (UTC) only; a day that is not over counts as far as it has come."""
        return _is_midnight(self.since) and (_is_midnight(self.until) or self.until == self.now)

    @property
    def days(self) -> tuple[date, date]:
        """The first day, and the day after the last one."""
        return self.since.date(), (self.until - timedelta(microseconds=1)).date() + _DAY


def window_of(since: datetime | None, until: datetime | None, now: datetime) -> Window:
    """Without `since`: the last DAYS days up to `until`, the day of `until` included. Raises BadInput."""
    now = now.astimezone(UTC)
    end = now if until is None else min(until.astimezone(UTC), now)
    try:
        begin = since.astimezone(UTC) if since else _midnight(end - timedelta(microseconds=1)) - (DAYS - 1) * _DAY
    except OverflowError:
        raise BadInput("the report's times must be from 1900 to 2999") from None
    if begin >= end:
        raise BadInput(
            f"the report begins at {begin.isoformat(timespec='seconds')}, which is not before its end,"
            f" {end.isoformat(timespec='seconds')}: let it begin earlier"
        )
    return Window(begin, end, now)


def window_of_texts(
    since: str | None, until: str | None, now: datetime, read: Callable[[str, datetime, str], float]
) -> Window:
    """The window of --from and --to. A date is a whole day (UTC), as --to too; all else is for `read`."""
    now = now.astimezone(UTC)

    def instant(text: str | None, option: str, after_date: timedelta) -> datetime | None:
        if text is None:
            return None
        try:
            day = date.fromisoformat(text.strip())
        except ValueError:
            day = None
        try:
            if day is not None:
                found = datetime(day.year, day.month, day.day, tzinfo=UTC) + after_date
            else:
                found = datetime.fromtimestamp(read(text, now, option), UTC)
        except (ValueError, OverflowError, OSError):
            found = datetime(1, 1, 1, tzinfo=UTC)
        if not 1900 <= found.year < 3000:
            raise BadInput(f"{option} is {text!r}: it must lead to a time from 1900 to 2999")
        return found

    return window_of(instant(since, "--from", timedelta(0)), instant(until, "--to", _DAY), now)


def source_of(by: By | None, window: Window) -> Source:
    """Where traces, bytes and cost come from.

    The table traffic has them by day, provider and offer for all time; active_trace_requests has each trace, and only
    for retention.traces_days.
    """
    of_traffic = all(key in OF_TRAFFIC for key in KEYS[by])
    return "traffic" if of_traffic and window.is_of_days else "active_trace_requests"


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a group. Waits are null without clicks; `cost` in US dollars.

    `background`: clicks that were answered at once. `repeats`, `previews`: requests that are no clicks of their own.
    These three are in no other figure; the traces of background clicks are among `traces`.
    """

    clicks: int = 0
    landed: int = 0
    fallbacks: dict[str, int] = field(default_factory=dict)
    background: int = 0
    repeats: int = 0
    previews: int = 0
    wait_p50_ms: float | None = None
    wait_p95_ms: float | None = None
    traces: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    cost: float = 0.0


def clicks_of(row: Mapping[str, Any]) -> Figures:
    """`row`: `reasons` with the hits by reason or one of the words above, and `waits` with p50 and p95."""
    reasons = dict(row["reasons"])
    landed, background, repeats, previews = (reasons.pop(word, 0) for word in (LANDED, BACKGROUND, REPEAT, PREVIEW))
    p50, p95 = (None if ms is None else round(ms, 1) for ms in row["waits"] or (None, None))
    return Figures(row["clicks"], landed, dict(sorted(reasons.items())), background, repeats, previews, p50, p95)


def with_traces(figures: Figures, row: Mapping[str, Any] | None) -> Figures:
    if row is None:
        return figures
    sums = {name: row[name] for name in ("traces", "bytes_received", "bytes_sent")}
    return replace(figures, cost=round(row["cost"], 6), **sums)


def columns_of(keys: Sequence[str], groups: Iterable[Figures]) -> list[str]:
    """The header of a report as CSV: one column for each reason that occurs."""
    reasons = sorted({reason for one in groups for reason in one.fallbacks})
    figures = [name for name in Figures.__slots__ if name not in ("clicks", "landed", "fallbacks")]
    return [*keys, "clicks", "landed", "fallbacks", *(f"fallback_{reason}" for reason in reasons), *figures]


def cells_of(columns: Sequence[str], keys: Mapping[str, str | None], figures: Figures) -> Iterator[object]:
    values = {**asdict(figures), "fallbacks": sum(figures.fallbacks.values()), **keys}
    for column in columns:
        yield values[column] if column in values else figures.fallbacks.get(column.removeprefix("fallback_"), 0)


def _is_midnight(time: datetime) -> bool:
    return time == _midnight(time)


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)
