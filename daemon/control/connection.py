"""One client's connection to the control face: Hypercorn's HTTP/1.1 for the Quart app, contained and bounded.

Hypercorn's own `serve()` (0.18, on Trio) does not suffice: an exception of one connection ends the whole server; idle
connections have no time limit after their first answer, so that each stop waits the whole grace period; neither the
number of connections nor the time that a client takes to read is limited. Therefore http/server.py accepts, contains,
counts and stops the connections, and this module lets Hypercorn's TCPServer serve each connection.

Upgrades are refused: a request that offers h2c or WebSocket is answered as HTTP/1.1 (RFC 9110, 7.8), HTTP/2 by prior
knowledge with 400. The app has no lifespan, because the supervisor owns every task.
"""

from functools import partial
from typing import Any, cast

import h11
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ConnectionState, LifespanState, Scope
from quart_trio import QuartTrio

from daemon.control.problems import raw_problem
from daemon.http.connection import LINGER_S, SEND_BYTES, FaceConnection, OnIdle, ServerLimits
from daemon.http.request_rules import origin_form, refusal_of, with_ascii_request_line
from daemon.http.server import Server

RECEIVE_BYTES = 64 * 1024
LINGER_BYTES_MAX = 256 * 1024

log = structlog.get_logger("daemon.control")


def control_server(app: QuartTrio, limits: ServerLimits) -> Server:
    """A server of the app, whose MAX_CONTENT_LENGTH bounds the body of a request."""
    config = Config()
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.head_bytes_max
    return Server(partial(ControlConnection, app, config, limits), limits)


class ControlConnection(FaceConnection, TCPServer):
    """Serves one accepted socket of the control face."""

    _awaits_request = True  # no request has come yet, or only a part of a head

    def __init__(
        self,
        app: QuartTrio,
        config: Config,
        limits: ServerLimits,
        sock: trio.socket.SocketType,
        peer: tuple[str, int] | None,
        on_idle: OnIdle,
    ) -> None:
        stream = cast("trio.SSLStream[trio.SocketStream]", trio.SocketStream(sock))  # TCPServer serves both kinds
        FaceConnection.__init__(self, limits, sock, peer, on_idle)
        TCPServer.__init__(self, self._respond, config, WorkerContext(None), LifespanState({}), stream)
        self._quart = app

    async def run(self) -> None:
        try:
            with self._timer:
                async with TaskGroup() as self._task_group:
                    protocol = _HTTP1(
                        self.app, self.config, self.context, self._task_group, ConnectionState({}), False,
                        self._peer, None, self.protocol_send, body_bytes_max=self._quart.config["MAX_CONTENT_LENGTH"],
                    )  # fmt: skip
                    self.protocol = cast(ProtocolWrapper, protocol)  # not ProtocolWrapper, which can switch to HTTP/2
                    await self._read_data()
        finally:
            self._socket.close()

    def abort(self) -> None:
        self._timer.cancel()
        self._socket.close()  # ends a send too, although it is shielded

    async def _read_data(self) -> None:
        lingered_bytes = 0
        while lingered_bytes <= LINGER_BYTES_MAX:
            try:
                data = bytes(await self.stream.receive_some(RECEIVE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            if self._closing:
                lingered_bytes += len(data)
            else:
                self._awaits_request = self.idle
                await self.protocol.handle(RawData(with_ascii_request_line(data) if self.idle else data))
            if not data:
                break
        await self.protocol.handle(Closed())

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            self._end_answers()
            await self.protocol.handle(Closed())
        elif isinstance(event, Updated):
            # No checkpoint here: Quart cancels the task of an answer as soon as its last part is sent. For that reason
            # Hypercorn's own idle timer, which starts after a checkpoint, never starts again.
            self._note_idle(event.idle)

    async def _send(self, data: bytes) -> None:
        async with self.send_lock:
            try:
                for start in range(0, len(data), SEND_BYTES):
                    # Shielded, so that a cancelled handler does not leave a part unfinished.
                    with trio.fail_after(self._limits.head_s, shield=True):
                        await self.stream.send_all(data[start : start + SEND_BYTES])
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.abort()
            except trio.TooSlowError:
                log.debug("connection_closed", address=self.address, reason="the client does not read its answer")
                self.abort()

    def _note_idle(self, idle: bool) -> None:
        self._awaits_request = False
        super()._note_idle(idle)
        if idle and self._stopping:
            self._timer.cancel()

    async def _respond(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable, sync_spawn: Any, call_soon: Any
    ) -> None:
        try:
            await self._quart(scope, receive, send)
        except Exception:
            log.exception("handler_crashed")
            self._timer.deadline = trio.current_time() + LINGER_S  # Hypercorn may still wait for the app to read


class _Parser(h11.Connection):
    """h11 that ignores an empty line before a request (RFC 9112, 2.2). `refusal`: why it refused a request."""

    refusal: str | None = None

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while self.their_state is h11.IDLE and bytes(self._receive_buffer).startswith(b"\r\n"):
            self._receive_buffer.maybe_extract_at_most(2)
        try:
            return super().next_event()
        except h11.RemoteProtocolError as refused:
            self.refusal = str(refused)
            raise


class _HTTP1(H11Protocol):
    """Hypercorn's HTTP/1.1 without HTTP/2 and WebSocket, with the rules of http/request_rules.py for request heads."""

    def __init__(self, *connection: Any, body_bytes_max: int) -> None:
        super().__init__(*connection)
        self.connection: _Parser = _Parser(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)
        self._body_bytes_max = body_bytes_max

    async def _check_protocol(self, event: h11.Request) -> None:
        """Does nothing: Hypercorn switches to HTTP/2 here."""

    async def _create_stream(self, request: h11.Request) -> None:
        method, headers = request.method.decode("ascii"), list(request.headers)
        version = request.http_version.decode("ascii")
        refusal = refusal_of(method, request.target, version, headers, body_bytes_max=self._body_bytes_max)
        if refusal is not None:
            await self._send_error_response(refusal.status, refusal.reason, has_body=method != "HEAD")
            await self.send(Closed())
            return
        kept = [(name, value) for name, value in headers if name != b"upgrade"]
        target = origin_form(request.target) or request.target
        await super()._create_stream(
            h11.Request(method=request.method, target=target, http_version=request.http_version, headers=kept)
        )

    async def _send_error_response(self, status_code: int, reason: str | None = None, *, has_body: bool = True) -> None:
        reason = reason or self.connection.refusal
        log.debug("request_refused", address=self.client and self.client[0], reason=reason)
        content_type, body = raw_problem(status_code, reason)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        if has_body:
            await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())
