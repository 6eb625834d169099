"""The tables: what is missing of migrations/*.sql is applied, in order."""

from importlib.resources import files

from daemon.database.postgres import Connection
from daemon.errors import DatabaseSetupFailed

MIGRATION_LOCK = (0x74726163, 1)  # of an advisory lock that ends with its transaction


async def migrate(conn: Connection) -> list[str]:
    """A unit of work: applies what is missing of migrations/*.sql, in order; gives the names of those applied."""
    await conn.execute("select pg_advisory_xact_lock($1, $2)", *MIGRATION_LOCK)
    await conn.execute(
        "create table if not exists schema_migrations (name text primary key, applied_at timestamptz default now())"
    )
    done = {row["name"] for row in await conn.fetch("select name from schema_migrations")}
    directory = files("daemon.database").joinpath("migrations")
    names = sorted(f.name for f in directory.iterdir() if f.name.endswith(".sql"))
    if unknown := sorted(done - set(names)):
        raise DatabaseSetupFailed(
            f"the database is newer than this tracepool (it has {unknown[-1]}): upgrade tracepool"
        )
    missing = [name for name in names if name not in done]
    for name in missing:
        await conn.execute(directory.joinpath(name).read_text())
        await conn.execute("insert into schema_migrations (name) values ($1)", name)
    return missing
