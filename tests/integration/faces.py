"""A small click app behind the server of either face on loopback, and raw clients for it."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, quote

import pytest
import quart
import trio
from quart_trio import QuartTrio

from daemon.control.connection import control_server
from daemon.http.connection import Handler, ServerLimits
from daemon.http.http1 import Request, Response
from daemon.http.listeners import open_listeners
from daemon.http.server import Server, click_server
from tests.support.waiting import until

both_faces = pytest.mark.parametrize("kind", ["click", "control"])

PATIENCE_S = 30.0
"""A test fails when something that should happen at once has not happened within this."""


def limits_with(**changes: float) -> ServerLimits:
    values: dict[str, float] = {
        "answer_s": 5.0,
        "head_s": 5.0,
        "head_bytes_max": 16 * 1024,
        "connections_max": 100,
        "connections_per_address_max": 0,
        "backlog": 64,
    }
    return ServerLimits(**(values | changes))  # type: ignore[arg-type]


class ClickApp:
    """`/track-hit` answers 302; with `?wait`, after a call of `open_gate`. Both a handler and a Quart-Trio app."""

    def __init__(self) -> None:
        self.quart = QuartTrio("clicks")
        self.quart.config["MAX_CONTENT_LENGTH"] = 0
        self.gate = trio.Event()
        self.waiting = 0
        self.cancelled = 0
        self.changed = trio.Event()
        self.quart.route("/track-hit", methods=["GET", "HEAD"])(self._quart_answer)
        self.quart.route("/large")(self._quart_answer)
        self.quart.route("/broken")(self._quart_answer)

    def _note(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not condition():
                await self.changed.wait()

    async def handle(self, request: Request) -> Response:
        if request.path not in ("/track-hit", "/large", "/broken"):
            return Response(404)
        if request.method not in ("GET", "HEAD"):
            return Response(405, [(b"allow", b"GET, HEAD")])
        return await self._answer(request.path, parse_qs(request.query.decode(), keep_blank_values=True))

    async def _quart_answer(self) -> quart.Response:
        answer = await self._answer(quart.request.path, quart.request.args.to_dict(flat=False))
        return quart.Response(answer.body, answer.status, {n.decode(): v.decode() for n, v in answer.headers})

    async def _answer(self, path: str, query: dict[str, list[str]]) -> Response:
        if path == "/large":
            return Response(200, body=b"x" * 20_000_000)
        if path == "/broken":
            raise RuntimeError("broken on purpose")
        if "wait" in query:
            self.waiting += 1
            self._note()
            try:
                await self.gate.wait()
            except trio.Cancelled:
                self.cancelled += 1
                raise
            finally:
                self.waiting -= 1
                self._note()
        offer = quote(query.get("offer", [""])[0])
        return Response(302, [(b"location", f"https://landing.example/?offer={offer}".encode())])


class Running:
    """A server under test with its address; `connect` gives a raw stream to it."""

    def __init__(self, server: Server, app: ClickApp, listener: trio.SocketListener) -> None:
        self.server = server
        self.app = app
        self.port: int = listener.socket.getsockname()[1]
        self.stop = trio.Event()
        self.ended = trio.Event()

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def until_connections(self, count: int) -> None:
        await until(lambda: self.server.connections == count)

    async def until_ended(self) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.ended.wait()

    async def assert_still_answers(self) -> None:
        async with await self.connect() as client:
            await client.send_all(click("alive", "Connection: close"))
            assert (await read_all(client)).startswith(b"HTTP/1.1 302")


@asynccontextmanager
async def running(
    limits: ServerLimits | None = None,
    kind: str = "click",
    *,
    handler: Handler | None = None,
    body_bytes_max: int = 0,
    dual_stack: bool = False,
) -> AsyncIterator[Running]:
    """Serve a ClickApp by the server of the face `kind` until the block ends; fail if the server then does not stop.

    `handler`: replaces the app on the click face. `body_bytes_max`: of a request to the control face. `dual_stack`: on
    a socket as systemd's `ListenStream=8080` makes it.
    """
    clicks = ClickApp()
    clicks.quart.config["MAX_CONTENT_LENGTH"] = body_bytes_max
    limits = limits or limits_with()
    if dual_stack:
        sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock))]
    else:
        listeners = await open_listeners(["127.0.0.1:0"], backlog=limits.backlog)
    server = (
        control_server(clicks.quart, limits) if kind == "control" else click_server(handler or clicks.handle, limits)
    )
    face = Running(server, clicks, listeners[0])

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        await face.server.serve(listeners, stop=face.stop, task_status=task_status)
        face.ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield face
        face.app.gate.set()
        face.stop.set()
        await face.until_ended()


def click(offer: str = "summer-sale", *headers: str, query: str = "", method: str = "GET") -> bytes:
    lines = [f"{method} /track-hit?offer={offer}{query} HTTP/1.1", "Host: clicks.example", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def read_all(client: trio.SocketStream) -> bytes:
    """Read until the server closes; a reset counts as closed."""
    received = b""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                data = await client.receive_some(65536)
            except trio.BrokenResourceError:
                return received
            if not data:
                return received
            received += data


async def read_answers(client: trio.SocketStream, count: int) -> bytes:
    """Read until so many heads, of answers without bodies, have arrived."""
    received = b""
    with trio.fail_after(PATIENCE_S):
        while received.count(b"\r\n\r\n") < count:
            data = await client.receive_some(65536)
            assert data, f"closed after {received!r}"
            received += data
    return received
