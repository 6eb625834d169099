"""GET /api/pools: each country's pool, from the daemon's memory."""

from dataclasses import asdict

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_response

from daemon.control.api import Seats


@dataclass(frozen=True, slots=True)
class PoolState:
    """One country's pool. `waiting` are clicks, the rest IPs; utilisation is (locked + cooldown) / healthy."""

    country: str
    total: int
    available: int
    locked: int
    cooldown: int
    failed: int
    waiting: int
    utilisation_percent: float


@dataclass(frozen=True, slots=True)
class PoolList:
    items: list[PoolState]


def blueprint(seat: Seats) -> Blueprint:
    routes = Blueprint("pools", __name__)

    @routes.get("/api/pools")
    @validate_response(PoolList)
    async def pools() -> PoolList:
        """The pools by country."""
        counts = seat().overview.directory.counts()
        return PoolList(
            [
                PoolState(country=country, **asdict(c), utilisation_percent=round(c.utilisation_percent, 1))
                for country, c in sorted(counts.items())
            ]
        )

    return routes
