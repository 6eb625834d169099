"""A small click app behind a real server on loopback, and the raw clients that talk to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import trio
from hypercorn.typing import ASGIFramework
from quart import Response, request
from quart_trio import QuartTrio

from daemon.click.listeners import open_listeners
from daemon.click.server import Server, ServerLimits
from tests.support.waiting import until

PATIENCE_S = 10.0
"""A test fails when something that should happen at once has not happened within this."""


def limits_with(**changes: float) -> ServerLimits:
    values: dict[str, float] = {
        "answer_s": 5.0,
        "head_s": 5.0,
        "head_bytes_max": 16 * 1024,
        "connections_max": 100,
        "connections_per_address_max": 0,
        "backlog": 64,
        "body_bytes_max": 0,
    }
    return ServerLimits(**(values | changes))  # type: ignore[arg-type]


class ClickApp:
    """A Quart-Trio app whose `/track-hit` answers 302; with `?wait` once `open_gate` was called."""

    def __init__(self) -> None:
        self.quart = QuartTrio("clicks")
        self.gate = trio.Event()
        self.waiting = 0
        self.cancelled = 0
        self.changed = trio.Event()
        self.quart.route("/track-hit", methods=["GET", "HEAD"])(self.track_hit)
        self.quart.route("/large")(self.large)
        self.quart.route("/broken")(self.broken)
        self.quart.route("/body", methods=["POST"])(self.body)

    def _note(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not condition():
                await self.changed.wait()

    async def track_hit(self) -> Response:
        if "wait" in request.args:
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
        offer = quote(request.args.get("offer", ""))
        return Response(b"", 302, {"Location": f"https://landing.example/?offer={offer}", "Cache-Control": "no-store"})

    async def large(self) -> Response:
        return Response(b"x" * 20_000_000, 200)

    async def broken(self) -> Response:
        raise RuntimeError("broken on purpose")

    async def body(self) -> Response:
        return Response(str(len(await request.get_data())), 200)


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
async def running(limits: ServerLimits | None = None, *, app: ASGIFramework | None = None) -> AsyncIterator[Running]:
    """Serve a ClickApp, or `app` in its place, until the block ends; then stop it, and fail if it does not end."""
    clicks = ClickApp()
    limits = limits or limits_with()
    listeners = await open_listeners(["127.0.0.1:0"], backlog=limits.backlog)
    face = Running(Server(app or clicks.quart, limits), clicks, listeners[0])

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
    """Read until so many heads without bodies have come."""
    received = b""
    with trio.fail_after(PATIENCE_S):
        while received.count(b"\r\n\r\n") < count:
            data = await client.receive_some(65536)
            assert data, f"closed after {received!r}"
            received += data
    return received
