"""The control face's connections over real sockets: bodies, streams, upgrades, and how a stop ends them."""

import math
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import structlog
import trio
from quart import Response, request

from daemon.control import service
from daemon.control.connection import control_server
from daemon.http.connection import LINGER_S
from daemon.http.listeners import open_listeners
from daemon.settings.model import Settings
from tests.integration.control_faces import FixedOverview, Served, control_face
from tests.integration.faces import PATIENCE_S, ClickApp, Running, click, limits_with, read_all, read_answers, running
from tests.support.state_dirs import open_state_dir

STATUS = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
UPGRADES = {
    "h2c with broken settings": H2C,
    "h2c with settings that are fine": H2C.replace(b": a\r", b": AAMAAABkAAQAoAAAAAIAAAAA\r"),
    "websocket": WEBSOCKET + b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "websocket with a broken key": WEBSOCKET + b"\xff\xfe\r\nSec-WebSocket-Extensions: \xe9;\xff\r\n\r\n",
    "websocket with junk behind it": WEBSOCKET + b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\xfe\x00\xff\xff" + bytes(100),
}


async def connected(served: Served) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", urlsplit(served.url).port or 0)


def with_body_app(face: Running) -> None:
    @face.app.quart.post("/body")
    async def body() -> Response:
        return Response(str(len(await request.get_data())), 200)


def with_stream(face: Running, stream: AsyncIterator[bytes]) -> None:
    @face.app.quart.get("/stream")
    async def streamed() -> Response:
        return Response(stream, content_type="text/event-stream")


@pytest.mark.parametrize("name", UPGRADES)
async def test_an_upgrade_is_answered_as_http_1_1_and_the_face_goes_on(name: str) -> None:
    async with control_face() as served:
        async with await connected(served) as client:
            await client.send_all(STATUS + UPGRADES[name])
            assert (await read_answers(client, 1)).startswith(b"HTTP/1.1 200 ")
        assert (await served.ask("/api/status")).status_code == 200


async def test_empty_lines_before_a_request_are_ignored() -> None:
    async with control_face() as served, await connected(served) as client:
        await client.send_all(b"\r\n\r\n" + STATUS + b"\r\n")
        assert (await read_answers(client, 1)).startswith(b"HTTP/1.1 200 ")
        await client.send_all(b"\r\n")
        await client.send_all(STATUS + b"\r\n")
        assert b"HTTP/1.1 200 " in await read_answers(client, 1)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", b"Host"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"request line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", b"header line"),
    ],
)
async def test_a_request_that_is_no_http_is_refused_with_the_reason(sent: bytes, reason: bytes) -> None:
    async with control_face() as served, await connected(served) as client:
        await client.send_all(sent)
        head, _, body = (await read_all(client)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert reason in body


async def test_http_2_by_prior_knowledge_is_refused_as_a_problem() -> None:
    async with control_face() as served, await connected(served) as client:
        await client.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(27))
        answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in answer


async def test_a_refused_head_request_gets_no_body() -> None:
    async with control_face() as served, await connected(served) as client:
        await client.send_all(STATUS.replace(b"GET", b"HEAD") + b"Content-Length: 99999999\r\n\r\n")
        head, _, body = (await read_all(client)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert body == b""


async def test_a_connection_that_is_idle_after_an_answer_is_closed_when_its_time_is_over() -> None:
    async with running(limits_with(head_s=0.3), "control") as face, await face.connect() as client:
        for _ in range(3):
            await client.send_all(click())
            await read_answers(client, 1)
            await trio.sleep(0.15)
        assert await read_all(client) == b""
        await face.until_connections(0)


async def test_a_stop_does_not_wait_for_connections_that_are_idle_after_an_answer() -> None:
    limits = limits_with(answer_s=1000.0, head_s=1000.0)
    async with running(limits, "control") as face:
        clients = [await face.connect() for _ in range(3)]
        for client in clients:
            await client.send_all(click())
            await read_answers(client, 1)
        with trio.fail_after(LINGER_S / 2):
            face.stop.set()
            await face.ended.wait()
        for client in clients:
            assert await read_all(client) == b""
            await client.aclose()


async def test_the_whole_face_stops_at_once_with_idle_connections() -> None:
    async with control_face() as served, await connected(served) as client:
        await client.send_all(STATUS + b"\r\n")
        await read_answers(client, 1)
        with trio.fail_after(service.STOP_S / 2):
            await served.face.end()
        await read_all(client)  # fails unless it was closed


async def test_a_client_at_a_unix_socket_that_reads_nothing_does_not_hold_up_a_stop() -> None:
    with open_state_dir() as directory:
        listeners = await open_listeners([f"unix:{directory}/face.sock"], backlog=8)
        server, stop = control_server(ClickApp().quart, limits_with(answer_s=0.2, head_s=1000.0)), trio.Event()
        async with await trio.open_unix_socket(f"{directory}/face.sock") as client:
            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: server.serve(listeners, stop=stop))
                    await client.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
                    await client.receive_some(1)
                    stop.set()


