"""Requests, releases and timers through Pool.decide: which request gets which IP, and when."""

from dataclasses import replace
from uuid import UUID

import pytest
from msgspec import structs

from daemon.errors import IllegalTransition
from daemon.journal.entries import IpChanged
from daemon.pool.messages import Acquire, Counts, Decision, Lease, Release
from daemon.pool.states import Event, Ip, Rules, Status
from tests.fakes.ips import (
    RULES,
    WALL_S,
    a_pool,
    a_request,
    adopt,
    an_ip,
    at,
    granted,
    leased,
    recount,
    refused,
    released,
    row_of,
    say,
    state,
)

OK = Event.RELEASED_OK


def test_never_used_first_then_the_longest_rested() -> None:
    used_late, used_early = an_ip("late", last_used_s=20.0), an_ip("early", last_used_s=10.0)
    pool = a_pool(used_late, used_early, an_ip("new"))
    assert [leased(pool, 100).address for _ in range(3)] == ["new", "early", "late"]


def test_the_longest_rested_goes_by_the_lease_not_by_the_release() -> None:
    pool = a_pool(an_ip("a"), an_ip("b"))
    first, second = leased(pool, 0), leased(pool, 1)
    say(pool, 10, released(second))
    say(pool, 20, released(first))
    assert leased(pool, 80).address == first.address


def test_a_lease_says_what_the_trace_needs_and_is_journaled() -> None:
    ip = an_ip("192.0.2.9", port="7001", lease_no=4)
    pool = a_pool(ip)
    request = a_request()
    decision = say(pool, 100, request)
    assert decision.answers == [
        (request, Lease(ip.id, "192.0.2.9", "7001", "luna", "us", 5, 190.0, request.request_id, ends_boot_s=90.0))
    ]
    assert decision.grants
    (entry,) = decision.entries
    assert isinstance(entry, IpChanged)
    assert (entry.id, entry.event, entry.status, entry.lease_no) == (ip.id, "lease", "locked", 5)
    assert (entry.locked_until, entry.last_used_at) == (WALL_S + 190, WALL_S + 100)
    assert entry.locked_by_request == request.request_id


def test_a_lease_says_how_long_its_ip_was_unused_and_among_how_many_it_was_chosen() -> None:
    pool = a_pool(an_ip("old", last_used_s=5.0), an_ip("new", last_used_s=50.0), an_ip("never"))
    leases = [granted(say(pool, 100, a_request())) for _ in range(3)]
    told = [(lease.address, lease.unused_s, lease.choices) for each in leases for lease in each.values()]
    assert told == [("never", None, 3), ("old", 95.0, 2), ("new", 50.0, 1)]
    assert pool.leases == 3


def test_waiters_go_by_priority_then_arrival() -> None:
    pool = a_pool(*(an_ip(str(n)) for n in range(3)))
    leases = [leased(pool, 0) for _ in range(3)]
    slow, first, second = a_request(priority=1), a_request(), a_request()
    assert say(pool, 1, slow, first, second).answers == []
    order: list[UUID] = []
    for n, lease in enumerate(leases):
        say(pool, 2 + n, released(lease))
        order += granted(say(pool, 62 + n))
    assert order == [first.request_id, second.request_id, slow.request_id]


def test_who_comes_later_does_not_pass_those_who_wait() -> None:
    pool = a_pool(an_ip())
    lease = leased(pool, 0)
    early, late = a_request(), a_request()
    say(pool, 1, released(lease), early)
    decision = say(pool, 61, late)
    assert list(granted(decision)) == [early.request_id]
    assert list(pool.waiting) == [late]


def having_tried(*ips: Ip, deadline_s: float = 1e9) -> Acquire:
    return a_request(deadline_s, tried=frozenset(ip.id for ip in ips))


def test_a_request_never_gets_an_ip_that_it_has_tried() -> None:
    a, b, c = (an_ip(name) for name in "abc")
    pool = a_pool(a, b, c)
    (lease,) = granted(say(pool, 0, having_tried(a, b))).values()
    assert lease.address == "c"
    assert [leased(pool, 0).address for _ in range(2)] == ["a", "b"], "the order of the others stays"


