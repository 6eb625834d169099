"""The daemon's database: connected to or started, waited for, and migrated; a dead embedded server is restarted."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import structlog
import trio

from daemon.database import cluster, embedded
from daemon.database.postgres import Database, open_database
from daemon.database.upgrade import upgrade
from daemon.errors import DatabaseMigrating, DatabaseSetupFailed, DatabaseUnavailable, DiskUnavailable
from daemon.settings.model import Settings
from daemon.troubles import Troubles

RETRY_S = 2.0
REPORT_EACH_S = 10.0  # in the log; status and /readyz have the current progress
STARTING = "starting the daemon"
WAITING = "clicks of the offers in the cache file fall back"
WATCH_S = 1.0
STOP_S = 35.0

T = TypeVar("T")

log = structlog.get_logger("daemon.database")


@asynccontextmanager
async def reached_database(settings: Settings, troubles: Troubles) -> AsyncIterator[Database]:
    """Yields when the tables exist. While PostgreSQL cannot be reached, it logs that and tries again every RETRY_S."""
    async with AsyncExitStack() as stack:
        if settings.database.url is None:
            url = await stack.enter_async_context(embedded_running(settings, troubles))
        else:
            url = settings.database.url.get_secret_value()
        yield await retry_until_available(lambda: stack.enter_async_context(_opened(url, settings, troubles)), troubles)


async def retry_until_available(work: Callable[[], Awaitable[T]], troubles: Troubles) -> T:
    """Runs a step of the start, again every RETRY_S while PostgreSQL cannot be reached."""
    while True:
        try:
            done = await work()
        except DatabaseUnavailable as e:
            troubles.note(STARTING, e, effect=WAITING, repeat_s=RETRY_S)
            await trio.sleep(RETRY_S)
        else:
            troubles.over(STARTING)
            return done


@asynccontextmanager
async def _opened(url: str, settings: Settings, troubles: Troubles) -> AsyncIterator[Database]:
    def report(progress: str) -> None:
        troubles.note(STARTING, DatabaseMigrating(progress), effect=WAITING, repeat_s=REPORT_EACH_S)

    async with open_database(url, settings.database) as database:
        if applied := await upgrade(database, report):
            log.info("database_migrated", applied=applied)
        yield database


@asynccontextmanager
async def embedded_running(settings: Settings, troubles: Troubles) -> AsyncIterator[str]:
    """Yields the URL of the embedded server when it runs, and starts it again whenever it dies."""

    async def start() -> embedded.EmbeddedServer:
        try:
            return await trio.to_thread.run_sync(embedded.start, settings.state_dir)
        except DatabaseSetupFailed as e:
            if cluster.is_of_disk(str(e)):
                raise DiskUnavailable(str(e)) from e
            raise

    server = await retry_until_available(start, troubles)
    log.info("embedded_database", started=server.started_here, data=str(server.data_dir))

    async def keep_running() -> None:
        nonlocal server
        while True:
            await trio.sleep(WATCH_S)
            await trio.to_thread.run_sync(cluster.limit_log, server.data_dir)
            if await trio.to_thread.run_sync(cluster.running, server.data_dir) is not None:
                continue
            log.error("embedded_database_died", effect="it is restarted")
            try:
                await trio.to_thread.run_sync(server.stop)
                server = await trio.to_thread.run_sync(embedded.start, settings.state_dir)
            except DatabaseSetupFailed as e:
                log.error(
                    "embedded_database_start_failed",
                    why="\n".join([str(e), *getattr(e, "__notes__", ())]),
                    retry_in_s=RETRY_S,
                )
                await trio.sleep(RETRY_S)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_running)
            yield server.url
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(STOP_S, shield=True):
            await trio.to_thread.run_sync(server.stop, abandon_on_cancel=True)
