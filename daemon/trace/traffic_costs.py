"""Bytes and money of today's traces by provider, in memory: `tracepool status` shows them with the database away, too.

Pure. The table `traffic` has the same for every day, provider and offer; it is read once, at the start. Days are UTC's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from daemon.journal.entries import Traffic

BYTES_PER_GB = 10**9
DAY_S = 86_400


@dataclass(slots=True)
class TrafficStatus:
    """What went through a provider's proxies since midnight, UTC. `cost` in US dollars, 0 without a price_per_gb."""

    traces: int
    bytes_received: int
    bytes_sent: int
    cost: float

    def rounded(self) -> "TrafficStatus":
        """As `status` gives it: dollars to a millionth."""
        return replace(self, cost=round(self.cost, 6))


def priced(ip_id: UUID, provider: str, bytes_received: int, bytes_sent: int, prices: Mapping[str, float]) -> Traffic:
    """An attempt with its cost. `prices`: US dollars for BYTES_PER_GB, by provider.

    Providers sell both directions alike. One without a price costs nothing.
    """
    cost = (bytes_received + bytes_sent) / BYTES_PER_GB * prices.get(provider, 0.0)
    return Traffic(ip_id, provider, bytes_received, bytes_sent, cost)


class TrafficCosts:
    def __init__(self) -> None:
        self._day = 0
        self._by_provider: dict[str, TrafficStatus] = {}

    def begin(self, wall_s: float, rows: Iterable[Mapping[str, Any]]) -> None:
        """Takes rows of `traffic_today` for all that was spent until now."""
        self._day = int(wall_s // DAY_S)
        self._by_provider = by_provider(rows)

    def add(self, wall_s: float, traffic: Iterable[Traffic]) -> None:
        """The attempts of one trace, which counts once for each provider."""
        self._turn(wall_s)
        providers = set()
        for part in traffic:
            share = self._by_provider.setdefault(part.provider, TrafficStatus(0, 0, 0, 0.0))
            share.bytes_received += part.bytes_received
            share.bytes_sent += part.bytes_sent
            share.cost += part.cost
            providers.add(part.provider)
        for provider in providers:
            self._by_provider[provider].traces += 1

    def today(self, wall_s: float) -> dict[str, TrafficStatus]:
        self._turn(wall_s)
        return {provider: share.rounded() for provider, share in sorted(self._by_provider.items())}

    def _turn(self, wall_s: float) -> None:
        day = int(wall_s // DAY_S)
        if day > self._day:  # a clock that is set back keeps the later day
            self._day, self._by_provider = day, {}


def by_provider(rows: Iterable[Mapping[str, Any]]) -> dict[str, TrafficStatus]:
    """Rows of `traffic_today`."""
    return {row["provider"]: TrafficStatus(*(row[name] for name in TrafficStatus.__slots__)) for row in rows}
