"""Selection with pool.selection = "fastest": well-rested IPs, fast ones more often, at a bounded cost."""

from collections import Counter
from random import Random
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.pool.messages import Lease, NoIPAvailable
from daemon.pool.pool import Pool
from daemon.pool.queues import HEAP_MIN, SAMPLE_MAX, IpHeap, drawn, fast_one
from daemon.pool.states import Event, Ip, Rules, Status
from tests.fakes.ips import a_pool, a_request, an_ip, leased, released, say

FASTEST = Rules(lock_s=90, cooldown_s=60, fastest=True)


def ips_by_ms(*speeds_ms: float | None, last_used_s: float = 0.0) -> list[Ip]:
    return [an_ip(f"{ms}", last_used_s=last_used_s, avg_response_time_ms=ms) for ms in speeds_ms]


def shares(ips: list[Ip], draws: int = 6_000) -> dict[str, float]:
    chance = Random(3).random
    taken = Counter(ip.address for _ in range(draws) if (ip := drawn(ips, chance())))
    return {address: count / draws for address, count in taken.items()}


def test_one_that_answers_in_half_the_time_is_taken_twice_as_often() -> None:
    tired = ips_by_ms(1.0, 1.0, 1.0, last_used_s=9.0)
    found = shares([*ips_by_ms(200.0, 400.0, 800.0), *tired])
    assert found == {
        "200.0": pytest.approx(4 / 7, abs=0.03),
        "400.0": pytest.approx(2 / 7, abs=0.03),
        "800.0": pytest.approx(1 / 7, abs=0.03),
    }


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.floats(0, 1, exclude_max=True))
def test_only_the_half_that_rested_longest_is_drawn_from(used_s: list[float], chance: float) -> None:
    ips = [an_ip(f"{n}", last_used_s=at_s, avg_response_time_ms=1.0 + n) for n, at_s in enumerate(used_s)]
    ip = drawn(ips, chance)
    assert ip is not None
    assert ip.last_used_s <= sorted(used_s)[(len(used_s) - 1) // 2]


def test_one_that_was_never_measured_counts_as_the_fastest_until_it_fails() -> None:
    tired = ips_by_ms(1.0, 1.0, 1.0, last_used_s=9.0)
    fresh, fast, slow = ips_by_ms(None, 100.0, 900.0)
    found = shares([fresh, fast, slow, *tired])
    assert found["None"] == pytest.approx(found["100.0"], abs=0.03)
    fresh.consecutive_failures = 4
    found = shares([fresh, fast, slow, *tired])
    assert found["None"] == pytest.approx(found["100.0"] / 5, abs=0.03)


@pytest.mark.parametrize("odd_ms", [0.0, -5.0, float("nan"), float("inf")])
def test_a_mean_that_is_none_still_leaves_a_choice(odd_ms: float) -> None:
    for chance in (0.0, 0.5, 0.999):
        assert drawn(ips_by_ms(odd_ms, odd_ms), chance) is not None
    assert drawn([], 0.5) is None


def test_what_is_drawn_goes_by_the_given_chance_alone() -> None:
    def order(seed: int) -> list[str]:
        pool = a_pool(*ips_by_ms(*(100.0 + n for n in range(200))), rules=FASTEST, chance=Random(seed).random)
        return [leased(pool, second).address for second in range(50)]

    assert order(1) == order(1) != order(2)


@pytest.mark.parametrize("count", [1, 2, 5, 300])
def test_an_ip_that_was_tried_is_not_taken_again_and_no_other_is_missed(count: int) -> None:
    pool = Pool("us", FASTEST, chance=Random(1).random)
    ips = ips_by_ms(*(100.0 + n for n in range(count)))
    pool.load(ips)
    tried = frozenset(ip.id for ip in ips[: min(3, count)])
    for _ in range(count - len(tried)):
        request = a_request(1e9, tried=tried)
        ((_, answer),) = say(pool, 0, request).answers
        assert isinstance(answer, Lease)
        assert answer.ip_id not in tried
    ((_, answer),) = say(pool, 0, a_request(10, tried=tried)).answers
    assert isinstance(answer, NoIPAvailable)


@pytest.mark.parametrize("count", [10, 1_000, 20_000])
def test_however_many_there_are_only_a_few_are_looked_at(count: int) -> None:
    ips = {ip.id: ip for ip in (Ip(uuid4(), f"{n}", "7000", "us", "luna", last_used_s=n) for n in range(count))}
    looked = Counter[str]()

    def key(ip: Ip) -> float:
        looked["at"] += 1
        return ip.last_used_s

    rested = IpHeap(ips, Status.AVAILABLE, key)
    for ip in ips.values():
        rested.put(ip)
    looked.clear()
    chance = Random(1).random
    draws = [fast_one(rested, count, frozenset(), chance) for _ in range(200)]
    assert None not in draws
    assert looked["at"] <= 200 * max(4 * SAMPLE_MAX, 2 * SAMPLE_MAX + HEAP_MIN)
    ranks = sorted(ip.last_used_s / count for ip in draws if ip)
    assert ranks[len(ranks) // 2] < 0.5
    assert ranks[-1] < 0.8


def test_leases_for_hours_leave_no_heap_that_grows() -> None:
    pool = a_pool(*ips_by_ms(*(50.0 + 10 * n for n in range(100))), rules=FASTEST, chance=Random(1).random)
    uses = Counter[str]()
    for second in range(0, 10_000, 2):
        lease = leased(pool, second)
        uses[lease.address] += 1
        say(pool, second + 1, released(lease, Event.RELEASED_TARGET_AT_FAULT))
    assert len(pool._rested) <= 2 * 100 + HEAP_MIN
    assert len(uses) == 100
    fast, slow = (sum(uses[f"{50.0 + 10 * n}"] for n in which) for which in (range(10), range(90, 100)))
    assert fast > 1.5 * slow  # no more, as one that was used waits until it is well-rested again
