"""Whether a database can hold the tables, and otherwise one sentence with the SQL that changes that. Pure.

Nothing is written before these checks. Most faults are DatabaseUnfit: another start would not help. A standby and a
server that is read-only as a whole are DatabaseUnavailable, because a failover or the hosting service may end that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.database.sql import identifier
from daemon.errors import DatabaseUnavailable, DatabaseUnfit

VERSION_MIN = 14
SCHEMA_DEFAULT = "public"
SIGNATURE = {"ip_rotation_pool", "active_trace_requests", "ip_pool_statistics"}
SCHEMA_MIGRATIONS = {"name", "applied_at"}


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view or sequence. `kind`: as in pg_class. `lacks`: rights that the role does not have."""

    name: str
    kind: str
    owner: str
    is_owned: bool
    lacks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """A row of the query `database_facts`."""

    version_number: int
    version: str
    encoding: str
    is_standby: bool
    is_read_only: bool
    read_only_by: str
    role: str
    database: str
    may_create_schemas: bool
    may_create_temporary: bool
    schema_exists: bool
    may_use: bool
    may_create: bool
    elsewhere: str | None


def server_fault(facts: Facts) -> DatabaseUnfit | DatabaseUnavailable | None:
    """A fault of the server or of the whole database."""
    role, database = identifier(facts.role), identifier(facts.database)
    if facts.version_number // 10_000 < VERSION_MIN:
        return DatabaseUnfit(
            f"PostgreSQL {facts.version} is too old: tracepool needs PostgreSQL {VERSION_MIN} or later. Let "
            "database.url lead to one, and bring the data by pg_dump and pg_restore"
        )
    if facts.encoding != "UTF8":
        utf8 = identifier(f"{facts.database}_utf8")
        return DatabaseUnfit(
            f"the database {database} has the encoding {facts.encoding}, which cannot hold every URL: "
            f"create database {utf8} owner {role} encoding 'UTF8' locale 'C' template template0; and name it in "
            "database.url"
        )
    if facts.is_standby:
        return DatabaseUnavailable(
            "PostgreSQL is a standby and read-only",
            "let database.url lead to the primary (several hosts with target_session_attrs=read-write follow a "
            "failover), or promote the standby: select pg_promote();",
        )
    return _read_only_fault(facts, role, database) if facts.is_read_only else None


def _read_only_fault(facts: Facts, role: str, database: str) -> DatabaseUnfit | DatabaseUnavailable:
    """By the place where default_transaction_read_only is set: `source` of pg_settings."""
    reset = "reset default_transaction_read_only;"
    what = f"transactions of the role {role} are read-only"
    if facts.read_only_by == "user":
        return DatabaseUnfit(f"{what} by a setting of the role: alter role {role} {reset}")
    if facts.read_only_by == "database user":
        return DatabaseUnfit(f"{what} in this database: alter role {role} in database {database} {reset}")
    if facts.read_only_by == "database":
        return DatabaseUnfit(f"{what} by a setting of the database: alter database {database} {reset}")
    if facts.read_only_by == "client":
        return DatabaseUnfit(f"{what} by the options in database.url: remove default_transaction_read_only there")
    return DatabaseUnavailable(
        "PostgreSQL is read-only by a setting of the server, as hosting services do when a disk is full",
        f"alter system {reset} select pg_reload_conf();",
    )


def schema_fault(facts: Facts, schema: str) -> DatabaseUnfit | None:
    """A fault of the schema that is to hold the tables."""
    role, named = identifier(facts.role), identifier(schema)
    if facts.elsewhere is not None and schema == SCHEMA_DEFAULT:  # an earlier version took the first of search_path
        return DatabaseUnfit(
            f"the tables of tracepool are in the schema {facts.elsewhere}, but database.schema is {schema}: set "
            f"database.schema to {facts.elsewhere}"
        )
    if not facts.schema_exists and not facts.may_create_schemas:
        return DatabaseUnfit(f"there is no schema {named}: create schema {named} authorization {role};")
    if facts.schema_exists and not facts.may_use:
        return DatabaseUnfit(
            f"the role {role} may not use the schema {named}: grant usage, create on schema {named} to {role};"
        )
    return None


def own_schema(role: str) -> str:
    """The remedy for tables of another program."""
    return f'create schema tracepool authorization {identifier(role)}; and set database.schema = "tracepool"'


def migrations_fault(
    columns: Sequence[str], names: Sequence[str], known: Sequence[str], facts: Facts, schema: str
) -> DatabaseUnfit | None:
    """A fault of the table schema_migrations with these columns and names. `known`: the migrations of this program."""
    if set(columns) != SCHEMA_MIGRATIONS or any(not name.endswith(".sql") for name in names):
        return DatabaseUnfit(
            f"the table {identifier(schema)}.schema_migrations belongs to another program (columns: "
            f"{', '.join(columns)}): {own_schema(facts.role)}"
        )
    if unknown := sorted(set(names) - set(known)):
        return DatabaseUnfit(f"the database is newer than this tracepool (it has {unknown[-1]}): upgrade tracepool")
    return None


def names_fault(facts: Facts, relations: Sequence[Relation], schema: str) -> DatabaseUnfit | None:
    """Relations with the names of tracepool's where none of its migrations is applied, and which are not adopted.

    Names such as `offers` are those of many programs: tables are adopted only together with one of SIGNATURE.
    """
    if not relations or SIGNATURE & {relation.name for relation in relations}:
        return None
    names = ", ".join(relation.name for relation in relations)
    return DatabaseUnfit(
        f"the schema {identifier(schema)} has tables of another program with tracepool's names ({names}): "
        f"{own_schema(facts.role)}"
    )


def rights_fault(facts: Facts, relations: Sequence[Relation], schema: str, *, missing: bool) -> DatabaseUnfit | None:
    """Rights that the role lacks. `missing`: whether there are migrations to apply."""
    role, named = identifier(facts.role), identifier(schema)
    if missing and facts.schema_exists and not facts.may_create:
        return DatabaseUnfit(
            f"the role {role} has no permission to create tables in the schema {named}: "
            f"grant create on schema {named} to {role};"
        )
    if missing and (owner := next((r.owner for r in relations if not r.is_owned), None)) is not None:
        return DatabaseUnfit(
            f"the role {role} may not change the tables, which belong to {identifier(owner)}: "
            f"grant {identifier(owner)} to {role};"
        )
    lacking = [relation for relation in relations if relation.lacks]
    if lacking:
        rights = ", ".join(f"{' and '.join(relation.lacks)} on {relation.name}" for relation in lacking)
        return DatabaseUnfit(
            f"the role {role} lacks rights ({rights}): grant select, insert, update, delete on all tables in schema "
            f"{named} to {role}; grant usage on all sequences in schema {named} to {role};"
        )
    if not facts.may_create_temporary:
        database = identifier(facts.database)
        return DatabaseUnfit(
            f"the role {role} may not create temporary tables: grant temporary on database {database} to {role};"
        )
    return None
