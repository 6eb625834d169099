"""A batch trace that is cancelled or out of time ends wherever it is; its IP rests, and its worker goes on."""

from typing import Any
from uuid import uuid4

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.pool.messages import Acquire, Release
from daemon.pool.states import Event
from daemon.trace.jobs import BATCH_PRIORITY, CANCELLED, OUT_OF_TIME, Finished, WaitingForIp
from daemon.trace.walk.steps import GaveUp
from daemon.trace.walk.verdicts import Verdict
from tests.actors.tracing import Bench, ends, never_ends

WHY = GaveUp(Verdict.OPERATOR, CANCELLED, "cancelled by an operator")
LATE = GaveUp(Verdict.LIMIT, OUT_OF_TIME, "not traced in time")


def bench_of(monkeypatch: pytest.MonkeyPatch, tracing: Any = never_ends) -> Bench:
    bench = Bench(monkeypatch, tracing)
    bench.job = replace(bench.job, priority=BATCH_PRIORITY)
    return bench


@pytest.mark.parametrize(("why", "status"), [(WHY, "failed"), (LATE, "timeout")])
async def test_a_trace_that_runs_ends_and_its_ip_rests(
    why: GaveUp, status: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    bench = bench_of(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        await bench.grant()
        await trio.sleep(3)
        bench.tracer.end_batch_trace(bench.job.request_id, why)
        release = await bench.message()
    assert isinstance(release, Release)
    assert release.event is Event.RELEASED_TARGET_AT_FAULT
    row = bench.finished()
    assert (row.status, row.reason, row.verdict, row.error_message) == (status, why.reason, why.verdict, why.message)
    assert row.trace_time_ms == 3000
    assert isinstance(bench.heard()[-1], Finished)
    assert (bench.tracer.active, bench.tracer.busy) == (0, 0)


async def test_a_trace_that_waits_for_an_ip_gives_up_its_place(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    bench = bench_of(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        request = await bench.message()
        bench.tracer.end_batch_trace(bench.job.request_id, WHY)
        await wait_all_tasks_blocked()
        assert isinstance(request, Acquire)
        with pytest.raises(trio.BrokenResourceError):
            request.reply.send_nowait(bench.lease())  # so the pool takes the lease back
    row = bench.finished()
    assert (row.status, row.reason, row.error_message) == ("failed", CANCELLED, WHY.message)
    assert bench.heard() == [WaitingForIp(), Finished(None, "no_ip")]


async def test_a_trace_without_a_worker_ends_when_one_takes_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    bench = bench_of(monkeypatch, ends(WHY))
    bench.tracer.end_batch_trace(bench.job.request_id, WHY)
    await bench.work()
    assert (bench.finished().reason, bench.finished().trace_time_ms) == (CANCELLED, None)


async def test_the_worker_and_the_ip_of_a_cancelled_trace_serve_the_next_one(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    bench = bench_of(monkeypatch)
    async with trio.open_nursery() as nursery:
        bench.start_pool(nursery)
        nursery.start_soon(bench.tracer.work, bench.receive)
        bench.jobs.send_nowait(bench.job)
        await wait_all_tasks_blocked()
        assert bench.tracer.active == 1
        bench.tracer.end_batch_trace(bench.job.request_id, WHY)
        await trio.sleep(1)
        assert bench.pools.directory.counts()["us"].cooldown == 1
        other = replace(bench.job, request_id=uuid4(), deadline_s=500.0)
        bench.jobs.send_nowait(other)
        await trio.sleep(58)
        assert bench.tracer.active == 0, "the IP rests first"
        await trio.sleep(10)
        assert bench.tracer.active == 1
        nursery.cancel_scope.cancel()
