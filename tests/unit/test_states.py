"""All pairs of status and event: a transition of the table has its effect, any other pair changes nothing."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import IllegalTransition
from daemon.pool.states import TABLE, Event, Ip, Occurrence, Rules, Status, move
from tests.fakes.ips import an_ip, row_of, state

RULES = Rules(lock_s=90, cooldown_s=60, failures_max=5)
NOW_S = 1000.0
REQUEST = UUID(int=7)

LEGAL = {
    (Status.AVAILABLE, Event.LEASE),
    (Status.AVAILABLE, Event.ENDPOINT_USED),
    (Status.AVAILABLE, Event.MARKED_FAILED),
    (Status.AVAILABLE, Event.REMOVED),
    (Status.AVAILABLE, Event.GIVEN),
    (Status.LOCKED, Event.RELEASED_OK),
    (Status.LOCKED, Event.RELEASED_IP_AT_FAULT),
    (Status.LOCKED, Event.RELEASED_TARGET_AT_FAULT),
    (Status.LOCKED, Event.CHECKED),
    (Status.LOCKED, Event.PROBE_WORKED),
    (Status.LOCKED, Event.PROBE_FAILED),
    (Status.LOCKED, Event.LOCK_EXPIRED),
    (Status.LOCKED, Event.REMOVED),
    (Status.COOLDOWN, Event.COOLDOWN_OVER),
    (Status.COOLDOWN, Event.MARKED_FAILED),
    (Status.COOLDOWN, Event.REMOVED),
    (Status.FAILED, Event.LEASE),
    (Status.FAILED, Event.RESET),
    (Status.FAILED, Event.REMOVED),
    (Status.FAILED, Event.GIVEN),
}
GRID = [(status, event) for status in Status for event in Event]
ILLEGAL = [pair for pair in GRID if pair not in LEGAL]
ENDS_OF_A_LEASE = [Event.RELEASED_OK, Event.RELEASED_IP_AT_FAULT, Event.RELEASED_TARGET_AT_FAULT, Event.LOCK_EXPIRED]


def an_ip_that_is(status: Status, **changes: Any) -> Ip:
    """An IP with counters, so that a counter set to 0 differs from an unchanged one."""
    until_s = {Status.LOCKED: 1040.0, Status.COOLDOWN: 1030.0}.get(status)
    past: dict[str, Any] = {
        "status": status,
        "locked_until_s": until_s,
        "locked_by": UUID(int=3) if status is Status.LOCKED else None,
        "last_used_s": 950.0,
        "total_uses": 20,
        "success_count": 9,
        "failure_count": 8,
        "consecutive_failures": 3,
        "is_healthy": status is not Status.FAILED,
        "avg_response_time_ms": 500.0,
        "last_health_check_s": 940.0,
        "lease_no": 20,
        "edit_no": 4,
        "probe_failures": 2 if status is Status.FAILED else 0,
    }
    return an_ip(**(past | changes))


def after(ip: Ip, event: Event, *, rules: Rules = RULES, response_ms: float | None = None) -> dict[str, Any]:
    """Moves `ip`; returns the changed fields with their new values."""
    before = state(ip)
    move(ip, Occurrence(event, NOW_S, REQUEST, response_ms), rules)
    return {name: value for name, value in state(ip).items() if value != before[name]}


def test_the_table_has_the_legal_pairs_and_no_other() -> None:
    assert set(TABLE) == LEGAL


@pytest.mark.parametrize(("status", "event"), ILLEGAL)
def test_a_pair_off_the_table_raises_and_changes_nothing(status: Status, event: Event) -> None:
    ip = an_ip_that_is(status)
    before = state(ip)
    with pytest.raises(IllegalTransition, match=event.value):
        move(ip, Occurrence(event, NOW_S, REQUEST, 100.0), RULES)
    assert state(ip) == before


def test_a_lease_locks_for_the_lock_s_and_counts_a_use() -> None:
    assert after(an_ip_that_is(Status.AVAILABLE), Event.LEASE) == {
        "status": Status.LOCKED,
        "locked_until_s": 1090.0,
        "locked_by": REQUEST,
        "last_used_s": NOW_S,
        "total_uses": 21,
        "lease_no": 21,
    }


def test_a_release_that_went_well_rests_and_clears_the_failures_in_a_row() -> None:
    assert after(an_ip_that_is(Status.LOCKED), Event.RELEASED_OK, response_ms=1500.0) == {
        "status": Status.COOLDOWN,
        "locked_until_s": 1060.0,
        "locked_by": None,
        "success_count": 10,
        "consecutive_failures": 0,
        "avg_response_time_ms": 600.0,  # nine of 500 and one of 1500
        "last_health_check_s": NOW_S,
    }


def test_the_first_response_time_is_the_average() -> None:
    ip = an_ip_that_is(Status.LOCKED, success_count=0, avg_response_time_ms=None)
    assert after(ip, Event.RELEASED_OK, response_ms=320.0)["avg_response_time_ms"] == 320.0


def test_a_success_without_a_time_leaves_the_average() -> None:
    assert "avg_response_time_ms" not in after(an_ip_that_is(Status.LOCKED), Event.RELEASED_OK)


def test_a_fault_of_the_ip_counts_and_rests() -> None:
    assert after(an_ip_that_is(Status.LOCKED), Event.RELEASED_IP_AT_FAULT, response_ms=9.0) == {
        "status": Status.COOLDOWN,
        "locked_until_s": 1060.0,
        "locked_by": None,
        "failure_count": 9,
        "consecutive_failures": 4,
        "last_health_check_s": NOW_S,
    }


def test_the_last_failure_in_a_row_fails_the_ip() -> None:
    ip = an_ip_that_is(Status.LOCKED, consecutive_failures=4)
    assert after(ip, Event.RELEASED_IP_AT_FAULT) == {
        "status": Status.FAILED,
        "is_healthy": False,
        "locked_until_s": 1060.0,
        "locked_by": None,
        "failure_count": 9,
        "consecutive_failures": 5,
        "last_health_check_s": NOW_S,
    }


@pytest.mark.parametrize("event", [Event.RELEASED_TARGET_AT_FAULT, Event.LOCK_EXPIRED])
def test_what_the_ip_cannot_help_moves_no_health_counter(event: Event) -> None:
    assert after(an_ip_that_is(Status.LOCKED), event, response_ms=9.0) == {
        "status": Status.COOLDOWN,
        "locked_until_s": 1060.0,
        "locked_by": None,
    }


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.FAILED])
def test_a_check_leaves_an_ip_as_it_found_it(status: Status) -> None:
    ip = an_ip_that_is(status)
    move(ip, Occurrence(Event.LEASE, 999.0, REQUEST), RULES)
    assert after(ip, Event.CHECKED) == {"status": status, "locked_until_s": None, "locked_by": None}


def test_one_that_is_reset_while_it_is_checked_is_available_then() -> None:
    ip = an_ip_that_is(Status.LOCKED, is_healthy=False)
    ip.is_healthy = True
    assert after(ip, Event.CHECKED)["status"] is Status.AVAILABLE


def test_an_expired_lock_rests_before_it_is_available() -> None:
    ip = an_ip_that_is(Status.LOCKED)
    assert after(ip, Event.LOCK_EXPIRED)["status"] is Status.COOLDOWN
    with pytest.raises(IllegalTransition):
        move(ip, Occurrence(Event.LEASE, NOW_S, REQUEST), RULES)


def test_a_rest_that_is_over_makes_available() -> None:
    assert after(an_ip_that_is(Status.COOLDOWN), Event.COOLDOWN_OVER) == {
        "status": Status.AVAILABLE,
        "locked_until_s": None,
    }


def test_a_reset_makes_a_failed_one_available_with_a_clean_row() -> None:
    assert after(an_ip_that_is(Status.FAILED), Event.RESET) == {
        "status": Status.AVAILABLE,
        "is_healthy": True,
        "consecutive_failures": 0,
        "probe_failures": 0,
    }


def test_a_probe_that_worked_brings_a_failed_one_back_with_a_clean_row() -> None:
    ip = an_ip_that_is(Status.FAILED)
    move(ip, Occurrence(Event.LEASE, 999.0, REQUEST), RULES)
    assert after(ip, Event.PROBE_WORKED) == {
        "status": Status.AVAILABLE,
        "locked_until_s": None,
        "locked_by": None,
        "is_healthy": True,
        "consecutive_failures": 0,
        "probe_failures": 0,
        "last_health_check_s": NOW_S,
    }


def test_a_probe_that_failed_is_counted_and_changes_nothing_else() -> None:
    ip = an_ip_that_is(Status.FAILED)
    move(ip, Occurrence(Event.LEASE, 999.0, REQUEST), RULES)
    assert after(ip, Event.PROBE_FAILED) == {
        "status": Status.FAILED,
        "locked_until_s": None,
        "locked_by": None,
        "probe_failures": 3,
        "last_health_check_s": NOW_S,
    }


@pytest.mark.parametrize("event", [Event.PROBE_WORKED, Event.PROBE_FAILED])
def test_the_probe_of_one_that_was_reset_meanwhile_counts_nothing(event: Event) -> None:
    ip = an_ip_that_is(Status.LOCKED)
    changed = after(ip, event)
    assert set(changed) == {"status", "locked_until_s", "locked_by", "last_health_check_s"}
    assert changed["status"] is Status.AVAILABLE


@pytest.mark.parametrize("event", [Event.PROBE_WORKED, Event.PROBE_FAILED])
def test_one_whose_row_was_deleted_while_it_was_probed_goes(event: Event) -> None:
    assert after(an_ip_that_is(Status.LOCKED, is_healthy=False, leaving=True), event)["status"] is Status.GONE


def test_a_mark_keeps_the_end_of_the_rest_and_a_reset_goes_on_with_it() -> None:
    ip = an_ip_that_is(Status.COOLDOWN)
    assert after(ip, Event.MARKED_FAILED) == {"status": Status.FAILED, "is_healthy": False}
    assert after(ip, Event.RESET) == {"status": Status.COOLDOWN, "is_healthy": True, "consecutive_failures": 0}
    assert ip.locked_until_s == 1030.0


def test_a_reset_after_the_rest_of_a_marked_one_makes_available() -> None:
    ip = an_ip_that_is(Status.FAILED, locked_until_s=NOW_S)
    assert after(ip, Event.RESET)["status"] is Status.AVAILABLE
    assert ip.locked_until_s is None


def test_a_mark_takes_an_available_one_out_of_use() -> None:
    assert after(an_ip_that_is(Status.AVAILABLE), Event.MARKED_FAILED) == {"status": Status.FAILED, "is_healthy": False}


@pytest.mark.parametrize("event", ENDS_OF_A_LEASE)
def test_one_that_was_marked_while_in_use_fails_when_its_lease_ends(event: Event) -> None:
    ip = an_ip_that_is(Status.LOCKED, is_healthy=False)
    changed = after(ip, event)
    assert (changed["status"], ip.locked_by, ip.locked_until_s) == (Status.FAILED, None, 1060.0)


def test_one_whose_endpoint_another_row_uses_rests_as_long() -> None:
    ip = an_ip_that_is(Status.AVAILABLE)
    move(ip, Occurrence(Event.ENDPOINT_USED, NOW_S, rests_until_s=1_234.0), RULES)
    assert (ip.status, ip.locked_until_s, ip.locked_by) == (Status.COOLDOWN, 1_234.0, None)


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.COOLDOWN, Status.FAILED])
def test_one_that_is_not_in_use_goes_at_once(status: Status) -> None:
    assert after(an_ip_that_is(status), Event.REMOVED) == {"status": Status.GONE}


@pytest.mark.parametrize("event", ENDS_OF_A_LEASE)
def test_one_in_use_goes_when_its_lease_ends(event: Event) -> None:
    ip = an_ip_that_is(Status.LOCKED)
    assert after(ip, Event.REMOVED) == {"leaving": True}
    assert after(ip, event)["status"] is Status.GONE
    assert (ip.locked_until_s, ip.locked_by) == (None, None)


@given(
    start=st.sampled_from([pair for pair in GRID if pair in LEGAL]),
    healthy=st.booleans(),
    leaving=st.booleans(),
    failures=st.integers(0, 9),
    rules=st.builds(Rules, st.floats(1, 900), st.floats(0, 900), st.integers(1, 9)),
    until_s=st.floats(0, 2000),
)
def test_no_step_leads_where_the_table_does_not_say(
    start: tuple[Status, Event], healthy: bool, leaving: bool, failures: int, rules: Rules, until_s: float
) -> None:
    status, event = start
    healthy = healthy if status is Status.LOCKED else status is not Status.FAILED
    ip = an_ip_that_is(
        status,
        is_healthy=healthy,
        leaving=leaving and status is Status.LOCKED,
        consecutive_failures=failures,
        locked_until_s=None if status is Status.AVAILABLE else until_s,
    )
    before = row_of(ip)
    move(ip, Occurrence(event, NOW_S, uuid4(), 10.0), rules)
    assert ip.status in TABLE[start][0]
    assert (ip.status is Status.LOCKED) == (ip.locked_by is not None)
    assert ip.status not in (Status.AVAILABLE, Status.COOLDOWN) or ip.is_healthy
    assert ip.status is not Status.AVAILABLE or ip.locked_until_s is None
    assert ip.lease_no - before.lease_no == ip.total_uses - before.total_uses == (event is Event.LEASE)
    if status is Status.LOCKED and ip.status is Status.COOLDOWN:
        assert ip.locked_until_s == NOW_S + rules.cooldown_s
