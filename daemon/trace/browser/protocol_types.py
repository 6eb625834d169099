"""What the DevTools protocol calls headers, cookies, resources and navigations, from and to the walk's. Pure."""

from collections.abc import Mapping
from typing import Any

from daemon.trace.walk.cookies import Cookie

Params = dict[str, Any]

KINDS: Mapping[str, str] = {
    "formSubmissionGet": "form",
    "formSubmissionPost": "form",
    "httpHeaderRefresh": "refresh-header",
    "metaTagRefresh": "meta",
}
"""Reasons of Page.frameRequestedNavigation. Any other one is a script's."""

PATTERNS = [
    {"urlPattern": "*", "requestStage": "Request"},
    *(
        {"urlPattern": "*", "resourceType": resource, "requestStage": "Response"}
        for resource in ("Document", "Image", "Stylesheet")
    ),
]


def raw_headers(headers: list[Params]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((_bytes(header["name"]), _bytes(header["value"])) for header in headers)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def header_of(name: bytes, value: bytes) -> Params:
    return {"name": name.decode("latin-1"), "value": value.decode("latin-1")}


def cookie_of(cookie: Cookie) -> Params:
    """The parameters of Network.setCookies."""
    value = cookie.value.encode("latin-1").decode("utf-8", "replace")
    known = {"name": cookie.name, "value": value, "path": cookie.path, "secure": cookie.secure}
    scheme = "https" if cookie.secure else "http"
    where = {"url": f"{scheme}://{cookie.domain}/"} if cookie.host_only else {"domain": f".{cookie.domain}"}
    return {**known, **where, "httpOnly": cookie.http_only}
