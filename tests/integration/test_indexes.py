"""Indexes that are built in the background: by one node, beside rows that come, and anew after a kill."""

from uuid import uuid4

import structlog
import trio

from daemon.database.indexes import Index, IndexBuilder, indexes_of, wanted_indexes
from daemon.database.sql import identifier
from daemon.errors import DatabaseUnavailable
from daemon.troubles import Troubles
from tests.integration.databases import PostgresServer, Rows, fresh_database, opened
from tests.support.waiting import until

BY_OUTCOME = Index("hits_outcome", "hits", "(outcome, created_at)")
VALID = "select count(*) from pg_index where indexrelid = to_regclass('hits_outcome') and indisvalid"
ADD_HIT = (
    "insert into hits (request_id, offer_name, outcome, location, wait_ms)"
    " values (gen_random_uuid(), 'hats', 'resolved', 'https://shop.example/', 5)"
)


def builder(rows: Rows, *indexes: Index) -> IndexBuilder:
    return IndexBuilder(rows.database, Troubles(), uuid4(), indexes)


def test_the_file_of_the_indexes_is_read() -> None:
    script = (
        "-- A comment.\ncreate index a on hits (x) where x is not null;\n\n-- Another.\ncreate index b on t\n  (y);"
    )
    assert indexes_of(script) == (Index("a", "hits", "(x) where x is not null"), Index("b", "t", "(y)"))


async def test_one_of_many_nodes_builds_an_index_while_rows_come(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(ADD_HIT)
        nodes = [builder(rows, BY_OUTCOME) for _ in range(3)]
        with structlog.testing.capture_logs() as logged:
            async with trio.open_nursery() as nursery:
                for node in nodes:
                    nursery.start_soon(node.build_missing)
                nursery.start_soon(rows.sql, ADD_HIT)
        assert [line["event"] for line in logged] == ["index_begins", "index_built"]
        assert await rows.one(VALID) == 1
        assert [await node.build_missing() for node in nodes] == [True] * 3


async def test_an_index_whose_build_was_killed_is_built_anew(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(ADD_HIT)
        async with rows.database.own_connection(None) as operator, trio.open_nursery() as nursery:
            await operator.execute(
                "begin; insert into offers (offer_name, final_url) values ('a', 'https://a.example/')"
            )
            await operator.execute(ADD_HIT)  # the build waits for the end of this transaction

            async def killed() -> None:
                try:
                    await builder(rows, BY_OUTCOME).build_missing()
                except DatabaseUnavailable:
                    return

            nursery.start_soon(killed)
            running = "from pg_stat_activity where query like 'create index concurrently%' and state = 'active'"
            await until(lambda: rows.one(f"select count(*) {running} and datname = current_database()"))
            assert await builder(rows, BY_OUTCOME).build_missing() is False, "it is being built"
            await until(lambda: rows.one(f"select count(pg_terminate_backend(pid)) {running}"))
            await operator.execute("rollback")
        assert await rows.one(VALID) == 0
        await rows.sql("delete from rounds")  # the next minute
        assert await builder(rows, BY_OUTCOME).build_missing() is False
        assert await rows.one(VALID) == 1


async def test_a_role_that_does_not_own_the_tables_names_the_statement(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        role = f"guest_{uuid4().hex[:8]}"
        postgres.sql(f"create role {role} login")
        name = rows.url.partition("@/")[2].partition("?")[0]
        postgres.sql(f"grant select, insert, delete on all tables in schema public to {role}", name)
        async with opened(rows.url.replace("//tracepool@", f"//{role}@")) as guest:
            with structlog.testing.capture_logs() as logged:
                assert await builder(guest, BY_OUTCOME).build_missing()
        [line] = [line for line in logged if line["event"] == "indexes_missing"]
        assert f"create index concurrently if not exists hits_outcome on {identifier('public')}.hits" in line["next"]


async def test_a_new_database_gets_all_of_them(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        node = builder(rows, *wanted_indexes())
        assert not await node.build_missing()
        assert await node.build_missing()
