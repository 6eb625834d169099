"""The watchdog on a virtual clock: when it is fed, when it is not, and what does not count as a hang."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from daemon.host import systemd
from daemon.pool.actor import PoolActor, Publish
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Message
from daemon.pool.pool import Pool
from daemon.pool.states import Rules
from daemon.watchdog import Watchdog
from tests.fakes.asked import clocks
from tests.fakes.journal import MemoryJournal
from tests.support.logged_errors import LoggedErrors

WATCHDOG_S = 30.0
WHILE_S = 200.0
RULES = Rules(lock_s=90, cooldown_s=60)


class Parts:
    """A listener, two pools and a journal, which can hang. `notifications`: each with its time."""

    def __init__(self) -> None:
        self.notifications: list[tuple[float, tuple[str, ...]]] = []
        self.journal = ProbedJournal()
        self.listener_hangs = False
        self.listener_says: str | None = None
        self.publish: dict[str, Publish] = {}
        self.actors: dict[str, trio.CancelScope] = {}
        self.watchdog = Watchdog(WATCHDOG_S, {"listener 127.0.0.1:8080": self.listen})

    async def listen(self) -> str | None:
        if self.listener_hangs:
            await trio.sleep_forever()
        return self.listener_says

    def fed_s(self) -> list[float]:
        return [at_s for at_s, message in self.notifications if "WATCHDOG=1" in message]

    def longest_hunger_s(self, until_s: float) -> float:
        fed = [0.0, *self.fed_s(), until_s]
        return max(later - earlier for earlier, later in pairwise(fed))


class ProbedJournal(MemoryJournal):
    """How long the present commit has waited for the disk, as in JournalWriter."""

    def __init__(self) -> None:
        super().__init__()
        self._since_s: float | None = None
        self.hangs = False  # not because of the disk: a fault of the daemon

    @property
    def held_s(self) -> float:
        return 0.0 if self._since_s is None else trio.current_time() - self._since_s

    async def durable(self, *entries: object) -> bool:
        if self.hangs:
            await trio.sleep_forever()
        self._since_s = self._since_s if self._since_s is not None else trio.current_time()
        await trio.sleep(self.delay_s)
        self._since_s = None  # even if the caller was cancelled, the disk still has the commit
        return not self.refuses


@asynccontextmanager
async def watched(monkeypatch: pytest.MonkeyPatch, *, begun: bool = True) -> AsyncIterator[Parts]:
    parts = Parts()
    monkeypatch.setattr(systemd, "notify", lambda *message: parts.notifications.append((trio.current_time(), message)))
    async with trio.open_nursery() as nursery:

        async def act(pool: Pool, mailbox: "trio.MemoryReceiveChannel[Message]", publish: Publish) -> None:
            parts.publish[pool.country] = publish
            with trio.CancelScope() as parts.actors[pool.country]:
                await PoolActor(pool, mailbox, parts.journal, clocks).run([])

        directory = PoolDirectory(
            lambda country: Pool(country, RULES), lambda *actors_end: nursery.start_soon(act, *actors_end), clocks
        )
        for country in ("us", "de"):
            directory.open(country, [])
        if begun:
            parts.watchdog.begin(directory, cast(Any, parts.journal), lambda: "serving")
        stop = trio.Event()
        nursery.start_soon(parts.watchdog.run, stop)
        yield parts
        stop.set()
        directory.close()


async def test_it_is_fed_in_good_time_while_all_answer(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with watched(monkeypatch) as parts:
        await trio.sleep(WHILE_S)
        assert parts.longest_hunger_s(WHILE_S) <= WATCHDOG_S / 2, "systemd advises half of its time"
        assert {message for _, message in parts.notifications} == {("WATCHDOG=1", "STATUS=serving")}


@pytest.mark.parametrize("part", ["listener", "wrong answer", "pool", "journal"])
async def test_it_starves_when_one_part_does_not_answer(
    part: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("watchdog_not_fed")
    async with watched(monkeypatch) as parts:
        await trio.sleep(WHILE_S)
        if part == "listener":
            parts.listener_hangs = True
        elif part == "wrong answer":
            parts.listener_says = "/livez answers b'HTTP/1.1 500'"
        elif part == "pool":
            parts.actors["de"].cancel()
        else:
            parts.journal.hangs = True
        await trio.sleep(WATCHDOG_S)
        fed = len(parts.fed_s())
        await trio.sleep(WHILE_S)
        assert len(parts.fed_s()) == fed
        silent = expected_errors.named("watchdog_not_fed")[-1]["silent"]
        name = {"listener": "listener 127.0.0.1:8080", "pool": "pool de", "journal": "journal"}.get(part)
        assert list(silent) == [name or "listener 127.0.0.1:8080"]
        assert any("STATUS=not answering: " in message[0] for _, message in parts.notifications[-2:])


async def test_a_disk_that_refuses_is_no_reason_to_start_again(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with watched(monkeypatch) as parts:
        parts.journal.refuses = True
        await trio.sleep(WHILE_S)
        assert parts.longest_hunger_s(WHILE_S) <= WATCHDOG_S / 2


async def test_a_disk_that_hangs_is_no_reason_to_start_again_and_is_shown(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with watched(monkeypatch) as parts:
        parts.journal.delay_s = 10 * WHILE_S
        await trio.sleep(WHILE_S)
        assert parts.longest_hunger_s(WHILE_S) < WATCHDOG_S
        assert "the disk holds up the journal for" in parts.notifications[-1][1][1]


async def test_a_listener_that_does_not_answer_is_not_excused_by_the_disk(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("watchdog_not_fed")
    async with watched(monkeypatch) as parts:
        parts.journal.delay_s, parts.listener_hangs = 10 * WHILE_S, True
        await trio.sleep(WHILE_S)
        assert parts.fed_s() == []


async def test_a_pool_that_starts_over_without_its_database_is_excused(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with watched(monkeypatch) as parts:
        await trio.testing.wait_all_tasks_blocked()
        parts.actors["de"].cancel()
        pool = Pool("de", RULES)
        parts.publish["de"](pool, pool.view(starts_over=True))
        await trio.sleep(WHILE_S)
        assert parts.longest_hunger_s(WHILE_S) <= WATCHDOG_S / 2


async def test_a_slow_journal_that_gets_there_feeds_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with watched(monkeypatch) as parts:
        parts.journal.delay_s = 4
        await trio.sleep(WHILE_S)
        assert parts.longest_hunger_s(WHILE_S) < WATCHDOG_S


async def test_before_the_daemon_is_ready_the_start_gets_more_time_while_listeners_answer(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with watched(monkeypatch, begun=False) as parts:
        parts.journal.hangs = True  # no probe has asked for it yet
        await trio.sleep(WHILE_S)
        assert parts.longest_hunger_s(WHILE_S) <= WATCHDOG_S / 2
        assert {message for _, message in parts.notifications} == {("WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000000")}


async def test_it_ends_with_the_daemon(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async with watched(monkeypatch) as parts:
        parts.listener_hangs = True  # as closed listeners do
        await trio.sleep(1)
    notifications = len(parts.notifications)
    await trio.sleep(WHILE_S)
    assert len(parts.notifications) == notifications
