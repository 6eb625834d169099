"""Forward proxies on loopback: `Visit` is what the demo's proxies and the tests' share, `Proxy` one of the demo's.

A proxy copies a response as it arrives. h11 reads along, for the log only: its status, its Location, and its end.
"""

import ipaddress
import itertools
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import h11
import trio

from daemon.demo.events import TARGET_CHARS_MAX, EventLog, ProxyEvent
from daemon.demo.modes import Mode
from daemon.demo.wire import GONE, HEAD_BYTES_MAX, RECEIVE_BYTES_MAX, Connection, Request, answer, reset, unsent

CONNECT_S_MAX = 10.0

_AUTHORITY = re.compile(r"([^/?#:@\[\]]+):(\d{1,5})", re.ASCII)
_ABSOLUTE = re.compile(r"http://([^/?#:@\[\]]+)(?::(\d{1,5}))?(?=[/?]|$)", re.IGNORECASE | re.ASCII)
_CID = re.compile(rb"[?&]cid=(\d{1,18})")

Names = Mapping[str, tuple[str, int]]
"""From `name:port`, `name` or `*.top` (looked up in this order) to an IPv4 loopback address and a port."""


class Refused(Exception):
    """The proxy answers with an error of its own."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Visit:
    """One client's connection to a forward proxy that exits at `source`.

    It keeps one connection to where its client last went; when either side closes, so does the other, at once. A client
    that sends a second request before the first one's answer has ended is served, but `status` then mixes the two.
    """

    established = b"HTTP/1.1 200 Connection established\r\n\r\n"

    def __init__(self, stream: trio.abc.Stream, source: str = "127.0.0.1") -> None:
        self.client = Connection(stream)
        self.source = source
        self.status, self.location = 0, b""
        """Of the newest answer."""
        self._upstream: trio.SocketStream | None = None
        self._upstream_at: tuple[str, int] | None = None
        self._reading: h11.Connection | None = None

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        """Where a host of a target is on loopback. Raises Refused."""
        raise NotImplementedError

    async def admits(self, request: Request) -> bool:
        """Called before a request goes on. False ends the connection."""
        return True

    async def passes(self, data: bytes) -> bool:
        """Pass on a piece that came back. False ends the connection."""
        await self.client.send(data)
        return True

    def answered(self) -> None:
        """Called when an answer has ended."""

    async def serve(self) -> None:
        """Until either side closes."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await self.client.serve(self._exchange)
            except GONE:
                pass  # the client or the upstream went: both connections end
            finally:
                self._leave()
            nursery.cancel_scope.cancel()

    def end(self) -> None:
        self._nursery.cancel_scope.cancel()

    async def reply(self, status: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        """Answer in the proxy's own name."""
        await self.client.send(answer(status, body, *headers))
        self.status = status
        self.answered()

    async def _exchange(self, request: Request) -> bool:
        self._reading = None
        if not await self.admits(request):
            return False
        try:
            if request.method == "CONNECT":
                await self._tunnel(request.target)
                return False
            await self._forward(request)
        except Refused as refused:
            await self.reply(refused.status, f"{refused}\n".encode())
            return True
        return not request.closes or await self.client.stays(float("inf"))  # `_relay` ends it with the answer

    async def _forward(self, request: Request) -> None:
        match = _ABSOLUTE.match(request.target)
        if match is None:
            raise Refused(HTTPStatus.BAD_REQUEST, "the target is no absolute http URL")
        path = request.target[match.end() :]
        headers = [
            (name.encode(), value.encode("latin-1")) for name, value in request.headers if not name.startswith("proxy-")
        ]
        reading = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        try:
            head = h11.Request(
                method=request.method, target=path if path.startswith("/") else f"/{path}", headers=headers
            )
        except h11.LocalProtocolError as bad:  # HTTP/1.0 without Host
            raise Refused(HTTPStatus.BAD_REQUEST, str(bad)) from bad
        body = [h11.Data(request.body)] if request.body else []
        pieces = (reading.send(event) for event in (head, *body, h11.EndOfMessage()))
        data = b"".join(piece for piece in pieces if piece)
        upstream = await self._reach(match[1], int(match[2] or 80))
        self._reading = reading
        await upstream.send_all(data)

    async def _tunnel(self, target: str) -> None:
        match = _AUTHORITY.fullmatch(target)
        if match is None:
            raise Refused(HTTPStatus.BAD_REQUEST, "the target is no host:port")
        upstream = await self._reach(match[1], int(match[2]), tunnel=True)
        while data := await self.client.receive():
            await upstream.send_all(data)

    async def _reach(self, host: str, port: int, *, tunnel: bool = False) -> trio.SocketStream:
        """The connection to an address, the standing one if it goes there. A tunnel is confirmed before it carries."""
        at = self.resolve(host, port)
        if self._upstream is not None and self._upstream_at == at and not tunnel:
            return self._upstream
        self._leave()
        try:
            with trio.fail_after(CONNECT_S_MAX):
                upstream = await trio.open_tcp_stream(*at, local_address=self.source)
        except (OSError, trio.TooSlowError) as failed:
            status = HTTPStatus.BAD_GATEWAY if isinstance(failed, OSError) else HTTPStatus.GATEWAY_TIMEOUT
            raise Refused(status, f"cannot reach {at[0]}:{at[1]}") from failed
        self._upstream, self._upstream_at = upstream, at
        if tunnel:
            await self.client.send(self.established)
            self.status = HTTPStatus.OK
        self._nursery.start_soon(self._relay, upstream)
        return upstream

    def _leave(self) -> None:
        if self._upstream is not None:
            self._upstream.socket.close()
            self._upstream = self._upstream_at = None

    async def _relay(self, upstream: trio.SocketStream) -> None:
        """Copy what comes back until that side closes; then the client's connection ends too."""
        try:
            while data := await upstream.receive_some(RECEIVE_BYTES_MAX):
                reading = self._reading
                ended = reading is not None and self._read_along(reading, data)
                if not await self.passes(bytes(data)):
                    break
                if ended and reading is self._reading:
                    self._reading = None
                    self.answered()
        except trio.ClosedResourceError:
            return  # the client went on to another host
        except (trio.BrokenResourceError, OSError):
            pass  # whichever side broke the connection, the other one is closed below
        self.end()

    def _read_along(self, reading: h11.Connection, data: bytes) -> bool:
        """True once the answer has ended."""
        try:
            reading.receive_data(data)
            while (event := reading.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response | h11.InformationalResponse):
                    self.status = event.status_code
                    self.location = next((value for name, value in event.headers if name == b"location"), b"")
                elif isinstance(event, h11.EndOfMessage):
                    return True
        except h11.RemoteProtocolError:
            self._reading = None  # it is passed on as it is, and only the close tells its end
        return False


@dataclass(slots=True)
class Proxy:
    """A demo proxy at one address of the pool, failing as `mode` says. `numbers` is shared by all proxies."""

    address: str
    names: Names
    log: EventLog
    numbers: "itertools.count[int]"
    mode: Mode | None = None

    async def serve(self, client: trio.SocketStream) -> None:
        visit = _DemoVisit(self, client)
        try:
            await visit.serve()
        finally:
            visit.record(unsent(client))


class _DemoVisit(Visit):
    def __init__(self, proxy: Proxy, client: trio.SocketStream) -> None:
        super().__init__(client, proxy.address)
        self._proxy = proxy
        self._number = next(proxy.numbers)
        self._request: Request | None = None
        self._wall_s = self._began_s = 0.0
        self._counted = (0, 0)
        """Bytes in and out of the connection that belong to earlier requests."""
        self._passed = 0

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        host = host.lower()
        for key in (f"{host}:{port}", host, "*." + host.rpartition(".")[2]):
            if key in self._proxy.names:
                return self._proxy.names[key]
        try:
            loopback = host == "localhost" or ipaddress.IPv4Address(host).is_loopback
        except ValueError as unknown:
            raise Refused(HTTPStatus.BAD_GATEWAY, f"no such host: {host}") from unknown
        if not loopback:
            raise Refused(HTTPStatus.FORBIDDEN, "only loopback addresses are served")
        return "127.0.0.1" if host == "localhost" else host, port

    async def admits(self, request: Request) -> bool:
        """Do what the mode says."""
        self.record()
        self._request, self._wall_s, self._began_s = request, time.time(), time.monotonic()
        self.status, self.location, self._passed = 0, b"", 0
        mode = self._proxy.mode
        if mode is None or mode.kind in ("refuse", "close_after"):
            return True
        if mode.kind == "delay":
            return await self.client.stays(mode.delay_s)
        if mode.kind == "silent":
            await self.client.stays(float("inf"))
        elif mode.kind == "reset":
            self.record()
            reset(self.client.stream)
        else:
            extra = [("Proxy-Authenticate", 'Basic realm="demo"')] if mode.status == 407 else []
            await self.reply(mode.status, b"set to fail\n", *extra, ("Connection", "close"))
        return False

    async def passes(self, data: bytes) -> bool:
        mode = self._proxy.mode
        if mode is None or mode.kind != "close_after":
            return await super().passes(data)
        data = data[: max(0, mode.bytes_max - self._passed)]
        await self.client.send(data)
        self._passed += len(data)
        return self._passed < mode.bytes_max

    def answered(self) -> None:
        self.record()

    def record(self, untaken_bytes: int = 0) -> None:
        """Record the request, if one is open: it ends now. Bytes that a client left without are not counted."""
        if (request := self._request) is None:
            return
        self._request = None
        cid = _CID.search(self.location) or _CID.search(request.target.encode())
        bytes_in, bytes_out = self.client.bytes_in, self.client.bytes_out
        event = ProxyEvent(
            self._wall_s,
            self._began_s,
            time.monotonic(),
            self._proxy.address,
            self._number,
            request.target[:TARGET_CHARS_MAX],
            int(cid[1]) if cid else None,
            int(self.status),
            bytes_in - self._counted[0],
            bytes_out - self._counted[1] - untaken_bytes,
        )
        self._counted = (bytes_in, bytes_out)
        self._proxy.log.record(event)
