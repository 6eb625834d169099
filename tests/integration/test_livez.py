"""The probes of the daemon's own listeners by /livez, over real sockets."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from daemon.http.connection import Handler
from daemon.http.http1 import Request, Response
from daemon.http.listeners import open_listeners
from daemon.http.probe import listener_probes
from daemon.http.server import Server, click_server
from tests.integration.faces import PATIENCE_S, limits_with
from tests.support.waiting import until


def live_handler(status: int = 200) -> Handler:
    async def handle(request: Request) -> Response:
        if request.path != "/livez":
            await trio.sleep_forever()
        return Response(status, body=b"ok\n")

    return handle


@asynccontextmanager
async def served(bind: str, status: int = 200, **limits: float) -> AsyncIterator[tuple[Server, trio.SocketListener]]:
    listeners = await open_listeners([bind], backlog=8)
    server = click_server(live_handler(status), limits_with(**limits))
    async with trio.open_nursery() as nursery:
        stop = trio.Event()

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await server.serve(listeners, stop=stop, task_status=task_status)

        await nursery.start(serve)
        yield server, listeners[0]
        nursery.cancel_scope.cancel()


async def asked(server: Server, listener: trio.SocketListener, *, passed: bool = False) -> str | None:
    [probe] = listener_probes(server, [listener], passed=passed).values()
    with trio.fail_after(PATIENCE_S):
        return await probe()


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0", "unix:"])
async def test_a_listener_on_any_address_answers(bind: str, tmp_path: Path) -> None:
    if bind.startswith("[") and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    async with served(f"unix:{tmp_path}/face.sock" if bind == "unix:" else bind) as (server, listener):
        assert await asked(server, listener) is None


async def test_a_probe_has_the_name_of_its_bind(tmp_path: Path) -> None:
    async with served(f"unix:{tmp_path}/face.sock") as (server, listener):
        assert list(listener_probes(server, [listener], passed=False)) == [f"listener unix:{tmp_path}/face.sock"]
    async with served("[::1]:0") as (server, listener):
        port = listener.socket.getsockname()[1]
        assert list(listener_probes(server, [listener], passed=False)) == [f"listener [::1]:{port}"]


async def test_an_answer_other_than_200_is_reported() -> None:
    async with served("127.0.0.1:0", status=500) as (server, listener):
        assert await asked(server, listener) == "/livez answers b'HTTP/1.1 500'"


async def test_a_full_server_is_alive() -> None:
    async with (
        served("127.0.0.1:0", connections_max=1) as (server, listener),
        await trio.open_tcp_stream(*listener.socket.getsockname()) as visitor,
    ):
        await visitor.send_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: "1 connections, 0 idle" in repr(server))
        assert await asked(server, listener) is None
        assert server.turned_away == 1


async def closing(listener: trio.SocketListener) -> None:
    while True:
        await (await listener.accept()).aclose()


async def test_a_connection_closed_without_an_answer_is_reported() -> None:
    [listener] = await open_listeners(["127.0.0.1:0"], backlog=8)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(closing, listener)
        server = click_server(live_handler(), limits_with())
        assert await asked(server, listener) == "closes the connection without an answer"
        nursery.cancel_scope.cancel()
    listener.socket.close()


async def test_an_unreachable_socket_of_systemd_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "face.sock"
    async with served(f"unix:{path}") as (server, listener):
        path.unlink()
        assert "No such file" in (await asked(server, listener) or "")
        assert await asked(server, listener, passed=True) is None


async def test_a_server_that_accepts_nothing_does_not_answer() -> None:
    [listener] = await open_listeners(["127.0.0.1:0"], backlog=8)
    with trio.move_on_after(0.2) as scope:
        await asked(click_server(live_handler(), limits_with()), listener)
    assert scope.cancelled_caught
    listener.socket.close()
