"""HTTP/1.1 over loopback sockets, for the demo's origin and proxies and for the fakes of the tests.

h11 parses requests. Responses are written as bytes, so that a fake can also send bytes that are not HTTP.
"""

import errno
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus

import h11
import trio

from daemon.errors import TheirFault

HEAD_BYTES_MAX = 256 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
RECEIVE_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 20_000
"""Open connections of one network; further ones are closed at once."""
CONNECTION_S_MAX = 3_600.0
"""A connection is closed after this time, idle or not."""
BACKLOG = 4_096
PORTS_TRIED_MAX = 500
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError)
"""Raised by sends and receives once either side has closed the connection, or if two answers are sent at once."""


class PortBusy(TheirFault):
    """The address and port are in use already."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(f"cannot listen on {address}:{port}: the port is in use already")
        self.address = address
        self.port = port


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Header names are in lower case; `closes`: the client wants no further request served."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    closes: bool = False

    def value(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Connection:
    """Reads requests or plain bytes from a stream and writes bytes to it, for one reading and one writing task.

    All methods raise one of GONE when the connection breaks.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.bytes_out = 0
        self._ahead = b""

    def close(self) -> None:
        """Close a socket at once; a task that waits for it gets ClosedResourceError."""
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.socket.close()

    async def receive(self) -> bytes:
        """Return at least one byte, or b"" once the peer has closed."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        return await self._arrive()

    async def _arrive(self) -> bytes:
        return bytes(await self.stream.receive_some(RECEIVE_BYTES_MAX))

    async def send(self, data: bytes) -> None:
        """Send all of `data`. `bytes_out` counts what the kernel took, also if the send is cancelled.

        A send that fits the kernel's buffer has no checkpoint: the time after it is the time of the response.
        """
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
        """Return the next request with its whole body, or None if the client closes first.

        Raises h11.RemoteProtocolError. Each request has a parser of its own, so that h11 does not need to know how the
        previous request was answered.
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
        """Pass each request to `answer_one` until it returns False, or the client closes or asks for a close.

        A malformed request gets 400 and a close.
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
        """Wait for `wait_s`; return False as soon as the peer closes. Bytes that arrive meanwhile are kept."""
        with trio.move_on_after(wait_s):
            while len(self._ahead) <= HEAD_BYTES_MAX:
                data = await self._arrive()
                if not data:
                    return False
                self._ahead += data
            await trio.sleep_forever()
        return True


def answer(
    status: int,
    body: bytes = b"",
    *headers: tuple[str, str | bytes],
    kind: str | None = "text/plain",
    reason: str | None = None,
) -> bytes:
    """Return a whole response with Content-Length, and a Content-Type unless `kind` is None."""
    fields = [*headers, *([("Content-Type", kind)] if kind else []), ("Content-Length", str(len(body)))]
    lines = [b"HTTP/1.1 %d %b" % (status, (reason or HTTPStatus(status).phrase).encode())]
    lines += [name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def listen(address: str, port: int) -> socket.socket:
    """Return a listening socket on a loopback address; port 0 means any free port. Raises PortBusy, OSError."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        # With SO_REUSEADDR two sockets can bind to one port; the second `listen` fails.
        sock.listen(BACKLOG)
    except OSError as refused:
        sock.close()
        if refused.errno == errno.EADDRINUSE:
            raise PortBusy(address, port) from refused
        raise
    return sock


def listen_from(addresses: Sequence[str], first: int) -> tuple[int, list[socket.socket]]:
    """Listen on every address, on the first port from `first` upwards that is free on all of them.

    Returns the port and the sockets. Raises PortBusy if no port is free among 500, OSError.
    """
    busy = PortBusy("127.0.0.1", first)
    for port in range(first, min(first + PORTS_TRIED_MAX, 65_536)):
        try:
            with ExitStack() as undo:
                listeners = [undo.enter_context(listen(address, port)) for address in addresses]
                undo.pop_all()
        except PortBusy as error:
            busy = error
        else:
            return port, listeners
    raise busy


def free_port_for(addresses: Sequence[str], first: int) -> int:
    """As `listen_from`, but return only the port, which another process may take before the caller listens."""
    port, listeners = listen_from(addresses, first)
    for listener in listeners:
        listener.close()
    return port


async def accept_from(
    listener: socket.socket, serve: Callable[[trio.SocketStream], Awaitable[None]], connections: trio.Nursery
) -> None:
    """Run `serve` in the nursery `connections` for each connection. When cancelled, it closes only the listener."""

    async def one(stream: trio.SocketStream) -> None:
        # A peer that closes or resets its connection ends that connection and nothing else.
        with suppress(*GONE), trio.move_on_after(CONNECTION_S_MAX):
            if len(connections.child_tasks) <= CONNECTIONS_MAX:
                await serve(stream)

    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    await trio.serve_listeners(one, [accepting], handler_nursery=connections)
