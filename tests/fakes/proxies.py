"""Forward proxies on loopback: CONNECT and absolute-form HTTP, keep-alive, credentials; and ones that misbehave."""

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import trio

from daemon.demo.proxies import Refused, Visit
from daemon.demo.wire import Connection, Request, answer, reset
from tests.fakes.wire import listening

Misbehaviour = Callable[[trio.abc.Stream, Request], Awaitable[None]]
Server = Callable[[trio.abc.Stream], Awaitable[None]]
NO_HEAD = Request("", "")


@dataclass(slots=True)
class Proxy:
    """`ports` says where a `host:port` is on loopback; others get 502. `seen` holds the requests that clients sent.

    `tells` is a header line of its own in answers to CONNECT and in the responses that it relays. Where it misbehaves,
    it does so from its nth request on.
    """

    ports: Mapping[str, int]
    credentials: tuple[str, str] | None = None
    misbehave: Misbehaviour | None = None
    closes_after_answer: bool = False
    tells: str = ""
    misbehaves_from: int = 1
    seen: list[Request] = field(default_factory=list)
    connections: int = 0
    _open: set[Connection] = field(default_factory=set)
    _closed_bytes: tuple[int, int] = 0, 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        visit = _Visit(self, stream)
        self.connections += 1
        self._open.add(visit.client)
        try:
            await visit.serve()
        finally:
            self._open.remove(visit.client)
            bytes_in, bytes_out = self._closed_bytes
            self._closed_bytes = bytes_in + visit.client.bytes_in, bytes_out + visit.client.bytes_out

    @property
    def bytes_in(self) -> int:
        """The bytes between clients and the proxy, as a provider counts them."""
        return self._closed_bytes[0] + sum(client.bytes_in for client in self._open)

    @property
    def bytes_out(self) -> int:
        return self._closed_bytes[1] + sum(client.bytes_out for client in self._open)


class _Visit(Visit):
    def __init__(self, proxy: Proxy, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self._proxy = proxy
        self._told = f"{proxy.tells}\r\n".encode() if proxy.tells else b""
        self._held: bytes | None = None
        self.established = self.established[:-2] + self._told + b"\r\n"

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        known = self._proxy.ports.get(f"{host}:{port}")
        if known is None:
            raise Refused(502, "name does not resolve")
        return "127.0.0.1", known

    async def admits(self, request: Request) -> bool:
        proxy = self._proxy
        proxy.seen.append(request)
        if proxy.misbehave is not None and len(proxy.seen) >= proxy.misbehaves_from:
            await proxy.misbehave(self.client.stream, request)
            return False
        if proxy.credentials is not None:
            wanted = base64.b64encode(":".join(proxy.credentials).encode()).decode()
            if request.value("proxy-authorization") != f"Basic {wanted}":
                await self.reply(407, b"", ("Proxy-Authenticate", 'Basic realm="p"'))
                return False
        self._held = b"" if self._told and request.method != "CONNECT" else None
        return True

    async def passes(self, data: bytes) -> bool:
        if self._held is not None:  # `tells` goes in after the first line
            self._held += data
            if b"\r\n" not in self._held:
                return True
            data, self._held = self._held.replace(b"\r\n", b"\r\n" + self._told, 1), None
        return await super().passes(data)

    def answered(self) -> None:
        if self._proxy.closes_after_answer:
            self.end()


def answering(status: int) -> Misbehaviour:
    """Answers every request, CONNECT too, with this status."""

    async def misbehave(stream: trio.abc.Stream, request: Request) -> None:
        await stream.send_all(answer(status, reason="As The Test Says"))

    return misbehave


def sending(data: bytes) -> Misbehaviour:
    """Sends these bytes and closes."""

    async def misbehave(stream: trio.abc.Stream, request: Request) -> None:
        await stream.send_all(data)

    return misbehave


async def closing(stream: trio.abc.Stream, request: Request) -> None:
    """Closes the connection before its response."""


async def resetting(stream: trio.abc.Stream, request: Request) -> None:
    """Resets the connection before its response."""
    reset(stream)


async def opening_nothing(stream: trio.abc.Stream, request: Request) -> None:
    """Answers CONNECT with 200, and then sends nothing."""
    await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await silent(stream, request)


async def silent(stream: trio.abc.Stream, request: Request) -> None:
    """Reads without an answer until the client disconnects."""
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
