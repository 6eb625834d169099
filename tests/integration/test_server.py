"""The server over real sockets: answers, limits on connections and handlers, containment of errors."""

import errno
import socket
from typing import Any, cast

import pytest
import structlog
import trio
from hypercorn.protocol.h11 import H11Protocol

from daemon.http.http1 import PlainHTTP, Request, Response
from daemon.http.server import TCP_USER_TIMEOUT
from tests.integration.faces import both_faces, click, limits_with, read_all, read_answers, running


@both_faces
async def test_a_click_is_answered_without_naming_the_server(kind: str) -> None:
    async with running(kind=kind) as face, await face.connect() as client:
        await client.send_all(click())
        answer = (await read_answers(client, 1)).lower()
    assert answer.startswith(b"http/1.1 302")
    assert b"\r\ndate: " in answer
    assert b"\r\nserver:" not in answer


@both_faces
async def test_one_connection_serves_many_requests(kind: str) -> None:
    async with running(kind=kind) as face, await face.connect() as client:
        for number in range(20):
            await client.send_all(click(f"offer-{number}"))
            assert f"offer=offer-{number}\r\n".encode() in await read_answers(client, 1)


@both_faces
async def test_pipelined_requests_are_answered_in_order(kind: str) -> None:
    async with running(kind=kind) as face, await face.connect() as client:
        await client.send_all(b"".join(click(f"n{number}") for number in range(50)))
        answers = (await read_answers(client, 50)).split(b"\r\n\r\n")[:50]
    assert [f"offer=n{number}\r\n".encode() in answer + b"\r\n" for number, answer in enumerate(answers)] == [True] * 50


