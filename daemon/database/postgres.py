"""PostgreSQL for a Trio program: the only module that knows asyncpg and trio-asyncio.

A unit of work is one asyncio-flavoured function `async def unit(conn, *args)`; `Database.work` runs it on a pooled
connection inside one transaction and is wrapped once, so that a cancel anywhere neither leaks a connection nor leaves a
transaction open. Every statement has a time limit.

Errors: a failed connection becomes DatabaseUnavailable; a statement that the server refuses becomes StatementRefused;
a value that the server refuses (REFUSALS) stays asyncpg's exception, since the caller knows whose value it is. Nothing
else leaves this module: what asyncpg leaves behind in the asyncio loop is logged and contained (`database_loop`).

Poolers such as PgBouncer give each transaction another session. So no statement is prepared under a name, and nothing
but LISTEN depends on session state; where a pooler is met, readers poll (`Announcements.pooled`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

import asyncpg
import structlog
import trio
import trio_asyncio

from daemon.database.failures import OUTAGES, outages_named
from daemon.database.queries import QUERIES
from daemon.errors import BadSettings, DatabaseSetupFailed

Connection = Any  # asyncpg.Connection, or the pool's stand-in for it: the two share no public type
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RELEASE_TIMEOUT_S = 5.0
NOTIFICATIONS_MAX = 1_000
# Without named statements, no pooler mixes them up, and no ALTER TABLE makes a cached plan invalid.
CONNECT: dict[str, Any] = {
    "statement_cache_size": 0,
    "server_settings": {"application_name": "tracepool", "timezone": "UTC"},
}
STATEMENT_MODE = "statement pooling mode"  # as PgBouncer says when a transaction begins

log = structlog.get_logger("daemon.database")


@contextlib.asynccontextmanager
async def database_loop() -> AsyncIterator[None]:
    """The asyncio loop that a Database needs, outside every nursery.

    asyncpg leaves futures behind when a connection breaks while it is made. trio-asyncio would raise their exceptions
    around everything inside; here they are logged, and the caller sees the failure of its own call alone.
    """

    def contain(loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        tell = log.warning if isinstance(error, (asyncio.CancelledError, *OUTAGES)) else log.error
        tell("loop_exception", message=context.get("message"), why=repr(error), exc_info=error)

    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(contain)
        yield


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
        except asyncio.CancelledError:
            _end(conn)
            raise
        except OUTAGES:
            _end(conn)
            await self._pool.expire_connections()  # the others may be as dead, and not know it
            raise
        except BaseException:
            with contextlib.suppress(*OUTAGES):  # the first error is the one to tell
                await conn.execute("rollback")
            raise
        finally:
            await self._release(conn)

    async def _release(self, conn: Connection) -> None:
        """Asyncpg ends a release behind a cancel's back: what went wrong there would be nobody's, and end the loop."""
        releasing = asyncio.ensure_future(self._pool.release(conn, timeout=RELEASE_TIMEOUT_S))
        try:
            await asyncio.shield(releasing)
        except asyncio.CancelledError:
            _end(conn)
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

        Any role may announce anything: a payload is a hint. Where more than NOTIFICATIONS_MAX wait, the channel ends
        too: the reader starts over with everything.
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
            conn, pooled = await trio_asyncio.aio_as_trio(self._listen)(channels, heard, send.close)
        try:
            async with receive:
                yield Announcements(receive, pooled, conn)
        finally:
            conn.terminate()

    async def _listen(self, channels: tuple[str, ...], heard: Any, lost: Callable[[], None]) -> tuple[Connection, bool]:
        conn = await self._connect(RELEASE_TIMEOUT_S)
        try:
            conn.add_termination_listener(lambda _: lost())
            pooled = await conn.fetchval("select pg_backend_pid()") != conn.get_server_pid()
            for channel in channels:
                await conn.add_listener(channel, heard)
        except BaseException:
            conn.terminate()
            raise
        return conn, pooled

    async def _connect(self, statement_timeout_s: float) -> Connection:
        return await asyncpg.connect(
            self._url, timeout=self._connect_timeout_s, command_timeout=statement_timeout_s, **CONNECT
        )

    @contextlib.asynccontextmanager
    async def own_connection(self, statement_timeout_s: float) -> AsyncIterator["OwnConnection"]:
        """A connection beside the pool, whose statements never wait for another's. Raises DatabaseUnavailable."""
        with outages_named():
            conn = await trio_asyncio.aio_as_trio(self._connect)(statement_timeout_s)
        try:
            yield OwnConnection(conn)
        finally:
            conn.terminate()


