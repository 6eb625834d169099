"""An origin whose pages are made to cost the reader: bodies of a few bytes that inflate, scripts that backtrack.

Each kind is a chain of two requests, recorded as the demo's origin records its own: the first mints a click id, the
second serves the page.

    /start/<kind>?<query>  →  302 to  /page/<kind>?cid=<n>&<query>
"""

import itertools
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import brotli
import trio

from daemon.demo.events import TARGET_CHARS_MAX, EventLog, OriginEvent
from daemon.demo.wire import Peer, accept_from, answer, listen

PAGE_BYTES = 16 * 1024
"""So many bytes of a page are read."""
BOMB_BYTES = 16 * 1024 * 1024
FIRST_CID = 1_000_000_000
"""Above all of the demo's own."""

_START = re.compile(rb"/start/([a-z-]+)(?:\?(.*))?")
_PAGE = re.compile(rb"/page/([a-z-]+)\?cid=(\d+)(?:&.*)?")


def _script(code: bytes) -> bytes:
    begin, end = b"<!doctype html><script>location;", b"</script>"
    return begin + code + b"x" * (PAGE_BYTES - len(begin) - len(code) - len(end)) + end


def pages() -> dict[str, tuple[bytes, bytes]]:
    """Of each kind the body and its Content-Encoding, if any."""
    html = b"<!doctype html><p>"
    return {
        "classes": (_script(b"/[" * 2_000), b""),
        "brotli-bomb": (brotli.compress(html + b" " * BOMB_BYTES), b"br"),
        "divisions": (_script(b"a=/[" * 2_000), b""),
        "nesting": (html + b"<div><b>" * (PAGE_BYTES // 8), b""),
        "attributes": (html + b"<p " + b" ".join(b"a%d=%d" % (n, n) for n in range(1_500)) + b">", b""),
        "scripts": (html + b"<script>location</script>" * (PAGE_BYTES // 25), b""),
    }


class HostileOrigin:
    """`served` counts the pages, by kind."""

    def __init__(self, log: EventLog, port: int) -> None:
        self.served = dict.fromkeys(KINDS, 0)
        self._log = log
        self._port = port
        self._cids = itertools.count(FIRST_CID)
        self._answers: dict[str, bytes] = {}

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self._port}/start/{kind}"

    async def prepare(self) -> None:
        """Makes the pages, which takes a moment."""
        for kind, (body, coding) in (await trio.to_thread.run_sync(pages)).items():
            extra = (b"Content-Encoding: " + coding,) if coding else ()
            self._answers[kind] = answer(200, body, *extra, kind=b"text/html; charset=utf-8")

    async def serve(self, peer: Peer, client: str) -> None:
        while (request := await peer.head()) is not None:
            wall_s, began_s = time.time(), time.monotonic()
            cid = hop = None
            response, status = answer(404), 404
            if match := _START.fullmatch(request.target):
                cid, hop = next(self._cids), 0
                query = b"&" + match[2] if match[2] else b""
                response = answer(302, b"", b"Location: /page/%b?cid=%d%b" % (match[1], cid, query))
                status = 302
            elif match := _PAGE.fullmatch(request.target):
                kind, cid, hop = match[1].decode(), int(match[2]), 1
                response, status = self._answers[kind], 200
                self.served[kind] += 1
            await peer.send(response)
            path, ended_s = request.target[:TARGET_CHARS_MAX].decode("latin-1"), time.monotonic()
            hops = None if hop is None else 1
            self._log.record(OriginEvent(wall_s, began_s, ended_s, client, cid, hop, hops, path, status, len(response)))
            if request.closes:
                return


KINDS = ("classes", "brotli-bomb", "divisions", "nesting", "attributes", "scripts")


@asynccontextmanager
async def hostile_origin(log: EventLog) -> AsyncIterator[HostileOrigin]:
    """Serves on a port of 127.0.0.1 until the block ends."""
    with listen("127.0.0.1", 0) as listener:
        origin = HostileOrigin(log, int(listener.getsockname()[1]))
        await origin.prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_from, listener, origin.serve)
            yield origin
            nursery.cancel_scope.cancel()
