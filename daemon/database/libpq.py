"""A PostgreSQL URL as libpq's environment variables. Pure.

A process list shows the command line of a client, but not its environment: so no password is shown.
"""

from urllib.parse import parse_qsl, unquote

# Parameters of a URL that have an environment variable: PostgreSQL's manual, 32.15 "Environment Variables".
VARIABLES = {name: f"PG{name.upper()}" for name in (
    "host", "port", "user", "password", "passfile", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl",
    "sslnegotiation", "krbsrvname", "gsslib", "connect_timeout",
)} | {
    "dbname": "PGDATABASE",
    "database": "PGDATABASE",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "channel_binding": "PGCHANNELBINDING",
    "application_name": "PGAPPNAME",
    "client_encoding": "PGCLIENTENCODING",
}  # fmt: skip
NOT_INHERITED = ("PGSERVICE", "PGHOSTADDR", *VARIABLES.values())
"""Variables of the operator's shell that would override the URL."""


def environment_of(url: str) -> dict[str, str]:
    """The variables for `url`. Parameters without a variable become session settings (PGOPTIONS), as in asyncpg."""
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
