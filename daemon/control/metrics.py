"""The metrics for Prometheus: clicks and traces counted as they happen, the rest read at each scrape.

They are those of this node, and add up over nodes, except tracepool_cluster_* and the advice (cluster_metrics.py). With
several processes the page has those of all (process_metrics.py).

Base units. No label has a value from outside: countries and providers are the operator's own, all other values are
constants of this program; never an IP, a URL, an offer or a click. The children of labels are kept, so that a click
costs two dict look-ups and an observation.
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
from daemon.control.cluster_metrics import EACH, cluster_metrics
from daemon.control.history import FALLBACK_REASONS, UNWAITED
from daemon.control.overview import Overview
from daemon.control.process_metrics import as_answer, of_all_processes
from daemon.maintenance.advice import RULES
from daemon.maintenance.figures import Severity
from daemon.settings.live import LiveSettings
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.verdicts import Verdict

WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 7, 8, 9, 9.5, 10, 10.5, 12)  # fine around the deadline
TIMES = (*WAITS, 15, 20, 30, 45, 60, 75)
REFUSALS = ("bad_request", "unknown_offer", "paused", "bad_offer", "starting")
NO_CLICKS = ("repeat", "preview", "prefetch")
PROVIDERS_MAX = 100  # further ones are "other": operators may fill the column with any text
OTHER = "other"
OPENMETRICS = "application/openmetrics-text"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
BYTES_PER_GB = 1e9


class Metrics:
    """`click`, `trace` and `without_ip` count; `page` answers a scrape."""

    def __init__(self, live: LiveSettings) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._live = live
        self._registry = CollectorRegistry()
        self._providers: set[str] = set()
        ProcessCollector(registry=self._registry)

        def counter(name: str, what: str, *labels: str) -> _Children:
            return _Children(Counter(name, what, labels, registry=self._registry))

        def histogram(name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, what, labels, buckets=buckets, registry=self._registry)

        self._clicks = counter(
            "tracepool_clicks", "Clicks, with the reason of a fallback or refusal", "outcome", "reason"
        )
        for outcome, reasons in (
            ("resolved", [""]),
            ("background", [""]),
            ("left", [""]),
            ("fallback", FALLBACK_REASONS),
            ("refused", REFUSALS),
        ):
            for reason in reasons:
                self._clicks[outcome, reason].inc(0)
        no_clicks = "Requests for an offer that are no clicks of their own, and use no IP"
        self._no_clicks = counter("tracepool_requests_without_click", no_clicks, "kind")
        for kind in NO_CLICKS:
            self._no_clicks[kind,].inc(0)
        self._click_wait = histogram("tracepool_click_wait_seconds", "Time that visitors waited for an answer", WAITS)
        self._traces = counter("tracepool_traces", "Traces that had an IP, by verdict", "verdict", "provider")
        seconds = histogram("tracepool_trace_seconds", "Time from a trace's first hop to its end", TIMES, "landed")
        self._landed, self._failed = seconds.labels("yes"), seconds.labels("no")
        self._trace_wait = histogram("tracepool_trace_wait_seconds", "Time that traces waited for their IP", WAITS)
        without_ip = "Traces that got no IP in time"
        self._without_ip = Counter("tracepool_traces_without_ip", without_ip, registry=self._registry)
        self._bytes = counter("tracepool_proxy_bytes", "Bytes through proxies, with TLS", "provider", "direction")
        self._cost = counter("tracepool_proxy_cost", "Cost of the bytes in US dollars, by price_per_gb", "provider")

    def click(self, outcome: str, reason: str | None, wait_s: float) -> None:
        """`outcome`: resolved, fallback, background, left or refused; for the last two see UNWAITED."""
        self._clicks[outcome, reason or ""].inc()
        if outcome not in UNWAITED:
            self._click_wait.observe(wait_s)

    def no_click(self, kind: str) -> None:
        self._no_clicks[kind,].inc()

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

    async def page(self, overview: Overview, accept: str | None) -> tuple[bytes, str]:
        """Body and content type: OpenMetrics if `accept` names it, else Prometheus' text format."""
        own = await self._scrape(overview)
        scrape: Any = _Page(await of_all_processes(own.collect(), self._live.current))
        if OPENMETRICS in [part.partition(";")[0].strip().lower() for part in (accept or "").split(",")]:
            return openmetrics.generate_latest(scrape), openmetrics.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]
        return exposition.generate_latest(scrape), PLAIN

    async def answer(self, overview: Overview) -> dict[str, Any]:
        """This process's part of the page of another process."""
        return as_answer((await self._scrape(overview)).collect(), self._live.current.node.shown_name())

    async def _scrape(self, overview: Overview) -> "_Scrape":
        deadline_s, backlog = self._live.current.click.deadline_s, await overview.report.backlog()
        return _Scrape(self._registry, deadline_s, overview, backlog)

    def _known(self, provider: str) -> str:
        if provider not in self._providers:
            if len(self._providers) >= PROVIDERS_MAX:
                return OTHER
            self._providers.add(provider)
        return provider


