"""Turns asyncpg's errors into tracepool's, with a sentence and a remedy for operators.

An outage (OUTAGES) becomes DatabaseUnavailable, or DatabaseBusy if only a statement was ended. A refused statement
becomes StatementRefused. Errors about values (REFUSALS) stay asyncpg's, since the caller knows where the values come
from.
"""

import contextlib
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from daemon.database.queries import QUERIES
from daemon.errors import DatabaseBusy, DatabaseMigrating, DatabaseUnavailable, StatementRefused

COMMENT = re.compile(r"--[^\n]*")
LITERAL = re.compile(r"'(?:[^']|'')*'?|\$(\w*)\$.*?(?:\$\1\$|$)", re.DOTALL)
STATEMENT_SHOWN_CHARACTERS = 60
BLOCKER_SHOWN_CHARACTERS = 120
# PostgreSQL ended the statement, and the session goes on.
ENDED_STATEMENTS = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # such as a deadlock
)
OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server's last message came between two statements
    asyncpg.InsufficientResourcesError,  # disk, memory or connections
    asyncpg.OperatorInterventionError,  # the server stops or starts, or ended the statement or session
    *ENDED_STATEMENTS,
    asyncpg.ReadOnlySQLTransactionError,  # a standby
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
)
REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
OF_TABLES = ("0A", "28", "3D", "3F", "42")
"""Classes of SQLSTATE that concern tables, columns, rights and functions, unless they come from a trigger."""
# By the beginning of the SQLSTATE.
REMEDIES = (
    ("42501", "grant the role of database.url the missing rights on tracepool's tables and sequences"),
    ("42", "restore the names and types of tracepool's tables, columns and functions as in its migrations"),
    ("3F", "create the schema again, or correct the role's search_path"),
    ("P0", "change or drop the trigger or function that raises this"),
)
OUTAGES_IN_WORDS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((TimeoutError,), "PostgreSQL did not answer in time",
     "check that PostgreSQL runs, and look for locks (pg_stat_activity)"),
    ((asyncpg.ReadOnlySQLTransactionError,), "PostgreSQL is read-only",
     "let database.url lead to the primary, or reset default_transaction_read_only"),
    ((asyncpg.TooManyConnectionsError,), "PostgreSQL takes no more connections",
     "raise max_connections or the role's limit, or lower database.connections_max or processes"),
    ((ssl.SSLCertVerificationError,), "the certificate of PostgreSQL is refused",
     "correct sslrootcert or sslmode in database.url, or the certificate"),
)  # fmt: skip
WITH_SECRETS = frozenset({"ip_rotation_pool"})
"""Tables with passwords: the detail of a violated constraint has the whole row, and is not repeated."""
REMEDY = "see PostgreSQL's log for the whole statement"

_NAMES = {statement: name for name, statement in QUERIES.items()}


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    try:
        yield
    except REFUSALS as e:
        if isinstance(e, asyncpg.IntegrityConstraintViolationError) and e.table_name in WITH_SECRETS:
            e.detail = None
        raise
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as e:
        raise DatabaseUnavailable(f"PostgreSQL refuses the login: {e}", "correct database.url, or the role") from e
    except asyncpg.InvalidCatalogNameError as e:
        raise DatabaseUnavailable(f"PostgreSQL: {e}", "create it (createdb) or correct database.url") from e
    except OUTAGES as e:
        raise _unavailable(e) from e
    except asyncpg.PostgresError as e:
        raise _refused(e) from e


@dataclass(frozen=True, slots=True)
class Refusal:
    """PostgreSQL's error about a row."""

    sqlstate: str
    why: str
    constraint: str = ""
    table: str = ""


def refusal_of(error: BaseException) -> Refusal | None:
    """PostgreSQL's error, if it may concern the values of a single row; None if it concerns a table or the server.

    `error`: one of REFUSALS, or a StatementRefused. Triggers and functions may raise anything about a row.
    """
    found = error.__cause__ if isinstance(error, StatementRefused) else error
    if not isinstance(found, asyncpg.PostgresError) or isinstance(found, OUTAGES):
        return None
    state, context = found.sqlstate or "", " ".join((found.context or "").split())
    of_row = isinstance(found, REFUSALS) or context or "row-level security" in str(found)
    if not of_row and state.startswith(OF_TABLES):
        return None
    message = str(found.args[0] if found.args else found)  # the details repeat the row
    why = f"{message} ({context})" if context else message
    return Refusal(state, why, found.constraint_name or "", found.table_name or "")


def _unavailable(error: BaseException) -> DatabaseUnavailable:
    of = _of(error)
    if isinstance(error, ENDED_STATEMENTS):
        return DatabaseBusy(f"PostgreSQL ended a statement{of}: {error}")
    for kinds, sentence, remedy in OUTAGES_IN_WORDS:
        if isinstance(error, kinds):
            return DatabaseUnavailable(f"{sentence}{of}: {error}" if str(error) else f"{sentence}{of}", remedy)
    return DatabaseUnavailable(f"PostgreSQL cannot be reached: {error or type(error).__name__}")


def blocked(error: asyncpg.LockNotAvailableError, blockers: Sequence[Mapping[str, Any]]) -> DatabaseUnavailable:
    """`blockers`: rows of the query `blockers`, read while the statement waited."""
    if not blockers:
        return DatabaseBusy(f"PostgreSQL ended a statement{_of(error)}: {error}")
    first = blockers[0]
    others = f", and {len(blockers) - 1} more" if len(blockers) > 1 else ""
    if first["pid"] == 0:
        held, remedy = "a prepared transaction", "see pg_prepared_xacts, then: rollback prepared"
    else:
        held = (
            f"process {first['pid']} (user {first['usename']}, application {first['application_name'] or 'unnamed'}, "
            f"{first['state']}) in a transaction since {first['since']}, whose last statement is: {_shown(first)}"
        )
        remedy = f"end that transaction, or: select pg_terminate_backend({first['pid']})"
    if getattr(error, "query", None) == QUERIES["lock_migrations"]:
        return DatabaseMigrating(f"another tracepool migrates this database: {held}")
    return DatabaseBusy(f"a lock of another session blocks a statement{_of(error)}: {held}{others}", remedy)


def _shown(blocker: Mapping[str, Any]) -> str:
    """The statement of another session on one line, without its literals, which may be secrets."""
    words = " ".join(LITERAL.sub("'…'", blocker["query"] or "unknown").split())
    return words if len(words) <= BLOCKER_SHOWN_CHARACTERS else f"{words[:BLOCKER_SHOWN_CHARACTERS]}…"


def _of(error: BaseException) -> str:
    name = _NAMES.get(getattr(error, "query", None) or "")
    return f" of {name}" if name else ""


def _refused(error: asyncpg.PostgresError) -> StatementRefused:
    query, state = getattr(error, "query", None), error.sqlstate or ""
    words = " ".join(COMMENT.sub("", str(query or "")).split())
    name = _NAMES.get(query or "", words[:STATEMENT_SHOWN_CHARACTERS] or "a statement")
    where = f" ({' '.join(error.context.split())})" if state.startswith("P0") and error.context else ""
    remedy = next((remedy for prefix, remedy in REMEDIES if state.startswith(prefix)), REMEDY)
    return StatementRefused(f"PostgreSQL refuses {name}: {error}{where}", remedy)
