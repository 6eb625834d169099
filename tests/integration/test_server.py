"""The server over real sockets: answers, limits, the stop, and the addresses it listens on."""

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response
from quart_trio import QuartTrio

from daemon.click.listeners import open_listeners
from daemon.click.server import TCP_USER_TIMEOUT, Server, ServerLimits
from daemon.errors import BadSettings, OurFault, TheirFault

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
        from quart import request

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
        offer = request.args.get("offer", "")
        return Response(b"", 302, {"Location": f"https://landing.example/?offer={offer}", "Cache-Control": "no-store"})

    async def large(self) -> Response:
        return Response(b"x" * 20_000_000, 200)

    async def broken(self) -> Response:
        raise RuntimeError("broken on purpose")

    async def body(self) -> Response:
        from quart import request

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
        with trio.fail_after(PATIENCE_S):
            while self.server.connections != count:
                await trio.sleep(0.005)

    async def until_ended(self) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.ended.wait()

    async def assert_still_answers(self) -> None:
        async with await self.connect() as client:
            await client.send_all(click("alive", "Connection: close"))
            assert (await read_all(client)).startswith(b"HTTP/1.1 302")


@asynccontextmanager
async def running(limits: ServerLimits | None = None) -> AsyncIterator[Running]:
    app = ClickApp()
    limits = limits or limits_with()
    listeners = await open_listeners(["127.0.0.1:0"], backlog=limits.backlog)
    face = Running(Server(app.quart, limits), app, listeners[0])

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


# The stop


async def test_a_stop_answers_what_is_in_flight_and_closes_what_is_idle_at_once() -> None:
    async with running() as face, await face.connect() as idle, await face.connect() as busy:
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


async def test_a_stop_still_answers_what_the_kernel_had_accepted() -> None:
    async with running() as face:
        clients = [socket.create_connection(("127.0.0.1", face.port)) for _ in range(20)]
        for client in clients:
            client.sendall(click(headers_end := "early", "Connection: close"))
        face.stop.set()  # no checkpoint since the connects: the server has accepted none of them
        assert face.server.connections == 0
        for client in clients:
            async with trio.SocketStream(trio.socket.from_stdlib_socket(client)) as stream:
                assert headers_end.encode() in await read_all(stream)


async def test_a_stop_waits_no_longer_than_an_answer_may_take() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(limits_with(answer_s=0.2)) as face, await face.connect() as client:
            await client.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.receive_some(1)  # the answer has begun; the rest stays unread
            face.stop.set()
            await face.until_ended()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["connections_cut"]


async def test_cancelling_the_server_does_not_wait_for_a_client_that_reads_nothing() -> None:
    app = ClickApp()
    listeners = await open_listeners(["127.0.0.1:0"], backlog=8)
    server = Server(app.quart, limits_with(head_s=1000.0, answer_s=1000.0))
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
    server = Server(ClickApp().quart, limits_with())
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                await server.serve(listeners, stop=trio.Event(), task_status=task_status)

            await nursery.start(serve)
            await trio.testing.wait_all_tasks_blocked()
            listeners[0].socket.close()
    assert caught.group_contains(OurFault)


# Connections


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
    accept: Callable[[trio.SocketListener], Awaitable[trio.SocketStream]] = trio.SocketListener.accept
    failures = 3

    async def accept_later(listener: trio.SocketListener) -> trio.SocketStream:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return await accept(listener)

    monkeypatch.setattr(trio.SocketListener, "accept", accept_later)
    with structlog.testing.capture_logs() as logs:
        async with running() as face:
            await face.assert_still_answers()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["accept_failed"]
    assert failures == 0


async def test_accepted_sockets_carry_the_limit_on_unacknowledged_bytes() -> None:
    async with running(limits_with(head_s=2.5)) as face:
        async with await face.connect():
            await face.until_connections(1)
            (connection,) = face.server._open
            assert connection._stream.socket.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT) == 2500


async def test_an_exception_of_one_connection_does_not_reach_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from daemon.click.plain_http import PlainHTTP

    async def explode(self: PlainHTTP, event: object) -> None:
        raise ZeroDivisionError("a bug in the protocol")

    with structlog.testing.capture_logs() as logs:
        async with running() as face, await face.connect() as bystander:
            await bystander.send_all(click(query="&wait"))
            await face.app.until(lambda: face.app.waiting == 1)
            with monkeypatch.context() as patched:
                patched.setattr(PlainHTTP, "_check_protocol", explode)
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

    listeners = await open_listeners(["127.0.0.1:0"], backlog=8)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await Server(bare, limits_with()).serve(listeners, stop=stop, task_status=task_status)

        await nursery.start(serve)
        async with await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1]) as client:
            await client.send_all(click())
            assert (await read_answers(client, 1)).startswith(b"HTTP/1.1 204")
        stop.set()


# Where it listens


async def test_a_busy_port_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TheirFault, match=f"{bind}.*another port"):
            await open_listeners(["127.0.0.1:0", bind], backlog=8)


@pytest.mark.parametrize(
    "bind",
    ["8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "::1:8080", "[::1]", "unix:", "unix:run/x.sock", "", ":80"],
)
async def test_a_bind_that_is_not_an_address_is_a_bad_setting(bind: str) -> None:
    with pytest.raises(BadSettings, match="cannot listen on"):
        await open_listeners([bind], backlog=8)


async def test_an_address_of_another_machine_is_a_bad_setting() -> None:
    with pytest.raises(BadSettings, match=r"192\.0\.2\.1:8080: this machine has no such address"):
        await open_listeners(["192.0.2.1:8080"], backlog=8)


async def test_no_address_at_all_is_a_bad_setting() -> None:
    with pytest.raises(BadSettings, match="at least one"):
        await open_listeners([], backlog=8)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_ipv6_loopback_is_an_address() -> None:
    (listener,) = await open_listeners(["[::1]:0"], backlog=8)
    assert listener.socket.getsockname()[0] == "::1"
    listener.socket.close()


async def test_a_unix_socket_replaces_its_own_stale_file_and_serves(tmp_path: Path) -> None:
    path = str(tmp_path / "face.sock")
    (stale,) = await open_listeners([f"unix:{path}"], backlog=8)
    with pytest.raises(TheirFault, match="another program listens there"):
        await open_listeners([f"unix:{path}"], backlog=8)
    stale.socket.close()
    listeners = await open_listeners([f"unix:{path}"], backlog=8)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            limits = limits_with(connections_per_address_max=1)
            await Server(ClickApp().quart, limits).serve(listeners, stop=stop, task_status=task_status)

        await nursery.start(serve)
        first, second = await trio.open_unix_socket(path), await trio.open_unix_socket(path)
        for client in (first, second):
            await client.send_all(click())
            assert (await read_answers(client, 1)).startswith(b"HTTP/1.1 302")
            await client.aclose()
        stop.set()


async def test_a_file_that_is_not_a_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("keep me")
    with pytest.raises(BadSettings, match="not a socket"):
        await open_listeners([f"unix:{path}"], backlog=8)
    assert path.read_text() == "keep me"


async def test_a_socket_in_a_folder_that_does_not_exist_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(TheirFault, match="folder does not exist"):
        await open_listeners([f"unix:{tmp_path}/none/face.sock"], backlog=8)
