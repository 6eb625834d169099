"""GET /api/status: what `tracepool status --json` says."""

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_response

from daemon.control.api import GetContext
from daemon.maintenance.figures import Severity
from daemon.trace.provider_health import Health


@dataclass(frozen=True, slots=True)
class CountryStatus:
    """One country's pool. `waiting` are clicks, the rest IPs; utilisation is (locked + cooldown) / healthy."""

    total: int
    available: int
    locked: int
    cooldown: int
    failed: int
    waiting: int
    utilisation_percent: float


@dataclass(frozen=True, slots=True)
class LastMinuteStatus:
    """The clicks of the last minute; fallbacks by reason; waits are null without clicks."""

    clicks: int
    resolved: int
    fallbacks: dict[str, int]
    wait_p50_ms: float | None
    wait_p95_ms: float | None


@dataclass(frozen=True, slots=True)
class TrafficStatus:
    """What went through a provider's proxies since midnight, UTC. `cost` in US dollars, 0 without a price_per_gb."""

    traces: int
    bytes_received: int
    bytes_sent: int
    cost: float


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """How a provider stands as a whole since `since`, with what was counted since then. `suspected`: so many of its IPs
    fail that it must be the provider's fault; `ips_spared` is how often one rested instead of failing for that.
    """

    state: Health
    since: str
    traces: int
    credentials_refused: int
    ips_spared: int


@dataclass(frozen=True, slots=True)
class AdviceStatus:
    """What should be done. `about` is a country, a provider or an offer; `rule` says when this is advised, `numbers`
    what it was met with, `command` what to run or set next.
    """

    code: str
    severity: Severity
    sentence: str
    rule: str
    numbers: dict[str, float]
    command: str | None
    about: str


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """How full something is, and its bound."""

    length: int
    max: int


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """`backlog` entries are to be shipped to PostgreSQL; null while the disk refuses to say."""

    recorded: int
    dropped: int
    refused: int
    late_hits: int
    backlog: int | None
    database_reachable: bool


@dataclass(frozen=True, slots=True)
class TroubleStatus:
    """What PostgreSQL holds up: the activity, why, what to do next, and since when (UTC)."""

    activity: str
    sentence: str
    remedy: str
    since: str


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """This daemon among the nodes of its database. `trusted_for_s`: how long it leases on without PostgreSQL; null: for
    ever, as the database is its own.
    """

    name: str
    node_id: str
    epoch: int
    leasing: bool
    trusted_for_s: float | None


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


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("status", __name__)

    @routes.get("/api/status")
    @validate_response(Status)
    async def status() -> dict[str, object]:
        """How things stand: pools, clicks, queues, journal."""
        return await context().overview.status()

    return routes
