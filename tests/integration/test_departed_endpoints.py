"""Operators delete, edit and insert rows while another node may still use their endpoints."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio

from daemon.clock import Moment
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.departures import Departures
from daemon.journal.entries import IpGiven
from daemon.journal.lane import OF_IPS, apply_batch
from daemon.pool.rests import Rests
from tests.fakes.pools import PlayedPools
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.journals import spooled

ME, OTHER = uuid4(), uuid4()
A, B, C = "198.51.100.1", "198.51.100.2", "198.51.100.3"
JOINED = (
    "insert into nodes (node_id, name, epoch, claim, state, trusted_until, quiet_s, version, protocol)"
    " values ($1, $2, 1, $3, 'active', now() + interval '1 hour', 160, '1', 1)"
)


@asynccontextmanager
async def two_nodes(postgres: PostgresServer) -> AsyncIterator[Rows]:
    async with fresh_database(postgres) as rows:
        for name, node in (("me", ME), ("other", OTHER)):
            await rows.sql(JOINED, node, name, uuid4())
        yield rows


async def daemons(rows: Rows, name: str, *args: Any) -> str:
    async def unit(conn: Connection) -> str:
        return str(await conn.execute(QUERIES[name], *args))

    return await rows.database.work(unit, own=True)


async def take(rows: Rows, node: UUID, *, alone: bool = False) -> None:
    await daemons(rows, "take_ips", node, alone, None, None, 1_000)


async def owner(rows: Rows, address: str = A) -> UUID | None:
    found: UUID | None = await rows.one("select node_id from ip_rotation_pool where ip_address = $1", address)
    return found


async def departed(rows: Rows) -> list[tuple[str, UUID]]:
    found = await rows.sql("select ip_address, node_id from departed_endpoints order by no")
    return [(row["ip_address"], row["node_id"]) for row in found]


EDITS = {
    "delete": "delete from ip_rotation_pool where ip_address = '198.51.100.1'",
    "truncate": "truncate ip_rotation_pool",
    "another address": "update ip_rotation_pool set ip_address = '198.51.100.7' where ip_address = '198.51.100.1'",
    "another port": "update ip_rotation_pool set ip_port = '81' where ip_address = '198.51.100.1'",
    "a login": "update ip_rotation_pool set username = 'u' where ip_address = '198.51.100.1'",
    "set aside": "update ip_rotation_pool set set_aside = 'by hand' where ip_address = '198.51.100.1'",
    "another id": "update ip_rotation_pool set id = gen_random_uuid(), ip_address = '198.51.100.7'",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
async def test_only_the_former_owner_takes_an_endpoint_that_left_its_row(edit: str, postgres: PostgresServer) -> None:
    async with two_nodes(postgres) as rows:
        await rows.add_ip(A, node_id=OTHER)
        await rows.sql(edit)
        await rows.add_ip(A)
        assert (A, OTHER) in await departed(rows)
        await take(rows, ME)
        assert await rows.sql("select id from ip_rotation_pool where node_id = $1", ME) == []
        await take(rows, OTHER)
        assert await rows.one(
            "select node_id from ip_rotation_pool where (ip_address, ip_port) = ($1, '7000')"
            " and username is null and set_aside is null", A
        ) == OTHER  # fmt: skip


@pytest.mark.parametrize(
    "edit", ["update ip_rotation_pool set notes = 'x', country = 'de', status = 'failed', password = null", "select 1"]
)
async def test_an_edit_that_keeps_the_endpoint_notes_nothing(edit: str, postgres: PostgresServer) -> None:
    async with two_nodes(postgres) as rows:
        await rows.add_ip(A, node_id=OTHER)
        await rows.add_ip(B)
        await rows.sql(edit)
        await rows.sql(f"delete from ip_rotation_pool where ip_address = '{B}'")  # of nobody
        assert await departed(rows) == []


async def test_with_one_node_nothing_changes(postgres: PostgresServer) -> None:
    async with two_nodes(postgres) as rows:
        await rows.add_ip(A, node_id=ME)
        await rows.sql(EDITS["delete"])
        await rows.add_ip(A)
        await take(rows, ME)
        assert await owner(rows) == ME
        await rows.sql(EDITS["delete"])
        await rows.add_ip(A)
        await take(rows, OTHER, alone=True)
        assert await owner(rows) == OTHER


@pytest.mark.parametrize("former", [ME, OTHER])
async def test_a_row_that_gets_an_endpoint_which_another_node_may_still_use_is_nobodys(
    former: UUID, postgres: PostgresServer
) -> None:
    async with two_nodes(postgres) as rows:
        await rows.add_ip(A, node_id=former)
        moving = await rows.add_ip(B, node_id=ME, status="locked", lease_no=4)
        async with rows.database.listen("tracepool_ips") as announced:
            await rows.sql(f"{EDITS['delete']}; update ip_rotation_pool set ip_address = '{A}'")
            payloads = {(await announced.received.receive())[1] for _ in range(3 if former == OTHER else 2)}
        [row] = await rows.sql("select * from ip_rotation_pool")
        if former == ME:
            assert (row["node_id"], row["status"], row["lease_no"]) == (ME, "locked", 4)
            return
        assert (row["node_id"], row["status"], row["locked_until"], row["lease_no"]) == (None, "available", None, 5)
        assert f"{row['edit_no']} {row['edit_no']}" in payloads, "the owner is notified"
        assert (B, ME) in await departed(rows)
        await take(rows, ME)
        assert await owner(rows) is None
        await daemons(rows, "apply_ip_changed", _locked(moving), ME)
        assert await rows.one("select status from ip_rotation_pool") == "available"
        await take(rows, OTHER)
        assert await owner(rows) == OTHER


def _locked(ip: UUID) -> str:
    state = {"status": "locked", "lease_no": 4, "edit_no": 99, "is_healthy": True, "consecutive_failures": 0}
    return json.dumps([{"id": str(ip), **state}])


async def test_a_row_that_was_waiting_for_another_transaction_is_checked_as_it_is_then(
    postgres: PostgresServer,
) -> None:
    """The unique index lets the UPDATE wait for the DELETE of another session."""
    async with two_nodes(postgres) as rows:
        await rows.add_ip(A, node_id=OTHER)
        await rows.add_ip(B, node_id=ME)
        go_on = trio.Event()
        async with rows.database.own_connection(20) as first, trio.open_nursery() as nursery:
            await first.begin()
            await first.execute(EDITS["delete"])

            async def update() -> None:
                await rows.sql(f"update ip_rotation_pool set ip_address = '{A}' where ip_address = '{B}'")
                go_on.set()

            nursery.start_soon(update)
            await trio.sleep(0.3)
            assert not go_on.is_set()
            await first.execute("commit")
        assert await owner(rows) is None


async def test_a_gift_whose_endpoint_another_node_may_still_use_is_nobodys(postgres: PostgresServer) -> None:
    """An operator edits a row between the giver's decision and its entry."""
    async with two_nodes(postgres) as rows:
        await rows.add_ip(A, node_id=ME)
        given, free = await rows.add_ip(B, node_id=ME), await rows.add_ip(C, node_id=ME)
        await rows.sql(f"{EDITS['delete']}; update ip_rotation_pool set ip_address = '{A}' where ip_address = '{B}'")
        gifts = spooled(1, IpGiven(given, OTHER, 0), IpGiven(free, OTHER, 0))
        assert await rows.database.work(apply_batch, ME, 1, OF_IPS, 0, gifts, None, own=True)
        assert (await owner(rows, A), await owner(rows, C)) == (None, OTHER)


