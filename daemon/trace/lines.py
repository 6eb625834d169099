"""One connection to a proxy and the HTTP/1.1 spoken on it: with the proxy itself, or with a target inside a tunnel.

httpx is not used: its client follows, decodes and logs what we must not, its AsyncHTTPTransport takes no network
backend, and httpcore's proxy pool below it opens a connection per target host even in plain http, where one connection
to the proxy serves them all. What is left of that stack is h11 (exchange.py).

Raises whatever h11, trio and ssl raise, and backend.py's own; fetch.py gives these their names, by how far
Progress says the hop had come.
"""

import ssl
from dataclasses import dataclass

from ada_url import URL

from daemon.trace.backend import WireStream
from daemon.trace.exchange import Exchange, Headers
from daemon.trace.proxies import ProxyAddress
from daemon.trace.steps import REDIRECT_STATUSES, Fetch
from daemon.trace.verdicts import Phase

DRAIN_BYTES_MAX = 4_096
DRAIN_WAIT_S = 0.05  # for a redirect's body that did not come with its head; past it a new connection is cheaper
_DEFAULT_PORTS = {"http:": 80, "https:": 443}

Key = tuple[str, int] | None  # the host and port that a tunnel leads to; None: plain http, whatever the host


class Refused(Exception):
    """CONNECT was answered with another status than 2xx."""


@dataclass(slots=True)
class Progress:
    """How far a hop has come; what is known when it fails."""

    phase: Phase = Phase.DIAL
    stream: WireStream | None = None
    status: int | None = None


class Line:
    """A connection that hops can use one after the other while `is_idle()`."""

    __slots__ = ("_exchange", "_proxy_headers", "phase", "stream", "used")

    def __init__(self, stream: WireStream, phase: Phase, proxy_headers: list[tuple[bytes, bytes]]) -> None:
        """`phase`: FORWARD to the proxy itself, BEHIND a tunnel; there are no `proxy_headers` there."""
        self.stream = stream
        self.phase = phase
        self.used = False
        self._exchange = Exchange(stream)
        self._proxy_headers = proxy_headers

    def is_idle(self) -> bool:
        return self._exchange.idle

    def was_closed_by_peer(self) -> bool:
        return self.stream.is_readable()

    async def request(
        self, fetch: Fetch, url: URL, *, head_bytes_max: int, body_bytes_max: int = 0
    ) -> tuple[int, Headers, bytes]:
        """The status and headers of one GET, and the first `body_bytes_max` of its body; `url` is `fetch.url`, parsed.

        TooMuch where the head is larger than `head_bytes_max`.
        """
        headers = [(b"Host", url.host.encode("ascii"))]
        headers += [(name.encode("ascii"), value.encode("latin-1")) for name, value in fetch.headers]
        headers += self._proxy_headers
        # Absolute form to a proxy (RFC 9112, 3.2.2).
        target = url.href if self.phase is Phase.FORWARD else url.pathname + url.search
        self.stream.allowance = head_bytes_max
        status, answered = await self._exchange.ask(b"GET", target.encode("ascii"), headers)
        if status in REDIRECT_STATUSES and _is_small(answered):
            await self._exchange.drain(DRAIN_BYTES_MAX, DRAIN_WAIT_S)
        elif body_bytes_max:
            return status, answered, await self._exchange.body(body_bytes_max)
        return status, answered, b""


async def open_tunnel(
    stream: WireStream,
    key: tuple[str, int],
    proxy: ProxyAddress,
    context: ssl.SSLContext,
    progress: Progress,
    *,
    head_bytes_max: int,
) -> Line:
    """CONNECT (RFC 9110, 9.3.6) and TLS with the target. `stream` is closed where that fails."""
    host, port = key
    authority = f"{host}:{port}"
    try:
        progress.phase, progress.stream = Phase.TUNNEL, stream
        stream.allowance = head_bytes_max
        headers = [(b"Host", authority.encode("ascii")), *authorization_of(proxy)]
        status, _ = await Exchange(stream).ask(b"CONNECT", authority.encode("ascii"), headers)
        if not 200 <= status <= 299:
            progress.status = status
            raise Refused
        progress.phase = Phase.TLS
        # Certificates name hosts without the root's dot, and addresses without brackets.
        encrypted = await stream.start_tls(context, host.strip("[]").rstrip("."))
    except BaseException:
        stream.close()
        raise
    return Line(encrypted, Phase.BEHIND, [])


def key_of(url: URL) -> Key:
    """Which connection a hop to `url` needs."""
    return (
        (url.hostname, int(url.port) if url.port else _DEFAULT_PORTS[url.protocol])
        if url.protocol == "https:"
        else None
    )


def authorization_of(proxy: ProxyAddress) -> list[tuple[bytes, bytes]]:
    value = proxy.authorization
    return [] if value is None else [(b"Proxy-Authorization", value)]


def _is_small(headers: Headers) -> bool:
    """Whether a body of a known length is worth reading; one of an unknown length is, as far as it goes."""
    return all(
        value.isdigit() and int(value[:9]) <= DRAIN_BYTES_MAX
        for name, value in headers
        if name.lower() == b"content-length"
    )
