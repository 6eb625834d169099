"""The scripts of jump pages: CPU and wait of a page with one script, and other clicks beside 1,000 hostile pages."""

import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from statistics import median

import trio

from daemon.trace.engine.engines import engines_running
from daemon.trace.engine.records import PageRequest
from tests.bench import jump_network
from tests.bench.figures import Figure, quantile
from tests.bench.scene import BenchmarkBroke, Scene, add_ips, add_offer, loaded, start_load

CPU_TARGET_MS, WAIT_TARGET_MS = 3.0, 5.0
CONCURRENT = 20
MOVED_TARGET_MS = 5.0
IPS, CLICKS_PER_S = 100, 40.0
TURNS, TURN_S = 6, 10.0
WARM_UP_S = 8.0  # the first commits of leases take longer
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
    moved_ms, off_ms, note = _beside_clicks(scene, quick, say)
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
        Figure(
            "other clicks beside hostile pages: their wait p99 grows by",
            moved_ms,
            "ms",
            MOVED_TARGET_MS,
            reference=off_ms,
            beside="their wait p99 beside as many pages without scripts",
            note=note,
        ),
    ]


def _beside_clicks(scene: Scene, quick: bool, say: Callable[[str], None]) -> tuple[float, float, str]:
    """How much hostile pages move the clicks' wait p99, and that wait beside as many pages without scripts.

    Each is the median of the turns: a pause of the machine lengthens the waits of one turn.
    """
    turns, turn_s = (1, 6.0) if quick else (TURNS, TURN_S)
    url = scene.database()
    with scene.network(IPS, module=jump_network.__name__) as network:
        add_ips(url, network)
        add_offer(url, "plain", network.chain_url(2, 0))
        add_offer(url, "hostile", jump_network.HOSTILE_URL)
        add_offer(url, "harmless", jump_network.HARMLESS_URL)
        with scene.daemon(url, {"pool": {"cooldown_s": 0.1}}) as daemon:
            loaded(start_load("clicks", daemon.click_url("plain"), str(CLICKS_PER_S), str(WARM_UP_S)))
            waits_ms: dict[str, list[list[float]]] = {"harmless": [], "hostile": []}
            outcomes: Counter[str] = Counter()
            for turn in range(turns):
                for kind in sorted(waits_ms, reverse=turn % 2 == 1):
                    say(f"turn {turn + 1} of {turns}: clicks beside {kind} pages")
                    load = start_load("clicks", daemon.click_url("plain"), str(CLICKS_PER_S), str(turn_s))
                    rate = str(jump_network.PAGES / TURNS / TURN_S)
                    pages = loaded(start_load("clicks", daemon.click_url(kind), rate, str(turn_s)))
                    waits_ms[kind].append(loaded(load)["waits_ms"])
                    if kind == "hostile":
                        outcomes.update(pages["outcomes"])
    pairs = list(zip(waits_ms["harmless"], waits_ms["hostile"], strict=True))
    moved_ms = {share: [quantile(on, share) - quantile(off, share) for off, on in pairs] for share in (0.5, 0.9, 0.99)}
    note = (
        f"p50 and p90 by {median(moved_ms[0.5]):.1f} and {median(moved_ms[0.9]):.1f} ms; medians of {turns} turns, p99 "
        f"{min(moved_ms[0.99]):.1f} to {max(moved_ms[0.99]):.1f} ms; hostile pages: {dict(outcomes)}"
    )
    return median(moved_ms[0.99]), median(quantile(off, 0.99) for off, _ in pairs), note


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
