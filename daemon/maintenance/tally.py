"""Outcomes and waits of the last minute's clicks, for `status`. Pure: the time is an argument."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from daemon.nodes.figures import LISTED_MAX, ClickFigures, FallenOffer
from daemon.nodes.waits import bucket_of, waits_of

T = TypeVar("T")
WINDOW_S = 60.0
NAME_SHOWN_MAX = 100
CLICKS_MAX = 60_000  # at more than 1,000 clicks/s the window is shorter than a minute


@dataclass(frozen=True, slots=True)
class LastMinute:
    """`fallbacks` by reason; waits in milliseconds, None without clicks.

    `background`: clicks that were answered at once; they are in no other figure. `repeats` and `previews`: requests
    that were no clicks of their own and used no IP. `fallbacks_by_offer`: the offers with the most fallbacks.
    """

    clicks: int
    resolved: int
    fallbacks: dict[str, int]
    wait_p50_ms: float | None
    wait_p95_ms: float | None
    background: int = 0
    repeats: int = 0
    previews: int = 0
    fallbacks_by_offer: tuple[FallenOffer, ...] = ()

    def rounded(self) -> "LastMinute":
        """With milliseconds to one decimal, as `status` reports them."""
        p50, p95 = self.wait_p50_ms, self.wait_p95_ms
        return replace(
            self, wait_p50_ms=None if p50 is None else round(p50, 1), wait_p95_ms=None if p95 is None else round(p95, 1)
        )


class _Counts(Generic[T]):
    """How often each value was added in the last minute."""

    def __init__(self) -> None:
        self.counts: Counter[T] = Counter()
        self._added: deque[tuple[float, T]] = deque()

    def add(self, at_s: float, value: T) -> None:
        self._added.append((at_s, value))
        self.counts[value] += 1
        if len(self._added) > CLICKS_MAX:
            self._forget()

    def forget_before(self, since_s: float) -> None:
        while self._added and self._added[0][0] < since_s:
            self._forget()

    def _forget(self) -> None:
        _, value = self._added.popleft()
        self.counts[value] -= 1
        if not self.counts[value]:
            del self.counts[value]


class Tally:
    def __init__(self) -> None:
        self._clicks: deque[tuple[float, str | None, float, int]] = deque()
        self._reasons: Counter[str | None] = Counter()  # None: resolved
        self._buckets: Counter[int] = Counter()  # of waits, see nodes/waits.py
        self._fallen = _Counts[tuple[str, str]]()  # offers and countries of fallbacks
        self._marked = _Counts[str]()
        self._background: deque[float] = deque(maxlen=CLICKS_MAX)

    def add(self, at_s: float, reason: str | None, wait_ms: float, offer: str = "", country: str = "") -> None:
        """`reason`: that of a fallback, or None for a resolved click."""
        bucket = bucket_of(wait_ms)
        self._clicks.append((at_s, reason, wait_ms, bucket))
        self._reasons[reason] += 1
        self._buckets[bucket] += 1
        if len(self._clicks) > CLICKS_MAX:
            self._forget()
        if reason is not None:
            self._fallen.add(at_s, (offer[:NAME_SHOWN_MAX], country))

    def mark(self, at_s: float, kind: str) -> None:
        """A request whose hit has the kind `repeat` or `preview`."""
        self._marked.add(at_s, kind)

    def add_background(self, at_s: float) -> None:
        """A click that was answered at once."""
        self._background.append(at_s)

    def last_minute(self, now_s: float) -> LastMinute:
        self._forget_before(now_s - WINDOW_S)
        waits = sorted(click[2] for click in self._clicks)
        return LastMinute(
            clicks=len(waits),
            resolved=self._reasons[None],
            fallbacks=self._fallbacks(),
            wait_p50_ms=waits[len(waits) // 2] if waits else None,
            wait_p95_ms=waits[int(len(waits) * 0.95)] if waits else None,
            background=len(self._background),
            **_by_kind(self._marked.counts),
            fallbacks_by_offer=self._fallen_offers(),
        )

    def figures(self, now_s: float) -> ClickFigures:
        """The same for the figures that nodes share. It costs little, whatever the number of clicks."""
        self._forget_before(now_s - WINDOW_S)
        waits, fallen = waits_of(self._buckets), self._fallen_offers()
        marked, background = dict(self._marked.counts), len(self._background)
        return ClickFigures(self._reasons[None], self._fallbacks(), waits, background, fallen, marked)

    def _fallen_offers(self) -> tuple[FallenOffer, ...]:
        return tuple(FallenOffer(*where, count) for where, count in self._fallen.counts.most_common(LISTED_MAX))

    def _fallbacks(self) -> dict[str, int]:
        return {reason: count for reason, count in self._reasons.most_common() if reason is not None and count}

    def _forget_before(self, since_s: float) -> None:
        while self._clicks and self._clicks[0][0] < since_s:
            self._forget()
        self._fallen.forget_before(since_s)
        self._marked.forget_before(since_s)
        while self._background and self._background[0] < since_s:
            self._background.popleft()

    def _forget(self) -> None:
        _, reason, _, bucket = self._clicks.popleft()
        self._reasons[reason] -= 1
        self._buckets[bucket] -= 1


def together(clicks: ClickFigures) -> LastMinute:
    """The clicks of several nodes."""
    p50, p95, marks = clicks.waits.percentile(50), clicks.waits.percentile(95), _by_kind(clicks.marked)
    return LastMinute(
        clicks.clicks,
        clicks.resolved,
        clicks.fallbacks,
        p50,
        p95,
        clicks.background,
        **marks,
        fallbacks_by_offer=clicks.fallen,
    )


def _by_kind(marked: Mapping[str, int]) -> dict[str, int]:
    return {"repeats": marked.get("repeat", 0), "previews": marked.get("preview", 0)}
