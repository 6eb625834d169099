"""Trace workers: each takes a job, leases an IP for it, walks the chain and releases the IP. A worker owns its lease.

When a visitor disconnects or their deadline passes, the worker goes on. However a trace ends, its lease is released and
its row is finished: that part is shielded from cancellation, for leases.RELEASE_S at most. An attempt that failed by
the fault of its IP or of the provider is followed by one through another IP, once the first IP is released.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
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
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.attempts import STOPPED, Attempts, never_attempted, without_ip
from daemon.trace.backends import Backends
from daemon.trace.jobs import Finished, Started, TraceJob, TraceUpdate, WaitingForIp
from daemon.trace.leases import acquire, release
from daemon.trace.provider_health import ProviderHealth
from daemon.trace.traffic_costs import TrafficCosts
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import WEB_SCHEMES, GaveUp, Limits, Walk
from daemon.trace.walk.verdicts import Verdict

PROXY_TIMEOUT_MIN_S = 2.0  # a proxy has at least this long to accept a connection, and to answer CONNECT
LEASE_MARGIN_S = 0.5  # an attempt ends this long before its lock expires, at the latest

log = structlog.get_logger("daemon.trace")

# Any other verdict leaves the IP's health counters as they are: RELEASED_TARGET_AT_FAULT.
EVENTS = {Verdict.OK: Event.RELEASED_OK, Verdict.IP: Event.RELEASED_IP_AT_FAULT}


def limits_of(settings: Settings) -> Limits:
    trace = settings.trace
    return Limits(
        hops_max=trace.hops_max,
        allow_private=trace.allow_private,
        body_bytes_max=trace.body_bytes_max,
        refresh_max_s=trace.refresh_max_s,
    )


class Observer(Protocol):
    """Counts attempts, and jobs that got no IP."""

    def trace(self, lease: Lease, verdict: Verdict, wait_s: float, result: TraceResult) -> None: ...

    def without_ip(self) -> None: ...


@dataclass(eq=False, repr=False)
class Tracer:
    """The state that all workers share. `active` attempts hold a lease now; `busy` workers have a job.

    `_providers` and `_observer` receive the verdict of each attempt.
    """

    _live: LiveSettings
    _backends: Backends
    _directory: PoolDirectory
    _journal: Recorder
    _now: Callable[[], Moment]
    _providers: ProviderHealth
    _observer: Observer | None = None
    traffic_costs: TrafficCosts = field(default_factory=TrafficCosts, init=False)
    active: int = field(default=0, init=False)
    busy: int = field(default=0, init=False)
    in_flight: dict[UUID, tuple[TraceJob, Lease]] = field(default_factory=dict, init=False)
    _ends: dict[UUID, GaveUp] = field(default_factory=dict, init=False)  # of batch traces that must end
    _scopes: dict[UUID, trio.CancelScope] = field(default_factory=dict, init=False)  # of batch traces

    async def work(self, jobs: "trio.MemoryReceiveChannel[TraceJob]") -> None:
        """One worker: serves `jobs` until its senders are closed."""
        async with jobs:
            async for job in jobs:
                self.busy += 1
                try:
                    await (self._serve_batch(job) if job.priority else self._serve(job))
                finally:
                    self.busy -= 1

    def end_batch_trace(self, request_id: UUID, why: GaveUp) -> None:
        """Ends a trace of the batch lane that has a worker, or that a worker takes later. Its IP rests as usual."""
        self._ends[request_id] = why
        if (scope := self._scopes.get(request_id)) is not None:
            scope.cancel()

    async def _serve_batch(self, job: TraceJob) -> None:
        with trio.CancelScope() as scope:
            self._scopes[job.request_id] = scope
            if job.request_id in self._ends:
                scope.cancel()
            try:
                await self._serve(job)
            finally:
                del self._scopes[job.request_id]
                self._ends.pop(job.request_id, None)

    def abandon(self, jobs: "trio.MemoryReceiveChannel[TraceJob]") -> None:
        """Answers the visitors of the jobs that no worker took before the stop, and finishes the jobs' rows."""
        while True:
            try:
                self._finish_without_ip(jobs.receive_nowait(), None)
            except (trio.WouldBlock, trio.EndOfChannel):
                return

    async def _serve(self, job: TraceJob) -> None:
        _notify(job, WaitingForIp())
        pool, attempts = self._directory.find(job.country), Attempts(job)
        answer: Lease | NoIPAvailable | None = None
        try:
            if pool is None:
                answer = NoIPAvailable(None, "its last IP left")
            while pool is not None:
                answer = None
                answer = await acquire(
                    pool, job.request_id, job.deadline_s, priority=job.priority, tried=attempts.tried
                )
                if not isinstance(answer, Lease) or not await self._attempt(attempts, pool, answer):
                    break
        finally:
            if not isinstance(answer, Lease):
                self._give_up(attempts, answer)

    async def _attempt(self, attempts: Attempts, pool: PoolHandle, lease: Lease) -> bool:
        """One attempt; its IP is released at the end. True if the job needs an attempt through another IP."""
        job, began = attempts.job, self._now()
        attempts.begin(began.tick_s)
        self._journal.record(processing_of(lease, began.wall_s, attempts.wait_ms))
        if not attempts.made:
            _notify(job, Started(lease.address))
        settings = self._live.current
        limits = replace(limits_of(settings), landing_schemes=WEB_SCHEMES | job.landing_schemes, stop_at=job.stop_at)
        walk = Walk(job.tracking_url, job.identity, limits)
        left_s = min(lease.locked_until_s - began.tick_s, lease.ends_boot_s - began.boot_s)
        timeout_s = min(settings.trace.timeout_s, left_s - LEASE_MARGIN_S)
        proxy_timeout_s = self._proxy_timeout_s(attempts, pool, began.tick_s)
        result: TraceResult | None = None
        retries = False
        self.active += 1
        self.in_flight[job.request_id] = job, lease
        try:
            proxy = lease.proxy(lease.ends_boot_s - LEASE_MARGIN_S)
            result = await self._backends.trace(
                job.backend,
                walk,
                proxy,
                timeout_s=timeout_s,
                proxy_timeout_s=proxy_timeout_s,
                tracer=job.tracer,
                offer=job.offer_name,
            )
        finally:
            self.active -= 1
            self.in_flight.pop(job.request_id, None)
            ended = self._now()
            if result is None:  # cancelled, or an exception of a bug is being raised
                stopped = GaveUp(Verdict.LIMIT, STOPPED, "the daemon stopped before the trace ended")
                why = self._ends.get(job.request_id, stopped)
                ms = (ended.tick_s - began.tick_s) * 1000
                received = sum(hop.bytes_received for hop in walk.hops)
                sent = sum(hop.bytes_sent for hop in walk.hops)
                result = TraceResult(why, tuple(walk.hops), ms, received, sent)
            attempts.end(lease, result, ended.tick_s)
            self._note(attempts)
            retries = attempts.should_retry(self._live.current.trace.retries_max, ended.tick_s)
            try:
                if not retries:
                    self._finish(attempts)
            finally:
                event = EVENTS.get(attempts.verdict, Event.RELEASED_TARGET_AT_FAULT)
                await release(pool, Release(lease.ip_id, lease.lease_no, event, result.ms))
        return retries

    def _note(self, attempts: Attempts) -> None:
        """Reports the last attempt to the provider's health and to the observer."""
        lease, result = attempts.made[-1]
        self._providers.trace(lease.provider, attempts.verdict, self._now())
        if self._observer is not None and not (attempts.job.priority and attempts.was_stopped):
            self._observer.trace(lease, attempts.verdict, attempts.waited_ms / 1000, result)

    def _proxy_timeout_s(self, attempts: Attempts, pool: PoolHandle, now_s: float) -> float:
        """Leaves time for an attempt through another IP, if one is available."""
        if not pool.view.counts.available:
            return math.inf
        return max(PROXY_TIMEOUT_MIN_S, attempts.share_s(self._live.current.trace.retries_max, now_s))

    def _finish(self, attempts: Attempts) -> None:
        """Records the row before the notification: a hit must not be durable before its trace."""
        try:
            if not (attempts.job.priority and attempts.was_stopped):
                providers = self._live.current.providers
                prices = {name: provider.price_per_gb for name, provider in providers.items()}
                now, traffic = self._now(), attempts.traffic(prices)
                self._journal.record(attempts.entry(now, traffic), *attempts.ip_traffic())
                self.traffic_costs.add(now.wall_s, traffic)
                log.info("trace", **attempts.log_fields())
        finally:
            _notify(attempts.job, attempts.finished())

    def _give_up(self, attempts: Attempts, answer: NoIPAvailable | None) -> None:
        """Finishes a job for which there is no IP, or no further one."""
        stays_pending = attempts.job.priority and answer is None and attempts.job.request_id not in self._ends
        if attempts.made and not stays_pending:
            self._finish(attempts)
        else:
            self._finish_without_ip(attempts.job, answer)

    def _finish_without_ip(self, job: TraceJob, answer: NoIPAvailable | None) -> None:
        if (why := self._ends.get(job.request_id)) is not None:
            self._journal.record(never_attempted(job.request_id, self._now(), why.reason, why.message))
        _notify(job, Finished(None, "no_ip"))
        if job.priority:
            return  # its row stays pending
        if self._observer is not None:
            self._observer.without_ip()
        entry = without_ip(job, answer, self._now())
        self._journal.record(entry)
        log.info("trace", request_id=str(job.request_id), offer=job.offer_name, country=job.country, status="failed",
                 reason="no_ip", error=entry.error_message, attempts=0, wait_ms=entry.total_time_ms)  # fmt: skip


def processing_of(lease: Lease, at_s: float, wait_ms: float) -> TraceProcessing:
    """The row's state at an attempt's start. `at_s` is on the wall clock."""
    return TraceProcessing(
        request_id=lease.request_id,
        ip_assigned=lease.address,
        ip_locked_at=at_s,
        wait_time_ms=round(wait_ms),
        provider=lease.provider,
        ip_unused_s=None if lease.unused_s is None else round(lease.unused_s, 3),
        ip_choices=lease.choices,
    )


def _notify(job: TraceJob, update: TraceUpdate) -> None:
    try:
        job.listener.send_nowait(update)
    except trio.BrokenResourceError:
        return  # the visitor has been answered, or has disconnected
