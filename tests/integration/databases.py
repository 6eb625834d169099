"""A PostgreSQL server for all integration tests, and a fresh database on it, with its tables, for each."""

import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from daemon.database import embedded
from daemon.database.binaries import psql_path
from daemon.database.postgres import Connection, Database, database_loop, open_database
from daemon.settings import model
from tests.support.state_dirs import drop_server, open_state_dir

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """One embedded server. `new_database` copies a database that has the tables."""

    state_dir: Path
    server: embedded.EmbeddedServer

    def new_database(self) -> str:
        name = f"test_{next(_numbers)}"
        self._psql(f"create database {name} template tracepool")
        return self.server.url.replace("/tracepool?", f"/{name}?")

    def empty_database(self) -> str:
        name = f"test_{next(_numbers)}"
        self._psql(f"create database {name} template template0")
        return self.server.url.replace("/tracepool?", f"/{name}?")

    def end_sessions(self, of: str) -> None:
        """pg_terminate_backend on every session of the daemon in the database of this URL."""
        name = of.partition("@/")[2].partition("?")[0]
        self._psql(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")

    def stop(self) -> None:
        drop_server(self.server.data_dir)  # without a checkpoint, for which a busy disk takes longer than tests wait

    def start(self) -> None:
        embedded.start(self.state_dir).stop()  # the fixture still uses it, so it runs on

    def bare_database(self, options: str = "") -> str:
        """The name of a new database without tables."""
        name = f"empty_{next(_numbers)}"
        self._psql(f"create database {name} template template0 {options}")
        return name

    def url(self, database: str, role: str = "tracepool") -> str:
        return self.server.url.replace("/tracepool?", f"/{database}?").replace("//tracepool@", f"//{role}@")

    def sql(self, script: str, database: str = "tracepool") -> str:
        """Run statements as the superuser. The output of psql."""
        return self._psql(script, database)

    def _psql(self, statement: str, database: str = "postgres") -> str:
        psql = [str(psql_path()), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.server.socket_dir)]
        env = {**os.environ, "PGOPTIONS": "-c default_transaction_read_only=off"}
        done = subprocess.run(
            [*psql, "-U", "tracepool", "-d", database, "-c", statement],
            check=False,
            capture_output=True,
            text=True,
            env=env,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    with open_state_dir() as state_dir:
        server = embedded.start(state_dir)
        try:
            yield PostgresServer(state_dir, server)
        finally:
            drop_server(server.data_dir)
            server.stop()


class Rows:
    """An operator's session: `sql` runs a transaction that is not the daemon's."""

    def __init__(self, database: Database, url: str) -> None:
        self.database = database
        self.url = url

    async def sql(self, statement: str, *args: Any, own: bool = False) -> list[dict[str, Any]]:
        """`own`: as a node executes it; else as an operator does."""

        async def unit(conn: Connection) -> list[dict[str, Any]]:
            if not args:  # the simple protocol takes several statements
                if statement.lstrip().lower().startswith(("select", "with")):
                    return [dict(row) for row in await conn.fetch(statement)]
                await conn.execute(statement)
                return []
            return [dict(row) for row in await conn.fetch(statement, *args)]

        return await self.database.work(unit, own=own)

    async def one(self, statement: str, *args: Any) -> Any:
        """The single value of the single row."""
        rows = await self.sql(statement, *args)
        assert len(rows) == 1, rows
        return next(iter(rows[0].values()))

    async def add_ip(self, address: str, **values: Any) -> UUID:
        owner = values.pop("node_id", None)
        ip_id = await self._add("ip_rotation_pool", {"id": uuid4(), "ip_address": address, **values})
        if owner is not None:  # which an operator's INSERT does not set
            await self.sql("update ip_rotation_pool set node_id = $1 where id = $2", owner, ip_id, own=True)
        return ip_id

    async def add_offer(self, name: str, url: str = "https://ads.example/go", **values: Any) -> UUID:
        return await self._add("offers", {"id": uuid4(), "offer_name": name, "final_url": url, **values})

    async def add_trace(self, **values: Any) -> UUID:
        values = {"tracking_url": "https://ads.example/go", "target_country": "us", "request_id": uuid4(), **values}
        return await self._add("active_trace_requests", values)

    async def _add(self, table: str, values: Mapping[str, Any]) -> UUID:
        places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
        await self.sql(f"insert into {table} ({', '.join(values)}) values ({places})", *values.values())
        found = values.get("id") or values["request_id"]
        assert isinstance(found, UUID)
        return found


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Rows]:
    """Needs database_loop() around it."""
    async with open_database(url, model.Database(connections_max=6, statement_timeout_s=10)) as database:
        yield Rows(database, url)


@asynccontextmanager
async def fresh_database(server: PostgresServer) -> AsyncIterator[Rows]:
    """A new database with its tables and no rows."""
    async with database_loop(), opened(server.new_database()) as rows:
        yield rows


@asynccontextmanager
async def database_before(server: PostgresServer, migration: str) -> AsyncIterator[Rows]:
    """A new database with the tables of the version before `migration`, a file's name."""
    directory = files("daemon.database").joinpath("migrations")
    names = sorted(f.name for f in directory.iterdir() if f.name.endswith(".sql") and f.name < migration)

    async def create(conn: Connection) -> None:
        await conn.execute(
            "create table schema_migrations (name text primary key, applied_at timestamptz default now())"
        )
        for name in names:
            await conn.execute(directory.joinpath(name).read_text())
            await conn.execute("insert into schema_migrations (name) values ($1)", name)

    async with database_loop(), opened(server.empty_database()) as rows:
        await rows.database.work(create)
        yield rows
