"""Trace workers on a virtual clock: however a trace ends, its lease is released once and its row is finished."""

import pytest
import structlog
import trio
import trio.testing
from msgspec.structs import replace

from daemon.journal.entries import TraceFinished, TraceProcessing, Traffic
from daemon.pool.messages import Acquire, Lease, NoIPAvailable, Release, Remove
from daemon.pool.states import Event, Status
from daemon.providers.proxies import ProxyAddress
from daemon.settings.model import Settings
from daemon.trace.jobs import Finished, Started, WaitingForIp
from daemon.trace.leases import ANSWER_LATE_S
from daemon.trace.traffic_costs import TrafficStatus
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, HopAnswer, Landed, Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.workers import LEASE_MARGIN_S
from tests.actors.tracing import HOP, LANDED, WALL_S, Bench, broken, ends, never_ends, now, result

OUTCOMES = [
    (LANDED, Event.RELEASED_OK, "completed", Finished(LANDED.url, None)),
    (
        GaveUp(Verdict.IP, "proxy_unreachable", "m"),
        Event.RELEASED_IP_AT_FAULT,
        "failed",
        Finished(None, "trace_failed"),
    ),
    (GaveUp(Verdict.TARGET, "tls", "m"), Event.RELEASED_TARGET_AT_FAULT, "failed", Finished(None, "trace_failed")),
    (
        GaveUp(Verdict.LIMIT, "trace_timeout", "m"),
        Event.RELEASED_TARGET_AT_FAULT,
        "timeout",
        Finished(None, "trace_failed"),
    ),
    (GaveUp(Verdict.CREDENTIALS, "c", "m"), Event.RELEASED_TARGET_AT_FAULT, "failed", Finished(None, "trace_failed")),
    (GaveUp(Verdict.PROVIDER, "c", "m"), Event.RELEASED_TARGET_AT_FAULT, "failed", Finished(None, "trace_failed")),
    (GaveUp(Verdict.OPERATOR, "c", "m"), Event.RELEASED_TARGET_AT_FAULT, "failed", Finished(None, "trace_failed")),
]