def test_who_waits_for_an_ip_that_is_not_tried_stands_in_nobodys_way() -> None:
    a, b = an_ip("a"), an_ip("b")
    pool = a_pool(a, b, rules=replace(RULES, cooldown_s=0))
    lease_a, lease_b = leased(pool, 0), leased(pool, 0)
    picky, next_one = having_tried(a), a_request(priority=1)
    say(pool, 1, picky, next_one)
    decision = say(pool, 2, released(lease_a))
    assert {r: lease.address for r, lease in granted(decision).items()} == {next_one.request_id: "a"}
    decision = say(pool, 3, released(lease_b))
    assert {r: lease.address for r, lease in granted(decision).items()} == {picky.request_id: "b"}


def test_a_newcomer_takes_what_all_who_wait_have_tried() -> None:
    a, b = an_ip("a"), an_ip("b")
    pool = a_pool(a, b)
    leased(pool, 0)
    say(pool, 0, released(leased(pool, 0)))
    picky = having_tried(b)
    assert say(pool, 60, picky).answers == []
    newcomer = a_request()
    assert list(granted(say(pool, 61, newcomer))) == [newcomer.request_id]


@pytest.mark.parametrize(
    ("others", "deadline_s", "refused_at_once"),
    [
        ([], 200, True),
        (["failed"], 200, True),
        (["locked"], 59, True),
        (["locked"], 61, False),
        (["rests"], 69, True),
        (["rests"], 71, False),
        (["failed", "rests"], 71, False),
    ],
)
def test_who_has_tried_all_that_can_be_free_in_time_does_not_wait(
    others: list[str], deadline_s: float, refused_at_once: bool
) -> None:
    tried = an_ip("tried")
    kinds = {
        "failed": an_ip("failed", status=Status.FAILED, is_healthy=False),
        "locked": an_ip("locked", status=Status.LOCKED, locked_until_s=90.0),
        "rests": an_ip("rests", status=Status.COOLDOWN, locked_until_s=70.0),
    }
    pool = a_pool(tried, *(kinds[name] for name in others))
    say(pool, 0, released(leased(pool, 0), Event.RELEASED_IP_AT_FAULT))
    decision = say(pool, 0, having_tried(tried, deadline_s=deadline_s))
    assert [answer.why for answer in refused(decision).values()] == (["tried"] if refused_at_once else [])


def test_a_deadline_is_answered_when_it_comes_and_not_before() -> None:
    pool = a_pool(an_ip(), rules=replace(RULES, cooldown_s=0))
    leased(pool, 0)
    request = a_request(deadline_s=10)
    say(pool, 1, request)
    assert pool.next_due_s() == 10
    assert say(pool, 9.999).answers == []
    assert refused(say(pool, 10))[request.request_id].why == "deadline"
    assert (list(pool.waiting), pool.next_due_s()) == ([], 90)


def test_a_request_past_its_deadline_gets_nothing_even_with_an_ip_free() -> None:
    pool = a_pool(an_ip())
    decision = say(pool, 10, a_request(deadline_s=10))
    assert [answer.why for answer in refused(decision).values()] == ["deadline"]
    assert pool.counts().available == 1


def test_an_ip_that_frees_up_late_goes_to_who_still_waits() -> None:
    pool = a_pool(an_ip())
    lease = leased(pool, 0)
    gone, here = a_request(deadline_s=62), a_request(deadline_s=500)
    say(pool, 1, gone, here)
    say(pool, 1, released(lease))
    decision = say(pool, 100)  # both were due in between
    assert list(granted(decision)) == [here.request_id]
    assert list(refused(decision)) == [gone.request_id]


def test_more_than_may_wait_are_told_that_it_is_full() -> None:
    pool = a_pool(an_ip())
    leased(pool, 0)
    waiting = [a_request() for _ in range(3)]
    assert say(pool, 0, *waiting).answers == []
    assert [answer.why for answer in refused(say(pool, 1, a_request())).values()] == ["full"]
    assert list(pool.waiting) == waiting


