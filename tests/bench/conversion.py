"""An upgrade of a database with 5 million hits, while clicks go on: no click is late or lost, also through a kill.

The database has the tables of an earlier version. The daemon migrates it, builds the indexes of `database/indexes.sql`
and removes the hits that are older than their retention. It is killed while the first index is built, and starts again.
"""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg

from daemon.database.indexes import wanted_indexes
from tests.bench.figures import Figure, quantile
from tests.bench.growth import HIT, RANDOM
from tests.bench.scene import BenchmarkBroke, Daemon, Scene, add_ips, add_offer, fetch, loaded, start_load

BEFORE = "0022"
"""The first migration that the database does not have."""
KEPT_DAYS, OLD_SHARE = 90, 0.02
REQUESTS, DELAY_MS = 3, 200
PROXIES = 60
RATE = 20.0
DEADLINE_MS = 10_000.0
LATE_MS = DEADLINE_MS + 500
KILLED_AFTER_S_MAX, TURN_S, DONE_S_MAX = 20.0, 10.0, 300.0
BEING_BUILT = "select max(c.relname) from pg_stat_progress_create_index p join pg_class c on c.oid = p.index_relid"
BUILT = "select count(*) from pg_index i join pg_class c on c.oid = i.indexrelid where relname = any($1) and indisvalid"
OLD_HITS = f"select count(*) from hits where created_at < now() - interval '{KEPT_DAYS} days 1 minute'"
SETTINGS = {"pool": {"cooldown_s": 1}, "maintenance": {"interval_s": 15}}
PROGRESS = ("index_begins", "index_being_built", "index_built", "old_rows_left", "maintenance")


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    hits = 200_000 if quick else 5_000_000
    say(f"a database of an earlier version with {hits:,} hits, {OLD_SHARE:.0%} of them older than {KEPT_DAYS} days")
    url, state_dir = scene.database(migrated=False), scene.fresh_dir("state")
    asyncio.run(_fill(url, hits))
    with scene.network(PROXIES) as network:
        add_ips(url, network)
        add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
        with scene.daemon(url, SETTINGS, state_dir=state_dir) as daemon:
            say(f"clicks are traced after {daemon.ready_s:.1f} s")
            ready_s, load = daemon.ready_s, _clicks_for(daemon, KILLED_AFTER_S_MAX)
            what = _until(url, BEING_BUILT, KILLED_AFTER_S_MAX)
            daemon.process.kill()
            say(f"killed while {what} was built")
            answers = _answers(load)
        with scene.daemon(url, SETTINGS, state_dir=state_dir) as daemon:
            say(f"clicks are traced again after {daemon.ready_s:.1f} s")
            began_s, is_done = time.monotonic(), False
            while not is_done and time.monotonic() < began_s + DONE_S_MAX:
                load = _clicks_for(daemon, TURN_S)
                answers += _answers(load)
                left, built = _one(url, OLD_HITS), _one(url, BUILT, [index.name for index in wanted_indexes()])
                say(f"{left:,} hits are still to be removed, {built} of {len(wanted_indexes())} indexes are built")
                is_done = not left and built == len(wanted_indexes())
            done_s = time.monotonic() - began_s
            progress = sum(line["event"] in PROGRESS for line in _lines(daemon.log))
    waits_ms = [wait_ms for _, wait_ms, _ in answers]
    rows = _one(url, "select count(*) from hits where offer_name = 'plain'")
    return [
        Figure("from the start until clicks are traced", ready_s, "s", note=f"{hits:,} hits"),
        Figure("from the second start until all is done", done_s, "s", note=f"{progress} lines of progress in the log"),
        Figure("clicks meanwhile: wait beyond the chain, p99", quantile(waits_ms, 0.99) - REQUESTS * DELAY_MS, "ms"),
        Figure("clicks answered after their deadline", sum(ms > LATE_MS for ms in waits_ms), "clicks", 0),
        Figure("answered clicks without a hit", max(0, len(answers) - rows), "clicks", 0, note=f"of {len(answers):,}"),
        Figure("hits older than 90 days at the end", _one(url, OLD_HITS), "hits", 0),
    ]


async def _fill(url: str, hits: int) -> None:
    """The rows are inserted before the indexes are made, which is faster."""
    conn = await asyncpg.connect(url)
    try:
        directory = files("daemon.database").joinpath("migrations")
        names = sorted(file.name for file in directory.iterdir() if file.name.endswith(".sql") and file.name < BEFORE)
        await conn.execute(
            "create table schema_migrations (name text primary key, applied_at timestamptz default now())"
        )
        for name in names:
            await conn.execute(directory.joinpath(name).read_text())
            await conn.execute("insert into schema_migrations (name) values ($1)", name)
        await conn.execute(
            "alter table hits drop constraint hits_pkey; drop index hits_created_at; drop index hits_offer"
        )
        insert = "insert into hits " + HIT.format(request_id=RANDOM, key="").replace("on conflict () do nothing", "")
        days = KEPT_DAYS / (1 - OLD_SHARE)
        first = await conn.fetchval("select now() - make_interval(secs => $1)", days * 86_400)
        span = await conn.fetchval("select now() - $1::timestamptz", first)
        await conn.execute(insert, first, span, hits)
        await conn.execute("alter table hits add primary key (request_id)")
        await conn.execute("create index hits_created_at on hits (created_at)")
        await conn.execute("create index hits_offer on hits (offer_name, created_at)")
        await conn.execute("vacuum analyze hits")
    finally:
        await conn.close()


def _one(url: str, query: str, *values: object) -> Any:
    return next(iter(fetch(url, query, *values)[0].values()))


def _until(url: str, query: str, longest_s: float) -> Any:
    """The first value that is not null."""
    until_s = time.monotonic() + longest_s
    while time.monotonic() < until_s:
        if (found := _one(url, query)) is not None:
            return found
        time.sleep(0.05)
    raise BenchmarkBroke(f"no value came from: {query}")


def _clicks_for(daemon: Daemon, length_s: float) -> "subprocess.Popen[str]":
    return start_load("clicks", daemon.click_url("plain"), str(RATE), str(length_s))


def _answers(load: "subprocess.Popen[str]") -> list[tuple[float, float, str]]:
    """Of the clicks that were answered: the others met no daemon, or the kill."""
    return [(sent_s, wait_ms, what) for sent_s, wait_ms, what in loaded(load)["clicks"] if what != "lost"]


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
