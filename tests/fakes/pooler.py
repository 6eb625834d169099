"""PgBouncer in front of the embedded PostgreSQL, in one of its modes."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import trio

from daemon.database import cluster
from tests.fakes.wire import free_port
from tests.support.needs import program_path

PACKAGE = "pgbouncer"
Mode = Literal["session", "transaction", "statement"]
ACCOUNT = "nobody"
"""PgBouncer refuses to run as root."""
STARTS_WITHIN_S = 10.0
SETTINGS = """[databases]
{database} = host=127.0.0.1 port={server_port} dbname={database} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
{account}
"""


@asynccontextmanager
async def pooler(mode: Mode, server_port: int, directory: Path) -> AsyncIterator[int]:
    """Run a PgBouncer for the server at this port of 127.0.0.1; yield its port."""
    program = program_path(PACKAGE)
    assert program is not None, f"needs the package {PACKAGE}"
    port = free_port()
    settings = directory / f"{PACKAGE}-{mode}.ini"
    account = f"user = {ACCOUNT}" if os.geteuid() == 0 else ""
    values = {"database": cluster.DATABASE, "user": cluster.SUPERUSER, "server_port": server_port}
    settings.write_text(SETTINGS.format(port=port, mode=mode, account=account, **values))
    with (directory / f"{PACKAGE}.log").open("ab") as log:
        process = await trio.lowlevel.open_process([program, str(settings)], stdout=log, stderr=log)
    try:
        with trio.fail_after(STARTS_WITHIN_S):
            while not await _listens(port):
                assert process.poll() is None, f"{PACKAGE} ended with {process.returncode}: see its log in {directory}"
                await trio.sleep(0.02)
        yield port
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()


async def _listens(port: int) -> bool:
    try:
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    except OSError:
        return False
    return True