@pytest.mark.parametrize(("end", "event", "status", "told"), OUTCOMES)
async def test_the_release_of_a_lease_has_the_event_of_the_verdict(
    end: Landed | GaveUp,
    event: Event,
    status: str,
    told: Finished,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    bench = Bench(monkeypatch, ends(end, after_s=2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        request = await bench.message()
        assert isinstance(request, Acquire)
        assert (request.request_id, request.deadline_s) == (bench.job.request_id, bench.job.deadline_s)
        request.reply.send_nowait(bench.lease(lease_no=7))
        release = await bench.message()
    assert isinstance(release, Release)
    assert (release.ip_id, release.lease_no, release.event, release.response_ms) == (bench.ip.id, 7, event, 2000.0)
    assert bench.heard() == [WaitingForIp(), Started("198.51.100.1"), told]
    assert [type(entry) for entry in bench.states()] == [TraceProcessing, TraceFinished]
    assert bench.finished().status == status
    with pytest.raises(trio.WouldBlock):
        bench.pools.mailbox.receive_nowait()
    assert (bench.tracer.active, bench.tracer.busy) == (0, 0)


async def test_a_trace_ends_at_its_offers_stop_at(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def walks(fetcher: object, proxy: object, walk: Walk, timeout_s: float) -> TraceResult:
        walk.start()
        end = walk.answered(HopAnswer(302, ((b"Location", b"https://www.shop.example/x"),), 1.0, 100, 50))
        assert isinstance(end, Landed)
        return result(end)

    bench = Bench(monkeypatch, walks)
    bench.job = replace(bench.job, stop_at=frozenset({"shop.example"}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        await bench.grant()
        await bench.message()
    assert bench.finished().final_url == "https://www.shop.example/x"


async def test_the_row_of_a_landed_trace_is_complete(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, ends(LANDED, after_s=2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        request = await bench.message()
        assert isinstance(request, Acquire)
        await trio.sleep(3)
        request.reply.send_nowait(bench.lease())
    processing, finished = bench.states()
    assert processing == TraceProcessing(bench.job.request_id, "198.51.100.1", WALL_S + 3, 3000, "luna", None, 1)
    assert isinstance(finished, TraceFinished)
    assert (finished.final_url, finished.extracted_params) == (LANDED.url, {"a": ["1", "2"]})
    assert (finished.completed_at, finished.trace_time_ms, finished.total_time_ms) == (WALL_S + 5, 2000, 5000)
    assert (finished.error_message, finished.bytes_received, finished.verdict) == (None, 4321, "ok")
    assert (finished.bytes_sent, finished.offer_id, finished.offer_name) == (765, bench.job.offer_id, "sale")
    [hop] = finished.redirect_chain
    assert {name: hop[name] for name in ("url", "status", "ms", "kind")} == {
        "url": HOP.url,
        "status": 302,
        "ms": 12.3,
        "kind": "http",
    }
    assert bench.proxies == [ProxyAddress("198.51.100.1", 7000, "customer", "secret")]


async def test_a_trace_through_a_gateway_has_a_session_of_its_row_or_of_its_lease(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    pattern = {"gateway": "gate.example:9000", "username": "x", "username_pattern": "{username}-{country}-{session}"}
    usernames: dict[str, list[str]] = {"ip": [], "lease": []}
    for session, seen in usernames.items():
        for lease_no in (1, 2):
            bench = Bench(monkeypatch, ends(LANDED))
            bench.live.replace(Settings.model_validate({"providers": {"luna": {**pattern, "session": session}}}))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bench.work)
                await bench.grant(lease_no)
            (proxy,) = bench.proxies
            assert isinstance(proxy, ProxyAddress)
            assert (proxy.host, proxy.port, proxy.username is not None) == ("gate.example", 9000, True)
            seen.append(proxy.username or "")
    assert usernames["ip"] == ["x-us-198.51.100.1"] * 2
    assert len(set(usernames["lease"])) == 2


async def test_a_cancelled_trace_releases_its_lease(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, never_ends)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        await bench.grant()
        await trio.sleep(5)
        assert bench.tracer.active == 1
        nursery.cancel_scope.cancel()
    release = await bench.message()
    assert isinstance(release, Release)
    assert release.event is Event.RELEASED_TARGET_AT_FAULT
    assert bench.heard()[-1] == Finished(None, "trace_failed")
    finished = bench.finished()
    assert (finished.status, finished.trace_time_ms) == ("failed", 5000)
    assert "stopped" in (finished.error_message or "")
    assert bench.tracer.active == 0


async def test_a_bug_in_a_trace_releases_the_lease_and_is_raised(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, broken)
    with pytest.RaisesGroup(ZeroDivisionError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.work)
            await bench.grant()
    assert isinstance(await bench.message(), Release)
    assert bench.finished().status == "failed"
    assert bench.heard()[-1] == Finished(None, "trace_failed")


async def test_without_an_ip_the_row_says_why_and_when_the_next_one_is_free(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, never_ends)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        request = await bench.message()
        assert isinstance(request, Acquire)
        await trio.sleep(10)
        request.reply.send_nowait(NoIPAvailable(33.5, "deadline"))
    finished = bench.finished()
    assert (finished.status, finished.trace_time_ms, finished.total_time_ms) == ("failed", None, 10_000)
    assert finished.error_message == "no IP available in us (deadline); the next one in 24 s"
    assert bench.heard() == [WaitingForIp(), Finished(None, "no_ip")]
    assert bench.proxies == [], "nothing goes out without a lease"


async def test_the_answer_of_a_pool_is_awaited_until_just_after_the_deadline(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, never_ends)
    await bench.work()
    assert trio.current_time() == pytest.approx(10 + ANSWER_LATE_S)
    assert bench.finished().status == "failed"
    request = await bench.message()
    assert isinstance(request, Acquire)
    with pytest.raises(trio.BrokenResourceError):
        request.reply.send_nowait(bench.lease())


@pytest.mark.parametrize("cancelled", [False, True], ids=["timeout", "cancel"])
async def test_a_lease_that_arrives_at_the_timeout_is_released(
    cancelled: bool, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """The answer is sent after the wait was cancelled and before the worker runs again."""
    bench = Bench(monkeypatch, never_ends)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        request = await bench.message()
        assert isinstance(request, Acquire)
        if cancelled:
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        else:
            answer_at_the_timeout(request, bench.lease())
        if cancelled:
            request.reply.send_nowait(bench.lease())
    release = await bench.message()
    assert isinstance(release, Release)
    assert (release.lease_no, release.event) == (1, Event.RELEASED_TARGET_AT_FAULT)
    assert bench.finished().status == "failed"
    assert bench.proxies == []


def answer_at_the_timeout(request: Acquire, lease: Lease) -> None:
    """Sends at the very tick at which the worker's wait ends, whichever of the two tasks runs first."""

    class AtTheTimeout(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if trio.current_time() >= 10 + ANSWER_LATE_S:
                trio.lowlevel.remove_instrument(self)
                request.reply.send_nowait(lease)

    trio.lowlevel.add_instrument(AtTheTimeout())


async def test_a_worker_and_an_actor_never_lose_a_lease_wherever_the_cancel_falls(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Cancels the job after each possible number of scheduler steps; the IP is in cooldown or was never leased."""
    steps, taken = 0, 0
    while True:
        bench = Bench(monkeypatch, ends(LANDED, after_s=0))
        done = False
        async with trio.open_nursery() as actors:
            bench.start_pool(actors)
            with trio.CancelScope() as scope:

                async def cancel_after(checkpoints: int, scope: trio.CancelScope = scope) -> None:
                    for _ in range(checkpoints):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                actors.start_soon(cancel_after, steps)
                await bench.work()
                done = True
            bench.post.mailbox.close()  # the actor handles the messages that were sent, and ends
        taken += bench.ip.total_uses
        assert bench.ip.status in (Status.AVAILABLE, Status.COOLDOWN), f"{bench.ip!r} after {steps} steps"
        assert (bench.ip.status is Status.COOLDOWN) == bool(bench.ip.total_uses)
        if done:
            break
        steps += 1
        assert steps < 200
    assert steps > 3
    assert taken > 1


async def test_a_job_of_a_country_without_ips_ends_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, never_ends)
    bench.pools.decide(Remove((bench.ip.id,)), now())
    await bench.work()
    assert trio.current_time() == 0
    assert bench.finished().error_message == "no IP available in us (its last IP left)"
    assert bench.heard()[-1] == Finished(None, "no_ip")


async def test_a_trace_ends_before_its_lock_does(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    for locked_until_s, timeout_s in ((90.0, 75.0), (30.0, 30.0 - LEASE_MARGIN_S)):
        bench = Bench(monkeypatch, ends(LANDED, after_s=0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.work)
            await bench.grant(locked_until_s=locked_until_s)
        assert bench.timeouts == [timeout_s]
        assert bench.lease_ends == [locked_until_s - LEASE_MARGIN_S]


async def test_an_ip_that_cannot_be_dialled_is_the_ips_fault(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        bench = Bench(monkeypatch, never_ends)
    bench.ip.address = "no-address!"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        await bench.grant()
        release = await bench.message()
    assert isinstance(release, Release)
    assert release.event is Event.RELEASED_IP_AT_FAULT
    assert "no-address!" in (bench.finished().error_message or "")


async def test_jobs_left_at_the_stop_are_answered_and_finished(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, never_ends)
    bench.jobs.send_nowait(bench.job)
    bench.tracer.abandon(bench.receive)
    assert bench.heard() == [Finished(None, "no_ip")]
    assert "stopped" in (bench.finished().error_message or "")


async def test_a_visitor_who_disconnects_does_not_end_the_trace(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, ends(LANDED))
    bench.updates.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        await bench.grant()
        assert isinstance(await bench.message(), Release)
    assert bench.finished().status == "completed"


async def test_each_trace_has_one_log_line(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, ends(GaveUp(Verdict.TARGET, "tls", "hop 1 (ads.example): the TLS handshake failed")))
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            bench.start_pool(nursery)
            await bench.work()
            bench.post.mailbox.close()
    [line] = [line for line in logs if line["event"] == "trace"]
    assert (line["ip"], line["lease_no"], line["status"], line["verdict"], line["reason"], line["hops"]) == (
        "198.51.100.1:7000",
        1,
        "failed",
        Verdict.TARGET,
        "tls",
        1,
    )
    assert "secret" not in repr(logs)


async def test_bytes_are_counted_at_the_price_of_the_provider(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, ends(GaveUp(Verdict.TARGET, "tls", "m")))
    bench.live.replace(Settings(providers={"luna": {"price_per_gb": 5}}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        await bench.grant()
        await bench.message()
    cost = (4321 + 765) / 10**9 * 5
    assert bench.finished().traffic == (Traffic("luna", 4321, 765, cost),)
    assert bench.finished().cost == cost
    spent = TrafficStatus(traces=1, bytes_received=4321, bytes_sent=765, cost=0.000025)
    assert bench.tracer.traffic_costs.today(WALL_S) == {"luna": spent}


async def test_without_a_price_bytes_cost_nothing_and_without_an_ip_there_are_none(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, ends(LANDED))
    bench.live.replace(Settings())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        await bench.grant()
        await bench.message()
    assert (bench.finished().cost, bench.finished().traffic[0].cost) == (0, 0)
    other = Bench(monkeypatch, never_ends)
    other.jobs.send_nowait(other.job)
    other.tracer.abandon(other.receive)
    assert (other.finished().cost, other.finished().traffic) == (None, ())
    assert other.tracer.traffic_costs.today(WALL_S) == {}
