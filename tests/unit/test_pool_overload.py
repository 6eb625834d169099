"""An overloaded pool: waiting requests are served, others are refused at once, and it recovers after the load."""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from uuid import UUID

import pytest

from daemon.pool.admission import LANDED_MIN
from daemon.pool.messages import Decision, Lease, NoIPAvailable, Release, SetRules
from daemon.pool.pool import Pool
from daemon.pool.states import Event, Rules
from tests.fakes.ips import a_pool, a_request, an_ip, at, granted, leased, refused, released, say

pytestmark = pytest.mark.slow

PATIENCE_S = 9.95
TRACE_S = 3.0


@dataclass
class Play:
    """Requests at a constant rate; each lease lasts `trace_s`. `waits_s` until leases, `refused_s` until refusals."""

    pool: Pool
    trace_s: float
    now_s: float = 0.0
    asked_s: dict[UUID, float] = field(default_factory=dict)
    waits_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    releases: list[tuple[float, int, Release]] = field(default_factory=list)

    def run(self, rate: float, seconds: float) -> None:
        self.waits_s, self.refused_s = [], []
        ends_s, next_s = self.now_s + seconds, self.now_s
        while next_s < ends_s:
            self._until(next_s)
            request = a_request(next_s + PATIENCE_S)
            self.asked_s[request.request_id] = next_s
            self._say(next_s, request)
            next_s += 1 / rate
        self.now_s = ends_s

    def _until(self, moment_s: float) -> None:
        while True:
            due_s = self.pool.next_due_s()
            release_s = self.releases[0][0] if self.releases else None
            next_s = min(time_s for time_s in (due_s, release_s, moment_s) if time_s is not None)
            if next_s >= moment_s:
                return
            self._say(next_s, *([heappop(self.releases)[2]] if release_s == next_s else []))

    def _say(self, now_s: float, *messages: object) -> None:
        decision = Decision()
        self.pool.fire_timers(at(now_s), decision)
        for message in messages:
            self.pool.decide(message, at(now_s), decision)  # type: ignore[arg-type]
        counts = self.pool.counts()
        assert not (counts.available and counts.waiting)
        for request, answer in decision.answers:
            waited_s = now_s - self.asked_s[request.request_id]
            if isinstance(answer, Lease):
                self.waits_s.append(waited_s)
                heappush(
                    self.releases,
                    (
                        now_s + self.trace_s,
                        len(self.asked_s),
                        Release(answer.ip_id, answer.lease_no, Event.RELEASED_OK),
                    ),
                )
            else:
                assert isinstance(answer, NoIPAvailable)
                self.refused_s.append(waited_s)


def overloaded(ips: int, cooldown_s: float, trace_s: float, cycles: int) -> tuple[Play, float]:
    """A pool under ten times its capacity, after the initial burst; and its capacity per second."""
    pool = a_pool(*(an_ip(str(number)) for number in range(ips)), rules=Rules(cooldown_s=cooldown_s))
    play = Play(pool, trace_s)
    capacity = ips / (trace_s + cooldown_s)
    play.run(10 * capacity, 2 * (trace_s + cooldown_s + PATIENCE_S))
    play.run(10 * capacity, cycles * (trace_s + cooldown_s))
    return play, capacity


@pytest.mark.parametrize(
    ("ips", "cooldown_s", "trace_s", "cycles"),
    [(400, 60.0, 5.0, 2), (40, 2.0, 0.5, 8), (20, 0.2, 1.2, 15), (200, 30.0, 9.0, 3), (60, 0.0, 3.0, 6)],
)
def test_under_ten_times_the_load_no_ip_is_idle_and_who_is_not_served_is_told_at_once(
    ips: int, cooldown_s: float, trace_s: float, cycles: int
) -> None:
    play, _ = overloaded(ips, cooldown_s, trace_s, cycles)
    assert len(play.waits_s) >= 0.95 * ips * cycles
    slow = [refused_s for refused_s in play.refused_s if refused_s > 0]
    assert len(slow) <= 0.01 * len(play.refused_s)


@pytest.mark.parametrize(("ips", "cooldown_s", "trace_s"), [(40, 2.0, 0.5), (20, 0.2, 1.2), (60, 0.0, 3.0)])
def test_five_seconds_after_the_load_each_request_is_served_and_soon_at_once(
    ips: int, cooldown_s: float, trace_s: float
) -> None:
    play, capacity = overloaded(ips, cooldown_s, trace_s, 6)
    play.run(0.4 * capacity, 5)
    play.run(0.4 * capacity, 10)
    assert play.refused_s == []
    assert max(play.waits_s) <= PATIENCE_S / 2
    play.run(0.4 * capacity, 60)
    assert max(play.waits_s) == 0


