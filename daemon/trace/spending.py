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
class Spent:
    """A provider's share. `cost` in US dollars."""

    traces: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    cost: float = 0.0


def priced(ip_id: UUID, provider: str, bytes_received: int, bytes_sent: int, prices: Mapping[str, float]) -> Traffic:
    """An attempt with its cost. `prices`: US dollars for BYTES_PER_GB, by provider.

    Providers sell both directions alike. One without a price costs nothing.
    """
    cost = (bytes_received + bytes_sent) / BYTES_PER_GB * prices.get(provider, 0.0)
    return Traffic(ip_id, provider, bytes_received, bytes_sent, cost)


class Spending:
    def __init__(self) -> None:
        self._day = 0
        self._spent: dict[str, Spent] = {}

    def begin(self, wall_s: float, rows: Iterable[Mapping[str, Any]]) -> None:
        """Takes rows of `traffic_today` for all that was spent until now."""
        self._day = int(wall_s // DAY_S)
        self._spent = {row["provider"]: Spent(*(row[name] for name in Spent.__slots__)) for row in rows}

    def add(self, wall_s: float, traffic: Iterable[Traffic]) -> None:
        """The attempts of one trace, which counts once for each provider."""
        self._turn(wall_s)
        providers = set()
        for part in traffic:
            spent = self._spent.setdefault(part.provider, Spent())
            spent.bytes_received += part.bytes_received
            spent.bytes_sent += part.bytes_sent
            spent.cost += part.cost
            providers.add(part.provider)
        for provider in providers:
            self._spent[provider].traces += 1

    def today(self, wall_s: float) -> dict[str, dict[str, Any]]:
        self._turn(wall_s)
        return {provider: shown(asdict(spent)) for provider, spent in sorted(self._spent.items())}

    def _turn(self, wall_s: float) -> None:
        day = int(wall_s // DAY_S)
        if day > self._day:  # a clock that is set back keeps the later day
            self._day, self._spent = day, {}


def shown(spent: Mapping[str, Any]) -> dict[str, Any]:
    """A provider's share as `status` gives it: dollars to a millionth."""
    return {**spent, "cost": round(spent["cost"], 6)}
