"""What a command works with: the settings, and the database for as long as the command needs it."""

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import asyncpg
import trio

from daemon.cli.exit_codes import leaves
from daemon.database import embedded
from daemon.database.connect import migrate
from daemon.database.postgres import Connection, Database, database_loop, open_database
from daemon.errors import TheirFault
from daemon.settings.model import Settings
from daemon.settings.sources import hide_secrets, load

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CONNECTIONS_MAX = 2


def settings_of(config: Path | None) -> Settings:
    """As `serve` reads them. From now on no log line or error message shows a secret. Raises BadSettings."""
    settings = load(config)
    hide_secrets(settings)
    return settings


@contextmanager
def database_at(settings: Settings) -> Iterator[str]:
    """The address of a database that stays reachable inside: the embedded server is attached to, or started."""
    if settings.database.url is not None:
        yield settings.database.url.get_secret_value()
        return
    server = embedded.start(settings.state_dir)
    try:
        yield server.url
    finally:
        server.stop()


def use_database(url: str, settings: Settings, use: Callable[[Database], Awaitable[T]]) -> T:
    """What `use` gives, run on Trio with a database whose tables are there.

    Raises DatabaseUnavailable, DatabaseSetupFailed, and TheirFault with what PostgreSQL says of a statement.
    """

    async def main() -> T:
        async with database_loop(), trio.open_nursery() as nursery:
            await nursery.start(_end_at_ctrl_c)
            result = await _used(url, settings, use)
            nursery.cancel_scope.cancel()
        return result

    try:
        return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    except BaseExceptionGroup as e:
        causes = leaves(e)
        raise next((cause for cause in causes if isinstance(cause, KeyboardInterrupt)), causes[0]) from e


async def _used(url: str, settings: Settings, use: Callable[[Database], Awaitable[T]]) -> T:
    async with open_database(
        url,
        connections_max=CONNECTIONS_MAX,
        connect_timeout_s=settings.database.connect_timeout_s,
        statement_timeout_s=settings.database.statement_timeout_s,
    ) as database:
        try:
            await database.work(migrate)
            return await use(database)
        except asyncpg.PostgresError as e:
            raise TheirFault(f"PostgreSQL refuses: {e}") from e


async def _end_at_ctrl_c(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Python's own KeyboardInterrupt can come up in a callback of asyncio, which swallows it and waits for ever."""
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            raise KeyboardInterrupt


def with_database(settings: Settings, use: Callable[[Database], Awaitable[T]]) -> T:
    with database_at(settings) as url:
        return use_database(url, settings, use)


def work(settings: Settings, unit: Callable[[Connection, *Ts], Awaitable[T]], *args: *Ts) -> T:
    """One unit of work, in one transaction."""
    return with_database(settings, lambda database: database.work(unit, *args))
