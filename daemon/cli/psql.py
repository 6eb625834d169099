"""`tracepool psql`, `database-url` and `database-grants`: the database for operators and other tools."""

import os
import signal
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import Parameter

from daemon.cli.output import say, warn
from daemon.cli.session import ConfigFile, database_at, flag, settings_of, use_database, with_database
from daemon.database import embedded
from daemon.database.binaries import psql_path
from daemon.database.grants import grants
from daemon.database.libpq import NOT_INHERITED, environment_of
from daemon.database.postgres import Database
from daemon.database.schema import search_path_to
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

        async def path(database: Database) -> str | None:
            return await database.work(search_path_to, database.schema)

        search_path = None
        try:
            search_path = use_database(url, settings, path)  # which has created the tables
        except TracepoolError as e:  # not fatal: the operator may open psql in order to repair this
            warn(f"tracepool: {e}")
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        return _run(program, arguments, {**inherited, **environment_of(parameters_of(url), search_path)})


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


def database_grants(
    role: Annotated[str, Parameter(metavar="ROLE", help="A role of PostgreSQL that exists.")],
    *,
    read_only: Annotated[bool, flag("For a role that only reads, without the passwords of proxies.")] = False,
    config: ConfigFile = None,
) -> None:
    """Print the SQL that gives a role the rights to edit the tables, or to read them.

    Tables of later versions are included. Nothing is changed: run the SQL as the
    owner of the tables.

        tracepool database-grants anna | tracepool psql
        tracepool database-grants grafana --read-only
    """

    async def unit(database: Database) -> list[str]:
        return await database.work(partial(grants, read_only=read_only), database.schema, role)

    for statement in with_database(settings_of(config), unit):
        say(statement)


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
