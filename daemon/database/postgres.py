"""PostgreSQL for a Trio program: the only module that knows asyncpg and trio-asyncio.

A unit of work is one asyncio-flavoured function `async def unit(conn, *args)`; `Database.work` runs it on a pooled
connection inside one transaction and is wrapped once, so that a cancel anywhere neither leaks a connection nor leaves a
transaction open. Every statement has a time limit. What goes wrong between us and the server becomes
DatabaseUnavailable; what the server says about a statement stays asyncpg's exception.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar, TypeVarTuple

import asyncpg
import trio
import trio_asyncio

from daemon.errors import AlreadyRunning, DatabaseSetupFailed, DatabaseUnavailable

Connection = Any  # asyncpg.Connection, or the pool's stand-in for it: the two share no public type
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RELEASE_TIMEOUT_S = 5.0
NOTIFICATIONS_MAX = 1_000
LOCK_RETRY_S = 0.2
# Two 32-bit keys of session-level advisory locks. The second number says what is locked.
MIGRATION_LOCK = (0x74726163, 1)
DAEMON_LOCK = (0x74726163, 2)
OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # its last words came between two of our statements: no more can be said on this one
    asyncpg.InsufficientResourcesError,  # its disk is full, its memory, its connections
    asyncpg.OperatorInterventionError,  # it stops, starts, or somebody ended our statement or session
    asyncpg.TransactionRollbackError,  # a deadlock with somebody's statement
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
)
REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


def _read_queries() -> dict[str, str]:
    """`-- name: x` begins a query, which goes to the next such line."""
    queries: dict[str, str] = {}
    for file in ("queries.sql", "evidence.sql"):
        for part in files("daemon.database").joinpath(file).read_text().split("-- name: ")[1:]:
            name, _, statement = part.partition("\n")
            queries[name.strip()] = statement.strip()
    return queries


QUERIES = _read_queries()


@contextlib.contextmanager
def outages_named() -> Iterator[None]:
    try:
        yield
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as e:
        raise DatabaseUnavailable(f"PostgreSQL refuses the login: {e}: correct database.url") from e
    except asyncpg.InvalidCatalogNameError as e:
        raise DatabaseUnavailable(f"PostgreSQL: {e}: create it (createdb) or correct database.url") from e
    except OUTAGES as e:
        raise DatabaseUnavailable(f"PostgreSQL cannot be reached: {type(e).__name__}: {e}") from e


class Database:
    """A pool of connections. `open_database` makes it."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", url: str, connect_timeout_s: float) -> None:
        self._pool = pool
        self._url = url
        self._connect_timeout_s = connect_timeout_s

    async def work(self, unit: Callable[[Connection, *Ts], Awaitable[T]], *args: *Ts, own: bool = False) -> T:
        """Runs `unit` in one transaction. `own`: its changes are the daemon's, which the triggers pass over.

        Raises DatabaseUnavailable, and whatever the statements raise; nothing of the unit stays then.
        """
        with outages_named():
            return await trio_asyncio.aio_as_trio(self._work)(unit, args, own)  # type: ignore[no-any-return]

    async def _work(self, unit: Callable[..., Awaitable[T]], args: tuple[Any, ...], own: bool) -> T:
        conn = await self._pool.acquire(timeout=self._connect_timeout_s)
        try:
            await conn.execute("begin; set local tracepool.writer = 'daemon'" if own else "begin")
            result = await unit(conn, *args)
            await conn.execute("commit")
            return result
        except (asyncio.CancelledError, *OUTAGES):
            conn.terminate()  # it may be frozen: a rollback could wait for it for ever
            raise
        except BaseException:
            with contextlib.suppress(*OUTAGES):  # the first error is the one to tell
                await conn.execute("rollback")
            raise
        finally:
            await self._release(conn)

    async def _release(self, conn: Connection) -> None:
        """asyncpg ends a release behind a cancel's back: what went wrong there would be nobody's, and end the loop."""
        releasing = asyncio.ensure_future(self._pool.release(conn, timeout=RELEASE_TIMEOUT_S))
        try:
            await asyncio.shield(releasing)
        except asyncio.CancelledError:
            conn.terminate()
            with contextlib.suppress(*OUTAGES):
                await releasing
            raise

    async def fetch(self, query: str, *args: Any) -> list[dict[str, Any]]:
        """The rows of one query of the .sql files, by its name."""

        async def unit(conn: Connection) -> list[dict[str, Any]]:
            return [dict(row) for row in await conn.fetch(QUERIES[query], *args)]

        return await self.work(unit)

    @contextlib.asynccontextmanager
    async def listen(self, *channels: str) -> AsyncIterator["Announcements"]:
        """(channel, payload) as PostgreSQL announces them, on a connection of its own; ends when that is lost.

        Where more than NOTIFICATIONS_MAX wait, the channel ends too: the reader starts over with everything.
        """
        send, receive = trio.open_memory_channel[tuple[str, str]](NOTIFICATIONS_MAX)

        def heard(_: Connection, __: int, channel: str, payload: object) -> None:
            try:
                send.send_nowait((channel, str(payload)))
            except trio.WouldBlock:
                send.close()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the reader has left or is about to start over

        with outages_named():
            conn = await trio_asyncio.aio_as_trio(self._listen)(channels, heard, send.close)
        try:
            async with receive:
                yield Announcements(receive, conn)
        finally:
            conn.terminate()

    async def _listen(self, channels: tuple[str, ...], heard: Any, lost: Callable[[], None]) -> Connection:
        conn = await asyncpg.connect(self._url, timeout=self._connect_timeout_s, command_timeout=RELEASE_TIMEOUT_S)
        try:
            conn.add_termination_listener(lambda _: lost())
            for channel in channels:
                await conn.add_listener(channel, heard)
        except BaseException:
            conn.terminate()
            raise
        return conn

    @contextlib.asynccontextmanager
    async def daemon_lock(self, patience_s: float) -> AsyncIterator[trio.Event]:
        """Holds the database for this daemon: a second one would lease the same IPs. Raises AlreadyRunning.

        The event is set when the session, and the lock with it, is lost.
        """
        lost = trio.Event()
        with outages_named():
            conn = await trio_asyncio.aio_as_trio(self._listen)((), None, lost.set)
        try:
            with outages_named():
                held = await trio_asyncio.aio_as_trio(_try_lock)(conn, patience_s)
            if not held:
                raise AlreadyRunning("another tracepool daemon works with this database: stop it, or use another one")
            yield lost
        finally:
            conn.terminate()