def test_an_ip_that_all_who_wait_have_tried_lets_no_more_of_them_wait() -> None:
    tried, other = an_ip(), an_ip()
    pool = a_pool(tried, other, rules=replace(RULES, waiting_max=2))
    asked = [a_request(tried=frozenset({tried.id})) for _ in range(4)]
    answers = refused(say(pool, 1, *asked))
    assert {request_id: answer.why for request_id, answer in answers.items()} == {asked[3].request_id: "full"}


def test_a_refusal_says_when_the_next_ip_is_free() -> None:
    pool = a_pool(an_ip("a"), an_ip("b"))

    def until_s(tick_s: float) -> float | None:
        (answer,) = refused(say(pool, tick_s, a_request(deadline_s=tick_s))).values()
        return answer.until_s

    assert until_s(0) is None  # none is in use
    lease = leased(pool, 0)
    leased(pool, 50)
    assert until_s(55) == 150  # the older lock ends at 90 and then rests
    say(pool, 60, released(lease))
    assert until_s(61) == 120


def test_an_ip_that_joins_serves_who_waits_for_another_one() -> None:
    pool = a_pool(an_ip())
    leased(pool, 0)
    request = a_request()
    say(pool, 0, request)
    ip = an_ip("192.0.2.2")
    assert granted(say(pool, 5, adopt(ip)))[request.request_id].ip_id == ip.id


def test_nobody_waits_in_an_empty_pool() -> None:
    request = a_request()
    assert refused(say(a_pool(), 0, request))[request.request_id].why == "too_late"


def test_a_release_of_an_older_lease_changes_nothing_and_is_remarked() -> None:
    pool = a_pool(an_ip())
    old = leased(pool, 0)
    say(pool, 1, released(old))
    new = leased(pool, 61)
    for stale in (old, structs.replace(new, lease_no=99)):
        before = state(pool.ips[new.ip_id])
        decision = say(pool, 62, released(stale, Event.RELEASED_IP_AT_FAULT))
        assert (decision.entries, decision.answers, len(decision.remarks)) == ([], [], 1)
        assert f"lease {stale.lease_no}" in decision.remarks[0]
        assert state(pool.ips[new.ip_id]) == before


def test_a_second_release_of_one_lease_changes_nothing() -> None:
    pool = a_pool(an_ip())
    lease = leased(pool, 0)
    say(pool, 1, released(lease))
    before = state(pool.ips[lease.ip_id])
    decision = say(pool, 2, released(lease))
    assert len(decision.remarks) == 1
    assert state(pool.ips[lease.ip_id]) == before


def test_a_release_of_an_ip_that_nobody_knows_is_remarked() -> None:
    decision = say(a_pool(), 0, Release(UUID(int=5), 1, OK))
    assert (len(decision.remarks), decision.entries) == (1, [])


def test_a_release_by_an_event_that_is_none_raises_and_changes_nothing() -> None:
    pool = a_pool(an_ip())
    lease = leased(pool, 0)
    before = state(pool.ips[lease.ip_id]), pool.counts()
    with pytest.raises(IllegalTransition):
        pool.decide(released(lease, Event.COOLDOWN_OVER), at(1), Decision())
    assert (state(pool.ips[lease.ip_id]), pool.counts()) == before


def test_a_lock_ends_at_its_time_then_rests_a_whole_cooldown() -> None:
    pool = a_pool(an_ip())
    lease = leased(pool, 0)
    assert say(pool, 89.999).entries == []
    decision = say(pool, 90)
    assert [entry.event for entry in decision.entries if isinstance(entry, IpChanged)] == ["lock_expired"]
    assert len(decision.remarks) == 1
    assert pool.ips[lease.ip_id].locked_until_s == 150
    assert pool.counts().cooldown == 1


