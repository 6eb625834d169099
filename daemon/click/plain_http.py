"""hypercorn's HTTP/1.1 protocol made plain: no way into HTTP/2 or WebSockets, and refusals that are ours.

No sockets and no clocks here: bytes and stream events come in, `send` takes what goes out.
"""

import h11
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Body, Request
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState

from daemon.click.heads import Refusal, origin_form, refusal_of, with_ascii_request_line

WAITED_S = "waited_s"
"""In the state of a connection's first request: for how long it had waited when it was accepted."""


class Refused(Exception):
    """A request is not for any handler."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class BoundedStream(HTTPStream):
    """One request and its answer; the body is counted as it comes, because a chunked one does not say its length."""

    body_bytes_left: int

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, Body):
            self.body_bytes_left -= len(event.data)
            if self.body_bytes_left < 0:
                raise Refused(Refusal(413, "the body is too long"))
        await super().handle(event)


class PlainHTTP(H11Protocol):
    """hypercorn's HTTP/1.1 without its ways into HTTP/2 and WebSockets, and with refusals of our own."""

    body_bytes_max: int
    waited_s: float = 0.0  # in the kernel, before it was accepted
    refused: Refusal | None = None

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData) and self.connection.their_state is h11.IDLE and not self.has_partial_head:
            event = RawData(with_ascii_request_line(event.data))
        try:
            await super().handle(event)
        except Refused as refused:
            if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await self._send_error_response(refused.refusal.status)
            # From here on the handler, if one runs, speaks to nobody: h11 would call its answer a second one.
            self.refused = refused.refusal
            await self.send(Closed())

    @property
    def has_partial_head(self) -> bool:
        return bool(self.connection.trailing_data[0])

    async def stream_send(self, event: StreamEvent) -> None:
        if self.refused is None:
            await super().stream_send(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        refusal = refusal_of(
            event.method, event.target, event.http_version, event.headers, body_bytes_max=self.body_bytes_max
        )
        if refusal is not None:
            raise Refused(refusal)

    async def _create_stream(self, request: h11.Request) -> None:
        path = origin_form(request.target)
        assert path is not None  # _check_protocol refused the others
        stream = BoundedStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        stream.body_bytes_left = self.body_bytes_max
        state = self.connection_state
        if self.keep_alive_requests == 0:
            state = ConnectionState({**state, WAITED_S: self.waited_s})
        self.stream = stream
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii").upper(),
                raw_path=path,
                state=state,
            )
        )
        self.keep_alive_requests += 1

    async def _send_error_response(self, status_code: int) -> None:
        # h11 suggests 501 for a transfer coding that it does not know. Whatever a client sends is not our failure.
        await super()._send_error_response(status_code if status_code < 500 else 400)
