"""Bytes and costs of today's traces by provider, in memory, so that `tracepool status` needs no database. Pure.

The table `traffic` has the same by day, provider and offer; the daemon reads it once, at its start. Days are UTC days.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from daemon.journal.entries import Traffic

BYTES_PER_GB = 10**9
DAY_S = 86_400


@dataclass(slots=True)
class TrafficStatus:
    """A provider's traces and bytes since midnight, UTC. `cost` is in US dollars, 0 without a price_per_gb."""

    traces: int
    bytes_received: int
    bytes_sent: int
    cost: float

    def rounded(self) -> "TrafficStatus":
        """With the cost rounded to a millionth of a dollar, for `status`."""
        return replace(self, cost=round(self.cost, 6))


def priced(provider: str, bytes_received: int, bytes_sent: int, prices: Mapping[str, float]) -> Traffic:
    """The bytes of an attempt with their cost; both directions cost the same.

    `prices`: US dollars for BYTES_PER_GB, by provider; 0 for a provider that is not there.
    """
    cost = (bytes_received + bytes_sent) / BYTES_PER_GB * prices.get(provider, 0.0)
    return Traffic(provider, bytes_received, bytes_sent, cost)


class TrafficCosts:
    def __init__(self) -> None:
        self._day = 0
        self._by_provider: dict[str, TrafficStatus] = {}

    def begin(self, wall_s: float, rows: Iterable[Mapping[str, Any]]) -> None:
        """Starts from rows of `traffic_today`: the traces before the daemon's start."""
        self._day = int(wall_s // DAY_S)
        self._by_provider = by_provider(rows)

    def add(self, wall_s: float, traffic: Sequence[Traffic]) -> None:
        """Adds the attempts of one trace, which counts once for each provider."""
        self._start_day(wall_s)
        for part in traffic:
            share = self._by_provider.setdefault(part.provider, TrafficStatus(0, 0, 0, 0.0))
            share.bytes_received += part.bytes_received
            share.bytes_sent += part.bytes_sent
            share.cost += part.cost
        for provider in {part.provider for part in traffic}:
            self._by_provider[provider].traces += 1

    def today(self, wall_s: float) -> dict[str, TrafficStatus]:
        self._start_day(wall_s)
        return {provider: share.rounded() for provider, share in sorted(self._by_provider.items())}

    def _start_day(self, wall_s: float) -> None:
        day = int(wall_s // DAY_S)
        if day > self._day:  # if the clock is set back, the later day stays
            self._day, self._by_provider = day, {}


def by_provider(rows: Iterable[Mapping[str, Any]]) -> dict[str, TrafficStatus]:
    """From rows of `traffic_today`."""
    return {row["provider"]: TrafficStatus(*(row[name] for name in TrafficStatus.__slots__)) for row in rows}
