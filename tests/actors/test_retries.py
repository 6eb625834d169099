"""Attempts through another IP after a fault of the IP or the provider, on a virtual clock."""

import math
from typing import Any
from uuid import uuid4

import pytest
import structlog
import trio
import trio.testing
from msgspec.structs import replace

from daemon.journal.entries import TraceProcessing
from daemon.maintenance.provider_figures import provider_figures, refusals
from daemon.pool.messages import Acquire, NoIPAvailable, Release
from daemon.pool.states import Event, Ip, Status
from daemon.trace.jobs import Finished, Started, WaitingForIp
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, Landed, Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.workers import PROXY_TIMEOUT_MIN_S
from tests.actors.tracing import HOP, LANDED, Bench, Tracing, never_ends
from tests.fakes.entries import of_kind

DEAD = GaveUp(Verdict.IP, "proxy_unreachable", "hop 1 (ads.example): the proxy's port refuses connections")
BUSY = GaveUp(Verdict.PROVIDER, "provider_busy", "hop 1 (ads.example): the proxy answered CONNECT with status 429")

Clock = trio.testing.MockClock


def in_turn(*ends: Landed | GaveUp, each_s: float = 1.0) -> Tracing:
    """One end for each attempt, the last one for all further attempts, each with its own hops and bytes."""
    turns = iter(range(10_000))

    async def tracing(fetcher: Any, proxy: Any, walk: Walk, timeout_s: float) -> TraceResult:
        nth = next(turns)
        await trio.sleep(each_s)
        hop = replace(HOP, url=f"https://ads.example/{nth}")
        return TraceResult(
            ends[min(nth, len(ends) - 1)], (hop,), each_s * 1000, 1_000 + nth, 100 + nth, f"192.0.2.{nth}"
        )

    return tracing


async def done(bench: Bench) -> None:
    """The job, with the pool's own actor."""
    async with trio.open_nursery() as nursery:
        bench.start_pool(nursery)
        await bench.work()
        bench.post.mailbox.close()


async def test_one_bad_ip_costs_no_click(monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock) -> None:
    bench = Bench(monkeypatch, in_turn(DEAD, LANDED), retries_max=2, ips=3)
    await done(bench)
    assert bench.heard() == [WaitingForIp(), Started("198.51.100.1"), Finished(LANDED.url, None)]
    finished = bench.finished()
    assert (finished.status, finished.final_url, finished.error_message) == ("completed", LANDED.url, None)
    assert (finished.verdict, finished.reason) == ("ok", None)
    assert (finished.retry_count, finished.ips_tried) == (1, ("198.51.100.1", "198.51.100.2"))
    assert [ip.status for ip in bench.ips] == [Status.COOLDOWN, Status.COOLDOWN, Status.AVAILABLE]
    assert [(ip.failure_count, ip.success_count) for ip in bench.ips] == [(1, 0), (0, 1), (0, 0)]
    assert (bench.tracer.active, bench.tracer.busy) == (0, 0)


