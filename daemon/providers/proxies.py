"""The proxy address of an IP, from its row, its provider's settings and its lease. Pure.

A row is either a proxy at its own address and port, or a session at its provider's gateway. The username or the
password then carries the session, by a pattern such as `{username}-country-{country}-session-{session}`.
"""

import base64
import hashlib
import re
import string
from dataclasses import dataclass, field
from ipaddress import ip_address as parsed_address
from typing import Literal

import msgspec

from daemon.countries import iso_code
from daemon.web.headers import RawHeaders, values_of

Scheme = Literal["http", "https", "socks5"]

PLACEHOLDERS = ("username", "password", "country", "session", "lock_minutes", "fail_closed")
DEFAULT_PORT = "7000"  # the default of ip_rotation_pool.ip_port
SOCKS_TEXT_BYTES_MAX = 255  # RFC 1929
DIGEST_CHARACTERS = 12  # among a million rows, two share a digest with a probability of one in five million
READABLE_CHARACTERS_MIN = 4  # of a row's own text before the digest; with less room, only the digest
NUMBER_DIGITS_MAX = 7
EXIT_IP_CHARACTERS_MAX = 64

_PORT_MAX = 65_535
_HOST_CHARACTERS_MAX = 253  # RFC 1035, 2.3.4, as text without the root's dot
# Addresses and names. Operators' names often have underscores. No character may end a header line.
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?\]?")
_ALLOWED = {"digits": r"[0-9]+", "alphanumeric": r"[A-Za-z0-9]+", "any": r"[A-Za-z0-9._-]+"}
_DIGITS, _BASE_36 = string.digits, string.digits + string.ascii_lowercase


@dataclass(frozen=True, slots=True)
class SessionRules:
    """The sessions that a gateway accepts: their characters ("any": letters, digits, `.`, `_`, `-`) and length."""

    characters: Literal["any", "alphanumeric", "digits"] = "any"
    length_min: int = 1
    length_max: int = 64

    def allow(self, text: str) -> bool:
        fits = self.length_min <= len(text) <= self.length_max
        return fits and re.fullmatch(_ALLOWED[self.characters], text) is not None


@dataclass(frozen=True, slots=True)
class Reach:
    """The checked settings by which the proxies of the provider `name` are reached. `repr` hides the password.

    `gateway`: host and port; None: each row has its own. `session`: one for each row ("ip") or for each lease.
    """

    name: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    scheme: Scheme = "http"
    gateway: tuple[str, int] | None = None
    username_pattern: str = "{username}"
    password_pattern: str = field(default="{password}", repr=False)
    session: Literal["ip", "lease"] = "ip"
    session_rules: SessionRules = SessionRules()
    country_case: Literal["lower", "upper"] = "lower"
    fail_closed: str = ""
    lock_minutes: int = 1
    exit_ip_header: str | None = None


class LeasedProxy(msgspec.Struct, frozen=True):
    """A leased IP as in its row. The tracing backend has the login of its provider. `lease` is unique to the lease."""

    address: str
    port: str
    country: str
    provider: str
    lease: str


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """A proxy. `host` is a name or an address without brackets. `repr` hides the credentials.

    `exit_ip_header`: the response header, in lower case, that holds the proxy's exit IP.
    """

    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    scheme: Scheme = "http"
    exit_ip_header: str | None = None

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization (RFC 7617, in UTF-8), or None without a username."""
        if self.username is None:
            return None
        pair = f"{self.username}:{self.password or ''}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


@dataclass(frozen=True, slots=True)
class UnusableProxy:
    """An IP's row gives no usable proxy; `message` names the fault. The verdict is `ip`."""

    message: str


