"""Forward proxies on loopback: CONNECT and absolute-form HTTP, keep-alive, credentials; correct and faulty ones."""

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import httptools
import trio

from daemon.demo.proxies import ForwardingError, ProxyConnection
from daemon.demo.wire import Request, answer
from tests.fakes.wire import CountingConnection, listening, reset

Misbehaviour = Callable[[trio.abc.Stream, Request], Awaitable[None]]
Server = Callable[[trio.abc.Stream], Awaitable[None]]
NO_HEAD = Request("", "")


class ReadingProxy(ProxyConnection):
    """Reads the heads of the responses that it sends back; `status` and `location` are those of the newest response.

    A client that sends a second request before the response to the first has ended is served, but its responses are
    then mixed up here.
    """

    def __init__(self, stream: trio.abc.Stream, source: str, origin: tuple[str, int]) -> None:
        super().__init__(stream, source, origin)
        self.client: CountingConnection = CountingConnection(stream)
        self.status, self.location = 0, b""
        self._parser: httptools.HttpResponseParser | None = None
        self._has_ended = False

    def answered(self) -> None:
        """Called when a response has ended. One that ends with its connection has no other end."""

    def expect_answer(self, request: Request) -> None:
        """To be called before a request goes on."""
        self.status, self.location, self._has_ended = 0, b"", False
        self._parser = httptools.HttpResponseParser(self)

    async def send_back(self, data: bytes) -> None:
        if (parser := self._parser) is not None:
            try:
                parser.feed_data(data)
            except httptools.HttpParserError:
                self._parser = None  # it is sent back as it is; only the connection's end tells the response's end
        await super().send_back(data)
        if self._has_ended and parser is self._parser:
            self._parser, self._has_ended = None, False
            self.answered()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"location":
            self.location = value

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        self._has_ended = self.status >= HTTPStatus.OK  # not after "100 Continue"


@dataclass(slots=True)
class Proxy:
    """A forward proxy. `ports` maps `host:port` to a port on loopback; other hosts get 502. `seen` are its requests.

    `own_header` is a header line that the proxy adds to its answers to CONNECT and to the responses that it relays.
    It misbehaves from request number `misbehaves_from` on. If it `only_tunnels`, it answers all but CONNECT with 405.
    """

    ports: Mapping[str, int]
    credentials: tuple[str, str] | None = None
    misbehave: Misbehaviour | None = None
    closes_after_answer: bool = False
    own_header: str = ""
    misbehaves_from: int = 1
    only_tunnels: bool = False
    seen: list[Request] = field(default_factory=list)
    connections: int = 0
    _open: set[CountingConnection] = field(default_factory=set)
    _closed_bytes: tuple[int, int] = 0, 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        connection = _Connection(self, stream)
        self.connections += 1
        self._open.add(connection.client)
        try:
            await connection.serve()
        finally:
            self._open.remove(connection.client)
            bytes_in, bytes_out = self._closed_bytes
            self._closed_bytes = bytes_in + connection.client.bytes_in, bytes_out + connection.client.bytes_out

    @property
    def bytes_in(self) -> int:
        """Bytes from clients to the proxy, as a provider counts them."""
        return self._closed_bytes[0] + sum(client.bytes_in for client in self._open)

    @property
    def bytes_out(self) -> int:
        return self._closed_bytes[1] + sum(client.bytes_out for client in self._open)


class _Connection(ReadingProxy):
    def __init__(self, proxy: Proxy, stream: trio.abc.Stream) -> None:
        super().__init__(stream, "127.0.0.1", ("127.0.0.1", 0))
        self._proxy = proxy
        self._own_header = f"{proxy.own_header}\r\n".encode() if proxy.own_header else b""
        self._held: bytes | None = None

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        known = self._proxy.ports.get(f"{host}:{port}")
        if known is None:
            raise ForwardingError(502, "name does not resolve")
        return "127.0.0.1", known

    async def forward(self, request: Request) -> bool:
        proxy = self._proxy
        proxy.seen.append(request)
        if proxy.misbehave is not None and len(proxy.seen) >= proxy.misbehaves_from:
            await proxy.misbehave(self.client.stream, request)
            return False
        if proxy.credentials is not None:
            wanted = base64.b64encode(":".join(proxy.credentials).encode()).decode()
            if request.value("proxy-authorization") != f"Basic {wanted}":
                await self.client.send(answer(407, b"", ("Proxy-Authenticate", 'Basic realm="p"')))
                return False
        if proxy.only_tunnels and request.method != "CONNECT":
            await self.client.send(answer(405, b""))
            return False
        self._held = b"" if self._own_header else None
        self.expect_answer(request)
        return await super().forward(request)

    async def send_back(self, data: bytes) -> None:
        if self._held is not None:  # `own_header` goes in after the first line
            self._held += data
            if b"\r\n" not in self._held:
                return
            data, self._held = self._held.replace(b"\r\n", b"\r\n" + self._own_header, 1), None
        await super().send_back(data)

    def answered(self) -> None:
        if self._proxy.closes_after_answer:
            self.end()


def answering(status: int) -> Misbehaviour:
    """Answer every request, also CONNECT, with this status."""

    async def misbehave(stream: trio.abc.Stream, request: Request) -> None:
        await stream.send_all(answer(status, reason="As The Test Says"))

    return misbehave


def sending(data: bytes) -> Misbehaviour:
    """Send these bytes and close."""

    async def misbehave(stream: trio.abc.Stream, request: Request) -> None:
        await stream.send_all(data)

    return misbehave


async def closing(stream: trio.abc.Stream, request: Request) -> None:
    """Close without an answer."""


async def resetting(stream: trio.abc.Stream, request: Request) -> None:
    """Reset the connection without an answer."""
    reset(stream)


async def opening_nothing(stream: trio.abc.Stream, request: Request) -> None:
    """Confirm the tunnel, and send nothing more."""
    await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await silent(stream, request)


async def silent(stream: trio.abc.Stream, request: Request) -> None:
    """Read and send nothing until the client disconnects."""
    while await stream.receive_some(65_536):
        continue


@contextlib.asynccontextmanager
async def proxy(
    ports: Mapping[str, int],
    *,
    credentials: tuple[str, str] | None = None,
    misbehave: Misbehaviour | None = None,
    closes_after_answer: bool = False,
    own_header: str = "",
    tls: ssl.SSLContext | None = None,
    misbehaves_from: int = 1,
) -> AsyncIterator[tuple[Proxy, int]]:
    """Run a Proxy; yield it and its port. With `tls` it is an https proxy."""
    served = Proxy(ports, credentials, misbehave, closes_after_answer, own_header, misbehaves_from)
    async with listening(served.serve, tls=tls) as port:
        yield served, port
