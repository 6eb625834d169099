"""Outcomes and waits of the last minute's clicks, for `status`. Pure: the time is an argument."""

from collections import Counter, deque
from dataclasses import dataclass, replace

WINDOW_S = 60.0
CLICKS_MAX = 60_000  # at more than 1,000 clicks/s the window is shorter than a minute


@dataclass(frozen=True, slots=True)
class LastMinute:
    """`fallbacks` by reason; waits in milliseconds, None without clicks."""

    clicks: int
    resolved: int
    fallbacks: dict[str, int]
    wait_p50_ms: float | None
    wait_p95_ms: float | None

    def rounded(self) -> "LastMinute":
        """With milliseconds to one decimal, as `status` reports them."""
        p50, p95 = self.wait_p50_ms, self.wait_p95_ms
        return replace(
            self, wait_p50_ms=None if p50 is None else round(p50, 1), wait_p95_ms=None if p95 is None else round(p95, 1)
        )


class Tally:
    def __init__(self) -> None:
        self._clicks: deque[tuple[float, str | None, float]] = deque(maxlen=CLICKS_MAX)

    def add(self, at_s: float, reason: str | None, wait_ms: float) -> None:
        """`reason`: that of a fallback, or None for a resolved click."""
        self._clicks.append((at_s, reason, wait_ms))

    def last_minute(self, now_s: float) -> LastMinute:
        while self._clicks and self._clicks[0][0] < now_s - WINDOW_S:
            self._clicks.popleft()
        waits = sorted(click[2] for click in self._clicks)
        reasons = Counter(click[1] for click in self._clicks if click[1] is not None)
        return LastMinute(
            clicks=len(waits),
            resolved=len(waits) - reasons.total(),
            fallbacks=dict(reasons.most_common()),
            wait_p50_ms=waits[len(waits) // 2] if waits else None,
            wait_p95_ms=waits[int(len(waits) * 0.95)] if waits else None,
        )
