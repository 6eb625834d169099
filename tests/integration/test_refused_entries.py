"""Entries that PostgreSQL refuses are kept, with the reason, and reach PostgreSQL once the reason is gone."""

import sqlite3
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from daemon.database.failures import Refusal
from daemon.journal import refused
from daemon.journal.entries import Traffic, encode
from daemon.journal.spool import Spool
from tests.integration.databases import PostgresServer, fresh_database
from tests.integration.journals import edit_no_of, running_journal
from tests.support.entries import finished, hit, leased, pending, processing
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until

BAD = "x"
RAISES = (
    "create function t() returns trigger language plpgsql as $$ begin"
    " if new.offer_name = 'x' then raise exception 'not this offer'{}; end if; return new; end $$;"
    "create trigger t before insert on hits for each row execute function t()"
)
ROWS_REFUSED = {
    "a constraint": ("alter table hits add constraint no_x check (offer_name <> 'x')", "23514", "no_x"),
    "a foreign key": (
        "create table known (name text primary key); insert into known values ('summer-sale');"
        "alter table hits add constraint known_offer foreign key (offer_name) references known",
        "23503",
        "known_offer",
    ),
    "a foreign key that is checked at the commit": (
        "create table known (name text primary key); insert into known values ('summer-sale'); alter table hits add"
        " constraint known_offer foreign key (offer_name) references known deferrable initially deferred",
        "23503",
        "known_offer",
    ),
    "a domain": (
        "create domain offer as text check (value <> 'x'); alter table hits alter column offer_name type offer",
        "23514",
        "offer_check",
    ),
    "a trigger that raises": (RAISES.format(""), "P0001", ""),
    "a trigger with an error code of its own": (RAISES.format(" using errcode = 'T0001'"), "T0001", ""),
    "a trigger that says the role may not": (RAISES.format(" using errcode = '42501'"), "42501", ""),
    "a trigger that uses a missing function": (
        "create function t() returns trigger language plpgsql as $$ begin"
        " if new.offer_name = 'x' then perform missing(); end if; return new; end $$;"
        "create trigger t before insert on hits for each row execute function t()",
        "42883",
        "",
    ),
    "a type that is too short": ("alter table hits alter column offer_name type varchar(20)", "22001", ""),
    "an index": ("create unique index one on hits ((case offer_name when 'x' then 1 end))", "23505", "one"),
}


