"""The records of GET /api/status and `tracepool status --json`, and the status from the tables while no daemon runs.

A record of one part of the daemon is defined beside the code that fills it; here are those made of several parts.
Figures are of all nodes together, except those that their record calls this node's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from dataclasses import dataclass as plain

from pydantic.dataclasses import dataclass

from daemon.countries import canonical, rows_by_country
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.maintenance.disk import Disk
from daemon.maintenance.figures import Advice
from daemon.maintenance.first_run import FirstRun
from daemon.maintenance.storage import disk_status, read_stored
from daemon.maintenance.tally import LastMinute
from daemon.nodes.figures import LISTED_MAX, FallenOffer
from daemon.nodes.identity import NodeStatus
from daemon.nodes.listing import NodeEntry
from daemon.pool.messages import NO_COUNTS, Counts
from daemon.settings.model import Settings
from daemon.trace.batch_queue import WaitingTraces
from daemon.trace.provider_health import ProviderStatus
from daemon.trace.traffic_costs import TrafficStatus, by_provider
from daemon.troubles import TroubleStatus


@plain(frozen=True, slots=True)
class CountryStatus(Counts):
    """One country's IPs. `waiting` counts clicks, the others IPs; utilisation is (locked + cooldown) / healthy.

    `failing`: the failed IPs, and those whose last trace failed by the IP's fault. `offers`: how many are active; a
    country of one is listed without IPs too.
    """

    utilisation_percent: float = field()
    failing: int = field()
    offers: int = field()


@plain(frozen=True, slots=True)
class LastMinuteStatus(LastMinute):
    """The clicks of the last minute; fallbacks by reason; waits are null without clicks.

    `background`: clicks that were answered at once, by their offer's mode; they are in no other figure. `repeats` and
    `previews` are no clicks of their own and used no IP. `fallbacks_by_offer`: the ten with the most.
    """

    background: int = field()
    repeats: int = field()
    previews: int = field()
    fallbacks_by_offer: tuple[FallenOffer, ...] = field()


@plain(frozen=True, slots=True)
class AdviceStatus(Advice):
    """What should be done. `about` tells advice of one code apart. `rule`: when this advice is given.

    `country`, `offer`, `provider`: where, if it is one. `count`: how many IPs, clicks, traces, offers or rows, `of` how
    many. `error`: the most common one. `numbers`: the figures that met the rule. `command`: what to run or set next.
    """

    about: str = field()
    country: str | None = field()
    offer: str | None = field()
    provider: str | None = field()
    count: int | None = field()
    of: int | None = field()
    error: str | None = field()


@plain(frozen=True, slots=True)
class QueueStatus:
    """The length of a queue of this node, or the use of a resource, and its limit."""

    length: int
    max: int


@plain(frozen=True, slots=True)
class JournalStatus:
    """This node's journal. `backlog`: entries that PostgreSQL does not have yet; null while the disk cannot be read.

    `too_old`: hits and traces that were older than their retention when they were shipped, and made no row.
    `refused`: entries that PostgreSQL refused, and that are kept until they are sent again or dropped. `spool_remade`:
    how often the spool's files were deleted, replaced or damaged and were made anew; `spool_remade_why`: the last time.
    """

    recorded: int
    dropped: int
    refused: int
    too_old: int
    late_hits: int
    backlog: int | None
    database_reachable: bool
    spool_remade: int
    spool_remade_why: str | None


@plain(frozen=True, slots=True)
class OwnStatus(NodeStatus):
    """This node: its own IPs, traces in flight and clicks, as the fields of the same names have those of all nodes.

    `trusted_for_s`: how long it may lease without PostgreSQL; null: no limit, with its own database.
    `nodes_read_s_ago`: how old its knowledge of the other nodes is; null before it has any.
    """

    draining: bool
    countries: dict[str, CountryStatus]
    active_traces: int
    clicks_waiting: int
    last_minute: LastMinuteStatus
    nodes_read_s_ago: float | None


@plain(frozen=True, slots=True)
class DiskStatus(Disk):
    """The sizes of tables and spool, and how long the free space of the state directory's file system lasts.

    `holds_database`: the database is on that file system too. Otherwise `days_left` is null. `removing`: tables with
    rows that are older than their retention. `building`: indexes that are being built, with their progress.
    """


@dataclass(frozen=True, slots=True)
class Status:
    """The status of all nodes, which any of them can answer, and that of the node that answers.

    `first_run`: the first steps of a new installation; null once there are IPs, offers and clicks.
    `traces_waiting`: the traces of the batch lane that have not ended, by country, with the reason why they wait.
    `countries`, `active_traces`, `clicks_waiting`, `last_minute`, `traffic_today`, `providers` and `advice` are those
    of all nodes together, whichever node answers. `nodes`: each node that may have IPs, the answering one first.
    `queues`, `journal`, `disk`, `troubles`, `node`, `node_id`, `epoch`, `uptime_s` and `version` are those of the
    answering node. While PostgreSQL is away, the figures of other nodes are the last that were read.
    """

    countries: dict[str, CountryStatus]
    active_traces: int
    clicks_waiting: int
    last_minute: LastMinuteStatus
    traffic_today: dict[str, TrafficStatus]
    providers: dict[str, ProviderStatus]
    advice: list[AdviceStatus]
    first_run: FirstRun | None
    traces_waiting: list[WaitingTraces]
    queues: dict[str, QueueStatus]
    journal: JournalStatus
    disk: DiskStatus
    troubles: list[TroubleStatus]
    nodes: list[NodeEntry]
    node: OwnStatus
    node_id: str
    epoch: int
    uptime_s: float
    version: str


@plain(frozen=True, slots=True)
class TableStatus:
    """The part of a daemon's status that the tables have. In `countries`, `waiting` is 0."""

    countries: Mapping[str, Counts]
    active_traces: int
    last_minute: LastMinute
    traffic_today: dict[str, TrafficStatus]
    disk: Disk


