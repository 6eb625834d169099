"""The engines of the daemon, and the pages that wait for one of them.

The first engine starts soon after the daemon, or with the first page; a further one when a page finds all of them busy,
up to `workers_max`. An engine that fails is replaced after a pause, and its page is unresolved.
"""

import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import structlog
import trio
from msgspec.structs import replace

from daemon.pauses import Pauses
from daemon.settings.model import Settings
from daemon.trace.engine.process import CHILD, EngineFault, EngineProcess, Sandbox, engine_process, in_several_waits
from daemon.trace.engine.records import PageOutcome, PageRequest
from daemon.trace.engine.trees import small_tree_of

WAITING_MAX = 256  # pages that wait for an engine; further ones are unresolved at once
START_AFTER_S = 3.0  # the start of the daemon itself has the CPU first
PAGE_S_MAX = 3.0  # from the request to the outcome of a page, its wait included

log = structlog.get_logger("daemon.trace")

_NO_ENGINE = PageOutcome("unresolved", why=f"no engine was free within {PAGE_S_MAX:g} s")
_FAILED = PageOutcome("unresolved", why="the engine failed: see engine_failed in the log")
_TOO_SLOW = PageOutcome("unresolved", why=f"the engine did not answer within {PAGE_S_MAX:g} s")


@dataclass(eq=False, slots=True)
class _Page:
    """`outcome` counts until `done`."""

    request: bytes
    outcome: PageOutcome = _NO_ENGINE
    done: trio.Event = field(default_factory=trio.Event)
    abandoned: bool = False


def workers_of(settings: Settings) -> int:
    """With "auto" one engine for each CPU. Several processes of the daemon share the CPUs."""
    if settings.trace.script_workers != "auto":
        return settings.trace.script_workers
    cpus = len(os.sched_getaffinity(0))
    return 1 if settings.processes == "auto" else max(1, cpus // settings.processes)


class Engines:
    """Up to `workers_max` engines, each with one page at a time."""

    def __init__(self, workers_max: int, nursery: trio.Nursery, module: str) -> None:
        self._workers_max = workers_max
        self._module = module
        self._nursery = nursery
        self._send, self._receive = trio.open_memory_channel[_Page](WAITING_MAX)
        self._announced = False
        self._ready = 0  # engines that run pages or wait for one
        self._refused = False  # the last engine that started failed before it was ready
        self.workers = 0
        nursery.start_soon(self._start_first)

    async def run(self, request: PageRequest) -> PageOutcome:
        """The outcome of a page, after PAGE_S_MAX at the latest. A page that the engine cannot judge is unresolved."""
        if self._refused and not self._ready:
            return PageOutcome("unresolved", why="no engine starts: see engine_failed in the log")
        page = _Page(completed(request))
        all_are_busy = self._announced and not self._receive.statistics().tasks_waiting_receive
        if not self.workers or (all_are_busy and self.workers < self._workers_max):
            self._add_worker()
        try:
            self._send.send_nowait(page)
        except trio.WouldBlock:
            return PageOutcome("unresolved", why=f"{WAITING_MAX} pages wait for an engine")
        try:
            await in_several_waits(page.done.wait, PAGE_S_MAX)
        finally:
            page.abandoned = True
        return page.outcome

    async def _start_first(self) -> None:
        await trio.sleep(START_AFTER_S)
        if not self.workers:
            self._add_worker()

    def _add_worker(self) -> None:
        self.workers += 1
        self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        """One engine after another."""
        pauses = Pauses()
        while True:
            why = await self._serve()
            pause_s = pauses.after_crash(trio.current_time())
            log.error("engine_failed", why=why, restart_in_s=pause_s, effect="its page is unresolved")
            await trio.sleep(pause_s)

    async def _serve(self) -> str:
        """Runs pages until the engine fails. Returns why it did."""
        try:
            async with engine_process(self._module) as engine:
                return await self._serve_with(engine)
        except EngineFault as fault:
            self._refused = True
            return str(fault)

    async def _serve_with(self, engine: EngineProcess) -> str:
        why, began = "the engine ended", 0
        serving = trio.CancelScope()
        self._nursery.start_soon(_cancel_at_end, engine, serving)
        with serving:
            try:
                self._announce(await engine.start())
                began, self._refused = 1, False
                self._ready += 1
                async for page in self._receive:
                    if not page.abandoned:
                        await _run(engine, page)
            except EngineFault as fault:
                why = str(fault)
        self._ready -= began
        self._refused |= not began
        last_words = await engine.last_words()
        return f"{why}: {last_words}" if last_words else why

    def _announce(self, sandbox: Sandbox) -> None:
        """Logs the sandbox of the first engine."""
        if self._announced:
            return
        self._announced = True
        log.info("engine_ready", workers_max=self._workers_max, sandbox=sandbox.in_force)
        if sandbox.missing:
            log.warning("engine_sandbox_incomplete", missing=sandbox.missing,
                        effect="the scripts of pages run with fewer restrictions")  # fmt: skip


def completed(request: PageRequest) -> bytes:
    """The request in JSON, with what the daemon finds at a lower price than the process of a page."""
    tree = small_tree_of(request.html, whole=request.whole)
    seed = struct.unpack("<4I", os.urandom(16))
    return msgspec.json.encode(replace(request, tree=msgspec.Raw((tree or "null").encode()), seed=seed))


@asynccontextmanager
async def engines_running(workers_max: int, module: str = CHILD) -> AsyncIterator[Engines]:
    """The engines, processes of `module`. None of them is left after the block."""
    async with trio.open_nursery() as nursery:
        yield Engines(workers_max, nursery, module)
        nursery.cancel_scope.cancel()


async def _cancel_at_end(engine: EngineProcess, serving: trio.CancelScope) -> None:
    await engine.ended()
    serving.cancel()


async def _run(engine: EngineProcess, page: _Page) -> None:
    page.outcome = _TOO_SLOW
    try:
        page.outcome = await engine.run(page.request)
    except BaseException:
        page.outcome = _FAILED
        raise
    finally:
        page.done.set()
