"""The wire between a trace and its proxy: how it is dialled, what went over it, how much may come.

The receive buffer is set before connect (after it, the kernel has already offered a large window, and the unread page
behind a landing costs more), bytes are counted under TLS, and closing is one system call that cannot wait for the peer.
No timeouts here: fetch.py puts one around the whole hop, which a peer that drips cannot stretch.
"""

import array
import errno
import fcntl
import functools
import os
import socket
import ssl
import termios
from typing import Any

import trio

from daemon.trace.walk.verdicts import Kind
from daemon.trace.wire.tls import ByteStream, TlsStream

READ_BYTES_MAX = 16_384
LINE_BYTES = 32  # what a line costs beside its bytes, as HTTP/2 counts fields (RFC 9113, 6.5.2): parsing it takes time
ADDRESSES_MAX = 3  # of a proxy's name that are tried
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN})


class DialError(Exception):
    """No connection to the proxy."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.kind = kind


class TooMuch(Exception):
    """More bytes came than the reader allowed."""


class Broken(Exception):
    """The connection broke while it was read from or written to; the cause is trio's."""


class Meter:
    """Bytes of one trace over all its connections, as the proxy sees them."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0


class CountedStream:
    """A TCP connection that counts, TLS above it included. One task reads, and one writes.

    On the bare socket: trio's own stream tries a read before it waits, in vain behind a request, and its layers cost as
    much as the system calls.
    """

    def __init__(self, sock: socket.socket, meter: Meter) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        self._meter = meter

    async def send_all(self, data: bytes) -> None:
        """No checkpoint where the kernel takes all of it at once, as nearly always: a wait for the answer follows."""
        self._meter.sent += len(data)
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._fd)
            except OSError as error:
                raise self._error(error) from error

    async def receive_some(self, bytes_max: int) -> bytes:
        while True:
            try:
                await trio.lowlevel.wait_readable(self._fd)
                data = os.read(self._fd, bytes_max)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._error(error) from error
            self._meter.received += len(data)
            return data

    def is_readable(self) -> bool:
        """Whether there is something to read, an end or an error included."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Closes at once, without TLS's farewell; a peer that still sends gets a reset and stops."""
        if self._fd < 0:
            return
        waiting = array.array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, waiting)
        self._meter.received += waiting[0]  # never read, yet relayed and paid for
        trio.lowlevel.notify_closing(self._fd)
        self._fd = -1
        self._socket.close()

    def _error(self, error: OSError) -> Exception:
        kind = trio.BrokenResourceError if self._fd >= 0 else trio.ClosedResourceError
        return kind(str(error))


class WireStream:
    """What an exchange reads and writes. `allow` says how many bytes may come before TooMuch is raised.

    A read that oversteps that is still given out: its bytes may hold the end that the reader waits for.
    """

    def __init__(self, stream: ByteStream, counted: CountedStream) -> None:
        self._stream = stream
        self._counted = counted
        self._allowance = 0
        self._line_bytes = LINE_BYTES
        self.bytes_read = 0
        self.ended = False  # the peer closed its side

    def allow(self, bytes_max: int, line_bytes: int = LINE_BYTES) -> None:
        """So many bytes may come from now on. Each line counts `line_bytes` more."""
        self._allowance, self._line_bytes = bytes_max, line_bytes

    async def read(self, bytes_max: int = READ_BYTES_MAX) -> bytes:
        """What has come, at most `bytes_max`; nothing when the peer closed its side. Raises TooMuch and Broken."""
        if self._allowance <= 0:
            raise TooMuch
        try:
            data = await self._stream.receive_some(bytes_max)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Broken(str(error)) from error
        self.bytes_read += len(data)
        self._allowance -= len(data) + self._line_bytes * data.count(b"\n")
        self.ended = not data
        return data

    async def write(self, data: bytes) -> None:
        """Raises Broken."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Broken(str(error)) from error

    async def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str) -> "WireStream":
        """Raises trio.BrokenResourceError from the ssl module's error; ValueError for a host no certificate names."""
        tls = TlsStream(self._stream, ssl_context, server_hostname)
        await tls.do_handshake()
        return WireStream(tls, self._counted)

    def close(self) -> None:
        self._counted.close()

    def is_readable(self) -> bool:
        """Of an idle connection: the peer has closed it, or speaks out of turn."""
        return self._counted.is_readable()


async def dial(
    host: str, port: int, meter: Meter, *, timeout_s: float, receive_buffer_bytes: int, resolvers: trio.CapacityLimiter
) -> WireStream:
    """A connection to a proxy; names, and each of several addresses, have their share of `timeout_s`. Raises DialError.

    Around the whole of it the caller has a limit of its own: one address alone needs no other.
    """
    error = DialError(Kind.TIMEOUT)
    ends_at = trio.current_time() + timeout_s
    addresses = _numeric(host, port) or await _resolve(host, port, ends_at, resolvers)
    for position, (family, address) in enumerate(addresses):
        try:
            if len(addresses) == 1:
                counted = await _connect(family, address, meter, receive_buffer_bytes)
                return WireStream(counted, counted)
            left_s = max(0.0, ends_at - trio.current_time())
            with trio.move_on_after(left_s / (len(addresses) - position)):
                counted = await _connect(family, address, meter, receive_buffer_bytes)
                return WireStream(counted, counted)
        except OSError as os_error:
            error = DialError(_kind_of(os_error))
    raise error


def _numeric(host: str, port: int) -> list[tuple[int, Any]]:
    """(family, address) of a number; nothing for a name."""
    try:
        # Bytes, since a text would go through IDNA, which takes longer than all the rest.
        number = host.encode("ascii")
        found = socket.getaddrinfo(number, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return []
    return [(family, address) for family, _, _, _, address in found[:ADDRESSES_MAX]]


async def _resolve(host: str, port: int, ends_at: float, resolvers: trio.CapacityLimiter) -> list[tuple[int, Any]]:
    """(family, address) pairs of a name. The thread that looks it up is left behind by a timeout."""
    look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    with trio.move_on_at(ends_at):
        try:
            found = await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=resolvers)
        except (OSError, ValueError) as error:  # ValueError: a name that IDNA cannot encode
            raise DialError(Kind.NAME) from error
        return [(family, address) for family, _, _, _, address in found[:ADDRESSES_MAX]]
    raise DialError(Kind.TIMEOUT)


async def _connect(family: int, address: Any, meter: Meter, receive_buffer_bytes: int) -> CountedStream:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(address)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, os.strerror(error)) from None
        return CountedStream(sock, meter)
    except BaseException:
        sock.close()
        raise


def _kind_of(error: OSError) -> Kind:
    if isinstance(error, ConnectionRefusedError):
        return Kind.REFUSED
    return Kind.NO_SOCKETS if error.errno in _OURS else Kind.UNREACHABLE
