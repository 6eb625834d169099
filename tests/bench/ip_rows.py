"""Rows of ip_rotation_pool in an hour of 100 transitions a second: HOT updates, dead rows and size."""

import asyncio
import functools
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import asyncpg

from daemon.database.queries import QUERIES
from tests.bench.figures import Figure
from tests.bench.growth import often_vacuumed
from tests.bench.scene import Scene, add_idle_ips, execute

IPS = 5_000
PER_S = 100
BATCH = 200  # entries, as the shipper gathers them in two seconds
FORMER_INDEXES = """
create index ip_rotation_pool_country_status on ip_rotation_pool (country, status);
create index ip_rotation_pool_locked_until on ip_rotation_pool (locked_until) where locked_until is not null"""
NODE = uuid.UUID(int=1)
STATES = ("locked", "cooldown", "available")


@dataclass(frozen=True, slots=True)
class Hour:
    hot_percent: float
    dead_max: int
    bytes_before: int
    bytes_after: int
    index_bytes: int
    wal_bytes: int
    cpu_s: float


async def _hour(scene: Scene, url: str, transitions: int, say: Callable[[str], None]) -> Hour:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute("set tracepool.writer = 'daemon'")
        await conn.execute("update ip_rotation_pool set node_id = $1", NODE)
        await conn.execute("vacuum full analyze ip_rotation_pool")
        await conn.execute("checkpoint")
        ids, random, number, dead_max = (
            [row[0] for row in await conn.fetch("select id from ip_rotation_pool")],
            Random(7),
            0,
            0,
        )
        size = "select pg_total_relation_size('ip_rotation_pool')"
        before, wal = await conn.fetchval(size), await conn.fetchval("select pg_current_wal_lsn()")
        cpu_s, started = scene.server_cpu_s(), await _counted(conn)
        for batch in range(transitions // BATCH):
            entries = []
            for _ in range(BATCH):
                number += 1
                state = STATES[number % 3]
                entries.append({
                    "id": str(random.choice(ids)), "event": "x", "status": state, "lease_no": number,
                    "locked_until": None if state == "available" else time.time() + 90, "last_used_at": time.time(),
                    "consecutive_failures": 0, "is_healthy": True, "avg_response_time_ms": 1006.0, "edit_no": 2**40,
                    "uses": 1, "successes": 0, "failures": 0,
                })  # fmt: skip
            await conn.execute(QUERIES["apply_ip_changed"], json.dumps(entries), NODE)
            if batch % 60 == 59:
                dead_max = max(
                    dead_max,
                    await conn.fetchval(
                        "select n_dead_tup from pg_stat_user_tables where relname = 'ip_rotation_pool'"
                    ),
                )
            if batch % (transitions // BATCH // 6) == transitions // BATCH // 6 - 1:
                say(f"{number:,} transitions: {await conn.fetchval(size) / 1e6:.1f} MB")
        await asyncio.sleep(1.5)  # PostgreSQL's counts come late
        updates, hot = (now - then for now, then in zip(await _counted(conn), started, strict=True))
        return Hour(
            hot_percent=100 * hot / max(1, updates),
            dead_max=dead_max,
            bytes_before=before,
            bytes_after=await conn.fetchval(size),
            index_bytes=await conn.fetchval("select pg_indexes_size('ip_rotation_pool')"),
            wal_bytes=int(await conn.fetchval("select pg_wal_lsn_diff(pg_current_wal_lsn(), $1)", wal)),
            cpu_s=scene.server_cpu_s() - cpu_s,
        )
    finally:
        await conn.close()


async def _counted(conn: asyncpg.Connection) -> tuple[int, int]:
    row = await conn.fetchrow(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'ip_rotation_pool'"
    )
    return (row[0], row[1]) if row else (0, 0)


def _said(say: Callable[[str], None], name: str, what: str) -> None:
    say(f"IPs, {name}: {what}")


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    often_vacuumed(scene)
    transitions = PER_S * (360 if quick else 3_600)
    hours = []
    for name, indexes in (("with the indexes of earlier versions", FORMER_INDEXES), ("now", "")):
        url = scene.database()
        add_idle_ips(url, IPS)
        if indexes:
            execute(url, indexes)
        hours.append(asyncio.run(_hour(scene, url, transitions, functools.partial(_said, say, name))))
    before, now = hours
    beside = "with the indexes of earlier versions on status and locked_until"
    return [
        Figure(f"{IPS:,} IPs, {transitions:,} transitions: HOT updates", now.hot_percent, "%", 95, at_least=True,
               reference=before.hot_percent, beside=beside),
        Figure("size of ip_rotation_pool after them", now.bytes_after / 1e6, "MB", reference=before.bytes_after / 1e6,
               beside=beside, note=f"before them {now.bytes_before / 1e6:.1f} MB"),
        Figure("dead rows, at most", now.dead_max, "rows", reference=before.dead_max, beside=beside),
        Figure("WAL", now.wal_bytes / 1e6, "MB", reference=before.wal_bytes / 1e6, beside=beside),
        Figure("CPU of PostgreSQL", now.cpu_s, "s", reference=before.cpu_s, beside=beside),
    ]  # fmt: skip
