"""The parameters of a connection string as libpq's environment variables. Pure.

A process list shows the command line of a client, but not its environment: so no password is shown.
"""

from collections.abc import Mapping

# Parameters that have an environment variable: PostgreSQL's manual, 34.15 "Environment Variables".
VARIABLES = {name: f"PG{name.upper()}" for name in (
    "host", "port", "user", "password", "passfile", "options", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl",
    "sslnegotiation", "krbsrvname", "gsslib", "connect_timeout",
)} | {
    "dbname": "PGDATABASE",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "application_name": "PGAPPNAME",
}  # fmt: skip
NOT_INHERITED = ("PGSERVICE", "PGHOSTADDR", "PGCHANNELBINDING", "PGCLIENTENCODING", *VARIABLES.values())
"""Variables of the operator's shell that would override the connection string."""


def environment_of(parameters: Mapping[str, str], search_path: str | None = None) -> dict[str, str]:
    """The variables. `search_path`: for the session, in place of the role's."""
    given = dict(parameters)
    if search_path is not None:
        escaped = search_path.replace("\\", "\\\\").replace(" ", "\\ ")
        given["options"] = f"{given.get('options', '')} -c search_path={escaped}".lstrip()
    if "fallback_application_name" in given:
        given.setdefault("application_name", given["fallback_application_name"])
    return {VARIABLES[name]: value for name, value in given.items() if name in VARIABLES and value}
