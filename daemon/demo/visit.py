"""One client's connection to a demo proxy: its requests, where they go and what comes back.

An answer is copied as it arrives; of its head only the status, Content-Length and a chain's click id are looked at, for
the log. The connection keeps one connection to where its client last went; when either side closes, so does the other,
at once. A client that sends a second request before the first one's answer has ended is served, but logged wrongly.
"""

import ipaddress
import itertools
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import trio

from daemon.demo.events import TARGET_CHARS_MAX, EventLog, ProxyEvent
from daemon.demo.modes import Mode
from daemon.demo.wire import BadRequest, Peer, Request, answer, connect

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})", re.IGNORECASE)
_LOCATION_CID = re.compile(rb"\r\nlocation:[^\r]*?[?&]cid=(\d{1,18})", re.IGNORECASE)
_TARGET_CID = re.compile(rb"[?&]cid=(\d{1,18})")
_PROXY_FIELD = re.compile(rb"\r\nproxy-[^\r]*", re.IGNORECASE)
_ABSOLUTE = re.compile(rb"http://([A-Za-z0-9._-]+)(?::(\d{1,5}))?(?=[/?]|$)", re.IGNORECASE)
_AUTHORITY = re.compile(rb"([A-Za-z0-9._-]+):(\d{1,5})")

Resolve = Mapping[str, tuple[str, int]]
"""From `name:port`, `name` or `*.top` (looked up in this order) to an IPv4 loopback address and a port."""


class Proxy:
    """The proxy of one pool address."""

    def __init__(self, address: str, resolve: Resolve, log: EventLog, numbers: "itertools.count[int]") -> None:
        self.address = address
        self.log = log
        self.numbers = numbers
        self.mode: Mode | None = None
        self._resolve = resolve

    def resolve(self, name: str, port: int) -> tuple[str, int]:
        name = name.lower()
        for key in (f"{name}:{port}", name, "*." + name.rpartition(".")[2]):
            if key in self._resolve:
                return self._resolve[key]
        try:
            loopback = name == "localhost" or ipaddress.IPv4Address(name).is_loopback
        except ValueError as unknown:
            raise _Refused(502, f"no such host: {name}") from unknown
        if not loopback:
            raise _Refused(403, "only loopback addresses are served")
        return "127.0.0.1" if name == "localhost" else name, port

    async def serve(self, client: Peer, _: str) -> None:
        async with trio.open_nursery() as nursery:
            visit = _Visit(self, client, nursery)
            try:
                await visit.requests()
            except OSError:
                pass  # the client or the upstream went: both connections end
            finally:
                visit.finish(left=True)
                visit.leave()
            nursery.cancel_scope.cancel()


class _Refused(Exception):
    """The proxy answers with an error of its own."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.response = answer(status, f"{reason}\n".encode())


@dataclass(slots=True)
class _Exchange:
    """One request and what has come back for it."""

    wall_s: float
    began_s: float
    target: bytes
    bodiless: bool
    bytes_in: int
    accepted_before: int
    """By the client's connection, when the exchange began."""
    cid: int | None
    status: int = 0
    bytes_out: int = 0
    """Of the answer, or from inside a tunnel."""
    bytes_expected: int = -1
    """Length of the whole answer, -1 while unknown: then only the next request or the close tells its end."""

    def begin_answer(self, data: bytes) -> None:
        if (status := _STATUS.match(data)) is None:
            return
        self.status = int(status[1])
        end = data.find(b"\r\n\r\n") + 4
        if self.status < 200 or end < 4:
            return
        if minted := _LOCATION_CID.search(data, 0, end):
            self.cid = int(minted[1])
        if self.bodiless or self.status in (204, 304):
            self.bytes_expected = end
        elif length := _CONTENT_LENGTH.search(data, 0, end):
            self.bytes_expected = end + int(length[1])