def test_a_lock_that_is_found_late_rests_from_then_on() -> None:
    """The process may have been suspended while the trace's connection was open."""
    pool = a_pool(an_ip())
    leased(pool, 0)
    say(pool, 1000)
    assert (pool.counts().cooldown, pool.next_due_s()) == (1, 1060)


def test_a_lock_that_ended_before_the_pool_began_rests_from_its_end() -> None:
    pool = a_pool(
        an_ip("a", status=Status.LOCKED, locked_until_s=970.0), an_ip("b", status=Status.LOCKED, locked_until_s=900.0)
    )
    say(pool, 1000)
    assert {ip.address: ip.status for ip in pool.ips.values()} == {"a": Status.COOLDOWN, "b": Status.AVAILABLE}
    assert pool.next_due_s() == 1030


def test_a_cooldown_of_zero_frees_the_ip_within_the_same_decision() -> None:
    pool = a_pool(an_ip(), rules=Rules(cooldown_s=0))
    lease, waiting = leased(pool, 0), a_request()
    decision = say(pool, 1, waiting, released(lease))
    assert list(granted(decision)) == [waiting.request_id]
    assert [e.event for e in decision.entries if isinstance(e, IpChanged)] == ["released_ok", "cooldown_over", "lease"]


def test_an_expired_lock_with_a_cooldown_of_zero_is_available_at_once() -> None:
    pool = a_pool(an_ip(), rules=Rules(cooldown_s=0))
    leased(pool, 0)
    say(pool, 90)
    assert (pool.counts().available, pool.next_due_s()) == (1, None)


def test_failures_in_a_row_take_an_ip_out_until_it_is_reset() -> None:
    pool = a_pool(an_ip(), rules=Rules(failures_max=2, cooldown_s=60))
    for tick_s in (0, 100):
        lease = leased(pool, tick_s)
        say(pool, tick_s + 1, released(lease, Event.RELEASED_IP_AT_FAULT))
    assert (pool.counts().failed, pool.next_due_s()) == (1, None)
    assert [answer.why for answer in refused(say(pool, 10_000, a_request())).values()] == ["too_late"]
    ip = pool.ips[lease.ip_id]
    row = row_of(ip, status=Status.AVAILABLE, is_healthy=True, consecutive_failures=0)
    say(pool, 10_001, adopt(row))
    assert leased(pool, 10_002).ip_id == ip.id


def test_overdue_names_what_a_timer_should_have_caught() -> None:
    pool = a_pool(
        an_ip("a", status=Status.LOCKED, locked_until_s=100.0),
        an_ip("b", status=Status.COOLDOWN, locked_until_s=200.0),
        an_ip("c", status=Status.FAILED, is_healthy=False, locked_until_s=50.0),
        an_ip("d"),
    )
    assert [say(pool, tick_s).overdue for tick_s in (101, 161, 202.5, 203)] == [0, 0, 1, 0]


def test_counts_and_repr_say_how_the_pool_stands() -> None:
    pool = a_pool(*(an_ip(str(n)) for n in range(4)), an_ip("x", status=Status.FAILED))
    leased(pool, 0)
    say(pool, 1, released(leased(pool, 0)))
    assert pool.counts() == recount(pool) == Counts(5, 2, 1, 1, 1, 0)
    assert pool.counts().utilisation_percent == 50
    assert repr(pool) == "<Pool us: 2 available, 1 locked, 1 cooldown, 1 failed, 0 waiting>"


def test_utilisation_without_a_healthy_ip_is_zero() -> None:
    assert a_pool(an_ip("x", status=Status.FAILED)).counts().utilisation_percent == 0


