"""What a page requests besides the main frame's documents: scripts and data are loaded, images and styles are not.

A page gets an empty image or style instead, so that it goes on as if its own had been loaded. Some pages wait for an
image, and others for its failure. So the first ones of a page are asked for by HEAD, and fail if they do not exist.
"""

import base64
from collections.abc import Mapping
from http import HTTPStatus

from daemon.trace.browser.process import Tab
from daemon.trace.browser.protocol_types import Params
from daemon.trace.walk.hops import REDIRECT_STATUSES
from daemon.web.addresses import refused_host

REQUESTS_MAX = 2_000  # of one page
ASKED_MAX = 4  # of them for images and styles, by HEAD

_BLOCKED = frozenset({"Image", "Media", "Font", "Stylesheet", "TextTrack", "Prefetch", "Ping", "Manifest"})
_GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\0\0\0!\xf9\4\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"  # transparent, 1 by 1
_METHOD_REFUSED = frozenset({403, 405, 501})  # an answer to HEAD that says nothing about the image
_STAND_INS: Mapping[str, tuple[str, bytes]] = {
    "Image": ("image/gif", _GIF),
    "Stylesheet": ("text/css", b""),
    "Prefetch": ("text/plain", b""),
}


class Resources:
    """The requests of one page of `tab`."""

    def __init__(self, tab: Tab, *, allow_private: bool) -> None:
        self._tab = tab
        self._allow_private = allow_private
        self._requests = self._asked = 0

    @property
    def excess(self) -> str | None:
        """Why no further request is sent, or None."""
        return f"the page sent more than {REQUESTS_MAX} requests" if self._requests >= REQUESTS_MAX else None

    async def paused(self, params: Params) -> None:
        """Handles a Fetch.requestPaused: a request, or the answer to HEAD."""
        number, resource, status = params["requestId"], _type_of(params), params.get("responseStatusCode")
        is_public = self._allow_private or refused_host(params["request"]["url"]) is None
        self._requests += 1
        if resource not in _BLOCKED or "responseErrorReason" in params or status in REDIRECT_STATUSES:
            await self._tab.send("Fetch.continueRequest", requestId=number)
        elif resource not in _STAND_INS or not is_public or (status is not None and not _exists(params)):
            await self._tab.send("Fetch.failRequest", requestId=number, errorReason="BlockedByClient")
        elif status is not None or self._asked == ASKED_MAX or resource == "Prefetch":
            await self._tab.send("Fetch.fulfillRequest", requestId=number, **_stand_in(resource))
        else:
            self._asked += 1
            await self._tab.send("Fetch.continueRequest", requestId=number, method="HEAD")


def _type_of(params: Params) -> str:
    """Chromium calls a prefetch a Fetch. No script can set its header."""
    is_prefetch = "prefetch" in params["request"]["headers"].get("Sec-Purpose", "")
    return "Prefetch" if is_prefetch else params["resourceType"]


def _exists(params: Params) -> bool:
    """Whether the page's image or style would be loaded. An image may have any status."""
    status: int = params["responseStatusCode"]
    headers: dict[str, str] = {}
    for header in params.get("responseHeaders", ()):
        headers[header["name"].lower()] = header["value"].strip().lower()
    if status in _METHOD_REFUSED:
        return True
    if status == HTTPStatus.NO_CONTENT or headers.get("content-length") == "0":
        return params["resourceType"] == "Stylesheet" and status < HTTPStatus.BAD_REQUEST
    kind = headers.get("content-type", "")
    return kind.startswith("image/") if params["resourceType"] == "Image" else status < HTTPStatus.BAD_REQUEST


def _stand_in(resource: str) -> Params:
    kind, body = _STAND_INS[resource]
    headers = {"Content-Type": kind, "Access-Control-Allow-Origin": "*"}
    return {
        "responseCode": 200,
        "responseHeaders": [{"name": name, "value": value} for name, value in headers.items()],
        "body": base64.b64encode(body).decode("ascii"),
    }
