"""Header fields, URLs and texts on their way between headers, requests and messages. Pure."""

import re
from collections.abc import Sequence

from ada_url import URL

_SHOWN_CHARACTERS_MAX = 200
# Of userinfo, host and port. A name of DNS has at most 253 (RFC 1035, 2.3.4); punycode takes quadratic time.
AUTHORITY_CHARACTERS_MAX = 1_024
_REMOVED = re.compile(r"[\t\n\r]")  # by the URL parser, wherever they stand
_LONG_AUTHORITY = re.compile(
    rf"[\x00-\x20]*+(?:(?:https?|wss?|ftp|file):[/\\]*+|[/\\]{{2,}}+)[^/\\?#]{{{AUTHORITY_CHARACTERS_MAX + 1}}}",
    re.I | re.ASCII,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

RawHeaders = Sequence[tuple[bytes, bytes]]


def values_of(headers: RawHeaders, name: bytes) -> list[bytes]:
    """The values of the header fields of this name, which is given in lower case, in the order of the fields."""
    return [value for field, value in headers if field.lower() == name]


def value_of(headers: RawHeaders, name: bytes) -> bytes | None:
    """The value of the first header field of this name, which is given in lower case."""
    return next((value for field, value in headers if field.lower() == name), None)


def location_in(headers: RawHeaders) -> str | None:
    """The first Location that is not empty, as Chromium takes it. Browsers read its bytes as UTF-8 where they are."""
    for value in values_of(headers, b"location"):
        if text := value.strip(b" \t"):
            try:
                return text.decode()
            except UnicodeDecodeError:
                return text.decode("latin-1")
    return None


def refresh_in(headers: RawHeaders) -> str | None:
    """The first Refresh, each byte a character (HTML 7.4.6, the Refresh header)."""
    value = value_of(headers, b"refresh")
    return None if value is None else value.decode("latin-1")


def parsed(text: str, base: str | None = None) -> URL | None:
    """The WHATWG URL parser; None where it fails, or for a host and userinfo that no server has."""
    if len(text) > AUTHORITY_CHARACTERS_MAX and _LONG_AUTHORITY.match(_REMOVED.sub("", text)):
        return None
    try:
        return URL(text, base=base)
    except ValueError:  # UnicodeEncodeError, for lone surrogates, is one too
        return None


def wire_url(href: str) -> str:
    """The URL without what a client keeps to itself: the fragment, and the userinfo (no browser sends it unasked)."""
    if "#" not in href and "@" not in href:
        return href
    bare = URL(href)
    bare.hash = bare.username = bare.password = ""
    return bare.href


def is_host_in(host: str, hosts: frozenset[str]) -> bool:
    """Whether `host` or a domain above it is among `hosts`, in lower case: shop.example covers www.shop.example."""
    name = host.rstrip(".")
    while name:
        if name in hosts:
            return True
        name = name.partition(".")[2]
    return False


def header_text(text: str) -> str:
    """A header's value for a request: one line, latin-1 holding UTF-8 where it must."""
    line = _CONTROL.sub(" ", text).strip(" ")
    return line if line.isascii() else line.encode("utf-8", "replace").decode("latin-1")


def shown(text: str) -> str:
    """A text from outside, cut and made printable for a message."""
    cut = text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…"
    return cut.encode("ascii", "backslashreplace").decode() if not cut.isprintable() else cut
