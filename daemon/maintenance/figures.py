"""What advice is, and what it is given on: how the pools stood and stand, what came, what it took. Pure.

`Evidence` is what the tables say and changes with each maintenance round; the rest of `Figures` is of this instant.
Countries go by their canonical names; an instant is in seconds on the wall clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from daemon.maintenance.tally import LastMinute
from daemon.pool.messages import Counts

NO_CLICKS = LastMinute(0, 0, {}, None, None)
POOL = ""  # all countries together, where a row says nothing of each


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Advice:
    """`about`: the country, provider or offer, if it is about one. `numbers`: what the rule was met with, units last in
    each name. `command`: what to run or set next, for people to read.
    """

    code: str
    severity: Severity
    sentence: str
    rule: str
    numbers: dict[str, float]
    command: str | None
    about: str = ""

    def line(self) -> str:
        """For people, in one line."""
        return f"{self.severity}: {self.sentence} Next: {self.command} (rule: {self.rule})"


@dataclass(frozen=True, slots=True)
class Use:
    """How full a pool was: `percent` = `busy` (locked + cooldown) / `healthy`, as it was recorded."""

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
    """The most of a country's pool that was in use in the last `hours`, a day at most."""

    hours: float
    percent: float
    busy: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What came to one country in the last ten minutes, whether or not it got an IP."""

    per_minute: float
    trace_s: float | None


@dataclass(frozen=True, slots=True)
class Slots:
    """Where more IPs of a country would come from: its main provider, and the highest of its numbered session slots.

    `highest` is None where its IPs are addresses, not slots.
    """

    provider: str
    highest: int | None


@dataclass(frozen=True, slots=True)
class Landings:
    """The last hour's traces that landed: how many, how many of them took longer than their deadline, and their times.

    `late_offer` is the offer of most of the late ones, `late_of_offer` how many those are.
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
    """Traces of the last hour, and how many of them failed by their IP's fault."""

    traces: int = 0
    by_ip: int = 0

    @property
    def percent(self) -> float:
        return 100 * self.by_ip / self.traces if self.traces else 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """Bytes per trace in the last hour, beside the median of the `usual_hours` before it. None: not known."""

    traces: int = 0
    bytes_per_trace: float | None = None
    usual_bytes_per_trace: float | None = None
    usual_hours: float = 0.0


@dataclass(frozen=True, slots=True)
class ProviderState:
    """`suspected`: why, where so many of its IPs fail at once that it must be the provider. `credentials_refused`:
    traces that its proxies would not log in of late, 0 if they do again, None where the daemon does not know.
    `price_per_gb`: of the settings.
    """

    name: str
    suspected: str | None = None
    credentials_refused: int | None = None
    price_per_gb: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the tables say. `samples`: of the last ten minutes and a little more. `gave_up`: the last hour's clicks that
    fell back at their deadline. `barely_rested`: traces whose IP had rested for its cooldown and at most half as long
    again; `well_rested`: three times as long, or never used.
    """

    samples: tuple[Sample, ...] = ()
    peaks: Mapping[str, Peak] = field(default_factory=dict)
    demands: Mapping[str, Demand] = field(default_factory=dict)
    slots: Mapping[str, Slots] = field(default_factory=dict)
    landings: Landings = Landings()
    gave_up: int = 0
    barely_rested: Faults = Faults()
    well_rested: Faults = Faults()
    spent: Spent = Spent()
    credentials_refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hindrance:
    """An activity of the daemon that PostgreSQL holds up, why, and what to do next."""

    activity: str
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Figures:
    """`active`: traces that have an IP or wait for one, by country. `interval_s`: between two samples."""

    now_s: float
    countries: Mapping[str, Counts] = field(default_factory=dict)
    active: Mapping[str, int] = field(default_factory=dict)
    clicks: LastMinute = NO_CLICKS
    evidence: Evidence = Evidence()
    providers: tuple[ProviderState, ...] = ()
    deadline_s: float = 10.0
    cooldown_s: float = 60.0
    interval_s: float = 60.0
    hindrances: tuple[Hindrance, ...] = ()
