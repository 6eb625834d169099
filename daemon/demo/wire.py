"""HTTP/1.1 over loopback sockets, for the demo's origin and proxies and for the fakes of the tests.

h11 parses requests, see `Connection.request`. Responses are written as bytes, so that a fake can also send what is not
HTTP. A send that fits the kernel's buffer is one system call and no checkpoint: the network shares a small machine with
the daemon that is measured against it.
"""

import array
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import h11
import trio

from daemon.errors import TheirFault

HEAD_BYTES_MAX = 256 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
RECEIVE_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 20_000
"""Open connections of one network; past it new ones are closed at once."""
CONNECTION_S_MAX = 3_600.0
"""No connection lives longer, idle or not."""
BACKLOG = 4_096
PORTS_TRIED_MAX = 500
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
"""What sending and receiving raise once the peer, or this side, has closed the connection."""

_SIOCOUTQNSD = 0x894B  # linux/sockios.h; no module names it


class PortBusy(TheirFault):
    """An address and port to listen on is in use already."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(f"cannot listen on {address}:{port}: the port is in use already")
        self.address = address
        self.port = port


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came. Header names are in lower case; `closes`: the client wants no further request served."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    closes: bool = False

    def value(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Connection:
    """Reads requests or plain bytes off a stream and writes bytes to it. One task reads, one writes.

    All methods raise one of GONE when the connection breaks.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.bytes_out = 0
        self._received = 0
        self._ahead = b""

    @property
    def bytes_in(self) -> int:
        """Bytes received, without those that were only read ahead."""
        return self._received - len(self._ahead)

    async def receive(self) -> bytes:
        """At least a byte; b"" once the peer has closed."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        return await self._arrive()

    async def _arrive(self) -> bytes:
        data = bytes(await self.stream.receive_some(RECEIVE_BYTES_MAX))
        self._received += len(data)
        return data

    async def send(self, data: bytes) -> None:
        """Send all of it. To a socket it is counted as far as the kernel took it, also where the send is cancelled."""
        if not isinstance(self.stream, trio.SocketStream):
            await self.stream.send_all(data)
            self.bytes_out += len(data)
            return
        left = memoryview(data)
        while left:
            try:
                taken = os.write(self.stream.socket.fileno(), left)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.stream.socket)
            else:
                self.bytes_out += taken
                left = left[taken:]

    async def request(self) -> Request | None:
        """The next request with its whole body, or None when the client closed instead.

        Raises h11.RemoteProtocolError. Each request has a parser of its own: h11 then does not ask how the previous
        one was answered.
        """
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        head, body = None, bytearray()
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES_MAX:
                    raise h11.RemoteProtocolError("the body is too large")
            elif data := await self.receive():
                parser.receive_data(data)
            else:
                return None
        assert head is not None
        self._ahead = parser.trailing_data[0]
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers)
        closes = parser.their_state is h11.MUST_CLOSE
        return Request(head.method.decode(), head.target.decode(), headers, bytes(body), closes)

    async def serve(self, answer_one: Callable[[Request], Awaitable[bool]]) -> None:
        """Pass each request to `answer_one`, until that returns False, or the client closes or asks for a close.

        Bytes that are no request are answered with 400.
        """
        goes_on = True
        while goes_on:
            try:
                request = await self.request()
            except h11.RemoteProtocolError as bad:
                await self.send(answer(400, f"{bad}\n".encode(), ("Connection", "close")))
                return
            goes_on = request is not None and await answer_one(request) and not request.closes

    async def stays(self, wait_s: float) -> bool:
        """Let so much time pass; False as soon as the peer closes. What it sends meanwhile is kept for later."""
        with trio.move_on_after(wait_s):
            while len(self._ahead) <= HEAD_BYTES_MAX:
                data = await self._arrive()
                if not data:
                    return False
                self._ahead += data
            await trio.sleep_forever()
        return True


def unsent(stream: trio.SocketStream) -> int:
    """Bytes that were sent and that the kernel still holds because the peer has not made room for them."""
    waiting = array.array("i", [0])
    if stream.socket.fileno() >= 0:
        fcntl.ioctl(stream.socket.fileno(), _SIOCOUTQNSD, waiting)
    return waiting[0]


def reset(stream: trio.abc.Stream) -> None:
    """Close with RST rather than FIN."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def answer(
    status: int,
    body: bytes = b"",
    *headers: tuple[str, str | bytes],
    kind: str | None = "text/plain",
    reason: str | None = None,
) -> bytes:
    """A whole response with Content-Length, and a Content-Type unless `kind` is None."""
    fields = [*headers, *([("Content-Type", kind)] if kind else []), ("Content-Length", str(len(body)))]
    lines = [b"HTTP/1.1 %d %b" % (status, (reason or HTTPStatus(status).phrase).encode())]
    lines += [name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def listen(address: str, port: int) -> socket.socket:
    """A listening socket on a loopback address; port 0 takes a free one. Raises PortBusy, OSError."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
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


async def accept_from(
    listener: socket.socket, serve: Callable[[trio.SocketStream], Awaitable[None]], connections: trio.Nursery
) -> None:
    """Run `serve` in the nursery for each connection, until `close_listener`; open connections stay."""

    async def one(stream: trio.SocketStream) -> None:
        # A peer that leaves or resets ends its own connection and nothing else.
        with suppress(*GONE), trio.move_on_after(CONNECTION_S_MAX):
            if len(connections.child_tasks) <= CONNECTIONS_MAX:
                await serve(stream)

    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    try:
        await trio.serve_listeners(one, [accepting], handler_nursery=connections)
    except* trio.ClosedResourceError:
        pass  # `close_listener` was called


def close_listener(listener: socket.socket) -> None:
    trio.lowlevel.notify_closing(listener)
    listener.close()
