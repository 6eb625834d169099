"""Crashed actors are logged and restarted after growing pauses; a pool's actor reloads the rows."""

from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
import trio.testing
from msgspec.structs import asdict

from daemon.clock import Moment
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import IpChanged
from daemon.nodes.owned import Reading, Tenure
from daemon.pauses import CALM_S, PAUSE_MAX_S, PAUSE_MIN_S
from daemon.pool.actor import PoolActor, Publish
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Acquire, Decision, Lease, Message, NoIPAvailable, Release, StartOver
from daemon.pool.pool import Pool
from daemon.pool.rows import ip_from_row
from daemon.pool.states import Event, Ip, Rules
from daemon.restarts import restarted, run_pool_actor
from daemon.troubles import Troubles
from tests.fakes.entries import of_kind
from tests.fakes.journal import MemoryJournal
from tests.support.logged_errors import LoggedErrors

WALL_S = 1_700_000_000.0
RULES = Rules(lock_s=90, cooldown_s=60)


def now() -> Moment:
    return Moment(trio.current_time(), WALL_S + trio.current_time())


class Crashing:
    """An actor that raises after `lives_s`; `runs` are its start times."""

    def __init__(self, lives_s: float, returns_at_run: int = 1_000) -> None:
        self.lives_s = lives_s
        self.returns_at_run = returns_at_run
        self.runs: list[float] = []

    async def run(self, *args: Any) -> None:
        self.runs.append(trio.current_time())
        await trio.sleep(self.lives_s)
        if len(self.runs) < self.returns_at_run:
            raise ZeroDivisionError("on purpose")


