"""Observers of clicks and traces: counters, time series, the event feed, and the last failure of each IP."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from daemon.clock import Moment
from daemon.control.cluster_history import ClusterHistory
from daemon.control.depletion import Depletion, Rates, depletion_of
from daemon.control.events import Events
from daemon.control.history import History
from daemon.control.metrics import NO_CLICKS, Metrics
from daemon.control.overview import Overview
from daemon.maintenance.attempts import AttemptTally
from daemon.maintenance.node_report import counts_of
from daemon.maintenance.tally import Tally
from daemon.nodes.figures import AttemptFigures, CurveFigures
from daemon.pool.messages import Lease
from daemon.trace.walk.hops import GaveUp, TraceResult
from daemon.trace.walk.verdicts import Verdict

AT_FAULT = frozenset({Verdict.IP, Verdict.PROVIDER})
FAILURES_MAX = 10_000  # IPs whose last failure is kept
FLIGHTS_MAX = 200  # traces in flight that are listed, the oldest first


@dataclass(frozen=True, slots=True)
class Flight:
    """A trace in flight. `lock_in_s`: seconds until the lock of its IP expires.

    `deadline_in_s`: seconds until its visitor gets a fallback, negative after that, null if no visitor waits.
    """

    request_id: str
    offer_name: str | None
    tracking_url: str
    country: str
    ip: str
    running_s: float
    deadline_in_s: float | None
    lock_in_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """When and why an IP failed by its own fault."""

    at: datetime
    why: str


class Observers:
    def __init__(self, metrics: Metrics, now: Callable[[], Moment]) -> None:
        self.metrics = metrics
        self.events = Events()
        self.own_history = History(now().tick_s)
        self.history = ClusterHistory(self.own_history)
        self._traces = Tally()  # the traces of the last minute
        self._attempts = AttemptTally()
        self._rates = Rates()
        self._failures: dict[UUID, Failure] = {}  # oldest first
        self._now = now

    def click(self, outcome: str, reason: str | None, wait_s: float) -> None:
        if outcome in NO_CLICKS:
            self.metrics.no_click(outcome)
            return
        self.metrics.click(outcome, reason, wait_s)
        self.own_history.click(self._now().tick_s, outcome, reason, wait_s)

    def trace(self, lease: Lease, verdict: Verdict, wait_s: float, result: TraceResult) -> None:
        """An attempt through the lease's IP has ended."""
        now = self._now()
        self.metrics.trace(lease.provider, verdict, wait_s, result)
        self.own_history.trace(now.tick_s, result.ms)
        self._traces.add(now.tick_s, None, result.ms)
        fault = result.end.message if verdict in AT_FAULT and isinstance(result.end, GaveUp) else None
        self._attempts.add(now.tick_s, lease.country, lease.provider, fault)
        if verdict is Verdict.IP and isinstance(result.end, GaveUp):
            self._failures.pop(lease.ip_id, None)
            self._failures[lease.ip_id] = Failure(datetime.fromtimestamp(now.wall_s, UTC), result.end.message)
            while len(self._failures) > FAILURES_MAX:
                del self._failures[next(iter(self._failures))]

    def curves(self) -> CurveFigures:
        """What other nodes need to show this node's curves."""
        clicks = {column: count for column, count in self.own_history.totals.items() if count}
        return CurveFigures(clicks, self._traces.figures(self._now().tick_s).waits)

    def attempts(self) -> tuple[AttemptFigures, ...]:
        """Where attempts failed in the last minutes."""
        return self._attempts.figures(self._now().tick_s)

    def last_failure(self, ip_id: UUID) -> Failure | None:
        """The IP's last failure since the daemon started."""
        return self._failures.get(ip_id)

    def without_ip(self) -> None:
        self.metrics.without_ip()

    def depletion(self, overview: Overview, cooldown_s: float) -> dict[str, Depletion]:
        """By country: when the pool of all nodes runs dry at the rate of the last minute.

        If there are several nodes, the rate is that of the requests in the last half a minute.
        """
        cluster = overview.report.cluster()
        leases = {handle.country: handle.view.leases for handle in overview.directory}
        rates = self._rates.per_s(self._now().tick_s, leases)
        if len(cluster.nodes) > 1:
            rates = {country: ips.wanted_per_s for country, ips in cluster.countries.items()}
        counts = counts_of(cluster.countries)
        return {country: depletion_of(counts[country], rates.get(country), cooldown_s) for country in counts}

    def flights(self, overview: Overview, lock_s: float) -> list[Flight]:
        now_s = self._now().tick_s
        return [
            Flight(
                request_id=str(job.request_id),
                offer_name=job.offer_name,
                tracking_url=job.tracking_url,
                country=lease.country,
                ip=lease.name,
                running_s=round(max(0.0, now_s - (lease.locked_until_s - lock_s)), 1),
                deadline_in_s=None if job.priority else round(job.deadline_s - now_s, 1),
                lock_in_s=round(lease.locked_until_s - now_s, 1),
            )
            for job, lease in list(overview.tracer.in_flight.values())[:FLIGHTS_MAX]
        ]
