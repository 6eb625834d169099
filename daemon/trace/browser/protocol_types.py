"""What the DevTools protocol calls headers, cookies, resources and navigations, from and to the walk's. Pure."""

import base64
from collections.abc import Mapping
from typing import Any

from daemon.trace.page.html import Jump
from daemon.trace.walk.cookies import Cookie
from daemon.trace.walk.steps import Identity
from daemon.web.headers import RawHeaders, parsed, wire_url

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


_FRAMING = frozenset({b"content-encoding", b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})


def raw_headers(headers: list[Params]) -> tuple[tuple[bytes, bytes], ...]:
    """The browser has read them as UTF-8."""
    return tuple((header["name"].encode(), header["value"].encode()) for header in headers)


def _text(data: bytes) -> str:
    """The browser makes UTF-8 of it again."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def answer_of(status: int, headers: RawHeaders, data: bytes) -> Params:
    """The parameters of Fetch.fulfillRequest for an answer with the decoded body `data`."""
    named = [{"name": _text(name), "value": _text(value)} for name, value in headers if name.lower() not in _FRAMING]
    return {"responseCode": status, "responseHeaders": named, "body": base64.b64encode(data).decode("ascii")}


def jump_of(request: Params, wanted: str, how: str) -> tuple[Jump, str]:
    """A page's jump by `request`, and its cookies. The page has begun a navigation to `wanted`, of the kind `how`."""
    url = request["url"] + request.get("urlFragment", "")
    body = b"".join(base64.b64decode(part.get("bytes", "")) for part in request.get("postDataEntries") or ())
    headers = {name.lower(): value for name, value in request["headers"].items()}
    is_wanted = parsed(wanted) is not None and wire_url(wanted) == wire_url(request["url"])
    jump = Jump(how if is_wanted else "script", url, request["method"], body, headers.get("content-type", ""))
    return jump, headers.get("cookie", "")


def cookie_of(cookie: Cookie) -> Params:
    """The parameters of Network.setCookies."""
    sent = {"name": cookie.name, "value": cookie.value, "path": cookie.path}
    known = {key: _text(value.encode("latin-1")) for key, value in sent.items()}
    scheme = "https" if cookie.secure else "http"
    where = {"url": f"{scheme}://{cookie.domain}/"} if cookie.host_only else {"domain": f".{cookie.domain}"}
    same_site = {"sameSite": cookie.same_site} if cookie.same_site else {}
    return {**known, **where, **same_site, "secure": cookie.secure, "httpOnly": cookie.http_only}


def agent_of(identity: Identity) -> Params:
    """The parameters of Emulation.setUserAgentOverride. The browser adds the weights of the languages."""
    languages = {"acceptLanguage": ",".join(identity.languages)} if identity.languages else {}
    return {"userAgent": identity.user_agent, **languages}
