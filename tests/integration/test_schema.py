"""The tables in databases that operators bring: faults of the set-up, tables of other programs, any search_path."""

from typing import Any

import pytest

from daemon.database.postgres import Connection, database_loop, open_database
from daemon.database.schema import migrate, migrations, relations_of
from daemon.errors import DatabaseUnavailable, DatabaseUnfit
from daemon.settings import model
from tests.integration.databases import PostgresServer

STATE = """select string_agg(format('%s.%s', relnamespace::regnamespace, relname), ' ' order by 1::text, relname)
from pg_class where relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace,
'information_schema'::regnamespace) and relkind <> 'i'"""
FOREIGN = "create table schema_migrations (version bigint primary key, dirty boolean not null)"
ROLE = "operated"

# What the database is like, and the sentence with its remedy. {db}: the database's name.
FAULTS: dict[str, tuple[str, str]] = {
    "no right to create": (
        "revoke create on schema public from public",
        r'no permission to create tables .*: grant create on schema "public" to "operated";',
    ),
    "no right to use the schema": (
        "revoke all on schema public from public",
        r'grant usage, create on schema "public" to "operated";',
    ),
    "no schema": ("drop schema public", r'create schema "public" authorization "operated";'),
    "a read-only role": (
        "alter role operated in database {db} set default_transaction_read_only = on",
        r'alter role "operated" in database "{db}" reset default_transaction_read_only;',
    ),
    "a read-only database": (
        "alter database {db} set default_transaction_read_only = on",
        r'alter database "{db}" reset default_transaction_read_only;',
    ),
    "another program's schema_migrations": (
        FOREIGN,
        r"schema_migrations belongs to another program \(columns: version, dirty\): create schema tracepool",
    ),
    "another program's schema_migrations by name": (
        "create table schema_migrations (name text primary key, applied_at timestamptz);"
        "insert into schema_migrations values ('20240101_users'); grant select on schema_migrations to public",
        r"belongs to another program",
    ),
    "a newer version": (
        "create table schema_migrations (name text primary key, applied_at timestamptz);"
        "insert into schema_migrations values ('9999_later.sql'); grant select on schema_migrations to public",
        r"newer than this tracepool \(it has 9999_later.sql\): upgrade tracepool",
    ),
    "another program's table": (
        "create table offers (discount int); insert into offers values (5)",
        r"tables of another program with tracepool's names \(offers\): create schema .* authorization \"operated\";",
    ),
    "tables of another role": (
        "create table ip_rotation_pool (ip_address text)",
        r'which belong to "tracepool": grant "tracepool" to "operated";',
    ),
    "no right to connect": (
        "revoke connect on database {db} from public",
        r'grant connect on database "{db}" to "operated";',
    ),
}


async def opened(url: str, schema: str = "public", statement: str | None = None) -> Any:
    """Migrate as the daemon does at its start, and run a statement. Raises the fault alone, without its group."""

    async def unit(conn: Connection) -> Any:
        return [tuple(row) for row in await conn.fetch(statement)] if statement else None

    fault: Exception | None = None
    async with database_loop():
        try:
            async with open_database(url, model.Database(schema=schema, connections_max=2)) as database:
                await database.work(migrate, database.schema)
                return await database.work(unit)
        except (DatabaseUnfit, DatabaseUnavailable) as e:
            fault = e
    assert fault is not None
    raise fault


@pytest.fixture
def role(postgres: PostgresServer) -> str:
    postgres.sql(f"do $$ begin if to_regrole('{ROLE}') is null then create role {ROLE} login; end if; end $$")
    return ROLE


@pytest.mark.parametrize("name", FAULTS)
async def test_a_database_that_cannot_be_used_is_refused_with_its_remedy_and_unchanged(
    name: str, postgres: PostgresServer, role: str
) -> None:
    sql, said = FAULTS[name]
    database = postgres.bare_database()
    if name not in ("no right to create", "no right to use the schema", "no schema"):
        postgres.sql("grant create on schema public to public", database)
    for statement in sql.split(";"):
        postgres.sql(statement.replace("{db}", database), database)
    before = postgres.sql(STATE, database)
    with pytest.raises(DatabaseUnfit, match=said.replace("{db}", database)):
        await opened(postgres.url(database, role))
    assert postgres.sql(STATE, database) == before


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_another_encoding_than_utf8_is_refused(encoding: str, postgres: PostgresServer) -> None:
    database = postgres.bare_database(f"encoding '{encoding}' locale_provider libc locale 'C'")
    with pytest.raises(DatabaseUnfit, match=rf"encoding {encoding}.*create database .* encoding 'UTF8'") as refused:
        await opened(postgres.url(database))
    remedy = str(refused.value).partition(": ")[2].partition(";")[0]
    postgres.sql(remedy, "postgres")


