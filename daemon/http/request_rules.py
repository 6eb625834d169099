"""The rules by which both faces refuse request heads, before any handler sees them. Pure.

The rules are stricter than HTTP/1.1 on purpose. A refused request gets a 4xx status, and its connection is closed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.web.headers import values_of
from daemon.web.urls import unescaped

VERSIONS = frozenset({"1.0", "1.1"})
_HOST = re.compile(rb"(?:(?:LABEL\.)*LABEL\.?)?".replace(b"LABEL", rb"[\w~!$&'()*+,;=%:\[\]-]{1,63}"))
_HOST_BYTES_MAX = 255
_AS_ASCII = [b"%%%02X" % byte if byte > 127 else bytes((byte,)) for byte in range(256)]
_ABSOLUTE_FORM = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The 4xx status that answers a refused request, and the reason for the log."""

    status: int
    reason: str


def refusal_of(
    method: str, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]], *, body_bytes_max: float
) -> Refusal | None:
    """The refusal of a request; None if a handler may answer it.

    A parser (llhttp, h11) has checked the characters of `headers` and that there is at most one content-length.
    Upgrades (h2c, WebSocket) are not refused: a server may ignore them (RFC 9110, 7.8), and both faces do.
    """
    if version not in VERSIONS:
        return Refusal(400, "not HTTP/1.0 or HTTP/1.1")
    if method == "CONNECT" or origin_form(target) is None:
        return Refusal(400, "the target is neither a path nor an http URL")
    hosts = values_of(headers, b"host")
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        return Refusal(400, "no host, or more than one")  # RFC 9112, 3.2
    if any(len(host) > _HOST_BYTES_MAX or _HOST.fullmatch(host) is None for host in hosts):
        # Characters of RFC 3986, 3.2.2; lengths of RFC 1035. Werkzeug's routing raises on others: Quart answers 500.
        return Refusal(400, "the host is no host name")
    length = max(map(int, values_of(headers, b"content-length")), default=None)
    chunked = bool(values_of(headers, b"transfer-encoding"))
    if body_bytes_max == 0 and (chunked or length):
        return Refusal(413, "a request with a body")
    if chunked and length is not None:
        # Two lengths allow request smuggling past a proxy (RFC 9112, 6.3).
        return Refusal(400, "both content-length and transfer-encoding")
    if length is not None and length > body_bytes_max:
        return Refusal(413, "the body is too long")
    return None


def has_body(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether bytes of a body follow the head of a request that was not refused."""
    return bool(values_of(headers, b"transfer-encoding")) or any(map(int, values_of(headers, b"content-length")))


def origin_form(target: bytes) -> bytes | None:
    """The target as a path with its query, which starts with `/`; None if it has no such form.

    A fragment, which a bad client sends, is cut off (RFC 9110, 4.2.5: it is no part of a request's target).
    `http://host/path?q` (absolute-form, RFC 9112, 3.2.2) gives `/path?q`, whatever the host. `host:port`
    (authority-form) and `*` (asterisk-form) give None.
    """
    target, _, _ = target.partition(b"#")
    if target.startswith(b"/"):
        return target
    absolute = _ABSOLUTE_FORM.match(target)
    if absolute is None:
        return None
    rest = target[absolute.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def path_of(target: bytes) -> str:
    """The path of an origin-form target, percent-decoded and without the query."""
    return unescaped(target.partition(b"?")[0].decode("ascii")).decode("utf-8", "replace")


def with_ascii_request_line(data: bytes) -> bytes:
    """Percent-encode the bytes above 127 in the first line of `data`, the beginning of a request head.

    Programs such as curl send a UTF-8 URL unencoded, which llhttp refuses. A browser encodes it.
    """
    if data.isascii():
        return data
    line, newline, rest = data.partition(b"\n")
    return b"".join(map(_AS_ASCII.__getitem__, line)) + newline + rest
