"""One connection to a proxy and the HTTP/1.1 spoken on it: with the proxy itself, or with a target inside a tunnel.

httpcore is httpx's own transport layer, and is used here without the layers above it: httpx's client follows, decodes
and logs what we must not, its AsyncHTTPTransport takes no network backend, and httpcore's proxy pool opens a connection
per target host even in plain http, where one connection to the proxy serves them all.

Raises whatever httpcore, trio and ssl raise, and backend.py's own; fetch.py gives these their names, by how far
Progress says the hop had come.
"""

import ssl
from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import cast

import httpcore
import trio
from ada_url import URL

from daemon.trace.backend import TooMuch, WireStream
from daemon.trace.proxies import ProxyAddress
from daemon.trace.steps import REDIRECT_STATUSES, Fetch
from daemon.trace.verdicts import Phase

DRAIN_BYTES_MAX = 4_096
DRAIN_WAIT_S = 0.05  # for a redirect's body that did not come with its head; past it a new connection is cheaper
_DEFAULT_PORTS = {"http:": 80, "https:": 443}

Headers = tuple[tuple[bytes, bytes], ...]
Key = tuple[str, int] | None  # the host and port that a tunnel leads to; None: plain http, whatever the host


class _Http(httpcore.AsyncHTTP11Connection):
    # h11's own bound on a head (100 KB here) must not come before ours: WireStream.allowance.
    MAX_INCOMPLETE_EVENT_SIZE = 4 * 1024 * 1024


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

    __slots__ = ("_http", "_origin", "_proxy_headers", "phase", "stream", "used")

    def __init__(self, stream: WireStream, origin: httpcore.Origin, proxy_headers: list[tuple[bytes, bytes]]) -> None:
        """`proxy_headers` go with every request: none inside a tunnel."""
        self.stream = stream
        self.phase = Phase.BEHIND if origin.scheme == b"https" else Phase.FORWARD
        self.used = False
        self._origin = origin
        self._http = _Http(origin, stream)
        self._proxy_headers = proxy_headers

    def is_idle(self) -> bool:
        return self._http.is_idle()

    def was_closed_by_peer(self) -> bool:
        return self._http.has_expired()

    async def request(self, fetch: Fetch, url: URL, *, head_bytes_max: int) -> tuple[int, Headers]:
        """The status and headers of one GET; `url` is `fetch.url`, parsed. TooMuch where the head is larger."""
        headers = [(b"Host", url.host.encode("ascii"))]
        headers += [(name.encode("ascii"), value.encode("latin-1")) for name, value in fetch.headers]
        headers += self._proxy_headers
        # Absolute form to a proxy (RFC 9112, 3.2.2).
        target = url.href if self.phase is Phase.FORWARD else url.pathname + url.search
        self.stream.allowance = head_bytes_max
        response = await self._http.handle_async_request(_request(b"GET", self._origin, target, headers))
        if response.status in REDIRECT_STATUSES:
            await _drain(response, self.stream)
        return response.status, tuple(response.headers)


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
        origin = proxy_origin(proxy)
        response = await _Http(origin, stream).handle_async_request(_request(b"CONNECT", origin, authority, headers))
        if not 200 <= response.status <= 299:
            progress.status = response.status
            raise Refused
        progress.phase = Phase.TLS
        # Certificates name hosts without the root's dot, and addresses without brackets.
        encrypted = await stream.start_tls(context, host.strip("[]").rstrip("."))
    except BaseException:
        stream.close()
        raise
    return Line(encrypted, httpcore.Origin(b"https", host.encode("ascii"), port), [])


def key_of(url: URL) -> Key:
    """Which connection a hop to `url` needs."""
    return (
        (url.hostname, int(url.port) if url.port else _DEFAULT_PORTS[url.protocol])
        if url.protocol == "https:"
        else None
    )


def proxy_origin(proxy: ProxyAddress) -> httpcore.Origin:
    return httpcore.Origin(b"http", proxy.host.encode("ascii"), proxy.port)


def authorization_of(proxy: ProxyAddress) -> list[tuple[bytes, bytes]]:
    value = proxy.authorization
    return [] if value is None else [(b"Proxy-Authorization", value)]


def _request(
    method: bytes, origin: httpcore.Origin, target: str, headers: list[tuple[bytes, bytes]]
) -> httpcore.Request:
    url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target.encode("ascii"))
    return httpcore.Request(method, url, headers=headers)


async def _drain(response: httpcore.Response, stream: WireStream) -> None:
    """Reads a small body to its end, or leaves the connection to be closed. Never a failure of the hop."""
    for name, value in response.headers:
        if name.lower() == b"content-length" and not (value.isdigit() and int(value[:9]) <= DRAIN_BYTES_MAX):
            return
    stream.allowance = DRAIN_BYTES_MAX
    with trio.move_on_after(DRAIN_WAIT_S):
        try:
            # To the end, or to an error: trio would finalise a generator that is left half-way, with a warning.
            async for _ in cast(AsyncIterable[bytes], response.stream):
                continue
            await response.aclose()
        except (httpcore.NetworkError, httpcore.ProtocolError, TooMuch):
            return  # the answer's head is what counts; a connection that is not idle then is closed by its owner
