"""The end of a session, how its transactions begin, and the sessions that block it. For postgres.py, on asyncio."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg

from daemon.database.failures import ENDED_STATEMENTS, OUTAGES, blocked
from daemon.database.queries import QUERIES
from daemon.database.sql import identifier, literal

Connection = Any  # asyncpg.Connection or the pool's proxy for it: they have no common public type

T = TypeVar("T")

CLOSE_S = 2.0
LOCK_TIMEOUT_S = 5.0  # at most half of the statement's limit
IDLE_TIMEOUT_S = 10.0  # of a transaction whose client says nothing: less than any quiet time of a node


async def closed(conn: Connection) -> None:
    """Ends the session. A statement that still runs is cancelled before; a frozen server has CLOSE_S for that."""
    try:
        closing = asyncio.ensure_future(conn.close(timeout=CLOSE_S))
    except asyncpg.InterfaceError:  # the pool was closed, and has ended the session
        return
    try:
        with contextlib.suppress(Exception):  # close() aborts the connection when it fails
            await asyncio.shield(closing)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await closing
        raise


async def rolled_back(conn: Connection) -> None:
    """Keeps the session for the next unit of work. An error closes the session, so that the first error is raised."""
    try:
        await conn.execute("rollback")
    except OUTAGES:
        await closed(conn)
    except asyncio.CancelledError:
        await closed(conn)
        raise


async def in_transaction(
    conn: Connection,
    limits: "Limits",
    connect: Callable[..., Awaitable[Connection]],
    unit: Callable[..., Awaitable[T]],
    args: tuple[Any, ...],
    *,
    own: bool,
) -> T:
    """The result of `unit(conn, *args)`. Ends the session after a cancel and an outage; rolls back after other errors.

    `connect`, `own`: see postgres.Database.
    """
    watch = BlockerWatch(connect, limits.lock_s / 2)
    try:
        await conn.execute(f"{limits.begin}; set local tracepool.writer = 'daemon'" if own else limits.begin)
        result = await unit(conn, *args)
        await conn.execute("commit")
        return result
    except asyncio.CancelledError:
        await closed(conn)
        raise
    except ENDED_STATEMENTS as e:
        await rolled_back(conn)
        if isinstance(e, asyncpg.LockNotAvailableError):
            raise blocked(e, watch.blockers) from e
        raise
    except OUTAGES:
        await closed(conn)
        raise
    except BaseException:
        await rolled_back(conn)
        raise
    finally:
        await watch.end()


class BlockerWatch:
    """If a unit of work takes longer than `after_s`, reads once which sessions block it: PostgreSQL knows only then."""

    def __init__(self, connect: Callable[..., Awaitable[Connection]], after_s: float) -> None:
        self.blockers: list[dict[str, Any]] = []
        self._connect = connect
        self._looking: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(after_s, self._begin)

    def _begin(self) -> None:
        self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        with contextlib.suppress(*OUTAGES, asyncpg.PostgresError):
            conn = await self._connect(statement_timeout_s=CLOSE_S)
            try:
                self.blockers = [dict(row) for row in await conn.fetch(QUERIES["blockers"])]
            finally:
                await closed(conn)

    async def end(self) -> None:
        self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the server enforces in a transaction, and the schema of the tables; None: none for statements."""

    statement_timeout_s: float | None
    schema: str

    @property
    def lock_s(self) -> float:
        return LOCK_TIMEOUT_S if self.statement_timeout_s is None else min(LOCK_TIMEOUT_S, self.statement_timeout_s / 2)

    @property
    def begin(self) -> str:
        """The statements that begin a transaction with these limits.

        The schemas of the role's own search_path follow, for functions that an operator's triggers call.
        """
        statement_ms = round((self.statement_timeout_s or 0) * 1000)
        path = f"concat_ws(', ', {literal(identifier(self.schema))}, nullif(current_setting('search_path'), ''))"
        others = ""
        if self.statement_timeout_s is None:  # PostgreSQL before 17 has no transaction_timeout
            others = "; select set_config(name, '0', true) from pg_settings where name = 'transaction_timeout'"
        else:  # a process that is stopped, or a host that is cut off, keeps no locks
            others = f"; set local idle_in_transaction_session_timeout = {IDLE_TIMEOUT_S * 1000:.0f}"
        return (
            f"begin; set local statement_timeout = {statement_ms}; set local lock_timeout = {self.lock_s * 1000:.0f}; "
            f"select set_config('search_path', {path}, true){others}"
        )
