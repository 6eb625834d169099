"""`tracepool psql` and `tracepool database-url`: the database for operators and other tools."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import Parameter

from daemon.cli.output import say, warn
from daemon.cli.session import ConfigFile, database_at, settings_of, use_database
from daemon.database import embedded
from daemon.database.binaries import psql_path
from daemon.database.libpq import NOT_INHERITED, environment_of
from daemon.database.postgres import Database
from daemon.errors import TracepoolError
from daemon.settings.connection_string import parameters_of, url_of


def psql(
    *arguments: Annotated[
        str, Parameter(name="ARGS", allow_leading_hyphen=True, help="Arguments for psql, passed on unchanged.")
    ],
    config: ConfigFile = None,
) -> int:
    """Open psql on the database, or run psql with the arguments that you give.

    All arguments are passed to psql unchanged, except a --config FILE that comes
    first. An embedded server that does not run is started, and stopped when psql
    ends. psql is the embedded server's own; with database.url, the one on PATH.

    Exit status: psql's own (0 done, 1 error of psql, 2 lost connection, 3 error in
    a script). psql's help: tracepool psql -?

        tracepool psql
        tracepool psql -c 'select status, count(*) from ip_rotation_pool group by 1'
        tracepool psql -At -c 'select offer_name from offers' | sort
    """
    settings = settings_of(config)
    program = psql_path(embedded=settings.database.url is None)
    with database_at(settings) as url:

        async def connect_only(_: Database) -> None:
            """`use_database` has created the tables."""

        try:
            use_database(url, settings, connect_only)
        except TracepoolError as e:  # not fatal: the operator may open psql in order to repair this
            warn(f"tracepool: {e}")
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        return _run(program, arguments, {**inherited, **environment_of(parameters_of(url))})


def database_url(*, config: ConfigFile = None) -> None:
    """Print the URL of the database, for libpq and other clients.

    The URL contains the password. The embedded server runs only while the daemon
    or a command uses it; for a quick look use tracepool psql.

        pg_dump "$(tracepool database-url)" > tracepool.sql
    """
    settings = settings_of(config)
    with database_at(settings) as url:
        say(url_of(parameters_of(url)) if settings.database.url is not None else url)
    if settings.database.url is None and embedded.running_url(settings.state_dir) is None:
        warn(
            "tracepool: the embedded server is stopped: it runs only while `tracepool serve` or another command uses it"
        )


def _run(program: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> int:
    """The exit status of psql. Signals to this process are passed on, except Ctrl-C, which the terminal sends to both.

    Ctrl-C has a handler instead of SIG_IGN, because a child inherits SIG_IGN.
    """
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: FrameType | None) -> None:
        if child is not None and number in (signal.SIGTERM, signal.SIGHUP):
            child.send_signal(number)

    handled = signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP
    before = {number: signal.signal(number, pass_on) for number in handled}
    try:
        child = subprocess.Popen([program, *arguments], env=environment)  # noqa: S603 - psql, with its user's arguments
        status = child.wait()
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
    return status if status >= 0 else 128 - status
