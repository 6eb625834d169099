"""The scripts of jump pages: CPU and wait of a page with one script, and other clicks beside 1,000 hostile pages."""

import os
import resource
import time
from collections.abc import Callable

import trio

from daemon.trace.engine.engines import engines_running
from daemon.trace.engine.records import PageRequest
from tests.bench.figures import Figure, quantile
from tests.bench.scene import BenchmarkBroke, Scene

CPU_TARGET_MS, WAIT_TARGET_MS = 3.0, 5.0
CONCURRENT = 20
PAUSE_S = 0.005  # between two pages of the first figures: the engine makes its next process meanwhile
PAGE = PageRequest(
    "https://track.example/click",
    "<!doctype html><html><head><title>One moment</title></head><body><p>You are being redirected.</p>"
    "<script>function go(url) { window.location.href = url; } var id = Math.random().toString(36).slice(2);\n"
    "go('https://next.example/land?cid=' + encodeURIComponent(id));</script></body></html>",
    "utf-8",
    True,
)


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    pages = 100 if quick else 1_000
    say(f"{pages} pages with one script, one after the other and {CONCURRENT} at once")
    alone_ms, together_ms, cpu_ms, own_ms = trio.run(_measured, pages)
    return [
        Figure(
            "CPU of a page with one script, in all",
            cpu_ms,
            "ms",
            CPU_TARGET_MS,
            reference=own_ms,
            beside="the daemon's part; the rest is the engine's and the page's process",
        ),
        Figure(
            "its wait, p50",
            quantile(alone_ms, 0.5),
            "ms",
            WAIT_TARGET_MS,
            note=f"p99 {quantile(alone_ms, 0.99):.1f} ms",
        ),
        Figure(
            f"its wait with {CONCURRENT} at once, p50",
            quantile(together_ms, 0.5),
            "ms",
            note=f"p99 {quantile(together_ms, 0.99):.1f} ms; {len(os.sched_getaffinity(0))} CPUs",
        ),
    ]


async def _measured(pages: int) -> tuple[list[float], list[float], float, float]:
    """Waits of pages alone and of pages together, then CPU time of a page alone, in all and in this process."""
    waits_ms: list[float] = []
    alone_ms: list[float] = []

    async def one_after_another(count: int, pause_s: float) -> None:
        for _ in range(count):
            began_s = time.perf_counter()
            outcome = await engines.run(PAGE)
            waits_ms.append((time.perf_counter() - began_s) * 1000)
            if outcome.kind != "goes":
                raise BenchmarkBroke(f"the page did not leave: {outcome}")
            await trio.sleep(pause_s)

    before_s = _cpu_s(resource.RUSAGE_CHILDREN)
    async with engines_running(1) as engines:
        await engines.run(PAGE)
    start_s = _cpu_s(resource.RUSAGE_CHILDREN) - before_s
    before_s, own_s = _cpu_s(resource.RUSAGE_CHILDREN), _cpu_s(resource.RUSAGE_SELF)
    async with engines_running(1) as engines:
        await one_after_another(pages, PAUSE_S)
        own_ms = (_cpu_s(resource.RUSAGE_SELF) - own_s) / pages * 1000
        alone_ms, waits_ms = waits_ms, []
    children_ms = (_cpu_s(resource.RUSAGE_CHILDREN) - before_s - start_s) / pages * 1000
    async with engines_running(len(os.sched_getaffinity(0))) as engines:
        await engines.run(PAGE)
        async with trio.open_nursery() as nursery:
            for _ in range(CONCURRENT):
                nursery.start_soon(one_after_another, max(1, pages // CONCURRENT), 0)
    return alone_ms, waits_ms, children_ms + own_ms, own_ms


def _cpu_s(of: int) -> float:
    used = resource.getrusage(of)
    return used.ru_utime + used.ru_stime
