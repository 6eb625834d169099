"""A PostgreSQL connection string, read as libpq reads it. Pure.

Both forms of the manual's section 34.1.1 "Connection Strings": a URL, and `key=value` pairs. Differences from libpq:

- An unescaped `/`, `?` or `#` in a login is refused: for other programs these characters begin the path, the query and
  the fragment. As in libpq, so is an unescaped `@`, and a `%` without two hexadecimal digits behind it.
- A parameter that this program cannot honour is refused by name. Parameters of other clients that need nothing here
  (IGNORED) are accepted.

An error never contains a value, and no name that may be a part of an unescaped password.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

SCHEMES = ("postgresql://", "postgres://")
EXAMPLE = "postgresql://user:password@host:5432/tracepool"
ENCODE = (
    "has a character that must be percent-encoded, probably in the password: write %2F for /, %3F for ?, %23 for #, "
    "%40 for @ and %25 for %"
)
PORT_MAX = 65_535
HOST_NAME_CHARACTERS = re.compile(r"[^\x00-\x20,@?#]+")
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z_]{2,40}")
NUMBER = re.compile(r"[+-]?[0-9]{1,9}")

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
SESSION_ATTRIBUTES = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")

TEXTS = frozenset({
    "host", "port", "user", "password", "passfile", "dbname", "sslrootcert", "sslcert", "sslkey", "sslpassword",
    "sslcrl", "application_name", "fallback_application_name", "options", "krbsrvname", "gsslib",
})  # fmt: skip
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
NUMBERS = frozenset({
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
})  # fmt: skip
WORDS: Mapping[str, tuple[str, ...]] = {
    "sslmode": SSL_MODES,
    "target_session_attrs": SESSION_ATTRIBUTES,
    "load_balance_hosts": ("disable", "random"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
}
# What this program does anyway: the values that ask for nothing more, and why another value is refused.
FIXED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "channel_binding": (("prefer", "disable"), "channel binding is not supported; sslmode=verify-full with sslrootcert "
                        "also excludes a man in the middle"),
    "gssencmode": (("prefer", "disable"), "encryption by GSSAPI is not supported; use sslmode"),
    "client_encoding": (("utf8", "utf-8", "unicode", "auto"), "the encoding is always UTF8"),
    "sslcompression": (("0",), "compression of TLS is not supported"),
    "sslsni": (("1",), "the host's name is always sent"),
    "sslcertmode": (("allow",), "sslcert and sslkey decide"),
    "gssdelegation": (("0",), "credentials are not delegated"),
    "replication": (("false", "off", "no", "0"), "a replication connection executes no SQL"),
    "min_protocol_version": (("3.0",), "the protocol is always 3.0"),
    "max_protocol_version": (("3.0", "latest"), "the protocol is always 3.0"),
}  # fmt: skip
REFUSED: Mapping[str, str] = {
    "service": "write the service's parameters into database.url",
    "servicefile": "write the service's parameters into database.url",
    "require_auth": "set the method in pg_hba.conf of the server",
    "requirepeer": "let the directory of the socket belong to the server's account",
    "sslcrldir": "use sslcrl with one file",
    "sslkeylogfile": "TLS keys are not logged",
    "scram_client_key": "use password",
    "scram_server_key": "use password",
    "schema": "set database.schema in the settings",
    "search_path": "set database.schema in the settings",
    "currentSchema": "set database.schema in the settings",
}
IGNORED = frozenset({
    "pgbouncer", "connection_limit", "pool_timeout", "statement_cache_size", "prepareThreshold", "uselibpqcompat",
    "supa", "workaround",
})  # fmt: skip
"""Settings of other clients (Prisma, JDBC, node-postgres) and marks of hosting services."""


def parameters_of(text: str) -> dict[str, str]:
    """The parameters by libpq's names, without the ignored ones. Raises ValueError with a text that has no secret."""
    text = text.strip()
    if any(character < " " for character in text):
        raise ValueError("must be one line without control characters")
    scheme = next((scheme for scheme in SCHEMES if text.startswith(scheme)), None)
    if scheme is not None:
        given = _of_url(text.removeprefix(scheme))
    elif re.match(r"[a-z_]+\s*=", text):
        given = _checked(dict(_pairs(text)))
    else:
        raise ValueError(f"must be a PostgreSQL URL such as {EXAMPLE}, or host=… dbname=… user=…")
    hosts_of(given)
    return given