def _end(conn: Connection) -> None:
    """At once: it may be frozen, and a rollback could wait for it for ever."""
    with contextlib.suppress(asyncpg.InterfaceError):  # it is lost, and the pool has noticed first
        conn.terminate()


@dataclass(frozen=True, slots=True)
class OwnConnection:
    _conn: Connection

    async def execute(self, statement: str) -> None:
        with outages_named():
            await trio_asyncio.aio_as_trio(self._conn.execute)(statement)

    async def fetch(self, query: str, *args: Any) -> list[dict[str, Any]]:
        """As Database.fetch; outside `begin` and `commit`, the statement is a transaction."""

        async def unit() -> list[dict[str, Any]]:
            return [dict(row) for row in await self._conn.fetch(QUERIES[query], *args)]

        with outages_named():
            return await trio_asyncio.aio_as_trio(unit)()  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Announcements:
    """What `Database.listen` gives: `received` announcements, and the connection they come by.

    `pooled`: a pooler stands between, so that announcements may never come: the reader has to poll.
    """

    received: "trio.MemoryReceiveChannel[tuple[str, str]]"
    pooled: bool
    _conn: Connection

    async def still_come(self) -> None:
        """Asks the connection for a sign of life; raises DatabaseUnavailable. A silent one may be lost unnoticed."""
        with outages_named():
            await trio_asyncio.aio_as_trio(self._conn.execute)("select 1")


async def in_chunks(conn: Connection, query: str, *args: Any, rows: int) -> AsyncIterator[list[Any]]:
    """Inside a unit of work: the query's rows, so many at a time, through a cursor that no statement's name needs."""
    await conn.execute(f"declare chunks no scroll cursor for {query}", *args)
    while chunk := await conn.fetch(f"fetch forward {rows} from chunks"):
        yield chunk
    await conn.execute("close chunks")


@contextlib.asynccontextmanager
async def open_database(
    url: str, *, connections_max: int, connect_timeout_s: float, statement_timeout_s: float
) -> AsyncIterator[Database]:
    """A Database at `url`, reached once already. Needs database_loop() around it.

    Raises DatabaseUnavailable, DatabaseSetupFailed for a URL that cannot be used, and BadSettings for a pooler that
    gives each statement another session.
    """

    async def connect() -> "asyncpg.Pool[asyncpg.Record]":
        pool: asyncpg.Pool[asyncpg.Record] = await asyncpg.create_pool(
            url,
            min_size=0,  # else asyncpg logs a traceback of its own each time that it cannot keep one
            max_size=connections_max,
            timeout=connect_timeout_s,
            command_timeout=statement_timeout_s,
            reset=_left_as_it_is,
            **CONNECT,
        )
        try:
            async with pool.acquire(timeout=connect_timeout_s) as conn:
                await conn.execute("begin")
                await conn.execute("commit")
        except BaseException as e:
            pool.terminate()
            if isinstance(e, asyncpg.PostgresConnectionError) and STATEMENT_MODE in str(e):
                raise BadSettings(f"database.url: {e}: let the pooler's pool_mode be transaction or session") from None
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


async def _left_as_it_is(conn: Connection) -> None:
    """Between two units of work there is no session state to undo."""
