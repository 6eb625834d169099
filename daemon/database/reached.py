"""The daemon's database: found or started, waited for, migrated, held; a dead embedded server is started again."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
import trio

from daemon.config import Settings
from daemon.database import cluster, embedded
from daemon.database.postgres import Database, migrate, open_database
from daemon.errors import AlreadyRunning, DatabaseSetupFailed, DatabaseUnavailable

RETRY_S = 2.0
LOCK_PATIENCE_S = 10.0
LOCK_RETRY_S = 0.5  # shorter: until then, a second daemon could come between
WATCH_S = 1.0
LET_GO_S = 35.0

log = structlog.get_logger("daemon.database")


@asynccontextmanager
async def reached_database(settings: Settings) -> AsyncIterator[Database]:
    """Yields once the tables are there. While PostgreSQL cannot be reached it says so every RETRY_S and tries again."""
    async with AsyncExitStack() as stack:
        if settings.database.url is None:
            url = await stack.enter_async_context(_embedded(settings))
        else:
            url = settings.database.url.get_secret_value()
        while True:
            try:
                database = await stack.enter_async_context(_opened(url, settings))
                break
            except DatabaseUnavailable as e:
                log.warning("database_unavailable", why=str(e), retry_in_s=RETRY_S)
                await trio.sleep(RETRY_S)
        yield database


@asynccontextmanager
async def held_database(database: Database, stop: Callable[[], None]) -> AsyncIterator[None]:
    """Keeps other daemons out of the database. PostgreSQL forgets that when it goes: then it is held anew.

    Raises AlreadyRunning where another daemon works with it. One that came while PostgreSQL forgot us has the same IPs:
    `stop` is called, so that the clicks in flight get their answers, and AlreadyRunning is raised after the block.
    """
    taken: AlreadyRunning | None = None

    async def hold(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal taken
        held_before = False
        while True:
            try:
                async with database.daemon_lock(LOCK_PATIENCE_S) as lost:
                    if held_before:
                        log.info("database_held_again")
                    else:
                        task_status.started()
                    held_before = True
                    await lost.wait()
                log.warning("database_hold_lost", effect="it is held again as soon as PostgreSQL can be reached")
            except DatabaseUnavailable as e:
                if not held_before:
                    log.warning("database_unavailable", why=str(e), retry_in_s=LOCK_RETRY_S)
                await trio.sleep(LOCK_RETRY_S)
            except AlreadyRunning as e:
                if not held_before:
                    raise
                log.critical("database_taken", why=str(e), effect="this daemon stops: two would lease the same IPs")
                taken = e
                stop()
                return

    async with trio.open_nursery() as nursery:
        await nursery.start(hold)
        yield
        nursery.cancel_scope.cancel()
    if taken is not None:
        raise taken


@asynccontextmanager
async def _opened(url: str, settings: Settings) -> AsyncIterator[Database]:
    given = settings.database
    async with open_database(
        url,
        connections_max=given.connections_max,
        connect_timeout_s=given.connect_timeout_s,
        statement_timeout_s=given.statement_timeout_s,
    ) as database:
        if applied := await database.work(migrate):
            log.info("database_migrated", applied=applied)
        yield database


@asynccontextmanager
async def _embedded(settings: Settings) -> AsyncIterator[str]:
    server = await trio.to_thread.run_sync(embedded.start, settings.state_dir)
    log.info("embedded_database", started=server.started_here, data=str(server.data_dir))

    async def keep_running() -> None:
        nonlocal server
        while True:
            await trio.sleep(WATCH_S)
            if await trio.to_thread.run_sync(cluster.running, server.data_dir) is not None:
                continue
            log.error("embedded_database_died", effect="it is started again")
            try:
                await trio.to_thread.run_sync(server.stop)
                server = await trio.to_thread.run_sync(embedded.start, settings.state_dir)
            except DatabaseSetupFailed as e:
                log.error("embedded_database_start_failed", why=str(e), retry_in_s=RETRY_S)
                await trio.sleep(RETRY_S)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_running)
            yield server.url
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(LET_GO_S, shield=True):
            await trio.to_thread.run_sync(server.stop, abandon_on_cancel=True)
