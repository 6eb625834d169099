"""Hits of 90 days at 50 clicks a second: old rows removed by DELETE, or by partitions that are dropped.

Days are scaled down: a day of 50 clicks/s has 4,320,000 hits, here an 800th (quick: a 2,000th). What a day costs
is measured while rows of a new day come and those of the oldest day go. Autovacuum looks at the tables each second, as
often in relation to the rows as it does each quarter of an hour of a real day.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg

from daemon.database.queries import QUERIES
from tests.bench.figures import Figure, quantile
from tests.bench.scene import Scene, execute

CLICKS_PER_DAY = 4_320_000
KEPT_DAYS = 90
PARTS = 48  # of a day: rows come and go so often
SETTLE_S_MAX = 30.0
HIT = """
    (request_id, offer_id, offer_name, outcome, location, visitor_address, user_agent, referrer, wait_ms, created_at)
select {request_id}, '00000000-0000-0000-0000-000000000001', 'offer-' || n % 20, 'resolved',
       'https://shop.example/summer?cid=' || n || '&gclid=' || md5(n::text) || '&utm_source=search&utm_campaign=summer',
       '198.51.100.' || n % 250, 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0',
       'https://search.example/', 1000 + n % 500, at
from (select n, $1::timestamptz + (n - 1) * ($2::interval / $3) as at from generate_series(1, $3::int) n) clicks
on conflict ({key}) do nothing"""
RANDOM = "gen_random_uuid()"
BY_TIME = """
    (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8'
     || substr(md5(random()::text), 1, 15))::uuid"""
AUTOVACUUM = """
select count(*) from pg_stat_activity where backend_type = 'autovacuum worker' and datname = current_database()"""
OF_A_MINUTE = QUERIES["last_minute"]


@dataclass(slots=True)
class Course:
    """What was measured on each day."""

    bytes: list[int] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    wal_bytes: list[int] = field(default_factory=list)
    by_id_ms: float = 0.0
    minute_ms: float = 0.0

    def last(self) -> str:
        size, wal = self.bytes[-1] / 1e6, self.wal_bytes[-1] / 1e6
        return f"{size:,.0f} MB, {self.dead[-1]:,} dead rows, {self.cpu_s[-1]:.2f} s of CPU, {wal:.0f} MB of WAL"


class Layout:
    """One way to keep the hits of 90 days. `rows`: of a day."""

    name = "deleted"
    key = "request_id"

    def __init__(self, conn: asyncpg.Connection, rows: int, request_id: str) -> None:
        self._conn, self._rows, self._insert = (
            conn,
            rows,
            f"insert into hits {HIT}".format(request_id=request_id, key=self.key),
        )

    async def prepare(self, first: datetime, days: int) -> None:
        """Nothing: the table is there."""

    async def add(self, at: datetime, span: timedelta, rows: int) -> None:
        await self._conn.execute(self._insert, at, span, rows)

    async def begin_day(self, day: datetime) -> None:
        """Nothing."""

    async def remove(self, before: datetime) -> None:
        days = (datetime.now(UTC) - before).total_seconds() / 86_400
        await self._conn.fetchval(QUERIES["remove_hits"], days, self._rows)


class Partitioned(Layout):
    name = "partitions"
    key = "request_id, created_at"

    async def prepare(self, first: datetime, days: int) -> None:
        await self._conn.execute("""
            alter table hits rename to hits_plain;
            create table hits (like hits_plain including defaults) partition by range (created_at);
            alter table hits add primary key (request_id, created_at);
            create index on hits (created_at); create index on hits (offer_name, created_at)""")
        for day in range(days):
            await self.begin_day(first + timedelta(days=day))

    async def begin_day(self, day: datetime) -> None:
        bounds = (bound.isoformat() for bound in (day, day + timedelta(days=1)))
        values = "from ('{}') to ('{}')".format(*bounds)
        await self._conn.execute(f"create table if not exists hits_{day:%Y%m%d} partition of hits for values {values}")

    async def remove(self, before: datetime) -> None:
        await self._conn.execute(f"drop table if exists hits_{before - timedelta(days=1):%Y%m%d}")


async def _course(
    scene: Scene, url: str, layout: type[Layout], request_id: str, rows: int, days: int, say: Callable[[str], None]
) -> Course:
    conn = await asyncpg.connect(url)
    try:
        one = layout(conn, rows, request_id)
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        first = today - timedelta(days=KEPT_DAYS + days)
        await one.prepare(first, KEPT_DAYS)
        for day in range(KEPT_DAYS):
            await one.add(first + timedelta(days=day), timedelta(days=1), rows)
            if day % 30 == 29:
                say(f"{one.name}: {(day + 1) * rows:,} hits of {day + 1} days")
        await conn.execute("vacuum analyze hits")
        await conn.execute("checkpoint")
        course = Course()
        for day in range(days):
            begins = first + timedelta(days=KEPT_DAYS + day)
            await _day(scene, conn, one, begins, rows, course)
            if day % 5 == 4:
                say(f"{one.name}, day {KEPT_DAYS + day + 1}: {course.last()}")
        await _ask(conn, course)
        return course
    finally:
        await conn.close()


async def _day(
    scene: Scene, conn: asyncpg.Connection, one: Layout, begins: datetime, rows: int, course: Course
) -> None:
    cpu_s, wal = scene.server_cpu_s(), await conn.fetchval("select pg_current_wal_lsn()")
    await one.begin_day(begins)
    for part in range(PARTS):
        span = timedelta(days=1) / PARTS
        await one.add(begins + part * span, span, rows // PARTS)
        if one.key == Layout.key or part == PARTS - 1:
            await one.remove(begins + (part + 1) * span - timedelta(days=KEPT_DAYS))
        if part % 8 == 7:
            await conn.execute("checkpoint")
    await _settled(conn)
    course.bytes.append(
        await conn.fetchval(
            "select sum(pg_total_relation_size(relid))::bigint from pg_stat_user_tables where relname like 'hits%'"
        )
    )
    course.dead.append(
        await conn.fetchval("select sum(n_dead_tup)::bigint from pg_stat_user_tables where relname like 'hits%'")
    )
    course.wal_bytes.append(int(await conn.fetchval("select pg_wal_lsn_diff(pg_current_wal_lsn(), $1)", wal)))
    course.cpu_s.append(scene.server_cpu_s() - cpu_s)


async def _settled(conn: asyncpg.Connection) -> None:
    """Until autovacuum has nothing to do: a real day gives it 86,400 s."""
    until_s = time.monotonic() + SETTLE_S_MAX
    await asyncio.sleep(1.2)
    while time.monotonic() < until_s and await conn.fetchval(AUTOVACUUM):  # noqa: ASYNC110 - PostgreSQL tells nobody
        await asyncio.sleep(0.2)


async def _ask(conn: asyncpg.Connection, course: Course) -> None:
    """The time of two statements, planned anew each time, as the daemon sends them."""
    ids = [row[0] for row in await conn.fetch("select request_id from hits order by created_at limit 200")]

    async def timed(statement: str, *args: object) -> float:
        began_s = time.perf_counter()
        await conn.fetch(statement, *args)
        return (time.perf_counter() - began_s) * 1000

    found = "select * from hits where request_id = '{}'"
    course.by_id_ms = quantile([await timed(found.format(one)) for one in ids], 0.5)
    course.minute_ms = quantile([await timed(f"{OF_A_MINUTE} /* {n} */") for n in range(200)], 0.5)


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    rows, days = CLICKS_PER_DAY // (2_000 if quick else 800), 5 if quick else 10
    often_vacuumed(scene)
    courses = {
        (layout.name, request_id): asyncio.run(_course(scene, scene.database(), layout, request_id, rows, days, say))
        for layout, request_id in ((Layout, RANDOM), (Layout, BY_TIME), (Partitioned, RANDOM))
    }
    plain, by_time, parted = courses.values()
    return _figures(plain, by_time, parted, rows)


def often_vacuumed(scene: Scene) -> None:
    url = scene.database(migrated=False)
    execute(url, "alter system set autovacuum_naptime = '1s'")
    execute(url, "select pg_reload_conf()")


def _figures(plain: Course, by_time: Course, parted: Course, rows: int) -> list[Figure]:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    scale = CLICKS_PER_DAY / rows
    figures = []
    for name, of, unit, by in (
        ("CPU of PostgreSQL for a day of hits", lambda c: mean(c.cpu_s) * scale, "s", "scaled to 4,320,000 hits a day"),
        ("WAL of a day of hits", lambda c: mean(c.wal_bytes) * scale / 1e9, "GB", "scaled"),
        ("hits of 90 days, at the end", lambda c: c.bytes[-1] * scale / 1e9, "GB", "scaled"),
        ("growth after 90 days", lambda c: 100 * (c.bytes[-1] / c.bytes[0] - 1), "%", ""),
        ("dead rows, the most at a day's end", lambda c: 100 * max(c.dead) / (rows * KEPT_DAYS), "% of all rows", ""),
        ("a hit by its request id", lambda c: c.by_id_ms, "ms", "planning included"),
        ("the figures of the last minute", lambda c: c.minute_ms, "ms", "planning included"),
    ):
        beside = f"partitions of a day; deleted with request ids by time: {of(by_time):.3g}"
        figures.append(Figure(f"{name}, rows deleted", of(plain), unit, reference=of(parted), beside=beside, note=by))
    return figures
