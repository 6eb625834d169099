"""What the commands share: options, the settings, and the database for as long as a command needs it."""

import math
import os
import pwd
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from typing import Annotated, TypeVar, TypeVarTuple

import asyncpg
import trio
from cyclopts import Parameter

from daemon.cli.exit_codes import leaves
from daemon.cli.output import warn
from daemon.control.actions import Action, record_action, recorded
from daemon.database import embedded
from daemon.database.postgres import Connection, Database, database_loop, open_database
from daemon.database.upgrade import upgrade
from daemon.errors import DatabaseUnavailable, TheirFault
from daemon.settings.model import Settings
from daemon.settings.sources import hide_secrets, load

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CONNECTIONS_MAX = 2


def flag(description: str, name: str | None = None) -> Parameter:
    """An option without a value, and without a --no- form."""
    return Parameter(name=name, negative=(), show_default=False, help=description)


ConfigFile = Annotated[
    Path | None,
    Parameter(
        name="--config",
        metavar="FILE",
        help="Settings; else $TRACEPOOL_CONFIG, else /etc/tracepool/tracepool.toml if it exists.",
    ),
]
AsJSON = Annotated[bool, flag("JSON on standard output.", "--json")]
IpAddress = Annotated[str | None, Parameter(metavar="A", help="Only this ADDRESS or ADDRESS:PORT.")]
IpCountry = Annotated[str | None, Parameter(metavar="C", help="Only this country; gb is uk, usa is us.")]
IpProvider = Annotated[str | None, Parameter(metavar="P", help="Only this provider.")]


def settings_of(config: Path | None) -> Settings:
    """The settings as `serve` reads them. From now on all output masks their secrets. Raises BadSettings."""
    settings = load(config)
    hide_secrets(settings)
    return settings


@contextmanager
def database_at(settings: Settings, answer_s: float | None = None) -> Iterator[str]:
    """Yield the URL of the database. An embedded server that does not run is started, and stopped at the end.

    `answer_s`: how long to wait for an embedded server that runs and does not answer.
    """
    if settings.database.url is not None:
        yield settings.database.url.get_secret_value()
        return
    server = embedded.start(settings.state_dir, answer_s)
    try:
        yield server.url
    finally:
        server.stop()


def use_database(
    url: str, settings: Settings, use: Callable[[Database], Awaitable[T]], answer_s: float | None = None
) -> T:
    """Run `use` on Trio with a migrated database, and return its result. `answer_s`: bounds the time before `use`.

    Raises DatabaseUnavailable, DatabaseSetupFailed, or TheirFault with PostgreSQL's error if it refuses a statement.
    """

    async def main() -> T:
        opened = open_database(url, settings.database, connections_max=CONNECTIONS_MAX)
        async with database_loop(), trio.open_nursery() as nursery:
            await nursery.start(_end_at_ctrl_c)
            async with AsyncExitStack() as stack:
                try:
                    database = await _ready(stack, opened, answer_s)
                    result = await use(database)
                except asyncpg.PostgresError as e:
                    raise TheirFault(f"PostgreSQL refuses: {e}") from e
            nursery.cancel_scope.cancel()
        return result

    try:
        return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    except BaseExceptionGroup as e:
        causes = leaves(e)
        raise next((cause for cause in causes if isinstance(cause, KeyboardInterrupt)), causes[0]) from e


def or_ever(limit_s: float | None) -> float:
    """None: there is no limit."""
    return math.inf if limit_s is None else limit_s


async def _ready(
    stack: AsyncExitStack, opened: AbstractAsyncContextManager[Database], answer_s: float | None
) -> Database:
    with trio.move_on_after(or_ever(answer_s)):
        database = await stack.enter_async_context(opened)
        await upgrade(database, warn)
        return database
    raise DatabaseUnavailable(f"PostgreSQL did not answer within {answer_s:g} s", "check that PostgreSQL runs")


async def _end_at_ctrl_c(*, task_status: trio.TaskStatus[None]) -> None:
    """Raise KeyboardInterrupt here: raised by Python in a callback of asyncio it is swallowed, and the wait goes on."""
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            raise KeyboardInterrupt


def with_database(settings: Settings, use: Callable[[Database], Awaitable[T]], answer_s: float | None = None) -> T:
    """`answer_s`: how long to wait for a database that can be used."""
    with database_at(settings, answer_s) as url:
        return use_database(url, settings, use, answer_s)


def commander() -> str:
    """The user of this command, as the action log names them."""
    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container's user without an entry
            name = str(os.getuid())
    return f"cli:{name}"


def change(
    settings: Settings,
    describe: Callable[[T], Action | None],
    unit: Callable[[Connection, *Ts], Awaitable[T]],
    *args: *Ts,
) -> T:
    """As `work`; the transaction also writes `describe(result)` to the action log. None: nothing has changed."""
    return with_database(settings, lambda database: database.work(recorded, commander(), describe, unit, *args))


def note_action(settings: Settings, action: Action) -> None:
    """Write to the action log what the daemon, or this command without a transaction, has done already."""
    try:
        work(settings, record_action, commander(), action)
    except TheirFault as e:
        warn(f"tracepool: done, but not written to the action log: {e}")


def work(settings: Settings, unit: Callable[[Connection, *Ts], Awaitable[T]], *args: *Ts) -> T:
    """Run one unit of work, in one transaction."""
    return with_database(settings, lambda database: database.work(unit, *args))
