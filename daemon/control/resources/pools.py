"""/api/pools: the IPs of all nodes by country, and the state of each own IP as one letter. All from memory."""

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
from daemon.maintenance.node_report import counts_of
from daemon.pool.messages import IpView
from daemon.pool.states import Status

CELLS_MAX = 5_000  # a page: to read them takes two milliseconds, in which the daemon does nothing else
LETTERS = {Status.AVAILABLE: "a", Status.LOCKED: "l", Status.COOLDOWN: "c", Status.FAILED: "f"}


@dataclass(frozen=True)
class _Named:
    country: str


@dataclass(frozen=True, slots=True)
class PoolState(Depletion, CountryStatus, _Named):  # an answer has the fields of the last base first
    """One country on all nodes. `waiting` counts clicks, the others IPs; utilisation is (locked + cooldown) / healthy.

    `dry_in_s`: in how many seconds no IP is available if leases go on as in the last minute; null if that does not
    happen, or the rate is not known yet.
    """


@dataclass(frozen=True, slots=True)
class PoolList:
    items: list[PoolState]


@dataclass(frozen=True, slots=True)
class CellsQuery:
    """5,000 IPs from `start` on. `known`: the `revision` of an earlier answer; its `ips` are not sent again."""

    start: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    known: Word | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """The IP of a letter. `name`: address:port."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Cells:
    """`states`: a letter for each IP: available, locked, cooldown, failed.

    `ips`: the IPs in the same order; null if the revision is the known one.
    """

    country: str
    total: int
    start: int
    revision: str
    states: str
    ips: list[Cell] | None


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("pools", __name__)

    @routes.get("/api/pools")
    @validate_response(PoolList)
    async def pools() -> PoolList:
        """The pools by country: the IPs of all nodes together."""
        here = context()
        counts = counts_of(here.overview.report.cluster().countries)
        depletion = here.observers.depletion(here.overview, here.settings().pool.cooldown_s)
        return PoolList(
            [
                PoolState(country=country, **asdict(country_status(counts[country])), **asdict(depletion[country]))
                for country in sorted(counts)
            ]
        )

    @routes.get("/api/pools/<country>/cells")
    @validate_querystring(CellsQuery)
    @validate_response(Cells)
    async def cells(country: str, query_args: CellsQuery) -> Cells:
        """The states of a pool's IPs, one letter each: of those that the answering node owns."""
        handle = context().overview.directory.known(country)
        if handle is None:
            why = f"this node has no IP in the country {country[:100]!r}: GET /api/pools lists the countries"
            raise ProblemRaised(404, why)
        start = query_args.start
        ips = await handle.describe(start=start, count=CELLS_MAX)
        revision = _revision(ips)
        known = query_args.known == revision
        return Cells(
            country=handle.country,
            total=handle.view.counts.total,
            start=start,
            revision=revision,
            states="".join(LETTERS.get(ip.status, "f") for ip in ips),
            ips=None if known else [Cell(ip.id, ip.name) for ip in ips],
        )

    return routes


def _revision(ips: tuple[IpView, ...]) -> str:
    return f"{crc32(''.join(f'{ip.id.hex}{ip.address}:{ip.port}' for ip in ips).encode()):08x}"
