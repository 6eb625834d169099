"""One request and its answer, between a connection and an ASGI app: a limit on the handler's time, errors in our log.

The app's time is limited until its answer goes out; from then on each send is, by the connection. A handler whose
client has left is cancelled, unless its answer is on the way already: that one hears of it by `http.disconnect`.
An answer that says its length is taken to follow at once, and goes out in one piece with its head.
"""

import math
import time
from collections.abc import Awaitable, Callable, Iterable
from email.utils import formatdate
from functools import lru_cache

import structlog
import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    HTTPResponseBodyEvent,
    HTTPScope,
)

from daemon.http.http1 import PlainHTTP, Request
from daemon.http.request_rules import path_of

WAITED_S = "waited_s"
"""In the state of a request that had waited: for how long, when its connection was accepted."""

log = structlog.get_logger("daemon.click")


class Exchange:
    """`run` it once. `whole`: all of the answer went out, so that the connection may go on."""

    __slots__ = (
        "_answer_s",
        "_arrived",
        "_begun",
        "_body",
        "_client_left",
        "_head",
        "_http",
        "_patience",
        "_request",
        "_request_whole",
        "_send",
        "_told_whole",
        "_waited_s",
        "whole",
    )

    def __init__(
        self,
        request: Request,
        http: PlainHTTP,
        send: Callable[[bytes], Awaitable[None]],
        *,
        answer_s: float,
        waited_s: float,
    ) -> None:
        self._request = request
        self._http = http
        self._send = send
        self._waited_s = waited_s
        self._patience = trio.CancelScope(deadline=trio.current_time() + answer_s)
        self._answer_s = answer_s
        self._body = bytearray()  # what came and the app has not asked for
        self._request_whole = False
        self._told_whole = False  # so that the app waits for nothing but the client's leave
        self._arrived: trio.Event | None = None  # while the app waits
        self._client_left = False
        self._head: tuple[int, Iterable[tuple[bytes, bytes]]] | None = None
        self._begun = False  # the head went out
        self.whole = False

    async def run(self, app: ASGIFramework, client: tuple[str, int] | None) -> None:
        """Has the app answer. What it raises is logged and answered with 500, as is a return without an answer."""
        try:
            with self._patience:
                await app(self._scope(client), self._receive, self._answer)
        except Exception:
            log.exception("handler_crashed")
        if self._client_left or self._begun:
            return
        status = 500
        if self._patience.cancelled_caught:
            status = 503 if self._request_whole else 408
            if self._request_whole:
                log.error("handler_too_slow", path=path_of(self._request.target)[:200], answer_s=self._answer_s)
        await self._send(self._http.bare(status, [date_header()]))

    def take(self, data: bytes) -> None:
        """A part of the request's body; the connection bounds what comes in all."""
        self._body += data
        self._tell()

    def take_end(self) -> None:
        self._request_whole = True
        self._tell()

    def leave(self) -> None:
        """The client is gone, or is not to be spoken to any more."""
        self._client_left = True
        self._tell()
        if not self._begun:
            self._patience.cancel()

    def _tell(self) -> None:
        if self._arrived is not None:
            self._arrived.set()

    def _scope(self, client: tuple[str, int] | None) -> HTTPScope:
        request = self._request
        raw_path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "http_version": request.version,
            "method": request.method,
            "scheme": "http",
            "path": path_of(raw_path),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": request.headers,
            "client": client,
            "server": None,
            "state": ConnectionState({WAITED_S: self._waited_s} if self._waited_s else {}),
            "extensions": {},
        }

    async def _receive(self) -> ASGIReceiveEvent:
        if not self._request_whole and (interim := self._http.go_on()):
            await self._send(interim)
        while not (self._body or self._client_left or self.whole or self._request_whole > self._told_whole):
            self._arrived = trio.Event()
            await self._arrived.wait()
        if self._client_left or self.whole:
            return {"type": "http.disconnect"}
        data, self._body = bytes(self._body), bytearray()
        self._told_whole = self._request_whole
        return {"type": "http.request", "body": data, "more_body": not self._told_whole}

    async def _answer(self, event: ASGISendEvent) -> None:
        if self._client_left:
            await trio.lowlevel.checkpoint()  # or an app that goes on sending would let nobody else run
        elif event["type"] == "http.response.start" and self._head is None:
            self._head = event["status"], event["headers"]
            if not any(name.lower() == b"content-length" for name, _ in event["headers"]):
                self._patience.deadline = math.inf
                await self._send(self._head_bytes())  # its first part may be long in coming
        elif event["type"] == "http.response.body" and not self.whole:
            if event.get("more_body", False):
                self._patience.deadline = math.inf
            await self._send(self._bytes_of(event))
            if event.get("more_body", False):
                await trio.lowlevel.checkpoint()
            else:
                self.whole = True
                self._tell()
        else:
            raise RuntimeError(f"the app sends {event['type']} out of its turn")

    def _head_bytes(self) -> bytes:
        """The answer's head for the wire; nothing where it went out before."""
        if self._head is None:
            raise RuntimeError("the app sends a body before a head")
        if self._begun:
            return b""
        status, headers = self._head
        head = self._http.head(status, [*headers, date_header()])
        self._begun = True
        return head

    def _bytes_of(self, event: HTTPResponseBodyEvent) -> bytes:
        """A part of the answer for the wire, the head before the first."""
        parts = [self._head_bytes(), self._http.body(event.get("body", b""))]
        if not event.get("more_body", False):
            parts.append(self._http.end())
        return b"".join(parts)


def date_header() -> tuple[bytes, bytes]:
    return _date_header_at(int(time.time()))


@lru_cache(maxsize=1)
def _date_header_at(second: int) -> tuple[bytes, bytes]:
    return b"date", formatdate(second, usegmt=True).encode("ascii")
