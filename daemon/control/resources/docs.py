"""GET /docs: the API to be read, from the document that /openapi.json gives. One page, without scripts, on its own."""

import base64
import hashlib
import re
from pathlib import Path

from markupsafe import Markup, escape
from quart import Blueprint, Response, current_app, render_template
from quart_schema import hide

from daemon import __version__
from daemon.control.reading import models_of, operations_of

PLACE = Path(__file__).parents[1] / "docs"
_CODE = re.compile(r"`([^`]+)`")


def blueprint(context: object) -> Blueprint:
    """It needs no context: it says nothing of what runs here."""
    routes = Blueprint("docs", __name__, template_folder=str(PLACE))
    style = (PLACE / "docs.css").read_text()
    pages: list[str] = []  # the one, once somebody has asked: what it says stays as it is

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
    """A docstring's text: what stands between backticks is code, an empty line ends a paragraph."""
    paragraphs = (_CODE.sub(r"<code>\1</code>", str(escape(part.strip()))) for part in text.split("\n\n"))
    return Markup("".join(f"<p>{part}</p>" for part in paragraphs if part))  # noqa: S704 it is escaped


def _hash_of(style: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"
