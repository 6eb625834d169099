"""GET /: the dashboard, and its assets. All of it comes from this package; nothing in a page may come from elsewhere.

Who may look without a token finds the first figures in the page; others get it empty, and it asks for their token.
"""

from pathlib import Path
from typing import Any

from quart import Blueprint, Response, g, render_template
from quart_schema import hide

from daemon import __version__
from daemon.control.api import GetContext
from daemon.control.problems import ProblemRaised
from daemon.control.resources.events import standing

PLACE = Path(__file__).parents[1] / "dashboard"
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


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("dashboard", __name__, template_folder=str(PLACE / "templates"))
    assets = {file.relative_to(PLACE / "static").as_posix(): file for file in (PLACE / "static").rglob("*.*")}
    read: dict[str, bytes] = {}

    @routes.get("/")
    @hide
    async def dashboard() -> Response:
        page = await render_template("dashboard.html", version=__version__, **await _first(context))
        return _guarded(Response(page, content_type="text/html; charset=utf-8"))

    @routes.get("/static/<path:name>")
    @hide
    async def asset(name: str) -> Response:
        if name not in assets:
            raise ProblemRaised(404, "no such asset")
        if name not in read:
            read[name] = assets[name].read_bytes()  # a local file of this package, once
        return _guarded(Response(read[name], content_type=TYPES[assets[name].suffix]))

    return routes


async def _first(context: GetContext) -> dict[str, Any]:
    """What the page shows before any script has run."""
    nothing: dict[str, Any] = {"status": None, "events": [], "starting": False}
    if g.get("principal") is None:
        return nothing
    try:
        here = context()
    except ProblemRaised:
        return {**nothing, "starting": True}
    recent = here.observers.events.recent()[-EVENTS_SHOWN:]
    return {**nothing, "status": await standing(here), "events": [noted.as_dict() for noted in reversed(recent)]}


def _guarded(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response
