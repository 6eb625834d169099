"""What Prometheus reads: counted as it happens, or looked at when it asks. Only this module knows prometheus-client.

Base units. No label has a value from outside: countries and providers are the operator's own, all others are words of
this program; never an IP, a URL, an offer or a click. The children of labels are kept, so that a click costs two dict
look-ups and an observation.
"""

import platform
from collections import Counter as Counted
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    exposition,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics

from daemon import __version__
from daemon.control.history import FALLBACK_REASONS
from daemon.control.overview import Overview
from daemon.maintenance.advice import RULES
from daemon.maintenance.figures import Severity
from daemon.settings.live import LiveSettings
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import TraceResult

BELOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 7)
AROUND_THE_DEADLINE = (8, 9, 9.5, 10, 10.5, 12)
BEYOND = (15, 20, 30, 45, 60, 75)
REFUSALS = ("bad_request", "unknown_offer", "starting")
PROVIDERS_MAX = 100  # the rest are "other": a column that operators fill could hold anything
OTHER = "other"
OPENMETRICS = "application/openmetrics-text"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
BYTES_PER_GB = 1e9


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    content_type: str


class Metrics:
    """`click` and `trace` count as it happens; `page` is what a scrape gets."""

    def __init__(self, live: LiveSettings) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._live = live
        self._registry = CollectorRegistry()
        self._providers: set[str] = set()
        ProcessCollector(registry=self._registry)

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(name, what, labels, registry=self._registry)

        def histogram(name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, what, labels, buckets=buckets, registry=self._registry)

        clicks = counter(
            "tracepool_clicks", "Clicks by outcome, and why they fell back or were refused", "outcome", "reason"
        )
        self._clicks = _Children(clicks)
        for reason in FALLBACK_REASONS:
            self._clicks["fallback", reason].inc(0)
        for reason in REFUSALS:
            self._clicks["refused", reason].inc(0)
        for outcome in ("resolved", "left"):
            self._clicks[outcome, ""].inc(0)
        self._click_wait = histogram(
            "tracepool_click_wait_seconds", "How long visitors waited for their answer", BELOW + AROUND_THE_DEADLINE
        )
        traces = counter(
            "tracepool_traces", "Traces that had an IP, by whose fault it was if they failed", "verdict", "provider"
        )
        self._traces = _Children(traces)
        trace_seconds = histogram(
            "tracepool_trace_seconds",
            "Time from the first hop to the end of a trace",
            BELOW + AROUND_THE_DEADLINE + BEYOND,
            "landed",
        )
        self._landed, self._failed = trace_seconds.labels("yes"), trace_seconds.labels("no")
        self._trace_wait = histogram(
            "tracepool_trace_wait_seconds", "How long traces waited for their IP", BELOW + AROUND_THE_DEADLINE
        )
        self._without_ip = counter("tracepool_traces_without_ip", "Traces that got no IP in time")
        proxied = counter(
            "tracepool_proxy_bytes", "Bytes through proxies, TLS and CONNECT included", "provider", "direction"
        )
        self._bytes = _Children(proxied)
        cost = counter("tracepool_proxy_cost", "What bytes cost, in US dollars as price_per_gb is", "provider")
        self._cost = _Children(cost)

    def click(self, outcome: str, reason: str | None, wait_s: float) -> None:
        """`outcome`: resolved, fallback, left or refused; a refused one did not wait."""
        self._clicks[outcome, reason or ""].inc()
        if outcome != "refused":
            self._click_wait.observe(wait_s)

    def trace(self, provider: str, verdict: Verdict, wait_s: float, result: TraceResult) -> None:
        name = self._known(provider)
        self._traces[verdict.value, name].inc()
        (self._landed if verdict is Verdict.OK else self._failed).observe(result.ms / 1000)
        self._trace_wait.observe(wait_s)
        self._bytes[name, "received"].inc(result.bytes_received)
        self._bytes[name, "sent"].inc(result.bytes_sent)
        sold = self._live.current.providers.get(provider)
        if sold is not None and sold.price_per_gb > 0:
            self._cost[name,].inc((result.bytes_received + result.bytes_sent) / BYTES_PER_GB * sold.price_per_gb)

    def without_ip(self) -> None:
        self._without_ip.inc()

    async def page(self, overview: Overview, accept: str | None) -> Page:
        """As OpenMetrics where `accept` asks for it, else in Prometheus' text format."""
        scrape: Any = _Scrape(self._registry, self._live.current.click.deadline_s, overview, await overview.backlog())
        if OPENMETRICS in [part.partition(";")[0].strip().lower() for part in (accept or "").split(",")]:
            return Page(openmetrics.generate_latest(scrape), openmetrics.CONTENT_TYPE_LATEST)  # type: ignore[no-untyped-call]
        return Page(exposition.generate_latest(scrape), PLAIN)

    def _known(self, provider: str) -> str:
        if provider not in self._providers:
            if len(self._providers) >= PROVIDERS_MAX:
                return OTHER
            self._providers.add(provider)
        return provider


