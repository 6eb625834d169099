"""NOTIFY by another role, under load, on the daemon's channels, with payloads that the daemon's triggers never send."""

import asyncio
import contextlib
import random
import time

import asyncpg
import trio

from daemon.database import cluster
from tests.faults.stage import Fault, Stage
from tests.faults.visible import comes, well_again
from tests.support.servers import ASK_S

STRANGER = "stranger"
CHANNELS = ("tracepool_ips", "tracepool_offers", "tracepool_tokens", "tracepool_traces")
PER_S = 50.0
FLOOD_S = 4.0
ADOPTED_S = 5.0
PAYLOADS = (
    "",
    " ",
    "gone away",
    "DROP TABLE hits; --",
    "1",
    "1 2 3",
    "2 1",
    "-5 7",
    "1.5 2.5",
    "1 99999999999999999999999999999999",
    "9" * 400 + " " + "9" * 400,
    "\N{ARABIC-INDIC DIGIT ONE} \N{ARABIC-INDIC DIGIT TWO}",
    "\N{GRINNING FACE}\N{COMBINING ACUTE ACCENT}\N{RIGHT-TO-LEFT OVERRIDE}",
    "GONE",
    '{"first": 1, "last": 2}',
    "x" * 7_900,
    "7 " * 3_950,
)


async def flooded(stage: Stage) -> str:
    scene = stage.scene
    if stage.turn() == 0:
        await scene.run_sql(f"create role {STRANGER} login")
    url = scene.postgres.server.url.replace(f"{cluster.SUPERUSER}@", f"{STRANGER}@")
    sent = await trio.to_thread.run_sync(lambda: asyncio.run(_flood(url, stage.rng)))
    unreadable = scene.log("notification_unreadable")
    stage.expect(bool(unreadable), "not said", "the log has no `notification_unreadable`")
    adopted = len(scene.log("offers_adopted"))
    began_s = time.monotonic()
    await scene.run_sql("update offers set notes = 'edited'")
    heard = await comes(scene, lambda: len(scene.log("offers_adopted")) > adopted, ADOPTED_S)
    stage.expect(heard, "not adopted", f"an edit after the flood was not adopted within {ADOPTED_S:g} s")
    stage.measured("edit adopted", time.monotonic() - began_s)
    await well_again(stage)
    return f"{sent} notifications in {FLOOD_S:g} s, {len(unreadable)} lines `notification_unreadable` so far"


async def _flood(url: str, rng: random.Random) -> int:
    """Send PER_S notifications for FLOOD_S; every payload on every channel at least once. Returns their number."""
    connection = await asyncpg.connect(url, timeout=ASK_S)
    everything = [(channel, payload) for channel in CHANNELS for payload in PAYLOADS]
    rng.shuffle(everything)
    try:
        began_s, sent = time.monotonic(), 0
        while sent < PER_S * FLOOD_S:
            await connection.execute("select pg_notify($1, $2)", *everything[sent % len(everything)], timeout=ASK_S)
            sent += 1
            await asyncio.sleep(max(0.0, began_s + sent / PER_S - time.monotonic()))
    finally:
        with contextlib.suppress(OSError, asyncpg.InterfaceError):
            await connection.close(timeout=ASK_S)
    return sent


FAULTS = (
    Fault(
        "notifications",
        "NOTIFY with foreign payloads on the daemon's channels, 50 a second, by another role",
        flooded,
        rounds=1,
        all_resolved=True,
    ),
)
