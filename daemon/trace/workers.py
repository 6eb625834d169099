"""Trace workers: each takes a job, leases an IP for it, walks the chain and gives the IP back. The lease is its alone.

A visitor who leaves, or whose deadline passes, stops listening; the worker goes on. Whatever ends a trace, its lease is
released and its row is finished: that part is shielded from cancels, within leases.RELEASE_S. A trace that ended by the
fault of its IP or of the provider is tried again through another IP, once the first one is given back.
"""

import math
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import structlog
import trio
from msgspec.structs import replace

from daemon.clock import Moment
from daemon.journal.entries import Recorder, TraceProcessing
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.pool.messages import Lease, NoIPAvailable, Release
from daemon.pool.states import Event
from daemon.providers.proxies import LeasedProxy
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.attempts import STOPPED, Attempts, without_ip
from daemon.trace.backends import Backends
from daemon.trace.jobs import Finished, News, Started, TraceJob, WaitingForIp
from daemon.trace.leases import acquire, release
from daemon.trace.provider_health import ProviderHealth
from daemon.trace.traffic_costs import TrafficCosts
from daemon.trace.walk.steps import WEB_SCHEMES, GaveUp, Limits, Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import TraceResult

REACH_MIN_S = 2.0  # a proxy has this long to take a connection, and to answer CONNECT, however little time is left
LEASE_MARGIN_S = 0.5  # a trace ends this much before its lock at the latest

log = structlog.get_logger("daemon.trace")

EVENTS: dict[Verdict, Event] = {
    Verdict.OK: Event.RELEASED_OK,
    Verdict.IP: Event.RELEASED_IP_AT_FAULT,
    Verdict.CREDENTIALS: Event.RELEASED_TARGET_AT_FAULT,
    Verdict.PROVIDER: Event.RELEASED_TARGET_AT_FAULT,
    Verdict.TARGET: Event.RELEASED_TARGET_AT_FAULT,
    Verdict.OPERATOR: Event.RELEASED_TARGET_AT_FAULT,
    Verdict.LIMIT: Event.RELEASED_TARGET_AT_FAULT,
    Verdict.SERVICE: Event.RELEASED_TARGET_AT_FAULT,
}


def limits_of(settings: Settings) -> Limits:
    trace = settings.trace
    return Limits(
        hops_max=trace.hops_max,
        allow_private=trace.allow_private,
        body_bytes_max=trace.body_bytes_max,
        refresh_max_s=trace.refresh_max_s,
    )


class Observer(Protocol):
    """Who counts traces; each attempt is one."""

    def trace(self, lease: Lease, verdict: Verdict, wait_s: float, result: TraceResult) -> None: ...

    def without_ip(self) -> None: ...


def prices_of(settings: Settings) -> dict[str, float]:
    """US dollars for 10^9 bytes, by provider."""
    return {name: provider.price_per_gb for name, provider in settings.providers.items()}


