"""An origin with expensive pages: small bodies that inflate, scripts that make a regular expression backtrack.

Each kind is a chain of two requests, recorded as those of the ad network: the first creates a click id, the
second serves the page.

    /start/<kind>?<query>  →  302 to  /page/<kind>?cid=<n>&<query>
"""

import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import brotli
import trio

from daemon.demo.origin import Origin, Step
from daemon.demo.wire import Request, accept_from, answer, listen
from tests.fakes.events import EventLog

PAGE_BYTES = 16 * 1024
"""The daemon reads so many bytes of a page."""
BOMB_BYTES = 16 * 1024 * 1024
FIRST_CID = 1_000_000_000
"""Above the click ids of the ad network."""

_START = re.compile(r"/start/([a-z-]+)(?:\?(.*))?")
_PAGE = re.compile(r"/page/([a-z-]+)\?cid=(\d+)(?:&.*)?")


def _script(code: bytes) -> bytes:
    begin, end = b"<!doctype html><script>location;", b"</script>"
    return begin + code + b"x" * (PAGE_BYTES - len(begin) - len(code) - len(end)) + end


def pages() -> dict[str, tuple[bytes, str]]:
    """Kind → the body and its Content-Encoding, if any."""
    html = b"<!doctype html><p>"
    return {
        "classes": (_script(b"/[" * 2_000), ""),
        "brotli-bomb": (brotli.compress(html + b" " * BOMB_BYTES), "br"),
        "divisions": (_script(b"a=/[" * 2_000), ""),
        "nesting": (html + b"<div><b>" * (PAGE_BYTES // 8), ""),
        "attributes": (html + b"<p " + b" ".join(b"a%d=%d" % (n, n) for n in range(1_500)) + b">", ""),
        "scripts": (html + b"<script>location</script>" * (PAGE_BYTES // 25), ""),
    }


class HostileOrigin(Origin):
    """An origin of such pages. `served` counts the pages by kind."""

    def __init__(self, log: EventLog, port: int) -> None:
        super().__init__(log.record)
        self.served = dict.fromkeys(KINDS, 0)
        self._port = port
        self._next_cid = itertools.count(FIRST_CID)
        self._answers: dict[str, bytes] = {}

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self._port}/start/{kind}"

    async def prepare(self) -> None:
        """Create the pages, which takes a moment."""
        for kind, (body, coding) in (await trio.to_thread.run_sync(pages)).items():
            extra = (("Content-Encoding", coding),) if coding else ()
            self._answers[kind] = answer(200, body, *extra, kind="text/html; charset=utf-8")

    def step(self, request: Request, client: str) -> Step:
        if match := _START.fullmatch(request.target):
            cid, query = next(self._next_cid), f"&{match[2]}" if match[2] else ""
            response = answer(302, b"", ("Location", f"/page/{match[1]}?cid={cid}{query}"))
            return Step(response, 302, cid, 0, 1)
        if match := _PAGE.fullmatch(request.target):
            self.served[match[1]] += 1
            return Step(self._answers[match[1]], 200, int(match[2]), 1, 1)
        return Step(answer(404), 404)


KINDS = ("classes", "brotli-bomb", "divisions", "nesting", "attributes", "scripts")


@asynccontextmanager
async def hostile_origin(log: EventLog) -> AsyncIterator[HostileOrigin]:
    """Serve on a port of 127.0.0.1 until the block ends."""
    with listen("127.0.0.1", 0) as listener:
        origin = HostileOrigin(log, int(listener.getsockname()[1]))
        await origin.prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_from, listener, origin.serve, nursery)
            yield origin
            nursery.cancel_scope.cancel()
