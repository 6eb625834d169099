"""Pool handles: the view, new rules, and copies of IPs."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.errors import PoolSilent
from daemon.pool.actor import BATCH_MAX
from daemon.pool.directory import ANSWER_S, MAILBOX_MAX, rules_of
from daemon.pool.messages import Counts, Ping, Release
from daemon.pool.states import Event, Status
from daemon.settings.model import Settings
from tests.fakes.asked import Asked, clocks
from tests.fakes.ips import an_ip
from tests.fakes.journal import MemoryJournal
from tests.fakes.pools import PlayedPools


async def test_the_view_shows_a_batch_once_its_answers_are_out(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    pools, journal = PlayedPools(), MemoryJournal()
    handle = pools.directory.open("US", [an_ip("a"), an_ip("b")])
    assert (handle.view.counts, handle.view.leases) == (Counts(2, 2, 0, 0, 0, 0), 0)
    nursery.start_soon(pools.actor(journal, clocks).run, [])
    journal.delay_s = 1
    asked = Asked()
    handle.mailbox.send_nowait(asked.message)
    await trio.sleep(0.5)
    assert handle.view.counts.locked == 0
    lease = await asked.lease()
    assert (handle.view.counts, handle.view.leases) == (Counts(2, 1, 1, 0, 0, 0), 1)
    handle.mailbox.send_nowait(Release(lease.ip_id, lease.lease_no, Event.RELEASED_OK))
    await wait_all_tasks_blocked()
    assert pools.directory.counts() == {"us": Counts(2, 1, 0, 1, 0, 0)}
    assert repr(handle) == "<PoolHandle us: 1 available, 0 locked, 1 cooldown, 0 failed, 0 waiting>"


async def test_a_view_cannot_be_changed(autojump_clock: MockClock) -> None:
    view = PlayedPools().directory.open("us", [an_ip()]).view
    for record, name in ((view, "leases"), (view.counts, "total"), (view.rules, "lock_s")):
        with pytest.raises(AttributeError):
            setattr(record, name, 7)


async def test_new_rules_hold_for_what_happens_from_then_on(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    pools = PlayedPools()
    handle = pools.directory.open("us", [an_ip("a"), an_ip("b")])
    nursery.start_soon(pools.actor(MemoryJournal(), clocks).run, [])
    before, after = Asked(), Asked()
    handle.mailbox.send_nowait(before.message)
    first = await before.lease()
    changed = Settings.model_validate({"pool": {"lock_s": 200, "cooldown_s": 7, "failures_max": 2}})
    pools.directory.use(changed)
    handle.mailbox.send_nowait(after.message)
    lease = await after.lease()
    assert handle.view.rules == rules_of(changed)
    assert lease.locked_until_s == trio.current_time() + 200
    assert pools.pool.ips[first.ip_id].locked_until_s == trio.current_time() + 90, "a lock that has begun keeps its end"


async def test_new_rules_wait_for_room_in_a_full_mailbox_and_the_latest_ones_hold(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    pools = PlayedPools()
    handle = pools.directory.open("us", [an_ip()])
    for _ in range(MAILBOX_MAX):
        handle.mailbox.send_nowait(Ping(lambda: None))
    for cooldown_s in (5, 6, 7):
        pools.directory.use(Settings.model_validate({"pool": {"cooldown_s": cooldown_s}}))
    assert handle.mailbox.statistics().current_buffer_used == MAILBOX_MAX
    assert MAILBOX_MAX > BATCH_MAX
    nursery.start_soon(pools.actor(MemoryJournal(), clocks).run, [])
    await wait_all_tasks_blocked()
    assert handle.view.rules.cooldown_s == 7
    pools.directory.close()
    pools.directory.use(Settings())  # at a stop: no actor takes them, and nothing is raised
    with pytest.raises(PoolSilent):
        await handle.describe()


async def test_ips_are_described_by_place_by_quarantine_and_by_endpoint(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    pools = PlayedPools()
    ips = [an_ip("a"), an_ip("2001:db8::1", is_healthy=False), an_ip("c", port="8000")]
    handle = pools.directory.open("us", ips)
    nursery.start_soon(pools.actor(MemoryJournal(), clocks).run, [])
    assert [ip.id for ip in await handle.describe()] == [ip.id for ip in ips]
    assert [ip.address for ip in await handle.describe(start=2, count=5)] == ["c"]
    [failed] = await handle.describe(unhealthy=True)
    assert (failed.id, failed.status, failed.probe_failures) == (ips[1].id, Status.FAILED, 0)
    for endpoint, is_known in (
        (("a", "7000", ""), True), (("a", "7001", ""), False), (("a", "7000", "b"), False),
        (("2001:db8::1", "7000", ""), True), (("c", "8000", ""), True),
    ):  # fmt: skip
        assert await pools.directory.has(endpoint) is is_known


async def test_an_actor_that_waits_for_the_disk_is_not_waited_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    pools, journal = PlayedPools(), MemoryJournal()
    handle = pools.directory.open("us", [an_ip()])
    nursery.start_soon(pools.actor(journal, clocks).run, [])
    journal.delay_s = 100
    handle.mailbox.send_nowait(Asked().message)
    await trio.sleep(1)
    with pytest.raises(PoolSilent, match="us does not answer"):
        await pools.directory.has(("192.0.2.1", "7000", ""))
    assert trio.current_time() == 1 + ANSWER_S
    assert await pools.directory.overdue() == 0
    assert handle.turns_away(trio.current_time() + 10, trio.current_time()) == "too_late", "a click is refused at once"
    assert handle.view.counts.available == 1


async def test_requests_are_not_examined_again_while_the_daemon_stops(autojump_clock: MockClock) -> None:
    """The node's trust may end during the stop."""
    directory = PlayedPools().directory
    directory.open("us", [an_ip()])
    directory.close()
    await directory.recheck_requests()
