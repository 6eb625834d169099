"""The journal with a database that refuses statements, has lost rows, or is another node's."""

import random
import string
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import trio

from daemon.journal.entries import encode
from daemon.journal.lane import Lane
from daemon.journal.spool import Spool, SpooledEntry
from tests.integration.databases import PostgresServer, fresh_database
from tests.integration.journals import Journal, running_journal, shipping
from tests.support.entries import hit, leased
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until


async def test_a_statement_that_is_refused_waits_with_all_behind_it_until_it_is_accepted(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("statement_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        await rows.sql("alter table hits rename to elsewhere")
        journal.writer.record(hit(), hit())
        await until(journal.troubles.lines)
        [line] = journal.troubles.lines()
        assert 'PostgreSQL refuses apply_hit: relation "hits" does not exist' in line
        assert "restore the names and types of tracepool's tables" in line
        assert journal.shipper.reachable
        journal.writer.record(hit())
        await rows.sql("alter table elsewhere rename to hits")
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 3
        await until(lambda: not journal.troubles.lines())
        assert (journal.writer.dropped, journal.shipper.refused) == (0, 0)
    assert len(expected_errors.named("statement_refused")) == 1


async def test_a_refusal_is_over_when_the_refused_entry_is_applied_not_one_before_it(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("statement_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        await rows.sql("alter table hits rename to elsewhere")
        journal.writer.record(*(leased(uuid4(), 1) for _ in range(5)))
        journal.writer.record(hit())
        await until(journal.troubles.lines)
        await until(lambda: journal.shipper.facts.seq >= 5)
        assert journal.troubles.lines()
        await rows.sql("alter table elsewhere rename to hits")
        await journal.flush()
        await until(lambda: not journal.troubles.lines())
    assert len(expected_errors.named("statement_refused")) == 1


async def test_a_trigger_that_raises_is_named_and_waited_for(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("statement_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        await rows.sql(
            "create function closed() returns trigger language plpgsql as"
            " $$ begin raise exception 'no hits on a Sunday'; end $$;"
            " create trigger closed before insert on hits for each row execute function closed()"
        )
        journal.writer.record(hit())
        await until(journal.troubles.lines)
        [line] = journal.troubles.lines()
        assert "no hits on a Sunday (PL/pgSQL function closed() line 1 at RAISE)" in line
        await rows.sql("drop function closed cascade")
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 1


async def test_a_cause_that_is_removed_while_others_are_tried_costs_no_entry(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_others = Lane._takes_others
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:

        async def takes_others_now(lane: Lane, refused: SpooledEntry) -> bool:
            await rows.sql("drop function closed cascade")
            return await takes_others(lane, refused)

        monkeypatch.setattr(Lane, "_takes_others", takes_others_now)
        await rows.sql(
            "create function closed() returns trigger language plpgsql as"
            " $$ begin raise exception 'no hits on a Sunday'; end $$;"
            " create trigger closed before insert on hits for each row execute function closed()"
        )
        journal.writer.record(hit(), hit())
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 2
        assert journal.shipper.refused == 0


async def test_a_text_that_no_index_takes_holds_up_nothing(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("entry_refused")
    noise = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=6_400))
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(hit(), hit(offer_name=noise), hit())
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 2
        assert journal.shipper.refused == 1
        with pytest.raises(asyncpg.CheckViolationError, match="provider_has_at_most_200_characters"):
            await rows.add_ip("198.51.100.9", provider=noise)


def restored(path: Path, content: bytes) -> None:
    """As a backup of the machine restores a file: at the same place, with the same inode."""
    path.write_bytes(content)
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()


async def test_an_old_copy_of_the_spool_in_its_place_loses_no_hit_of_its_new_run(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    path = tmp_path / "j"
    async with fresh_database(postgres) as rows:
        async with running_journal(path, rows.database) as journal:
            journal.writer.record(hit())
            await journal.flush()
        before = path.read_bytes()
        async with running_journal(path, rows.database) as journal:
            journal.writer.record(*(hit() for _ in range(9)))
            await journal.flush()
        restored(path, before)
        journal = Journal(path, rows.database, 0.0)
        journal.spool.append([encode(hit()) for _ in range(20)])  # before the database answers
        async with shipping(journal):
            await journal.flush()
            assert await rows.one("select count(*) from hits") == 30


async def test_an_empty_database_behind_a_spool_that_had_been_shipped_is_said_and_passed_over(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("database_is_older")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(*(hit() for _ in range(7)))
        await journal.flush()
        await until(lambda: journal.spool.applied_seq == 7)
        await until(lambda: journal.spool.bounds()[0] is None)
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        await journal.flush()  # this entry was not applied
        journal.writer.record(hit())
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 1
        assert await rows.one("select distinct seq from journal_position") == 8
    [said] = expected_errors.named("database_is_older")
    assert (said["entries"], said["applied_again"], said["lost"]) == (7, 0, 7)


async def test_a_database_that_lost_its_last_seconds_gets_the_kept_entries_again(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    """While the daemon runs, as after a failover."""
    expected_errors.expect("database_is_older")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database, keep_s=300) as journal:
        journal.writer.record(hit(), hit())
        await journal.flush()
        journal.writer.record(hit(), hit(), hit())
        await journal.flush()
        await until(lambda: journal.spool.applied_seq == 5)
        await rows.sql(
            "update journal_position set seq = 2; delete from hits where request_id in"
            " (select request_id from hits order by ctid desc limit 3)"
        )
        journal.writer.record(hit())
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 6
        assert journal.spool.backlog(0) == 6, "applied entries are kept"
    [said] = expected_errors.named("database_is_older")
    assert (said["entries"], said["applied_again"], said["lost"]) == (3, 3, 0)


async def test_a_loss_that_one_lane_finds_while_the_other_has_a_batch_in_hand_skips_nothing(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("database_is_older")
    async with fresh_database(postgres) as rows:
        journal = Journal(tmp_path / "j", rows.database, keep_s=300)
        facts = journal.shipper.facts
        with closing(journal.spool) as spool:
            await journal.shipper.find_position()
            spool.append([encode(hit()) for _ in range(5)])
            await facts.ship(await facts.read(10))
            await rows.sql("update journal_position set seq = 2; delete from hits")
            spool.append([encode(hit())])
            in_hand = await facts.read(10)
            await journal.shipper.find_position()
            await facts.ship(in_hand)
            assert facts.seq == 2
            await facts.ship(await facts.read(10))
            assert (facts.seq, await rows.one("select count(*) from hits")) == (6, 4)


@pytest.mark.slow
async def test_kept_entries_leave_the_spool_after_their_time(postgres: PostgresServer, tmp_path: Path) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database, keep_s=1.5) as journal:
        journal.writer.record(*(hit() for _ in range(5)))
        await journal.flush()
        assert journal.spool.backlog(0) == 5
        kept_until_s = trio.current_time() + 1.5

        async def gone() -> bool:
            journal.writer.record(hit())  # a running daemon
            await trio.sleep(0.2)
            return journal.spool.read(0, 1)[0].seq > 5

        await until(gone)
        assert trio.current_time() > kept_until_s


async def test_an_entry_that_is_written_while_the_position_is_looked_for_is_not_passed_over(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very first entry, as of a click while the daemon starts."""
    bounds = Spool.bounds

    calls = 0

    def bounds_and_an_entry(spool: Spool) -> tuple[int | None, int]:
        nonlocal calls
        calls += 1
        found = bounds(spool)
        if calls == 2:  # the first call is that of the spool itself
            spool.append([encode(hit())])
        return found

    monkeypatch.setattr(Spool, "bounds", bounds_and_an_entry)
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 1


def test_the_bounds_of_a_spool_are_of_one_moment(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "j")) as spool, ThreadPoolExecutor(1) as thread:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                spool.append([("hit", "{}")], forget_seq=spool.bounds()[1])

        writing = thread.submit(write)
        try:
            for _ in range(2_000):
                first, last = spool.bounds()
                assert (first is None and last == 0) or (first is not None and first <= last)
        finally:
            stop.set()
        writing.result()


EVERY_ROW_REFUSED = {
    "a constraint": (
        "alter table hits add constraint c check (wait_ms < 0) not valid",
        "alter table hits drop constraint c",
    ),
    "a column that is too short": (
        "alter table hits alter column location type varchar(9) using left(location, 9)",
        "alter table hits alter column location type text",
    ),
    "a column that must not be null": (
        "alter table hits add column z int; alter table hits add constraint zz check (z is not null) not valid",
        "alter table hits drop column z",
    ),
    "a trigger with an error of its own": (
        "create function t() returns trigger language plpgsql as $$ begin perform 1 / 0; return new; end $$;"
        " create trigger t before insert on hits for each row execute function t()",
        "drop function t cascade",
    ),
}


@pytest.mark.parametrize("what", EVERY_ROW_REFUSED)
@pytest.mark.parametrize("before", [0, 1], ids=["the first rows", "rows after others"])
async def test_where_every_row_of_a_kind_is_refused_the_rows_wait(
    what: str, before: int, postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("statement_refused")
    wrong, right = EVERY_ROW_REFUSED[what]
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(*(hit() for _ in range(before)))
        await journal.flush()
        await rows.sql(wrong)
        journal.writer.record(hit(), hit(), hit())
        await until(journal.troubles.lines)
        [line] = journal.troubles.lines()
        assert "PostgreSQL refuses every row of apply_hit" in line
        assert "change or drop the constraint, trigger" in line
        await rows.sql(right)
        await journal.flush()
        assert await rows.one("select count(*) from hits") == before + 3
        assert journal.shipper.refused == 0


async def test_a_database_that_is_emptied_while_it_is_used_gets_the_kept_rows_again(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("database_is_older")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database, keep_s=300) as journal:
        journal.writer.record(hit(), hit(), hit())
        await journal.flush()
        await rows.sql("truncate journal_position, hits")
        journal.writer.record(hit())
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 4
    [said] = expected_errors.named("database_is_older")
    assert (said["entries"], said["applied_again"], said["lost"]) == (3, 3, 0)