class Tracer:
    """What all workers share. `active` traces hold a lease now; `busy` workers have a job."""

    def __init__(
        self,
        live: LiveSettings,
        backends: Backends,
        directory: PoolDirectory,
        journal: Recorder,
        now: Callable[[], Moment],
        providers: ProviderHealth,
        observer: Observer | None = None,
    ) -> None:
        """`providers` learns the verdict of each attempt."""
        self._live = live
        self._backends = backends
        self._directory = directory
        self._journal = journal
        self._now = now
        self._providers = providers
        self._observer = observer
        self.spending = TrafficCosts()
        self.active = 0
        self.busy = 0
        self.in_flight: dict[UUID, tuple[TraceJob, Lease]] = {}

    async def work(self, jobs: "trio.MemoryReceiveChannel[TraceJob]") -> None:
        """One worker: serves `jobs` until its senders are closed."""
        async with jobs:
            async for job in jobs:
                self.busy += 1
                try:
                    await self._serve(job)
                finally:
                    self.busy -= 1

    def abandon(self, jobs: "trio.MemoryReceiveChannel[TraceJob]") -> None:
        """The jobs that no worker took before the stop: their visitors are answered, their rows are finished here."""
        while True:
            try:
                self._finish_without_ip(jobs.receive_nowait(), None)
            except (trio.WouldBlock, trio.EndOfChannel):
                return

    async def _serve(self, job: TraceJob) -> None:
        _tell(job, WaitingForIp())
        post, attempts = self._directory.find(job.country), Attempts(job)
        answer: Lease | NoIPAvailable | None = None
        try:
            if post is None:
                answer = NoIPAvailable(None, "its last IP left")
            while post is not None:
                answer = None
                answer = await acquire(
                    post, job.request_id, job.deadline_s, priority=job.priority, tried=attempts.tried
                )
                if not isinstance(answer, Lease) or not await self._attempt(attempts, post, answer):
                    break
        finally:
            if not isinstance(answer, Lease):
                self._give_up(attempts, answer)

    async def _attempt(self, attempts: Attempts, post: PoolHandle, lease: Lease) -> bool:
        """One trace through one IP, which is given back; True if the job is to be tried through another one."""
        job, began = attempts.job, self._now()
        attempts.begins(began.tick_s)
        self._journal.record(processing_of(lease, began.wall_s, attempts.wait_ms))
        if not attempts.made:
            _tell(job, Started(lease.address))
        settings = self._live.current
        limits = replace(limits_of(settings), landing_schemes=WEB_SCHEMES | job.landing_schemes, stop_at=job.stop_at)
        walk = Walk(job.tracking_url, job.identity, limits)
        left_s = min(lease.locked_until_s - began.tick_s, lease.ends_boot_s - began.boot_s)
        timeout_s = min(settings.trace.timeout_s, left_s - LEASE_MARGIN_S)
        reach_s = self._reach_s(attempts, post, began.tick_s)
        result: TraceResult | None = None
        goes_on = False
        self.active += 1
        self.in_flight[job.request_id] = job, lease
        try:
            proxy = LeasedProxy(
                lease.address, lease.port, lease.country, lease.provider, f"{lease.request_id}/{lease.lease_no}"
            )
            result = await self._backends.trace(job.backend, walk, proxy, timeout_s=timeout_s, reach_s=reach_s)
        finally:
            self.active -= 1
            self.in_flight.pop(job.request_id, None)
            ended = self._now()
            if result is None:  # cancelled, or a bug that is on its way to the supervisor
                why = GaveUp(Verdict.LIMIT, STOPPED, "the daemon stopped before the trace ended")
                ms = (ended.tick_s - began.tick_s) * 1000
                result = TraceResult(why, tuple(walk.hops), ms, walk.bytes_received, walk.bytes_sent)
            attempts.ended(lease, result, ended.tick_s)
            self._note(attempts)
            goes_on = attempts.goes_on(self._live.current.trace.retries_max, ended.tick_s)
            try:
                if not goes_on:
                    self._finish(attempts)
            finally:
                await release(post, Release(lease.ip_id, lease.lease_no, EVENTS[attempts.verdict], result.ms))
        return goes_on

    def _note(self, attempts: Attempts) -> None:
        """What the last attempt says of its provider, and costs."""
        lease, result = attempts.made[-1]
        self._providers.trace(lease.provider, attempts.verdict, self._now())
        if self._observer is not None and not (attempts.job.priority and attempts.was_stopped):
            self._observer.trace(lease, attempts.verdict, attempts.waited_ms / 1000, result)

    def _reach_s(self, attempts: Attempts, post: PoolHandle, now_s: float) -> float:
        """How long the proxy may take to be reached: no longer than leaves time for another IP, where there is one."""
        if not post.view.counts.available:
            return math.inf
        return max(REACH_MIN_S, attempts.reach_s(self._live.current.trace.retries_max, now_s))

    def _finish(self, attempts: Attempts) -> None:
        """The row first: no hit is durable before the trace that it tells of."""
        try:
            if not (attempts.job.priority and attempts.was_stopped):
                now, traffic = self._now(), attempts.traffic(prices_of(self._live.current))
                self._journal.record(attempts.entry(now, traffic))
                self.spending.add(now.wall_s, traffic)
                log.info("trace", **attempts.line())
        finally:
            _tell(attempts.job, attempts.news())

    def _give_up(self, attempts: Attempts, answer: NoIPAvailable | None) -> None:
        """There is no IP, or no other one."""
        if attempts.made and not (attempts.job.priority and answer is None):
            self._finish(attempts)
        else:
            self._finish_without_ip(attempts.job, answer)

    def _finish_without_ip(self, job: TraceJob, answer: NoIPAvailable | None) -> None:
        _tell(job, Finished(None, "no_ip"))
        if job.priority:
            return  # its row stays to be traced
        if self._observer is not None:
            self._observer.without_ip()
        entry = without_ip(job, answer, self._now())
        self._journal.record(entry)
        log.info("trace", request_id=str(job.request_id), offer=job.offer_name, country=job.country, status="failed",
                 reason="no_ip", error=entry.error_message, attempts=0, wait_ms=entry.total_time_ms)  # fmt: skip


def processing_of(lease: Lease, at_s: float, wait_ms: float) -> TraceProcessing:
    """`at_s`: on the wall clock."""
    return TraceProcessing(
        request_id=lease.request_id,
        ip_assigned=lease.address,
        ip_locked_at=at_s,
        wait_time_ms=round(wait_ms),
        provider=lease.provider,
        ip_unused_s=None if lease.unused_s is None else round(lease.unused_s, 3),
        ip_choices=lease.choices,
    )


def _tell(job: TraceJob, news: News) -> None:
    try:
        job.listener.send_nowait(news)
    except trio.BrokenResourceError:
        return  # the visitor has their answer, or has left
