"""The public face: `/track-hit`, `/livez`, `/readyz`, and nothing else. Thin: what a click becomes is clicks.py's."""

from collections.abc import Callable

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from daemon.click.clicks import Clicks, error_body
from daemon.click.plain_http import WAITED_S
from daemon.click.visitor import networks, visitor_of
from daemon.config import Settings

METHODS = ["GET", "HEAD"]
RETRY_AFTER_S = "2"


def public_app(settings: Settings, clicks: Callable[[], Clicks | None]) -> QuartTrio:
    """`clicks()` is None until the journal is open: then clicks get 503."""
    app = QuartTrio("daemon.click", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # it would redirect to wherever the request's Host says
    trusted = networks(settings.click.trusted_proxies)

    async def track_hit() -> Response:
        face = clicks()
        if face is None:
            return _json_error(
                503, "tracepool is starting: its database is not there yet", {"Retry-After": RETRY_AFTER_S}
            )
        peer = request.scope.get("client")
        visitor = visitor_of(peer[0] if peer else None, request.headers, trusted)
        waited_s = request.scope.get("state", {}).get(WAITED_S, 0.0)
        answer = await face.answer(request.query_string, visitor, waited_s)
        headers = {"X-Request-Id": str(answer.request_id), "Cache-Control": "no-store"}
        if answer.status == 503:
            headers["Retry-After"] = RETRY_AFTER_S
        if answer.location is None:
            return _json_error(answer.status, answer.error or "", headers)
        headers["Referrer-Policy"] = "no-referrer-when-downgrade"
        headers["Location"] = answer.location
        return Response(b"", answer.status, headers, content_type="text/plain; charset=utf-8")

    async def livez() -> Response:
        return Response(b"ok\n", content_type="text/plain; charset=utf-8")

    async def readyz() -> Response:
        face = clicks()
        ready = face is not None and face.is_tracing
        return Response(
            b"ready\n" if ready else b"not ready\n", 200 if ready else 503, content_type="text/plain; charset=utf-8"
        )

    async def http_error(error: HTTPException) -> Response:
        headers = {"Allow": ", ".join(METHODS)} if error.code == 405 else {}
        return _json_error(error.code or 500, error.name, headers)

    for path in ("/track-hit", "/functions/v1/track-hit"):
        app.add_url_rule(path, path, track_hit, methods=METHODS, provide_automatic_options=False)
    app.add_url_rule("/livez", "livez", livez, methods=METHODS, provide_automatic_options=False)
    app.add_url_rule("/readyz", "readyz", readyz, methods=METHODS, provide_automatic_options=False)
    app.register_error_handler(HTTPException, http_error)
    return app


def _json_error(status: int, error: str, headers: dict[str, str]) -> Response:
    return Response(error_body(error), status, headers, content_type="application/json")
