"""Connects to the servers of a connection string, as libpq does: hosts in order, TLS, keepalives, timeouts.

asyncpg's own reading of a URL differs from libpq: it takes unknown parameters for settings of the session, has one
timeout for all hosts together, and does not know sslrootcert=system.
"""

import contextlib
import getpass
import os
import random
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg

from daemon.database.libpq import VARIABLES
from daemon.database.passfile import password_of
from daemon.errors import BadSettings
from daemon.settings.connection_string import FILES, SSL_MODES, hosts_of, is_socket, parameters_of

APPLICATION = "tracepool"
TIMEOUT_MAX_S = 60.0
HOME = Path("~/.postgresql")  # where libpq looks for root.crt, root.crl, postgresql.crt and postgresql.key
TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "ssl_min_protocol_version",
       "ssl_max_protocol_version", "sslnegotiation")  # fmt: skip
KEEPALIVES = {
    "keepalives_idle": socket.TCP_KEEPIDLE if hasattr(socket, "TCP_KEEPIDLE") else None,
    "keepalives_interval": socket.TCP_KEEPINTVL if hasattr(socket, "TCP_KEEPINTVL") else None,
    "keepalives_count": socket.TCP_KEEPCNT if hasattr(socket, "TCP_KEEPCNT") else None,
    "tcp_user_timeout": socket.TCP_USER_TIMEOUT if hasattr(socket, "TCP_USER_TIMEOUT") else None,
}
NO_TLS = "rejected SSL upgrade"  # in asyncpg's error
UNREACHABLE = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError,
               asyncpg.TargetServerAttributeNotMatched)  # fmt: skip
"""Errors after which libpq tries the next host; an error of the login is final."""


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of one connection string. `parameters` by libpq's names; `arguments` for asyncpg."""

    parameters: Mapping[str, str]
    hosts: tuple[tuple[str | None, int | None], ...]
    arguments: Mapping[str, Any]
    timeout_s: float

    @property
    def connect_s_max(self) -> float:
        """The longest time that `connect` takes."""
        return self.timeout_s * len(self.hosts) * len(self._passes())

    @property
    def role(self) -> str:
        return str(self.arguments["user"] or os.environ.get("PGUSER", ""))

    @property
    def database(self) -> str:
        return str(self.arguments["database"] or os.environ.get("PGDATABASE") or self.role)

    async def connect(self, *_: Any, **also: Any) -> Any:
        """An asyncpg.Connection to the first host that can be reached and has the wanted attributes; for asyncio.

        Raises the error of asyncpg; ConnectionError with all errors if several hosts have failed.
        """
        failed: list[tuple[str, Exception]] = []
        for wanted in self._passes():
            hosts = list(self.hosts)
            if self.parameters.get("load_balance_hosts") == "random":
                random.shuffle(hosts)
            for host, port in hosts:
                given = {**self.arguments, **also, "host": host, "port": port, "target_session_attrs": wanted}
                given["password"] = self._password(host, port)
                try:
                    conn = await asyncpg.connect(**{**given, "timeout": self.timeout_s})
                except UNREACHABLE as e:
                    failed.append((f"{host or 'the default host'}:{port or 5432}", e))
                    continue
                self._keep_alive(conn)
                return conn
        first = failed[0][1]
        if len(failed) == 1 and isinstance(first, (TimeoutError, ssl.SSLError, asyncpg.PostgresError)):
            raise first
        if all(NO_TLS in str(e) for _, e in failed):
            raise first
        raise ConnectionError("; ".join(dict.fromkeys(f"{where}: {_why(e)}" for where, e in failed))) from first

    def _password(self, host: str | None, port: int | None) -> str:
        """Is "" if there is none: for None asyncpg would read the password file itself."""
        given = self.parameters.get("password") or os.environ.get("PGPASSWORD")
        passfile = self.parameters.get("passfile")
        return given or password_of(passfile, host, port, self.database, self.role) or ""

    def _passes(self) -> tuple[str, ...]:
        wanted = self.parameters.get("target_session_attrs") or os.environ.get("PGTARGETSESSIONATTRS", "any")
        return ("standby", "any") if wanted == "prefer-standby" else (wanted,)

    def _keep_alive(self, conn: Any) -> None:
        """The parameters keepalives… and tcp_user_timeout; as in libpq, keepalives are on by default."""
        of_tcp: socket.socket | None = conn._transport.get_extra_info("socket")
        if of_tcp is None or of_tcp.family == socket.AF_UNIX:
            return
        with contextlib.suppress(OSError):  # an option that this system lacks
            of_tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(self.parameters.get("keepalives") or 1) != 0)
            for name, option in KEEPALIVES.items():
                if option is not None and (value := int(self.parameters.get(name) or 0)) > 0:
                    of_tcp.setsockopt(socket.IPPROTO_TCP, option, value)


def _why(error: Exception) -> str:
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "the server does not have the target_session_attrs of database.url"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return "the server has no TLS" if NO_TLS in str(error) else str(error) or type(error).__name__