async def test_the_owner_forgets_an_endpoint_when_it_is_at_rest(postgres: PostgresServer) -> None:
    async with two_nodes(postgres) as rows:
        for address in (A, B, C):
            await rows.add_ip(address, node_id=ME)
        now = Moment(1_000.0, 1.7e9)
        rests = Rests({(A, "7000", ""): 1_050.0})
        pools = PlayedPools()
        departures = Departures(ME, rows.database, pools.directory, rests, lambda: now)
        await rows.sql("delete from ip_rotation_pool")
        assert [address for address, _ in await departed(rows)] == [A, B, C]
        assert await departures.forget({}) == 2
        assert await departed(rows) == [(A, ME)]
        now = Moment(1_051.0, 1.7e9)
        assert await departures.forget({}) == 1


async def test_the_entries_of_a_lost_node_go_when_its_ips_are_freed(postgres: PostgresServer) -> None:
    async with two_nodes(postgres) as rows:
        await rows.add_ip(A, node_id=OTHER)
        await rows.add_ip(B, node_id=ME)
        await rows.sql("delete from ip_rotation_pool")
        await rows.add_ip(A)
        await rows.sql("update nodes set state = 'lost' where node_id = $1", OTHER)
        await daemons(rows, "forget_departed_of_lost")
        assert await departed(rows) == [(B, ME)]
        await take(rows, ME)
        assert await owner(rows) == ME


async def test_an_operators_role_needs_no_rights_on_the_table_of_departed_endpoints(postgres: PostgresServer) -> None:
    async with two_nodes(postgres) as rows:
        await rows.add_ip(A, node_id=OTHER)
        await rows.sql(
            "drop role if exists hand; create role hand; grant usage on schema public to hand;"
            " grant select, delete on ip_rotation_pool to hand; set role hand; delete from ip_rotation_pool;"
            " reset role;"
            " revoke all on ip_rotation_pool from hand; revoke all on schema public from hand; drop role hand"
        )
        assert await departed(rows) == [(A, OTHER)]