@both_faces
async def test_a_head_request_gets_no_body(kind: str) -> None:
    async with running(kind=kind) as face, await face.connect() as client:
        await client.send_all(b"HEAD /nothing-here HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.endswith(b"\r\n\r\n")


@both_faces
async def test_http_1_0_is_answered_and_closed(kind: str) -> None:
    async with running(kind=kind) as face, await face.connect() as client:
        await client.send_all(b"GET /track-hit?offer=old HTTP/1.0\r\n\r\n")
        assert b" 302 " in (await read_all(client)).split(b"\r\n")[0]


async def test_the_connection_ends_right_after_its_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.http.connection.LINGER_S", 1000.0)
    async with running() as face:
        await face.assert_still_answers()


@both_faces
async def test_a_client_that_disconnects_cancels_the_handler(kind: str) -> None:
    async with running(kind=kind) as face:
        async with await face.connect() as client:
            await client.send_all(click(query="&wait"))
            await face.app.until(lambda: face.app.waiting == 1)
        await face.app.until(lambda: face.app.cancelled == 1)
        await face.until_connections(0)


@both_faces
async def test_a_handler_that_raises_answers_500_and_the_server_goes_on(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(kind=kind) as face:
            async with await face.connect() as client:
                await client.send_all(b"GET /broken HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert (await read_all(client)).startswith(b"HTTP/1.1 500")
            await face.assert_still_answers()
    if kind == "click":
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["handler_crashed"]
    else:
        assert "broken on purpose" in caplog.text, "Quart logs what its own resources raise"


async def test_a_handler_that_never_answers_is_cancelled_and_logged() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(limits_with(answer_s=0.1)) as face, await face.connect() as client:
            await client.send_all(click(query="&wait"))
            assert (await read_all(client)).startswith(b"HTTP/1.1 503")
            assert face.app.cancelled == 1
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["handler_too_slow"]


async def test_an_answer_that_cannot_be_sent_is_500() -> None:
    async def split(request: Request) -> Response:
        return Response(302, [(b"location", b"https://shop.example/\r\nx: y")])

    with structlog.testing.capture_logs() as logs:
        async with running(handler=split) as face, await face.connect() as client:
            await client.send_all(click())
            answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"x: y" not in answer
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["handler_crashed"]


@both_faces
async def test_at_connections_max_the_longest_idle_one_is_closed(kind: str) -> None:
    async with running(limits_with(connections_max=3), kind) as face:
        oldest, middle, busy = [await face.connect() for _ in range(3)]
        await face.until_connections(3)
        await busy.send_all(click(query="&wait"))
        await face.app.until(lambda: face.app.waiting == 1)
        for client in (oldest, middle):
            await client.send_all(click())
            await read_answers(client, 1)
        await face.assert_still_answers()
        assert await read_all(oldest) == b""
        await middle.send_all(click())
        await read_answers(middle, 1)
        face.app.gate.set()
        assert (await read_answers(busy, 1)).startswith(b"HTTP/1.1 302")
        for client in (oldest, middle, busy):
            await client.aclose()


@both_faces
async def test_when_all_connections_are_busy_a_new_one_is_closed_and_logged_once_a_second(kind: str) -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(limits_with(connections_max=2), kind) as face:
            busy = [await face.connect() for _ in range(2)]
            for client in busy:
                await client.send_all(click(query="&wait"))
            await face.app.until(lambda: face.app.waiting == 2)
            for _ in range(10):
                async with await face.connect() as client:
                    assert await read_all(client) == b""
            face.app.gate.set()
            for client in busy:
                assert (await read_answers(client, 1)).startswith(b"HTTP/1.1 302")
                await client.aclose()
    refusals = [entry for entry in logs if entry["event"] == "connection_refused"]
    assert 1 <= len(refusals) < 10
    assert refusals[0]["reason"] == "connections_max"


@both_faces
async def test_connections_per_address_are_limited_and_freed_on_close(kind: str) -> None:
    async with running(limits_with(connections_per_address_max=2), kind) as face:
        first, second = await face.connect(), await face.connect()
        await face.until_connections(2)
        async with await face.connect() as third:
            assert await read_all(third) == b""
        other = socket.create_connection(("127.0.0.1", face.port), source_address=("127.0.0.2", 0))
        async with trio.SocketStream(trio.socket.from_stdlib_socket(other)) as stream:
            await stream.send_all(click())
            await read_answers(stream, 1)
        await first.aclose()
        await second.aclose()
        await face.until_connections(0)
        await face.assert_still_answers()


@both_faces
async def test_a_full_descriptor_table_is_waited_out_and_logged_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.socket.socket() as one:
        sockets: Any = type(one)
    accept, failures = sockets.accept, 3

    async def accept_later(listening: trio.socket.SocketType) -> tuple[trio.socket.SocketType, object]:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        accepted: tuple[trio.socket.SocketType, object] = await accept(listening)
        return accepted

    monkeypatch.setattr(sockets, "accept", accept_later)
    with structlog.testing.capture_logs() as logs:
        async with running(kind=kind) as face:
            await face.assert_still_answers()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["accept_failed"]
    assert failures == 0


@both_faces
async def test_accepted_sockets_carry_the_limit_on_unacknowledged_bytes(kind: str) -> None:
    async with running(limits_with(head_s=2.5), kind) as face, await face.connect():
        await face.until_connections(1)
        (connection,) = face.server._open
        assert cast(Any, connection)._socket.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT) == 2500


@both_faces
async def test_an_exception_of_one_connection_does_not_reach_the_others(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("a bug in the protocol")

    with structlog.testing.capture_logs() as logs:
        async with running(kind=kind) as face, await face.connect() as bystander:
            await bystander.send_all(click(query="&wait"))
            await face.app.until(lambda: face.app.waiting == 1)
            with monkeypatch.context() as patched:
                patched.setattr(PlainHTTP, "next_request", explode)
                patched.setattr(H11Protocol, "handle", explode)
                async with await face.connect() as victim:
                    await victim.send_all(click())
                    assert await read_all(victim) == b""
            face.app.gate.set()
            assert (await read_answers(bystander, 1)).startswith(b"HTTP/1.1 302")
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["connection_crashed"]


async def test_the_last_answer_of_a_long_connection_says_that_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.http.http1.REQUESTS_MAX", 3)
    async with running() as face, await face.connect() as client:
        await client.send_all(click() * 5)
        answers = (await read_all(client)).split(b"\r\n\r\n")[:-1]
    assert [b"connection: close" in answer.lower() for answer in answers] == [False, False, True]
