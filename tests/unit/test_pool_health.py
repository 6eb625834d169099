"""When an IP fails, how many may fail at once, and what makes one available again."""

from uuid import uuid4

import pytest
from msgspec.structs import replace

from daemon.journal.entries import IpChanged
from daemon.pool.messages import Lease, Release
from daemon.pool.pool import Pool
from daemon.pool.states import Event, Ip, Rules, Status
from tests.fakes.ips import RULES, a_pool, a_request, adopt, an_ip, granted, leased, refused, released, row_of, say

FAULT = Event.RELEASED_IP_AT_FAULT


def about_to_fail(count: int) -> list[Ip]:
    return [an_ip(f"ip-{number}", id=uuid4(), consecutive_failures=4) for number in range(count)]


def all_break(pool: Pool, tick_s: float = 0.0) -> list[str]:
    """Leases each available IP and reports a fault; returns the providers of the spared IPs."""
    leases = [leased(pool, tick_s) for _ in range(pool.counts().available)]
    return say(pool, tick_s + 1, *(released(lease, FAULT) for lease in leases)).spared


@pytest.mark.parametrize(("total", "fail"), [(1, 1), (2, 1), (4, 1), (9, 1), (10, 2), (15, 3), (100, 20)])
def test_a_fifth_of_a_country_fails_at_once_and_one_in_any_case(total: int, fail: int) -> None:
    pool = a_pool(*about_to_fail(total))
    assert all_break(pool) == ["luna"] * (total - fail)
    counts = pool.counts()
    assert (counts.failed, counts.cooldown) == (fail, total - fail)


def test_a_spared_one_rests_with_its_counters_and_fails_once_there_is_room() -> None:
    failed, spared = about_to_fail(2)
    pool = a_pool(failed, spared)
    all_break(pool)
    assert (failed.status, spared.status) == (Status.FAILED, Status.COOLDOWN)
    assert (spared.is_healthy, spared.consecutive_failures, spared.failure_count) == (True, 5, 1)
    assert spared.locked_until_s == 61
    say(pool, 2, adopt(row_of(failed, status=Status.AVAILABLE, is_healthy=True, consecutive_failures=0)))
    say(pool, 100)
    assert all_break(pool, 100) == []
    assert (spared.status, spared.consecutive_failures) == (Status.FAILED, 6)


def test_a_success_of_a_spared_one_clears_its_failures() -> None:
    failed, spared = about_to_fail(2)
    pool = a_pool(failed, spared)
    all_break(pool)
    say(pool, 62, released(leased(pool, 61)))
    assert (spared.consecutive_failures, spared.is_healthy) == (0, True)


def test_what_operators_take_out_of_use_is_neither_limited_nor_counted() -> None:
    ips = about_to_fail(10)
    for ip in ips:
        ip.consecutive_failures = 0
    pool = a_pool(*ips)
    say(pool, 0, adopt(*(row_of(ip, status=Status.FAILED, is_healthy=False) for ip in ips[:8])))
    assert pool.counts().failed == 8
    for ip in ips[8:]:
        ip.consecutive_failures = 4
    assert all_break(pool) == []
    assert pool.counts().failed == 10


def test_those_that_failed_before_a_restart_count() -> None:
    before = an_ip("before", status=Status.FAILED, is_healthy=False, consecutive_failures=5)
    pool = a_pool(before, *about_to_fail(3))
    assert all_break(pool) == ["luna"] * 3
    assert pool.counts().failed == 1


def test_one_that_failed_makes_room_when_it_leaves_or_recovers() -> None:
    ips = about_to_fail(2)
    pool = a_pool(*ips)
    all_break(pool)
    assert pool.quarantine.is_full(2)
    say(pool, 2, adopt(row_of(ips[0], status=Status.AVAILABLE, is_healthy=True)))
    assert not pool.quarantine.is_full(2)
    assert pool.quarantine.ids == set()


