"""TLS on a stream, of which one task may read while another one writes, by the standard library's SSLObject.

trio.SSLStream's locks and checkpoints took an eighth of a click's CPU.
"""

import ssl
from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

import trio

READ_BYTES = 16_384  # the size of a TLS record (RFC 8446, 5.1)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def verifying_context() -> ssl.SSLContext:
    """The context of connections to targets; it takes 17 ms to build."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class ByteStream(Protocol):
    """A byte stream. Raises trio.BrokenResourceError, and trio.ClosedResourceError after it was closed."""

    async def send_all(self, data: bytes) -> None: ...

    async def receive_some(self, bytes_max: int) -> bytes:
        """The next bytes; b"" once the peer has closed its side."""


class TlsStream:
    """TLS over another ByteStream, which the owner closes; no close_notify is sent."""

    def __init__(self, below: ByteStream, context: ssl.SSLContext, server_hostname: str) -> None:
        """Raises ValueError for a host that no certificate can name."""
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._is_sending = False
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    async def do_handshake(self) -> None:
        """Raises trio.BrokenResourceError from the ssl module's error."""
        await self._done(self._tls.do_handshake)

    async def send_all(self, data: bytes) -> None:
        await self._done(self._tls.write, data)

    async def receive_some(self, bytes_max: int) -> bytes:
        """An end without close_notify is an end too, as in browsers: HTTP has its own end of an answer."""
        try:
            return await self._done(self._tls.read, bytes_max)
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLZeroReturnError | ssl.SSLEOFError):
                return b""
            raise

    async def _done(self, act: Callable[[*Ts], T], *args: *Ts) -> T:
        """Repeats `act` until it has read all that it needs, sends what it has written, and returns its result."""
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
        """While one task sends, what another one has written goes out after it: records must not mix."""
        if self._is_sending:
            return
        self._is_sending = True
        try:
            while self._outgoing.pending:
                await self._below.send_all(self._outgoing.read())
        finally:
            self._is_sending = False
