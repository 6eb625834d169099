"""The attempts of one job, each through another IP, and the row and the log line that describe them.

A row's time and bytes are the sums over all attempts; its chain, IP and end are those of the last attempt.
"""

import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec.structs import asdict

from daemon.clock import Moment
from daemon.journal.entries import IpTraffic, TraceFinished, Traffic
from daemon.pool.messages import Lease, NoIPAvailable
from daemon.trace.jobs import OUT_OF_TIME, Finished, TraceJob, TraceTotals
from daemon.trace.traffic_costs import priced
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, Landed
from daemon.trace.walk.verdicts import Verdict
from daemon.web.query import extracted_params

RETRIED = frozenset({Verdict.IP, Verdict.PROVIDER})
STOPPED = "stopped"  # the reason of a trace that a stop of the daemon, or a bug, ended


class Attempts:
    """The attempts `made` for one job so far. `wait_ms`: the waits for all its IPs; `waited_ms`: for the last one."""

    __slots__ = ("_since_s", "job", "made", "wait_ms", "waited_ms")

    def __init__(self, job: TraceJob) -> None:
        self.job = job
        self.made: list[tuple[Lease, TraceResult]] = []
        self.wait_ms = self.waited_ms = 0.0
        self._since_s = job.asked_s

    @property
    def tried(self) -> frozenset[UUID]:
        return frozenset(lease.ip_id for lease, _ in self.made)

    @property
    def verdict(self) -> Verdict:
        """The last attempt's."""
        failure = self._failure
        return failure.verdict if failure else Verdict.OK

    @property
    def was_stopped(self) -> bool:
        failure = self._failure
        return failure is not None and failure.reason == STOPPED

    def begin(self, now_s: float) -> None:
        """An attempt has its IP."""
        self.waited_ms = (now_s - self._since_s) * 1000
        self.wait_ms += self.waited_ms

    def end(self, lease: Lease, result: TraceResult, now_s: float) -> None:
        self.made.append((lease, result))
        self._since_s = now_s

    def should_retry(self, retries_max: int, now_s: float) -> bool:
        """Whether another IP may succeed where the last attempt failed, and the requester still waits."""
        return self.verdict in RETRIED and len(self.made) <= retries_max and now_s < self.job.deadline_s

    def share_s(self, retries_max: int, now_s: float) -> float:
        """An equal share of the time left for each attempt that may follow; infinite for the last one."""
        left_s = self.job.deadline_s - now_s
        attempts_left = 1 + retries_max - len(self.made)
        return left_s / attempts_left if left_s > 0 and attempts_left > 1 else math.inf

    def finished(self) -> Finished:
        end, totals = self.made[-1][1].end, self._totals()
        return Finished(end.url, None, totals) if isinstance(end, Landed) else Finished(None, "trace_failed", totals)

    def traffic(self, prices: Mapping[str, float]) -> tuple[Traffic, ...]:
        """The bytes of each attempt, with their cost. `prices` are those of traffic_costs.priced."""
        return tuple(
            priced(lease.provider, result.bytes_received, result.bytes_sent, prices) for lease, result in self.made
        )

    def ip_traffic(self) -> tuple[IpTraffic, ...]:
        return tuple(IpTraffic(lease.ip_id, result.bytes_received, result.bytes_sent) for lease, result in self.made)

    def entry(self, now: Moment, traffic: tuple[Traffic, ...]) -> TraceFinished:
        last, failure, totals = self.made[-1][1], self._failure, self._totals()
        final_url = last.end.url if isinstance(last.end, Landed) else None
        return TraceFinished(
            request_id=self.job.request_id,
            status=self._status(),
            completed_at=now.wall_s,
            final_url=final_url,
            extracted_params=extracted_params(final_url) if final_url else {},
            redirect_chain=tuple(asdict(hop) | {"ms": round(hop.ms, 1)} for hop in last.hops),
            error_message=totals.error,
            trace_time_ms=round(totals.ms),
            total_time_ms=round((now.tick_s - self.job.asked_s) * 1000),
            retry_count=len(self.made) - 1,
            bytes_received=totals.bytes_received,
            bytes_sent=totals.bytes_sent,
            ips_tried=tuple(lease.address for lease, _ in self.made),
            exit_ip=last.exit_ip,
            verdict=self.verdict,
            reason=failure.reason if failure else None,
            offer_id=self.job.offer_id,
            offer_name=self.job.offer_name,
            cost=sum(part.cost for part in traffic),
            traffic=traffic,
        )

    def log_fields(self) -> dict[str, Any]:
        """The fields of the log line `trace`."""
        lease, last = self.made[-1]
        failure, totals = self._failure, self._totals()
        return {
            "request_id": str(self.job.request_id),
            "offer": self.job.offer_name,
            "country": lease.country,
            "ip": lease.name,
            "provider": lease.provider,
            "lease_no": lease.lease_no,
            "unused_s": None if lease.unused_s is None else round(lease.unused_s, 1),
            "choices": lease.choices,
            "status": self._status(),
            "verdict": self.verdict,
            "reason": failure.reason if failure else None,
            "error": totals.error,
            "attempts": len(self.made),
            "hops": len(last.hops),
            "wait_ms": round(self.wait_ms, 1),
            "trace_ms": round(totals.ms, 1),
            "bytes_received": totals.bytes_received,
            "bytes_sent": totals.bytes_sent,
        }

    @property
    def _failure(self) -> GaveUp | None:
        end = self.made[-1][1].end
        return None if isinstance(end, Landed) else end

    def _totals(self) -> TraceTotals:
        failure, results = self._failure, [result for _, result in self.made]
        return TraceTotals(
            ip=self.made[-1][0].address,
            ms=sum(result.ms for result in results),
            bytes_received=sum(result.bytes_received for result in results),
            bytes_sent=sum(result.bytes_sent for result in results),
            error=failure.message if failure else None,
        )

    def _status(self) -> str:
        if (failure := self._failure) is None:
            return "completed"
        return "timeout" if failure.reason in ("trace_timeout", OUT_OF_TIME) else "failed"


def without_ip(job: TraceJob, answer: NoIPAvailable | None, now: Moment) -> TraceFinished:
    """The row of a job without a single attempt. `answer` is None if the daemon stopped while the job waited."""
    if answer is None:
        why = "the daemon stopped before an IP was free"
    elif answer.until_s is None:
        why = f"no IP available in {job.country} ({answer.why})"
    else:
        next_s = max(0.0, answer.until_s - now.tick_s)
        why = f"no IP available in {job.country} ({answer.why}); the next one in {math.ceil(next_s)} s"
    return never_attempted(job.request_id, now, "no_ip", why, round((now.tick_s - job.asked_s) * 1000))


def never_attempted(request_id: UUID, now: Moment, reason: str, why: str, total_ms: int = 0) -> TraceFinished:
    """The row of a trace that ended without an attempt."""
    status = "timeout" if reason == OUT_OF_TIME else "failed"
    return TraceFinished(request_id, status, now.wall_s, None, {}, (), why, None, total_ms, 0, 0, reason=reason)
