"""How long the clicks of a minute waited, as counts in buckets. Counts of several nodes add up. Pure.

A bucket's upper edge is STEP times its lower edge, so that a percentile is at most 2.5% off.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

STEP = 1.05
BUCKET_MAX = 330  # above 2.5 hours
_PER_BUCKET = 1 / math.log(STEP)


class Waits(msgspec.Struct, frozen=True, omit_defaults=True):
    """`counts` of the buckets from number `first` on. Bucket 0 is below 1 ms."""

    first: int = 0
    counts: tuple[int, ...] = ()

    def percentile(self, percent: float) -> float | None:
        """In milliseconds, interpolated linearly inside a bucket; None without clicks."""
        rank, below = percent / 100 * sum(self.counts), 0
        for number, count in enumerate(self.counts, self.first):
            if count and below + count >= rank:
                low, high = (STEP ** (number - 1) if number else 0.0), STEP**number
                return low + (high - low) * (rank - below) / count
            below += count
        return None


def bucket_of(wait_ms: float) -> int:
    return 0 if wait_ms < 1 else min(BUCKET_MAX, 1 + int(math.log(wait_ms) * _PER_BUCKET))


def waits_of(counts: Mapping[int, int]) -> Waits:
    """From the counts by bucket."""
    used = [number for number, count in counts.items() if count > 0]
    if not used:
        return Waits()
    return Waits(min(used), tuple(max(0, counts.get(number, 0)) for number in range(min(used), max(used) + 1)))


def added(several: Iterable[Waits]) -> Waits:
    sums: dict[int, int] = {}
    for waits in several:
        for number, count in enumerate(waits.counts, waits.first):
            sums[number] = sums.get(number, 0) + count
    return waits_of(sums)
