"""Decode and percent-encode URLs and queries, with as few changes as a header field allows. Pure.

Hosts are parsed by ada-url as a browser does. Source: the WHATWG URL standard, "percent-encoded bytes", "basic URL
parser", "application/x-www-form-urlencoded".
"""

import re
from contextlib import suppress

from ada_url import URL

from daemon.errors import BadInput

SHOWN_CHARS_MAX = 200
"""An error message repeats at most this many characters of a value."""

_PRINTABLE = re.compile(r"[!-~]*")
_UNPRINTABLE = re.compile(r"[^!-~]+")
# The query percent-encode set, which includes "#", and "&", which would end the piece.
_UNSAFE_IN_PIECE = re.compile(r'[^!-~]+|["#<>&]')
_UNSAFE_IN_QUERY = re.compile(rb'[^!-~]|["#<>]')
_HEX = "0123456789ABCDEFabcdef"
_BYTE_OF = {f"{high}{low}".encode(): bytes((int(high + low, 16),)) for high in _HEX for low in _HEX}
_ESCAPE_OF = [b"%%%02X" % byte for byte in range(256)]
_IN_A_QUERY = [_ESCAPE_OF[byte] if _UNSAFE_IN_QUERY.match(bytes((byte,))) else bytes((byte,)) for byte in range(256)]
_SURROGATE = re.compile("[\ud800-\udfff]")
_REMOVED_BY_BROWSERS = re.compile(r"[\t\n\r]")
_C0_AND_SPACE = "".join(map(chr, range(0x21)))

_HTTP = re.compile(r"https?:", re.IGNORECASE)
# A front (all before "?" or "#") that all clients parse alike: two slashes, at most one "@", no backslash, a host
# without escapes. Any other front is rewritten, because two clients could see two hosts in it.
_CLEAR_FRONT = re.compile(
    r"https?://"
    r"(?:[^@/?#\\]*@)?"
    r"(?:\[[0-9A-Fa-f:.]+\]|[^@/?#\\:\[\]%<>^|]+)"
    r"(?::[0-9]*)?"
    r"(?:/[^?#\\]*)?"
    r"(?:[?#]|\Z)",
    re.IGNORECASE,
)


def decoded(text: str) -> str:
    """Decode a name or value of a query: "+" is a space, percent-escapes are UTF-8. `text` is ASCII.

    Broken escapes stay (`%zz`); broken UTF-8 becomes U+FFFD.
    """
    if "+" in text:
        text = text.replace("+", " ")
    if "%" in text:
        return unescaped(text).decode("utf-8", "replace")
    return text


def unescaped(text: str) -> bytes:
    """Percent-decode an ASCII text; broken escapes stay. As unquote_to_bytes, which is slow for broken escapes."""
    first, *rest = text.encode("ascii").split(b"%")
    return first + b"".join(
        _BYTE_OF[piece[:2]] + piece[2:] if piece[:2] in _BYTE_OF else b"%" + piece for piece in rest
    )


def safe_query(query: bytes) -> str:
    """Percent-encode the bytes of a query that a header or URL must not hold.

    The result decodes to the same names and values as `query`.
    """
    if _UNSAFE_IN_QUERY.search(query):
        query = b"".join(map(_IN_A_QUERY.__getitem__, query))
    return query.decode("ascii")


def safe_piece(raw: str) -> str:
    """One `name=value` of a query, with all characters percent-encoded that would end the piece or the query."""
    return _escaped(_UNSAFE_IN_PIECE, raw) if _UNSAFE_IN_PIECE.search(raw) else raw


def header_safe(url: str) -> str:
    """The URL as printable ASCII without spaces, for a Location header. Never raises.

    A URL that is printable ASCII already, with an unambiguous host, is returned byte for byte. Otherwise the part
    before the query is normalized as a browser does (IDN hosts to punycode, backslashes to slashes), and in query and
    fragment only unprintable and non-ASCII characters are percent-encoded, as UTF-8.
    """
    is_http = _HTTP.match(url) is not None
    if _PRINTABLE.fullmatch(url) and (not is_http or _CLEAR_FRONT.match(url)):
        return url
    url = _REMOVED_BY_BROWSERS.sub("", _SURROGATE.sub("\ufffd", url).strip(_C0_AND_SPACE))
    end = min((at for at in (url.find("?"), url.find("#")) if at >= 0), default=len(url))
    front, rest = url[:end], url[end:]
    if _HTTP.match(front):
        # A URL that no browser accepts stays unusable, but must not break the header.
        with suppress(ValueError):
            # Without the "?", a space at the end of the path would be stripped instead of encoded as %20.
            front = URL(f"{front}?").href.removesuffix("?")
    return _escaped(_UNPRINTABLE, front + rest)


def http_url(url: str) -> tuple[str, str]:
    """`(header_safe(url), its host as a browser reads it)` of an absolute http or https URL.

    Raises BadInput for any other text, with an example of a correct URL.
    """
    safe = header_safe(url)
    if not _HTTP.match(safe):
        raise BadInput(
            f"{quoted(url)} does not start with http:// or https://: write it as in https://ads.example/click?id=1"
        )
    try:
        return safe, URL(safe).hostname
    except ValueError:
        raise BadInput(
            f"{quoted(url)} is no URL that a browser accepts: its host must be a name or an address,"
            " its port a number up to 65535, as in https://ads.example:8443/click?id=1"
        ) from None


def quoted(value: object) -> str:
    """A value for a message: quoted, on one line, cut short."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"


def _escaped(unsafe: re.Pattern[str], text: str) -> str:
    return unsafe.sub(
        lambda found: b"".join(map(_ESCAPE_OF.__getitem__, found[0].encode("utf-8", "replace"))).decode(), text
    )