async def test_a_body_within_the_limit_reaches_the_app_and_a_longer_one_is_refused() -> None:
    async with running(kind="control", body_bytes_max=1000) as face:
        with_body_app(face)
        for length, chunked, status in [
            (1000, False, 200),
            (1001, False, 413),
            (1000, True, 200),
            (1001, True, 413),
            (900_000, False, 413),
        ]:
            length_header = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
            body = b"".join(b"1\r\nx\r\n" for _ in range(length)) + b"0\r\n\r\n" if chunked else b"x" * length
            async with await face.connect() as client:
                head = f"POST /body HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length_header}\r\n\r\n"
                try:
                    await client.send_all(head.encode() + body)
                except trio.BrokenResourceError:
                    assert length > 100_000, "only a body that was refused long ago may be cut"
                answer = await read_all(client)
            assert answer.startswith(f"HTTP/1.1 {status}".encode()), (length, chunked)


async def test_an_allowed_body_that_never_ends_is_refused_and_cut() -> None:
    async with running(kind="control", body_bytes_max=100_000) as face, await face.connect() as client:
        with_body_app(face)
        await client.send_all(b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")

        async def pour() -> None:
            while True:
                await client.send_all(b"4000\r\n" + bytes(0x4000) + b"\r\n")

        with trio.fail_after(PATIENCE_S), pytest.raises(trio.BrokenResourceError):
            await pour()
        await face.until_connections(0)


async def test_a_body_that_does_not_come_is_408_when_the_time_is_over() -> None:
    async with running(kind="control", body_bytes_max=1000) as face, await face.connect() as client:
        with_body_app(face)
        face.app.quart.config["BODY_TIMEOUT"] = 0.1
        await client.send_all(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert (await read_all(client)).startswith(b"HTTP/1.1 408")


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async with running(kind="control", body_bytes_max=1000) as face, await face.connect() as client:
        with_body_app(face)
        head = b"POST /body HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\n"
        await client.send_all(head + b"Content-Length: 5\r\n\r\n")
        assert (await read_answers(client, 1)).startswith(b"HTTP/1.1 100 ")
        await client.send_all(b"hello")
        answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n5")


async def test_a_stream_has_its_head_at_once_and_is_not_timed() -> None:
    going_on = trio.Event()

    async def stream() -> AsyncIterator[bytes]:
        await going_on.wait()
        yield b"data: 1\n\n"

    async with running(limits_with(answer_s=0.1, head_s=0.1), "control") as face, await face.connect() as client:
        with_stream(face, stream())
        await client.send_all(b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head = await read_answers(client, 1)
        assert head.startswith(b"HTTP/1.1 200 ")
        await trio.sleep(0.3)  # longer than a head may be in coming
        going_on.set()
        assert await read_all(client) == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"


@pytest.mark.parametrize("behind", [b"", b"GET /track-hit HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["alone", "pipelined"])
async def test_a_stream_without_end_ends_when_its_client_leaves(behind: bytes) -> None:
    left = trio.Event()

    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await trio.sleep(0.01)
        finally:
            left.set()

    async with running(kind="control") as face:
        async with await face.connect() as client:
            with_stream(face, stream())
            await client.send_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n" + behind)
            await read_answers(client, 1)
        with trio.fail_after(PATIENCE_S):
            await left.wait()
        await face.until_connections(0)


async def test_a_stream_that_breaks_off_ends_its_connection_alone(expected_errors: object) -> None:
    expected_errors.expect("handler_crashed")  # type: ignore[attr-defined]

    async def stream() -> AsyncIterator[bytes]:
        yield b"hello"
        raise RuntimeError("broken on purpose")

    async with running(kind="control") as face, await face.connect() as client:
        with_stream(face, stream())
        await client.send_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await read_all(client)
        await face.assert_still_answers()
    assert answer.endswith(b"5\r\nhello\r\n"), "no last chunk: the client sees that a part is missing"


async def test_a_resource_that_never_answers_is_ended_and_named_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(FixedOverview):
        async def status(self) -> dict[str, object]:
            await trio.sleep_forever()
            raise AssertionError

    monkeypatch.setattr(service, "ANSWER_S", 0.1)
    monkeypatch.setattr(service, "TRACE_MARGIN_S", -math.inf)
    with structlog.testing.capture_logs() as logs:
        async with control_face(overview=Stuck()) as served:
            answer = await served.ask("/api/status")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "handler_too_slow" in [entry["event"] for entry in logs if entry["log_level"] == "error"]


async def test_a_long_head_is_refused_by_the_whole_face() -> None:
    async with control_face(Settings(control={"bind": "127.0.0.1:0"})) as served, await connected(served) as client:
        await client.send_all(STATUS + b"X: " + b"a" * 70_000)
        assert (await read_all(client)).startswith(b"HTTP/1.1 431 ")
