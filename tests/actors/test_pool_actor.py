"""A pool's actor on a virtual clock: its answers, their times, and its state after a crash."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.clock import Moment
from daemon.journal.entries import Entry, IpChanged
from daemon.pool.actor import BATCH_MAX, PoolActor
from daemon.pool.messages import Adopt, Lease, Message, NoIPAvailable, Release, Remove
from daemon.pool.pool import Pool
from daemon.pool.states import Event, Ip, Rules, Status
from tests.fakes.asked import Asked, clocks
from tests.fakes.ips import WALL_S, a_pool, an_ip
from tests.fakes.journal import MemoryJournal

RULES = Rules(lock_s=90, cooldown_s=60, failures_max=5, waiting_max=1000)


class Running:
    def __init__(self, pool: Pool, send: "trio.MemorySendChannel[Message]", journal: MemoryJournal) -> None:
        self.pool = pool
        self.send = send
        self.journal = journal

    def ask(self, patience_s: float = 1e6, priority: int = 0) -> Asked:
        asked = Asked(patience_s, priority)
        self.send.send_nowait(asked.message)
        return asked

    def release(self, lease: Lease, event: Event = Event.RELEASED_OK) -> None:
        self.send.send_nowait(Release(lease.ip_id, lease.lease_no, event, 800.0))


@asynccontextmanager
async def running(
    *ips: Ip, rules: Rules = RULES, now: Callable[[], Moment] = clocks, journal: MemoryJournal | None = None
) -> AsyncIterator[Running]:
    pool, journal = a_pool(*ips, rules=rules), journal or MemoryJournal()
    send, receive = trio.open_memory_channel[Message](10_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(PoolActor(pool, receive, journal, now).run, [])
        async with send:
            yield Running(pool, send, journal)
        nursery.cancel_scope.deadline = trio.current_time() + 1


def events_of(entries: list[Entry]) -> list[str]:
    return [entry.event for entry in entries if isinstance(entry, IpChanged)]


async def test_a_grant_is_answered_only_when_it_is_durable(autojump_clock: MockClock) -> None:
    async with running(an_ip()) as us:
        us.journal.delay_s = 3
        asked, began_s = us.ask(), trio.current_time()
        await trio.sleep(2.999)
        assert (asked.answered, us.journal.entries) == (False, [])
        lease = await asked.lease()
        assert trio.current_time() == began_s + 3
        assert events_of(us.journal.entries) == ["lease"]
        assert lease.locked_until_s == began_s + 90  # from the decision on, not from the answer


async def test_a_release_is_recorded_without_waiting_for_the_disk(autojump_clock: MockClock) -> None:
    async with running(an_ip()) as us:
        lease = await us.ask().lease()
        us.journal.delay_s = 1e9
        us.release(lease)
        await wait_all_tasks_blocked()
        assert events_of(us.journal.entries) == ["lease", "released_ok"]


async def test_a_rest_ends_exactly_a_cooldown_after_the_release(autojump_clock: MockClock) -> None:
    async with running(an_ip()) as us:
        lease = await us.ask().lease()
        await trio.sleep(7.25)
        us.release(lease)
        released_s = trio.current_time()
        assert (await us.ask().lease()).lease_no == 2
        assert trio.current_time() == pytest.approx(released_s + 60, abs=1e-6)


async def test_a_lock_that_nobody_gives_back_ends_exactly_then_rests(autojump_clock: MockClock) -> None:
    async with running(an_ip()) as us:
        began_s = trio.current_time()
        lease = await us.ask().lease()
        await trio.sleep_until(began_s + 89.999)
        assert us.pool.counts().locked == 1
        await trio.sleep_until(began_s + 90.001)
        assert us.pool.counts().cooldown == 1
        us.release(lease)  # too late: it must not shorten or renew the rest
        await us.ask().lease()
        assert trio.current_time() == pytest.approx(began_s + 150, abs=1e-6)
        assert events_of(us.journal.entries) == ["lease", "lock_expired", "cooldown_over", "lease"]


async def test_a_deadline_is_answered_exactly_when_it_comes(autojump_clock: MockClock) -> None:
    async with running(an_ip(), rules=Rules(cooldown_s=0)) as us:
        began_s = trio.current_time()
        await us.ask().lease()
        assert (await us.ask(patience_s=9.5).refusal()).why == "deadline"
        assert trio.current_time() == began_s + 9.5


async def test_who_waits_for_a_lease_is_refused_once_the_rest_after_it_would_end_too_late(
    autojump_clock: MockClock,
) -> None:
    async with running(an_ip(), rules=Rules(cooldown_s=2)) as us:
        began_s = trio.current_time()
        lease = await us.ask().lease()
        impatient, patient = us.ask(patience_s=8), us.ask(patience_s=20)
        assert (await impatient.refusal()).why == "too_late"
        assert trio.current_time() == pytest.approx(began_s + 6)
        us.release(lease)
        assert (await patient.lease()).lease_no == 2
        assert trio.current_time() == pytest.approx(began_s + 8)


async def test_who_waits_for_a_rest_that_an_operator_ends_with_the_ip_is_refused_at_once(
    autojump_clock: MockClock,
) -> None:
    ip = an_ip(status=Status.COOLDOWN, locked_until_s=5.0)
    async with running(ip) as us:
        waiting = us.ask(patience_s=8)
        await trio.sleep(1)
        us.send.send_nowait(Remove((ip.id,)))
        assert await waiting.refusal() == NoIPAvailable(None, "too_late")
        assert trio.current_time() == 1


async def test_a_requester_that_left_gives_its_lease_back(autojump_clock: MockClock) -> None:
    async with running(an_ip()) as us:
        asked = us.ask()
        asked.receive.close()
        await wait_all_tasks_blocked()
        assert events_of(us.journal.entries) == ["lease", "released_target_at_fault"]
        assert us.pool.counts().cooldown == 1
        began_s = trio.current_time()
        assert (await us.ask().lease()).lease_no == 2
        assert trio.current_time() == pytest.approx(began_s + 60, abs=1e-6)


async def test_a_requester_that_left_while_it_waited_costs_a_rest_and_no_more(autojump_clock: MockClock) -> None:
    async with running(an_ip()) as us:
        lease = await us.ask().lease()
        gone, here = us.ask(), us.ask()
        gone.receive.close()
        us.release(lease)
        began_s = trio.current_time()
        assert (await here.lease()).lease_no == 3
        assert trio.current_time() == pytest.approx(began_s + 120, abs=1e-6)


async def test_a_requester_that_has_its_answer_already_gives_the_second_lease_back(autojump_clock: MockClock) -> None:
    async with running(an_ip("a"), an_ip("b")) as us:
        asked = us.ask()
        us.send.send_nowait(asked.message)
        await wait_all_tasks_blocked()
        counts = us.pool.counts()
        assert (counts.locked, counts.cooldown) == (1, 1)


async def test_a_disk_that_refuses_means_no_lease_and_the_ip_rests(autojump_clock: MockClock) -> None:
    async with running(an_ip()) as us:
        us.journal.refuses = True
        assert await us.ask().refusal() == NoIPAvailable(None, "journal")
        await wait_all_tasks_blocked()
        assert us.pool.counts().cooldown == 1
        us.journal.refuses = False
        began_s = trio.current_time()
        assert (await us.ask().lease()).lease_no == 2
        assert trio.current_time() == pytest.approx(began_s + 60, abs=1e-6)


async def test_a_disk_that_refuses_answers_each_of_a_batch(autojump_clock: MockClock) -> None:
    async with running(*(an_ip(str(n)) for n in range(5)), rules=Rules(cooldown_s=1)) as us:
        us.journal.refuses = True
        asked = [us.ask(patience_s=2.5) for _ in range(12)]
        answers = [await one.refusal() for one in asked]
        assert [answer.why for answer in answers].count("journal") == 12  # five at a time, a rest apart
        assert us.pool.counts().locked == 0


async def test_a_batch_of_many_is_served_in_order_with_one_ip_each(autojump_clock: MockClock) -> None:
    many = 2 * BATCH_MAX + 10
    async with running(*(an_ip(str(n)) for n in range(many))) as us:
        us.journal.delay_s = 0.01
        asked = [us.ask() for _ in range(many)]
        leases = [await one.lease() for one in asked]
        assert len({lease.ip_id for lease in leases}) == many
        assert [lease.address for lease in leases] == [str(n) for n in range(many)]
        assert trio.current_time() == pytest.approx(0.03)  # three commits, not one for each lease


async def test_waiters_are_served_by_priority_then_arrival(autojump_clock: MockClock) -> None:
    async with running(an_ip(), rules=Rules(cooldown_s=1, waiting_max=10)) as us:
        lease = await us.ask().lease()
        order: list[str] = []

        async def wait_for(name: str, asked: Asked) -> None:
            lease = await asked.lease()
            order.append(name)
            us.release(lease)

        async with trio.open_nursery() as nursery:
            for name, priority in [("low", 5), ("first", 0), ("second", 0), ("middle", 1)]:
                nursery.start_soon(wait_for, name, us.ask(priority=priority))
            us.release(lease)
        assert order == ["first", "second", "middle", "low"]


async def test_operators_ips_join_and_leave_and_say_so(autojump_clock: MockClock) -> None:
    async with running() as us:
        ip, left = an_ip(), trio.Event()
        us.send.send_nowait(Adopt((ip,)))
        lease = await us.ask().lease()
        us.send.send_nowait(Remove((ip.id,), left.set))
        await left.wait()
        assert us.pool.counts().locked == 1
        us.release(lease)
        await wait_all_tasks_blocked()
        assert us.pool.counts().total == 0


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
async def test_a_step_of_the_wall_clock_moves_no_timer(step_s: float, autojump_clock: MockClock) -> None:
    wall_s = [WALL_S]
    async with running(an_ip(), now=lambda: Moment(trio.current_time(), wall_s[0] + trio.current_time())) as us:
        began_s = trio.current_time()
        await us.ask().lease()
        waiting = us.ask(patience_s=70)
        wall_s[0] += step_s
        assert (await waiting.refusal()).why == "too_late"
        assert trio.current_time() == began_s + 10
        lease = await us.ask().lease()
        assert trio.current_time() == pytest.approx(began_s + 150, abs=1e-6)
        wall_s[0] -= step_s
        us.release(lease)
        await us.ask().lease()
        assert trio.current_time() == pytest.approx(began_s + 210, abs=1e-6)


async def test_it_ends_when_all_senders_are_closed_and_after_what_they_sent(autojump_clock: MockClock) -> None:
    pool, journal = a_pool(an_ip(), rules=RULES), MemoryJournal()
    send, receive = trio.open_memory_channel[Message](10)
    asked = Asked()
    send.send_nowait(asked.message)
    send.close()
    await PoolActor(pool, receive, journal, clocks).run([])
    assert (await asked.lease()).lease_no == 1


async def test_an_ip_that_is_spared_is_told_of(autojump_clock: MockClock) -> None:
    told: list[object] = []
    failed = Ip(uuid4(), "a", "7000", "us", "luna", Status.FAILED, is_healthy=False, consecutive_failures=5)
    ip = Ip(uuid4(), "b", "7000", "us", "soax", consecutive_failures=4)
    pool = a_pool(failed, ip, rules=RULES)
    send, receive = trio.open_memory_channel[Message](10)
    async with trio.open_nursery() as nursery:
        actor = PoolActor(pool, receive, MemoryJournal(), clocks, spared=lambda *what: told.append(what[:2]))
        nursery.start_soon(actor.run, [])
        asked = Asked()
        await send.send(asked.message)
        lease = await asked.lease()
        await send.send(Release(lease.ip_id, lease.lease_no, Event.RELEASED_IP_AT_FAULT))
        send.close()
    assert told == [("soax", "us")]
    assert (ip.status, ip.consecutive_failures) == (Status.COOLDOWN, 5)


async def test_while_this_node_may_not_lease_requests_are_refused_at_once_and_releases_still_count(
    autojump_clock: MockClock,
) -> None:
    trusted = True
    pool, journal = a_pool(an_ip("192.0.2.1"), an_ip("192.0.2.2"), rules=RULES), MemoryJournal()
    send, receive = trio.open_memory_channel[Message](10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(PoolActor(pool, receive, journal, clocks, lambda: trusted).run, [])
        first, second = Asked(), Asked()
        send.send_nowait(first.message)
        lease = await first.lease()
        send.send_nowait(second.message)
        await second.lease()
        waits = Asked(patience_s=1_000)
        send.send_nowait(waits.message)
        await wait_all_tasks_blocked()
        trusted = False
        began_s = trio.current_time()
        send.send_nowait(Adopt(()))  # as when the node's trust ends
        assert (await waits.refusal()).why == "untrusted"
        send.send_nowait(Release(lease.ip_id, lease.lease_no, Event.RELEASED_OK, 800.0))
        late = Asked(patience_s=1_000)
        send.send_nowait(late.message)
        assert (await late.refusal()).why == "untrusted"
        assert trio.current_time() == began_s
        assert pool.counts().cooldown == 1
        trusted = True
        again = Asked(patience_s=1_000)
        send.send_nowait(again.message)
        assert (await again.lease()).ip_id == lease.ip_id
        assert trio.current_time() == began_s + RULES.cooldown_s
        nursery.cancel_scope.cancel()
