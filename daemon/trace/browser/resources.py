"""What a page requests besides the main frame's documents: scripts and data are loaded, images and styles are not.

A page gets an empty image or style instead, so that it goes on as if its own had been loaded. From a host that is not
public it gets none, as any other answer.
"""

import base64
from collections.abc import Mapping

from daemon.trace.browser.process import Tab
from daemon.trace.browser.protocol_types import Params
from daemon.web.addresses import refused_host

REQUESTS_MAX = 2_000  # of one page

_BLOCKED = frozenset({"Image", "Media", "Font", "Stylesheet", "TextTrack", "Prefetch", "Ping", "Manifest"})
_GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\0\0\0!\xf9\4\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"  # transparent, 1 by 1
_STAND_INS: Mapping[str, tuple[str, bytes]] = {"Image": ("image/gif", _GIF), "Stylesheet": ("text/css", b"")}


class Resources:
    """The requests of one page of `tab`."""

    def __init__(self, tab: Tab, *, allow_private: bool) -> None:
        self._tab = tab
        self._allow_private = allow_private
        self._requests = 0

    @property
    def excess(self) -> str | None:
        """Why no further request is sent, or None."""
        return f"the page sent more than {REQUESTS_MAX} requests" if self._requests >= REQUESTS_MAX else None

    async def paused(self, params: Params) -> None:
        """Handles a Fetch.requestPaused."""
        number, resource = params["requestId"], params["resourceType"]
        self._requests += 1
        if resource not in _BLOCKED:
            await self._tab.send("Fetch.continueRequest", requestId=number)
        elif resource in _STAND_INS and (self._allow_private or refused_host(params["request"]["url"]) is None):
            await self._tab.send("Fetch.fulfillRequest", requestId=number, **_stand_in(resource))
        else:
            await self._tab.send("Fetch.failRequest", requestId=number, errorReason="BlockedByClient")


def _stand_in(resource: str) -> Params:
    kind, body = _STAND_INS[resource]
    headers = {"Content-Type": kind, "Access-Control-Allow-Origin": "*"}
    return {
        "responseCode": 200,
        "responseHeaders": [{"name": name, "value": value} for name, value in headers.items()],
        "body": base64.b64encode(body).decode("ascii"),
    }