def servers_of(connection_string: str, timeout_s: float) -> Servers:
    """`timeout_s`: for each host, unless the string has connect_timeout.

    Raises BadSettings with the name of the parameter that cannot be used.
    """
    try:
        parameters = parameters_of(connection_string)
        hosts = tuple(hosts_of(parameters))
    except ValueError as e:
        raise BadSettings(f"database.url: {e}") from None
    over_tcp = not all(is_socket(host) for host, _ in hosts)
    given_s = float(parameters.get("connect_timeout") or 0)
    arguments = {
        "user": parameters.get("user") or _own_name(),
        "database": parameters.get("dbname"),
        "krbsrvname": parameters.get("krbsrvname"),
        "gsslib": parameters.get("gsslib"),
        "server_settings": _session_of(parameters),
        **(_tls_of(parameters) if over_tcp else {}),
    }
    _refuse_unreadable("passfile", parameters.get("passfile"))
    return Servers(parameters, hosts, arguments, min(given_s, TIMEOUT_MAX_S) if given_s > 0 else timeout_s)


def _own_name() -> str | None:
    """None: asyncpg reads PGUSER, or takes the account's name."""
    try:
        return None if os.environ.get("PGUSER") else getpass.getuser()
    except (KeyError, OSError):
        raise BadSettings("database.url: user is missing, and this process's account has no name") from None


def _session_of(parameters: Mapping[str, str]) -> dict[str, str]:
    named = parameters.get("application_name") or os.environ.get("PGAPPNAME")
    name = named or parameters.get("fallback_application_name") or APPLICATION
    options = parameters.get("options") or os.environ.get("PGOPTIONS")
    return {"application_name": name, "timezone": "UTC", **({"options": options} if options else {})}


def _refuse_unreadable(name: str, path: str | None) -> None:
    if not path or (name == "sslrootcert" and path == "system"):
        return
    try:
        with open(path, "rb"):
            pass
    except OSError as e:
        raise BadSettings(
            f"database.url: {name}: {path}: {e.strerror}: name a file that this account can read"
        ) from None


def _tls_of(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The arguments `dsn`, `ssl` and `direct_tls` of asyncpg.connect. Raises BadSettings."""
    inherited = {name: os.environ[VARIABLES[name]] for name in TLS if os.environ.get(VARIABLES.get(name, ""))}
    given = inherited | {name: parameters[name] for name in TLS if name in parameters}
    mode = given.get("sslmode") or ("verify-full" if given.get("sslrootcert") == "system" else "prefer")
    if mode not in SSL_MODES:
        raise BadSettings(f"environment variable PGSSLMODE: must be one of {', '.join(SSL_MODES)}")
    if mode == "disable":
        return {"ssl": False}
    for name in FILES:
        _refuse_unreadable(name, given.get(name))
    context = _context(mode, given)
    if mode in (
        "allow",
        "prefer",
    ):  # asyncpg changes between TLS and none by these words only, and loads the files again
        return {"ssl": mode, "dsn": f"postgresql://?{urlencode(given)}"}
    return {"ssl": context, "direct_tls": given.get("sslnegotiation") == "direct"}


def _context(mode: str, given: Mapping[str, str]) -> ssl.SSLContext:
    """As the manual's 34.19 "SSL Support": the server's certificate is verified by sslmode and sslrootcert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    root, crl = (given.get("sslrootcert") or _at_home("root.crt"), given.get("sslcrl") or _at_home("root.crl"))
    name = "sslrootcert"
    try:
        if mode.startswith("verify") or (mode == "require" and root):
            if root is None:
                raise BadSettings(
                    f"database.url: sslmode={mode} needs sslrootcert: the file of the CA's certificate, or "
                    "sslrootcert=system for the CAs of this machine"
                )
            context.verify_mode = ssl.CERT_REQUIRED
            context.check_hostname = mode == "verify-full"
            context.load_default_certs() if root == "system" else context.load_verify_locations(cafile=root)
            name = "sslcrl"
            if crl is not None:
                context.load_verify_locations(cafile=crl)
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        name = "sslcert"
        if (cert := given.get("sslcert") or _at_home("postgresql.crt")) is not None:
            password = given.get("sslpassword", "")
            context.load_cert_chain(cert, given.get("sslkey") or _at_home("postgresql.key"), lambda: password)
    except ssl.SSLError as e:
        raise BadSettings(f"database.url: {name} cannot be used: {e.reason or e}: it must be in PEM format") from None
    except OSError as e:
        raise BadSettings(f"database.url: {name} cannot be read: {e.strerror}") from None
    context.minimum_version = _version(given.get("ssl_min_protocol_version", "TLSv1.2"))
    if "ssl_max_protocol_version" in given:
        context.maximum_version = _version(given["ssl_max_protocol_version"])
    context.set_alpn_protocols(["postgresql"])
    return context


def _version(name: str) -> ssl.TLSVersion:
    return ssl.TLSVersion[name.replace(".", "_")]


def _at_home(name: str) -> str | None:
    with contextlib.suppress(RuntimeError, OSError):  # no home directory, or one that is closed
        path = (HOME / name).expanduser()
        return str(path) if path.exists() else None
    return None