class _Children(dict[tuple[str, ...], Counter]):
    """The children of a counter's labels, each made when it is first asked for."""

    def __init__(self, parent: Counter) -> None:
        super().__init__()
        self._parent = parent

    def __missing__(self, labels: tuple[str, ...]) -> Counter:
        child = self[labels] = self._parent.labels(*labels)
        return child


@dataclass(frozen=True, slots=True)
class _Scrape:
    """One scrape: how the pools, queues, journal and advice stand now, then what `counted` has."""

    counted: CollectorRegistry
    deadline_s: float
    overview: Overview
    backlog: int | None

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "tracepool_build", "What runs", {"version": __version__, "python": platform.python_version()}
        )
        yield _gauge("tracepool_click_deadline_seconds", "The setting click.deadline_s", self.deadline_s)
        yield from _pools(self.overview)
        yield from _queues(self.overview)
        yield from _journal(self.overview, self.backlog)
        yield from _advice(self.overview)
        yield from self.counted.collect()


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)


def _pools(overview: Overview) -> Iterator[Metric]:
    ips = GaugeMetricFamily("tracepool_pool_ips", "IPs by country and state", labels=("country", "state"))
    used = GaugeMetricFamily(
        "tracepool_pool_utilisation_ratio", "(locked + cooldown) / healthy IPs", labels=("country",)
    )
    waiting = GaugeMetricFamily("tracepool_pool_waiting", "Traces that wait for an IP", labels=("country",))
    leases = CounterMetricFamily("tracepool_leases", "Leases given", labels=("country",))
    for post in overview.directory:
        counts = post.view.counts
        for state in ("available", "locked", "cooldown", "failed"):
            ips.add_metric((post.country, state), getattr(counts, state))
        used.add_metric((post.country,), counts.utilisation_percent / 100)
        waiting.add_metric((post.country,), counts.waiting)
        leases.add_metric((post.country,), post.view.leases)
    yield from (ips, used, waiting, leases)


def _queues(overview: Overview) -> Iterator[Metric]:
    length = GaugeMetricFamily("tracepool_queue_length", "How many wait, or how much is taken", labels=("queue",))
    limit = GaugeMetricFamily("tracepool_queue_limit", "The bound of that", labels=("queue",))
    for name, queue in overview.queues().items():
        length.add_metric((name,), queue.length)
        limit.add_metric((name,), queue.max)
    yield from (length, limit)
    yield _gauge("tracepool_active_traces", "Traces that have an IP", overview.tracer.active)
    yield _gauge("tracepool_clicks_waiting", "Clicks without an answer yet", overview.clicks.waiting)


def _journal(overview: Overview, backlog: int | None) -> Iterator[Metric]:
    writer, shipper = overview.writer, overview.shipper
    for name, what, count in (
        ("recorded", "Entries taken by the journal", writer.recorded),
        ("dropped", "Entries that the disk or a bound refused", writer.dropped),
        ("refused", "Entries that PostgreSQL would not take", shipper.refused),
        ("late_hits", "Clicks answered before their hit was on the disk", overview.clicks.late_hits),
    ):
        yield CounterMetricFamily(f"tracepool_journal_{name}", what, value=count)
    if backlog is not None:
        yield _gauge("tracepool_journal_backlog_entries", "Entries that PostgreSQL does not have yet", backlog)
    yield _gauge("tracepool_database_reachable", "1 where PostgreSQL takes what is shipped", shipper.reachable)


def _advice(overview: Overview) -> Iterator[Metric]:
    """Each rule and severity is there, so that an alert sees 0 instead of nothing."""
    given = Counted((advice.code, advice.severity) for advice in overview.advisor.advice())
    active = GaugeMetricFamily(
        "tracepool_advice_active", "How often a rule's advice is given now", labels=("code", "severity")
    )
    for code in RULES:
        for severity in Severity:
            active.add_metric((code, severity.value), given[code, severity])
    yield active
