"""When a country's pool runs dry if leases go on at the rate of the last minute. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from daemon.pool.messages import Counts

WINDOW_S = 60.0
SAMPLE_S = 1.0


@dataclass(frozen=True)
class Depletion:
    """`leases_per_minute`: None in the first second of measurement. `dry_in_s`: None if the pool does not run dry."""

    leases_per_minute: float | None
    dry_in_s: float | None


class Rates:
    """The rate of leases by country over the last minute, from samples of their counters."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[str, int]]] = deque(maxlen=round(WINDOW_S / SAMPLE_S) + 2)

    def per_s(self, now_s: float, leases: Mapping[str, int]) -> dict[str, float]:
        """`leases`: counters by country. Empty in the first second of measurement."""
        while len(self._samples) > 1 and self._samples[1][0] <= now_s - WINDOW_S:
            self._samples.popleft()
        if not self._samples or now_s - self._samples[-1][0] >= SAMPLE_S:
            self._samples.append((now_s, dict(leases)))
        began_s, before = self._samples[0]
        passed_s = now_s - began_s
        if passed_s < SAMPLE_S:
            return {}
        return {country: max(0, count - before.get(country, 0)) / passed_s for country, count in leases.items()}


def runs_dry_s(counts: Counts, leases_per_s: float, cooldown_s: float) -> float | None:
    """In how many seconds no IP is available; None if that does not happen.

    During the first cooldown, the IPs that rest now become available, evenly over that time. After it, IPs become
    available as fast as they are leased, so a pool that has lasted one cooldown does not run dry.
    """
    if not counts.available:
        return 0.0 if leases_per_s else None
    lost_per_s = leases_per_s - (counts.cooldown / cooldown_s if cooldown_s else leases_per_s)
    if lost_per_s <= 0:
        return None
    dry_s = counts.available / lost_per_s
    return dry_s if dry_s < cooldown_s else None


def depletion_of(counts: Counts, leases_per_s: float | None, cooldown_s: float) -> Depletion:
    if leases_per_s is None:
        return Depletion(None, 0.0 if counts.total and not counts.available else None)
    dry_s = runs_dry_s(counts, leases_per_s, cooldown_s)
    return Depletion(round(leases_per_s * 60, 1), None if dry_s is None else round(dry_s, 1))
