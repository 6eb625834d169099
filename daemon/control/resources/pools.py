"""GET /api/pools: each country's pool, from the daemon's memory."""

from dataclasses import asdict

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_response

from daemon.control.api import Seats


@dataclass(frozen=True, slots=True)
class PoolState:
    """One country's pool. `waiting` are clicks, the rest IPs; utilisation is (locked + cooldown) / healthy.

    `dry_in_s`: when none is available if leases go on as in the last minute; null where they can, or are not known yet.
    """

    country: str
    total: int
    available: int
    locked: int
    cooldown: int
    failed: int
    waiting: int
    utilisation_percent: float
    leases_per_minute: float | None
    dry_in_s: float | None


@dataclass(frozen=True, slots=True)
class PoolList:
    items: list[PoolState]


def blueprint(seat: Seats) -> Blueprint:
    routes = Blueprint("pools", __name__)

    @routes.get("/api/pools")
    @validate_response(PoolList)
    async def pools() -> PoolList:
        """The pools by country."""
        here = seat()
        outlooks = here.watching.outlook(here.overview, here.settings().pool.cooldown_s)
        return PoolList(
            [
                PoolState(
                    country=country,
                    **counts.as_dict(),
                    utilisation_percent=round(counts.utilisation_percent, 1),
                    **asdict(outlooks[country]),
                )
                for country, counts in sorted(here.overview.directory.counts().items())
            ]
        )

    return routes
