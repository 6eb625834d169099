"""The last failure of each IP."""

from uuid import uuid4

import pytest

from daemon.clock import Moment
from daemon.control import observers
from daemon.control.metrics import Metrics
from daemon.control.observers import Observers
from daemon.pool.messages import Lease
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, Landed
from daemon.trace.walk.verdicts import Verdict


def a_lease() -> Lease:
    return Lease(uuid4(), "192.0.2.1", "7000", "luna", "us", 1, 90.0, uuid4())


def ended(end: Landed | GaveUp) -> TraceResult:
    return TraceResult(end, (), 250.0, 0, 0)


def gave_up(verdict: Verdict, why: str = "its port refuses connections") -> TraceResult:
    return ended(GaveUp(verdict, "refused", why))


def observers_at(tick_s: float = 5.0) -> Observers:
    return Observers(Metrics(LiveSettings(Settings())), lambda: Moment(tick_s, 1_893_456_000.0))


def test_only_an_ips_own_failure_is_kept() -> None:
    observed, ip, target, fine = observers_at(), a_lease(), a_lease(), a_lease()
    observed.trace(ip, Verdict.IP, 0.1, gave_up(Verdict.IP))
    observed.trace(target, Verdict.TARGET, 0.1, gave_up(Verdict.TARGET))
    observed.trace(fine, Verdict.OK, 0.1, ended(Landed("http://shop.example/")))
    failure = observed.last_failure(ip.ip_id)
    assert failure is not None
    assert (failure.why, failure.at.isoformat()) == ("its port refuses connections", "2030-01-01T00:00:00+00:00")
    assert observed.last_failure(target.ip_id) is observed.last_failure(fine.ip_id) is None
    assert observed.own_history.series("hour", 5.0).trace_ms["p50"][-1] == pytest.approx(250, rel=0.1)


def test_the_number_of_kept_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "FAILURES_MAX", 2)
    observed, leases = observers_at(), [a_lease() for _ in range(3)]
    observed.trace(leases[0], Verdict.IP, 0.1, gave_up(Verdict.IP))
    observed.trace(leases[1], Verdict.IP, 0.1, gave_up(Verdict.IP))
    observed.trace(leases[0], Verdict.IP, 0.1, gave_up(Verdict.IP, "again"))
    observed.trace(leases[2], Verdict.IP, 0.1, gave_up(Verdict.IP))
    known = [observed.last_failure(lease.ip_id) for lease in leases]
    assert known[1] is None
    assert [failure.why for failure in known if failure] == ["again", "its port refuses connections"]
