"""The server over real sockets: answers, the limits on connections and handlers, errors that stay where they arise."""

import errno
import socket
from typing import Any

import pytest
import structlog
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from daemon.http.http1 import PlainHTTP
from daemon.http.server import TCP_USER_TIMEOUT
from tests.integration.faces import PATIENCE_S, click, limits_with, read_all, read_answers, running


async def test_a_click_is_answered_without_naming_the_server() -> None:
    async with running() as face, await face.connect() as client:
        await client.send_all(click())
        answer = (await read_answers(client, 1)).lower()
    assert answer.startswith(b"http/1.1 302")
    assert b"\r\ndate: " in answer
    assert b"\r\nserver:" not in answer


async def test_one_connection_serves_many_requests() -> None:
    async with running() as face, await face.connect() as client:
        for number in range(20):
            await client.send_all(click(f"offer-{number}"))
            assert f"offer=offer-{number}\r\n".encode() in await read_answers(client, 1)


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running() as face, await face.connect() as client:
        await client.send_all(b"".join(click(f"n{number}") for number in range(50)))
        answers = (await read_answers(client, 50)).split(b"\r\n\r\n")[:50]
    assert [f"offer=n{number}\r\n".encode() in answer + b"\r\n" for number, answer in enumerate(answers)] == [True] * 50