def country_statuses(
    countries: Mapping[str, Counts],
    failing: Mapping[str, Mapping[str, tuple[int, int]]],
    offers: Mapping[str, Sequence[str]],
) -> dict[str, CountryStatus]:
    """By country, also those of active offers without IPs. `failing` by provider, see pool/failing.py."""
    return {
        country: country_status(
            countries.get(country, NO_COUNTS),
            failing=sum(map(sum, failing.get(country, {}).values())),
            offers=len(offers.get(country, ())),
        )
        for country in sorted(countries.keys() | offers.keys())
    }


def country_status(counts: Counts, *, failing: int = 0, offers: int = 0) -> CountryStatus:
    """With the utilisation to one decimal."""
    percent = round(counts.utilisation_percent, 1)
    return CountryStatus(**asdict(counts), utilisation_percent=percent, failing=failing, offers=offers)


async def read_status(conn: Connection, settings: Settings) -> TableStatus:
    """The status from the tables, and the state of this machine's disk. A unit of work."""
    rows = sorted(rows_by_country(await conn.fetch(QUERIES["counts_by_country"])).items())
    clicks = await conn.fetchrow(QUERIES["last_minute"])
    fallbacks = {row["reason"]: row["count"] for row in await conn.fetch(QUERIES["last_minute_fallbacks"])}
    fallen = await conn.fetch(QUERIES["last_minute_offers"], LISTED_MAX)
    by_offer = tuple(FallenOffer(row["offer"], canonical(row["country"]), row["fallbacks"]) for row in fallen)
    traffic = by_provider(await conn.fetch(QUERIES["traffic_today"]))
    return TableStatus(
        countries={
            country: Counts(*(sum(row[name] for row in several) for name in Counts.__slots__))
            for country, several in rows
        },
        active_traces=await conn.fetchval(QUERIES["active_traces"]),
        last_minute=LastMinute(**clicks, fallbacks=fallbacks, fallbacks_by_offer=by_offer).rounded(),
        traffic_today={provider: spent.rounded() for provider, spent in traffic.items()},
        disk=disk_status(await read_stored(conn, settings), settings),
    )
