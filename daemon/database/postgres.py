"""PostgreSQL for a Trio program: the only module that uses asyncpg's connections and trio-asyncio.

A unit of work is one asyncio-flavoured function `async def unit(conn, *args)`. `Database.work` runs it on a pooled
connection inside one transaction, wrapped once, so that a cancel neither leaks a connection nor leaves a transaction
open. failures.py turns asyncpg's errors into tracepool's; exceptions in the asyncio loop are logged (`database_loop`).

Every statement has a time limit, and every wait for a lock has a shorter one. The server enforces both in each
transaction. The client's own limit is a little longer, for a server that does not answer. After that limit, and after a
cancel, the client asks the server to cancel the statement, and closes the session once that is done, at most CLOSE_S
later. Otherwise each attempt would leave a session that waits for the lock.

Poolers such as PgBouncer give each transaction another session. So no statement is prepared under a name, and only
LISTEN depends on session state; behind a pooler, readers poll (`Announcements.pooled`).
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, TypeVarTuple

import asyncpg
import structlog
import trio
import trio_asyncio

from daemon.database.failures import ENDED_STATEMENTS, OUTAGES, translated_errors
from daemon.database.login_faults import login_fault
from daemon.database.queries import QUERIES
from daemon.database.servers import servers_of
from daemon.database.sessions import CLOSE_S, Limits, closed, in_transaction
from daemon.database.sessions import Connection as Connection
from daemon.errors import BadSettings
from daemon.settings import model

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LISTEN_S = 5.0
CLIENT_MARGIN_S = 5.0  # beyond the server's limit
NOTIFICATIONS_MAX = 1_000
# Named statements would fail behind a pooler, and after an ALTER TABLE.
CONNECT: dict[str, Any] = {"statement_cache_size": 0}
STATEMENT_MODE = "statement pooling mode"  # in PgBouncer's error when a transaction begins

log = structlog.get_logger("daemon.database")


@contextlib.asynccontextmanager
async def database_loop() -> AsyncIterator[None]:
    """The asyncio loop that a Database needs, outside every nursery.

    asyncpg abandons futures if a connection breaks while it is made. trio-asyncio would raise their exceptions here;
    they are logged instead, and a caller gets only the error of its own call.
    """

    def contain(loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        write = log.warning if isinstance(error, (asyncio.CancelledError, *OUTAGES)) else log.error
        write("loop_exception", message=context.get("message"), why=repr(error), exc_info=error)

    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(contain)
        yield


class Database:
    """A pool of connections, made by `open_database`."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        connect: Callable[..., Awaitable[Connection]],
        connect_timeout_s: float,
        limits: Limits,
    ) -> None:
        """`connect(statement_timeout_s=…)`: a connection outside of the pool; the limit is the client's."""
        self._pool = pool
        self._connect = connect
        self._connect_timeout_s = connect_timeout_s
        self._limits = limits

    @property
    def schema(self) -> str:
        return self._limits.schema

    async def work(self, unit: Callable[[Connection, *Ts], Awaitable[T]], *args: *Ts, own: bool = False) -> T:
        """Runs `unit` in one transaction. `own`: the triggers do not announce the unit's changes.

        Raises DatabaseUnavailable and the unit's exceptions, after a rollback.
        """
        return await _on_asyncio(self._work, unit, args, own)

    async def _work(self, unit: Callable[..., Awaitable[T]], args: tuple[Any, ...], own: bool) -> T:
        conn = await self._pool.acquire(timeout=self._connect_timeout_s)
        try:
            return await in_transaction(conn, self._limits, self._connect, unit, args, own=own)
        except ENDED_STATEMENTS:
            raise
        except OUTAGES:
            await self._pool.expire_connections()  # the others may be lost too
            raise
        finally:
            await self._release(conn)

    async def unlimited(self, unit: Callable[[Connection, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """As `work`, on a connection of its own and without a limit for statements: for migrations."""
        return await _on_asyncio(self._unlimited, unit, args)

    async def _unlimited(self, unit: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
        conn, limits = await self._connect(statement_timeout_s=None), replace(self._limits, statement_timeout_s=None)
        try:
            return await in_transaction(conn, limits, self._connect, unit, args, own=False)
        finally:
            await closed(conn)

    async def _release(self, conn: Connection) -> None:
        """After a cancel, asyncpg would finish the release in the background; its error would end the loop.

        The session is not closed here: it may be another unit's before the close begins.
        """
        releasing = asyncio.ensure_future(self._pool.release(conn, timeout=CLOSE_S))
        try:
            await asyncio.shield(releasing)
        except asyncio.CancelledError:
            with contextlib.suppress(*OUTAGES):
                await releasing
            raise

    async def fetch(self, query: str, *args: Any) -> list[dict[str, Any]]:
        """The rows of a named query of the .sql files."""
        return await self.work(_fetch, query, *args)

    @contextlib.asynccontextmanager
    async def listen(self, *channels: str) -> AsyncIterator["Announcements"]:
        """Listens on a new connection. The memory channel ends if that is lost, or if NOTIFICATIONS_MAX wait in it.

        Any role may announce anything: a payload is a hint.
        """
        send, receive = trio.open_memory_channel[tuple[str, str]](NOTIFICATIONS_MAX)

        def receive_one(_: Connection, __: int, channel: str, payload: object) -> None:
            try:
                send.send_nowait((channel, str(payload)))
            except trio.WouldBlock:
                send.close()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the reader has left or is about to start over

        conn, pooled = await _on_asyncio(self._listen, channels, receive_one, send.close)
        try:
            async with receive:
                yield Announcements(receive, pooled, OwnConnection(conn, self._limits, self._connect))
        finally:
            await _closed_at_last(conn)

    async def _listen(
        self, channels: tuple[str, ...], receive_one: Any, lost: Callable[[], None]
    ) -> tuple[Connection, bool]:
        conn = await self._connect(statement_timeout_s=LISTEN_S)
        try:
            conn.add_termination_listener(lambda _: lost())
            pooled = await is_pooled(conn)
            for channel in channels:
                await conn.add_listener(channel, receive_one)
        except BaseException:
            await closed(conn)
            raise
        return conn, pooled

    @contextlib.asynccontextmanager
    async def own_connection(self, statement_timeout_s: float | None) -> AsyncIterator["OwnConnection"]:
        """A connection outside of the pool, so that its statements wait for no others. Raises DatabaseUnavailable.

        `statement_timeout_s`: None for no limit.
        """
        client_s = None if statement_timeout_s is None else statement_timeout_s + CLIENT_MARGIN_S
        conn = await _on_asyncio(functools.partial(self._connect, statement_timeout_s=client_s))
        try:
            yield OwnConnection(conn, Limits(statement_timeout_s, self.schema), self._connect)
        finally:
            await _closed_at_last(conn)


async def _on_asyncio(work: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Call an asyncio-flavoured function from Trio, and translate its errors."""
    with translated_errors():
        return await trio_asyncio.aio_as_trio(work)(*args)  # type: ignore[no-any-return]


async def is_pooled(conn: Connection) -> bool:
    """A unit of work: whether a pooler such as PgBouncer is between this process and PostgreSQL."""
    return bool(await conn.fetchval("select pg_backend_pid()") != conn.get_server_pid())


async def _fetch(conn: Connection, query: str, *args: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in await conn.fetch(QUERIES[query], *args)]


async def _closed_at_last(conn: Connection) -> None:
    """As _closed, from Trio."""
    with trio.CancelScope(shield=True):
        await _on_asyncio(closed, conn)


@dataclass(frozen=True, slots=True)
class OwnConnection:
    _conn: Connection
    _limits: Limits
    _connect: Callable[..., Awaitable[Connection]]

    async def execute(self, statement: str) -> None:
        await _on_asyncio(self._conn.execute, statement)

    async def begin(self) -> None:
        await self.execute(self._limits.begin)

    async def fetch(self, query: str, *args: Any) -> list[dict[str, Any]]:
        """As Database.fetch; outside of a transaction, the statement is one."""
        return await _on_asyncio(self._fetch, query, args)

    async def _fetch(self, query: str, args: tuple[Any, ...]) -> list[dict[str, Any]]:
        if self._conn.is_in_transaction():
            return await _fetch(self._conn, query, *args)
        return await in_transaction(self._conn, self._limits, self._connect, _fetch, (query, *args), own=False)


@dataclass(frozen=True, slots=True)
class Announcements:
    """(channel, payload) pairs in `received`. `pooled`: behind a pooler there may be none, so the reader must poll.

    An idle connection does not report that it is lost: only a statement on `connection` does.
    """

    received: "trio.MemoryReceiveChannel[tuple[str, str]]"
    pooled: bool
    connection: OwnConnection


async def in_chunks(conn: Connection, query: str, *args: Any, rows: int) -> AsyncIterator[list[Any]]:
    """Inside a unit of work: the query's rows, `rows` at a time, through a cursor (no named statement)."""
    await conn.execute(f"declare chunks no scroll cursor for {query}", *args)
    while chunk := await conn.fetch(f"fetch forward {rows} from chunks"):
        yield chunk
    await conn.execute("close chunks")


@contextlib.asynccontextmanager
async def open_database(
    url: str, given: model.Database, *, connections_max: int | None = None
) -> AsyncIterator[Database]:
    """A Database at `url`, after one successful connection. Needs database_loop() around it.

    `connections_max`: in place of the setting.

    Raises DatabaseUnavailable, BadSettings for a `url` that cannot be used and for a pooler that gives each statement
    another session, and DatabaseUnfit if the login is refused.
    """
    servers = servers_of(url, given.connect_timeout_s)

    async def connect() -> "asyncpg.Pool[asyncpg.Record]":
        pool: asyncpg.Pool[asyncpg.Record] = await asyncpg.create_pool(
            connect=servers.connect,
            min_size=0,  # else asyncpg logs a traceback each time that it cannot keep one
            max_size=connections_max or given.connections_max,
            command_timeout=given.statement_timeout_s + CLIENT_MARGIN_S,
            reset=_no_reset,
            **CONNECT,
        )
        try:
            async with pool.acquire(timeout=servers.connect_s_max) as conn:
                await conn.execute("begin")
                await conn.execute("commit")
        except BaseException as e:
            pool.terminate()
            if isinstance(e, asyncpg.PostgresConnectionError) and STATEMENT_MODE in str(e):
                raise BadSettings(f"database.url: {e}: let the pooler's pool_mode be transaction or session") from None
            if fault := login_fault(e, servers.role, servers.database):
                raise fault from None
            raise
        return pool

    with translated_errors():
        try:
            pool = await trio_asyncio.aio_as_trio(connect)()
        except OSError:  # ssl.SSLCertVerificationError is a ValueError too
            raise
        except (ValueError, asyncpg.ClientConfigurationError) as e:
            raise BadSettings(f"database.url cannot be used: {e}") from None

    async def connect_beside(statement_timeout_s: float | None) -> Connection:
        return await servers.connect(command_timeout=statement_timeout_s, **CONNECT)

    try:
        limits = Limits(given.statement_timeout_s, given.schema)
        yield Database(pool, connect_beside, servers.connect_s_max, limits)
    finally:
        pool.terminate()


async def _no_reset(conn: Connection) -> None:
    """Units of work leave no session state to reset."""