def test_what_is_kept_stays_bounded_however_long_it_runs() -> None:
    pool = a_pool(*(an_ip(str(n)) for n in range(4)), rules=Rules(lock_s=900, cooldown_s=1, waiting_max=10))
    holds_on: Acquire = a_request(deadline_s=1e9, priority=-1)
    for n in range(2000):
        tick_s = float(2 * n)
        decision = say(pool, tick_s, *(a_request(deadline_s=tick_s + 1, priority=1) for _ in range(8)))
        if n == 50:
            say(pool, tick_s, holds_on)  # the first request, for which no IP comes, must not hide outdated entries
            for ip in list(pool.ips.values()):
                say(pool, tick_s, adopt(row_of(ip, status=Status.FAILED, is_healthy=False)))
        for lease in granted(decision).values():
            say(pool, tick_s, released(lease))
        most = 4 * len(pool.ips) + 64
        assert max(len(heap) for heap in (pool._rested, pool._locks, pool._rests)) <= most
        assert max(len(pool.waiting._by_priority), len(pool.waiting._by_deadline)) <= 4 * 9 + 64


def test_an_ip_that_is_marked_and_reset_again_and_again_is_kept_once() -> None:
    ip = an_ip()
    pool = a_pool(ip)
    for _ in range(500):
        say(pool, 1, adopt(row_of(ip, status=Status.FAILED, is_healthy=False)))
        say(pool, 1, adopt(row_of(ip, status=Status.AVAILABLE, is_healthy=True)))
    assert len(pool._rested) <= 4 + 64
    leased(pool, 2)
    assert granted(say(pool, 3, a_request())) == {}


def test_lease_numbers_go_on_from_the_row() -> None:
    pool = a_pool(an_ip(lease_no=41))
    assert leased(pool, 0).lease_no == 42


@pytest.mark.slow
def test_each_ip_has_one_lease_with_a_thousand_requests() -> None:
    pool = a_pool(*(an_ip(str(n)) for n in range(50)), rules=Rules(waiting_max=1000))
    requests = [a_request() for _ in range(1000)]
    answers = granted(say(pool, 0, *requests))
    assert [r.request_id for r in requests[:50]] == list(answers)
    assert len({lease.ip_id for lease in answers.values()}) == 50
    assert pool.counts() == recount(pool)


def a_check(ip: Ip) -> Acquire:
    return structs.replace(a_request(), ip_id=ip.id)


def test_a_check_gets_the_ip_that_it_asks_for_and_gives_it_back_without_a_rest() -> None:
    ips = [an_ip(str(number)) for number in range(3)]
    pool = a_pool(*ips)
    (lease,) = granted(say(pool, 0, a_check(ips[1]))).values()
    assert lease.ip_id == ips[1].id
    waiting = a_request(priority=0)
    say(pool, 1, a_request(), a_request(), waiting)
    decision = say(pool, 2, released(lease, Event.CHECKED))
    assert granted(decision)[waiting.request_id].ip_id == ips[1].id, "a click that waits has it at once"


def test_a_check_gets_one_that_failed_and_a_click_never_does() -> None:
    failed = an_ip("failed", status=Status.FAILED, is_healthy=False)
    pool = a_pool(failed)
    (lease,) = granted(say(pool, 0, a_check(failed), a_request(50))).values()
    assert lease.ip_id == failed.id
    decision = say(pool, 1, released(lease, Event.CHECKED))
    assert not granted(decision)
    assert pool.counts().failed == 1


def test_a_check_has_what_is_in_use_rests_or_left_only_told() -> None:
    locked, rests, failed = an_ip("a"), an_ip("b"), an_ip("c", status=Status.FAILED, is_healthy=False)
    failed.locked_until_s = 70.0
    pool = a_pool(locked, rests, failed)
    leased(pool, 0)
    say(pool, 10, released(leased(pool, 0)))
    decision = say(pool, 10, *(a_check(ip) for ip in (locked, rests, failed, an_ip("d"))))
    answers = [(answer.why, answer.until_s) for answer in refused(decision).values()]
    assert answers == [("locked", 90.0), ("cooldown", 70.0), ("cooldown", 70.0), ("gone", None)]


def test_a_check_leaves_the_clicks_that_wait_and_those_to_come_an_ip() -> None:
    ips = [an_ip(str(number)) for number in range(10)]
    pool = a_pool(*ips)
    decision = say(pool, 0, *(a_check(ip) for ip in ips))
    assert len(granted(decision)) == 8
    assert [answer.why for answer in refused(decision).values()] == ["busy", "busy"]