class _Visit:
    """One client's connection to one proxy."""

    def __init__(self, proxy: Proxy, client: Peer, nursery: trio.Nursery) -> None:
        self.proxy = proxy
        self.client = client
        self.nursery = nursery
        self.number = next(proxy.numbers)
        self.exchange: _Exchange | None = None
        self.upstream: Peer | None = None
        self.upstream_at: tuple[str, int] | None = None

    async def requests(self) -> None:
        """Serve the client's requests until it leaves. Raises OSError when it does so rudely."""
        while True:  # bounded by the connection's life
            try:
                request = await self.client.head()
            except BadRequest as bad:
                await self.client.send(answer(400, str(bad).encode(), b"Connection: close"))
                return
            if request is None:
                return
            self.finish()
            self.begin(request)
            if not await self.misbehave():
                return
            try:
                await self.forward(request)
            except _Refused as refused:
                if not await self.client.body(request.body_bytes, _forget):
                    return
                await self.reply(refused.response)
                if request.closes:
                    return

    def begin(self, request: Request) -> None:
        cid = _TARGET_CID.search(request.target)
        # The separators that `Request` leaves out: two spaces; the fields hold the request line's own CRLF.
        head_bytes = len(request.method) + len(request.target) + len(request.version) + 2 + len(request.fields)
        self.exchange = _Exchange(
            wall_s=time.time(),
            began_s=time.monotonic(),
            target=request.target,
            bodiless=request.method == b"HEAD",
            bytes_in=head_bytes,
            accepted_before=self.client.accepted,
            cid=int(cid[1]) if cid else None,
        )

    def finish(self, *, left: bool = False) -> None:
        """Record the exchange, if one is open: it ends now. What a client that `left` never took is not counted."""
        if (done := self.exchange) is None:
            return
        self.exchange = None
        bytes_out = self.client.accepted - done.accepted_before - (self.client.unsent() if left else 0)
        event = ProxyEvent(
            done.wall_s,
            done.began_s,
            time.monotonic(),
            self.proxy.address,
            self.number,
            done.target[:TARGET_CHARS_MAX].decode("latin-1"),
            done.cid,
            done.status,
            done.bytes_in,
            bytes_out,
        )
        self.proxy.log.record(event)

    async def misbehave(self) -> bool:
        """Do what the mode says; False ends the connection."""
        mode = self.proxy.mode
        if mode is None or mode.kind in ("refuse", "close_after"):
            return True
        if mode.kind == "delay":
            return await self.client.stays(mode.delay_s)
        if mode.kind == "silent":
            await self.client.stays(float("inf"))
        elif mode.kind == "reset":
            self.finish()
            self.client.reset()
        else:
            extra = (b'Proxy-Authenticate: Basic realm="demo"',) if mode.status == 407 else ()
            await self.reply(answer(mode.status, b"set to fail\n", *extra, b"Connection: close"))
        return False

    async def forward(self, request: Request) -> None:
        if request.method == b"CONNECT":
            await self.tunnel(request)
            return
        match = _ABSOLUTE.match(request.target)
        if match is None:
            raise _Refused(400, "the target is no absolute http URL")
        upstream = await self.reach(self.proxy.resolve(match[1].decode(), int(match[2] or 80)))
        path = request.target[match.end() :]
        if not path.startswith(b"/"):
            path = b"/" + path
        fields = _PROXY_FIELD.sub(b"", request.fields)
        await upstream.send(b"%b %b %b%b" % (request.method, path, request.version, fields))
        if request.body_bytes and not await self.client.body(request.body_bytes, self.upload):
            self.nursery.cancel_scope.cancel()

    async def tunnel(self, request: Request) -> None:
        match = _AUTHORITY.fullmatch(request.target)
        if match is None:
            raise _Refused(400, "the target is no host:port")
        upstream = await self.reach(self.proxy.resolve(match[1].decode(), int(match[2])), greet=True)
        while data := await self.client.receive():
            if self.exchange is not None:
                self.exchange.bytes_in += len(data)
            await upstream.send(data)
        self.nursery.cancel_scope.cancel()

    async def upload(self, data: bytes) -> None:
        if self.exchange is not None and self.upstream is not None:
            self.exchange.bytes_in += len(data)
            await self.upstream.send(data)

    async def reach(self, at: tuple[str, int], *, greet: bool = False) -> Peer:
        """The connection to an address, the standing one if it goes there. `greet` answers a CONNECT first."""
        if self.upstream is not None and self.upstream_at == at and not greet:
            return self.upstream
        self.leave()
        try:
            upstream = await connect(self.proxy.address, *at)
        except OSError as failed:
            raise _Refused(
                504 if isinstance(failed, TimeoutError) else 502, f"cannot reach {at[0]}:{at[1]}"
            ) from failed
        self.upstream, self.upstream_at = upstream, at
        if greet and self.exchange is not None:
            await self.client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.exchange.status = 200
        self.nursery.start_soon(self.relay, upstream)
        return upstream

    def leave(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
            self.upstream = self.upstream_at = None

    async def relay(self, upstream: Peer) -> None:
        """Copy what comes back until that side closes; then the client's connection ends too."""
        try:
            while data := await upstream.receive():
                exchange = self.exchange
                if exchange is None:
                    await self.client.send(data)
                    continue
                if exchange.status < 200:
                    exchange.begin_answer(data)
                mode = self.proxy.mode
                if mode is not None and mode.kind == "close_after":
                    data = data[: max(0, mode.bytes_max - exchange.bytes_out)]
                await self.client.send(data)
                exchange.bytes_out += len(data)
                if mode is not None and mode.kind == "close_after" and exchange.bytes_out >= mode.bytes_max:
                    break
                if exchange.bytes_out == exchange.bytes_expected and exchange is self.exchange:
                    self.finish()
        except trio.ClosedResourceError:
            return  # the client went on to another host
        except OSError:
            pass  # whichever side broke the connection, the other one is closed below
        self.nursery.cancel_scope.cancel()

    async def reply(self, response: bytes) -> None:
        """Answer in the proxy's own name."""
        await self.client.send(response)
        if self.exchange is not None:
            self.exchange.status = int(response[9:12])
            self.exchange.bytes_out = len(response)
            self.finish()


async def _forget(_: bytes) -> None:
    """The body of a request that is refused anyway."""
