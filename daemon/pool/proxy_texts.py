"""One proxy as vendors' lists write it: `host:port`, also with a login before or after it, and a scheme. Pure.

    192.0.2.7:3128
    192.0.2.7:3128:username:password          a password may hold colons
    username:password@192.0.2.7:3128          also 192.0.2.7:3128@username:password
    username:password:192.0.2.7:3128
    socks5://username:password@gate.example:1080
    192.0.2.7;3128;username;password          or with bars, commas or blanks; 192.0.2.7:3128;username;password
    "192.0.2.7:3128"                          also 192.0.2.7:3128; and 192.0.2.7:3128: with nothing behind it

A text with several readings is taken where one of them has the better host: an address before a name with a dot before
another name. Otherwise it is refused. No error repeats a part of a login.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from daemon.errors import BadInput
from daemon.providers.proxies import DEFAULT_PORT
from daemon.web.endpoints import canonical_endpoint, canonical_host, is_slot_number, may_hold_login, split_port

SEPARATORS = ";|, "
FORMS = "host:port, host:port:username:password, username:password@host:port, username:password:host:port"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_REMARK = re.compile(r"\s#.*")
_BLANK = re.compile(r"\s")
_HOST_PORT = r"(\[[^\[\]]*\]|[^:@\[\]]*):(\d+)"
_LOGIN_LAST = re.compile(rf"{_HOST_PORT}[:@]([^:]*):(.*)")
_LOGIN_FIRST = re.compile(rf"([^:]*):(.*)[:@]{_HOST_PORT}")
_PORT_LAST = re.compile(_HOST_PORT)
_USER_FIRST = re.compile(rf"([^:@]+)@{_HOST_PORT}")


@dataclass(frozen=True, slots=True)
class ProxyText:
    """`host` and `port` are canonical. What the text lacks is None."""

    host: str
    port: str | None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    scheme: str | None = None

    @property
    def host_rank(self) -> int:
        if ":" in self.host or self.host.replace(".", "").isdigit():
            return 2
        return 1 if "." in self.host or self.host == "localhost" else 0


def read_proxy(text: str) -> ProxyText:
    """Raises BadInput."""
    text = _only_cell(_REMARK.sub("", text).strip())
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _best(set(_readings(text)) or set(_separated(text)), text)
    rest = text[scheme.end() :].removesuffix("/")
    found = _best(set(_readings(rest)), rest)
    if found.port is None:
        raise BadInput(f"{found.host!r} has no port: write {scheme[0]}{found.host}:PORT")
    if "@" in rest and found.username is not None:  # percent-encoded in a URL (RFC 3986, 3.2.1)
        found = replace(found, username=unquote(found.username), password=unquote(found.password or "") or None)
    return replace(found, scheme=scheme[1].lower().replace("socks5h", "socks5"))


def _only_cell(text: str) -> str:
    """The text without the quotes around it, or without the empty cells, or the empty login, behind a port."""
    cell = text.rstrip(SEPARATORS)
    if cell.count('"') == 2 and cell.startswith('"') and cell.endswith('"'):
        return cell[1:-1].strip()
    alone = text.rstrip(SEPARATORS + ":")
    return alone if _PORT_LAST.fullmatch(alone) else text


def _best(readings: set[ProxyText], text: str) -> ProxyText:
    if not readings:
        raise _unreadable(text)
    rank = max(reading.host_rank for reading in readings)
    best = [reading for reading in readings if reading.host_rank == rank]
    if len(best) > 1:
        raise BadInput(
            "it can be read as host:port:username:password and as username:password:host:port: write it as"
            " username:password@host:port, or in a table with the columns ip_address, ip_port, username, password"
        )
    return best[0]


def _readings(text: str) -> Iterator[ProxyText]:
    host, port = split_port(text)
    if port is not None:
        yield from _reading(host, port)
    elif (alone := _host_in(host)) is not None:
        yield ProxyText(alone, None)
    if (match := _LOGIN_LAST.fullmatch(text)) is not None:
        yield from _reading(match[1], match[2], match[3], match[4])
    if (match := _LOGIN_FIRST.fullmatch(text)) is not None:
        yield from _reading(match[3], match[4], match[1], match[2])
    if (match := _USER_FIRST.fullmatch(text)) is not None:
        yield from _reading(match[2], match[3], match[1])


def _separated(text: str) -> Iterable[ProxyText]:
    for separator in SEPARATORS:
        if separator in text and (found := set(_of_parts(_parts(text, separator)))):
            return found
    return ()


def _of_parts(parts: list[str]) -> Iterator[ProxyText]:
    match parts:
        case [first, second]:
            yield from _reading(first, second)
            yield from _of_pair(first, second)
            yield from _of_pair(second, first)
        case [first, second, third]:
            yield from _of_pair(first, f"{second}:{third}")
            yield from _of_pair(third, f"{first}:{second}")
            if ":" in third:
                yield from _reading(first, second, *third.split(":", 1))
        case [first, second, third, fourth]:
            yield from _reading(first, second, third, fourth)
            yield from _reading(third, fourth, first, second)


def _of_pair(endpoint: str, login: str) -> Iterator[ProxyText]:
    host, port = split_port(endpoint)
    if port is not None and ":" in login:
        yield from _reading(host, port, *login.split(":", 1))


def _parts(text: str, separator: str) -> list[str]:
    try:
        parts = next(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error:
        return []
    while parts and not parts[-1].strip():
        parts.pop()
    return [part.strip() for part in parts]


def _reading(host: str, port: str, username: str = "", password: str = "") -> Iterator[ProxyText]:
    """A proxy, unless the texts cannot be one: lists separate by blanks, so a login has none."""
    if _BLANK.search(username + password) or (password and not username):
        return
    try:
        host, port = canonical_endpoint(host, port)
    except BadInput:
        return
    if not is_slot_number(host):
        yield ProxyText(host, port, username or None, password or None)


def _host_in(text: str) -> str | None:
    try:
        return canonical_host(text)
    except BadInput:
        return None


def _unreadable(text: str) -> BadInput:
    """Why a text without a reading has none. A text that may hold a login is not repeated."""
    if not may_hold_login(text) and not any(separator in text for separator in SEPARATORS):
        host, port = split_port(text)
        try:
            canonical_endpoint(host, DEFAULT_PORT if port is None else port)
        except BadInput as e:
            return e
    return BadInput(f"it is none of {FORMS} (it is not shown, because it may hold a password)")
