"""Between hypercorn and an ASGI app: a limit on the handler's time, sends that are not cut short, errors in our log."""

import math
from collections.abc import Callable
from typing import cast

import structlog
import trio
from hypercorn.logging import Logger
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class BoundedApp:
    """The app, with a limit on the time until its answer begins, and with sends that are complete or fail.

    Quart cancels a handler as soon as hypercorn reports the request's end, which it does from inside the last send; a
    send cut short there would leave the connection neither idle nor closed, hence the shield. It ends: each send is
    bounded by its connection.
    """

    __slots__ = ("_answer_s", "_app")

    def __init__(self, app: ASGIFramework, answer_s: float) -> None:
        self._app = app
        self._answer_s = answer_s

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., object],
        call_soon: Callable[..., object],
    ) -> None:
        whole = False
        with trio.move_on_after(self._answer_s) as patience:

            async def receive_noted() -> ASGIReceiveEvent:
                nonlocal whole
                event = await receive()
                whole = whole or (event["type"] == "http.request" and not event["more_body"])
                return event

            async def send_shielded(event: ASGISendEvent) -> None:
                patience.deadline = math.inf
                with trio.CancelScope(shield=True):
                    await send(event)

            await self._app(scope, receive_noted, send_shielded)
        if patience.cancelled_caught:
            if whole:
                path = cast(HTTPScope, scope)["path"]
                log.error("handler_too_slow", path=path[:200], answer_s=self._answer_s)
            await _send_plain(send, 503 if whole else 408)


async def _send_plain(send: ASGISendCallable, status: int) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class HypercornLog(Logger):
    """What hypercorn says, in our words: only that a handler raised. The rest is off."""

    async def exception(self, message: str, *args: object, **kwargs: object) -> None:
        log.exception("handler_crashed")
