"""What a page requests besides the main frame's documents: scripts and data are loaded, images and styles are not.

A page gets an empty style instead, so that it goes on as if its own had been loaded; from a host that is not public it
gets none, as any other answer. Images fail: `<img src=x onerror=…>` is how pages hide a script.
"""

from daemon.trace.browser.process import Tab
from daemon.trace.browser.protocol_types import Params
from daemon.web.addresses import refused_host

REQUESTS_MAX = 2_000  # of one page

_BLOCKED = frozenset({"Image", "Media", "Font", "Stylesheet", "TextTrack", "Prefetch", "Ping", "Manifest"})
_EMPTY_STYLE = [{"name": "Content-Type", "value": "text/css"}, {"name": "Access-Control-Allow-Origin", "value": "*"}]


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
        elif resource == "Stylesheet" and (self._allow_private or refused_host(params["request"]["url"]) is None):
            await self._tab.send(
                "Fetch.fulfillRequest", requestId=number, responseCode=200, responseHeaders=_EMPTY_STYLE
            )
        else:
            await self._tab.send("Fetch.failRequest", requestId=number, errorReason="BlockedByClient")
