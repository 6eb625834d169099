"""Which requests can still get an IP in time, compared with simulated futures."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from daemon.pool.messages import Adopt, Decision
from daemon.pool.pool import Pool
from daemon.pool.prospects import Supply, in_vain
from daemon.pool.queues import IpRequest
from daemon.pool.states import Ip, Rules, Status
from tests.fakes.futures import Returning, served
from tests.fakes.ips import a_request, an_ip, at, granted, refused, row_of

NOW_S = 100.0
HELD_FOR_EVER = 10_000


@dataclass(frozen=True)
class Scene:
    """A pool without an available IP. Times are whole seconds."""

    queue: list[IpRequest]
    rests: list[Ip]
    leased: list[UUID]
    checked: list[UUID]
    cooldown_s: float

    def in_vain(self, *, fastest: bool = False) -> tuple[set[int], float]:
        ends = sorted(self.rests, key=lambda ip: ip.locked_until_s or 0.0)
        supply = Supply(ends, frozenset(self.leased), frozenset(self.checked))
        places, changes_s = in_vain(self.queue, supply, NOW_S, self.cooldown_s, fastest=fastest)
        return set(places), changes_s

    def ips(self, hold: Callable[[], float]) -> list[Returning]:
        resting = [Returning(ip.id, ip.locked_until_s or 0.0, ip.last_used_s) for ip in self.rests]
        leased = [Returning(ip_id, NOW_S + hold() + self.cooldown_s, NOW_S) for ip_id in self.leased]
        checked = [Returning(ip_id, NOW_S + hold(), NOW_S) for ip_id in self.checked]
        return [*resting, *leased, *checked]


@st.composite
def scenes(draw: st.DrawFn, *, cooldowns_s: st.SearchStrategy[int], tries: bool = True, priorities: int = 1) -> Scene:
    ids = [UUID(int=number) for number in range(draw(st.integers(0, 5)))]
    kinds = [draw(st.sampled_from(["rests", "rests", "leased", "checked"])) for _ in ids]
    picks = st.frozensets(st.sampled_from(ids), max_size=2) if ids and tries else st.just(frozenset[UUID]())
    queue = [
        IpRequest(NOW_S + draw(st.integers(1, 10)), draw(st.integers(0, priorities - 1)), draw(picks))
        for _ in range(draw(st.integers(0, 5)))
    ]
    rests = [
        an_ip(
            id=ip_id,
            status=Status.COOLDOWN,
            locked_until_s=NOW_S + draw(st.integers(1, 11)),
            last_used_s=draw(st.integers(0, 5)) + ip_id.int / 10,
        )
        for ip_id, kind in zip(ids, kinds, strict=True)
        if kind == "rests"
    ]
    return Scene(
        sorted(queue, key=lambda asks: asks.priority),
        rests,
        [ip_id for ip_id, kind in zip(ids, kinds, strict=True) if kind == "leased"],
        [ip_id for ip_id, kind in zip(ids, kinds, strict=True) if kind == "checked"],
        draw(cooldowns_s),
    )


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(scenes(cooldowns_s=st.integers(10, 60), priorities=3))
def test_where_rests_are_long_exactly_those_that_no_rest_serves_wait_in_vain(scene: Scene) -> None:
    exact = Scene(scene.queue, scene.rests, scene.leased, [], scene.cooldown_s)
    ips = exact.ips(lambda: HELD_FOR_EVER)
    reached = served(exact.queue, ips, lambda ip, at_s: math.inf)
    assert exact.in_vain() == (set(range(len(exact.queue))) - reached, math.inf)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(
    scenes(cooldowns_s=st.integers(0, 12), priorities=3),
    st.lists(st.sampled_from([0, 0, 0.5, 1, 2, 3.5, 5, 8, HELD_FOR_EVER]), min_size=1, max_size=12),
    st.booleans(),
)
def test_whenever_leases_end_nobody_is_served_who_was_said_to_wait_in_vain(
    scene: Scene, holds_s: list[float], fastest: bool
) -> None:
    hopeless, _ = scene.in_vain(fastest=fastest)
    turn = iter(holds_s * 100)
    chance = Random(7)
    reached = served(
        scene.queue,
        scene.ips(lambda: next(turn)),
        lambda ip, at_s: at_s + next(turn) + max(scene.cooldown_s, 0.001),
        chance.choice if fastest else lambda free: min(free, key=lambda ip: ip.last_used_s),
    )
    assert not hopeless & reached


@settings(max_examples=400, deadline=None)
@given(scenes(cooldowns_s=st.integers(0, 12), tries=False))
def test_whoever_waits_behind_earlier_deadlines_can_be_served(scene: Scene) -> None:
    queue = [IpRequest(NOW_S + deadline_s) for deadline_s in sorted({asks.deadline_s - NOW_S for asks in scene.queue})]
    scene = Scene(queue, scene.rests, scene.leased, scene.checked, scene.cooldown_s)
    hopeless, changes_s = scene.in_vain()
    for place, asks in enumerate(queue):
        just_before_s = asks.deadline_s - 0.5
        ips = scene.ips(lambda: 0)
        for ip in ips:
            if ip.id in {*scene.leased, *scene.checked}:
                ip.free_s = max(ip.free_s, just_before_s)

        def again(ip: Returning, at_s: float, just_before_s: float = just_before_s) -> float:
            return max(just_before_s, at_s + max(scene.cooldown_s, 0.001))

        assert (place in served(queue, ips, again)) == (place not in hopeless)
    assert changes_s > NOW_S


@given(scenes(cooldowns_s=st.integers(1, 12), priorities=3))
def test_by_the_time_that_is_told_one_more_waits_in_vain(scene: Scene) -> None:
    hopeless, changes_s = scene.in_vain()
    if changes_s == math.inf or any((ip.locked_until_s or 0.0) <= changes_s for ip in scene.rests):
        return
    supply = Supply(
        sorted(scene.rests, key=lambda ip: ip.locked_until_s or 0.0), frozenset(scene.leased), frozenset(scene.checked)
    )
    queue = [asks for place, asks in enumerate(scene.queue) if place not in hopeless and asks.deadline_s > changes_s]
    before, _ = in_vain(queue, supply, math.nextafter(changes_s, 0), scene.cooldown_s)
    after, _ = in_vain(queue, supply, changes_s, scene.cooldown_s)
    assert before == []
    assert after or all(asks.deadline_s > changes_s for asks in queue)


def test_a_draw_for_the_request_ahead_may_leave_the_untried_ip_to_a_retried_request() -> None:
    first, second = (an_ip(status=Status.COOLDOWN, locked_until_s=NOW_S + 1) for _ in range(2))
    queue = [IpRequest(NOW_S + 2), IpRequest(NOW_S + 2, tried=frozenset({second.id}))]
    scene = Scene(queue, [first, second], [], [], cooldown_s=60)
    assert scene.in_vain(fastest=False) == ({1}, math.inf)
    assert scene.in_vain(fastest=True)[0] == set()


def test_as_many_may_wait_for_one_leased_ip_as_it_can_serve_in_turn() -> None:
    scene = Scene([IpRequest(NOW_S + 10)] * 6, [], [UUID(int=1)], [], cooldown_s=2)
    assert scene.in_vain() == ({4, 5}, NOW_S + 10 - 4 * 2)  # at 2, 4, 6 and 8 s at best


LONG = Rules(cooldown_s=60, waiting_max=1_000)


def resting(*ends_s: float) -> Pool:
    pool = Pool("us", LONG)
    pool.load(an_ip(str(n), status=Status.COOLDOWN, locked_until_s=end_s) for n, end_s in enumerate(ends_s))
    return pool


def test_as_many_wait_as_rests_end_in_time_and_the_next_one_is_refused_at_once() -> None:
    pool, decision = resting(5.0, 7.0, 12.0), Decision()
    asked = [a_request(deadline_s=10) for _ in range(3)]
    for request in asked:
        pool.decide(request, at(0), decision)
    assert [answer.why for answer in refused(decision).values()] == ["too_late"]
    assert list(pool.waiting) == asked[:2]
    pool.fire_timers(at(7), decision)
    assert list(granted(decision)) == [request.request_id for request in asked[:2]]


def test_who_is_overtaken_by_a_higher_priority_is_refused_when_that_is_certain() -> None:
    pool, decision = resting(5.0), Decision()
    slow, fast = a_request(deadline_s=10, priority=1), a_request(deadline_s=9)
    pool.decide(slow, at(0), decision)
    assert decision.answers == []
    pool.decide(fast, at(1), decision)
    assert list(refused(decision)) == [slow.request_id]
    assert list(pool.waiting) == [fast]


def test_who_gets_nothing_when_a_timer_comes_late_is_refused_then() -> None:
    """Both rests are over when the late timer fires: the first request gets another IP than forecast."""
    tried, other = resting(5.0, 6.0).ips.values()
    tried.last_used_s, other.last_used_s = -1.0, -2.0
    pool, decision = Pool("us", LONG), Decision()
    pool.load([tried, other])
    first, picky = a_request(deadline_s=10), a_request(deadline_s=10, tried=frozenset({tried.id}))
    for request in (first, picky):
        pool.decide(request, at(0), decision)
    assert decision.answers == []
    pool.fire_timers(at(7), decision)
    assert granted(decision)[first.request_id].ip_id == other.id
    assert refused(decision)[picky.request_id].why == "tried"


def test_an_ip_under_a_check_counts_through_a_mark_and_a_reset_by_an_operator() -> None:
    """A check needs no rest, so the IP may be free at any moment."""
    ip = an_ip()
    pool, decision = Pool("us", LONG), Decision()
    pool.load([ip])
    pool.decide(structs.replace(a_request(deadline_s=5), ip_id=ip.id), at(0), decision)
    marked = row_of(ip, status=Status.FAILED, is_healthy=False)
    pool.decide(Adopt((marked,)), at(1), decision)
    assert pool.would_refuse(10, 1) == "too_late"
    pool.decide(Adopt((row_of(ip, status=Status.AVAILABLE, is_healthy=True),)), at(2), decision)
    assert pool.would_refuse(10, 2) is None


@pytest.mark.parametrize("would", [False, True])
def test_a_click_is_told_before_it_asks(would: bool) -> None:
    pool = resting(5.0, 20.0)
    if would:
        pool.decide(a_request(deadline_s=10), at(0), Decision())
    assert pool.would_refuse(10, 0) == ("too_late" if would else None)


def test_many_resting_ips_are_not_looked_at_for_a_request() -> None:
    looked_at = 0
    pool = Pool("us", LONG)
    pool.load(an_ip(str(n), status=Status.COOLDOWN, locked_until_s=11.0 + n / 1_000) for n in range(20_000))
    original = pool._rests._current

    def counting(entry: tuple[float, int, UUID]) -> Ip | None:
        nonlocal looked_at
        looked_at += 1
        return original(entry)

    pool._rests._current = counting  # type: ignore[method-assign]
    for second in range(10):
        decision = Decision()
        pool.decide(a_request(deadline_s=10.5), at(second), decision)
        assert len(refused(decision)) == 1
    assert looked_at < 50
