"""Lease and release in memory, compared with the same work in SQL by 50 concurrent clients.

In memory: Pool.decide for an Acquire and for its Release, and the encoding of both journal entries. The end of a
cooldown, by a timer, has a figure of its own. The time is an argument of the pool: it is advanced so that half of the
pool's IPs are in their cooldown at any moment.
SQL: an UPDATE of the least recently used available row, found with FOR UPDATE SKIP LOCKED, and the UPDATE that releases
the row, on the embedded PostgreSQL with its usual settings. Rows become available at once, so that no client waits.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from daemon.clock import Moment
from daemon.journal.entries import encode
from daemon.pool.messages import Acquire, Decision, Lease, NoIPAvailable, Release
from daemon.pool.pool import Pool
from daemon.pool.states import Event, Ip, Rules
from tests.bench.figures import Figure, quantile, shown
from tests.bench.scene import BenchmarkBroke, Scene

SIZES = (100, 10_000, 100_000)
RULES = Rules(lock_s=90, cooldown_s=60)
ROUNDS = 20_000
CLIENTS = 50
TARGET_US = 30.0

TABLE = """
create table rotation (ip_address text primary key, country text not null, status text not null default 'available',
    is_healthy boolean not null default true, locked_by uuid, locked_until timestamptz, last_used_at timestamptz,
    total_uses bigint not null default 0, success_count bigint not null default 0,
    consecutive_failures int not null default 0);
create index rotation_status_country on rotation (status, country);
create index rotation_locked_until on rotation (locked_until) where locked_until is not null;
"""
LEASE = """
update rotation set status = 'locked', locked_by = $1, locked_until = now() + interval '90 seconds',
    last_used_at = now(), total_uses = total_uses + 1
where ip_address = (
    select ip_address from rotation where status = 'available' and country = $2 and is_healthy
    order by last_used_at asc nulls first limit 1 for update skip locked)
returning ip_address
"""
RELEASE = """
update rotation set status = 'available', locked_by = null, locked_until = null, success_count = success_count + 1,
    consecutive_failures = 0
where ip_address = $1
"""


@dataclass(slots=True)
class _Reply:
    answer: Lease | NoIPAvailable | None = None

    def send_nowait(self, value: Lease | NoIPAvailable, /) -> None:
        self.answer = value


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    figures = []
    for size in SIZES:
        say(f"{size:,} IPs")
        lease_us, rest_us = _decided(size, ROUNDS // 4 if quick else ROUNDS)
        waits_ms, per_s = asyncio.run(_by_sql(scene.database(migrated=False), size, 2.0 if quick else 6.0))
        p50, p99 = quantile(waits_ms, 0.5), quantile(waits_ms, 0.99)
        figures.append(
            Figure(
                f"lease and release, {size:,} IPs, median",
                quantile(lease_us, 0.5),
                "µs",
                TARGET_US,
                reference=p50 * 1000,
                beside=f"SQL, {CLIENTS} clients: p50 {shown(p50, 'ms')}, p99 {shown(p99, 'ms')}, {per_s:,.0f}/s",
                note=f"p99 {shown(quantile(lease_us, 0.99), 'µs')}; the end of a cooldown by timer "
                f"{shown(quantile(rest_us, 0.5), 'µs')}",
            )
        )
    return figures


def _decided(size: int, rounds: int) -> tuple[list[float], list[float]]:
    """Microseconds of each lease with its release, and of each end of a cooldown."""
    pool = Pool("us", RULES)
    pool.load(Ip(uuid.uuid4(), f"p{i}.example", "7000", "us", "luna") for i in range(size))
    step_s = 2 * RULES.cooldown_s / size
    lease_us, rest_us = [], []
    journal: list[tuple[str, str]] = []
    tick_s = 0.0
    for _ in range(max(rounds, size // 2 + rounds)):
        tick_s += step_s
        now = Moment(tick_s, 1_700_000_000 + tick_s)
        began_ns = time.perf_counter_ns()
        decision = Decision()
        pool.fire_timers(now, decision)
        journal += map(encode, decision.entries)
        ended_ns = time.perf_counter_ns()
        if decision.entries:
            rest_us.append((ended_ns - began_ns) / 1000)
        request = Acquire(uuid.uuid4(), tick_s + 10, _Reply())
        began_ns = time.perf_counter_ns()
        decision = Decision()
        pool.decide(request, now, decision)
        journal += map(encode, decision.entries)
        lease = decision.answers[0][1]
        if not isinstance(lease, Lease):
            raise BenchmarkBroke(f"no lease: {lease!r}")
        decision = Decision()
        pool.decide(Release(lease.ip_id, lease.lease_no, Event.RELEASED_OK, 1_000.0), now, decision)
        journal += map(encode, decision.entries)
        lease_us.append((time.perf_counter_ns() - began_ns) / 1000)
        journal.clear()
    return lease_us[-rounds:], rest_us[-rounds:]


async def _by_sql(url: str, size: int, seconds: float) -> tuple[list[float], float]:
    """Milliseconds of each lease with its release, and the number of leases per second of all clients."""
    waits_ms: list[float] = []
    async with asyncpg.create_pool(url, min_size=CLIENTS, max_size=CLIENTS) as pool:
        await pool.execute(TABLE)
        await pool.execute(
            "insert into rotation (ip_address, country) select 'p' || i || '.example', 'us' "
            f"from generate_series(1, {size}) i"
        )
        await pool.execute("vacuum analyze rotation")
        ends_s = time.perf_counter() + seconds

        async def client() -> None:
            async with pool.acquire() as connection:
                while (began_s := time.perf_counter()) < ends_s:
                    address = await connection.fetchval(LEASE, uuid.uuid4(), "us")
                    if address is not None:  # other clients had locked all candidates: try again
                        await connection.execute(RELEASE, address)
                        waits_ms.append((time.perf_counter() - began_s) * 1000)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return waits_ms, len(waits_ms) / seconds
