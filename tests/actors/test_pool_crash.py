"""A pool actor that raises: the next run handles the unanswered messages, after a reload from the journaled rows."""

from collections import Counter, defaultdict
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from daemon.clock import Moment
from daemon.journal.entries import Entry, IpChanged
from daemon.pool.actor import PoolActor
from daemon.pool.messages import Acquire, Decision, Lease, Message, Release
from daemon.pool.pool import Pool
from daemon.pool.states import Event, Ip, Rules, Status
from tests.fakes.asked import Asked, clocks
from tests.fakes.ips import WALL_S, an_ip, row_of
from tests.fakes.journal import MemoryJournal

RULES = Rules(lock_s=90, cooldown_s=60, failures_max=5, waiting_max=1000)


class Crash(Exception):
    """A simulated bug."""


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
    """The rows after all journaled entries are applied."""
    rows = {ip.id: row_of(ip, edit_no=ip.edit_no) for ip in ips}
    for entry in entries:
        assert isinstance(entry, IpChanged)
        row = rows[entry.id]
        row.status, row.locked_by, row.lease_no = Status(entry.status), entry.locked_by_request, entry.lease_no
        row.locked_until_s = None if entry.locked_until is None else entry.locked_until - WALL_S
        row.last_used_s = row.last_used_s if entry.last_used_at is None else entry.last_used_at - WALL_S
        row.total_uses += entry.uses
        row.success_count += entry.successes
    return list(rows.values())


class History:
    """Twelve requests for three IPs, each leased for 10 s. Compares each lease with all earlier ones."""

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
async def test_a_crash_at_any_message_loses_that_one_only_and_doubles_no_lease(
    nth: int, after: bool, autojump_clock: MockClock
) -> None:
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


async def test_a_crash_of_the_journal_hands_over_every_request(autojump_clock: MockClock) -> None:
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


async def test_a_waiter_whose_grant_a_crash_swallowed_is_handed_over(autojump_clock: MockClock) -> None:
    pool, journal = Pool("us", RULES), MemoryJournal()
    pool.load([an_ip(status=Status.COOLDOWN, locked_until_s=trio.current_time() + 30)])
    send, receive = trio.open_memory_channel[Message](10)
    waiter = Asked()
    send.send_nowait(waiter.message)
    journal.raises = Crash()
    actor = PoolActor(pool, receive, journal, clocks)
    with pytest.raises(Crash):
        await actor.run([])
    assert trio.current_time() == pytest.approx(30)
    assert (list(pool.waiting), actor.unfinished()) == ([], [waiter.message])
