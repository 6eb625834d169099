"""Read header fields as a browser does, and prepare URLs and texts for headers and messages. Pure."""

import re
from collections.abc import Collection, Sequence

from ada_url import URL

_SHOWN_CHARACTERS_MAX = 200
# Of userinfo, host and port. A DNS name has at most 253 characters (RFC 1035, 2.3.4); punycode takes quadratic time.
AUTHORITY_CHARACTERS_MAX = 1_024
_REMOVED = re.compile(r"[\t\n\r]")  # by the URL parser, at any position
_LONG_AUTHORITY = re.compile(
    rf"[\x00-\x20]*+(?:(?:https?|wss?|ftp|file):[/\\]*+|[/\\]{{2,}}+)[^/\\?#]{{{AUTHORITY_CHARACTERS_MAX + 1}}}",
    re.I | re.ASCII,
)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

RawHeaders = Sequence[tuple[bytes, bytes]]


def values_of(headers: RawHeaders, name: bytes) -> list[bytes]:
    """The values of all fields of this name, in order. `name` is in lower case."""
    return [value for field, value in headers if field.lower() == name]


def value_of(headers: RawHeaders, name: bytes) -> bytes | None:
    """The value of the first field of this name. `name` is in lower case."""
    return next((value for field, value in headers if field.lower() == name), None)


def location_in(headers: RawHeaders) -> str | None:
    """The first Location that is not empty, as in Chromium: bytes that are not ASCII are percent-encoded."""
    for value in values_of(headers, b"location"):
        if text := value.strip(b" \t"):
            return _NOT_ASCII.sub(lambda found: b"%%%02X" % ord(found[0]), text).decode("ascii")
    return None


def refresh_in(headers: RawHeaders) -> str | None:
    """The first Refresh, decoded as latin-1 (HTML 7.4.6, the Refresh header)."""
    value = value_of(headers, b"refresh")
    return None if value is None else value.decode("latin-1")


def parsed(text: str, base: str | None = None) -> URL | None:
    """Parse a URL by the WHATWG URL parser. None: it fails, or the authority is too long for any server.

    A bar in the path is percent-encoded, as in Chromium.
    """
    if len(text) > AUTHORITY_CHARACTERS_MAX and _LONG_AUTHORITY.match(_REMOVED.sub("", text)):
        return None
    try:
        url = URL(text, base=base)
    except ValueError:  # also UnicodeEncodeError, for lone surrogates
        return None
    if "|" in text and url.pathname.startswith("/"):
        url.pathname = url.pathname.replace("|", "%7C")
    return url


def wire_url(href: str) -> str:
    """The URL without fragment and userinfo, which a browser does not send."""
    if "#" not in href and "@" not in href:
        return href
    bare = URL(href)
    bare.hash = bare.username = bare.password = ""
    return bare.href


def is_host_in(host: str, hosts: Collection[str]) -> bool:
    """Whether `hosts` (in lower case) holds `host` or a parent domain: shop.example covers www.shop.example."""
    name = host.rstrip(".")
    while name:
        if name in hosts:
            return True
        name = name.partition(".")[2]
    return False


def header_text(text: str) -> str:
    """A text as the value of a request header: one line; non-ASCII text as UTF-8 bytes, each a latin-1 character."""
    line = _CONTROL.sub(" ", text).strip(" ")
    return line if line.isascii() else line.encode("utf-8", "replace").decode("latin-1")


def shown(text: str) -> str:
    """An untrusted text for a message: cut short and printable."""
    cut = text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…"
    return cut.encode("ascii", "backslashreplace").decode() if not cut.isprintable() else cut