async def test_the_row_has_the_last_chain_and_the_sums_of_all_attempts(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    bench = Bench(monkeypatch, in_turn(DEAD, BUSY, LANDED), retries_max=2, ips=3)
    await done(bench)
    finished = bench.finished()
    assert [hop["url"] for hop in finished.redirect_chain] == ["https://ads.example/2"]
    assert (finished.bytes_received, finished.bytes_sent) == (1_000 + 1_001 + 1_002, 100 + 101 + 102)
    assert (finished.trace_time_ms, finished.total_time_ms, finished.retry_count) == (3_000, 3_000, 2)
    assert finished.exit_ip == "192.0.2.2"
    assigned = [entry.ip_assigned for entry in of_kind(TraceProcessing, bench.journal.entries)]
    assert assigned == list(finished.ips_tried) == ["198.51.100.1", "198.51.100.2", "198.51.100.3"]


async def test_the_wait_for_all_ips_counts_and_not_the_traces_between(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    bench = Bench(monkeypatch, in_turn(DEAD, LANDED), retries_max=2, ips=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        for ip, wait_s in zip(bench.ips, (3.0, 2.0), strict=True):
            asked = await bench.message()
            assert isinstance(asked, Acquire)
            await trio.sleep(wait_s)
            asked.reply.send_nowait(bench.lease(ip=ip))
            assert isinstance(await bench.message(), Release)
    assert [entry.wait_time_ms for entry in of_kind(TraceProcessing, bench.journal.entries)] == [3_000, 5_000]
    assert (bench.finished().trace_time_ms, bench.finished().total_time_ms) == (2_000, 7_000)


async def test_the_failed_lease_is_released_before_the_next_acquire_which_excludes_tried_ips(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    bench = Bench(monkeypatch, in_turn(BUSY, DEAD, LANDED), retries_max=2, ips=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        tried: list[Any] = []
        for ip, event in zip(
            bench.ips, (Event.RELEASED_TARGET_AT_FAULT, Event.RELEASED_IP_AT_FAULT, Event.RELEASED_OK), strict=True
        ):
            asked = await bench.message()
            assert isinstance(asked, Acquire)
            assert asked.tried == frozenset(tried)
            assert (asked.request_id, asked.deadline_s) == (bench.job.request_id, bench.job.deadline_s)
            asked.reply.send_nowait(bench.lease(ip=ip))
            released = await bench.message()
            assert isinstance(released, Release)
            assert (released.ip_id, released.event, released.response_ms) == (ip.id, event, 1_000)
            tried.append(ip.id)


@pytest.mark.parametrize("retries_max", [0, 1, 2, 5])
async def test_there_are_at_most_retries_max_retries(
    retries_max: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    bench = Bench(monkeypatch, in_turn(DEAD), retries_max=retries_max, ips=9)
    await done(bench)
    finished = bench.finished()
    assert (finished.retry_count, len(set(finished.ips_tried))) == (retries_max, retries_max + 1)
    assert (finished.status, finished.verdict, finished.reason) == ("failed", "ip", "proxy_unreachable")
    assert finished.error_message == DEAD.message
    assert bench.heard()[-1] == Finished(None, "trace_failed")
    assert sum(ip.failure_count for ip in bench.ips) == retries_max + 1


@pytest.mark.parametrize("verdict", sorted(set(Verdict) - {Verdict.OK, Verdict.IP, Verdict.PROVIDER}))
async def test_a_fault_of_neither_ip_nor_provider_is_not_retried(
    verdict: Verdict, monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    bench = Bench(monkeypatch, in_turn(GaveUp(verdict, "why", "m"), LANDED), retries_max=2, ips=3)
    await done(bench)
    assert (bench.finished().retry_count, bench.finished().verdict) == (0, verdict)


async def test_there_is_no_retry_after_the_deadline(monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock) -> None:
    for each_s, attempts in ((4.0, 3), (6.0, 2), (10.0, 1)):
        bench = Bench(monkeypatch, in_turn(DEAD, each_s=each_s), retries_max=5, ips=9)
        bench.job = replace(bench.job, asked_s=trio.current_time(), deadline_s=trio.current_time() + 10)
        await done(bench)
        assert len(bench.finished().ips_tried) == attempts


async def test_without_another_ip_the_first_failure_is_reported_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    bench = Bench(monkeypatch, in_turn(DEAD, LANDED), retries_max=2, ips=1)
    await done(bench)
    assert trio.current_time() == 1
    finished = bench.finished()
    assert (finished.retry_count, finished.reason, finished.total_time_ms) == (0, "proxy_unreachable", 1_000)
    assert bench.heard()[-1] == Finished(None, "trace_failed")


async def test_an_ip_that_frees_up_before_the_deadline_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    bench = Bench(monkeypatch, in_turn(DEAD, LANDED), retries_max=2)
    bench.pools.pool.load([Ip(uuid4(), "b", "7000", "us", "luna", Status.COOLDOWN, locked_until_s=7.0)])
    await done(bench)
    finished = bench.finished()
    assert (finished.status, finished.total_time_ms, finished.ips_tried) == ("completed", 8_000, ("198.51.100.1", "b"))


@pytest.mark.parametrize("while_it", ["traces", "waits for the second IP"])
async def test_a_stop_finishes_a_job_once_and_leaves_no_lease(
    while_it: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    tracing = never_ends if while_it == "traces" else in_turn(DEAD)
    bench = Bench(monkeypatch, tracing, retries_max=2, ips=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        asked = await bench.message()
        assert isinstance(asked, Acquire)
        asked.reply.send_nowait(bench.lease())
        if while_it != "traces":
            assert isinstance(await bench.message(), Release)
            assert isinstance(await bench.message(), Acquire)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    if while_it == "traces":
        assert isinstance(await bench.message(), Release)
    assert bench.finished().reason == ("stopped" if while_it == "traces" else "proxy_unreachable")
    assert bench.heard().count(Finished(None, "trace_failed")) == 1
    with pytest.raises(trio.WouldBlock):
        bench.pools.mailbox.receive_nowait()


async def test_a_refusal_of_the_second_ip_leaves_the_first_failure_as_the_end(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    bench = Bench(monkeypatch, in_turn(BUSY), retries_max=2, ips=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        first = await bench.message()
        assert isinstance(first, Acquire)
        first.reply.send_nowait(bench.lease())
        await bench.message()
        second = await bench.message()
        assert isinstance(second, Acquire)
        second.reply.send_nowait(NoIPAvailable(60.0, "full"))
    finished = bench.finished()
    assert (finished.verdict, finished.reason, finished.retry_count) == ("provider", "provider_busy", 0)


async def test_each_ip_of_a_retried_job_is_released_wherever_the_cancel_falls(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    """Cancels the job after each possible number of scheduler steps."""
    steps = 0
    while True:
        bench = Bench(monkeypatch, in_turn(DEAD, LANDED, each_s=0), retries_max=2, ips=2)
        finished = False
        async with trio.open_nursery() as actors:
            bench.start_pool(actors)
            with trio.CancelScope() as scope:

                async def cancel_after(checkpoints: int, scope: trio.CancelScope = scope) -> None:
                    for _ in range(checkpoints):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                actors.start_soon(cancel_after, steps)
                await bench.work()
                finished = True
            bench.post.mailbox.close()
        for ip in bench.ips:
            assert (ip.status is Status.COOLDOWN) == bool(ip.total_uses), f"{ip!r} after {steps} steps"
        if bench.heard():  # a worker took the job
            used, tried = [ip.address for ip in bench.ips if ip.total_uses], list(bench.finished().ips_tried)
            assert set(tried) <= set(used)
            assert len(used) <= len(tried) + 1, "but for a lease that came in the instant of the cancel"
        if finished:
            break
        steps += 1
        assert steps < 300
    assert steps > 5
    assert bench.finished().retry_count == 1


@pytest.mark.parametrize(
    ("ips", "retries_max", "deadline_s", "reaches"),
    [
        (3, 2, 9.0, [3.0, 4.0, math.inf]),  # a third, then half of what is left after one second; the last has all
        (2, 2, 9.0, [3.0, math.inf]),  # without another IP the last attempt has no limit
        (1, 2, 9.0, [math.inf]),
        (3, 0, 9.0, [math.inf]),
        (3, 2, 3.0, [PROXY_TIMEOUT_MIN_S, PROXY_TIMEOUT_MIN_S, math.inf]),
    ],
)
async def test_a_slow_proxy_is_left_in_time_for_another_one(
    ips: int,
    retries_max: int,
    deadline_s: float,
    reaches: list[float],
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: Clock,
) -> None:
    bench = Bench(monkeypatch, in_turn(DEAD), retries_max=retries_max, ips=ips)
    bench.job = replace(bench.job, deadline_s=deadline_s)
    await done(bench)
    assert bench.proxy_timeouts == reaches


async def test_a_batch_trace_is_retried_until_its_deadline_and_stays_pending_after_a_stop(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    bench = Bench(monkeypatch, in_turn(DEAD, LANDED), retries_max=2, ips=2)
    bench.job = replace(bench.job, priority=1)
    await done(bench)
    assert bench.finished().retry_count == 1

    bench = Bench(monkeypatch, in_turn(DEAD), retries_max=2, ips=2)
    bench.job = replace(bench.job, priority=1, deadline_s=trio.current_time() + 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        asked = await bench.message()
        assert isinstance(asked, Acquire)
        asked.reply.send_nowait(bench.lease(locked_until_s=trio.current_time() + 90))
        assert isinstance(await bench.message(), Release)
        await bench.message()
        nursery.cancel_scope.cancel()
    assert [type(entry) for entry in bench.states()] == [TraceProcessing]


async def test_the_log_line_has_the_number_of_attempts(monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock) -> None:
    bench = Bench(monkeypatch, in_turn(DEAD, LANDED), retries_max=2, ips=2)
    with structlog.testing.capture_logs() as logs:
        await done(bench)
    [line] = [line for line in logs if line["event"] == "trace"]
    assert (line["attempts"], line["ip"], line["verdict"]) == (2, "198.51.100.2:7000", Verdict.OK)
    assert (line["trace_ms"], line["bytes_received"], line["bytes_sent"]) == (2_000, 2_001, 201)


async def test_a_refused_login_marks_the_provider_and_not_the_ip(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    refused = GaveUp(Verdict.CREDENTIALS, "proxy_credentials", "hop 1 (ads.example): the proxy answered 407")
    bench = Bench(monkeypatch, in_turn(refused), retries_max=2, ips=3)
    await done(bench)
    assert [(ip.failure_count, ip.consecutive_failures, ip.is_healthy) for ip in bench.ips] == [(0, 0, True)] * 3
    assert refusals(provider_figures(bench.providers, 0)) == {"luna": 1}