async def test_a_head_request_gets_no_body() -> None:
    async with running() as face, await face.connect() as client:
        await client.send_all(b"HEAD /nothing-here HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.endswith(b"\r\n\r\n")


async def test_http_1_0_is_answered_and_closed() -> None:
    async with running() as face, await face.connect() as client:
        await client.send_all(b"GET /track-hit?offer=old HTTP/1.0\r\n\r\n")
        assert b" 302 " in (await read_all(client)).split(b"\r\n")[0]


async def test_the_end_follows_a_last_answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.http.connection.LINGER_S", 1000.0)
    async with running() as face:
        await face.assert_still_answers()


async def test_a_visitor_who_leaves_cancels_the_handler() -> None:
    async with running() as face:
        async with await face.connect() as client:
            await client.send_all(click(query="&wait"))
            await face.app.until(lambda: face.app.waiting == 1)
        await face.app.until(lambda: face.app.cancelled == 1)
        await face.until_connections(0)


async def test_a_handler_that_raises_answers_500_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as face:
        async with await face.connect() as client:
            await client.send_all(b"GET /broken HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert (await read_all(client)).startswith(b"HTTP/1.1 500")
        await face.assert_still_answers()
    assert "broken on purpose" in caplog.text


async def test_a_handler_that_never_answers_is_ended_and_named_in_the_log() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(limits_with(answer_s=0.1)) as face, await face.connect() as client:
            await client.send_all(click(query="&wait"))
            assert (await read_all(client)).startswith(b"HTTP/1.1 503")
            assert face.app.cancelled == 1
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["handler_too_slow"]


async def test_a_body_within_the_limit_reaches_the_handler_and_a_longer_one_is_refused() -> None:
    async with running(limits_with(body_bytes_max=1000)) as face:
        for length, chunked, status in [
            (1000, False, 200),
            (1001, False, 413),
            (1000, True, 200),
            (1001, True, 413),
            (900_000, False, 413),
        ]:
            length_header = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
            body = b"x" * length
            if chunked:
                body = b"".join(b"1\r\nx\r\n" for _ in range(length)) + b"0\r\n\r\n"
            async with await face.connect() as client:
                head = f"POST /body HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length_header}\r\n\r\n"
                try:
                    await client.send_all(head.encode() + body)
                except trio.BrokenResourceError:
                    assert length > 100_000, "only a body that was refused long ago may be cut"
                answer = await read_all(client)
            assert answer.startswith(f"HTTP/1.1 {status}".encode()), (length, chunked)


async def test_a_body_that_does_not_come_is_408_when_the_time_is_over() -> None:
    async with running(limits_with(body_bytes_max=1000, answer_s=0.1)) as face, await face.connect() as client:
        await client.send_all(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert (await read_all(client)).startswith(b"HTTP/1.1 408")


async def test_past_the_most_connections_the_longest_idle_gives_way() -> None:
    async with running(limits_with(connections_max=3)) as face:
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


async def test_when_all_connections_are_busy_a_new_one_is_closed_and_logged_once_a_second() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(limits_with(connections_max=2)) as face:
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


async def test_one_address_opens_only_its_share_and_gets_it_back() -> None:
    async with running(limits_with(connections_per_address_max=2)) as face:
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


async def test_a_full_descriptor_table_is_waited_out_and_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.socket.socket() as one:
        kind: Any = type(one)
    accept, failures = kind.accept, 3

    async def accept_later(listening: trio.socket.SocketType) -> tuple[trio.socket.SocketType, object]:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        accepted: tuple[trio.socket.SocketType, object] = await accept(listening)
        return accepted

    monkeypatch.setattr(kind, "accept", accept_later)
    with structlog.testing.capture_logs() as logs:
        async with running() as face:
            await face.assert_still_answers()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["accept_failed"]
    assert failures == 0


async def test_accepted_sockets_carry_the_limit_on_unacknowledged_bytes() -> None:
    async with running(limits_with(head_s=2.5)) as face, await face.connect():
        await face.until_connections(1)
        (connection,) = face.server._open
        assert connection._socket.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT) == 2500


async def test_an_exception_of_one_connection_does_not_reach_the_others(monkeypatch: pytest.MonkeyPatch) -> None:

    def explode(self: PlainHTTP) -> None:
        raise ZeroDivisionError("a bug in the protocol")

    with structlog.testing.capture_logs() as logs:
        async with running() as face, await face.connect() as bystander:
            await bystander.send_all(click(query="&wait"))
            await face.app.until(lambda: face.app.waiting == 1)
            with monkeypatch.context() as patched:
                patched.setattr(PlainHTTP, "next_event", explode)
                async with await face.connect() as victim:
                    await victim.send_all(click())
                    assert await read_all(victim) == b""
            face.app.gate.set()
            assert (await read_answers(bystander, 1)).startswith(b"HTTP/1.1 302")
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["connection_crashed"]


async def test_an_app_without_a_lifespan_is_served_too() -> None:
    async def bare(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with running(app=bare) as face, await face.connect() as client:
        await client.send_all(click())
        assert (await read_answers(client, 1)).startswith(b"HTTP/1.1 204")


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async with running(limits_with(body_bytes_max=1000)) as face, await face.connect() as client:
        head = (
            b"POST /body HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        await client.send_all(head)
        assert (await read_answers(client, 1)).startswith(b"HTTP/1.1 100 ")
        await client.send_all(b"hello")
        answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n5")


@pytest.mark.parametrize("begun", [False, True])
async def test_an_app_that_breaks_off_ends_its_connection(begun: bool) -> None:
    async def breaks(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        if begun:
            await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        raise RuntimeError("broken on purpose")

    with structlog.testing.capture_logs() as logs:
        async with running(app=breaks) as face, await face.connect() as client:
            await client.send_all(click())
            answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 200 " if begun else b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\n\r\nhello" if begun else b"\r\n\r\n")
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["handler_crashed"]


async def test_an_answer_in_parts_is_sent_as_it_comes() -> None:
    next_part = trio.Event()

    async def in_parts(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await next_part.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with running(app=in_parts) as face, await face.connect() as client:
        await client.send_all(click() + click("next", "Connection: close"))
        with trio.fail_after(PATIENCE_S):
            received = b""
            while not received.endswith(b"5\r\nfirst\r\n"):
                received += await client.receive_some()
        next_part.set()
        answers = received + await read_all(client)
    assert answers.count(b"HTTP/1.1 200 ") == answers.count(b"5\r\nfirst\r\n0\r\n\r\n") == 2


async def test_the_last_answer_of_a_long_connection_says_that_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.http.http1.REQUESTS_MAX", 3)
    async with running() as face, await face.connect() as client:
        await client.send_all(click() * 5)
        answers = (await read_all(client)).split(b"\r\n\r\n")[:-1]
    assert [b"connection: close" in answer.lower() for answer in answers] == [False, False, True]


async def test_a_stream_has_its_head_at_once_and_is_not_timed() -> None:
    going_on, read = trio.Event(), trio.Event()

    async def stream(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await going_on.wait()
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await read.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with running(limits_with(answer_s=0.1), app=stream) as face, await face.connect() as client:
        await client.send_all(click("events", "Connection: close"))
        head = await read_answers(client, 1)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert head.endswith(b"\r\n\r\n")
        await trio.sleep(0.3)  # longer than an answer may be in coming
        going_on.set()
        with trio.fail_after(PATIENCE_S):
            assert await client.receive_some() == b"9\r\ndata: 1\n\n\r\n"
        read.set()
        assert await read_all(client) == b"0\r\n\r\n"


async def test_an_app_that_streams_without_end_ends_when_its_client_leaves() -> None:
    left = trio.Event()

    async def stream(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_left, receive, nursery.cancel_scope)
            while True:
                await send({"type": "http.response.body", "body": b"more", "more_body": True})

    async def until_left(receive: ASGIReceiveCallable, streaming: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()
        streaming.cancel()

    async with running(app=stream) as face:
        async with await face.connect() as client:
            await client.send_all(click("events"))
            await read_answers(client, 1)
        with trio.fail_after(PATIENCE_S):
            await left.wait()
        await face.until_connections(0)
