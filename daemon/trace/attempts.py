"""The attempts of one job, each through another IP, and the row and the log line that describe them.

A row's time and bytes are the sums over all attempts; its chain, IP and end are those of the last attempt.
"""

import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from daemon.clock import Moment
from daemon.journal.entries import TraceFinished, Traffic
from daemon.pool.messages import Lease, NoIPAvailable
from daemon.trace.jobs import Finished, Spent, TraceJob
from daemon.trace.traffic_costs import priced
from daemon.trace.walk.steps import Hop, Landed
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import TraceResult
from daemon.web.query import extracted_params

RETRIED = frozenset({Verdict.IP, Verdict.PROVIDER})
STOPPED = "stopped"  # the reason of a trace that the daemon's stop, or a fault of ours, ended


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
        end = self.made[-1][1].end
        return Verdict.OK if isinstance(end, Landed) else end.verdict

    @property
    def was_stopped(self) -> bool:
        end = self.made[-1][1].end
        return not isinstance(end, Landed) and end.reason == STOPPED

    def begins(self, now_s: float) -> None:
        """There is an IP for an attempt."""
        self.waited_ms = (now_s - self._since_s) * 1000
        self.wait_ms += self.waited_ms

    def ended(self, lease: Lease, result: TraceResult, now_s: float) -> None:
        self.made.append((lease, result))
        self._since_s = now_s

    def goes_on(self, retries_max: int, now_s: float) -> bool:
        """The last attempt is not the end of it: another IP may do better, and somebody still waits for that."""
        return self.verdict in RETRIED and len(self.made) <= retries_max and now_s < self.job.deadline_s

    def reach_s(self, retries_max: int, now_s: float) -> float:
        """An attempt's share of the time left, if all that may follow get as much; infinite for the last one."""
        left_s = self.job.deadline_s - now_s
        attempts_left = 1 + retries_max - len(self.made)
        return left_s / attempts_left if left_s > 0 and attempts_left > 1 else math.inf

    def news(self) -> Finished:
        lease, last = self.made[-1]
        end, results = last.end, [result for _, result in self.made]
        spent = Spent(
            ip=lease.address,
            ms=sum(result.ms for result in results),
            bytes_received=sum(result.bytes_received for result in results),
            bytes_sent=sum(result.bytes_sent for result in results),
            error=None if isinstance(end, Landed) else end.message,
        )
        return Finished(end.url, None, spent) if isinstance(end, Landed) else Finished(None, "trace_failed", spent)

    def traffic(self, prices: Mapping[str, float]) -> tuple[Traffic, ...]:
        """What each attempt moved, and costs. `prices` are those of traffic_costs.priced."""
        return tuple(
            priced(lease.ip_id, lease.provider, result.bytes_received, result.bytes_sent, prices)
            for lease, result in self.made
        )

    def entry(self, now: Moment, traffic: tuple[Traffic, ...]) -> TraceFinished:
        last = self.made[-1][1]
        end, results = last.end, [result for _, result in self.made]
        landed = end if isinstance(end, Landed) else None
        return TraceFinished(
            request_id=self.job.request_id,
            status=self._status(),
            completed_at=now.wall_s,
            final_url=landed.url if landed else None,
            extracted_params=extracted_params(landed.url) if landed else {},
            redirect_chain=tuple(map(_hop, last.hops)),
            error_message=None if isinstance(end, Landed) else end.message,
            trace_time_ms=round(sum(result.ms for result in results)),
            total_time_ms=round((now.tick_s - self.job.asked_s) * 1000),
            retry_count=len(self.made) - 1,
            bytes_received=sum(result.bytes_received for result in results),
            bytes_sent=sum(result.bytes_sent for result in results),
            ips_tried=tuple(lease.address for lease, _ in self.made),
            exit_ip=last.exit_ip,
            verdict=self.verdict,
            reason=None if isinstance(end, Landed) else end.reason,
            offer_id=self.job.offer_id,
            offer_name=self.job.offer_name,
            cost=sum(part.cost for part in traffic),
            traffic=traffic,
        )

    def line(self) -> dict[str, Any]:
        """The fields of the log line `trace`."""
        lease, last = self.made[-1]
        end, results = last.end, [result for _, result in self.made]
        return {
            "request_id": str(self.job.request_id),
            "offer": self.job.offer_name,
            "country": lease.country,
            "ip": f"{lease.address}:{lease.port}",
            "provider": lease.provider,
            "lease_no": lease.lease_no,
            "unused_s": None if lease.unused_s is None else round(lease.unused_s, 1),
            "choices": lease.choices,
            "status": self._status(),
            "verdict": self.verdict,
            "reason": None if isinstance(end, Landed) else end.reason,
            "error": None if isinstance(end, Landed) else end.message,
            "attempts": len(results),
            "hops": len(last.hops),
            "wait_ms": round(self.wait_ms, 1),
            "trace_ms": round(sum(result.ms for result in results), 1),
            "bytes_received": sum(result.bytes_received for result in results),
            "bytes_sent": sum(result.bytes_sent for result in results),
        }

    def _status(self) -> str:
        end = self.made[-1][1].end
        return "completed" if isinstance(end, Landed) else "timeout" if end.reason == "trace_timeout" else "failed"


def without_ip(job: TraceJob, answer: NoIPAvailable | None, now: Moment) -> TraceFinished:
    """The row of a job without a single attempt. No answer: the daemon stopped while it waited."""
    if answer is None:
        why = "the daemon stopped before an IP was free"
    elif answer.until_s is None:
        why = f"no IP available in {job.country} ({answer.why})"
    else:
        next_s = max(0.0, answer.until_s - now.tick_s)
        why = f"no IP available in {job.country} ({answer.why}); the next one in {math.ceil(next_s)} s"
    total_ms = round((now.tick_s - job.asked_s) * 1000)
    return TraceFinished(job.request_id, "failed", now.wall_s, None, {}, (), why, None, total_ms, 0, 0, reason="no_ip")


def _hop(hop: Hop) -> dict[str, Any]:
    """As redirect_chain has it. Not by `asdict`, which takes twenty times as long."""
    return {
        "url": hop.url,
        "status": hop.status,
        "ms": round(hop.ms, 1),
        "kind": hop.kind,
        "bytes_received": hop.bytes_received,
        "bytes_sent": hop.bytes_sent,
    }
