"""TLS on a stream that one task uses: the standard library's SSLObject, and what it reads and writes carried for it.

trio.SSLStream does the same for several tasks at once; its locks and checkpoints took an eighth of a click's CPU.
"""

import ssl
from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

import trio

READ_BYTES = 16_384  # a TLS record holds as much (RFC 8446, 5.1)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class ByteStream(Protocol):
    """Bytes there and back; what breaks raises trio.BrokenResourceError, what was closed trio.ClosedResourceError."""

    async def send_all(self, data: bytes) -> None: ...

    async def receive_some(self, bytes_max: int) -> bytes:
        """Nothing where the peer has closed its side."""


class TlsStream:
    """Over another ByteStream. Closing is that one's matter: nobody is told farewell."""

    def __init__(self, below: ByteStream, context: ssl.SSLContext, server_hostname: str) -> None:
        """Raises ValueError for a host that no certificate can name."""
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    async def do_handshake(self) -> None:
        """Raises trio.BrokenResourceError from the ssl module's error."""
        await self._done(self._tls.do_handshake)

    async def send_all(self, data: bytes) -> None:
        await self._done(self._tls.write, data)

    async def receive_some(self, bytes_max: int) -> bytes:
        """An end without TLS's farewell counts as one, as browsers have it: HTTP says itself where an answer ends."""
        try:
            return await self._done(self._tls.read, bytes_max)
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLZeroReturnError | ssl.SSLEOFError):
                return b""
            raise

    async def _done(self, act: Callable[[*Ts], T], *args: *Ts) -> T:
        """What `act` gives once it has all that it wants to read; what it has written is sent."""
        while True:
            try:
                result = act(*args)
            except ssl.SSLWantReadError:
                await self._flush()
                if data := await self._below.receive_some(READ_BYTES):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(str(error)) from error
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._below.send_all(self._outgoing.read())
