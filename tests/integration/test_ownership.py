"""Nodes on one database: each IP has one owner, and only the owner's pools have it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import structlog
import trio

from daemon.database.postgres import Connection
from daemon.database.schema import migrate
from daemon.errors import DatabaseOccupied
from daemon.host.clocks import read_clocks
from daemon.journal.spool import Spool
from daemon.nodes.owned import read_all, read_edited
from daemon.pool.messages import Adopt, NoIPAvailable
from daemon.sql_sync import POLL_S
from tests.fakes.ips import an_ip
from tests.integration.databases import PostgresServer, Rows, database_before, fresh_database
from tests.integration.journals import running_journal
from tests.integration.pools import Daemon, daemon_on, joined
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until

ADD_THREE = "insert into ip_rotation_pool (ip_address) select 'ip-' || generate_series(1, 3)"
HERE = "(select node_id from nodes where name = 'here')"


@asynccontextmanager
async def beside(daemon: Daemon, directory: Path) -> AsyncIterator[Daemon]:
    """Another node on the same database."""
    rows = daemon.rows
    async with running_journal(directory, rows.database) as journal, trio.open_nursery() as nursery:
        other = Daemon(rows, journal, await joined(rows, journal, "there"), nursery)
        await other.sql_sync.compare()
        nursery.start_soon(other.sql_sync.run)
        nursery.start_soon(other.member.run)
        yield other
        nursery.cancel_scope.cancel()


async def owners(rows: Rows) -> dict[str, str | None]:
    found = await rows.sql(
        "select p.ip_address, n.name from ip_rotation_pool p left join nodes n using (node_id) order by 1"
    )
    return {row["ip_address"]: row["name"] for row in found}


async def by_a_node(rows: Rows, statement: str) -> None:
    """Runs a statement as another node does: no trigger numbers or announces it."""

    async def unit(conn: Connection) -> None:
        await conn.execute(statement)

    await rows.database.work(unit, own=True)


async def give(rows: Rows, ip: str, to: str) -> None:
    await by_a_node(
        rows,
        f"with given as (update ip_rotation_pool set node_id = {to}, edit_no = nextval('ip_edit_no'),"
        f" lease_no = lease_no + 1 where ip_address = '{ip}' returning edit_no)"
        f" select pg_notify('tracepool_ips', concat_ws(' ', edit_no, edit_no, {to})) from given",
    )


async def test_a_node_owns_all_ips_of_a_database_without_others(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        assert set((await owners(daemon.rows)).values()) == {"here"}
        edits = await daemon.rows.one("select sum(edit_no) from ip_rotation_pool")
        assert edits == 1 + 2 + 3, "taking is no edit"
        await daemon.rows.add_ip("ip-4")
        await until(lambda: daemon.counts("us").available == 4, patience_s=1)
        assert set((await owners(daemon.rows)).values()) == {"here"}


@pytest.mark.slow
async def test_a_new_row_has_one_owner_and_is_leased_by_one(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_THREE) as here, beside(here, tmp_path / "there") as there:
        assert there.counts("us").total == 0, "all have an owner"
        for number in range(4, 24):
            await here.rows.add_ip(f"ip-{number}", country=("us", "de")[number % 2])
        await until(lambda: here.counts("us").total + there.counts("us").total == 13)
        await until(lambda: here.counts("de").total + there.counts("de").total == 10)
        found = await owners(here.rows)
        for name, daemon in (("here", here), ("there", there)):
            mine = {ip.address for country in ("us", "de") for ip in daemon.ips(country)}
            assert mine == {ip for ip, owner in found.items() if owner == name}


@pytest.mark.slow
async def test_a_given_row_is_adopted_by_its_new_owner_and_a_row_of_another_owner_leaves(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        lease = await daemon.lease("us")
        await give(daemon.rows, lease.address, "gen_random_uuid()")
        assert not daemon.ips("us")[0].leaving, "the announcement is another node's"
        with structlog.testing.capture_logs() as logs:
            await daemon.rows.sql("select pg_notify('tracepool_ips', 'whatever')")  # all rows are compared
            await until(lambda: daemon.statuses("us")[lease.address] == "locked" and daemon.ips("us")[0].leaving)
            await until(lambda: any(line["event"] == "ips_given" for line in logs))
            await daemon.rows.sql(f"delete from ip_rotation_pool where node_id = {HERE} and ip_address = 'ip-3'")
            await until(lambda: any(line["event"] == "ips_removed" for line in logs))
        gone = [(line["event"], line["countries"]) for line in logs if line["event"] in ("ips_given", "ips_removed")]
        assert gone == [("ips_given", {"us": 1}), ("ips_removed", {"us": 1})], "nobody removed the given one"
        await daemon.release(lease)
        await until(lambda: daemon.counts("us").total == 1)
        await give(daemon.rows, lease.address, HERE)
        await until(lambda: daemon.counts("us").total == 2)
        assert daemon.statuses("us")[lease.address] == "cooldown", "its rest here goes on"


async def test_rows_that_were_read_under_an_earlier_claim_are_ignored(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("node_claim_lost")
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        tenure = await daemon.member.tenure()
        await daemon.rows.sql("update nodes set state = 'lost', claim = null, epoch = epoch + 1")
        await until(lambda: not daemon.member.may_lease())
        await until(daemon.member.may_lease)
        assert daemon.member.term > tenure.term
        with pytest.raises(DatabaseOccupied):
            await daemon.rows.database.work(read_all, tenure, read_clocks(), own=True)
        post = daemon.directory.known("us")
        assert post is not None
        await post.mailbox.send(Adopt((an_ip("late", id=uuid4()),), tenure.term))
        await post.mailbox.send(Adopt((an_ip("now", id=uuid4()),), daemon.member.term))
        await until(lambda: daemon.counts("us").total == 4)
        assert "late" not in daemon.statuses("us")


async def test_a_database_that_lost_the_claim_or_the_last_renewal_is_not_read(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Another node may be the first to notice a restored backup, and apply its former gifts to this node again."""
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        tenure, work = await daemon.member.tenure(), daemon.rows.database.work
        reads = (read_all, partial(read_edited, edits=(1, 100)))
        assert [len((await work(read, tenure, read_clocks(), own=True)).ips) for read in reads] == [3, 3]
        for lost in (replace(tenure, claim=uuid4()), replace(tenure, beat=tenure.beat + 1_000)):
            for read in reads:
                with pytest.raises(DatabaseOccupied):
                    await work(read, lost, read_clocks(), own=True)


