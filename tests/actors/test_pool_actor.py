"""The actor around a pool, on a virtual clock: what is answered when, and what outlives a crash."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.journal.entries import Entry, IpChanged
from daemon.moment import Moment
from daemon.pool.actor import BATCH_MAX, PoolActor
from daemon.pool.messages import Acquire, Adopt, Lease, Message, NoIPAvailable, Release, Remove
from daemon.pool.pool import Decision, Pool
from daemon.pool.states import Event, Ip, Rules, Status
from tests.fakes.ips import WALL_S, an_ip, row_of
from tests.fakes.journal import MemoryJournal

RULES = Rules(lock_s=90, cooldown_s=60, failures_max=5, waiting_max=1000)
pytestmark = pytest.mark.usefixtures("autojump_clock")


def clocks() -> Moment:
    return Moment(trio.current_time(), WALL_S + trio.current_time())


class Asked:
    """A request on its way, and the end on which its answer comes."""

    def __init__(self, patience_s: float = 1e6, priority: int = 0) -> None:
        self.send, self.receive = trio.open_memory_channel[Lease | NoIPAvailable](1)
        self.message = Acquire(uuid4(), trio.current_time() + patience_s, self.send, priority)

    async def lease(self) -> Lease:
        answer = await self.receive.receive()
        assert isinstance(answer, Lease)
        return answer

    async def refusal(self) -> NoIPAvailable:
        answer = await self.receive.receive()
        assert isinstance(answer, NoIPAvailable)
        return answer

    @property
    def answered(self) -> bool:
        return self.receive.statistics().current_buffer_used > 0


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
    pool, journal = Pool("us", rules), journal or MemoryJournal()
    pool.load(ips)
    send, receive = trio.open_memory_channel[Message](10_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(PoolActor(pool, receive, journal, now).run, [])
        async with send:
            yield Running(pool, send, journal)
        nursery.cancel_scope.deadline = trio.current_time() + 1


def told(entries: list[Entry]) -> list[str]:
    return [entry.event for entry in entries if isinstance(entry, IpChanged)]


async def test_a_grant_is_answered_only_when_it_is_durable() -> None:
    async with running(an_ip()) as us:
        us.journal.delay_s = 3
        asked, began_s = us.ask(), trio.current_time()
        await trio.sleep(2.999)
        assert (asked.answered, us.journal.entries) == (False, [])
        lease = await asked.lease()
        assert trio.current_time() == began_s + 3
        assert told(us.journal.entries) == ["lease"]
        assert lease.locked_until_s == began_s + 90  # from the decision on, not from the answer


async def test_a_release_is_recorded_without_waiting_for_the_disk() -> None:
    async with running(an_ip()) as us:
        lease = await us.ask().lease()
        us.journal.delay_s = 1e9
        us.release(lease)
        await wait_all_tasks_blocked()
        assert told(us.journal.entries) == ["lease", "released_ok"]


async def test_a_rest_ends_exactly_a_cooldown_after_the_release() -> None:
    async with running(an_ip()) as us:
        lease = await us.ask().lease()
        await trio.sleep(7.25)
        us.release(lease)
        released_s = trio.current_time()
        assert (await us.ask().lease()).lease_no == 2
        assert trio.current_time() == pytest.approx(released_s + 60, abs=1e-6)


async def test_a_lock_that_nobody_gives_back_ends_exactly_then_rests() -> None:
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
        assert told(us.journal.entries) == ["lease", "lock_expired", "cooldown_over", "lease"]


async def test_a_deadline_is_answered_exactly_when_it_comes() -> None:
    async with running() as us:
        began_s = trio.current_time()
        assert await us.ask(patience_s=9.5).refusal() == NoIPAvailable(None, "deadline")
        assert trio.current_time() == began_s + 9.5


async def test_a_requester_that_left_gives_its_lease_back() -> None:
    async with running(an_ip()) as us:
        asked = us.ask()
        asked.receive.close()
        await wait_all_tasks_blocked()
        assert told(us.journal.entries) == ["lease", "released_target_at_fault"]
        assert us.pool.counts().cooldown == 1
        began_s = trio.current_time()
        assert (await us.ask().lease()).lease_no == 2
        assert trio.current_time() == pytest.approx(began_s + 60, abs=1e-6)


async def test_a_requester_that_left_while_it_waited_costs_a_rest_and_no_more() -> None:
    async with running(an_ip()) as us:
        lease = await us.ask().lease()
        gone, here = us.ask(), us.ask()
        gone.receive.close()
        us.release(lease)
        began_s = trio.current_time()
        assert (await here.lease()).lease_no == 3
        assert trio.current_time() == pytest.approx(began_s + 120, abs=1e-6)


async def test_a_requester_that_has_its_answer_already_gives_the_second_lease_back() -> None:
    async with running(an_ip("a"), an_ip("b")) as us:
        asked = us.ask()
        us.send.send_nowait(asked.message)
        await wait_all_tasks_blocked()
        counts = us.pool.counts()
        assert (counts.locked, counts.cooldown) == (1, 1)


async def test_a_disk_that_refuses_means_no_lease_and_the_ip_rests() -> None:
    async with running(an_ip()) as us:
        us.journal.refuses = True
        assert await us.ask().refusal() == NoIPAvailable(None, "journal")
        await wait_all_tasks_blocked()
        assert us.pool.counts().cooldown == 1
        us.journal.refuses = False
        began_s = trio.current_time()
        assert (await us.ask().lease()).lease_no == 2
        assert trio.current_time() == pytest.approx(began_s + 60, abs=1e-6)


async def test_a_disk_that_refuses_answers_each_of_a_batch() -> None:
    async with running(*(an_ip(str(n)) for n in range(5)), rules=Rules(cooldown_s=1)) as us:
        us.journal.refuses = True
        asked = [us.ask(patience_s=2.5) for _ in range(12)]
        answers = [await one.refusal() for one in asked]
        assert [answer.why for answer in answers].count("journal") == 12  # five at a time, a rest apart
        assert us.pool.counts().locked == 0


async def test_a_batch_of_many_is_served_in_order_with_one_ip_each() -> None:
    many = 2 * BATCH_MAX + 10
    async with running(*(an_ip(str(n)) for n in range(many))) as us:
        us.journal.delay_s = 0.01
        asked = [us.ask() for _ in range(many)]
        leases = [await one.lease() for one in asked]
        assert len({lease.ip_id for lease in leases}) == many
        assert [lease.address for lease in leases] == [str(n) for n in range(many)]
        assert trio.current_time() == pytest.approx(0.03)  # three commits, not one for each lease


async def test_waiters_are_served_by_priority_then_arrival() -> None:
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


async def test_operators_ips_join_and_leave_and_say_so() -> None:
    async with running() as us:
        asked, ip, left = us.ask(), an_ip(), trio.Event()
        us.send.send_nowait(Adopt((ip,)))
        lease = await asked.lease()
        us.send.send_nowait(Remove((ip.id,), left.set))
        await left.wait()
        assert us.pool.counts().locked == 1
        us.release(lease)
        await wait_all_tasks_blocked()
        assert us.pool.counts().total == 0


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
async def test_a_step_of_the_wall_clock_moves_no_timer(step_s: float) -> None:
    wall_s = [WALL_S]
    async with running(an_ip(), now=lambda: Moment(trio.current_time(), wall_s[0] + trio.current_time())) as us:
        began_s = trio.current_time()
        await us.ask().lease()
        waiting = us.ask(patience_s=10)
        wall_s[0] += step_s
        assert (await waiting.refusal()).why == "deadline"
        assert trio.current_time() == began_s + 10
        lease = await us.ask().lease()
        assert trio.current_time() == pytest.approx(began_s + 150, abs=1e-6)
        wall_s[0] -= step_s
        us.release(lease)
        await us.ask().lease()
        assert trio.current_time() == pytest.approx(began_s + 210, abs=1e-6)


async def test_it_ends_when_all_senders_are_closed_and_after_what_they_sent(autojump_clock: MockClock) -> None:
    pool, journal = Pool("us", RULES), MemoryJournal()
    pool.load([an_ip()])
    send, receive = trio.open_memory_channel[Message](10)
    asked = Asked()
    send.send_nowait(asked.message)
    send.close()
    await PoolActor(pool, receive, journal, clocks).run([])
    assert (await asked.lease()).lease_no == 1


class Crash(Exception):
    """A bug, for once."""


class FragilePool(Pool):
    """Raises at its nth message: before it decides, or after, with the pool changed and nothing journaled."""

    def arm(self, nth: int, *, after: bool) -> None:
        self.left, self.after = nth, after

    def decide(self, message: Message, now: Moment, decision: Decision) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Crash
        super().decide(message, now, decision)
        if self.left == 0:
            raise Crash


def from_journal(ips: list[Ip], entries: list[Entry]) -> list[Ip]:
    """The rows as PostgreSQL has them once all that was journaled is applied."""
    rows = {ip.id: row_of(ip, edit_no=ip.edit_no) for ip in ips}
    for entry in entries:
        assert isinstance(entry, IpChanged)
        row = rows[entry.id]
        row.status, row.locked_by, row.lease_no = Status(entry.status), entry.locked_by_request, entry.lease_no
        row.locked_until_s = None if entry.locked_until is None else entry.locked_until - WALL_S
        row.last_used_s = row.last_used_s if entry.last_used_at is None else entry.last_used_at - WALL_S
        row.total_uses, row.success_count = entry.total_uses, entry.success_count
    return list(rows.values())


class History:
    """Twelve requests for three IPs, each held for 10 s. Checks each lease against all that were given before."""

    def __init__(self) -> None:
        self.ends_s: dict[UUID, float] = defaultdict(lambda: -1.0)
        self.outcomes: Counter[str] = Counter()

    async def trace(self, send: "trio.MemorySendChannel[Message]", nth: int) -> None:
        await trio.sleep(nth % 4)
        asked = Asked(patience_s=900)
        with trio.move_on_after(1000):
            await send.send(asked.message)
            answer = await asked.receive.receive()
            assert isinstance(answer, Lease)
            self.outcomes["leased"] += 1
            assert trio.current_time() >= self.ends_s[answer.ip_id]
            self.ends_s[answer.ip_id] = float("inf")
            await trio.sleep(10)
            await send.send(Release(answer.ip_id, answer.lease_no, Event.RELEASED_OK))
            self.ends_s[answer.ip_id] = trio.current_time() + RULES.cooldown_s
            return
        self.outcomes["never answered"] += 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("nth", range(1, 26))
async def test_a_crash_at_any_message_loses_that_one_only_and_doubles_no_lease(nth: int, after: bool) -> None:
    ips, journal, history = [an_ip(str(n)) for n in range(3)], MemoryJournal(), History()
    journal.delay_s = 0.01
    send, receive = trio.open_memory_channel[Message](100)
    crashes: list[type[Message]] = []

    async def restarted() -> None:
        pool, first = FragilePool("us", RULES), list[Message]()
        pool.arm(nth, after=after)
        pool.load(ips)
        while True:
            actor = PoolActor(pool, receive, journal, clocks)
            try:
                await actor.run(first)
                return
            except Crash:
                crashes.append(type(actor._batch[actor._at]))
                poison, first = actor._batch[actor._at], actor.unfinished()
                assert not any(message is poison for message in first)
                await trio.sleep(0.5)  # the rows are loaded
                pool = FragilePool("us", RULES)
                pool.arm(-1, after=after)
                pool.load(from_journal(ips, journal.entries))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarted)
        async with trio.open_nursery() as traces:
            for n in range(12):
                traces.start_soon(history.trace, send, n)
        send.close()
    expected = {"leased": 11, "never answered": 1} if crashes == [Acquire] else {"leased": 12}
    assert history.outcomes == expected
    assert len(crashes) == (nth <= 24)


async def test_a_crash_of_the_journal_hands_over_every_request() -> None:
    pool, journal = Pool("us", RULES), MemoryJournal()
    pool.load([an_ip()])
    send, receive = trio.open_memory_channel[Message](10)
    asked = [Asked() for _ in range(3)]
    for one in asked:
        send.send_nowait(one.message)
    journal.raises = Crash()
    actor = PoolActor(pool, receive, journal, clocks)
    with pytest.raises(Crash):
        await actor.run([])
    assert {id(message) for message in actor.unfinished()} == {id(one.message) for one in asked}
