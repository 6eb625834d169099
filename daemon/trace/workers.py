"""Trace workers: each takes a job, leases an IP for it, walks the chain and gives the IP back. The lease is its alone.

A visitor who leaves, or whose deadline passes, stops listening; the worker goes on. Whatever ends a trace, its lease is
released and its row is finished: that part is shielded from cancels, within RELEASE_S.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Protocol

import structlog
import trio

from daemon.click.answer import extracted_params
from daemon.config import Settings
from daemon.journal.entries import TraceFinished, TraceProcessing
from daemon.moment import Moment
from daemon.pool.actor import Journal
from daemon.pool.directory import PoolDirectory, Post
from daemon.pool.messages import Lease, NoIPAvailable, Release
from daemon.pool.states import Event
from daemon.trace.fetch import TraceResult
from daemon.trace.jobs import Finished, News, Started, TraceJob, WaitingForIp
from daemon.trace.leases import acquire, release
from daemon.trace.proxies import LeasedProxy
from daemon.trace.spending import Spending
from daemon.trace.steps import WEB_SCHEMES, GaveUp, Landed, Limits, Walk
from daemon.trace.tracers import Backends
from daemon.trace.verdicts import Verdict

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
    """Who counts traces."""

    def trace(self, provider: str, verdict: Verdict, wait_s: float, result: TraceResult) -> None: ...

    def without_ip(self) -> None: ...


def prices_of(settings: Settings) -> dict[str, float]:
    """US dollars for 10^9 bytes, by provider."""
    return {name: provider.price_per_gb for name, provider in settings.providers.items()}


class Tracer:
    """What all workers share. `active` traces hold a lease now; `busy` workers have a job."""

    def __init__(
        self,
        backends: Backends,
        directory: PoolDirectory,
        journal: Journal,
        now: Callable[[], Moment],
        *,
        limits: Limits,
        timeout_s: float,
    ) -> None:
        self._backends = backends
        self._directory = directory
        self._journal = journal
        self._now = now
        self._limits = limits
        self._timeout_s = timeout_s
        self.spending = Spending()
        self.active = 0
        self.busy = 0
        self.observer: Observer | None = None

    def use(self, settings: Settings) -> None:
        """For traces that begin from now on."""
        self._limits = limits_of(settings)
        self._timeout_s = settings.trace.timeout_s
        self._backends.use(settings)
        self.spending.prices = prices_of(settings)

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
        post = self._directory.find(job.country)
        lease: Lease | NoIPAvailable | None = None if post else NoIPAvailable(None, "its last IP left")
        try:
            if post is not None:
                lease = await acquire(post, job.request_id, job.deadline_s, priority=job.priority)
        finally:
            if not isinstance(lease, Lease):
                self._finish_without_ip(job, lease)
        if post is not None and isinstance(lease, Lease):
            self.active += 1
            try:
                await self._trace(job, post, lease)
            finally:
                self.active -= 1

    async def _trace(self, job: TraceJob, post: Post, lease: Lease) -> None:
        began = self._now()
        wait_ms = (began.tick_s - job.asked_s) * 1000
        self._journal.record(processing_of(lease, began.wall_s, wait_ms))
        _tell(job, Started(lease.address))
        limits = replace(self._limits, landing_schemes=WEB_SCHEMES | job.landing_schemes, stop_at=job.stop_at)
        walk = Walk(job.tracking_url, job.identity, limits)
        timeout_s = min(self._timeout_s, lease.locked_until_s - began.tick_s - LEASE_MARGIN_S)
        result: TraceResult | None = None
        try:
            proxy = LeasedProxy(
                lease.address, lease.port, lease.country, lease.provider, f"{lease.request_id}/{lease.lease_no}"
            )
            result = await self._backends.trace(job.backend, walk, proxy, timeout_s=timeout_s)
        finally:
            if result is None:  # cancelled, or a bug that is on its way to the supervisor
                why = GaveUp(Verdict.LIMIT, "stopped", "the daemon stopped before the trace ended")
                ms = (trio.current_time() - began.tick_s) * 1000
                result = TraceResult(why, tuple(walk.hops), ms, walk.bytes_received, walk.bytes_sent)
            end = result.end
            try:
                if not (job.priority and isinstance(end, GaveUp) and end.reason == "stopped"):
                    self._finish(job, lease, result, wait_ms)  # first: no hit is durable before its trace
            finally:
                _tell(job, Finished(end.url, None) if isinstance(end, Landed) else Finished(None, "trace_failed"))
                event = EVENTS[Verdict.OK if isinstance(end, Landed) else end.verdict]
                await release(post, Release(lease.ip_id, lease.lease_no, event, result.ms))

    def _finish(self, job: TraceJob, lease: Lease, result: TraceResult, wait_ms: float) -> None:
        end, now = result.end, self._now()
        landed = isinstance(end, Landed)
        status = "completed" if landed else "timeout" if end.reason == "trace_timeout" else "failed"  # type: ignore[union-attr]
        traffic = self.spending.counted(lease.ip_id, lease.provider, result.bytes_received, result.bytes_sent)
        self._journal.record(
            TraceFinished(
                request_id=job.request_id,
                status=status,
                completed_at=now.wall_s,
                final_url=end.url if isinstance(end, Landed) else None,
                extracted_params=extracted_params(end.url) if isinstance(end, Landed) else {},
                redirect_chain=tuple(_hop(asdict(hop)) for hop in result.hops),
                error_message=end.message if isinstance(end, GaveUp) else None,
                trace_time_ms=round(result.ms),
                total_time_ms=round((now.tick_s - job.asked_s) * 1000),
                retry_count=0,
                bytes_received=result.bytes_received,
                bytes_sent=result.bytes_sent,
                verdict=Verdict.OK if isinstance(end, Landed) else end.verdict,
                offer_id=job.offer_id,
                offer_name=job.offer_name,
                cost=traffic.cost,
                traffic=(traffic,),
            )
        )
        self.spending.add(now.wall_s, (traffic,))
        if self.observer is not None:
            self.observer.trace(lease.provider, Verdict.OK if landed else end.verdict, wait_ms / 1000, result)  # type: ignore[union-attr]
        log.info(
            "trace",
            request_id=str(job.request_id),
            offer=job.offer_name,
            country=lease.country,
            ip=f"{lease.address}:{lease.port}",
            provider=lease.provider,
            lease_no=lease.lease_no,
            unused_s=None if lease.unused_s is None else round(lease.unused_s, 1),
            choices=lease.choices,
            status=status,
            verdict=Verdict.OK if landed else end.verdict,  # type: ignore[union-attr]
            reason=end.reason if isinstance(end, GaveUp) else None,
            error=end.message if isinstance(end, GaveUp) else None,
            hops=len(result.hops),
            wait_ms=round(wait_ms, 1),
            trace_ms=round(result.ms, 1),
            bytes_received=result.bytes_received,
            bytes_sent=result.bytes_sent,
        )

    def _finish_without_ip(self, job: TraceJob, answer: NoIPAvailable | None) -> None:
        if job.priority:
            _tell(job, Finished(None, "no_ip"))  # its row stays to be traced
            return
        now = self._now()
        if answer is None:
            why = "the daemon stopped before an IP was free"
        elif answer.until_s is None:
            why = f"no IP available in {job.country} ({answer.why})"
        else:
            next_s = max(0.0, answer.until_s - now.tick_s)
            why = f"no IP available in {job.country} ({answer.why}); the next one in {math.ceil(next_s)} s"
        if self.observer is not None:
            self.observer.without_ip()
        _tell(job, Finished(None, "no_ip"))
        total_ms = round((now.tick_s - job.asked_s) * 1000)
        self._journal.record(
            TraceFinished(job.request_id, "failed", now.wall_s, None, {}, (), why, None, total_ms, 0, 0)
        )
        log.info("trace", request_id=str(job.request_id), offer=job.offer_name, country=job.country, status="failed",
                 reason="no_ip", error=why, wait_ms=total_ms)  # fmt: skip


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


def _hop(hop: dict[str, Any]) -> dict[str, Any]:
    hop["ms"] = round(hop["ms"], 1)
    return hop


def _tell(job: TraceJob, news: News) -> None:
    try:
        job.listener.send_nowait(news)
    except trio.BrokenResourceError:
        return  # the visitor has their answer, or has left
