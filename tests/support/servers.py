"""A PostgreSQL server whose processes tests kill and freeze, and whose rows they read."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from daemon.database import cluster, embedded
from daemon.database.schema import migrate

ASK_S = 10.0
END_S = 30.0


class SceneBroke(Exception):
    """A fault could not be produced, or an expected condition never became true."""


@dataclass(slots=True)
class Postgres:
    """A server. `directory`: its state directory, which is the daemon's own for an embedded server."""

    directory: Path
    server: embedded.EmbeddedServer = field(init=False)

    def start(self) -> None:
        self.server = embedded.start(self.directory)

    def let_go(self) -> None:
        self.server.stop()

    def kill(self, *, whole: bool) -> None:
        """Send SIGKILL to the postmaster and, if `whole`, to all of its children, as in a crash of the machine."""
        postmaster, *children = self._processes()
        postmaster.kill()
        for process in children if whole else []:
            _signal(process, signal.SIGKILL)
        data = self.server.data_dir
        cluster.wait(lambda: not cluster.is_server_of(postmaster.pid, data), END_S, "PostgreSQL survived SIGKILL")
        self.let_go()

    def freeze(self) -> None:
        for _ in range(2):  # the second time for processes that the postmaster started meanwhile
            for process in self._processes():
                _signal(process, signal.SIGSTOP)

    def thaw(self) -> None:
        for process in reversed(self._processes()):
            _signal(process, signal.SIGCONT)

    def _processes(self) -> list[psutil.Process]:
        """The processes, the postmaster first: once it is frozen it starts no others."""
        found = cluster.running(self.server.data_dir)
        if found is None:
            raise SceneBroke("PostgreSQL does not run")
        postmaster = psutil.Process(found[0])
        return [postmaster, *postmaster.children(recursive=True)]

    def sql(self, statement: str) -> list[dict[str, Any]]:
        return asyncio.run(_sql(self.server.url, statement))

    def run(self, script: str, *, database: str = cluster.DATABASE) -> None:
        """Run statements that return no rows, in one transaction unless there is only one."""
        asyncio.run(_run(self.server.url.replace(f"/{cluster.DATABASE}?", f"/{database}?"), script))


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return  # the process has ended


async def _sql(url: str, statement: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url, timeout=ASK_S)
    try:
        return [dict(row) for row in await connection.fetch(statement, timeout=ASK_S)]
    finally:
        connection.terminate()


async def _run(url: str, script: str) -> None:
    connection = await asyncpg.connect(url, timeout=ASK_S)
    try:
        await connection.execute(script, timeout=ASK_S)
    finally:
        connection.terminate()


def furnished(url: str, addresses: Sequence[str], proxy_port: int, offers: Mapping[str, str]) -> None:
    """Make the tables, an IP for each address, and the offers (name to URL), before any daemon starts."""

    async def furnish() -> None:
        connection = await asyncpg.connect(url, timeout=ASK_S)
        try:
            async with connection.transaction():
                await migrate(connection)
            ips = [(address, str(proxy_port)) for address in addresses]
            await connection.executemany("insert into ip_rotation_pool (ip_address, ip_port) values ($1, $2)", ips)
            await connection.executemany("insert into offers (offer_name, final_url) values ($1, $2)", offers.items())
        finally:
            await connection.close(timeout=ASK_S)

    asyncio.run(furnish())
