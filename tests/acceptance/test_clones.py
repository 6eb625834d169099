"""A cloned machine beside its original: two daemons whose state directories have one node id."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio

from daemon.journal import copies
from daemon.journal.spool import FILE
from tests.support.processes import Serving, click, database_of, psql, serving
from tests.support.waiting import PATIENCE_S, until

FALLBACK = "https://ads.example/go"
ACTIVE = "select count(*) from nodes where state = 'active'"


def cloned(original: Path, clone: Path, *, rebooted: bool) -> Path:
    """Its place is forged: a clone's machine id, device and inode are those of the original."""
    shutil.copytree(original, clone, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    with closing(sqlite3.connect(clone / FILE)) as connection, connection:
        copies.record_place(connection, clone / FILE)
        if rebooted:
            connection.execute("update boot set id = 'an earlier start of the machine'")
    return clone


@asynccontextmanager
async def one_node(state_dir: Path) -> AsyncIterator[tuple[str, dict[str, Any], Serving]]:
    """The database's URL, the settings, and a daemon that knows an offer and has no IPs."""
    for name in ("database", "first"):
        (state_dir / name).mkdir()
    async with database_of(state_dir / "database") as url:
        settings = {"database": {"url": url}, "node": {"name": "first"}}
        async with serving(state_dir / "first", settings) as daemon:
            await psql(
                url, f"insert into offers (offer_name, final_url, target_country) values ('a', '{FALLBACK}', 'us')"
            )
            await daemon.logged("offers_adopted")
            yield url, settings, daemon


async def count(url: str, statement: str) -> int:
    return int((await psql(url, statement))[0][0])


@pytest.mark.slow
async def test_a_clone_that_starts_beside_its_original_is_a_new_node(state_dir: Path) -> None:
    async with one_node(state_dir) as (url, settings, original):
        clone = cloned(original.state_dir, state_dir / "second", rebooted=True)
        async with serving(clone, {**settings, "node": {"name": "second"}}) as second:
            assert second.log("state_directory_copied")
            assert await count(url, ACTIVE) == 2
            assert not original.faults()
            assert await second.stop() == 0
        assert await original.stop() == 0


async def every_click_is_a_row(url: str, answered: dict[str, int]) -> bool:
    return await count(url, "select count(*) from hits") >= sum(answered.values())


@pytest.mark.slow
async def test_a_node_that_its_clone_displaces_ends_and_starts_as_a_new_node_without_losing_a_hit(
    state_dir: Path,
) -> None:
    async with one_node(state_dir) as (url, settings, original):
        clone = cloned(original.state_dir, state_dir / "second", rebooted=False)
        answered, enough = {"first": 0, "second": 0}, trio.Event()

        async def visit(daemon: Serving) -> None:
            while daemon.process.poll() is None and not enough.is_set():
                answered[daemon.state_dir.name] += (await click(daemon, "a")).redirected

        async with trio.open_nursery() as visitors:
            visitors.start_soon(visit, original)
            await until(lambda: answered["first"] > 0, "the original answers")
            async with serving(clone, {**settings, "node": {"name": "second"}}) as second:
                visitors.start_soon(visit, second)
                [line] = await original.logged("node_displaced")
                assert "named second" in line["why"]
                with trio.fail_after(PATIENCE_S):
                    assert await original.process.wait() == 1
                enough.set()
                async with serving(original.state_dir, settings) as again:
                    assert await count(url, ACTIVE) == 2
                    # A stop leaves what a slow machine has not written yet to the next start.
                    await until(lambda: every_click_is_a_row(url, answered), "each hit is a row")
                    assert await again.stop() == 0
                assert not second.log("node_claim_lost")
                assert await second.stop() == 0
