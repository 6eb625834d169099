"""Types of setting values with their checks: addresses, networks, host names, tokens and URLs.

A check raises ValueError with a text that completes "KEY: …" and says what is allowed.
"""

import contextlib
import ipaddress
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from daemon.errors import BadInput
from daemon.settings.connection_string import FILES, hosts_of, is_socket, parameters_of
from daemon.web.addresses import host_and_port
from daemon.web.urls import http_url

TOKEN = re.compile(r"[\x21-\x7e]{16,512}")
HEADER_TOKEN = re.compile(r"[\x21-\x7e]{0,4096}")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # a token (RFC 9110, 5.6.2)
SCHEMA_BYTES_MAX = 63
PROCESSES_MAX = 64
HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)


def _from_commas(value: Any) -> Any:
    """A list in the environment: `a,b`, or JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith('["'):
        with contextlib.suppress(ValueError):  # not JSON after all: the checks of its parts report it
            return json.loads(value)
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _each(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda values: tuple(map(check, values)))


def bind_address(bind: str) -> str:
    """Accept host:port, [v6]:port and unix:/path."""
    if not bind.startswith("unix:/") and host_and_port(bind) is None:
        raise ValueError(f"{bind!r} is not an address such as 0.0.0.0:8080, [::1]:8080 or unix:/run/tracepool.sock")
    return bind


def _network(text: str) -> str:
    try:
        if text != "unix":
            ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not an address or network such as 10.0.0.0/8, nor unix") from None
    return text


def _header_name(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is neither auto nor the name of a header such as X-Forwarded-For or Forwarded")
    return name


def _country_header(name: str) -> str:
    if name and not HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header such as CF-IPCountry")
    return name


def _file_path(text: str) -> str:
    path = Path(text).expanduser()
    if text and (not path.is_absolute() or "\0" in text):
        raise ValueError("must be an absolute path such as /var/lib/GeoIP/GeoLite2-Country.mmdb")
    return text and str(path)


def _host_name(host: str) -> str:
    if not HOST_NAME.fullmatch(host):
        raise ValueError(f"{host!r} is not a host name such as tracepool.example, without scheme and port")
    return host.lower()


def _own_token(token: SecretStr) -> SecretStr:
    """Accept an empty token, or one that is hard to guess and fits into a header."""
    text = token.get_secret_value()
    if text and not TOKEN.fullmatch(text):
        raise ValueError("must have 16 to 512 visible ASCII characters: openssl rand -hex 32 makes one")
    return token


def _header_token(token: SecretStr) -> SecretStr:
    if not HEADER_TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError("must have visible ASCII characters only")
    return token


def _connection_string(given: SecretStr | None) -> SecretStr | None:
    if given is None or not given.get_secret_value().strip():
        return None
    parameters = parameters_of(given.get_secret_value())
    over_tcp = not all(is_socket(host) for host, _ in hosts_of(parameters))
    if over_tcp and parameters.get("sslmode") != "disable":
        for name in FILES:
            path = parameters.get(name, "")
            if path and (name, path) != ("sslrootcert", "system") and _is_missing(path):
                raise ValueError(f"{name}: there is no file {path}")
    return given


def _schema_name(name: str) -> str:
    if not name.isprintable() or not 1 <= len(name.encode()) <= SCHEMA_BYTES_MAX or name.startswith("pg_"):
        raise ValueError(f"must be a schema's name: 1 to {SCHEMA_BYTES_MAX} bytes, not beginning with pg_")
    return name


def _is_missing(path: str) -> bool:
    try:
        return not Path(path).exists()
    except OSError:  # this account may not look there; the account of the daemon may
        return False


def _http_url(text: str, what: str) -> str:
    try:
        return http_url(text)[0] if text.strip() else ""
    except BadInput:
        raise ValueError(f"must be {what}, or empty") from None


def _service_url(text: str) -> str:
    """The URL without the slash at its end."""
    url = _http_url(text, "an http or https URL such as https://tracer.example:8081")
    if any(mark in url for mark in "?#@"):
        raise ValueError("must have no query, fragment or login; the token is trace.service_token")
    return url.rstrip("/")


def _check_url(text: str) -> str:
    return _http_url(text, "an absolute http or https URL such as https://ip.example/").partition("#")[0]


def _fallback_url(text: str) -> str:
    found = re.match(r"\s*https?:/*[^/?#]*", text, re.IGNORECASE)
    if text and found and re.search(r"[{}]|%7[bd]", found[0], re.IGNORECASE):
        raise ValueError("a macro such as {offer} may stand in the path, the query or the fragment, not before them")
    return text and _http_url(text, "an absolute http or https URL such as https://shop.example/?from={offer}")


def _node_name(name: str) -> str:
    if not name.isprintable() or name != name.strip():
        raise ValueError("must be printable, without blanks around it, such as tracer-1")
    return name


def _processes(value: Any) -> Any:
    if value == "auto":
        return value
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= PROCESSES_MAX:
        raise ValueError(f'must be "auto" or a number from 1 to {PROCESSES_MAX}')
    return int(text)


Strings = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_from_commas)]
BindAddress = Annotated[str, AfterValidator(bind_address)]
BindAddresses = Annotated[Strings, _each(bind_address)]
Networks = Annotated[Strings, _each(_network)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
CountryHeader = Annotated[str, AfterValidator(_country_header)]
FilePath = Annotated[str, AfterValidator(_file_path)]
HostNames = Annotated[Strings, _each(_host_name)]
OwnToken = Annotated[SecretStr, AfterValidator(_own_token)]
HeaderToken = Annotated[SecretStr, AfterValidator(_header_token)]
ConnectionString = Annotated[SecretStr | None, AfterValidator(_connection_string)]
ServiceUrl = Annotated[str, AfterValidator(_service_url)]
CheckUrl = Annotated[str, AfterValidator(_check_url)]
FallbackUrl = Annotated[str, AfterValidator(_fallback_url)]
SchemaName = Annotated[str, AfterValidator(_schema_name)]
Processes = Annotated[int | Literal["auto"], BeforeValidator(_processes)]
NodeName = Annotated[str, AfterValidator(_node_name)]
