"""Advice and the figures that it is derived from. Pure.

`Evidence` is read from the tables in each maintenance round; the other fields of `Figures` are current. Countries have
their canonical names. Instants are seconds on the wall clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from daemon.maintenance.disk import Disk
from daemon.maintenance.tally import LastMinute
from daemon.nodes.figures import AttemptFigures
from daemon.pool.messages import Counts

NO_CLICKS = LastMinute(0, 0, {}, None, None)
NAMES_MAX = 3
POOL = ""  # all countries together, for rows without figures by country


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice for the operator.

    `numbers`: the figures that met the rule, with the unit last in each name. `command`: what to run or set next.
    `about` tells advice of one code apart. `country`, `offer`, `provider`: where, if it is one. `count`: how many IPs,
    clicks, traces, offers or rows, `of` out of how many. `error`: the most common one, if known.
    """

    code: str
    severity: Severity
    sentence: str
    rule: str
    numbers: dict[str, float]
    command: str | None
    about: str = ""
    country: str | None = None
    offer: str | None = None
    provider: str | None = None
    count: int | None = None
    of: int | None = None
    error: str | None = None

    def line(self) -> str:
        """The advice as one line of text."""
        return f"{self.severity}: {self.sentence} Next: {self.command} (rule: {self.rule})"


@dataclass(frozen=True, slots=True)
class Use:
    """A recorded utilisation of a pool: `percent` is `busy` (locked + cooldown) / `healthy`."""

    percent: float
    busy: int
    healthy: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of ip_pool_statistics."""

    recorded_s: float
    pool: Use
    countries: Mapping[str, Use] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest utilisation of a country's pool in the last `hours`, at most a day."""

    hours: float
    percent: float
    busy: int


@dataclass(frozen=True, slots=True)
class RecentDemand:
    """The requests of one country in the last ten minutes, with and without an IP, and the mean duration of a trace."""

    per_minute: float
    trace_s: float | None


@dataclass(frozen=True, slots=True)
class Slots:
    """A country's main provider, and its highest numbered session slot; None if its IPs are addresses."""

    provider: str
    highest: int | None


@dataclass(frozen=True, slots=True)
class Landings:
    """The last hour's traces that landed: their number, how many were later than their deadline, and their durations.

    `late_offer` is the offer with the most late traces, `late_of_offer` their number.
    """

    traces: int = 0
    late: int = 0
    p50_s: float = 0.0
    p95_s: float = 0.0
    p99_s: float = 0.0
    late_offer: str | None = None
    late_of_offer: int = 0


