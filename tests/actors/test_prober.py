"""Probes of failed IPs on a virtual clock: their times and their effects."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from daemon.checks.checker import Checker, CheckKind, CheckResult
from daemon.checks.prober import JITTER, LOOK_S, PAUSE_MAX_S, PAUSE_MIN_S, PROBES_MAX, Prober, pause_s
from daemon.maintenance.provider_figures import provider_figures, refusals
from daemon.pool.messages import Adopt
from daemon.pool.states import Ip, Rules, Status
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.provider_health import ProviderHealth
from tests.actors.tracing import now
from tests.fakes.asked import Asked
from tests.fakes.ips import row_of
from tests.fakes.journal import MemoryJournal
from tests.fakes.pools import PlayedPools

CHECK_S = 1.0
SETTINGS = Settings.model_validate({"provision": {"check_url": "http://check.example/"}})


@dataclass(slots=True)
class Bench:
    """`kinds`: the result of each probe by address, otherwise the IP works. `at_s`: the start of each probe."""

    post: Any
    live: LiveSettings
    providers: ProviderHealth
    prober: Prober
    kinds: dict[str, CheckKind] = field(default_factory=dict)
    at_s: list[tuple[str, float]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    def times(self) -> list[float]:
        return [round(at_s) for _, at_s in self.at_s]


def failed(name: str = "198.51.100.1", **changes: Any) -> Ip:
    given: dict[str, Any] = {"status": Status.FAILED, "is_healthy": False, "consecutive_failures": 5, **changes}
    return Ip(uuid4(), name, "7000", "us", "luna", **given)


@contextmanager
def benched(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, *ips: Ip, chance: Callable[[], float] = lambda: 0.5
) -> Iterator[Bench]:
    async def check(fetcher: Any, proxy: Any, url: str, *, timeout_s: float, slow_s: float, **_: Any) -> CheckResult:
        bench.at_s.append((proxy.host, trio.current_time()))
        bench.under_way += 1
        bench.most = max(bench.most, bench.under_way)
        await trio.sleep(CHECK_S)
        bench.under_way -= 1
        kind = bench.kinds.get(proxy.host, CheckKind.WORKING)
        return CheckResult(kind, CHECK_S * 1000, None, "" if kind is CheckKind.WORKING else "it says no")

    monkeypatch.setattr("daemon.checks.checker.check", check)
    pools = PlayedPools(Rules(lock_s=90))
    post = pools.directory.open("us", list(ips))
    nursery.start_soon(pools.actor(MemoryJournal(), now).run, [])
    live, providers = LiveSettings(SETTINGS), ProviderHealth()
    fetcher: Any = None  # unused: the test replaces `check`
    checker = Checker(live, fetcher, pools.directory, now, providers)
    bench = Bench(post, live, providers, Prober(checker, pools.directory, now, chance))
    nursery.start_soon(bench.prober.run)
    yield bench


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_pauses_double_from_five_minutes_to_six_hours_and_are_spread_by_a_tenth(failures: int, chance: float) -> None:
    plain_s = min(300.0 * 2.0 ** min(failures, 30), 6 * 3600.0)
    assert (1 - JITTER) * plain_s <= pause_s(failures, chance) <= (1 + JITTER) * plain_s
    assert pause_s(failures, 0.0) < pause_s(failures, 1.0)


async def test_an_ip_that_works_again_is_available_five_minutes_after_it_failed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = failed(last_health_check_s=0.0)
    with benched(monkeypatch, nursery, ip) as bench:
        await trio.sleep(PAUSE_MIN_S - 1)
        assert bench.at_s == []
        await trio.sleep(1 + LOOK_S + CHECK_S)
        assert (bench.times(), ip.status, ip.is_healthy) == ([300], Status.AVAILABLE, True)
        assert (ip.consecutive_failures, ip.probe_failures) == (0, 0)
        await trio.sleep(PAUSE_MAX_S)
        assert len(bench.at_s) == 1
        assert provider_figures(bench.providers, 0)["luna"].state == "ok"


@pytest.mark.slow
async def test_the_pause_doubles_with_each_probe_that_fails_up_to_six_hours(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = failed(last_health_check_s=0.0)
    with benched(monkeypatch, nursery, ip) as bench:
        bench.kinds[ip.address] = CheckKind.FAILED
        await trio.sleep(2 * 86_400)
        pauses = [after - before for before, after in zip([0, *bench.times()], bench.times(), strict=False)]
        expected = [300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 21_600, 21_600]
        assert pauses[:9] == [pytest.approx(pause, abs=LOOK_S + 2 * CHECK_S) for pause in expected]
        assert (ip.status, ip.probe_failures) == (Status.FAILED, len(pauses))
        assert (ip.failure_count, ip.consecutive_failures) == (0, 5)


async def test_after_a_restart_the_pause_goes_on_from_the_last_check(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    recent, overdue = failed("recent", last_health_check_s=-200.0), failed("overdue", last_health_check_s=-9e9)
    backed_off = failed("backed_off", last_health_check_s=-600.0, probe_failures=3)
    with benched(monkeypatch, nursery, recent, overdue, backed_off) as bench:
        await trio.sleep(3_000)
        assert [(name, round(at_s)) for name, at_s in bench.at_s] == [
            ("overdue", 0), ("recent", 100), ("backed_off", 1_800),
        ]  # fmt: skip


async def test_an_ip_that_an_operator_marks_as_failed_is_not_probed_at_once_even_if_its_last_check_is_old(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = Ip(uuid4(), "198.51.100.1", "7000", "us", "luna", last_health_check_s=-9e9)
    with benched(monkeypatch, nursery, ip) as bench:
        await trio.sleep(60)
        await bench.post.mailbox.send(Adopt((row_of(ip, status=Status.FAILED, is_healthy=False),)))
        await trio.sleep(299)
        assert (bench.at_s, ip.status) == ([], Status.FAILED)
        await trio.sleep(2 * LOOK_S)
        assert ip.status is Status.AVAILABLE


async def test_at_most_probes_max_are_probed_at_once_and_all_in_the_end(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ips = [failed(f"198.51.100.{number}", last_health_check_s=-9e9) for number in range(23)]
    with benched(monkeypatch, nursery, *ips) as bench:
        await trio.sleep(60)
        assert (bench.most, len(bench.at_s)) == (PROBES_MAX, 23)
        assert {ip.status for ip in ips} == {Status.AVAILABLE}


async def test_a_refused_login_does_not_change_the_pause(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = failed(last_health_check_s=0.0)
    with benched(monkeypatch, nursery, ip) as bench:
        bench.kinds[ip.address] = CheckKind.CREDENTIALS
        await trio.sleep(1_000)
        assert (len(bench.at_s), ip.status, ip.probe_failures) == (3, Status.FAILED, 0)
        assert refusals(provider_figures(bench.providers, 0)) == {"luna": 3}


async def test_without_a_check_url_nothing_is_probed_until_there_is_one(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = failed(last_health_check_s=0.0)
    with benched(monkeypatch, nursery, ip) as bench:
        bench.live.replace(Settings())
        await trio.sleep(86_400)
        assert (bench.at_s, ip.status) == ([], Status.FAILED)
        bench.live.replace(SETTINGS)
        await trio.sleep(LOOK_S + 2 * CHECK_S)
        assert ip.status is Status.AVAILABLE


async def test_an_ip_that_is_reset_during_its_probe_is_not_leased_before_the_probe_ends(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ip = failed(last_health_check_s=-9e9)
    with benched(monkeypatch, nursery, ip) as bench:
        bench.kinds[ip.address] = CheckKind.FAILED
        await trio.testing.wait_all_tasks_blocked(0.1)
        reset = {"status": Status.AVAILABLE, "is_healthy": True, "consecutive_failures": 0}
        click = Asked()
        await bench.post.mailbox.send(Adopt((row_of(ip, **reset),)))
        await bench.post.mailbox.send(click.message)
        await trio.sleep(CHECK_S / 2)
        assert (bench.under_way, click.answered, ip.status) == (1, False, Status.LOCKED)
        assert (await click.lease()).ip_id == ip.id
        assert bench.under_way == 0
        await trio.sleep(LOOK_S)
        assert bench.prober.due_s == {}
