"""The server's stop: running requests are answered, and no client can delay it or cause it."""

import socket

import pytest
import structlog
import trio
import trio.testing

from daemon.control.connection import control_server
from daemon.errors import OurFault
from daemon.http.listeners import open_listeners
from daemon.http.server import click_server
from tests.integration.faces import (
    PATIENCE_S,
    ClickApp,
    both_faces,
    click,
    limits_with,
    read_all,
    read_answers,
    running,
)


@both_faces
async def test_a_stop_answers_running_requests_and_closes_idle_connections_at_once(kind: str) -> None:
    async with running(kind=kind) as face, await face.connect() as idle, await face.connect() as busy:
        await idle.send_all(click())
        await read_answers(idle, 1)
        await busy.send_all(click(query="&wait"))
        await face.app.until(lambda: face.app.waiting == 1)
        face.stop.set()
        assert await read_all(idle) == b""
        with pytest.raises(OSError, match=r"."):
            await face.connect()
        assert not face.ended.is_set()
        face.app.gate.set()
        assert (await read_all(busy)).startswith(b"HTTP/1.1 302")
        await face.until_ended()


@both_faces
async def test_a_stop_answers_connections_that_waited_in_the_kernel(kind: str) -> None:
    async with running(kind=kind) as face:
        clients = [socket.create_connection(("127.0.0.1", face.port)) for _ in range(20)]
        for client in clients:
            client.sendall(click(headers_end := "early", "Connection: close"))
        face.stop.set()  # no checkpoint since the connects, so the server has accepted none of them
        assert face.server.connections == 0
        for client in clients:
            async with trio.SocketStream(trio.socket.from_stdlib_socket(client)) as stream:
                assert headers_end.encode() in await read_all(stream)


@both_faces
async def test_a_stop_waits_at_most_answer_s(kind: str) -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(limits_with(answer_s=0.2), kind) as face, await face.connect() as client:
            await client.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.receive_some(1)  # the answer has begun; the client reads no more of it
            face.stop.set()
            await face.until_ended()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["connections_cut"]


@both_faces
async def test_cancelling_the_server_does_not_wait_for_a_client_that_reads_nothing(kind: str) -> None:
    app = ClickApp()
    listeners = await open_listeners(["127.0.0.1:0"], backlog=8)
    limits = limits_with(head_s=60.0, answer_s=60.0)
    server = control_server(app.quart, limits) if kind == "control" else click_server(app.handle, limits)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                await server.serve(listeners, stop=trio.Event(), task_status=task_status)

            await nursery.start(serve)
            client = await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1])
            await client.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.receive_some(1)
            nursery.cancel_scope.cancel()
        await client.aclose()


async def test_a_server_whose_listener_is_closed_raises() -> None:
    listeners = await open_listeners(["127.0.0.1:0"], backlog=8)
    server = click_server(ClickApp().handle, limits_with())

    async def close_it() -> None:
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                await server.serve(listeners, stop=trio.Event(), task_status=task_status)

            await nursery.start(serve)
            await trio.testing.wait_all_tasks_blocked()
            listeners[0].socket.close()

    with pytest.raises(ExceptionGroup) as caught:
        await close_it()
    assert caught.group_contains(OurFault)
