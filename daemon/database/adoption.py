"""Adoption of tables that have the names of tracepool's, but were made by another program, with their rows.

In one transaction: the tables move to the schema FORMER, tracepool's own are created, and the rows are copied by the
names of their columns. FORMER keeps everything until an operator drops it: further columns, views, foreign keys. If a
type or a row does not fit, nothing changes and the differences are named.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg
import structlog

from daemon.database.failures import OUTAGES
from daemon.database.fitness import Facts, Relation, own_schema
from daemon.database.queries import QUERIES
from daemon.database.sessions import Connection
from daemon.database.sql import identifier
from daemon.errors import DatabaseUnfit

FORMER = "tracepool_former"
KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}

log = structlog.get_logger("daemon.database")


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `default`: as an expression of SQL."""

    relation: str
    name: str
    type_id: int
    type: str
    is_required: bool
    is_generated: bool
    default: str | None


async def adopt(
    conn: Connection,
    facts: Facts,
    schema: str,
    relations: Sequence[Relation],
    create_tables: Callable[[], Awaitable[None]],
) -> None:
    """Adopts `relations` of `schema`. Raises DatabaseUnfit if that is impossible; the caller rolls back."""
    others = [f"{relation.name} is {KINDS[relation.kind]}" for relation in relations if relation.kind in KINDS]
    if others:
        raise _unfit(facts, schema, others)
    if not facts.may_create_schemas:
        role, database = identifier(facts.role), identifier(facts.database)
        names = ", ".join(relation.name for relation in relations)
        raise DatabaseUnfit(
            f"the schema {identifier(schema)} has tables of another program with tracepool's names ({names}). To adopt "
            f"their rows: grant create on database {database} to {role};"
        )
    tables = [relation.name for relation in relations]
    try:
        await conn.execute("set local row_security = off")  # an error instead of rows that are left out
        await conn.execute(f"create schema {FORMER}")
        for table in tables:
            await conn.execute(f"alter table {identifier(schema)}.{identifier(table)} set schema {FORMER}")
    except asyncpg.DuplicateSchemaError:
        raise DatabaseUnfit(
            f"the schema {FORMER} exists already: alter schema {FORMER} rename to {FORMER}_1;"
        ) from None
    await create_tables()
    try:
        filled = [t for t in tables if await conn.fetchval(f"select exists (table {FORMER}.{identifier(t)})")]
    except asyncpg.InsufficientPrivilegeError as e:  # of a table with "force row level security"
        raise _unfit(facts, schema, [e.args[0]]) from None
    former, ours = await _columns(conn, FORMER, filled), await _columns(conn, schema, filled)
    if differences := await _differences(conn, former, ours):
        raise _unfit(facts, schema, differences)
    rows = {table: await _copy(conn, facts, schema, former[table], ours[table]) for table in filled}
    log.info("tables_adopted", rows=rows, former_tables=FORMER,
             next=f"tracepool database-grants ROLE for their roles; at last drop schema {FORMER} cascade")  # fmt: skip


async def _columns(conn: Connection, schema: str, tables: Sequence[str]) -> dict[str, dict[str, Column]]:
    found: dict[str, dict[str, Column]] = defaultdict(dict)
    for row in await conn.fetch(QUERIES["relation_columns"], schema, tables):
        found[row["relation"]][row["name"]] = Column(**row)
    return found


async def _differences(
    conn: Connection, former: dict[str, dict[str, Column]], ours: dict[str, dict[str, Column]]
) -> list[str]:
    """Columns whose values cannot be converted, and columns without which no row can be made."""
    pairs = [
        (old, new)
        for table, columns in former.items()
        for name, old in columns.items()
        if (new := ours[table].get(name)) is not None and not new.is_generated
    ]
    sources, targets = ([pair[side].type_id for pair in pairs] for side in (0, 1))
    rows = await conn.fetch(QUERIES["assignable"], sources, targets)
    converted = {(row["source"], row["target"]) for row in rows}
    return [
        *(
            f"{new.relation}.{new.name} has the type {old.type} instead of {new.type}"
            for old, new in pairs
            if (old.type_id, new.type_id) not in converted
        ),
        *(
            f"{table}.{column.name} ({column.type}) is missing"
            for table, columns in ours.items()
            for column in columns.values()
            if column.is_required
            and not column.is_generated
            and column.default is None
            and column.name not in former[table]
        ),
    ]


async def _copy(conn: Connection, facts: Facts, schema: str, former: dict[str, Column], ours: dict[str, Column]) -> int:
    """The number of rows. A null in a column that allows none becomes the column's default."""
    names = [name for name, column in ours.items() if name in former and not column.is_generated]
    table = next(iter(ours.values())).relation
    columns = ", ".join(map(identifier, names))
    values = ", ".join(_value(former[name], ours[name]) for name in names)
    try:
        done = await conn.execute(
            f"insert into {identifier(schema)}.{identifier(table)} ({columns}) "  # noqa: S608 - quoted names
            f"select {values} from {FORMER}.{identifier(table)}"
        )
    except asyncpg.PostgresError as e:
        if isinstance(e, OUTAGES):
            raise
        key = f": {e.detail}" if isinstance(e, asyncpg.UniqueViolationError) else ""  # other details show whole rows
        raise _unfit(facts, schema, [f"a row of {table} is refused: {e.args[0]}{key}".rstrip(".")]) from None
    return int(done.split()[-1])


def _value(old: Column, new: Column) -> str:
    name = identifier(old.name)
    value = f"host({name})" if old.type == "inet" and new.type == "text" else f"{name}::{new.type}"
    return f"coalesce({value}, {new.default})" if new.is_required and new.default is not None else value


def _unfit(facts: Facts, schema: str, differences: Sequence[str]) -> DatabaseUnfit:
    named = identifier(schema)
    return DatabaseUnfit(
        f"the schema {named} has tables of another program with tracepool's names, whose rows cannot be adopted: "
        f"{'; '.join(differences)}. Nothing was changed. Repair that, or keep these tables and let tracepool make its "
        f"own: {own_schema(facts.role)}"
    )
