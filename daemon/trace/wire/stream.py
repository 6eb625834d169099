"""The TCP connection between a trace and its proxy: dialling, counting bytes, limiting bytes.

The receive buffer is set before connect: later the kernel has already offered a large window, and the unread page of a
landing costs more. Bytes are counted below TLS. Closing is one system call that cannot wait for the peer. There are no
timeouts here: session.py has one around the whole hop, which a peer that sends byte by byte cannot extend.
"""

import array
import errno
import fcntl
import functools
import os
import socket
import ssl
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from daemon.trace.walk.verdicts import Failure
from daemon.trace.wire.tls import ByteStream, TlsStream

READ_BYTES_MAX = 16_384
LINE_BYTES = 32  # counted for each line beside its bytes, as HTTP/2 does (RFC 9113, 6.5.2): parsing takes time
ADDRESSES_MAX = 3  # of a proxy's name
_LOCAL_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN})


class HopError(Exception):
    """A hop failed; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


class TooManyBytes(Exception):
    """The peer sent more bytes than `WireStream.allow` allows."""


class Broken(Exception):
    """The connection broke during a read or a write; the cause is trio's exception."""


@dataclass(slots=True)
class Meter:
    """The bytes of one trace, over all its connections to the proxy."""

    received: int = 0
    sent: int = 0


class CountedStream:
    """A TCP connection that counts its bytes, TLS included. One task may read while one writes.

    `before_write` is called before each write; its exception ends the write. So no byte of any protocol is sent after
    the lease. Timers do not suffice, because the machine or the process may have been suspended: trio handles pending
    I/O before expired deadlines.

    It uses the bare socket: trio's own stream tries a read before it waits, which is useless after a request, and its
    layers cost as much as the system calls.
    """

    def __init__(self, sock: socket.socket, meter: Meter, before_write: Callable[[], None]) -> None:
        self._socket = sock
        self._before_write = before_write
        self._fd = sock.fileno()
        self._meter = meter

    async def send_all(self, data: bytes) -> None:
        """Has no checkpoint if the kernel accepts all bytes at once: the caller then waits for the answer anyway."""
        while data:
            self._before_write()
            try:
                sent = os.write(self._fd, data)
                self._meter.sent += sent
                data = data[sent:]
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
        """Whether a read would return at once: with bytes, the end or an error."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Closes at once, without close_notify. A peer that is still sending gets a reset."""
        if self._fd < 0:
            return
        waiting = array.array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, waiting)
        self._meter.received += waiting[0]  # unread, but relayed and paid for
        trio.lowlevel.notify_closing(self._fd)
        self._fd = -1
        self._socket.close()

    def _error(self, error: OSError) -> Exception:
        kind = trio.BrokenResourceError if self._fd >= 0 else trio.ClosedResourceError
        return kind(str(error))


class WireStream:
    """A stream with a limit: after `allow(bytes_max)` a read raises TooManyBytes once so many bytes have come.

    The read that crosses the limit still returns its bytes, which may contain the end of the message.
    """

    def __init__(self, stream: ByteStream, counted: CountedStream) -> None:
        self._stream = stream
        self._counted = counted
        self._allowance = 0
        self._line_bytes = LINE_BYTES
        self.bytes_read = 0
        self.ended = False  # the peer closed its side

    def allow(self, bytes_max: int, line_bytes: int = LINE_BYTES) -> None:
        """Allows `bytes_max` bytes from now on. Each line counts `line_bytes` more."""
        self._allowance, self._line_bytes = bytes_max, line_bytes

    async def read(self, bytes_max: int = READ_BYTES_MAX) -> bytes:
        """The next bytes, b"" once the peer has closed its side. Raises TooManyBytes and Broken."""
        if self._allowance <= 0:
            raise TooManyBytes
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
        """Raises trio.BrokenResourceError (its cause is ssl's), and ValueError for a host that no certificate has."""
        tls = TlsStream(self._stream, ssl_context, server_hostname)
        await tls.do_handshake()
        return WireStream(tls, self._counted)

    def close(self) -> None:
        self._counted.close()

    def is_readable(self) -> bool:
        """For an idle connection: whether the peer has closed it or sent unexpected bytes."""
        return self._counted.is_readable()


async def dial(
    host: str,
    port: int,
    meter: Meter,
    timeout_s: float,
    receive_buffer_bytes: int,
    resolvers: trio.CapacityLimiter,
    before_write: Callable[[], None],
) -> WireStream:
    """A connection to a proxy. Each of several addresses gets a share of `timeout_s`. Raises HopError.

    `before_write` is called before each connect as well, see CountedStream. The caller has a timeout around the whole
    call, which is enough for a single address.
    """
    error = HopError(Failure.TIMEOUT)
    ends_at = trio.current_time() + timeout_s
    addresses = _numeric(host, port) or await _resolve(host, port, ends_at, resolvers)
    for position, (family, address) in enumerate(addresses):
        before_write()
        try:
            if len(addresses) == 1:
                counted = CountedStream(await _connect(family, address, receive_buffer_bytes), meter, before_write)
                return WireStream(counted, counted)
            left_s = max(0.0, ends_at - trio.current_time())
            with trio.move_on_after(left_s / (len(addresses) - position)):
                counted = CountedStream(await _connect(family, address, receive_buffer_bytes), meter, before_write)
                return WireStream(counted, counted)
        except OSError as os_error:
            error = HopError(_failure_of(os_error))
    raise error


def _numeric(host: str, port: int) -> list[tuple[int, Any]]:
    """(family, address) of an IP address; empty for a name."""
    try:
        # As bytes: a str goes through IDNA, which takes longer than everything else here.
        number = host.encode("ascii")
        found = socket.getaddrinfo(number, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return []
    return [(family, address) for family, _, _, _, address in found[:ADDRESSES_MAX]]


async def _resolve(host: str, port: int, ends_at: float, resolvers: trio.CapacityLimiter) -> list[tuple[int, Any]]:
    """(family, address) pairs of a name. A timeout abandons the thread that resolves the name."""
    look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    with trio.move_on_at(ends_at):
        try:
            found = await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=resolvers)
        except (OSError, ValueError) as error:  # ValueError: a name that IDNA cannot encode
            raise HopError(Failure.NAME) from error
        return [(family, address) for family, _, _, _, address in found[:ADDRESSES_MAX]]
    raise HopError(Failure.TIMEOUT)


async def _connect(family: int, address: Any, receive_buffer_bytes: int) -> socket.socket:
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
        return sock
    except BaseException:
        sock.close()
        raise


def _failure_of(error: OSError) -> Failure:
    if isinstance(error, ConnectionRefusedError):
        return Failure.REFUSED
    return Failure.NO_SOCKETS if error.errno in _LOCAL_ERRNOS else Failure.UNREACHABLE