class _Children(dict[tuple[str, ...], Counter]):
    """The children of a counter by label values, each made at its first use."""

    def __init__(self, parent: Counter) -> None:
        super().__init__()
        self._parent = parent

    def __missing__(self, labels: tuple[str, ...]) -> Counter:
        child = self[labels] = self._parent.labels(*labels)
        return child


@dataclass(frozen=True, slots=True)
class _Page:
    """What `generate_latest` takes: a collector."""

    metrics: list[Metric]

    def collect(self) -> list[Metric]:
        return self.metrics


@dataclass(frozen=True, slots=True)
class _Scrape:
    """The collector of one scrape: current pools, queues, journal and advice, then the metrics in `counted`."""

    counted: CollectorRegistry
    deadline_s: float
    overview: Overview
    backlog: int | None

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "tracepool_build",
            "Versions of tracepool and Python",
            {"version": __version__, "python": platform.python_version()},
        )
        yield GaugeMetricFamily("tracepool_click_deadline_seconds", "The setting click.deadline_s", self.deadline_s)
        yield from _pools(self.overview)
        yield from cluster_metrics(self.overview.report, self.overview.clicks.offers.by_country)
        yield from _queues(self.overview)
        yield from _journal(self.overview, self.backlog)
        yield from _advice(self.overview)
        yield from self.counted.collect()


def _pools(overview: Overview) -> Iterator[Metric]:
    ips = GaugeMetricFamily("tracepool_pool_ips", "This node's IPs by country and state", labels=("country", "state"))
    used = GaugeMetricFamily(
        "tracepool_pool_utilisation_ratio", "(locked + cooldown) / healthy IPs of this node", labels=("country",)
    )
    waiting = GaugeMetricFamily(
        "tracepool_pool_waiting", "Traces of this node that wait for an IP", labels=("country",)
    )
    leases = CounterMetricFamily("tracepool_leases", "Leases that this node gave", labels=("country",))
    for handle in overview.directory:
        country, counts = handle.country, handle.view.counts
        for state in ("available", "locked", "cooldown", "failed"):
            ips.add_metric((country, state), getattr(counts, state))
        used.add_metric((country,), counts.utilisation_percent / 100)
        waiting.add_metric((country,), counts.waiting)
        leases.add_metric((country,), handle.view.leases)
    yield from (ips, used, waiting, leases)


def _queues(overview: Overview) -> Iterator[Metric]:
    length = GaugeMetricFamily(
        "tracepool_queue_length", "Length of a queue of this node, or use of a resource", labels=("queue",)
    )
    limit = GaugeMetricFamily("tracepool_queue_limit", "Limit of the queue or resource", labels=("queue",))
    for name, queue in overview.queues().items():
        length.add_metric((name,), queue.length)
        limit.add_metric((name,), queue.max)
    yield from (length, limit)
    yield GaugeMetricFamily("tracepool_active_traces", "Traces of this node that have an IP", overview.tracer.active)
    yield GaugeMetricFamily(
        "tracepool_clicks_waiting", "Clicks of this node without an answer yet", overview.clicks.waiting
    )


def _journal(overview: Overview, backlog: int | None) -> Iterator[Metric]:
    writer, shipper = overview.writer, overview.shipper
    for name, what, count in (
        ("recorded", "Entries taken by the journal", writer.recorded),
        ("dropped", "Entries lost because a limit was reached", writer.dropped),
        ("refused", "Entries that PostgreSQL refused", shipper.refused),
        ("too_old", "Hits and traces older than their retention when they were shipped", shipper.too_old),
        ("late_hits", "Clicks answered before their hit was on the disk", overview.clicks.late_hits),
    ):
        yield CounterMetricFamily(f"tracepool_journal_{name}", what, value=count)
    if backlog is not None:
        yield GaugeMetricFamily("tracepool_journal_backlog_entries", "Entries still to be shipped", backlog)
    kept = "Refused entries that wait for tracepool journal refused retry or drop"
    yield GaugeMetricFamily("tracepool_journal_refused_entries", kept, overview.spool.refused)
    yield GaugeMetricFamily("tracepool_database_reachable", "1 if PostgreSQL accepts entries", shipper.reachable)


def _advice(overview: Overview) -> Iterator[Metric]:
    """A series for each rule and severity, so that an alert sees 0 instead of no data."""
    given = Counted((advice.code, advice.severity) for advice in overview.advisor.advice())
    active = GaugeMetricFamily(
        "tracepool_advice_active", f"Advice given now, by rule and severity, {EACH}", labels=("code", "severity")
    )
    for code in RULES:
        for severity in Severity:
            active.add_metric((code, severity.value), given[code, severity])
    affected = GaugeMetricFamily(
        "tracepool_advice_affected",
        f"IPs, clicks, traces, offers or rows that the advice speaks of, {EACH}",
        labels=("code", "country", "provider"),
    )
    counts = Counted[tuple[str, str, str]]()
    for advice in overview.advisor.advice():
        counts[advice.code, advice.country or "", advice.provider or ""] += advice.count or 0
    for labels, count in counts.items():
        affected.add_metric(labels, count)
    yield from (active, affected)
