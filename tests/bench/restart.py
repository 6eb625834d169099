"""Time from the start of the process to the first resolved click, with 100,000 IPs and 100,000 entries in the spool."""

import time
from collections.abc import Callable

import trio

from tests.bench.clicked import entries_of, fill_spool, ids_of_ips
from tests.bench.figures import Figure, shown
from tests.bench.load import exchange, location_of
from tests.bench.scene import BenchmarkBroke, Scene, add_idle_ips, add_ips, add_offer

IPS, LIVE_IPS = 100_000, 10
ENTRIES = 100_000
POLL_S = 0.02
PATIENCE_S = 60.0
TARGET_S = 10.0


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    ips, entries = (IPS // 10, ENTRIES // 10) if quick else (IPS, ENTRIES)
    with scene.network(LIVE_IPS) as network:
        found = []
        for with_spool in (False, True):
            url = scene.database()
            add_idle_ips(url, ips)
            add_ips(url, network, "nl")
            add_offer(url, "plain", network.chain_url(2, 0), "nl")
            state_dir = scene.fresh_dir("state")
            if with_spool:
                fill_spool(state_dir / "journal.sqlite", entries_of(ids_of_ips(url, "us"), entries))
            say(f"{ips:,} IPs, {entries if with_spool else 0:,} entries in the spool")
            began_s = time.perf_counter()
            with scene.daemon(url, state_dir=state_dir) as daemon:
                trio.run(_until_answered, daemon.port)
                found.append(time.perf_counter() - began_s)
    note = f"quick: {ips:,} IPs and {entries:,} entries only" if quick else ""
    empty_s, full_s = found
    return [
        Figure(
            f"restart to the first answered click, {ips:,} IPs, {entries:,} entries",
            full_s,
            "s",
            TARGET_S,
            reference=empty_s,
            beside="with an empty spool",
            note=note or f"{shown(entries / max(0.001, full_s - empty_s), 'entries/s')} on the way",
        )
    ]


async def _until_answered(port: int) -> None:
    with trio.move_on_after(PATIENCE_S):
        while True:
            head = await exchange("127.0.0.1", port, b"GET /track-hit?offer=plain&gclid=g HTTP/1.1\r\nHost: t\r\n\r\n")
            if head.startswith(b"HTTP/1.1 302 ") and "cid=" in (location_of(head) or ""):
                return
            await trio.sleep(POLL_S)
    raise BenchmarkBroke(f"no click was resolved within {PATIENCE_S:g} s of the start")
