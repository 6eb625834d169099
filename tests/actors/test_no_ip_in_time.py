"""Clicks that no IP can serve in time fall back at once: clicks, workers and a pool's actor on a virtual clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from daemon.click.clicks import Clicks
from daemon.journal.entries import Hit, TraceFinished
from daemon.pool.messages import Remove
from daemon.trace.dispatch import Dispatcher
from daemon.trace.walk.steps import GaveUp
from daemon.trace.walk.verdicts import Verdict
from tests.actors.clicking import VISITOR, Face
from tests.actors.tracing import LANDED, Bench, Tracing, ends, now
from tests.fakes.entries import of_kind

DEAD = GaveUp(Verdict.IP, "proxy_unreachable", "hop 1 (ads.example): the proxy's port refuses connections")
REFUSED_AFTER_S = 0.25


class Running:
    """Clicks, workers and a pool. `answers`: (reason, seconds) in order."""

    def __init__(self, bench: Bench, clicks: Clicks) -> None:
        self.bench = bench
        self.clicks = clicks
        self.answers: list[tuple[str | None, float]] = []

    async def click(self) -> None:
        began_s = trio.current_time()
        answer = await self.clicks.answer(b"offer=sale&gclid=7", VISITOR)
        [hit] = [hit for hit in of_kind(Hit, self.bench.journal.entries) if hit.request_id == answer.request_id]
        self.answers.append((hit.reason, round(trio.current_time() - began_s, 3)))

    async def click_at_once(self, count: int) -> None:
        async with trio.open_nursery() as visitors:
            for _ in range(count):
                visitors.start_soon(self.click)


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch, tracing: Tracing, *, ips: int) -> AsyncIterator[Running]:
    bench, face = Bench(monkeypatch, tracing, retries_max=2, ips=ips), Face()
    dispatcher = Dispatcher(bench.directory, bench.journal, bench.jobs, bench.live, now)
    clicks = Clicks(face.offers, dispatcher, bench.journal, now, face.live)
    async with trio.open_nursery() as nursery:
        bench.start_pool(nursery)
        for _ in range(10):
            nursery.start_soon(bench.tracer.work, bench.receive.clone())
        yield Running(bench, clicks)
        nursery.cancel_scope.cancel()


async def test_three_dead_proxies_and_five_clicks_keep_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with running(monkeypatch, ends(DEAD, REFUSED_AFTER_S), ips=3) as here:
        await here.click_at_once(5)
        assert sorted(wait_s for _, wait_s in here.answers) == [0, 0, *[REFUSED_AFTER_S] * 3]
        assert [reason for reason, wait_s in here.answers if not wait_s] == ["no_ip"] * 2
        failed = [reason for reason, wait_s in here.answers if wait_s]
        assert failed == ["trace_failed"] * 3, "each has tried one IP; the others rest beyond its deadline"
        rows = of_kind(TraceFinished, here.bench.journal.entries)
        assert {row.reason for row in rows} == {"no_ip", "proxy_unreachable"}


async def test_a_rest_that_ends_before_the_deadline_is_waited_for_by_as_many_as_it_serves(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with running(monkeypatch, ends(LANDED), ips=2) as here:
        await here.click_at_once(2)
        await trio.sleep(55)  # both IPs are free 5 s later
        here.answers.clear()
        await here.click_at_once(5)
        assert here.answers == [*[("no_ip", 0)] * 3, *[(None, 6)] * 2]


async def test_a_wait_ends_with_the_ip_that_it_is_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with running(monkeypatch, ends(LANDED), ips=1) as here:
        await here.click()
        await trio.sleep(55)
        here.answers.clear()
        async with trio.open_nursery() as visitors:
            visitors.start_soon(here.click)
            await trio.sleep(1.5)
            here.bench.post.mailbox.send_nowait(Remove((here.bench.ip.id,)))
        assert here.answers == [("no_ip", 1.5)]