@pytest.mark.slow
async def test_the_ips_of_a_lost_node_are_anothers_within_a_moment(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path) as daemon:
        await daemon.rows.sql(
            "insert into nodes (node_id, name, epoch, state, trusted_until, quiet_s, version, protocol)"
            " values (gen_random_uuid(), 'gone', 1, 'active', now() - interval '1 hour', 1, '0', 1)"
        )
        await by_a_node(
            daemon.rows,
            "insert into ip_rotation_pool (ip_address, node_id, status, locked_until)"
            " select 'ip-1', node_id, 'locked', now() + interval '1 hour' from nodes where name = 'gone'",
        )
        await until(lambda: daemon.statuses("us") == {"ip-1": "available"})
        assert await owners(daemon.rows) == {"ip-1": "here"}


@pytest.mark.slow
async def test_behind_a_pooler_polling_finds_what_was_freed_and_given(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda conn: 1)  # of the pooler
    moved = "update ip_rotation_pool set node_id = {}, edit_no = nextval('ip_edit_no') where ip_address = 'ip-1'"
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        await by_a_node(daemon.rows, moved.format("gen_random_uuid()"))
        await until(lambda: daemon.counts("us").total == 2)
        await by_a_node(daemon.rows, moved.format(HERE))
        await until(lambda: daemon.counts("us").total == 3)
        await by_a_node(daemon.rows, moved.format("gen_random_uuid()"))
        await until(lambda: daemon.counts("us").total == 2)
        await by_a_node(daemon.rows, moved.format("null"))
        await until(lambda: daemon.counts("us").total == 3)


