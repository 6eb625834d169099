"""The demo's ad network: an origin whose paths are redirect chains that mint a click id.

    /c/<delay_ms>/<hops>/<bytes>/<k>[/<landing host>]?<query>
    /landing?cid=<n>&<query>
    /ip

`/c/` waits, then redirects (302, relative Location) to k + 1 until k equals hops, and there serves so many bytes of
HTML: a chain of 5 hops is five redirects and the landing page, six requests. Hop 0 mints a click id that no other chain
has and puts `cid=<n>&` before the caller's query, which is carried on as it is. With a landing host, the last redirect
points to http://<landing host>/landing instead, which waits and serves the same. `/ip` tells the client its address.
"""

import itertools
import re
import time
from dataclasses import dataclass

from daemon.demo.events import TARGET_CHARS_MAX, EventLog, OriginEvent
from daemon.demo.wire import BadRequest, Peer, Request, answer

DELAY_MS_MAX = 600_000
HOPS_MAX = 1_000_000
PAGE_BYTES_MAX = 16 * 1024 * 1024
CHAINS_KEPT_MAX = 20_000
"""Chains on their way to a landing host whose delay and size are remembered; past it the oldest is forgotten."""

_CHAIN = re.compile(rb"/c/(\d{1,9})/(\d{1,9})/(\d{1,9})/(\d{1,9})(?:/([A-Za-z0-9.:-]{1,255}))?")
_CID = re.compile(rb"cid=(\d{1,18})(?:&|$)")
_PAGE = b"<!doctype html><html lang=en><title>You have arrived</title><p>Thank you for your visit. "


@dataclass(frozen=True, slots=True)
class Step:
    """What one request asks for. `cid`, `hop` and `hops` are None where it belongs to no chain."""

    response: bytes
    status: int
    cid: int | None = None
    hop: int | None = None
    hops: int | None = None
    delay_ms: int = 0


class Origin:
    """Answers requests and records each."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._cids = itertools.count(1)
        self._landings: dict[int, tuple[int, int, int]] = {}

    async def serve(self, peer: Peer, client: str) -> None:
        """One connection, kept alive between requests. Raises OSError when the client goes."""
        while True:  # bounded by the connection's life
            try:
                request = await peer.head()
            except BadRequest as bad:
                await peer.send(answer(400, str(bad).encode(), b"Connection: close"))
                return
            if request is None or not await peer.body(request.body_bytes, _forget):
                return
            if not await self._exchange(peer, client, request) or request.closes:
                return

    async def _exchange(self, peer: Peer, client: str, request: Request) -> bool:
        wall_s, began_s = time.time(), time.monotonic()
        step = self._step(request.target, client) if request.method in (b"GET", b"HEAD") else _not_allowed()
        response = step.response
        if request.method == b"HEAD":
            response = response[: response.index(b"\r\n\r\n") + 4]
        answered = False
        try:
            # Listening while it waits: a client that gives up ends the hop there and then, not at the delay's end.
            if step.delay_ms and not await peer.stays(step.delay_ms / 1000):
                return False
            await peer.send(response)
            answered = True
        finally:
            path = request.target[:TARGET_CHARS_MAX].decode("latin-1")
            status, sent = (step.status, len(response)) if answered else (0, 0)
            ended_s = time.monotonic()
            self._log.record(
                OriginEvent(wall_s, began_s, ended_s, client, step.cid, step.hop, step.hops, path, status, sent)
            )
        return True

    def _step(self, target: bytes, client: str) -> Step:
        path, _, query = target.partition(b"?")
        if match := _CHAIN.fullmatch(path):
            delay_ms, hops, page_bytes, k = (int(group) for group in match.groups()[:4])
            if delay_ms <= DELAY_MS_MAX and hops <= HOPS_MAX and page_bytes <= PAGE_BYTES_MAX and k <= hops:
                return self._hop(delay_ms, hops, page_bytes, k, match[5], query)
        if path == b"/landing":
            return self._landing(query)
        if path == b"/ip":
            return Step(answer(200, client.encode()), 200)
        return Step(answer(404, b"no such page\n"), 404)

    def _hop(self, delay_ms: int, hops: int, page_bytes: int, k: int, landing: bytes | None, query: bytes) -> Step:
        minted = _CID.match(query) if k else None
        if minted:
            cid = int(minted[1])
        else:
            cid = next(self._cids)
            query = b"cid=%d&%b" % (cid, query) if query else b"cid=%d" % cid
        if k == hops:
            return Step(_page(page_bytes), 200, cid, k, hops, delay_ms)
        if landing is None:
            location = b"/c/%d/%d/%d/%d?%b" % (delay_ms, hops, page_bytes, k + 1, query)
        elif k + 1 < hops:
            location = b"/c/%d/%d/%d/%d/%b?%b" % (delay_ms, hops, page_bytes, k + 1, landing, query)
        else:
            location = b"http://%b/landing?%b" % (landing, query)
            self._landings[cid] = (delay_ms, hops, page_bytes)
            if len(self._landings) > CHAINS_KEPT_MAX:
                del self._landings[next(iter(self._landings))]
        return Step(answer(302, b"", b"Location: " + location), 302, cid, k, hops, delay_ms)

    def _landing(self, query: bytes) -> Step:
        match = _CID.match(query)
        cid = int(match[1]) if match else None
        if cid is None or (known := self._landings.pop(cid, None)) is None:
            # A second visit, by a person with the final URL: it is no part of the chain that led there.
            return Step(_page(len(_PAGE)), 200)
        delay_ms, hops, page_bytes = known
        return Step(_page(page_bytes), 200, cid, hops, hops, delay_ms)


async def _forget(_: bytes) -> None:
    """A request's body says nothing to this origin."""


def _not_allowed() -> Step:
    return Step(answer(405, b"", b"Allow: GET, HEAD"), 405)


def _page(page_bytes: int) -> bytes:
    page = _PAGE + b"." * (page_bytes - len(_PAGE))
    return answer(200, page[:page_bytes], kind=b"text/html; charset=utf-8")
