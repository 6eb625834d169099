"""Which request heads either face refuses, decided before any handler sees them. Pure: no trio, no sockets, no clock.

The rules are narrower than HTTP/1.1 on purpose. A refused request gets a status of the 4xx kind, and its connection is
closed after it.
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
    """A request that no handler will see: the answer's status (4xx) and why, for the log."""

    status: int
    reason: str


def refusal_of(
    method: str, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]], *, body_bytes_max: int
) -> Refusal | None:
    """Say why a request is refused, or None if it may go to a handler.

    `headers` have passed a parser (llhttp, h11): their characters are checked, and at most one content-length is there.
    Upgrades (h2c, WebSocket) are no reason to refuse: a server may ignore them (RFC 9110 section 7.8), as here.
    """
    if version not in VERSIONS:
        return Refusal(400, "not HTTP/1.0 or HTTP/1.1")
    if method == "CONNECT" or origin_form(target) is None:
        return Refusal(400, "the target is neither a path nor an http URL")
    hosts = values_of(headers, b"host")
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        return Refusal(400, "no host, or more than one")  # RFC 9112, 3.2
    if any(len(host) > _HOST_BYTES_MAX or _HOST.fullmatch(host) is None for host in hosts):
        # The characters of RFC 3986 section 3.2.2, the lengths of RFC 1035. Werkzeug's routing raises on others,
        # where Quart answers 500.
        return Refusal(400, "the host is no host name")
    length = max(map(int, values_of(headers, b"content-length")), default=None)
    chunked = bool(values_of(headers, b"transfer-encoding"))
    if body_bytes_max == 0 and (chunked or length):
        return Refusal(413, "a request with a body")
    if chunked and length is not None:
        # Two lengths are how requests are smuggled past a proxy (RFC 9112 section 6.3).
        return Refusal(400, "both content-length and transfer-encoding")
    if length is not None and length > body_bytes_max:
        return Refusal(413, "the body is too long")
    return None


def origin_form(target: bytes) -> bytes | None:
    """Return the target as a path with its query, which starts with `/`; None if it has no such form.

    `http://host/path?q` (absolute-form, RFC 9112 section 3.2.2) gives `/path?q`, whatever the host.
    `host:port` (authority-form) and `*` (asterisk-form) give None.
    """
    if target.startswith(b"/"):
        return target
    absolute = _ABSOLUTE_FORM.match(target)
    if absolute is None:
        return None
    rest = target[absolute.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def path_of(target: bytes) -> str:
    """The path of an origin-form target as a handler knows it: without the query, percent-decoded."""
    return unescaped(target.partition(b"?")[0].decode("ascii")).decode("utf-8", "replace")


def with_ascii_request_line(data: bytes) -> bytes:
    """Percent-encode the bytes above 127 in the first line of `data`, the beginning of a request head.

    Programs such as curl send a UTF-8 address as it was typed; a browser would have encoded it, and llhttp refuses it.
    """
    if data.isascii():
        return data
    line, newline, rest = data.partition(b"\n")
    return b"".join(map(_AS_ASCII.__getitem__, line)) + newline + rest