def hosts_of(parameters: Mapping[str, str]) -> list[tuple[str | None, int | None]]:
    """Host and port of each server in the order to try them. None: the default, see libpq. Raises ValueError."""
    hosts: list[str | None] = [host or None for host in parameters.get("host", "").split(",")]
    ports = [_port(port) for port in parameters.get("port", "").split(",")]
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise ValueError(f"has {len(ports)} ports for {len(hosts)} hosts: give one port, or one for each host")
    return list(zip(hosts, ports, strict=True))


def is_socket(host: str | None) -> bool:
    return host is not None and host.startswith("/")


def url_of(parameters: Mapping[str, str]) -> str:
    """A URL with the same meaning that libpq accepts, percent-encoded."""
    rest = dict(parameters)
    user, password, database = (quote(rest.pop(name, ""), safe="") for name in ("user", "password", "dbname"))
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    hosts = hosts_of(parameters)
    authority = ""
    if not any(host is None or host.startswith("/") for host, _ in hosts):
        rest.pop("host")
        rest.pop("port", None)
        authority = ",".join(_host_and_port(host or "", port) for host, port in hosts)
    query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in rest.items())
    return f"postgresql://{login}{authority}/{database}{'?' if query else ''}{query}"


def _host_and_port(host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else quote(host, safe="")
    return shown if port is None else f"{shown}:{port}"


def _of_url(rest: str) -> dict[str, str]:
    """The parameters of a URL without its scheme; as conninfo_uri_parse_options of libpq, apart from the login."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    after = rest[len(authority) :]
    if "@" in after.partition("/")[0]:
        raise ValueError(ENCODE)
    try:
        login, _, hosts = authority.rpartition("@")
        if "@" in login:
            raise ValueError(ENCODE)
        user, _, password = login.partition(":")
        path, _, query = after.partition("?")
        if "@" in path:
            raise ValueError(ENCODE)
        netlocs = [_netloc(netloc) for netloc in hosts.split(",")]
        ports = [port for _, port in netlocs]
        given = {
            "user": _decoded(user),
            "password": _decoded(password),
            "host": ",".join(host for host, _ in netlocs),
            "port": ",".join(ports) if any(ports) else "",
            "dbname": _decoded(path.removeprefix("/")),
        }
        named = _named(query) if query else {}
        return {name: value for name, value in {**given, **_checked(named)}.items() if value}
    except ValueError:
        if "@" in after:  # the text around may be a part of the password
            raise ValueError(ENCODE) from None
        raise


def _netloc(netloc: str) -> tuple[str, str]:
    """Host and port of `[::1]:5432`, `db.example:5432`, `db.example` or `%2Frun%2Fpostgresql`."""
    if netloc.startswith("["):
        host, closed, after = netloc[1:].partition("]")
        if not closed or not host or (after and not after.startswith(":")):
            raise ValueError("has an IPv6 address without its brackets: write [2001:db8::1]:5432")
        port = after[1:]
    else:
        host, _, port = netloc.partition(":")
        if ":" in port:
            raise ValueError(
                "has two colons in a host: an IPv6 address needs brackets, a password needs an @ behind it"
            )
    host = _decoded(host)
    if host and not HOST_NAME_CHARACTERS.fullmatch(host):
        raise ValueError("has a host with characters that no host name has")
    port = _decoded(port)
    _port(port)
    return host, port


def _port(text: str) -> int | None:
    if not text.strip():
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text.strip()) or not 1 <= int(text) <= PORT_MAX:
        raise ValueError(
            "has a port that is not a number from 1 to 65535. In a URL the login ends with @; a / ? or # in a "
            "password must be percent-encoded"
        )
    return int(text)


def _named(query: str) -> dict[str, str]:
    """The parameters of a URL's query. As in libpq, `+` is not a space."""
    named: dict[str, str] = {}
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError("has a parameter without a value: write name=value, and %26 for an & in a value")
        named[_decoded(name)] = _decoded(value)
    if named.get("ssl") == "true":  # as JDBC writes it; libpq does the same
        named = {"sslmode": "require"} | {name: value for name, value in named.items() if name != "ssl"}
    return named


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """The pairs of `key = value key='a value'`; a backslash escapes the next character. As conninfo_parse of libpq."""
    rest = text
    while rest := rest.strip():
        found = re.match(r"([^\s=]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|(?=\s|$))", rest)
        if found is None:
            raise ValueError("must be pairs such as host=db.example dbname=tracepool; quote a value with spaces: 'a b'")
        name, value = found.groups()
        if value.startswith("'"):
            value = value[1:-1]
        yield name, re.sub(r"\\(.)", r"\1", value)
        rest = rest[found.end() :]
        if rest and not rest[0].isspace():
            raise ValueError("must have a space between two pairs; escape a ' in a value as \\'")


def _decoded(text: str) -> str:
    """Percent-decoded."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(ENCODE)
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has percent-encoded bytes that are not UTF-8") from None
    if "\0" in decoded:
        raise ValueError("has %00, which PostgreSQL does not allow")
    return decoded


def _checked(named: Mapping[str, str]) -> dict[str, str]:
    """The parameters under libpq's names. Raises ValueError with the name of the first that cannot be honoured."""
    kept: dict[str, str] = {}
    secret_before = False
    for name, value in named.items():
        if name in IGNORED:
            continue
        _check(name, value, nameable=not secret_before)
        secret_before |= name in ("password", "sslpassword")
        if name == "hostaddr":
            name = "host"
        kept["dbname" if name == "database" else name] = value
    _check_together(kept, named)
    return {name: value for name, value in kept.items() if name not in FIXED}


def _check(name: str, value: str, *, nameable: bool) -> None:
    if name in TEXTS or name in ("database", "hostaddr"):
        return
    if name in NUMBERS:
        if value and not NUMBER.fullmatch(value.strip()):
            raise ValueError(f"{name} must be a number")
    elif name in WORDS:
        if value not in WORDS[name]:
            raise ValueError(f"{name} must be one of {', '.join(WORDS[name])}")
    elif name in FIXED:
        allowed, why = FIXED[name]
        if value.lower() not in allowed:
            raise ValueError(f"{name} must be {' or '.join(allowed[:2])}, or left out: {why}")
    elif name in REFUSED:
        raise ValueError(f"{name} is not supported here: {REFUSED[name]}")
    elif name == "ssl":
        raise ValueError(f"ssl is not a parameter of PostgreSQL: use sslmode, one of {', '.join(SSL_MODES)}")
    else:
        shown = f"the parameter {name}" if nameable and IDENTIFIER.fullmatch(name) else "a parameter"
        raise ValueError(
            f"has {shown}, which PostgreSQL does not know. A setting of the session is written as "
            "options=-c%20name=value; an & in a password as %26"
        )


def _check_together(kept: Mapping[str, str], named: Mapping[str, str]) -> None:
    mode = kept.get("sslmode", "prefer")
    if kept.get("sslrootcert") == "system" and kept.get("sslmode", "verify-full") != "verify-full":
        raise ValueError("sslrootcert=system needs sslmode=verify-full")
    if kept.get("sslnegotiation") == "direct" and SSL_MODES.index(mode) < SSL_MODES.index("require"):
        raise ValueError("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full")
    if named.get("host") and named.get("hostaddr"):
        raise ValueError("hostaddr cannot be combined with host: give host alone")