@pytest.mark.parametrize("what", ROWS_REFUSED)
async def test_a_row_that_is_refused_is_kept_with_its_reason_and_delays_no_other(
    what: str, postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("entry_refused")
    wrong, sqlstate, constraint = ROWS_REFUSED[what]
    name = BAD * (21 if "short" in what else 1)
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(hit(), hit(offer_name="x"))
        await journal.flush()
        if what != "an index":
            await rows.sql("truncate hits")
        await rows.sql(wrong)
        journal.writer.record(hit(), hit(offer_name=name), *(hit() for _ in range(5)))
        await journal.flush()
        names = await rows.sql("select offer_name from hits where created_at is not null")
        assert [row["offer_name"] for row in names].count("summer-sale") >= 6
        [entry] = journal.spool.refused_entries()
        assert (entry.kind, entry.sqlstate, entry.constraint) == ("hit", sqlstate, constraint)
        assert entry.why
        assert "192.0.2.7" not in entry.why
        assert f'"offer_name":"{name}"' in entry.body
        assert journal.spool.refused == 1
        assert not journal.troubles.lines()


async def test_kept_entries_survive_a_restart_and_are_sent_again_once(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("entry_refused")
    async with fresh_database(postgres) as rows:
        await rows.sql("alter table hits add constraint c check (offer_name <> 'x') not valid")
        async with running_journal(tmp_path / "j", rows.database, keep_s=300) as journal:
            journal.writer.record(hit(), *(hit(offer_name="x") for _ in range(3)))
            await journal.flush()
            assert await journal.send_again(4) == 1
            await journal.flush()
            assert [entry.id for entry in journal.spool.refused_entries()] == [2, 3, 5], "refused again"
        async with running_journal(tmp_path / "j", rows.database, keep_s=300) as journal:
            ids = [entry.id for entry in journal.spool.refused_entries()]
            assert (ids, journal.spool.refused) == ([2, 3, 5], 3)
            assert await journal.send_again(3) == 1
            await journal.flush()
            assert [entry.id for entry in journal.spool.refused_entries()] == [2, 5, 6], "refused again"
            await rows.sql("alter table hits drop constraint c")
            assert await journal.send_again() == 3
            await journal.flush()
            assert await rows.one("select count(*) from hits") == 4
            assert journal.spool.refused == 0


async def test_a_trace_whose_row_is_refused_keeps_all_its_entries_and_arrives_whole(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("entry_refused")
    bad, good = uuid4(), uuid4()
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        await rows.sql("alter table active_trace_requests add constraint c check (target_country <> 'xx')")
        journal.writer.record(pending(good), pending(bad, target_country="xx"), processing(bad), processing(good))
        await journal.flush()
        journal.writer.record(finished(bad), finished(good))
        await journal.flush()
        assert await rows.one("select status from active_trace_requests") == "completed"
        kept = journal.spool.refused_entries()
        assert [entry.kind for entry in kept] == ["trace_pending", "trace_processing", "trace_finished"]
        await rows.sql("alter table active_trace_requests drop constraint c")
        assert await journal.send_again(kept[0].id) == 3, "with the others of its trace"
        await journal.flush()
        [row] = await rows.sql("select status, ip_assigned from active_trace_requests where request_id = $1", bad)
        assert row == {"status": "completed", "ip_assigned": "198.51.100.1"}


async def test_a_refused_state_that_is_sent_again_does_not_undo_a_later_one(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("entry_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        ip, other = (
            await rows.add_ip("198.51.100.1", node_id=journal.spool.node_id),
            await rows.add_ip("198.51.100.2", node_id=journal.spool.node_id),
        )
        edit, its = await edit_no_of(rows, ip), await edit_no_of(rows, other)
        await rows.sql("alter table ip_rotation_pool add constraint c check (lease_no <> 13)")
        for number in (12, 13, 14):
            journal.writer.record(leased(ip, edit, lease_no=number))
            await journal.flush()
        journal.writer.record(leased(other, its, lease_no=13))
        await journal.flush()
        assert journal.spool.refused == 2
        await rows.sql("alter table ip_rotation_pool drop constraint c")
        await journal.send_again()
        await journal.flush()
        found = await rows.sql("select lease_no, total_uses from ip_rotation_pool order by ip_address")
        assert [(row["lease_no"], row["total_uses"]) for row in found] == [(14, 3), (13, 1)]


async def test_where_all_of_many_rows_are_refused_none_is_set_aside(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    """Although PostgreSQL would take the rows of before."""
    expected_errors.expect("statement_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(hit())
        await journal.flush()
        await rows.sql("alter table hits add constraint c check (offer_name <> 'x')")
        journal.writer.record(*(hit(offer_name="x") for _ in range(60)))
        await until(journal.troubles.lines)
        assert "PostgreSQL refuses every row of apply_hit" in journal.troubles.lines()[0]
        assert (journal.spool.refused, journal.shipper.backlog(), journal.shipper.reachable) == (0, 60, True)
        await rows.sql("alter table hits drop constraint c")
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 61


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("alter table hits rename to away", "alter table away rename to hits"),
        ("alter table hits rename column wait_ms to away", "alter table hits rename column away to wait_ms"),
    ],
)
async def test_a_fault_of_the_table_sets_nothing_aside(
    wrong: str, right: str, postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("statement_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        await rows.sql(wrong)
        journal.writer.record(hit(), hit())
        await until(journal.troubles.lines)
        assert journal.spool.refused == 0
        await rows.sql(right)
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 2


def test_the_file_is_read_and_changed_without_a_daemon(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "j")
    spool.append([encode(hit()), encode(hit())])
    for seq in (1, 2):
        spool.refuse(seq, 1.7e9, Refusal("23514", "no", "c", "hits"))
    spool.close()
    with refused.opened(tmp_path / "j") as connection:
        assert [entry.constraint for entry in refused.listed(connection)] == ["c", "c"]
        assert refused.drop(connection, [1]) == 1
    with refused.opened(tmp_path / "j") as connection:
        assert refused.send_again(connection, [1, 2, 77]) == 1
    again = Spool(tmp_path / "j")
    assert [(entry.seq, entry.kind) for entry in again.read(0, 9)] == [
        (1, "refused_hit"),
        (2, "refused_hit"),
        (3, "hit"),
    ]
    again.close()
    with pytest.raises(sqlite3.OperationalError), refused.opened(tmp_path / "none"):
        pytest.fail("there is no file")


def test_refused_entries_make_room_before_entries_that_wait_and_are_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "j", bytes_max=400_000)

    def append(count: int, applied_seq: int = 0) -> int:
        return spool.append([encode(hit(location="x" * 1000)) for _ in range(count)], applied_seq=applied_seq)

    append(60)
    for seq in range(1, 31):
        spool.refuse(seq, 1.7e9, Refusal("23514", "no"))
    dropped = sum(append(30, applied_seq=60) for _ in range(5))
    assert (dropped, spool.refused) == (0, 30), "applied entries go first"
    while not dropped:
        dropped = append(10, applied_seq=60)
    assert (dropped, spool.refused) == (30, 0)
    spool.close()


async def test_a_refused_update_is_not_compared_with_entries_whose_rows_are_not_there_yet(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    """Where every update is refused, the entries wait; where one is, it is set aside."""
    expected_errors.expect("statement_refused", "entry_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        requests = [uuid4() for _ in range(60)]
        journal.writer.record(pending(requests[0]), finished(requests[0]))
        await journal.flush()
        await rows.sql("alter table active_trace_requests add constraint c check (status <> 'completed') not valid")
        for request in requests[1:]:
            journal.writer.record(pending(request), finished(request))
        await until(journal.troubles.lines)
        assert "every row of apply_trace_finished" in journal.troubles.lines()[0]
        assert journal.spool.refused == 0
        bad = requests[30]
        await rows.sql(
            f"alter table active_trace_requests drop constraint c, add constraint d check (status <> 'completed'"
            f" or request_id <> '{bad}')"
        )
        await journal.flush()
        assert journal.spool.refused == 1
        assert await rows.one("select count(*) from active_trace_requests where status = 'completed'") == 59


async def test_a_trigger_on_the_traffic_sets_no_trace_aside(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    """Although traces without an attempt are taken: they add no traffic."""
    expected_errors.expect("statement_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        traffic = (Traffic("luna", 1, 1, 0.0),)
        with_traffic, without = uuid4(), uuid4()
        journal.writer.record(pending(without), pending(with_traffic), finished(without))
        await journal.flush()
        await rows.sql(
            "create function t() returns trigger language plpgsql as $$ begin raise 'not today'; end $$;"
            " create trigger t before insert on traffic for each row execute function t()"
        )
        journal.writer.record(replace(finished(with_traffic), traffic=traffic), finished(without))
        await until(journal.troubles.lines)
        assert "not today" in journal.troubles.lines()[0]
        await rows.sql("drop function t cascade")
        await journal.flush()
        assert (journal.spool.refused, await rows.one("select count(*) from traffic")) == (0, 1)


async def test_a_constraint_that_every_row_breaks_at_the_commit_sets_nothing_aside(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("statement_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(hit())
        await journal.flush()
        await rows.sql(
            "create table known (name text primary key); alter table hits add constraint k foreign key (offer_name)"
            " references known deferrable initially deferred not valid"
        )
        journal.writer.record(hit(), hit())
        await until(journal.troubles.lines)
        assert "every row of apply_hit" in journal.troubles.lines()[0]
        await rows.sql("alter table hits drop constraint k")
        await journal.flush()
        assert (journal.spool.refused, await rows.one("select count(*) from hits")) == (0, 3)