def proxy_for(
    ip_address: str, ip_port: str, reach: Reach | None = None, *, country: str = "", lease: str = ""
) -> ProxyAddress | UnusableProxy:
    """The proxy of a row of ip_rotation_pool. Without a `reach`: a plain HTTP proxy without credentials.

    Blanks around `ip_address` and `ip_port`, which operators insert, are ignored. `lease` is unique to the lease. A
    provider with neither username nor password gets no credentials.
    """
    host, port = ip_address.strip(), ip_port.strip()
    if len(host) > _HOST_CHARACTERS_MAX or not _HOST.fullmatch(host):
        return UnusableProxy(f"ip_address {host[:80]!r} is neither an IP address nor a host name")
    if not is_port(port):
        return UnusableProxy(f"ip_port {port[:20]!r} is not a port from 1 to {_PORT_MAX}")
    own = host.strip("[]"), int(port)
    if reach is None:
        return ProxyAddress(*own)
    at = own if reach.gateway is None else reach.gateway
    if not (reach.username or reach.password):
        return ProxyAddress(*at, scheme=reach.scheme, exit_ip_header=reach.exit_ip_header)
    code = iso_code(country)
    if code is None and "{country}" in reach.username_pattern + reach.password_pattern:
        return UnusableProxy(f"country {country[:40]!r} is no two-letter code, and the gateway's login needs one")
    code = (code or "").upper() if reach.country_case == "upper" else (code or "")
    values = {
        "username": reach.username,
        "password": reach.password,
        "country": code,
        "session": _session(host, port, reach, code.lower(), lease),
        "lock_minutes": str(reach.lock_minutes),
        "fail_closed": reach.fail_closed,
    }
    username, password = reach.username_pattern.format(**values), reach.password_pattern.format(**values)
    if reach.scheme == "socks5" and max(len(username.encode()), len(password.encode())) > SOCKS_TEXT_BYTES_MAX:
        return UnusableProxy(f"the login is longer than the {SOCKS_TEXT_BYTES_MAX} bytes that SOCKS5 takes")
    return ProxyAddress(*at, username, password, reach.scheme, reach.exit_ip_header)


def _session(host: str, port: str, reach: Reach, country: str, lease: str) -> str:
    """The session: the row's ip_address if the gateway accepts it, else a text that is unique to the row."""
    rules = reach.session_rules
    digest_length = max(rules.length_min, min(DIGEST_CHARACTERS, rules.length_max))
    if reach.session == "lease":
        return _digest(lease, rules, digest_length)
    slot = host if port == DEFAULT_PORT else f"{host}-{port}"  # rows differ in one of the two
    if rules.allow(slot):
        return slot
    if rules.characters == "digits":
        # `tracepool provision generate` numbers the rows of a provider and country. A digest is longer than any number.
        numbered = re.fullmatch(re.escape(f"{reach.name}-{country}-") + r"([1-9][0-9]*)", slot)
        if numbered and len(numbered[1]) <= NUMBER_DIGITS_MAX < digest_length and rules.allow(numbered[1]):
            return numbered[1]
    elif rules.length_max >= DIGEST_CHARACTERS + READABLE_CHARACTERS_MIN:
        # The row's text comes first, as far as it fits, so that operators recognize it in the provider's lists.
        readable = re.sub(r"[^A-Za-z0-9]", "", slot)[: rules.length_max - DIGEST_CHARACTERS]
        return readable + _digest(slot, rules, max(DIGEST_CHARACTERS, rules.length_min - len(readable)))
    return _digest(slot, rules, digest_length)


def _digest(text: str, rules: SessionRules, length: int) -> str:
    """`length` digits or lower-case letters; a number does not begin with 0."""
    alphabet = _DIGITS if rules.characters == "digits" else _BASE_36
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=64).digest())
    found = ""
    for _ in range(length):
        number, place = divmod(number, len(alphabet))
        found += alphabet[place]
    return f"{int(found[0]) % 9 + 1}{found[1:]}" if alphabet is _DIGITS else found


def is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= _PORT_MAX


def host_and_port(text: str) -> tuple[str, int] | None:
    """Parse `gate.example:7000` or `[2001:db8::7]:7000`; None for any other text."""
    host, _, port = text.strip().rpartition(":")
    bare_v6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if bare_v6 or len(host) > _HOST_CHARACTERS_MAX or not _HOST.fullmatch(host) or not is_port(port):
        return None
    return host.strip("[]"), int(port)


def complaint_of(pattern: str) -> str | None:
    """The fault of a username_pattern or password_pattern, or None."""
    allowed = "allowed are " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError:
        return f"has a brace without its counterpart (a literal one is doubled); {allowed}"
    for _, name, spec, conversion in parts:
        if name is not None and (name not in PLACEHOLDERS or spec or conversion):
            shown = f"{{{name}}}" if re.fullmatch(r"[A-Za-z_]{1,32}", name) else "what stands in a pair of braces"
            return f"{shown} is no placeholder; {allowed}"
    return None


def address_of(text: object) -> str | None:
    """An IP address in canonical form, or None if `text` is no IP address."""
    if not isinstance(text, str) or len(text) > EXIT_IP_CHARACTERS_MAX:
        return None
    try:
        return str(parsed_address(text.strip()))
    except ValueError:
        return None


def exit_ip_in(headers: RawHeaders, name: str | None) -> str | None:
    """The first IP address in the header fields of this `name` (in lower case), or None."""
    if name is None:
        return None
    values = (value.decode("latin-1") for value in values_of(headers, name.encode()))
    return next((address for value in values if (address := address_of(value))), None)
