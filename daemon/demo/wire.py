"""Connections and HTTP/1.1 heads for the demo's origin and proxies, at the least CPU that does the job.

They share a small machine with the daemon that is measured against them, so sockets are used directly (a send that fits
the kernel's buffer is one system call and no checkpoint; each receive is one checkpoint) and only the parts of a head
that matter are looked at. This is a demo's parser for well-behaved clients on loopback, not one for the open internet.
"""

import array
import errno
import fcntl
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from daemon.errors import TheirFault

HEAD_BYTES_MAX = 128 * 1024
RECEIVE_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 20_000
"""Open connections per listener; past it new ones are closed at once."""
CONNECTION_S_MAX = 3_600.0
"""No connection lives longer, idle or not."""
CONNECT_S_MAX = 10.0
BACKLOG = 4_096
ACCEPT_BATCH_MAX = 64
ACCEPT_PAUSE_S = 0.05
PORTS_TRIED_MAX = 500

_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; the socket module does not name it in 3.11
_SIOCOUTQNSD = 0x894B  # linux/sockios.h; no module names it
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n")
_CLOSE = re.compile(rb"\r\n(?:proxy-)?connection:[^\r]*\bclose\b")
_REASONS = {
    200: b"OK",
    302: b"Found",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    407: b"Proxy Authentication Required",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    504: b"Gateway Timeout",
}


class PortBusy(TheirFault):
    """An address and port to listen on is in use already."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(f"cannot listen on {address}:{port}: the port is in use already")
        self.address = address
        self.port = port


class BadRequest(Exception):
    """The peer's bytes are no HTTP/1.1 request that this demo serves."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head. `fields` is everything after the request line, from its CRLF to the empty line, as received."""

    method: bytes
    target: bytes
    version: bytes
    fields: bytes
    body_bytes: int
    closes: bool

    @classmethod
    def parse(cls, head: bytes) -> "Request":
        """Read a head that ends with its empty line. Raises BadRequest."""
        line, _, rest = head.partition(b"\r\n")
        parts = line.split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
            raise BadRequest("not a request line")
        fields = b"\r\n" + rest
        lowered = fields.lower()
        if b"\r\ntransfer-encoding:" in lowered:
            raise BadRequest("a body without Content-Length")
        length = _CONTENT_LENGTH.search(lowered)
        closes = parts[2] == b"HTTP/1.0" or _CLOSE.search(lowered) is not None
        return cls(parts[0], parts[1], parts[2], fields, int(length[1]) if length else 0, closes)


