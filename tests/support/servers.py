"""A PostgreSQL server whose processes tests kill and freeze, and whose rows they read."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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

    def start_with(self, **environment: str) -> None:
        """Start the server of this directory, which does not run, with more environment variables."""
        data = self.server.data_dir
        launch(data, self.server.socket_dir, **environment)
        self.start()

    def moved_to(self, data: Path) -> None:
        """Another server, which runs on `data`, has taken the place of this one."""
        found = cluster.running(data)
        assert found is not None, f"no server runs on {data}"
        self.server = replace(self.server, data_dir=data, socket_dir=found[1], url=cluster.url(found[1]))

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


def launch(data: Path, socket_dir: Path, *settings: str, **environment: str) -> None:
    """Start a server on `data` as its owner, with settings such as `port=5433`, and wait until it answers."""
    owner = data.stat()
    as_owner: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_owner = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    binaries = cluster.binaries_for(data)
    words = [f"unix_socket_directories={socket_dir}", "unix_socket_permissions=0700", "listen_addresses=", *settings]
    (data / "postmaster.pid").unlink(missing_ok=True)  # of a killed server, see cluster.launch
    (socket_dir / f"{cluster.SOCKET_NAME}.lock").unlink(missing_ok=True)
    with (data.parent / "server.log").open("ab") as log:
        subprocess.Popen(
            [binaries.bin_dir / "postgres", "-D", data, *(word for each in words for word in ("-c", each))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"} | environment,
            start_new_session=True,
            **as_owner,
        )
    cluster.wait(lambda: cluster.answers(binaries, socket_dir), END_S, f"PostgreSQL did not start on {data}")


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
