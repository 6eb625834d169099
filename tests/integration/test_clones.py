"""Two runs with one node id, on cloned machines or disks that a spool's place does not tell apart."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio

from daemon.errors import DatabaseOccupied
from daemon.host.clocks import read_boot_clock
from daemon.journal import copies
from daemon.journal.spool import FILE, Spool
from daemon.journal_start import original_or_copy
from daemon.nodes.clones import WATCH_S, taken_row
from daemon.nodes.identity import Identity
from daemon.nodes.kept_out import nodes_kept_out
from daemon.nodes.member import Member
from daemon.troubles import Troubles
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.journals import running_journal
from tests.support.entries import hit, leased
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until


def cloned(original: Path, clone: Path, *, rebooted: bool = True) -> Path:
    """A copy of a state directory that looks like the original, as on a cloned machine."""
    shutil.copytree(original, clone)
    with closing(sqlite3.connect(clone / FILE)) as connection, connection:
        copies.record_place(connection, clone / FILE)
        if rebooted:
            connection.execute("update boot set id = 'an earlier start of the machine'")
    return clone


def member_of(rows: Rows, spool: Spool, name: str, taken_epoch: int | None = None) -> Member:
    identity = Identity(spool.node_id, name, spool.epoch, 900.0, lambda: 160.0)
    return Member(rows.database, identity, Troubles(), read_boot_clock, taken_epoch=taken_epoch)


def test_only_another_boot_or_device_raises_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*, answered: bool = True) -> bool:
        with closing(Spool(tmp_path / FILE)) as spool:
            asks = spool.may_be_copy
            if asks and answered:
                spool.is_original()
            return asks

    assert [asked(), asked()] == [False, False], "a new file, and a restart in place"
    monkeypatch.setattr(copies, "boot_id", lambda: "the next start of the machine")
    assert [asked(answered=False), asked(), asked()] == [True, True, False], "until the answer is known"
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("update boot set device = device + 1")
    assert [asked(), asked()] == [True, False]
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("drop table boot")
    assert copies.may_be_cloned(tmp_path / FILE), "an earlier version recorded no boot"
    assert asked()


async def test_a_clone_of_a_node_that_runs_becomes_a_node_of_its_own(postgres: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    async with fresh_database(postgres) as rows:
        with closing(Spool(tmp_path / "a" / FILE)) as first:
            original = member_of(rows, first, "original")
            await original.join()
            first.append([("hit", "{}"), ("ip_changed", "{}")])
            clone = cloned(tmp_path / "a", tmp_path / "b")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(original.run)
                with closing(Spool(clone / FILE)) as second:
                    assert (second.node_id, second.may_be_copy, second.is_copy) == (first.node_id, True, False)
                    assert await original_or_copy(second, rows.database) is None
                    assert (second.node_id != first.node_id, second.is_copy, second.epoch) == (True, True, 1)
                    assert [entry.kind for entry in second.read(0, 9)] == ["hit", "passed_over"]
                    own = second.node_id
                with closing(Spool(clone / FILE)) as again:
                    assert (again.node_id, again.may_be_copy) == (own, False)
                assert original.may_lease()
                nursery.cancel_scope.cancel()


async def test_after_a_reboot_a_node_joins_in_place(postgres: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    async with fresh_database(postgres) as rows:
        with closing(Spool(tmp_path / "a" / FILE)) as before:
            await member_of(rows, before, "here").join()  # and ends without leaving
        rebooted = cloned(tmp_path / "a", tmp_path / "b")
        with closing(Spool(rebooted / FILE)) as spool:
            epoch = await original_or_copy(spool, rows.database)
            assert (epoch, spool.may_be_copy, spool.node_id) == (2, False, before.node_id)
            member = member_of(rows, spool, "here", epoch)
            await member.join()
            assert (member.may_lease(), member.term) == (True, 3)
        with closing(Spool(rebooted / FILE)) as spool:
            began_s = trio.current_time()
            assert await original_or_copy(spool, rows.database) is None
            assert trio.current_time() - began_s < WATCH_S, "a restart in the same boot does not wait"


@pytest.mark.parametrize("state", ["active", "removed"])
async def test_of_two_clones_that_start_at_the_same_time_one_is_the_original(
    postgres: PostgresServer, state: str
) -> None:
    async with fresh_database(postgres) as rows:
        node_id, taken = uuid4(), list[int | None]()
        identity = Identity(node_id, "here", 1, 900.0, lambda: 160.0)
        await Member(rows.database, identity, Troubles(), read_boot_clock).join()
        await rows.sql("update nodes set state = $1", state)

        async def start() -> None:
            taken.append(await taken_row(rows.database, node_id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            nursery.start_soon(start)
        assert len([epoch for epoch in taken if epoch is not None]) == 1


async def test_a_run_that_is_displaced_ends_and_names_both(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("node_claim_lost")
    (tmp_path / "a").mkdir()
    async with fresh_database(postgres) as rows:
        with (
            closing(Spool(tmp_path / "a" / FILE)) as one,
            closing(Spool(cloned(tmp_path / "a", tmp_path / "b") / FILE)) as two,
        ):
            errors = list[Exception]()
            first, second = member_of(rows, one, "first"), member_of(rows, two, "second")
            first.on_displaced = errors.append
            await first.join()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.run)
                await second.join()
                await until(lambda: len(errors) == 1)
            assert all(part in str(errors[0]) for part in ("node first", "named second", str(one.node_id)))
            assert not first.may_lease()
            assert second.may_lease()


async def test_a_join_whose_answer_was_lost_displaces_nobody(postgres: PostgresServer, tmp_path: Path) -> None:
    async with fresh_database(postgres) as rows:
        with closing(Spool(tmp_path / FILE)) as spool:
            member = member_of(rows, spool, "here")
            await member.join()
            await member.join()
            await rows.sql("update nodes set epoch = epoch + 1")
            await member.join()
            assert (member.may_lease(), member.term) == (True, 4)


async def test_an_earlier_run_with_a_copy_of_the_spool_moves_no_position_of_the_later_one(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Otherwise entries of the later run would count as written that are not; and the earlier one loses nothing."""
    (tmp_path / "a").mkdir()
    async with fresh_database(postgres) as rows:
        async with running_journal(tmp_path / "a" / FILE, rows.database, keep_s=900.0) as first:
            first.writer.record(hit())
            await first.flush()
            clone = cloned(tmp_path / "a", tmp_path / "b", rebooted=False)
            async with running_journal(clone / FILE, rows.database) as second:
                first.writer.record(hit(), hit(), leased(uuid4(), 1), hit())
                await until(lambda: bool(first.troubles.lines()))
                second.writer.record(hit())
                await second.flush()
                assert await hits(rows) == 2
            await trio.to_thread.run_sync(partial(first.spool.become_copy, all_facts=True))
        async with running_journal(tmp_path / "a" / FILE, rows.database) as again:
            await again.flush()
            assert await hits(rows) == 5


async def hits(rows: Rows) -> int:
    return int(await rows.one("select count(*) from hits"))


async def test_a_command_on_a_copy_or_a_clone_knows_that_the_original_may_run(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    async with fresh_database(postgres) as rows:
        with closing(Spool(tmp_path / "a" / FILE)) as spool:
            original = member_of(rows, spool, "original")
            await original.join()
        shutil.copytree(tmp_path / "a", tmp_path / "copy")
        clone = cloned(tmp_path / "a", tmp_path / "clone") / FILE
        assert copies.node_id_of(tmp_path / "a" / FILE) == copies.node_id_of(clone) == spool.node_id
        assert copies.node_id_of(tmp_path / "copy" / FILE) is None
        assert (copies.may_be_cloned(tmp_path / "a" / FILE), copies.may_be_cloned(clone)) == (False, True)

        async def uses_ips(node_id: UUID | None) -> None:
            async with nodes_kept_out(rows.database, node_id, may_be_cloned=True):
                pass

        await uses_ips(spool.node_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(original.run)
            with pytest.RaisesGroup(DatabaseOccupied, flatten_subgroups=True, allow_unwrapped=True):
                await uses_ips(spool.node_id)
            nursery.cancel_scope.cancel()
