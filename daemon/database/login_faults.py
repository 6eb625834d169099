"""Refused logins that waiting does not change, as a sentence with the SQL or the setting that does."""

import asyncpg

from daemon.database.servers import NO_TLS
from daemon.database.sql import identifier
from daemon.errors import DatabaseUnfit

# Errors of a parameter of the session, such as one in options.
OF_OPTIONS = (
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidParameterValueError,
    asyncpg.PostgresSyntaxError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.CantChangeRuntimeParamError,
)


def login_fault(error: BaseException, role: str, database: str) -> DatabaseUnfit | None:
    """The set-up fault for which PostgreSQL or its pooler refuses a session; None for an outage.

    `role` and `database`: as the connection string names them.
    """
    said, role, create = " ".join(str(error).split()), identifier(role), identifier(database)
    if isinstance(error, asyncpg.InvalidPasswordError):
        what, remedy = f"PostgreSQL refuses the password of the role {role}, or has no such role", (
            f"correct database.url, or as a superuser: alter role {role} login password '…'")  # fmt: skip
    elif isinstance(error, asyncpg.InvalidCatalogNameError) or "no such database" in said:
        what, remedy = f"PostgreSQL has no database {create}", (
            f"as a superuser: create database {create} owner {role} encoding 'UTF8' template template0;")  # fmt: skip
    elif isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        what, remedy = f"PostgreSQL refuses the login: {said}", _login_remedy(said, role)
    elif isinstance(error, asyncpg.InsufficientPrivilegeError) and "for database" in said:
        what, remedy = f"PostgreSQL refuses the session: {said}", f"grant connect on database {create} to {role};"
    elif "not currently accepting connections" in said:
        what, remedy = f"PostgreSQL lets nobody connect to the database {create}", (
            f"as a superuser: alter database {create} allow_connections true;")  # fmt: skip
    elif "unsupported startup parameter" in said:
        what = f"the pooler refuses the session: {said}"
        remedy = "remove options from database.url, or name the parameter in ignore_startup_parameters of pgbouncer.ini"
    elif isinstance(error, ConnectionError) and NO_TLS in said:
        what, remedy = "the server has no TLS", (
            "switch it on there (alter system set ssl = on;), or set sslmode=prefer in database.url")  # fmt: skip
    elif isinstance(error, OF_OPTIONS):
        what, remedy = f"PostgreSQL refuses the session: {said}", "correct options in database.url"
    else:
        return None
    return DatabaseUnfit(f"{what}: {remedy}")


def _login_remedy(said: str, role: str) -> str:
    if "does not exist" in said:
        return f"as a superuser: create role {role} login password '…';"
    if "not permitted to log in" in said:
        return f"as a superuser: alter role {role} login;"
    tls = ", or set sslmode=require in database.url" if "no encryption" in said else ""
    return f"add a line for this client to pg_hba.conf and run select pg_reload_conf();{tls}"
