"""The pages for a browser: GET / is the dashboard, GET /docs describes the API. All assets are in this package."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from quart import Blueprint, Response, current_app, g, render_template, request
from quart_schema import hide

from daemon import __version__, formats
from daemon.control.api import GetContext
from daemon.control.api_docs import models_of, operations_of
from daemon.control.problems import ProblemRaised
from daemon.control.resources.status import status_message

DASHBOARD = Path(__file__).parents[1] / "dashboard"
DOCS = Path(__file__).parents[1] / "docs"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}
EVENTS_SHOWN = 50
FILTERS: dict[str, Callable[..., str]] = {
    "number": formats.number,
    "percentage": formats.percentage,
    "ms": formats.milliseconds,
    "duration": formats.duration,
    "dollars": formats.dollars,
}


def dashboard_routes(context: GetContext) -> Blueprint:
    routes = Blueprint("dashboard", __name__, template_folder=str(DASHBOARD / "templates"))
    assets = {file.relative_to(DASHBOARD / "static").as_posix(): file for file in (DASHBOARD / "static").rglob("*.*")}
    contents: dict[str, bytes] = {}
    for name, text_of in FILTERS.items():
        routes.add_app_template_filter(text_of, name)

    @routes.get("/")
    @hide
    async def dashboard() -> Response:
        sifted = any("." in name for name in request.args)  # filters and orders, which the scripts apply
        figures = await _initial_figures(context)
        page = await render_template("dashboard.html", version=__version__, sifted=sifted, **figures)
        return _with_policy(Response(page, content_type="text/html; charset=utf-8"))

    @routes.get("/static/<path:name>")
    @hide
    async def asset(name: str) -> Response:
        if name not in assets:
            raise ProblemRaised(404, "no such asset")
        if name not in contents:
            contents[name] = assets[name].read_bytes()
        return _with_policy(Response(contents[name], content_type=TYPES[assets[name].suffix]))

    return routes


async def _initial_figures(context: GetContext) -> dict[str, Any]:
    """The figures in the page as it is sent, before a script runs."""
    nothing: dict[str, Any] = {"status": None, "events": [], "starting": False}
    if g.get("principal") is None:
        return nothing
    try:
        here = context()
    except ProblemRaised:
        return {**nothing, "starting": True}
    recent = here.observers.events.recent()[-EVENTS_SHOWN:]
    return {**nothing, "status": await status_message(here), "events": [asdict(noted) for noted in reversed(recent)]}


def _with_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


_CODE = re.compile(r"`([^`]+)`")


def docs_routes(context: object) -> Blueprint:
    """`context` is not used: the page describes the API, not this daemon."""
    routes = Blueprint("docs", __name__, template_folder=str(DOCS))
    style = (DOCS / "docs.css").read_text()
    pages: list[str] = []  # the page, rendered at the first request

    @routes.get("/docs")
    @hide
    async def docs() -> Response:
        if not pages:
            document = current_app.extensions["QUART_SCHEMA"].openapi_provider.schema()
            pages.append(
                await render_template(
                    "docs.html",
                    version=__version__,
                    style=Markup(style),  # noqa: S704 a file of this package
                    operations=operations_of(document),
                    models=models_of(document),
                    prose=_prose,
                )
            )
        page = Response(pages[0], content_type="text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src '{_hash_of(style)}'; frame-ancestors 'none'; base-uri 'none';"
            " form-action 'none'"
        )
        return page

    return routes


def _prose(text: str) -> Markup:
    """A docstring's text as HTML: backticks enclose code, an empty line ends a paragraph."""
    paragraphs = (_CODE.sub(r"<code>\1</code>", str(escape(part.strip()))) for part in text.split("\n\n"))
    return Markup("".join(f"<p>{part}</p>" for part in paragraphs if part))  # noqa: S704 escaped above


def _hash_of(style: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"
