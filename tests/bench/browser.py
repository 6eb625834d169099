"""The browser: CPU, wait and memory of its traces, and what http, auto and browser land, and cost, with a mixed set."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil
import structlog
import trio

from daemon.providers.proxies import LeasedProxy
from daemon.settings.live import LiveSettings
from daemon.trace.browser.browser import Browser
from daemon.trace.engine.engines import engines_running
from daemon.trace.local import LocalBackend
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import Identity, Landed, Limits, Walk
from tests.bench.figures import Figure, quantile
from tests.bench.scene import BenchmarkBroke, Scene
from tests.fakes.chains import Replies, says
from tests.fakes.net import fetcher, net
from tests.fakes.origins import redirect
from tests.support.tracers import browser_running, tracer_settings

AT_ONCE, MEMORY_AT_ONCE = 8, 20
HALF = 0.5
LANDING = "http://d.example/shop?cid=7"
# A shop: 200 KB of markup, three scripts of 50 KB, pictures.
SHOP = "<!doctype html><title>Shop</title>" + "".join(f"<script src=/{n}.js></script><img src=/{n}.png>" for n in "abc")
SHOP += "<p>All that you need, at prices that you like. " * 4_000
SCRIPT = "window.shop = window.shop || []; " + "shop.push('a product, with its name and its price'); " * 1_000
SETS = {"redirects": (12, "ads.example"), "script": (5, "b.example"), "fetch": (3, "c.example")}
"""Of the mixed set: how many chains, and the host where they begin."""
REPLIES: Replies = {
    "ads.example/0": redirect("http://ads.example/1"),
    "ads.example/1": redirect("http://b.example/2"),
    "b.example/2": redirect(LANDING),
    "b.example/0": says(f"<script>setTimeout(function () {{ location = '{LANDING}' }}, 500)</script>"),
    "c.example/0": says("<script>fetch('/to').then((to) => to.text()).then((to) => { location = to })</script>"),
    "c.example/to": says(LANDING, kind="text/plain"),
    "d.example/shop?cid=7": says(SHOP),
    **{f"d.example/{n}.js": says(SCRIPT, kind="text/javascript") for n in "abc"},
    # Three hops by scripts.
    "e.example/0": says("<script>location = '/1'</script>"),
    "e.example/1": says("<script>setTimeout(() => location.replace('/2'), 1000)</script>"),
    "e.example/2": says("<title>Landed</title>"),
}


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    return trio.run(_figures, quick, say)


@dataclass
class _Bench:
    by: LocalBackend
    port: int
    results: list[TraceResult] = field(default_factory=list)

    async def trace(self, url: str, tracer: str) -> TraceResult:
        walk = Walk(url, Identity("tester/1"), Limits(20, allow_private=True))
        proxy = LeasedProxy("127.0.0.1", str(self.port), "us", "", "a/1", math.inf)
        result = await self.by.trace(walk, proxy, timeout_s=60, tracer=tracer)  # type: ignore[arg-type]
        self.results.append(result)
        return result


async def _figures(quick: bool, say: Callable[[str], None]) -> list[Figure]:
    live = LiveSettings(tracer_settings(browser_max=MEMORY_AT_ONCE))
    async with net(dict(REPLIES)) as here, engines_running(1) as engines, browser_running(live) as browser:
        bench = _Bench(LocalBackend(live, fetcher(engine=engines, hop_timeout_s=30), browser), here.port)
        await bench.trace("http://e.example/0", "browser")
        say("a chain of three hops by scripts, one trace after the other")
        one = await _one_after_another(bench, 10 if quick else 50)
        say(f"{AT_ONCE} at once")
        many = await _at_once(bench, 16 if quick else 80)
        say(f"memory with {MEMORY_AT_ONCE} at once")
        memory = await _memory(browser)
        say("a mixed set")
        mixed = [await _mixed(bench, tracer, 1 if quick else 3) for tracer in ("http", "auto", "browser")]
    return [*one, many, *memory, *_compared(*mixed)]


async def _one_after_another(bench: _Bench, count: int) -> list[Figure]:
    bench.results.clear()
    before_s = _cpu_s()
    for _ in range(count):
        await bench.trace("http://e.example/0", "browser")
    cpu_ms = (_cpu_s() - before_s) / count * 1000
    waits = [result.ms for result in bench.results]
    note = f"p99 {quantile(waits, 0.99):.0f} ms"
    return [
        Figure("CPU of a trace of three hops, in all", cpu_ms, "ms", note="browser and daemon"),
        Figure("its time, p50", quantile(waits, 0.5), "ms", note=note),
    ]


async def _at_once(bench: _Bench, count: int) -> Figure:
    room = trio.CapacityLimiter(AT_ONCE)
    began_s, before_s = time.perf_counter(), _cpu_s()

    async def one() -> None:
        async with room:
            await bench.trace("http://e.example/0", "browser")

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    took_s, cpu_s = time.perf_counter() - began_s, _cpu_s() - before_s
    note = f"{count} traces, {AT_ONCE} at once, in {took_s:.1f} s with {cpu_s:.1f} s of CPU"
    return Figure("traces per minute and core", count / cpu_s * 60, "", note=note)


async def _memory(browser: Browser) -> list[Figure]:
    opened = 0
    idle_mb = _memory_mb()
    all_open, done = trio.Event(), trio.Event()

    async def one() -> None:
        nonlocal opened
        async with browser.tab("http://127.0.0.1:9", wait_s=30) as tab:
            await tab.call("Runtime.evaluate", expression="document.write('x')")
            opened += 1
            if opened == MEMORY_AT_ONCE:
                all_open.set()
            await done.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(MEMORY_AT_ONCE):
            nursery.start_soon(one)
        await all_open.wait()
        full_mb = _memory_mb()
        done.set()
    name = f"memory of the browser with {MEMORY_AT_ONCE} at once"
    each = f"{(full_mb - idle_mb) / MEMORY_AT_ONCE:.0f} MB each"
    return [Figure(name, full_mb, "MB", reference=idle_mb, beside="with none", note=each)]


@dataclass(frozen=True)
class _Mixed:
    share: float
    ms: float
    size: float


async def _mixed(bench: _Bench, tracer: str, rounds: int) -> _Mixed:
    """Means of a trace."""
    bench.results.clear()
    for _ in range(rounds):
        for count, host in SETS.values():
            for _ in range(count):
                await bench.trace(f"http://{host}/0", tracer)
    results = bench.results
    landed = sum(isinstance(result.end, Landed) and result.end.url == LANDING for result in results)
    if not landed:
        raise BenchmarkBroke(f"{tracer} landed nothing: {results[-1].end}")
    size = sum(result.bytes_received + result.bytes_sent for result in results)
    return _Mixed(landed / len(results), sum(result.ms for result in results) / len(results), size / len(results))


def _compared(http: _Mixed, auto: _Mixed, browser: _Mixed) -> Sequence[Figure]:
    count = sum(count for count, _ in SETS.values())
    note = ", ".join(f"{many} by {name}" for name, (many, _) in SETS.items())
    return [
        Figure(
            "of a mixed set, auto lands", auto.share * 100, "%", browser.share * 100, at_least=True,
            reference=browser.share * 100, beside=f"browser; http {http.share * 100:.0f} %",
            note=f"{count} chains: {note}",
        ),
        Figure(
            "its mean time with auto", auto.ms, "ms", HALF * browser.ms, reference=browser.ms,
            beside=f"with browser; http {http.ms:.1f} ms",
        ),
        Figure(
            "its mean bytes with auto", auto.size, "B", HALF * browser.size, reference=browser.size,
            beside=f"with browser; http {http.size:,.0f} B",
        ),
    ]  # fmt: skip


def _cpu_s() -> float:
    """CPU seconds of this process and of its living descendants, and of their children that ended."""
    total = 0.0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system + (0 if process == me else used.children_user + used.children_system)
    return total


def _memory_mb() -> float:
    """Of the browser's processes; a page that several share counts once."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            if "chrom" in process.name():
                total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 1e6
