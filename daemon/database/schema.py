"""The tables: checked before the first write, created in one transaction, and migrated in one transaction per step."""

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from daemon.database.adoption import adopt
from daemon.database.fitness import (
    Facts,
    Relation,
    migrations_fault,
    names_fault,
    rights_fault,
    schema_fault,
    server_fault,
)
from daemon.database.queries import QUERIES
from daemon.database.sessions import Connection
from daemon.database.sql import identifier

MIGRATION_LOCK = (0x74726163, 1)  # key of an advisory lock that ends with its transaction
Begins = Callable[[str, int], None]
RECORD = "schema_migrations"
CREATED = re.compile(r"^create (?:table|sequence) (?:if not exists )?(\w+)", re.MULTILINE)


async def migrate(conn: Connection, schema: str = "public", begins: Begins | None = None) -> list[str]:
    """A unit of work: applies the missing files of migrations/*.sql in order; returns their names.

    `begins(name, left)` is called before the first one, with the number of missing files. If it is given, only the
    first one is applied to a database that has tables already.

    Tables of the same names that are not tracepool's are adopted. Raises DatabaseUnfit or DatabaseUnavailable, and
    changes nothing, if the database cannot be used.
    """
    await conn.execute(QUERIES["lock_migrations"], *MIGRATION_LOCK)
    facts = Facts(**(await conn.fetchrow(QUERIES["database_facts"], schema)))
    _refuse(server_fault(facts) or schema_fault(facts, schema))
    scripts = migrations()
    rows = await conn.fetch(QUERIES["relations"], schema, [RECORD, *relations_of(scripts)])
    relations = [Relation(**row) for row in rows]
    done = await _applied(conn, facts, schema, relations)
    missing = {name: script for name, script in scripts.items() if name not in done}
    others = [] if done else [relation for relation in relations if relation.name != RECORD]
    _refuse(names_fault(facts, others, schema))
    _refuse(rights_fault(facts, relations, schema, missing=bool(missing)))
    await conn.execute(f"set local search_path to {identifier(schema)}, pg_temp")
    if not missing:
        return []
    if begins is not None:
        first = next(iter(missing))
        begins(first, len(missing))
        missing = {first: missing[first]} if done else missing
    if not facts.schema_exists:
        await conn.execute(f"create schema {identifier(schema)}")
    if not others:
        await _apply(conn, missing)
    else:

        async def create_tables() -> None:
            await _apply(conn, missing)

        await adopt(conn, facts, schema, others, create_tables)
    return list(missing)


async def search_path_to(conn: Connection, schema: str) -> str | None:
    """A unit of work: the search_path with which another client finds the tables; None if it does so by its own."""
    own = await conn.fetchval("select reset_val from pg_settings where name = 'search_path'")
    await conn.execute("select set_config('search_path', $1, true)", own)
    table = f"{identifier(schema)}.{RECORD}"
    found = await conn.fetchval("select to_regclass($1) is not distinct from to_regclass($2)", RECORD, table)
    return None if found else f"{identifier(schema)}, {own}"


def _refuse(fault: Exception | None) -> None:
    if fault is not None:
        raise fault


async def _applied(conn: Connection, facts: Facts, schema: str, relations: list[Relation]) -> set[str]:
    """The names of the applied migrations."""
    record = next((relation for relation in relations if relation.name == RECORD), None)
    if record is None:
        return set()
    known = list(migrations())
    columns = [row["name"] for row in await conn.fetch(QUERIES["relation_columns"], schema, [RECORD])]
    _refuse(migrations_fault(columns, [], known, facts, schema))
    if "SELECT" in record.lacks:
        return set(known)  # the missing right is the fault that is reported
    names = [row["name"] for row in await conn.fetch(f"select name from {identifier(schema)}.{RECORD}")]  # noqa: S608
    _refuse(migrations_fault(columns, names, known, facts, schema))
    return set(names)


async def _apply(conn: Connection, scripts: dict[str, str]) -> None:
    await conn.execute(
        f"create table if not exists {RECORD} (name text primary key, applied_at timestamptz default now())"
    )
    for name, script in scripts.items():
        await conn.execute(script)
        await conn.execute(f"insert into {RECORD} (name) values ($1)", name)  # noqa: S608


@cache
def migrations() -> dict[str, str]:
    """The files of migrations/ by name, in order."""
    directory: Any = files("daemon.database").joinpath("migrations")
    names = sorted(file.name for file in directory.iterdir() if file.name.endswith(".sql"))
    return {name: directory.joinpath(name).read_text() for name in names}


def relations_of(scripts: dict[str, str]) -> list[str]:
    """The tables and sequences that migrations create."""
    return [name for script in scripts.values() for name in CREATED.findall(script)]