@dataclass(frozen=True, slots=True)
class Announcements:
    """What `Database.listen` gives: `received` announcements, and the connection they come by."""

    received: "trio.MemoryReceiveChannel[tuple[str, str]]"
    _conn: Connection

    async def still_come(self) -> None:
        """Asks the connection for a sign of life; raises DatabaseUnavailable. A silent one may be lost unnoticed."""
        with outages_named():
            await trio_asyncio.aio_as_trio(self._conn.execute)("select 1")


async def _try_lock(conn: Connection, patience_s: float) -> bool:
    """A killed daemon's session lingers for a moment: it is given `patience_s`."""
    for _ in range(max(1, int(patience_s / LOCK_RETRY_S))):
        if await conn.fetchval("select pg_try_advisory_lock($1, $2)", *DAEMON_LOCK):
            return True
        await asyncio.sleep(LOCK_RETRY_S)
    return False


@contextlib.asynccontextmanager
async def open_database(
    url: str, *, connections_max: int, connect_timeout_s: float, statement_timeout_s: float
) -> AsyncIterator[Database]:
    """A Database at `url`, reached once already. Needs trio_asyncio.open_loop() around it, outside every nursery."""

    async def connect() -> "asyncpg.Pool[asyncpg.Record]":
        pool = await asyncpg.create_pool(
            url,
            min_size=0,  # else asyncpg logs a traceback of its own each time that it cannot keep one
            max_size=connections_max,
            timeout=connect_timeout_s,
            command_timeout=statement_timeout_s,
            server_settings={"application_name": "tracepool", "timezone": "UTC"},
        )
        try:
            await pool.release(await pool.acquire(timeout=connect_timeout_s))
        except BaseException:
            pool.terminate()
            raise
        return pool

    with outages_named():
        try:
            pool = await trio_asyncio.aio_as_trio(connect)()
        except (ValueError, asyncpg.ClientConfigurationError) as e:
            raise DatabaseSetupFailed(f"database.url cannot be used: {e}") from None
    try:
        yield Database(pool, url, connect_timeout_s)
    finally:
        pool.terminate()


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