async def test_a_server_that_is_read_only_as_a_whole_is_an_outage(postgres: PostgresServer) -> None:
    database = postgres.bare_database()
    postgres.sql("alter system set default_transaction_read_only = on")
    postgres.sql("select pg_reload_conf()")
    try:
        with pytest.raises(DatabaseUnavailable, match="read-only by a setting of the server") as refused:
            await opened(postgres.url(database))
        assert "alter system reset default_transaction_read_only; select pg_reload_conf();" in refused.value.remedy
    finally:
        postgres.sql("alter system reset default_transaction_read_only")
        postgres.sql("select pg_reload_conf()")


async def test_a_role_with_rights_on_the_rows_alone_serves_where_all_migrations_are_applied(
    postgres: PostgresServer, role: str
) -> None:
    database = postgres.bare_database()
    await opened(postgres.url(database))
    with pytest.raises(
        DatabaseUnfit, match=r"SELECT and INSERT and UPDATE and DELETE on active_trace_requests"
    ) as refused:
        await opened(postgres.url(database, role))
    for statement in str(refused.value).partition("): ")[2].split(";"):
        postgres.sql(statement, database)
    postgres.sql("revoke create on schema public from public", database)
    assert await opened(postgres.url(database, role), statement="select count(*) from offers") == [(0,)]


async def test_a_schema_is_created_where_the_role_may(postgres: PostgresServer, role: str) -> None:
    database = postgres.bare_database(f"owner {role}")
    assert await opened(postgres.url(database, role), 'my "odd" schema', "select count(*) from offers") == [(0,)]


@pytest.mark.parametrize("path", ["", "other", '"$user", nowhere', "pg_catalog"])
async def test_the_tables_are_found_whatever_the_search_path_of_the_role(
    path: str, postgres: PostgresServer, role: str
) -> None:
    database = postgres.bare_database(f"owner {role}")
    setting = ", ".join(f"'{part.strip().strip(chr(34))}'" for part in path.split(",")) if path else "''"
    postgres.sql(f"alter role {role} in database {database} set search_path = {setting}")
    postgres.sql(
        f"create schema other; create table other.offers (id int); grant all on schema other to {role}", database
    )
    url = postgres.url(database, role)
    added = "insert into ip_rotation_pool (ip_address) values ('127.9.9.9') returning country"
    assert await opened(url, "clicks", added) == [("us",)]
    assert await opened(url, "clicks", "select ip_address from ip_rotation_pool") == [("127.9.9.9",)]
    # By an operator's own session, with a name in full: the triggers find their tables and sequences.
    postgres.sql("set search_path = ''; update clicks.ip_rotation_pool set country = 'de'", database)
    postgres.sql(
        "set search_path = ''; insert into clicks.ip_rotation_pool (ip_address) values ('127.9.9.8')", database
    )
    assert postgres.sql("select count(*) from clicks.ip_rotation_pool where edit_no > 1", database) == "2"


async def test_tables_in_the_first_schema_of_an_earlier_versions_path_are_pointed_out(
    postgres: PostgresServer, role: str
) -> None:
    database = postgres.bare_database(f"owner {role}")
    url = postgres.url(database, role)
    await opened(url, role)
    with pytest.raises(DatabaseUnfit, match=f"are in the schema {role}.*set database.schema to {role}"):
        await opened(url)


async def test_every_function_carries_its_search_path(postgres: PostgresServer) -> None:
    without = postgres.sql(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace and proname like 'tracepool%' "
        "and not coalesce(array_to_string(proconfig, ' ') like '%search_path=%', false)"
    )
    assert without == ""


def test_all_tables_are_known_from_the_migrations() -> None:
    found = relations_of(migrations())
    assert {"ip_rotation_pool", "offers", "active_trace_requests", "hits", "ip_edit_no", "nodes"} <= set(found)


