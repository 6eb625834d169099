"""One connection to a proxy, with HTTP/1.1 to the proxy itself or to a target inside a tunnel.

httpx is not used: its client follows redirects, decodes bodies and logs URLs; its AsyncHTTPTransport accepts no network
backend; and httpcore's proxy pool opens a connection per target host even over plain http, where one connection to the
proxy serves all hosts.

Functions here raise the exceptions of trio, ssl, stream.py and http1.py. session.py turns them into a HopFailure, with
the phase in Progress.
"""

import math
import ssl
from dataclasses import dataclass
from typing import NamedTuple

import trio

from daemon.providers.answers import OwnAnswer
from daemon.providers.proxies import ProxyAddress, exit_ip_in
from daemon.trace.page.body import Body, Headers, PageBody
from daemon.trace.walk.steps import REDIRECT_STATUSES, Fetch
from daemon.trace.walk.verdicts import Failure, Phase
from daemon.trace.wire.http1 import Http1Client, RunEarly
from daemon.trace.wire.socks import open_socks_tunnel
from daemon.trace.wire.stream import HopError, WireStream
from daemon.web.headers import location_in, value_of

DRAIN_BYTES_MAX = 4_096
DRAIN_WAIT_S = 0.05  # for a redirect's body that did not come with its head; then a new connection is cheaper
HTTP_PORT, HTTPS_PORT = 80, 443


class Target(NamedTuple):
    """The end of a tunnel. `host` as in a URL: IPv6 addresses in brackets."""

    host: str
    port: int
    tls: bool


Key = Target | None  # None: plain http to the proxy itself, whatever the host


@dataclass(slots=True)
class Progress:
    """The state of a hop, for its HopFailure, and the limits of its tunnel."""

    head_bytes_max: int
    phase: Phase = Phase.DIAL
    stream: WireStream | None = None
    status: int | None = None
    own: OwnAnswer | None = None  # see `status`
    exit_ip: str | None = None
    tunnel_s: float = math.inf  # the time limit for the proxy to open a tunnel
    bytes_read_before: int = 0  # from the stream, when the request was sent

    @property
    def began_to_answer(self) -> bool:
        return self.stream is not None and self.stream.bytes_read > self.bytes_read_before


class ProxyConnection:
    """A connection for several hops, one after the other. The next hop may use it while `is_idle()`."""

    __slots__ = ("_http", "_proxy_headers", "phase", "stream")

    def __init__(
        self, stream: WireStream, phase: Phase, proxy_headers: list[tuple[str, str]], *, secure: bool = False
    ) -> None:
        """`phase`: FORWARD to the proxy itself; BEHIND in a tunnel, without `proxy_headers`. `secure`: for https."""
        self.stream = stream
        self.phase = phase
        self._http = Http1Client(stream, may_cut=not secure)
        self._proxy_headers = proxy_headers

    def close(self) -> None:
        self.stream.close()
        self._http.close()

    def is_idle(self) -> bool:
        return self._http.idle

    async def request(self, fetch: Fetch, *, head_bytes_max: int) -> tuple[int, Headers]:
        """The status and headers of one request. Raises TooManyBytes for a larger head."""
        _, _, host, rest = fetch.url.split("/", 3)
        headers = [("Host", host), *fetch.headers]
        if fetch.method == "POST":
            headers.append(("Content-Length", str(len(fetch.body))))
        headers += self._proxy_headers
        # Absolute form to a proxy (RFC 9112, 3.2.2).
        target = fetch.url if self.phase is Phase.FORWARD else f"/{rest}"
        self.stream.allow(head_bytes_max)
        status, answered = await self._http.ask(fetch.method, target, headers, fetch.body)
        if status in REDIRECT_STATUSES and _is_small(answered) and location_in(answered) is not None:
            await self._http.drain(DRAIN_BYTES_MAX, DRAIN_WAIT_S)
        return status, answered

    async def read(self, body: Body, answered: Headers, wait_s: float, run_early: RunEarly | None) -> None:
        """Feeds the answer's body to `body`. Drains the small rest of a page with a jump, to keep the connection."""
        await self._http.read(body, wait_s, run_early)
        if isinstance(body, PageBody) and body.page.jump is not None and not self.is_idle() and _is_small(answered):
            await self._http.drain(DRAIN_BYTES_MAX, DRAIN_WAIT_S)


async def open_tunnel(
    stream: WireStream, target: Target, proxy: ProxyAddress, context: ssl.SSLContext, progress: Progress
) -> ProxyConnection:
    """A tunnel, with TLS inside it if the target has TLS. The caller closes `stream` on failure."""
    progress.phase, progress.stream = Phase.TUNNEL, stream
    with trio.move_on_after(progress.tunnel_s) as opening:
        if proxy.scheme == "socks5":
            await open_socks_tunnel(stream, target.host, target.port, proxy.username, proxy.password)
        else:
            await _connect(stream, target, proxy, progress)
    if opening.cancelled_caught:
        raise HopError(Failure.SLOW)
    if target.tls:
        progress.phase = Phase.TLS
        # Certificates have hosts without a final dot, and IPv6 addresses without brackets.
        stream = await stream.start_tls(context, target.host.strip("[]").rstrip("."))
    return ProxyConnection(stream, Phase.BEHIND, [], secure=target.tls)


async def _connect(stream: WireStream, target: Target, proxy: ProxyAddress, progress: Progress) -> None:
    """CONNECT (RFC 9110, 9.3.6)."""
    authority = f"{target.host}:{target.port}"
    stream.allow(progress.head_bytes_max)
    headers = [("Host", authority), *authorization_of(proxy)]
    http = Http1Client(stream)
    try:
        status, answered = await http.ask("CONNECT", authority, headers)
    finally:
        http.close()
    progress.exit_ip = exit_ip_in(answered, proxy.exit_ip_header)
    if not 200 <= status <= 299:
        progress.status = status
        progress.own = proxy.own_answer(status, answered, tunnel=True)
        raise HopError(Failure.STATUS)


def key_of(url: str, proxy: ProxyAddress, *, tunnels: bool = False) -> Key:
    """The kind of connection that a hop to `url` (see Fetch.url) needs. `tunnels`: also for plain http."""
    tls = url.startswith("https:")
    if not (tls or tunnels or proxy.scheme == "socks5"):
        return None
    authority = url.split("/", 3)[2]
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):  # a colon within the brackets of an IPv6 address
        return Target(authority, HTTPS_PORT if tls else HTTP_PORT, tls)
    return Target(host, int(port), tls)


def authorization_of(proxy: ProxyAddress) -> list[tuple[str, str]]:
    value = proxy.authorization
    return [] if value is None else [("Proxy-Authorization", value)]


def _is_small(headers: Headers) -> bool:
    """Whether a body is short enough to drain; so is one of unknown length, of which DRAIN_BYTES_MAX are read."""
    length = value_of(headers, b"content-length")
    return length is None or (length.isdigit() and int(length[:9]) <= DRAIN_BYTES_MAX)