def test_nobody_waits_where_no_ip_can_be_free_in_time() -> None:
    pool = a_pool(an_ip("a"), rules=Rules(cooldown_s=3_600))
    play = Play(pool, trace_s=1.0)
    play.run(rate=100.0, seconds=1)
    assert pool.counts().waiting == 0
    assert play.refused_s == [0.0] * 99


@pytest.mark.parametrize(("ips", "cooldown_s"), [(5, 60.0), (20, 60.0), (100, 60.0), (10, 5.0)])
def test_under_ten_times_the_load_traces_begin_early_enough_to_end_in_time(ips: int, cooldown_s: float) -> None:
    """With few IPs, the oldest waiting click would get the next IP even with too little time left for its trace."""
    play, _ = overloaded(ips, cooldown_s, TRACE_S, 8)
    in_time = [waited_s for waited_s in play.waits_s if waited_s + TRACE_S <= PATIENCE_S]
    assert len(play.waits_s) >= 0.95 * ips * 8
    assert len(in_time) >= 0.95 * len(play.waits_s)


def used(traces: int, event: Event = Event.RELEASED_OK) -> tuple[Pool, float]:
    """A pool whose only IP had some traces of TRACE_S; and when its rest ends."""
    pool, now_s = a_pool(an_ip()), 0.0
    for _ in range(traces):
        lease = leased(pool, now_s)
        say(pool, now_s + TRACE_S, released(lease, event))
        now_s += TRACE_S + pool.rules.cooldown_s
    return pool, now_s


def test_a_click_waits_for_an_ip_that_leaves_time_for_a_trace() -> None:
    pool, free_s = used(LANDED_MIN)
    click = a_request(free_s + TRACE_S + 0.5)
    assert pool.would_refuse(click.deadline_s, free_s - 6) is None
    assert say(pool, free_s - 6, click).answers == []
    assert list(granted(say(pool, free_s))) == [click.request_id]


def test_a_click_is_refused_at_once_if_its_ip_would_come_too_late_for_a_trace() -> None:
    pool, free_s = used(LANDED_MIN)
    click = a_request(free_s + TRACE_S - 0.5)
    assert pool.would_refuse(click.deadline_s, free_s - 6) == "too_late"
    assert refused(say(pool, free_s - 6, click))[click.request_id].why == "too_late"
    assert pool.would_refuse(free_s - 5, free_s - 6) == "too_late", "no time is left at all"


def test_a_wait_for_a_lease_ends_while_a_trace_would_have_no_time_left() -> None:
    pool, now_s = used(LANDED_MIN)
    say(pool, now_s, SetRules(Rules(cooldown_s=0.0)), a_request(now_s + 10))
    click = a_request(now_s + 10)
    assert say(pool, now_s, click).answers == []
    assert pool.next_due_s() == now_s + 10 - TRACE_S
    assert refused(say(pool, now_s + 10 - TRACE_S))[click.request_id].why == "too_late"


def test_an_available_ip_is_leased_however_little_time_is_left() -> None:
    pool, free_s = used(LANDED_MIN)
    say(pool, free_s)
    assert pool.would_refuse(free_s + 1, free_s) is None
    assert len(granted(say(pool, free_s, a_request(free_s + 1)))) == 1


def test_a_batch_trace_waits_until_its_deadline() -> None:
    pool, free_s = used(LANDED_MIN)
    batch = a_request(free_s + 0.5, priority=1)
    assert say(pool, free_s - 6, batch).answers == []
    assert list(granted(say(pool, free_s))) == [batch.request_id]


@pytest.mark.parametrize(("traces", "event"), [(LANDED_MIN - 1, Event.RELEASED_OK),
                                               (LANDED_MIN, Event.RELEASED_TARGET_AT_FAULT)])  # fmt: skip
def test_while_no_usual_duration_is_known_a_click_waits_until_its_deadline(traces: int, event: Event) -> None:
    pool, free_s = used(traces, event)
    click = a_request(free_s + 0.5)
    assert say(pool, free_s - 6, click).answers == []
    assert list(granted(say(pool, free_s))) == [click.request_id]
