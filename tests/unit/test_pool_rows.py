"""Rows become IPs again: locks and rests from before a power cut continue, by the wall clock."""

import math
from typing import Any
from uuid import uuid4

import pytest

from daemon.clock import Moment
from daemon.pool.messages import Acquire, Decision, Lease
from daemon.pool.pool import Pool
from daemon.pool.rests import Rests
from daemon.pool.rows import ip_from_row
from daemon.pool.states import NEVER_USED, Rules, Status

NOW = Moment(tick_s=1_000.0, wall_s=1_700_000_000.0)
COLUMNS: dict[str, Any] = {
    "ip_address": "198.51.100.1",
    "ip_port": "7000",
    "username": None,
    "password": None,
    "country": "us",
    "provider": "luna",
    "status": "available",
    "locked_until": None,
    "locked_by_request": None,
    "last_used_at": None,
    "total_uses": 0,
    "success_count": 0,
    "failure_count": 0,
    "consecutive_failures": 0,
    "is_healthy": True,
    "avg_response_time_ms": None,
    "last_health_check": None,
    "lease_no": 0,
    "edit_no": 1,
    "probe_failures": 0,
}


def row(**values: Any) -> dict[str, Any]:
    return {"id": uuid4(), **COLUMNS, **values}


def test_a_new_row_is_available_and_was_never_used() -> None:
    ip = ip_from_row(row(), NOW)
    assert (ip.status, ip.locked_until_s, ip.last_used_s) == (Status.AVAILABLE, None, NEVER_USED)
    assert (ip.address, ip.port, ip.country, ip.provider) == ("198.51.100.1", "7000", "us", "luna")


@pytest.mark.parametrize("status", ["locked", "cooldown"])
@pytest.mark.parametrize("left_s", [-3_600.0, 0.0, 42.5])
def test_times_go_from_the_wall_clock_to_ticks(status: str, left_s: float) -> None:
    request = uuid4()
    ip = ip_from_row(
        row(
            status=status,
            locked_until=NOW.wall_s + left_s,
            locked_by_request=request,
            last_used_at=NOW.wall_s - 48,
            last_health_check=NOW.wall_s - 7,
            lease_no=12,
            probe_failures=3,
        ),
        NOW,
    )
    assert ip.locked_until_s == NOW.tick_s + left_s
    assert (ip.last_used_s, ip.last_health_check_s) == (NOW.tick_s - 48, NOW.tick_s - 7)
    assert (ip.locked_by, ip.lease_no, ip.edit_no, ip.probe_failures) == (request, 12, 1, 3)


def test_an_available_ip_has_no_timer() -> None:
    assert ip_from_row(row(status="available", locked_until=NOW.wall_s + 99), NOW).locked_until_s is None


@pytest.mark.parametrize(("until", "expected"), [(None, None), (NOW.wall_s + 99, NOW.tick_s + 99)])
def test_a_failed_ip_may_still_owe_a_rest(until: float | None, expected: float | None) -> None:
    assert ip_from_row(row(status="failed", locked_until=until), NOW).locked_until_s == expected


@pytest.mark.parametrize("until", [None, math.inf, -math.inf])
@pytest.mark.parametrize("status", ["locked", "cooldown"])
def test_a_lock_without_an_end_ends_now(status: str, until: float | None) -> None:
    assert ip_from_row(row(status=status, locked_until=until), NOW).locked_until_s == NOW.tick_s


def test_a_use_at_infinity_is_none() -> None:
    ip = ip_from_row(row(last_used_at=math.inf, last_health_check=-math.inf), NOW)
    assert (ip.last_used_s, ip.last_health_check_s) == (NEVER_USED, None)


def test_counters_are_taken_over() -> None:
    counters = {
        "total_uses": 9,
        "success_count": 5,
        "failure_count": 4,
        "consecutive_failures": 2,
        "is_healthy": False,
        "avg_response_time_ms": 12.5,
    }
    ip = ip_from_row(row(status="failed", **counters), NOW)
    assert {name: getattr(ip, name) for name in counters} == counters


def leased_at(pool: Pool, tick_s: float) -> bool:
    """Whether an IP is leased at that time; timers fire each second until then."""
    decision = Decision()
    for second in range(int(NOW.tick_s), int(tick_s) + 1):
        pool.fire_timers(Moment(float(second), NOW.wall_at(second)), decision)
    request = Acquire(uuid4(), tick_s + 0.5, reply=None)  # type: ignore[arg-type]
    pool.decide(request, Moment(tick_s, NOW.wall_at(tick_s)), decision)
    return any(isinstance(answer, Lease) for _, answer in decision.answers)


@pytest.mark.parametrize(
    ("status", "left_s", "free_after_s"),
    [("locked", 20, 80), ("locked", -20, 40), ("locked", -90, 0), ("cooldown", 20, 20), ("cooldown", -20, 0)],
)
def test_a_lock_runs_out_into_its_rest_wherever_the_restart_falls(
    status: str, left_s: float, free_after_s: float
) -> None:
    for at_s, free in ((free_after_s - 1, False), (free_after_s, True)):
        if at_s < 0:
            continue
        pool = Pool("us", Rules(lock_s=90, cooldown_s=60))
        pool.load([ip_from_row(row(status=status, locked_until=NOW.wall_s + left_s), NOW)])
        assert leased_at(pool, NOW.tick_s + at_s) is free, at_s


@pytest.mark.parametrize("written", ["available", "cooldown"])
def test_an_ip_whose_row_says_less_than_the_spool_rests_by_the_spool(written: str) -> None:
    ip = ip_from_row(row(status=written, locked_until=NOW.wall_s + 5 if written == "cooldown" else None), NOW)
    pool = Pool("us", Rules(), Rests({("198.51.100.1", "7000", ""): NOW.tick_s + 40}))
    pool.load([ip])
    assert (ip.status, ip.locked_until_s) == (Status.COOLDOWN, NOW.tick_s + 40)


def test_a_locked_row_that_says_the_same_as_the_spool_stays_locked() -> None:
    ip = ip_from_row(row(status="locked", locked_until=NOW.wall_s + 50), NOW)
    pool = Pool("us", Rules(cooldown_s=60), Rests({("198.51.100.1", "7000", ""): NOW.tick_s + 110 + 1e-6}))
    pool.load([ip])
    assert (ip.status, ip.locked_until_s) == (Status.LOCKED, NOW.tick_s + 50)