class Peer:
    """One connection: its socket and what was read ahead from it. One task reads, one writes.

    `accepted` counts what the kernel took to send; of it, `unsent()` has not been on the wire.
    """

    __slots__ = ("accepted", "ahead", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.ahead = b""
        self.accepted = 0

    async def receive(self) -> bytes:
        """What is there, at least a byte; b"" once the peer has closed. Raises OSError."""
        if self.ahead:
            data, self.ahead = self.ahead, b""
            return data
        return await self._arrive()

    async def _arrive(self) -> bytes:
        if self.sock.fileno() < 0:
            raise trio.ClosedResourceError
        while True:  # bounded: each turn waits for the kernel to report data, and only a spurious report repeats it
            await trio.lowlevel.wait_readable(self.sock)
            with suppress(BlockingIOError):
                return self.sock.recv(RECEIVE_BYTES_MAX)

    async def head(self) -> Request | None:
        """The next request's head, or None when the peer closed instead. Raises BadRequest, OSError."""
        while (end := self.ahead.find(b"\r\n\r\n")) < 0:
            if len(self.ahead) > HEAD_BYTES_MAX:
                raise BadRequest("the head is too long")
            data = await self._arrive()
            if not data:
                return None
            self.ahead += data
        head, self.ahead = self.ahead[: end + 4], self.ahead[end + 4 :]
        return Request.parse(head)

    async def body(self, body_bytes: int, take: Callable[[bytes], Awaitable[None]]) -> bool:
        """Hand exactly so many bytes to `take`, piece by piece. False when the peer closed before the last."""
        left = body_bytes
        while left > 0:
            data = await self.receive()
            if not data:
                return False
            data, self.ahead = data[:left], data[left:]  # nothing is ahead right after a receive
            left -= len(data)
            await take(data)
        return True

    async def stays(self, wait_s: float) -> bool:
        """Let so much time pass; False as soon as the peer closes. What it sends meanwhile is kept for later."""
        with trio.move_on_after(wait_s):
            while len(self.ahead) <= HEAD_BYTES_MAX:
                data = await self._arrive()
                if not data:
                    return False
                self.ahead += data
            await trio.sleep_forever()
        return True

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError."""
        sent = 0
        while sent < len(data):
            try:
                taken = self.sock.send(memoryview(data)[sent:] if sent else data)
                sent += taken
                self.accepted += taken
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)

    def unsent(self) -> int:
        """What waits for the peer to make room, for ever if it has left."""
        if self.sock.fileno() < 0:
            return 0
        waiting = array.array("i", [0])
        fcntl.ioctl(self.sock.fileno(), _SIOCOUTQNSD, waiting)
        return waiting[0]

    def reset(self) -> None:
        """Close with RST rather than FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()


def answer(status: int, body: bytes = b"", *extra: bytes, kind: bytes = b"text/plain") -> bytes:
    """A whole HTTP/1.1 response with Content-Length; `extra` are header lines without their CRLF."""
    lines = [
        b"HTTP/1.1 %d %b" % (status, _REASONS[status]),
        *extra,
        b"Content-Type: " + kind,
        b"Content-Length: %d\r\n\r\n" % len(body),
    ]
    return b"\r\n".join(lines) + body


def listen(address: str, port: int) -> socket.socket:
    """A listening socket on a loopback address; port 0 takes a free one. Raises PortBusy, OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        # Two binds with SO_REUSEADDR may both succeed; the second to listen is the one that is refused.
        sock.listen(BACKLOG)
    except OSError as refused:
        sock.close()
        if refused.errno == errno.EADDRINUSE:
            raise PortBusy(address, port) from refused
        raise
    return sock


def free_port_for(addresses: Sequence[str], preferred: int) -> int:
    """The first port from `preferred` upwards that is free on each address. Raises PortBusy when none of 500 is.

    The port is only looked at, not kept: another process may take it before the caller listens.
    """
    busy = PortBusy(addresses[0] if addresses else "127.0.0.1", preferred)
    for port in range(preferred, min(preferred + PORTS_TRIED_MAX, 65_536)):
        try:
            for address in addresses:
                listen(address, port).close()
        except PortBusy as taken:
            busy = taken
        else:
            return port
    raise busy


async def connect(source: str, address: str, port: int) -> Peer:
    """Dial from a source address. Raises OSError, TimeoutError among them."""
    peer = Peer(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    try:
        # The kernel chooses the port when it knows the destination: ports in TIME_WAIT toward others stay usable.
        peer.sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        peer.sock.bind((source, 0))
        code = peer.sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            with trio.move_on_after(CONNECT_S_MAX) as limit:
                await trio.lowlevel.wait_writable(peer.sock)
            code = (
                errno.ETIMEDOUT if limit.cancelled_caught else peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            )
        if code:
            raise OSError(code, errno.errorcode.get(code, "connect failed"))
    except BaseException:
        peer.close()
        raise
    return peer


async def accept_from(listener: socket.socket, serve: Callable[[Peer, str], Awaitable[None]]) -> None:
    """Run `serve(peer, client_address)` for each connection, until the listener is closed and the last one ended."""

    async def one(sock: socket.socket, client: str) -> None:
        peer = Peer(sock)
        try:
            with trio.move_on_after(CONNECTION_S_MAX):
                await serve(peer, client)
        except OSError:
            pass  # a peer that leaves or resets ends its own connection, and that is all there is to it
        finally:
            peer.close()

    async with trio.open_nursery() as nursery:
        while listener.fileno() >= 0:
            try:
                await trio.lowlevel.wait_readable(listener)
                for _ in range(ACCEPT_BATCH_MAX):
                    sock, client = listener.accept()
                    if len(nursery.child_tasks) >= CONNECTIONS_MAX:
                        sock.close()
                    else:
                        nursery.start_soon(one, sock, client[0])
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except trio.ClosedResourceError:
                return
            except OSError as failed:
                if failed.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                await trio.sleep(ACCEPT_PAUSE_S)  # out of descriptors: some connection has to end first
