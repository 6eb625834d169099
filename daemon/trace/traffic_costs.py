"""Bytes and money of today's traces by provider, in memory: `tracepool status` shows them with the database away, too.

Pure. The table `traffic` has the same for every day, provider and offer; it is read once, at the start. Days are UTC's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from daemon.journal.entries import Traffic

BYTES_PER_GB = 10**9
DAY_S = 86_400


@dataclass(slots=True)
class ProviderTraffic:
    """A provider's share. `cost` in US dollars."""

    traces: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    cost: float = 0.0


class TrafficCosts:
    """`prices`: US dollars for BYTES_PER_GB, by provider; they hold from now on."""

    def __init__(self, prices: Mapping[str, float] | None = None) -> None:
        self.prices: Mapping[str, float] = prices or {}
        self._day = 0
        self._by_provider: dict[str, ProviderTraffic] = {}

    def counted(self, ip_id: UUID, provider: str, bytes_received: int, bytes_sent: int) -> Traffic:
        """An attempt with its cost: providers sell both directions alike. One without a price costs nothing."""
        cost = (bytes_received + bytes_sent) / BYTES_PER_GB * self.prices.get(provider, 0.0)
        return Traffic(ip_id, provider, bytes_received, bytes_sent, cost)

    def begin(self, wall_s: float, rows: Iterable[Mapping[str, Any]]) -> None:
        """Takes rows of `traffic_today` for all that was spent until now."""
        self._day = int(wall_s // DAY_S)
        self._by_provider = {
            row["provider"]: ProviderTraffic(*(row[name] for name in ProviderTraffic.__slots__)) for row in rows
        }

    def add(self, wall_s: float, traffic: Iterable[Traffic]) -> None:
        """The attempts of one trace, which counts once for each provider."""
        self._turn(wall_s)
        providers = set()
        for part in traffic:
            share = self._by_provider.setdefault(part.provider, ProviderTraffic())
            share.bytes_received += part.bytes_received
            share.bytes_sent += part.bytes_sent
            share.cost += part.cost
            providers.add(part.provider)
        for provider in providers:
            self._by_provider[provider].traces += 1

    def today(self, wall_s: float) -> dict[str, dict[str, Any]]:
        self._turn(wall_s)
        return {provider: shown(asdict(share)) for provider, share in sorted(self._by_provider.items())}

    def _turn(self, wall_s: float) -> None:
        day = int(wall_s // DAY_S)
        if day > self._day:  # a clock that is set back keeps the later day
            self._day, self._by_provider = day, {}


def shown(share: Mapping[str, Any]) -> dict[str, Any]:
    """A provider's share as `status` gives it: dollars to a millionth."""
    return {**share, "cost": round(share["cost"], 6)}
