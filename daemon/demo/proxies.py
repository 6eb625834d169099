"""The demo's forward proxies: plain HTTP and CONNECT tunnels, each leaving through the proxy's own loopback address."""

import ipaddress
import re
from http import HTTPStatus

import trio

from daemon.demo.wire import GONE, Connection, Request, answer

CONNECT_S_MAX = 10.0
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

_AUTHORITY = re.compile(r"([^/?#:@\[\]]+):(\d{1,5})", re.ASCII)
_ABSOLUTE = re.compile(r"http://([^/?#:@\[\]]+)(?::(\d{1,5}))?(?=[/?]|$)", re.IGNORECASE | re.ASCII)


class ForwardingError(Exception):
    """A request that the proxy cannot forward; the client gets this status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ProxyConnection:
    """One client's connection to a forward proxy.

    Upstream connections begin at the address `source`; one is kept open, to the host of the latest request. When either
    side closes, the other side is closed at once. Hosts under .example and .test are at `origin`, an IPv4 address and a
    port.
    """

    def __init__(self, stream: trio.abc.Stream, source: str, origin: tuple[str, int]) -> None:
        self.client = Connection(stream)
        self._source = source
        self._origin = origin
        self._upstream: Connection | None = None
        self._upstream_at: tuple[str, int] | None = None

    async def serve(self) -> None:
        """Serve requests until either side closes."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await self.client.serve(self.forward)
            except GONE:
                pass  # the client or the upstream closed: both connections end
            finally:
                self._close_upstream()
            nursery.cancel_scope.cancel()

    def end(self) -> None:
        self._nursery.cancel_scope.cancel()

    async def forward(self, request: Request) -> bool:
        """Send a request upstream. False: the client's connection ends."""
        try:
            if request.method == "CONNECT":
                await self._tunnel(request.target)
                return False
            await self._send_upstream(request)
        except ForwardingError as error:
            await self.send_back(answer(error.status, f"{error}\n".encode()))
            return True
        # After "Connection: close" the upstream closes behind its response, and `_relay` then ends both sides.
        return not request.closes or await self.client.stays(float("inf"))

    async def send_back(self, data: bytes) -> None:
        """Send the client a piece of a response, or from inside a tunnel."""
        await self.client.send(data)

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        """Return the IPv4 loopback address and port of a target's host. Raises ForwardingError."""
        host = host.lower()
        if host.endswith((".example", ".test")):
            return self._origin
        try:
            address = ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)
        except ValueError as unknown:
            raise ForwardingError(HTTPStatus.BAD_GATEWAY, f"no such host: {host}") from unknown
        if not address.is_loopback:
            raise ForwardingError(HTTPStatus.FORBIDDEN, "only loopback addresses are served")
        return str(address), port

    async def _send_upstream(self, request: Request) -> None:
        match = _ABSOLUTE.match(request.target)
        if match is None:
            raise ForwardingError(HTTPStatus.BAD_REQUEST, "the target is no absolute http URL")
        path = request.target[match.end() :]
        lines = [f"{request.method} {path if path.startswith('/') else f'/{path}'} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers if _is_forwarded(name)]
        if request.body:
            lines.append(f"content-length: {len(request.body)}")
        upstream = await self._connected(*self.resolve(match[1], int(match[2] or 80)))
        await upstream.send("\r\n".join([*lines, "", ""]).encode("latin-1") + request.body)

    async def _tunnel(self, target: str) -> None:
        match = _AUTHORITY.fullmatch(target)
        if match is None:
            raise ForwardingError(HTTPStatus.BAD_REQUEST, "the target is no host:port")
        at = self.resolve(match[1], int(match[2]))
        self._close_upstream()
        upstream = await self._connected(*at, greeting=ESTABLISHED)
        while data := await self.client.receive():
            await upstream.send(data)

    async def _connected(self, host: str, port: int, *, greeting: bytes = b"") -> Connection:
        """Return the connection to an address, the open one if it is there. `greeting` precedes what comes back."""
        if self._upstream is not None and self._upstream_at == (host, port):
            return self._upstream
        self._close_upstream()
        try:
            with trio.fail_after(CONNECT_S_MAX):
                stream = await trio.open_tcp_stream(host, port, local_address=self._source)
        except (OSError, trio.TooSlowError) as failed:
            status = HTTPStatus.BAD_GATEWAY if isinstance(failed, OSError) else HTTPStatus.GATEWAY_TIMEOUT
            raise ForwardingError(status, f"cannot reach {host}:{port}") from failed
        self._upstream, self._upstream_at = Connection(stream), (host, port)
        if greeting:
            await self.send_back(greeting)
        self._nursery.start_soon(self._relay, self._upstream)
        return self._upstream

    def _close_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    async def _relay(self, upstream: Connection) -> None:
        """Copy what comes back until the upstream closes; then end the client's connection too."""
        try:
            while data := await upstream.receive():
                await self.send_back(data)
        except trio.ClosedResourceError:
            return  # the client's next request went to another host
        except GONE:
            pass  # whichever side broke, both are closed below
        self.end()


def _is_forwarded(header: str) -> bool:
    """False for the proxy's own headers and for those of a body's framing, which is read and sent anew."""
    return not header.startswith("proxy-") and header not in ("content-length", "transfer-encoding")
