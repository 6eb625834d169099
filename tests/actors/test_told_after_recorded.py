"""What a visitor is told stands in the journal already: no crash between the two leaves a hit without its trace."""

from typing import cast

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from daemon.journal.entries import TraceFinished
from daemon.pool.messages import Acquire
from daemon.trace.jobs import Finished, TraceUpdate
from tests.actors.tracing import LANDED, Bench, ends
from tests.fakes.entries import of_kind


async def test_a_trace_is_recorded_as_finished_before_its_visitor_hears_of_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    bench = Bench(monkeypatch, ends(LANDED))
    recorded_when_told: list[int] = []

    class Listening:
        def send_nowait(self, update: TraceUpdate) -> None:
            if isinstance(update, Finished):
                recorded_when_told.append(len(of_kind(TraceFinished, bench.journal.entries)))

    bench.job = replace(bench.job, listener=cast("trio.MemorySendChannel[TraceUpdate]", Listening()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        request = await bench.message()
        assert isinstance(request, Acquire)
        request.reply.send_nowait(bench.lease())
        await bench.message()
    assert recorded_when_told == [1]