def test_fewer_failures_than_it_takes_are_no_reason_to_spare_anybody() -> None:
    pool = a_pool(an_ip("failed", status=Status.FAILED, is_healthy=False, consecutive_failures=5), an_ip("good"))
    decision = say(pool, 1, released(leased(pool, 0), FAULT))
    assert decision.spared == []
    assert isinstance(leased(pool, 100), Lease)


def test_the_rule_of_now_says_how_many_failures_are_too_many() -> None:
    pool = a_pool(*about_to_fail(2))
    pool.rules = Rules(failures_max=9)
    assert all_break(pool) == []
    assert (pool.counts().failed, RULES.failures_max) == (0, 5)


def probed(pool: Pool, ip: Ip, tick_s: float) -> Lease:
    request = replace(a_request(tick_s + 5), ip_id=ip.id)
    return granted(say(pool, tick_s, request))[request.request_id]


def ended(lease: Lease, event: Event) -> Release:
    return Release(lease.ip_id, lease.lease_no, event, endpoint=lease.endpoint)


def a_failed_one() -> Ip:
    return an_ip("failed", status=Status.FAILED, is_healthy=False, consecutive_failures=5, probe_failures=2)


RESET = {"status": Status.AVAILABLE, "is_healthy": True, "consecutive_failures": 0}


def test_one_whose_probe_worked_serves_who_waits_at_once() -> None:
    ip = a_failed_one()
    pool = a_pool(ip, an_ip("in use", status=Status.LOCKED, locked_until_s=90.0))
    waiting = a_request()
    lease = probed(pool, ip, 0)
    assert say(pool, 1, waiting).answers == []
    assert waiting.request_id in granted(say(pool, 2, ended(lease, Event.PROBE_WORKED)))
    assert (ip.status, ip.is_healthy, ip.consecutive_failures, ip.probe_failures) == (Status.LOCKED, True, 0, 0)


def test_one_whose_probe_failed_stays_out_of_use() -> None:
    ip = a_failed_one()
    pool = a_pool(ip)
    decision = say(pool, 2, ended(probed(pool, ip, 0), Event.PROBE_FAILED))
    assert (ip.status, ip.probe_failures, pool.quarantine.ids) == (Status.FAILED, 3, {ip.id})
    (entry,) = decision.entries
    assert isinstance(entry, IpChanged)
    assert (entry.event, entry.status, entry.probe_failures) == ("probe_failed", "failed", 3)


@pytest.mark.parametrize("event", [Event.PROBE_WORKED, Event.PROBE_FAILED, Event.CHECKED])
def test_a_reset_during_a_probe_leads_to_no_second_use_until_the_probe_is_over(event: Event) -> None:
    ip = a_failed_one()
    pool = a_pool(ip)
    lease, click = probed(pool, ip, 0), a_request()
    assert say(pool, 1, adopt(row_of(ip, **RESET)), click).answers == []
    (later,) = granted(say(pool, 2, ended(lease, event))).values()
    assert (later.request_id, later.lease_no) == (click.request_id, lease.lease_no + 1)
    assert (ip.is_healthy, ip.consecutive_failures, ip.probe_failures) == (True, 0, 0)


def test_a_second_probe_is_refused_while_one_is_under_way() -> None:
    ip = a_failed_one()
    pool = a_pool(ip)
    probed(pool, ip, 0)
    second = replace(a_request(6), ip_id=ip.id)
    assert refused(say(pool, 1, second))[second.request_id].why == "locked"


def test_a_probe_says_nothing_of_the_endpoint_that_an_edit_brought_meanwhile() -> None:
    ip = a_failed_one()
    pool = a_pool(ip)
    lease = probed(pool, ip, 0)
    say(pool, 1, adopt(row_of(ip, address="moved")))
    say(pool, 2, ended(lease, Event.PROBE_WORKED))
    assert (ip.address, ip.status, ip.is_healthy, ip.probe_failures) == ("moved", Status.FAILED, False, 2)


def test_a_probe_that_never_gives_its_ip_back_leaves_it_out_of_use() -> None:
    ip = a_failed_one()
    pool = a_pool(ip)
    probed(pool, ip, 0)
    say(pool, 90)
    assert (ip.status, ip.probe_failures) == (Status.FAILED, 2)
