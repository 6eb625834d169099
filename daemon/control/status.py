"""The records of GET /api/status and `tracepool status --json`, and the status from the tables while no daemon runs.

A record of one part of the daemon is defined beside the code that fills it; here are those made of several parts.
Figures are of all nodes together, except those that their record calls this node's.
"""

from collections.abc import Mapping
from dataclasses import asdict, field
from dataclasses import dataclass as plain

from pydantic.dataclasses import dataclass

from daemon.countries import rows_by_country
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.maintenance.figures import Advice
from daemon.maintenance.tally import LastMinute
from daemon.nodes.identity import NodeStatus
from daemon.nodes.listing import NodeEntry
from daemon.pool.messages import Counts
from daemon.trace.provider_health import ProviderStatus
from daemon.trace.traffic_costs import TrafficStatus, by_provider
from daemon.troubles import TroubleStatus


@plain(frozen=True, slots=True)
class CountryStatus(Counts):
    """One country's IPs. `waiting` counts clicks, the others IPs; utilisation is (locked + cooldown) / healthy."""

    utilisation_percent: float = field()


@plain(frozen=True, slots=True)
class LastMinuteStatus(LastMinute):
    """The clicks of the last minute; fallbacks by reason; waits are null without clicks.

    `background`: clicks that were answered at once, by their offer's mode; they are in no other figure.
    """


@plain(frozen=True, slots=True)
class AdviceStatus(Advice):
    """What should be done. `about`: a country, a provider or an offer. `rule`: when this advice is given.

    `numbers`: the figures that met the rule. `command`: what to run or set next.
    """

    about: str = field()


@plain(frozen=True, slots=True)
class QueueStatus:
    """The length of a queue of this node, or the use of a resource, and its limit."""

    length: int
    max: int


@plain(frozen=True, slots=True)
class JournalStatus:
    """This node's journal. `backlog`: entries that PostgreSQL does not have yet; null while the disk cannot be read.

    `refused`: entries that PostgreSQL refused, and that are kept until they are sent again or dropped. `spool_remade`:
    how often the spool's files were deleted, replaced or damaged and were made anew; `spool_remade_why`: the last time.
    """

    recorded: int
    dropped: int
    refused: int
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


@dataclass(frozen=True, slots=True)
class Status:
    """The status of all nodes, which any of them can answer, and that of the node that answers.

    `countries`, `active_traces`, `clicks_waiting`, `last_minute`, `traffic_today`, `providers` and `advice` are those
    of all nodes together, whichever node answers. `nodes`: each node that may have IPs, the answering one first.
    `queues`, `journal`, `troubles`, `node`, `node_id`, `epoch`, `uptime_s` and `version` are those of the answering
    node. While PostgreSQL is away, the figures of other nodes are the last that were read.
    """

    countries: dict[str, CountryStatus]
    active_traces: int
    clicks_waiting: int
    last_minute: LastMinuteStatus
    traffic_today: dict[str, TrafficStatus]
    providers: dict[str, ProviderStatus]
    advice: list[AdviceStatus]
    queues: dict[str, QueueStatus]
    journal: JournalStatus
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


def country_status(counts: Counts) -> CountryStatus:
    """With the utilisation to one decimal."""
    return CountryStatus(**asdict(counts), utilisation_percent=round(counts.utilisation_percent, 1))


async def read_status(conn: Connection) -> TableStatus:
    """The status from the tables. A unit of work."""
    rows = sorted(rows_by_country(await conn.fetch(QUERIES["counts_by_country"])).items())
    clicks = await conn.fetchrow(QUERIES["last_minute"])
    fallbacks = {row["reason"]: row["count"] for row in await conn.fetch(QUERIES["last_minute_fallbacks"])}
    traffic = by_provider(await conn.fetch(QUERIES["traffic_today"]))
    return TableStatus(
        countries={
            country: Counts(*(sum(row[name] for row in several) for name in Counts.__slots__))
            for country, several in rows
        },
        active_traces=await conn.fetchval(QUERIES["active_traces"]),
        last_minute=LastMinute(**clicks, fallbacks=fallbacks).rounded(),
        traffic_today={provider: spent.rounded() for provider, spent in traffic.items()},
    )
