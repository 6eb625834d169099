"""The engine's processes, and the pages that wait for one of them."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from daemon.trace.engine.frames import LENGTH
from daemon.trace.engine.records import PageOutcome, PageRequest

WAIT_S_MAX = 2.0  # a page that waits longer for a free engine is unresolved
WALL_S_MAX = 1.0  # an engine that does not answer for this long is killed

COMMAND = [sys.executable, "-m", "daemon.trace.engine.child"]


class Engines:
    """Up to `workers_max` processes, each with one page at a time."""

    def __init__(self, workers_max: int) -> None:
        self._workers_max = workers_max
        self._free = trio.Semaphore(workers_max)

    async def run(self, request: PageRequest) -> PageOutcome:
        """What the page does in the engine. A page that the engine cannot judge is unresolved."""
        with trio.move_on_after(WAIT_S_MAX) as waiting:
            await self._free.acquire()
        if waiting.cancelled_caught:
            return PageOutcome("unresolved", why="no engine was free")
        try:
            frame = msgspec.msgpack.encode(request)
            frame = LENGTH.pack(len(frame)) + frame
            with trio.move_on_after(WALL_S_MAX):
                done = await trio.run_process(COMMAND, stdin=frame, capture_stdout=True, check=False)
                if len(done.stdout) > LENGTH.size:
                    return msgspec.msgpack.decode(done.stdout[LENGTH.size :], type=PageOutcome)
                return PageOutcome("unresolved", why="the engine crashed")
            return PageOutcome("unresolved", why="the engine took too long")
        finally:
            self._free.release()


@asynccontextmanager
async def engines_running(workers_max: int) -> AsyncIterator[Engines]:
    """The engines; their processes have ended after the block."""
    yield Engines(workers_max)
