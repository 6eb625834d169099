"""The control face's app: access, errors, and what all answers have in common. api.py tells how to add a resource.

The checks of a request, in this order: Host header, token, request from another site's page, role, query parameters.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, cast

import structlog
import trio
from quart import Blueprint, Response, current_app, g, request
from quart.ctx import RequestContext
from quart.typing import ResponseReturnValue
from quart_schema import HttpSecurityScheme, Info, QuartSchema, RequestSchemaValidationError, hide
from quart_schema.openapi import QUART_SCHEMA_HIDDEN_ATTRIBUTE
from quart_schema.validation import QUART_SCHEMA_QUERYSTRING_ATTRIBUTE
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioRequest
from werkzeug.exceptions import BadRequest, HTTPException

from daemon import __version__
from daemon.clock import Moment
from daemon.control.access import SAFE_METHODS, Denied, Tokens, refused_change, refused_host
from daemon.control.actions import Action
from daemon.control.api import note_change
from daemon.control.openapi import ApiDescription
from daemon.control.problems import ProblemRaised, invalid, problem, respond
from daemon.errors import BadInput, DatabaseUnavailable, PoolSilent, TheirFault
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.web.strict_json import decode_json

BODY_BYTES_MAX = 4 * 1024 * 1024
BODY_S = 120.0  # less than an answer may take, so that a body that does not arrive is 408, not an error of ours
OPEN_PATHS = frozenset({"/livez", "/readyz"})  # for probes, which have no token; the answers reveal nothing else
DASHBOARD = "/"  # without a token an empty page that asks for one; the assets are the same for everybody
DOCS = "/docs"  # the same for everybody
ASSETS = "/static/"
CHANGES = "/api/"  # the action log has these; traces that programs ask for elsewhere have rows of their own
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # pages send a policy of their own
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}

Record = Callable[[str, Action], Awaitable[None]]
"""Called with `who` and the change."""

log = structlog.get_logger("daemon.control")


class StrictRequest(TrioRequest):
    """JSON bodies by RFC 8259: UTF-8, no lone surrogates, no NaN, bounded nesting.

    Every body is read as JSON, whatever its Content-Type: `curl -d` sends that of a form.
    """

    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        try:
            return decode_json(await self.get_data())
        except ValueError as e:
            raise ProblemRaised(400, f"the body is not JSON: {e}") from None


class _App(QuartTrio):
    """Limits the time until a resource answers; the parts of a stream come later and are not limited."""

    def __init__(self, answer_s: Callable[[], float], record: Record) -> None:
        super().__init__("daemon.control", static_folder=None)
        self._answer_s = answer_s
        self._record = record

    async def dispatch_request(self, request_context: RequestContext | None = None) -> ResponseReturnValue:
        answer_s = self._answer_s()
        try:
            with trio.move_on_after(answer_s):
                return await super().dispatch_request(request_context)
        except trio.Cancelled:
            await self._interrupted("the client left, or the daemon stopped")
            raise
        log.error("handler_too_slow", path=request.path[:200], answer_s=answer_s)
        await self._interrupted(f"no answer within {answer_s:g} s")
        raise ProblemRaised(503, f"no answer within {answer_s:g} s: see the log")

    async def _interrupted(self, why: str) -> None:
        """Records what a handler may have changed before it was cancelled."""
        if request.method not in SAFE_METHODS and "principal" in g:
            note_change(interrupted=f"{why}: the change may have been made")
            await _record_change(self._record)


def control_app(
    live: LiveSettings,
    tokens: Tokens,
    resources: Sequence[Blueprint],
    is_ready: Callable[[], bool],
    now: Callable[[], Moment],
    *,
    answer_s: Callable[[], float],
    record: Record,
) -> QuartTrio:
    """The app of the control face. An answer begins within `answer_s()`. `record` writes to the action log."""
    app = _App(answer_s, record)
    app.request_class = StrictRequest
    app.config.update(
        PROVIDE_AUTOMATIC_OPTIONS=False, MAX_CONTENT_LENGTH=BODY_BYTES_MAX, BODY_TIMEOUT=BODY_S, RESPONSE_TIMEOUT=None
    )
    app.url_map.merge_slashes = False  # the redirect would go to the request's Host
    QuartSchema(
        app,
        swagger_ui_path=None,
        redoc_ui_path=None,
        scalar_ui_path=None,
        info=Info(title="tracepool", version=__version__),
        security_schemes={"token": HttpSecurityScheme(scheme="bearer")},
        conversion_preference="pydantic",
        openapi_provider_class=cast(type[ApiDescription], partial(ApiDescription, tokens)),
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for blueprint in resources:
        app.register_blueprint(blueprint)
    _add_probes(app, is_ready)

    @app.before_request
    async def admit() -> Response | None:
        if request.path in OPEN_PATHS:
            return None
        denied = _denied(live.current, tokens, now) or _unknown_parameter()
        if denied is None or (denied.status in (401, 503) and _is_public_page()):
            return None
        log.info("control_denied", status=denied.status, why=denied.why, what=_what(), peer=_peer())
        return respond(problem(denied.status, denied.why))

    @app.after_request
    async def conclude(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        principal = g.get("principal")
        if principal is not None and request.method not in SAFE_METHODS:
            facts = {name: list(v) if isinstance(v, dict) else v for name, v in g.get("audit", {}).items()}
            if "subject" in g:
                facts["subject"] = g.subject
            log.info("audit", who=principal.name, what=_what(), result=response.status_code, peer=_peer(), **facts)
            if response.status_code < 400:
                await _record_change(record)
        return response

    _add_error_handlers(app)
    return app


def _denied(settings: Settings, tokens: Tokens, now: Callable[[], Moment]) -> Denied | None:
    """Why the request is denied; None if it is admitted, with its sender in `g.principal`.

    `g.is_admitted()`: whether the sender still is, for answers that take long.
    """
    hosts = settings.control.hosts
    if (why := refused_host(request.headers.get("Host", ""), hosts)) is not None:
        return Denied(421, why)  # RFC 9110, 15.5.20
    authorization = request.headers.get("Authorization")
    principal = tokens.identify(authorization, now().wall_s)
    if isinstance(principal, Denied):
        return principal
    denied = refused_change(request.method, dict(request.headers), hosts)
    if denied is not None:
        return denied
    if not principal.role.may(request.method):
        return Denied(403, f"the token {principal.name!r} may only read: this needs one with --role operator")
    g.principal = principal
    g.is_admitted = lambda: tokens.identify(authorization, now().wall_s) == principal
    return None


def _unknown_parameter() -> Denied | None:
    """Refuses unknown query parameters: a misspelled filter would otherwise return an unfiltered list."""
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or getattr(view, QUART_SCHEMA_HIDDEN_ATTRIBUTE, False):
        return None
    model = getattr(view, QUART_SCHEMA_QUERYSTRING_ATTRIBUTE, None)
    if model is None and request.method not in SAFE_METHODS:
        return None
    allowed = [] if model is None else [field.name for field in fields(model)]
    unknown = [name for name in request.args if name not in allowed]
    if not unknown:
        return None
    which = f"allowed are {', '.join(allowed)}" if allowed else "this path has none"
    return Denied(400, f"unknown query parameter {unknown[0][:100]!r}: {which}")


def _is_public_page() -> bool:
    return request.path in (DASHBOARD, DOCS) or request.path.startswith(ASSETS)


def _add_probes(app: QuartTrio, is_ready: Callable[[], bool]) -> None:
    @app.get("/livez")
    @hide
    async def livez() -> Response:
        return Response(b"ok\n", content_type="text/plain; charset=utf-8")

    @app.get("/readyz")
    @hide
    async def readyz() -> Response:
        text, status = (b"ready\n", 200) if is_ready() else (b"not ready\n", 503)
        return Response(text, status, content_type="text/plain; charset=utf-8")


def _add_error_handlers(app: QuartTrio) -> None:
    @app.errorhandler(ProblemRaised)
    async def raised(error: ProblemRaised) -> Response:
        return respond(error.problem)

    @app.errorhandler(RequestSchemaValidationError)
    async def unfit(error: RequestSchemaValidationError) -> Response:
        return respond(invalid(error.validation_error))

    @app.errorhandler(TheirFault)
    async def theirs(error: TheirFault) -> Response:
        is_outage = isinstance(error, DatabaseUnavailable | PoolSilent)
        status = 400 if isinstance(error, BadInput) else 503 if is_outage else 500
        return respond(problem(status, str(error), error.errors if isinstance(error, BadInput) else ()))

    @app.errorhandler(HTTPException)
    async def http_error(error: HTTPException) -> Response:
        allowed = {"Allow": ", ".join(sorted(error.valid_methods))} if getattr(error, "valid_methods", None) else {}  # type: ignore[attr-defined]
        return respond(problem(error.code or 500, None if type(error) is BadRequest else error.description), allowed)

    @app.errorhandler(Exception)
    async def ours(error: Exception) -> Response:
        log.exception("control_failed", what=_what())
        return respond(problem(500, "an error in tracepool itself: see the daemon's log"))


def _what() -> str:
    return f"{request.method} {request.path[:200]}"


async def _record_change(record: Record) -> None:
    """Writes the change that this request has made to the action log, also if the client has left."""
    if not request.path.startswith(CHANGES) or g.get("unchanged"):
        return
    words = (request.endpoint or "").rpartition(".")[2].replace("_", " ")
    subject = g.get("subject") or next(map(str, (request.view_args or {}).values()), "")
    with trio.CancelScope(shield=True):
        await record(g.principal.name, Action(words, subject, g.get("audit", {})))


def _peer() -> str | None:
    client = request.scope.get("client")
    return client[0] if client else None
