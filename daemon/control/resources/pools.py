"""The pools by country, from the daemon's memory: /api/pools, and a letter for each IP for a picture of a pool."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID
from zlib import crc32

from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_querystring, validate_response

from daemon.control.api import GetContext, Word
from daemon.control.depletion import Depletion
from daemon.control.problems import ProblemRaised
from daemon.control.status import CountryStatus, country_status
from daemon.pool.messages import IpView
from daemon.pool.states import Status

CELLS_MAX = 5_000  # a page: reading them keeps the daemon for two milliseconds
LETTERS = {Status.AVAILABLE: "a", Status.LOCKED: "l", Status.COOLDOWN: "c", Status.FAILED: "f"}


@dataclass(frozen=True)
class _Named:
    country: str


@dataclass(frozen=True, slots=True)
class PoolState(Depletion, CountryStatus, _Named):  # an answer has the fields of the last base first
    """One country's pool. `waiting` are clicks, the rest IPs; utilisation is (locked + cooldown) / healthy.

    `dry_in_s`: when none is available if leases go on as in the last minute; null where they can, or are not known yet.
    """


@dataclass(frozen=True, slots=True)
class PoolList:
    items: list[PoolState]


@dataclass(frozen=True, slots=True)
class CellsQuery:
    """5,000 IPs from `start` on. `known`: the `revision` of an answer whose `ips` need not be repeated."""

    start: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    known: Word | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """Which IP a letter stands for."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Cells:
    """`states`: a letter for each IP: available, locked, cooldown, failed. `ips`: which they are, in that order; null
    where the revision is the known one.
    """

    country: str
    total: int
    start: int
    revision: str
    states: str
    ips: list[Cell] | None


def pools_routes(context: GetContext) -> Blueprint:
    routes = Blueprint("pools", __name__)

    @routes.get("/api/pools")
    @validate_response(PoolList)
    async def pools() -> PoolList:
        """The pools by country."""
        here = context()
        counts = here.overview.directory.counts()
        depletion = here.observers.depletion(here.overview, here.settings().pool.cooldown_s)
        return PoolList(
            [
                PoolState(country=country, **asdict(country_status(counts[country])), **asdict(depletion[country]))
                for country in sorted(counts)
            ]
        )

    return routes


def cells_routes(context: GetContext) -> Blueprint:
    routes = Blueprint("pool_cells", __name__)

    @routes.get("/api/pools/<country>/cells")
    @validate_querystring(CellsQuery)
    @validate_response(Cells)
    async def cells(country: str, query_args: CellsQuery) -> Cells:
        """The states of a pool's IPs, a letter each."""
        post = context().overview.directory.known(country)
        if post is None:
            raise ProblemRaised(404, f"no IP is in the country {country[:100]!r}: GET /api/pools lists those that are")
        start = query_args.start
        ips = await post.describe(start=start, count=CELLS_MAX)
        revision = _revision(ips)
        known = query_args.known == revision
        return Cells(
            country=post.country,
            total=post.view.counts.total,
            start=start,
            revision=revision,
            states="".join(LETTERS.get(ip.status, "f") for ip in ips),
            ips=None if known else [Cell(ip.id, f"{ip.address}:{ip.port}") for ip in ips],
        )

    return routes


def _revision(ips: tuple[IpView, ...]) -> str:
    return f"{crc32(''.join(f'{ip.id.hex}{ip.address}:{ip.port}' for ip in ips).encode()):08x}"