async def test_an_actor_is_never_given_up_and_its_pauses_grow_to_a_bound(
    expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("actor_crashed")
    actor = Crashing(lives_s=1, returns_at_run=30)
    await restarted("shipper", actor.run)
    pauses_s = [later - earlier - 1 for earlier, later in pairwise(actor.runs)]
    assert pauses_s[:4] == pytest.approx([PAUSE_MIN_S, 2 * PAUSE_MIN_S, 4 * PAUSE_MIN_S, 8 * PAUSE_MIN_S])
    assert pauses_s[-1] == pytest.approx(PAUSE_MAX_S)
    assert max(pauses_s) == pytest.approx(PAUSE_MAX_S)
    crashes = expected_errors.named("actor_crashed")
    assert len(crashes) == 29
    assert {crash["actor"] for crash in crashes} == {"shipper"}
    assert all(isinstance(crash["exc_info"], ZeroDivisionError) for crash in crashes)


async def test_after_a_calm_time_the_pause_is_the_shortest_again(
    expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("actor_crashed")
    actor = Crashing(lives_s=CALM_S + 1, returns_at_run=50)
    await restarted("shipper", actor.run)
    assert {round(later - earlier - actor.lives_s, 3) for earlier, later in pairwise(actor.runs)} == {PAUSE_MIN_S}


async def test_each_run_gets_what_is_made_for_it(
    expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("actor_crashed")
    made = iter(range(10))
    got: list[int] = []

    async def run(number: int) -> None:
        got.append(number)
        if number < 3:
            raise ZeroDivisionError

    await restarted("worker 1", run, lambda: next(made))
    assert got == [0, 1, 2, 3]


async def test_a_cancel_is_no_crash(autojump_clock: trio.testing.MockClock) -> None:
    actor = Crashing(lives_s=1_000)
    with trio.move_on_after(1) as scope:
        await restarted("shipper", actor.run)
    assert scope.cancelled_caught
    assert len(actor.runs) == 1


class Table:
    """The rows after all journaled entries are applied."""

    def __init__(self, journal: MemoryJournal, ips: list[Ip]) -> None:
        self._journal = journal
        self._first = {ip.id: ip for ip in ips}
        self.loads = 0
        self.away = 0

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()

    async def work(self, unit: Any, tenure: Tenure, moment: Moment, names: list[str]) -> Reading:
        await trio.lowlevel.checkpoint()
        self.loads += 1
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable
        return Reading(tenure, [ip_from_row(self._row(ip_id), moment) for ip_id in self._first])

    def _row(self, ip_id: UUID) -> dict[str, Any]:
        ip = self._first[ip_id]
        row: dict[str, Any] = {
            "id": ip_id,
            "ip_address": ip.address,
            "ip_port": ip.port,
            "country": ip.country,
            "provider": ip.provider,
            "status": "available",
            "locked_until": None,
            "locked_by_request": None,
            "last_used_at": None,
            "avg_response_time_ms": None,
            "last_health_check": None,
            "is_healthy": True,
            "edit_no": 0,
            "probe_failures": 0,
            "username": None,
            "password": None,
        }
        row |= dict.fromkeys(
            ("total_uses", "success_count", "failure_count", "consecutive_failures", "lease_no", "probe_failures"), 0
        )
        for entry in of_kind(IpChanged, self._journal.entries):
            if entry.id == ip_id:
                row |= {name: value for name, value in asdict(entry).items() if name != "event"}
        return row


class Holder:
    """A member that has its claim."""

    async def tenure(self) -> Tenure:
        await trio.lowlevel.checkpoint()
        return Tenure(uuid4(), uuid4(), term=1, beat=1)


class Poison:
    """Makes Pool.decide raise on its `nth` message, before or after the message has had its effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nth: int, *, after: bool = False) -> None:
        self.nth = nth
        self.decided = 0
        decide = Pool.decide

        def decide_or_raise(pool: Pool, message: Message, moment: Moment, decision: Decision) -> None:
            self.decided += 1
            if self.decided == self.nth and not after:
                raise ZeroDivisionError("on purpose")
            decide(pool, message, moment, decision)
            if self.decided == self.nth:
                raise ZeroDivisionError("on purpose")

        monkeypatch.setattr(Pool, "decide", decide_or_raise)


class Scene:
    """A country with `count` IPs and its actor, as the supervisor runs it."""

    def __init__(self, nursery: trio.Nursery, count: int) -> None:
        ips = [Ip(uuid4(), f"198.51.100.{number}", "7000", "us", "luna") for number in range(1, count + 1)]
        self.journal = MemoryJournal()
        self.table = Table(self.journal, ips)
        self.directory = PoolDirectory(lambda country: Pool(country, RULES), self._start, now)
        self._nursery = nursery
        self.wall_set_s = 0.0  # how far the wall clock was set
        self.post = self.directory.open("us", [ip_from_row(self.table._row(ip.id), now()) for ip in ips])

    def _start(self, pool: Pool, mailbox: "trio.MemoryReceiveChannel[Message]", publish: Publish) -> None:
        table: Any = self.table  # the only method of Database that an actor uses
        self.actor = PoolActor(pool, mailbox, self.journal, self.now, publish=publish)
        member: Any = Holder()
        self._nursery.start_soon(run_pool_actor, self.actor, member, table, self.table.flush, self.now, Troubles())

    def now(self) -> Moment:
        return Moment(trio.current_time(), now().wall_s + self.wall_set_s)

    def ask(self, patience_s: float = 1_000.0) -> "trio.MemoryReceiveChannel[Lease | NoIPAvailable]":
        send, receive = trio.open_memory_channel[Lease | NoIPAvailable](1)
        self.post.mailbox.send_nowait(Acquire(uuid4(), trio.current_time() + patience_s, send))
        return receive

    def give_back(self, lease: Lease) -> None:
        self.post.mailbox.send_nowait(Release(lease.ip_id, lease.lease_no, Event.RELEASED_OK, 10.0))


async def lease_from(answers: "trio.MemoryReceiveChannel[Lease | NoIPAvailable]") -> Lease:
    with trio.fail_after(2_000):
        answer = await answers.receive()
    assert isinstance(answer, Lease), answer
    return answer


async def test_after_a_crash_waiters_are_served_from_the_rows_in_their_order(
    monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("actor_crashed")
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, count=1)
        lease = await lease_from(scene.ask())
        waiting = [scene.ask(), scene.ask(), scene.ask()]
        await trio.testing.wait_all_tasks_blocked()
        Poison(monkeypatch, nth=1)
        lost = scene.ask()  # the message that crashes the actor is not tried again
        await trio.sleep(1)
        assert scene.table.loads == 1
        assert scene.actor.pool.ips[lease.ip_id].lease_no == lease.lease_no, "still lent, as its row says"
        assert scene.post.view.counts.waiting == 3

        scene.give_back(lease)
        began = []
        for answers in waiting:
            lease = await lease_from(answers)
            began.append(trio.current_time())
            scene.give_back(lease)
        assert began == pytest.approx([61, 121, 181])
        with pytest.raises(trio.WouldBlock):
            lost.receive_nowait()
        nursery.cancel_scope.cancel()


async def test_while_the_database_is_away_the_actor_waits_for_the_rows(
    monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("actor_crashed", "database_unavailable")
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, count=2)
        await lease_from(scene.ask())
        scene.post.set_rules(Rules(lock_s=50))
        await trio.testing.wait_all_tasks_blocked()
        scene.table.away = 3
        Poison(monkeypatch, nth=1)
        scene.ask()
        answers = scene.ask()
        await trio.sleep(1)
        assert scene.post.view.starts_over
        await lease_from(answers)
        assert scene.table.loads == 4
        view = scene.post.view
        assert (view.starts_over, view.leases, view.rules.lock_s) == (False, 2, 50), "the pool goes on as before"
        nursery.cancel_scope.cancel()


async def test_a_pool_actor_that_crashes_on_every_message_is_started_again_and_again(
    monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("actor_crashed")
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, count=1)
        with monkeypatch.context() as broken:

            def raising(*_: Any) -> None:
                raise ZeroDivisionError

            broken.setattr(Pool, "decide", raising)
            for _ in range(10):
                scene.ask()
                await trio.sleep(2 * PAUSE_MAX_S)
        await lease_from(scene.ask())
        nursery.cancel_scope.cancel()
    assert len(expected_errors.named("actor_crashed")) == 10


async def test_a_pool_starts_over_from_the_rows_when_it_is_asked_to(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, count=1)
        await lease_from(scene.ask())
        waits = scene.ask()
        done = trio.Event()
        scene.post.mailbox.send_nowait(StartOver(done.set))
        with trio.fail_after(1):
            await done.wait()
        assert scene.table.loads == 1
        await lease_from(waits)  # after the first lease's lock and rest
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_wall_clock_that_was_set_before_a_crash_moves_no_lock_and_no_rest(
    hours: int, monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("actor_crashed")
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, count=2)
        in_use, rests = await lease_from(scene.ask()), await lease_from(scene.ask())
        await trio.sleep(1)
        scene.give_back(rests)
        await trio.testing.wait_all_tasks_blocked()
        scene.wall_set_s = hours * 3_600.0
        Poison(monkeypatch, nth=1)
        scene.ask()
        answers = scene.ask()
        await trio.sleep(1)
        assert scene.table.loads == 1
        ips = scene.actor.pool.ips
        assert (ips[in_use.ip_id].locked_until_s, ips[rests.ip_id].locked_until_s) == (90, 61)
        assert (ips[in_use.ip_id].last_used_s, ips[rests.ip_id].last_used_s) == (0, 0)
        assert (await lease_from(answers)).ip_id == rests.ip_id
        assert trio.current_time() == pytest.approx(61)
        await lease_from(scene.ask())
        assert trio.current_time() == pytest.approx(90 + RULES.cooldown_s), "nobody gave the other one back"
        nursery.cancel_scope.cancel()


async def test_a_row_that_another_lease_or_status_speaks_of_is_read_by_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    """A lease that was not recorded before the crash does not count."""
    expected_errors.expect("actor_crashed")
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, count=1)
        Poison(monkeypatch, nth=1, after=True)
        scene.ask()
        lease = await lease_from(scene.ask())
        assert (lease.lease_no, trio.current_time()) == (1, PAUSE_MIN_S)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_wherever_the_actor_crashes_no_ip_is_lent_twice_and_none_inside_its_rest(
    after: bool, monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("actor_crashed")
    nth = 0
    while True:
        nth += 1
        with monkeypatch.context() as patch:
            poison = Poison(patch, nth, after=after)
            uses = await short_run()
        check(uses)
        if poison.decided < nth:
            break
    assert nth > 12
    assert len(uses) == 8, "without a crash every request is served"


Use = tuple[str, float, float]


async def short_run() -> list[Use]:
    """Eight requests for three IPs, two of which keep their lease to its end. Gives (IP, from, until) of each use."""
    uses: list[Use] = []

    async def one(scene: Scene, number: int) -> None:
        answers = scene.ask(patience_s=400)
        with trio.move_on_after(405):
            answer = await answers.receive()
            if isinstance(answer, Lease):
                began = trio.current_time()
                await trio.sleep(1.5)
                if number in (2, 5):
                    uses.append((answer.address, began, began + RULES.lock_s))  # it does not release the lease
                else:
                    uses.append((answer.address, began, trio.current_time()))
                    scene.give_back(answer)

    async with trio.open_nursery() as actors:
        scene = Scene(actors, count=3)
        async with trio.open_nursery() as requests:
            for number in range(8):
                requests.start_soon(one, scene, number)
                await trio.sleep(0.4)
        actors.cancel_scope.cancel()
    return uses


def check(uses: list[Use]) -> None:
    assert len(uses) >= 6, "a crash costs the one request that it came with, and a lease that nobody heard of"
    by_ip: dict[str, list[Use]] = {}
    for use in sorted(uses, key=lambda use: use[1]):
        by_ip.setdefault(use[0], []).append(use)
    for history in by_ip.values():
        for earlier, later in pairwise(history):
            assert later[1] >= earlier[2] + RULES.cooldown_s - 1e-6