@dataclass(frozen=True, slots=True)
class Faults:
    """Traces of the last hour, and how many of them failed with the verdict `ip`."""

    traces: int = 0
    by_ip: int = 0

    @property
    def percent(self) -> float:
        return 100 * self.by_ip / self.traces if self.traces else 0.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes per trace in the last hour, and the median of the `usual_hours` before. None: not known.

    `offer` and `provider`: those with the most bytes; `offer_bytes`: per trace of that offer.
    """

    traces: int = 0
    bytes_per_trace: float | None = None
    usual_bytes_per_trace: float | None = None
    usual_hours: float = 0.0
    offer: str | None = None
    offer_bytes: float | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class NodeFact:
    """A node that has not left, as its row has it: `state` is active or removed.

    `seen_s_ago`: since its last renewal, or since its removal. `trusted_for_s`: how long it may lease without
    PostgreSQL, negative if its trust has ended. `free_at_s`: when the other nodes may use its IPs. `draining_s`: None
    if it does not drain. `settings`: those that must be the same on all nodes.
    """

    name: str
    state: str
    version: str
    seen_s_ago: float
    trusted_for_s: float
    free_at_s: float
    up_s: float
    draining_s: float | None = None
    ips: int = 0
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OddCountry:
    """A country that ISO 3166 does not have: how many IPs have it, and the names of the offers that have it."""

    country: str
    ips: int = 0
    offers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Figures from the tables. `set_aside`: rows of ip_rotation_pool that are never leased.

    `nobodys_ips`: rows of ip_rotation_pool that have belonged to no node for a minute.

    `samples`: of the last ten minutes and a little more. `gave_up`: the last hour's clicks that fell back at their
    deadline. `barely_rested`: traces whose IP had rested for at most 1.5 cooldowns; `well_rested`: traces whose IP had
    rested for at least three cooldowns, or was new. `connections_max`: how many connections PostgreSQL accepts from
    others than superusers. `errors`: the last hour's most common one through the IPs of a country and a provider.
    `has_clicks`: a click has come once. `refused_in`: the country with the most refused logins, by provider.
    """

    samples: tuple[Sample, ...] = ()
    peaks: Mapping[str, Peak] = field(default_factory=dict)
    demands: Mapping[str, RecentDemand] = field(default_factory=dict)
    slots: Mapping[str, Slots] = field(default_factory=dict)
    landings: Landings = Landings()
    gave_up: int = 0
    barely_rested: Faults = Faults()
    well_rested: Faults = Faults()
    traffic: Traffic = Traffic()
    credentials_refused: Mapping[str, int] = field(default_factory=dict)
    set_aside: int = 0
    connections_max: int | None = None
    nodes: tuple[NodeFact, ...] = ()
    nobodys_ips: int = 0
    odd_countries: tuple[OddCountry, ...] = ()
    errors: Mapping[tuple[str, str], str] = field(default_factory=dict)
    has_clicks: bool = False
    refused_in: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hindrance:
    """An activity of the daemon that PostgreSQL prevents, the reason, and what to do next."""

    activity: str
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """Why a provider itself seems to fail, in which country, and how many failures quarantined no IP for that."""

    why: str
    country: str | None = None
    spared: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """`active`: traces that have an IP or wait for one, by country. `interval_s`: the time between two samples.

    By provider: `suspects`, which seem to fail themselves; `refusals`, the number of traces whose login was refused
    recently, 0 if logins are accepted again.

    `offers`: the names of the active offers by country. `out`: by country and provider, failed IPs and other IPs whose
    last trace failed by the IP's fault. `attempts`: where attempts failed in the last minutes. `default_country`: the
    setting trace.default_country. `can_check`: the setting provision.check_url is not empty.

    `entries_refused`: entries of the journal that PostgreSQL refused, and that are kept. `connections`: those that all
    nodes may open to PostgreSQL, of `nodes` nodes.
    """

    now_s: float
    countries: Mapping[str, Counts] = field(default_factory=dict)
    active: Mapping[str, int] = field(default_factory=dict)
    clicks: LastMinute = NO_CLICKS
    evidence: Evidence = Evidence()
    offers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    out: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    attempts: tuple[AttemptFigures, ...] = ()
    suspects: Mapping[str, Suspect] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)
    prices_per_gb: Mapping[str, float] = field(default_factory=dict)
    deadline_s: float = 10.0
    cooldown_s: float = 60.0
    interval_s: float = 60.0
    hindrances: tuple[Hindrance, ...] = ()
    entries_refused: int = 0
    connections: int = 0
    nodes: int = 1
    disk: Disk | None = None
    default_country: str = ""
    can_check: bool = True

    def error(self, country: str, provider: str) -> str | None:
        """The most common error of the last minutes, else of the last hour."""
        recent = (one.error for one in self.attempts if (one.country, one.provider) == (country, provider))
        return next(recent, None) or self.evidence.errors.get((country, provider))


def names(several: Sequence[str]) -> str:
    """The first names of a list: "a, b, c and 2 more"."""
    more = f" and {len(several) - NAMES_MAX} more" if len(several) > NAMES_MAX else ""
    return ", ".join(several[:NAMES_MAX]) + more


def counted(n: float, noun: str) -> str:
    """A number with its noun: "1 IP", "2,500 IPs", "1.5 days"."""
    text = f"{n:,}" if isinstance(n, int) else f"{n:g}"
    return f"{text} {noun}{'' if n == 1 else 's'}"


def are(n: int) -> str:
    return "is" if n == 1 else "are"
