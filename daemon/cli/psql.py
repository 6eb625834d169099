"""`tracepool psql`: psql on tracepool's database, with the server kept up until it ends."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated
from urllib.parse import parse_qsl, unquote

from cyclopts import Parameter

from daemon.cli.options import ConfigFile
from daemon.cli.output import warn
from daemon.cli.session import database_at, settings_of, use_database
from daemon.database.binaries import psql_path
from daemon.database.postgres import Database
from daemon.errors import TracepoolError

# What of an address has an environment variable: PostgreSQL's manual, 32.15 "Environment Variables".
VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "database": "PGDATABASE",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "channel_binding": "PGCHANNELBINDING",
    "application_name": "PGAPPNAME",
    "client_encoding": "PGCLIENTENCODING",
}
# These would win over PGHOST, or lead elsewhere.
NOT_INHERITED = ("PGSERVICE", "PGHOSTADDR", *VARIABLES.values())


def psql(
    *arguments: Annotated[
        str, Parameter(name="ARGS", allow_leading_hyphen=True, help="For psql, all of them, as they are.")
    ],
    config: ConfigFile = None,
) -> int:
    """Open psql on the database, or run what you give it.

    All arguments go to psql as they are; only --config FILE, as the first, is
    tracepool's. An embedded server is started if it does not run, and kept until
    psql ends. It is the server's own psql, or for database.url the one on PATH.

    Exit status: psql's own (0 done, 1 its own fault, 2 lost connection, 3 error in
    a script). psql's help: tracepool psql -?

        tracepool psql
        tracepool psql -c 'select status, count(*) from ip_rotation_pool group by 1'
        tracepool psql -At -c 'select offer_name from offers' | sort
    """
    settings = settings_of(config)
    program = psql_path(embedded=settings.database.url is None)
    with database_at(settings) as url:

        async def look(_: Database) -> None:
            """The tables are there now."""

        try:
            use_database(url, settings, look)
        except TracepoolError as e:  # psql may be what mends it
            warn(f"tracepool: {e}")
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        return _run(program, arguments, {**inherited, **environment_of(url)})


def environment_of(url: str) -> dict[str, str]:
    """The libpq variables that say what the address says: a process list shows a command line, not its environment.

    Parameters without a variable become settings of the session (PGOPTIONS), as asyncpg takes them.
    """
    rest, _, query = url.partition("://")[2].partition("?")
    authority, _, database = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    given = {"user": unquote(user), "password": unquote(password), "dbname": unquote(database)}
    pairs = [_host_and_port(host) for host in hosts.split(",")] if hosts else []
    given["host"] = ",".join(host for host, _ in pairs)
    given["port"] = ",".join(port for _, port in pairs).strip(",")
    options = []
    for name, value in parse_qsl(query):
        if name in VARIABLES:
            given["dbname" if name == "database" else name] = value
        elif name == "options":
            options.append(value)
        else:
            options.append(f"-c {name}={value.replace(' ', chr(92) + ' ')}")
    environment = {VARIABLES[name]: value for name, value in given.items() if value}
    return {**environment, **({"PGOPTIONS": " ".join(options)} if options else {})}


def _host_and_port(text: str) -> tuple[str, str]:
    """`[::1]:5432`, `db.example:5432` or `db.example`."""
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, ""
    return unquote(host.removeprefix("[").removesuffix("]")), port


def _run(program: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> int:
    with _signals_for_child() as children:
        child = subprocess.Popen([program, *arguments], env=environment)  # noqa: S603 - psql, with what its user typed
        children.append(child)
        status = child.wait()
    return status if status >= 0 else 128 - status


@contextmanager
def _signals_for_child() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """The terminal sends Ctrl-C to the child as well, whose business it is; what is sent to us alone is passed on.

    Handlers, not SIG_IGN: a child would inherit that.
    """
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    handlers = {
        signal.SIGINT: lambda *_: None,
        signal.SIGQUIT: lambda *_: None,
        signal.SIGTERM: pass_on,
        signal.SIGHUP: pass_on,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
