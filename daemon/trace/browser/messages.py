"""HTTP/1.1 messages between the browser, the forwarder and the leased IP.

Only heads are read: requests are the browser's own, so they are well-formed; answers are relayed as they are, and the
browser judges them.
"""

from dataclasses import dataclass

import httptools

from daemon.trace.wire.connection import HTTP_PORT, HTTPS_PORT, Target
from daemon.web.addresses import host_and_port

_HOP_BY_HOP = frozenset({b"proxy-authorization", b"proxy-connection", b"connection", b"keep-alive"})
_SIGNS = (b"HTTP", b"ICY ")
_SIGN_BYTES = 8  # of an answer, after line breaks, within which browsers look for a sign
_INTERIM = range(100, 200)
_SWITCHING_PROTOCOLS = 101


class NotHttp(Exception):
    """A message is not HTTP."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the browser to its proxy. `path`: of the target, empty for CONNECT."""

    method: bytes
    target: Target
    path: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body_bytes: int

    @property
    def authorization(self) -> bytes | None:
        return next((value for name, value in self.headers if name.lower() == b"proxy-authorization"), None)

    def head(self, proxy_headers: bytes | None) -> bytes:
        """The request's head: in absolute form for the proxy, with its headers; None: for the target itself."""
        kept = b"".join(b"%s: %s\r\n" % pair for pair in self.headers if pair[0].lower() not in _HOP_BY_HOP)
        path = self.path
        if proxy_headers is not None:
            port = b"" if self.target.port == HTTP_PORT else b":%d" % self.target.port
            path = b"http://%s%s%s" % (self.target.host.encode(), port, self.path)
            kept += proxy_headers
        return b"%s %s HTTP/1.1\r\n%s\r\n" % (self.method, path, kept)


def asked_in(head: bytes) -> Asked:
    """Reads a request's head, without its empty line. Raises NotHttp."""
    try:
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        pairs = tuple((name, value.strip()) for name, _, value in (line.partition(b":") for line in lines))
        length = next((int(value) for name, value in pairs if name.lower() == b"content-length"), 0)
        if method == b"CONNECT":
            return Asked(method, _target(target.decode("ascii"), HTTPS_PORT), b"", pairs, 0)
        scheme, slashes, rest = target.partition(b"://")
        if scheme != b"http" or not slashes:
            raise NotHttp
        authority, slash, path = rest.partition(b"/")
        return Asked(method, _target(authority.decode("ascii"), HTTP_PORT), slash + path or b"/", pairs, length)
    except ValueError:
        raise NotHttp from None


def _target(authority: str, default_port: int) -> Target:
    """Raises ValueError. `tls` is the browser's own affair."""
    found = host_and_port(authority)
    if found is not None:
        host, port = found
        return Target(f"[{host}]" if ":" in host else host, port, tls=False)
    if not authority:
        raise ValueError(authority)
    return Target(authority, default_port, tls=False)


class Answer:
    """An answer that is being relayed. `held`: its bytes until `complete`, when its head is.

    `whole`: the answer has ended; `kept`: the connection can be used again. An answer that llhttp does not understand
    ends with its connection.
    """

    def __init__(self, method: bytes) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.held = bytearray()
        self.complete = self.whole = self.kept = False
        self._has_body = method != b"HEAD"
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_headers=True, lenient_optional_cr_before_lf=True)

    def feed(self, data: bytes) -> None:
        """Raises NotHttp if the head does not begin as one of HTTP."""
        if not self.complete:
            self.held += data
            begun = bytes(self.held[:1_024].lstrip(b"\r\n")[:_SIGN_BYTES]).upper()
            if len(begun) == _SIGN_BYTES and not any(sign in begun for sign in _SIGNS):
                raise NotHttp
        if self._parser is not None:
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                self._parser, self.complete = None, True

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status in _INTERIM and status != _SWITCHING_PROTOCOLS:
            self.headers.clear()
            return
        self.status, self.complete = status, True
        if not self._has_body:
            self.whole = True  # and its connection is not used again: llhttp waits for a body

    def on_message_complete(self) -> None:
        if self.complete and self._parser is not None and not self.whole:
            self.whole, self.kept = True, self._parser.should_keep_alive()
