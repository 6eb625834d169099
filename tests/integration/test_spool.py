"""The spool on a real disk: durable entries stay, in order, and its size is limited."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
import trio
import trio.testing

from daemon.journal.entries import encode
from daemon.journal.spool import Spool
from daemon.journal.writer import JournalWriter
from tests.integration.journals import CountedSpool
from tests.support.entries import hit, leased
from tests.support.waiting import PATIENCE_S


async def test_nothing_to_record_leaves_the_writer_asleep(tmp_path: Path) -> None:
    spool = CountedSpool(tmp_path / "j")
    writer = JournalWriter(spool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        writer.record()
        with trio.fail_after(PATIENCE_S):
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await writer.durable(), "there was nothing before it to be made durable"
        assert spool.commits == 0
        nursery.cancel_scope.cancel()
    spool.close()


async def test_what_was_recorded_before_a_cancel_is_on_disk_after_it(tmp_path: Path) -> None:
    for wakes in range(3):
        spool = CountedSpool(tmp_path / f"j{wakes}")
        writer = JournalWriter(spool)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            for _ in range(wakes):  # cancel the writer while it sleeps, at the start of a commit, and during one
                await trio.lowlevel.checkpoint()
            writer.record(hit())
            if wakes:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert len(spool.read(0, 10)) == 1
        spool.close()


async def test_a_spool_that_really_cannot_grow_refuses_whole_batches(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "j")
    spool.append([encode(hit())])
    pages = spool._writer.execute("pragma page_count").fetchone()[0]
    spool._writer.execute(f"pragma max_page_count = {pages + 4}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        spool.append([encode(hit(location="https://shop.example/?" + "x" * 1000)) for _ in range(100)])
    assert spool.bounds()[1] == 1
    spool.append([encode(hit())])
    assert [entry.seq for entry in spool.read(0, 10)] == [1, 2]
    spool.close()


async def test_a_spool_opened_again_keeps_its_entries_and_node_and_counts_its_starts(tmp_path: Path) -> None:
    first = Spool(tmp_path / "j")
    first.append([encode(hit()), encode(hit())])
    first.append([encode(hit())], 2)
    assert first.backlog(0) == 1
    again = Spool(tmp_path / "j")  # while the first is open, as after a kill
    assert (again.node_id, again.epoch) == (first.node_id, first.epoch + 1)
    assert [entry.seq for entry in again.read(0, 10)] == [3]
    again.append([], 3)
    again.append([encode(hit())])
    assert [entry.seq for entry in again.read(0, 10)] == [4], "a sequence number never repeats"
    assert again.bounds()[1] == 4
    first.close()
    again.close()
    assert Spool(tmp_path / "other").node_id != first.node_id


async def test_past_its_bound_hits_and_traces_make_room_and_ip_changes_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "j", bytes_max=256 * 1024)
    kept = [encode(leased(uuid4(), 1)) for _ in range(20)]
    spool.append(kept)
    dropped = sum(spool.append([encode(hit(location="x" * 1000)) for _ in range(100)]) for _ in range(10))
    assert dropped > 0
    left = spool.read(0, 10_000)
    assert sum(entry.kind == "ip_changed" for entry in left) == len(kept)
    assert len(left) == len(kept) + 1000 - dropped
    assert spool.bytes_used() < 2 * 256 * 1024
    spool.close()


def test_an_old_copy_of_a_spool_continues_where_the_database_is(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "journal.sqlite")) as spool:
        spool.append([("hit", "{}")] * 3)
    with closing(Spool(tmp_path / "journal.sqlite")) as spool:
        spool.continue_after(40)
        spool.append([("hit", "{}")])
        assert [entry.seq for entry in spool.read(0, 10)] == [1, 2, 3, 41]
        assert spool.bounds()[1] == 41


@pytest.mark.parametrize("position", [40, 400])
def test_what_was_written_before_the_position_is_known_follows_it_in_an_old_copy(tmp_path: Path, position: int) -> None:
    with closing(Spool(tmp_path / "journal.sqlite")) as spool:
        spool.append([("hit", '"before"')] * 3)
    with closing(Spool(tmp_path / "journal.sqlite")) as spool:
        spool.append([("hit", f'"{number}"') for number in range(100)])
        spool.continue_after(position)
        spool.append([("hit", '"after"')])
        entries = spool.read(position, 1000)
        assert [entry.body for entry in entries] == [*(f'"{number}"' for number in range(100)), '"after"']
        assert entries[-1].seq == spool.bounds()[1]
        (tmp_path / "journal.sqlite").unlink()
        spool.check_files()
        assert spool.read(position, 1000) == entries


def test_threads_of_two_tasks_write_one_after_the_other(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "journal.sqlite")) as spool, ThreadPoolExecutor(2) as threads:
        appended = threads.submit(lambda: [spool.append([encode(hit())], forget_seq=1) for _ in range(200)])
        changed = threads.submit(lambda: [spool.outdate_states(0) for _ in range(200)])
        assert len(appended.result(PATIENCE_S)) == len(changed.result(PATIENCE_S)) == 200
        assert spool.bounds() == (2, 200)
