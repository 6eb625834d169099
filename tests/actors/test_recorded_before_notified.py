"""A trace is journaled before its visitor is answered: a crash between the two leaves no hit without its trace."""

from typing import cast

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from daemon.journal.entries import TraceFinished
from daemon.trace.jobs import Finished, TraceUpdate
from tests.actors.tracing import LANDED, Bench, ends
from tests.fakes.entries import of_kind


async def test_the_end_of_a_trace_is_recorded_before_the_visitor_is_notified(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, ends(LANDED))
    recorded_when_notified: list[int] = []

    class Listener:
        def send_nowait(self, update: TraceUpdate) -> None:
            if isinstance(update, Finished):
                recorded_when_notified.append(len(of_kind(TraceFinished, bench.journal.entries)))

    bench.job = replace(bench.job, listener=cast("trio.MemorySendChannel[TraceUpdate]", Listener()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        await bench.grant()
        await bench.message()
    assert recorded_when_notified == [1]
