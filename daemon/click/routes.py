"""The HTTP routes of the click face: `/track-hit`, `/livez` and `/readyz`. clicks.py decides a click's answer."""

import difflib
import json
from collections.abc import Callable
from http import HTTPStatus

import trio

from daemon.click.clicks import Clicks
from daemon.click.repeats import CLICK_IDS
from daemon.click.visitor import TrustedProxies, is_preview_robot, purposes_in, trusted_proxies, visitor_of
from daemon.http.connection import Handler, ServerLimits
from daemon.http.http1 import Header, Request, Response
from daemon.printable import one_line
from daemon.settings.live import LiveSettings
from daemon.settings.model import DEADLINE_MAX_S, Settings
from daemon.web.headers import value_of
from daemon.web.privacy import kept_address

METHODS = ("GET", "HEAD")
PROBES = ("/livez", "/readyz")
CLICK_METHODS = (*METHODS, "POST")  # parallel tracking sends POST (navigator.sendBeacon); its body is ignored
CLICK_PATHS = frozenset({"/track-hit", "/functions/v1/track-hit"})
CLICK_MARKS = tuple(f"{name}=".encode() for name in ("offer", *CLICK_IDS))  # in the query of a click
LIKENESS_MIN = 0.75  # of a misspelt path, see difflib
LIKE_CHARACTERS_MAX = 64
AFTER_A_LINK = "/.,;:!?)]>\"' "  # what follows a link in a text, and becomes a part of it
RETRY_AFTER = (b"retry-after", b"2")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json")
HTML = (b"content-type", b"text/html; charset=utf-8")
PREFETCH_REFUSED = b"""<!doctype html><title>One moment</title><meta http-equiv="refresh" content="1">
<p><a href="">Continue</a></p>
"""
"""No browser shows the answer of a prefetch that failed. If a program does, this page asks again as a click."""
START_POLL_S = 0.02

ANSWER_MARGIN_S = 3.0  # a connection's limit is this much above the longest deadline


def click_handler(
    settings: Settings,
    current_clicks: Callable[[], Clicks | None],
    hindrances: Callable[[], list[str]] = list,
    falls_back: Callable[[], bool] = lambda: False,
) -> Handler:
    """`current_clicks()` is None at the start, until the offers' cache file is read: clicks wait for that.

    `hindrances()`: lines for /readyz. `falls_back()`: whether click.fallback_url is set. Then a misspelt path is a
    click too, see `_is_misspelt`.
    """
    click = settings.click
    trusted = trusted_proxies(click.trusted_proxies, click.forwarded_header, click.country_header)

    async def handle(request: Request) -> Response:
        path, clicks = request.path, current_clicks()
        is_click = path in CLICK_PATHS or _click_path(path) in CLICK_PATHS
        is_click = is_click or (falls_back() and path not in PROBES and _is_misspelt(path, request.query))
        if not is_click and path not in PROBES:
            return _error(404, HTTPStatus.NOT_FOUND.phrase)
        if is_click and request.method == "OPTIONS" and (allowed := _cors(request)):
            return Response(204, allowed)
        methods = CLICK_METHODS if is_click else METHODS
        if request.method not in methods:
            return _error(405, HTTPStatus.METHOD_NOT_ALLOWED.phrase, (b"allow", ", ".join(methods).encode()))
        if path == "/livez":
            return Response(200, (TEXT,), b"ok\n")
        if path == "/readyz":
            ready = clicks is not None and clicks.is_tracing
            lines = ["ready" if ready else "not ready", *map(one_line, hindrances()), ""]
            return Response(200 if ready else 503, (TEXT,), "\n".join(lines).encode("utf-8", "replace"))
        if clicks is None and (clicks := await _begun(current_clicks, click.deadline_s)) is None:
            return _error(503, "tracepool is starting: its database is not there yet", RETRY_AFTER)
        return await _answer_click(request, clicks, trusted)

    return handle


def server_limits(live: LiveSettings) -> ServerLimits:
    click = live.current.click
    return ServerLimits(
        answer_s=DEADLINE_MAX_S + ANSWER_MARGIN_S,  # an offer may have a deadline of its own
        head_s=click.head_timeout_s,
        head_bytes_max=click.head_bytes_max,
        connections_max=click.connections_max,
        connections_per_address_max=click.connections_per_address_max,
        backlog=click.backlog,
        shown=lambda address: kept_address(address, live.current.privacy.visitor_address),
    )


async def _answer_click(request: Request, clicks: Clicks, trusted: TrustedProxies) -> Response:
    purposes = purposes_in(request.headers)
    visitor = visitor_of(request.peer, request.headers, trusted)
    if request.method == "HEAD" or "preview" in purposes or is_preview_robot(visitor.user_agent):
        answer = await clicks.preview(request.query, visitor, request.waited_s)
    elif purposes:
        answer = clicks.refuse_prefetch()
        request_id = (b"x-request-id", str(answer.request_id).encode())
        return Response(503, (HTML, request_id, (b"cache-control", b"no-store"), RETRY_AFTER), PREFETCH_REFUSED)
    else:
        answer = await clicks.answer(request.query, visitor, request.waited_s)
    headers = [(b"x-request-id", str(answer.request_id).encode()), (b"cache-control", b"no-store")]
    if answer.status == 503:
        headers.append(RETRY_AFTER)
    if answer.location is None:
        return _error(answer.status, answer.error or "", *headers)
    if answer.in_background and request.method == "POST":
        return Response(204, headers)  # navigator.sendBeacon: nothing shows an answer, and nothing follows a redirect
    headers.append((b"referrer-policy", b"no-referrer-when-downgrade"))
    headers.append((b"location", answer.location.encode("ascii")))
    return Response(answer.status, (TEXT, *headers))


async def _begun(current_clicks: Callable[[], Clicks | None], within_s: float) -> Clicks | None:
    with trio.move_on_after(within_s):
        while (clicks := current_clicks()) is None:  # noqa: ASYNC110 - for milliseconds, once
            await trio.sleep(START_POLL_S)
        return clicks
    return None


def _is_misspelt(path: str, query: bytes) -> bool:
    """Another path is a click's if it or its query names an offer, the query has a click id, or it looks so."""
    path, query = path.lower(), query.lower()
    if "offer=" in path or path.startswith(tuple(CLICK_PATHS)) or any(mark in query for mark in CLICK_MARKS):
        return True
    return bool(difflib.get_close_matches(path[:LIKE_CHARACTERS_MAX], CLICK_PATHS, 1, LIKENESS_MIN))


def _cors(request: Request) -> list[Header]:
    """What a browser asks before it sends a beacon of JSON from a page of another site (Fetch, 3.3.2: preflight)."""
    origin, asked = (value_of(request.headers, name) for name in (b"origin", b"access-control-request-method"))
    if origin is None or asked is None:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),  # a beacon is sent with them; none is read here
        (b"access-control-allow-methods", ", ".join(CLICK_METHODS).encode()),
        (b"access-control-allow-headers", value_of(request.headers, b"access-control-request-headers") or b"*"),
        (b"access-control-max-age", b"600"),
    ]


def _click_path(path: str) -> str:
    """The path without what people and programs add to a link: capitals, doubled slashes, punctuation behind it."""
    pieces = path.rstrip(AFTER_A_LINK).lower().split("/")
    return "/" + "/".join(piece for piece in pieces if piece)


def _error(status: int, error: str, *headers: Header) -> Response:
    return Response(status, (JSON, *headers), json.dumps({"error": error}).encode())
