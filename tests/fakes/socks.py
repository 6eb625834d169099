"""A SOCKS5 proxy on loopback (RFC 1928, 1929), correct or faulty; it checks nothing but the login."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

import trio

from tests.fakes.wire import listening

SUCCEEDED, GENERAL_FAILURE = 0, 1
LOOPBACK = bytes((1, 127, 0, 0, 1, 0, 0))  # BND.ADDR and BND.PORT of an answer


@dataclass(slots=True)
class SocksProxy:
    """A SOCKS5 proxy. `ports` maps `host:port` to a port on loopback; other hosts get a general failure.

    - `login`: the login that clients must send; None: only clients without a login are served.
    - `reply`: replaces the correct reply code.
    - `in_pieces`: answers are sent byte by byte.
    - `says`: replaces the answer of a step (0 methods, 1 login, 2 request) by other bytes, followed by a close.
    - `asked`: type and text of the addresses that clients requested.
    """

    ports: Mapping[str, int]
    login: tuple[str, str] | None = None
    reply: int | None = None
    bound: bytes = LOOPBACK
    in_pieces: bool = False
    says: tuple[int, bytes] | None = None
    asked: list[tuple[int, str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    methods: list[bytes] = field(default_factory=list)
    bytes_in: int = 0
    bytes_out: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        _, count = await self._read(stream, 2)
        methods = await self._read(stream, count)
        self.methods.append(methods)
        wanted = 0 if self.login is None else 2
        if not await self._say(stream, 0, bytes((5, wanted if wanted in methods else 255))) or wanted not in methods:
            return
        if self.login is not None and not await self._logged_in(stream):
            return
        await self._read(stream, 3)
        host, port = await self._address(stream)
        found = self.ports.get(f"{host}:{port}")
        reply = self.reply if self.reply is not None else SUCCEEDED if found else GENERAL_FAILURE
        if not await self._say(stream, 2, bytes((5, reply, 0)) + self.bound) or reply or not found:
            return
        async with await trio.open_tcp_stream("127.0.0.1", found) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, stream, upstream, nursery.cancel_scope)
            nursery.start_soon(self._copy, upstream, stream, nursery.cancel_scope)

    async def _logged_in(self, stream: trio.abc.Stream) -> bool:
        _, length = await self._read(stream, 2)
        name = (await self._read(stream, length)).decode()
        (length,) = await self._read(stream, 1)
        self.logins.append((name, (await self._read(stream, length)).decode()))
        right = self.logins[-1] == self.login
        return await self._say(stream, 1, bytes((1, 0 if right else 1))) and right

    async def _address(self, stream: trio.abc.Stream) -> tuple[str, int]:
        (kind,) = await self._read(stream, 1)
        if kind == 3:
            (length,) = await self._read(stream, 1)
            host = (await self._read(stream, length)).decode()
        else:
            host = str(ip_address(await self._read(stream, 4 if kind == 1 else 16)))
        self.asked.append((kind, host))
        return host, int.from_bytes(await self._read(stream, 2))

    async def _say(self, stream: trio.abc.Stream, step: int, answer: bytes) -> bool:
        """Send an answer; return False if the proxy closes after it."""
        if self.says is not None and self.says[0] == step:
            await self._send(stream, self.says[1])
            return False
        if not self.in_pieces:
            await self._send(stream, answer)
            return True
        for byte in answer:
            await self._send(stream, bytes((byte,)))
            await trio.sleep(0.002)
        return True

    async def _send(self, stream: trio.abc.Stream, data: bytes) -> None:
        await stream.send_all(data)
        self.bytes_out += len(data)

    async def _read(self, stream: trio.abc.Stream, length: int) -> bytes:
        read = b""
        while len(read) < length:
            more = await stream.receive_some(length - len(read))
            if not more:
                raise trio.BrokenResourceError("the client left")
            read += more
        self.bytes_in += length
        return read

    async def _copy(self, source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
        outward = isinstance(sink, trio.SocketStream) and sink.socket.getpeername()[1] in self.ports.values()
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(65_536):
                await sink.send_all(data)
                if outward:
                    self.bytes_in += len(data)
                else:
                    self.bytes_out += len(data)
        both.cancel()


@contextlib.asynccontextmanager
async def socks_proxy(proxy: SocksProxy) -> AsyncIterator[int]:
    """Run the proxy; yield its port."""
    async with listening(proxy.serve) as port:
        yield port