FORMER_TABLES = """
create type phase as enum ('available', 'cooldown', 'failed');
create table offers (id uuid primary key default gen_random_uuid(), offer_name varchar(200) unique, final_url varchar,
    target_country varchar(8), is_active boolean, created_at timestamp, campaign text);
create table ip_rotation_pool (id uuid primary key default gen_random_uuid(), ip_address inet not null, ip_port integer,
    country char(2), provider text, status phase, total_uses integer default 0, last_used_at timestamptz,
    locked_until timestamptz, unique (ip_address));
create table hits (request_id varchar(36) primary key, offer_id uuid references offers, offer_name text, outcome text,
    location text, wait_ms smallint, created_at timestamptz);
create table ip_pool_statistics (id uuid primary key, recorded_at timestamptz);
create table active_trace_requests (request_id text);
create index hits_offer on hits (offer_name);
create table notes (offer_id uuid references offers);
insert into offers (offer_name, final_url, target_country, is_active, campaign)
    values ('sale', 'https://ads.example/go', 'us', null, 'spring');
insert into ip_rotation_pool (ip_address, ip_port, country, provider, status, total_uses)
    values ('192.0.2.7', 3128, 'de', 'luna', 'cooldown', 7);
insert into hits select gen_random_uuid(), id, offer_name, 'resolved', 'https://shop.example/', 8, now() from offers;
"""


async def test_tables_of_another_program_are_adopted_with_their_rows(postgres: PostgresServer) -> None:
    database = postgres.bare_database()
    postgres.sql(FORMER_TABLES, database)
    url = postgres.url(database)
    offer = "select offer_name, final_url, target_country, is_active, trace_backend from offers"
    assert await opened(url, statement=offer) == [("sale", "https://ads.example/go", "us", True, "default")]
    ip = "select ip_address, ip_port, country, status, total_uses, is_healthy from ip_rotation_pool"
    assert await opened(url, statement=ip) == [("192.0.2.7", "3128", "de", "cooldown", 7, True)]
    hit = "select hits.offer_name, outcome from hits join offers on offers.id = hits.offer_id"
    assert await opened(url, statement=hit) == [("sale", "resolved")]
    assert postgres.sql("select campaign from tracepool_former.offers", database) == "spring"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("create table offers (id bigint, offer_name text, final_url text);"
         "insert into offers values (1, 'a', 'b')",
         r"offers\.id has the type bigint instead of uuid"),
        ("create table offers (name text); create table hits (request_id bigint); insert into offers values ('sale');"
         "insert into hits values (1)",
         r"hits.request_id has the type bigint instead of uuid; .*offers.offer_name \(text\) is missing; .*final_url"),
        ("create table hits (request_id text, offer_name text, outcome text, location text, wait_ms int);"
         "insert into hits values ('one', 'sale', 'resolved', 'https://shop.example/', 5)",
         r"a row of hits is refused: invalid input syntax for type uuid"),
        ("create view offers as select 1 as id", r"offers is a view"),
        ("create table offers (offer_name text, final_url text); insert into offers values ('a', 'b'), ('a', 'c')",
         r"a row of offers is refused: .*offers_offer_name_key.*\(offer_name\)=\(a\) already exists"),
        ("create table ip_rotation_pool (ip_address text); insert into ip_rotation_pool values ('256.1.1.1')",
         r"a row of ip_rotation_pool is refused: .*256.1.1.1"),
        ("create table offers (offer_name text, final_url text); insert into offers values ('a', 'b');"
         "alter table offers enable row level security; alter table offers force row level security;"
         "alter table offers owner to operated; grant all on schema public to operated;"
         "grant create on database {db} to operated",
         r"row-level security policy for table .offers."),
        ("create table offers (offer_name text, final_url text); create schema tracepool_former",
         r"alter schema tracepool_former rename to"),
    ],
)  # fmt: skip
async def test_tables_that_do_not_fit_are_refused_with_their_differences_and_unchanged(
    sql: str, said: str, postgres: PostgresServer, role: str
) -> None:
    database = postgres.bare_database()
    if "ip_rotation_pool" not in sql:
        postgres.sql("create table ip_rotation_pool (ip_address text)", database)
        postgres.sql(f"alter table ip_rotation_pool owner to {role}", database)
    postgres.sql(sql.replace("{db}", database), database)
    before = postgres.sql(STATE, database)
    with pytest.raises(DatabaseUnfit, match=said):
        await opened(postgres.url(database, role if role in sql else "tracepool"))
    assert postgres.sql(STATE, database) == before
    assert await opened(postgres.url(database), "tracepool", "select count(*) from offers") == [(0,)], (
        "the other way out"
    )


def test_each_migration_has_a_number_of_its_own() -> None:
    assert [int(name[:4]) for name in migrations()] == list(range(1, len(migrations()) + 1))
