"""The public face: `/track-hit`, `/livez`, `/readyz`, and nothing else. Thin: what a click becomes is clicks.py's.

A plain ASGI app: of a framework four exact paths need nothing, and its requests cost more than the click.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from daemon.click.clicks import Clicks, error_body
from daemon.click.visitor import Network, networks, visitor_of
from daemon.http.asgi import WAITED_S
from daemon.http.server import ServerLimits
from daemon.settings.model import DEADLINE_MAX_S, Settings

METHODS = ("GET", "HEAD")
CLICK_PATHS = frozenset({"/track-hit", "/functions/v1/track-hit"})
RETRY_AFTER = (b"retry-after", b"2")
TEXT = b"text/plain; charset=utf-8"

ANSWER_MARGIN_S = 3.0  # that a connection has beyond the longest deadline

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    body: bytes
    kind: bytes
    headers: tuple[Header, ...] = ()


def public_app(
    settings: Settings, clicks: Callable[[], Clicks | None], hindrances: Callable[[], list[str]] = list
) -> ASGIFramework:
    """`clicks()` is None until the journal is open: then clicks get 503. `hindrances()`: lines for /readyz."""
    trusted = networks(settings.click.trusted_proxies)

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            raise ValueError(f"ASGI scope {scope['type']!r}: this app serves http alone")  # ASGI has it raise
        response = await _response(scope, clicks(), trusted, hindrances)
        length = (b"content-length", b"%d" % len(response.body))
        headers = [(b"content-type", response.kind), length, *response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": False})

    return app


def server_limits(settings: Settings) -> ServerLimits:
    click = settings.click
    return ServerLimits(
        answer_s=DEADLINE_MAX_S + ANSWER_MARGIN_S,  # an offer may set a deadline of its own
        head_s=click.head_timeout_s,
        head_bytes_max=click.head_bytes_max,
        connections_max=click.connections_max,
        connections_per_address_max=click.connections_per_address_max,
        backlog=click.backlog,
    )


async def _response(
    scope: HTTPScope,
    face: Clicks | None,
    trusted: tuple[Network | str, ...],
    hindrances: Callable[[], list[str]],
) -> _Response:
    path = scope["path"]
    if path not in CLICK_PATHS and path not in ("/livez", "/readyz"):
        return _error(404, HTTPStatus.NOT_FOUND.phrase)
    if scope["method"] not in METHODS:
        return _error(405, HTTPStatus.METHOD_NOT_ALLOWED.phrase, (b"allow", ", ".join(METHODS).encode()))
    if path == "/livez":
        return _Response(200, b"ok\n", TEXT)
    if path == "/readyz":
        ready = face is not None and face.is_tracing
        lines = ["ready" if ready else "not ready", *hindrances(), ""]
        return _Response(200 if ready else 503, "\n".join(lines).encode("utf-8", "replace"), TEXT)
    if face is None:
        return _error(503, "tracepool is starting: its database is not there yet", RETRY_AFTER)
    return await _clicked(scope, face, trusted)


async def _clicked(scope: HTTPScope, face: Clicks, trusted: tuple[Network | str, ...]) -> _Response:
    peer = scope["client"]
    visitor = visitor_of(peer[0] if peer else None, _Fields(scope["headers"]), trusted)
    answer = await face.answer(scope["query_string"], visitor, scope["state"].get(WAITED_S, 0.0))
    headers = [(b"x-request-id", str(answer.request_id).encode()), (b"cache-control", b"no-store")]
    if answer.status == 503:
        headers.append(RETRY_AFTER)
    if answer.location is None:
        return _error(answer.status, answer.error or "", *headers)
    headers.append((b"referrer-policy", b"no-referrer-when-downgrade"))
    headers.append((b"location", answer.location.encode("ascii")))
    return _Response(answer.status, b"", TEXT, tuple(headers))


def _error(status: int, error: str, *headers: Header) -> _Response:
    return _Response(status, error_body(error), b"application/json", headers)


class _Fields:
    """A request's header lines by name, in latin-1 (RFC 9110, 5.5)."""

    def __init__(self, headers: Iterable[Header]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            self._values.setdefault(name, []).append(value)

    def get(self, name: str) -> str | None:
        values = self._values.get(name.lower().encode())
        return values[0].decode("latin-1") if values else None

    def getlist(self, name: str) -> list[str]:
        return [value.decode("latin-1") for value in self._values.get(name.lower().encode(), ())]
