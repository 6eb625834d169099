"""Forward proxies on loopback: CONNECT and absolute-form HTTP, keep-alive, credentials; and ones that misbehave."""

import base64
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import trio

from tests.fakes.wire import Head, Reader, listening, reset

Misbehaviour = Callable[[trio.abc.Stream, Head], Awaitable[None]]
Server = Callable[[trio.abc.Stream], Awaitable[None]]
NO_HEAD = Head("", "", ())


@dataclass(slots=True)
class Proxy:
    """`ports` says where a `host:port` is on loopback; others get 502. `seen` holds the heads that clients sent.

    `tells` is a header line of its own in answers to CONNECT and in the responses that it relays. Where it misbehaves,
    it does so from its nth request on.
    `bytes_in` and `bytes_out` count what passed between clients and the proxy, as a provider's bill does.
    """

    ports: Mapping[str, int]
    credentials: tuple[str, str] | None = None
    misbehave: Misbehaviour | None = None
    closes_after_answer: bool = False
    tells: str = ""
    misbehaves_from: int = 1
    seen: list[Head] = field(default_factory=list)
    connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        client = _Counted(stream, self)
        reader = Reader(client)
        while (head := await reader.head()) is not None:
            self.seen.append(head)
            if self.misbehave is not None and len(self.seen) >= self.misbehaves_from:
                await self.misbehave(client, head)
                return
            if not self._may(head):
                await client.send_all(
                    _answer(407, "Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="p"')
                )
                return
            if head.method == "CONNECT":
                await self._tunnel(client, reader, head.target)
                return
            if not await self._forward(client, head) or self.closes_after_answer:
                return

    def _may(self, head: Head) -> bool:
        if self.credentials is None:
            return True
        wanted = base64.b64encode(":".join(self.credentials).encode()).decode()
        return head.value("proxy-authorization") == f"Basic {wanted}"

    def _told(self) -> str:
        return f"{self.tells}\r\n" if self.tells else ""

    async def _reach(self, client: trio.abc.Stream, authority: str) -> trio.SocketStream | None:
        port = self.ports.get(authority)
        if port is None:
            await client.send_all(_answer(502, "Bad Gateway (name does not resolve)"))
            return None
        return await trio.open_tcp_stream("127.0.0.1", port)

    async def _tunnel(self, client: trio.abc.Stream, reader: Reader, authority: str) -> None:
        upstream = await self._reach(client, authority)
        if upstream is None:
            return
        async with upstream, trio.open_nursery() as nursery:
            await client.send_all(f"HTTP/1.1 200 Connection established\r\n{self._told()}\r\n".encode())
            nursery.start_soon(_copy, client, upstream, nursery.cancel_scope)
            nursery.start_soon(_copy, upstream, client, nursery.cancel_scope)

    async def _forward(self, client: trio.abc.Stream, head: Head) -> bool:
        """Relays one request; True if the client's connection can go on."""
        authority, _, path = head.target.removeprefix("http://").partition("/")
        upstream = await self._reach(client, authority if ":" in authority else f"{authority}:80")
        if upstream is None:
            return True
        async with upstream:
            lines = [f"{name}: {value}" for name, value in head.headers if not name.startswith("proxy-")]
            await upstream.send_all(
                "\r\n".join([f"{head.method} /{path} HTTP/1.1", *lines, "", ""]).encode("latin-1") + head.body
            )
            goes_on = False
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, client, nursery.cancel_scope)
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    goes_on = await _relay_answer(upstream, client, self._told().encode())
                nursery.cancel_scope.cancel()
            return goes_on


class _Counted(trio.abc.Stream):
    def __init__(self, stream: trio.abc.Stream, proxy: Proxy) -> None:
        self.inner, self._proxy = stream, proxy

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)
        self._proxy.bytes_out += len(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.inner.receive_some(max_bytes)
        self._proxy.bytes_in += len(data)
        return data

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()


async def _watch(client: trio.abc.Stream, relaying: trio.CancelScope) -> None:
    """Ends the relaying when the client leaves: a silent origin would keep it for ever."""
    assert isinstance(client, _Counted)
    if not isinstance(client.inner, trio.SocketStream):
        return  # TLS cannot be peeked at
    with contextlib.suppress(OSError):
        if await client.inner.socket.recv(1, socket.MSG_PEEK):
            return  # the next request
    relaying.cancel()


async def _relay_answer(upstream: trio.SocketStream, client: trio.abc.Stream, told: bytes) -> bool:
    """Relays a head and a body of known length and keeps the client; anything else until the origin closes.

    `told` goes in after the first line.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        more = await upstream.receive_some(65_536)
        if not more:
            await client.send_all(received)
            return False
        received += more
        if not told:
            await client.send_all(more)  # drips are passed on as they come
    if told:
        await client.send_all(received.replace(b"\r\n", b"\r\n" + told, 1))
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].partition(b":")[2]) - len(body) if lengths else None
    while left is None or left > 0:
        more = await upstream.receive_some(65_536)
        if not more:
            return False
        await client.send_all(more)
        left = None if left is None else left - len(more)
    return True


async def _copy(source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(65_536):
            await sink.send_all(data)
    both.cancel()


def _answer(status: int, reason: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", *headers, "Content-Length: 0", "", ""]).encode()


def answering(status: int) -> Misbehaviour:
    """Answers every request, CONNECT too, with this status."""

    async def misbehave(stream: trio.abc.Stream, head: Head) -> None:
        await stream.send_all(_answer(status, "As The Test Says"))

    return misbehave


def sending(data: bytes) -> Misbehaviour:
    """Sends these bytes and closes."""

    async def misbehave(stream: trio.abc.Stream, head: Head) -> None:
        await stream.send_all(data)

    return misbehave


async def closing(stream: trio.abc.Stream, head: Head) -> None:
    """Closes without an answer."""


async def resetting(stream: trio.abc.Stream, head: Head) -> None:
    """Resets the connection without an answer."""
    reset(stream.inner if isinstance(stream, _Counted) else stream)


async def opening_nothing(stream: trio.abc.Stream, head: Head) -> None:
    """Says that the tunnel stands, and nothing more."""
    await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await silent(stream, head)


async def silent(stream: trio.abc.Stream, head: Head) -> None:
    """Reads on and says nothing until the client leaves."""
    while await stream.receive_some(65_536):
        continue


@contextlib.asynccontextmanager
async def proxy(
    ports: Mapping[str, int],
    *,
    credentials: tuple[str, str] | None = None,
    misbehave: Misbehaviour | None = None,
    closes_after_answer: bool = False,
    tells: str = "",
    tls: ssl.SSLContext | None = None,
    misbehaves_from: int = 1,
) -> AsyncIterator[tuple[Proxy, int]]:
    """A serving Proxy and its port; with `tls`, an https proxy."""
    served = Proxy(ports, credentials, misbehave, closes_after_answer, tells, misbehaves_from)
    async with listening(served.serve, tls=tls) as port:
        yield served, port
