"""What GET /api/status and `tracepool status --json` say of a running daemon.

The records of a single part of the daemon stand beside what fills them in; here is what is put together of several.
"""

from dataclasses import asdict, field
from dataclasses import dataclass as plain

from pydantic.dataclasses import dataclass

from daemon.maintenance.figures import Advice
from daemon.maintenance.tally import LastMinute
from daemon.nodes.member import NodeStatus
from daemon.pool.messages import Counts
from daemon.trace.provider_health import ProviderStatus
from daemon.trace.traffic_costs import TrafficStatus
from daemon.troubles import TroubleStatus


@plain(frozen=True, slots=True)
class CountryStatus(Counts):
    """One country's pool. `waiting` are clicks, the rest IPs; utilisation is (locked + cooldown) / healthy."""

    utilisation_percent: float = field()


@plain(frozen=True, slots=True)
class LastMinuteStatus(LastMinute):
    """The clicks of the last minute; fallbacks by reason; waits are null without clicks."""


@plain(frozen=True, slots=True)
class AdviceStatus(Advice):
    """What should be done. `about` is a country, a provider or an offer; `rule` says when this is advised, `numbers`
    what it was met with, `command` what to run or set next.
    """

    about: str = field()


@plain(frozen=True, slots=True)
class QueueStatus:
    """How full something is, and its bound."""

    length: int
    max: int


@plain(frozen=True, slots=True)
class JournalStatus:
    """`backlog` entries are to be shipped to PostgreSQL; null while the disk refuses to say."""

    recorded: int
    dropped: int
    refused: int
    late_hits: int
    backlog: int | None
    database_reachable: bool


@dataclass(frozen=True, slots=True)
class Status:
    """How things stand, from the daemon's memory alone."""

    countries: dict[str, CountryStatus]
    active_traces: int
    last_minute: LastMinuteStatus
    traffic_today: dict[str, TrafficStatus]
    providers: dict[str, ProviderStatus]
    advice: list[AdviceStatus]
    queues: dict[str, QueueStatus]
    journal: JournalStatus
    troubles: list[TroubleStatus]
    node: NodeStatus
    node_id: str
    epoch: int
    uptime_s: float
    version: str


def country_status(counts: Counts) -> CountryStatus:
    """The percentage to one decimal."""
    return CountryStatus(**asdict(counts), utilisation_percent=round(counts.utilisation_percent, 1))