async def test_rows_that_another_node_took_are_no_reason_to_compare(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda conn: 1)  # of a pooler: it polls
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        await trio.sleep(3 * POLL_S)  # the edits of the set-up are compared
        compared: list[bool] = []
        compare = daemon.sql_sync.compare

        async def counted() -> None:
            compared.append(True)
            await compare()

        monkeypatch.setattr(daemon.sql_sync, "compare", counted)
        await by_a_node(
            daemon.rows,
            "insert into ip_rotation_pool (ip_address, node_id)"
            " select 'ip-' || generate_series(4, 9), gen_random_uuid()",
        )
        await trio.sleep(3 * POLL_S)
        assert not compared
        assert daemon.counts("us").total == 3


async def test_after_rows_were_lost_a_newcomer_rests_first_and_an_own_ip_does_not(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    """A backup says that this node owns an IP; another node may have leased it a moment ago."""
    expected_errors.expect("node_claim_lost")
    async with daemon_on(postgres, tmp_path, ADD_THREE) as here, beside(here, tmp_path / "there"):
        await until(lambda: any(here.member.peers.others()))
        term = here.member.term
        await by_a_node(
            here.rows,
            f"with ip as (insert into ip_rotation_pool (ip_address, node_id) values ('ip-4', {HERE}))"
            " update nodes set beat = beat - 5 where name = 'here'",
        )
        await until(lambda: here.member.term > term and here.counts("us").total == 4)
        assert here.statuses("us")["ip-4"] == "cooldown"
        assert here.counts("us").available == 3


@pytest.mark.slow
@pytest.mark.parametrize("node", ["the same", "another", "none"])
async def test_a_database_of_the_version_before_keeps_its_locks_and_rests(
    postgres: PostgresServer, tmp_path: Path, node: str
) -> None:
    spool = Spool(tmp_path / "j")
    node_id = spool.node_id if node == "the same" else uuid4()
    spool.close()
    async with database_before(postgres, "0014_ownership.sql") as rows:
        await rows.sql(
            "insert into ip_rotation_pool (ip_address, status, locked_until, last_used_at, lease_no) values"
            " ('ip-1', 'locked', now() + interval '40 s', now(), 3),"
            " ('ip-2', 'cooldown', now() + interval '20 s', now(), 5), ('ip-3', 'available', null, null, 0)"
        )
        if node != "none":
            await rows.sql(
                "insert into nodes (node_id, name, epoch, claim, state, trusted_until, quiet_s, version)"
                " values ($1, 'before', 4, gen_random_uuid(), 'left', now(), 160, '0')",
                node_id,
            )
        await rows.database.work(migrate)
        assert await rows.one("select count(distinct coalesce(node_id::text, '')) from ip_rotation_pool") == 1
        async with running_journal(tmp_path / "j", rows.database) as journal, trio.open_nursery() as nursery:
            daemon = Daemon(rows, journal, await joined(rows, journal, "here"), nursery)
            nursery.start_soon(daemon.sql_sync.run)
            nursery.start_soon(daemon.member.run)
            await until(lambda: daemon.counts("us").total == 3)
            assert daemon.statuses("us") == {"ip-1": "locked", "ip-2": "cooldown", "ip-3": "available"}
            assert set((await owners(rows)).values()) == {"here"}
            taken = [await daemon.acquire("us", patience_s=0.1) for _ in range(2)]
            assert [isinstance(answer, NoIPAvailable) for answer in taken] == [False, True]
            nursery.cancel_scope.cancel()


async def test_an_operators_statement_changes_no_owner(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql("insert into ip_rotation_pool (ip_address, node_id) values ('ip-1', gen_random_uuid())")
        assert await rows.one("select node_id from ip_rotation_pool") is None
        owner, other = uuid4(), uuid4()
        await rows.sql("update ip_rotation_pool set node_id = $1", owner, own=True)
        for value in (other, None):
            await rows.sql("update ip_rotation_pool set node_id = $1, provider = 'edited'", value)
            [row] = await rows.sql("select node_id, provider from ip_rotation_pool")
            assert row == {"node_id": owner, "provider": "edited"}
