"""The running daemon's checks: each has a lease, none takes an IP from a click, and all release their IPs."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
import trio.testing

from daemon.checks.checker import LEASE_MARGIN_S, PATIENCE_S, Checker, CheckKind, CheckResult
from daemon.errors import TheirFault
from daemon.pool.messages import SetRules
from daemon.pool.states import Ip, Rules, Status
from daemon.providers.proxies import ProxyAddress, UnusableProxy
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.provider_health import ProviderHealth
from tests.actors.tracing import now
from tests.fakes.asked import Asked
from tests.fakes.journal import MemoryJournal
from tests.fakes.pools import PlayedPools

WORKS = CheckResult(CheckKind.WORKING, 12.0, "198.51.100.9", "")
SETTINGS = Settings.model_validate(
    {
        "provision": {"check_url": "http://check.example/ip", "check_slow_s": 3},
        "providers": {"luna": {"template": "luna", "username": "customer", "password": "word-of-luna"}},
    }
)
Checking = Callable[[float], Awaitable[CheckResult]]


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, checking: Checking, *ips: Ip) -> None:
        async def check(
            fetcher: Any, proxy: Any, url: str, *, timeout_s: float, slow_s: float, ends_boot_s: float
        ) -> CheckResult:
            self.asked.append((proxy, url, timeout_s, slow_s))
            self.lease_ends.append(ends_boot_s)
            return await checking(timeout_s)

        monkeypatch.setattr("daemon.checks.checker.check", check)
        self.asked: list[tuple[ProxyAddress | UnusableProxy, str, float, float]] = []
        self.lease_ends: list[float] = []
        self.journal = MemoryJournal()
        pools = PlayedPools(Rules(lock_s=90))
        self.directory = pools.directory
        self.post = self.directory.open("us", list(ips))
        self.live = LiveSettings(SETTINGS)
        fetcher: Any = None  # unused: the test replaces `check`
        self.checker = Checker(self.live, fetcher, self.directory, now, ProviderHealth())
        nursery.start_soon(pools.actor(self.journal, now).run, [])

    async def check(self, ip: Ip, timeout_s: float = 5.0) -> dict[str, Any]:
        return await self.checker.check(str(ip.id), "US", timeout_s)


def an_ip(name: str = "luna-us-1", **changes: Any) -> Ip:
    return Ip(uuid4(), name, "7000", "us", "luna", **changes)


async def works(timeout_s: float) -> CheckResult:
    await trio.sleep(1)
    return WORKS


async def never_ends(timeout_s: float) -> CheckResult:
    await trio.sleep_forever()
    raise AssertionError


async def test_a_check_knows_the_end_of_its_lease_on_the_boot_clock(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = an_ip()
    bench = Bench(monkeypatch, nursery, works, ip)
    await bench.check(ip)
    assert bench.lease_ends == [90 - LEASE_MARGIN_S]


async def test_a_check_holds_a_lease_and_changes_nothing_of_the_ip(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = an_ip()
    statuses = []

    async def looks(timeout_s: float) -> CheckResult:
        statuses.append(ip.status)
        return WORKS

    bench = Bench(monkeypatch, nursery, looks, ip)
    assert await bench.check(ip) == {"kind": "working", "ms": 12.0, "exit_ip": "198.51.100.9", "message": ""}
    await trio.testing.wait_all_tasks_blocked()
    assert (statuses, ip.status, ip.failure_count) == ([Status.LOCKED], Status.AVAILABLE, 0)
    ((proxy, url, timeout_s, slow_s),) = bench.asked
    assert isinstance(proxy, ProxyAddress)
    assert (proxy.host, proxy.username is not None and "-region-us-sessid-lunaus1" in proxy.username) == (
        "pr.lunaproxy.com",
        True,
    )
    assert (url, timeout_s, slow_s) == ("http://check.example/ip", 5.0, 3)


async def test_a_failed_ip_is_checked_and_stays_failed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = an_ip(status=Status.FAILED, is_healthy=False)
    bench = Bench(monkeypatch, nursery, works, ip)
    assert (await bench.check(ip))["kind"] == "working"
    await trio.testing.wait_all_tasks_blocked()
    assert ip.status is Status.FAILED


async def test_an_ip_in_use_is_skipped_with_a_message(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip, other = an_ip(), an_ip("luna-us-2")
    bench = Bench(monkeypatch, nursery, works, ip)
    trace = Asked()
    await bench.post.mailbox.send(trace.message)
    await trace.lease()
    skipped = await bench.check(ip)
    assert (skipped["kind"], skipped["message"][:13]) == ("skipped", "in use, until")
    assert (await bench.check(other))[
        "message"
    ] == "this node does not own the IP: no node does yet, or another one has got it now"
    assert (await bench.checker.check(str(ip.id), "fr", 5))["kind"] == "skipped"
    assert bench.asked == []


async def test_a_check_waits_while_it_would_cost_a_click_its_ip_and_then_gives_up(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ips = [an_ip(f"luna-us-{number}") for number in range(10)]
    bench = Bench(monkeypatch, nursery, works, *ips)
    traces = [Asked() for _ in range(8)]
    for trace in traces:
        await bench.post.mailbox.send(trace.message)
    leased = {(await trace.lease()).ip_id for trace in traces}
    began_s = trio.current_time()
    skipped = await bench.check(next(ip for ip in ips if ip.id not in leased))
    assert (skipped["kind"], "cost a click" in skipped["message"]) == ("skipped", True)
    assert PATIENCE_S <= trio.current_time() - began_s < PATIENCE_S + 1
    assert bench.asked == []


async def test_a_cancelled_check_releases_its_ip(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = an_ip()
    bench = Bench(monkeypatch, nursery, never_ends, ip)
    with trio.move_on_after(1):
        await bench.check(ip)
    await trio.testing.wait_all_tasks_blocked()
    assert ip.status is Status.AVAILABLE


async def test_a_check_ends_before_its_lock(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = an_ip()
    bench = Bench(monkeypatch, nursery, works, ip)
    await bench.post.mailbox.send(SetRules(Rules(lock_s=2)))
    await bench.check(ip, timeout_s=60)
    assert [timeout_s for _, _, timeout_s, _ in bench.asked] == [pytest.approx(1.5)]


@pytest.mark.parametrize(("ip_id", "url"), [("nonsense", "http://check.example/"), (str(UUID(int=7)), "")])
async def test_a_check_that_is_impossible_raises(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, ip_id: str, url: str
) -> None:
    bench = Bench(monkeypatch, nursery, works, an_ip())
    bench.live.replace(Settings.model_validate({"provision": {"check_url": url}}))
    with pytest.raises(TheirFault, match="check_url" if not url else "no id"):
        await bench.checker.check(ip_id, "us", 5)
