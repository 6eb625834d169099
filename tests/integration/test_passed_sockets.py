"""Sockets that another process opened and keeps: the next server gets them with the connections that wait in them."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

import pytest
import trio
import trio.testing

from daemon.errors import BadSettings
from daemon.host.systemd import PassedSocket
from daemon.http.connection import Handler
from daemon.http.http1 import Request, Response
from daemon.http.listeners import passed_listeners
from daemon.http.server import click_server
from tests.integration.faces import PATIENCE_S, ClickApp, click, limits_with, read_all, read_answers

BEFORE_S = 0.3
"""For so long a visitor waits at the socket before a server looks at it."""


@contextmanager
def kept_socket() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as kept:
        yield kept


def passed(kept: socket.socket, name: str = "click") -> list[trio.SocketListener]:
    return passed_listeners([PassedSocket(kept.dup().detach(), name)])


@asynccontextmanager
async def served(kept: socket.socket, handler: Handler) -> AsyncIterator[trio.Event]:
    """A server on the socket. It stops at the end of the block or when the event is set."""
    stop = trio.Event()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                server = click_server(handler, limits_with())
                await server.serve(passed(kept), stop=stop, handed_back=True, task_status=task_status)

            await nursery.start(serve)
            yield stop
            stop.set()


async def asking(kept: socket.socket, offer: str) -> trio.SocketStream:
    """The connection of a visitor who has sent a click."""
    visitor = await trio.open_tcp_stream(*kept.getsockname())
    await visitor.send_all(click(offer, "Connection: close"))
    return visitor


async def test_the_next_server_answers_connections_that_come_during_and_after_a_stop() -> None:
    app = ClickApp()
    with kept_socket() as kept:
        async with served(kept, app.handle) as stop, await trio.open_tcp_stream(*kept.getsockname()) as in_flight:
            await in_flight.send_all(click(query="&wait"))
            await app.until(lambda: app.waiting == 1)
            stop.set()
            await trio.testing.wait_all_tasks_blocked()
            late = await asking(kept, "late")
            with trio.move_on_after(BEFORE_S) as patience:
                await late.receive_some(1)
            assert patience.cancelled_caught, "it is for the next server"
            app.gate.set()
            assert (await read_answers(in_flight, 1)).startswith(b"HTTP/1.1 302")
        async with late, await asking(kept, "between") as between, served(kept, ClickApp().handle):
            assert b"offer=late" in await read_all(late)
            assert b"offer=between" in await read_all(between)


async def test_only_the_first_request_of_a_connection_has_the_time_waited_at_the_socket() -> None:
    told: list[float] = []

    async def handle(request: Request) -> Response:
        told.append(request.waited_s)
        return Response(302)

    with kept_socket() as kept:
        async with await trio.open_tcp_stream(*kept.getsockname()) as visitor:
            await visitor.send_all(click())
            await trio.sleep(BEFORE_S)
            async with served(kept, handle):
                await read_answers(visitor, 1)
                await visitor.send_all(click())
                await read_answers(visitor, 1)
    [first, second] = told
    assert first >= BEFORE_S - 0.05  # the kernel's resolution is a tick
    assert second == 0.0


def test_a_socket_of_another_name_is_not_for_clicks() -> None:
    with kept_socket() as kept, pytest.raises(BadSettings, match=r"FileDescriptorName=metrics.*allowed: click"):
        passed(kept, "metrics")


async def test_a_socket_that_does_not_listen_is_a_bad_setting() -> None:
    with closing(socket.socket()) as idle, pytest.raises(BadSettings, match=r"use ListenStream= and Accept=no"):
        passed(idle)
    with (
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as datagrams,
        pytest.raises(BadSettings, match=r"use ListenStream= and Accept=no"),
    ):
        passed(datagrams)


async def test_a_closed_descriptor_is_a_bad_setting() -> None:
    with pytest.raises(BadSettings, match="descriptor 987"):
        passed_listeners([PassedSocket(987, "click")])
