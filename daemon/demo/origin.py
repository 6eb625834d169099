"""The demo's ad network: an origin whose paths are redirect chains that mint a click id.

    /c/<delay_ms>/<hops>/<bytes>/<k>[/<landing host>]?<query>
    /landing?cid=<n>&<query>
    /ip

Each request is answered after `delay_ms`. While k < hops the answer is a redirect (302, relative Location) to k + 1;
at k = hops it is a page of so many bytes. So a chain of 5 hops is five redirects and the landing page, six requests.
Hop 0 puts a new click id, `cid=<n>&`, before the caller's query, which stays unchanged. With a landing host, the last
redirect points to http://<landing host>/landing, which serves the page. `/ip` answers with the client's address.
"""

import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from daemon.demo.history import OriginEvent
from daemon.demo.wire import Connection, Request, answer

DELAY_MS_MAX = 600_000
TARGET_CHARS_MAX = 2_048
"""A request's target is recorded up to this length."""
HOPS_MAX = 1_000_000
PAGE_BYTES_MAX = 16 * 1024 * 1024
CHAINS_KEPT_MAX = 20_000
"""Chains between their last redirect and their landing host. Above this number the oldest is dropped."""

_CHAIN = re.compile(r"/c/(\d{1,9})/(\d{1,9})/(\d{1,9})/(\d{1,9})(?:/([A-Za-z0-9.:-]{1,255}))?", re.ASCII)
_CID = re.compile(r"cid=(\d{1,18})(?:&|$)", re.ASCII)
_PAGE = b"<!doctype html><html lang=en><title>You have arrived</title><p>Thank you for your visit. "


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to one request. `cid`, `hop` and `hops` are None if the request belongs to no chain."""

    response: bytes
    status: int
    cid: int | None = None
    hop: int | None = None
    hops: int | None = None
    delay_ms: int = 0


class Origin:
    """Answers requests, and calls `record` with an event for each."""

    def __init__(self, record: Callable[[OriginEvent], None]) -> None:
        self._record = record
        self._cids = itertools.count(1)
        self._landings: dict[int, tuple[int, int, int]] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve the requests of one connection."""
        client, connection = str(stream.socket.getpeername()[0]), Connection(stream)

        async def answer_one(request: Request) -> bool:
            wall_s, began_s = time.time(), time.monotonic()
            step = self.step(request, client)
            response = step.response
            if request.method == "HEAD":
                response = response[: response.index(b"\r\n\r\n") + 4]
            answered = False
            try:
                # `stays` also reads: when the client disconnects, the hop ends at once, not after the delay.
                if not step.delay_ms or await connection.stays(step.delay_ms / 1000):
                    await connection.send(response)
                    answered = True
            finally:
                path, ended_s = request.target[:TARGET_CHARS_MAX], time.monotonic()
                status, sent = (step.status, len(response)) if answered else (0, 0)
                self._record(
                    OriginEvent(wall_s, began_s, ended_s, client, step.cid, step.hop, step.hops, path, status, sent)
                )
            return answered

        await connection.serve(answer_one)

    def step(self, request: Request, client: str) -> Step:
        if request.method not in ("GET", "HEAD"):
            return Step(answer(405, b"", ("Allow", "GET, HEAD")), 405)
        path, _, query = request.target.partition("?")
        if match := _CHAIN.fullmatch(path):
            delay_ms, hops, page_bytes, k = (int(group) for group in match.groups()[:4])
            if delay_ms <= DELAY_MS_MAX and hops <= HOPS_MAX and page_bytes <= PAGE_BYTES_MAX and k <= hops:
                return self._hop(delay_ms, hops, page_bytes, k, match[5], query)
        if path == "/landing":
            return self._landing(query)
        if path == "/ip":
            return Step(answer(200, client.encode()), 200)
        return Step(answer(404, b"no such page\n"), 404)

    def _hop(self, delay_ms: int, hops: int, page_bytes: int, k: int, landing: str | None, query: str) -> Step:
        minted = _CID.match(query) if k else None
        if minted:
            cid = int(minted[1])
        else:
            cid = next(self._cids)
            query = f"cid={cid}&{query}" if query else f"cid={cid}"
        if k == hops:
            return Step(_page(page_bytes), 200, cid, k, hops, delay_ms)
        if landing is None or k + 1 < hops:
            end = "" if landing is None else f"/{landing}"
            location = f"/c/{delay_ms}/{hops}/{page_bytes}/{k + 1}{end}?{query}"
        else:
            location = f"http://{landing}/landing?{query}"
            self._landings[cid] = (delay_ms, hops, page_bytes)
            if len(self._landings) > CHAINS_KEPT_MAX:
                del self._landings[next(iter(self._landings))]
        return Step(answer(302, b"", ("Location", location)), 302, cid, k, hops, delay_ms)

    def _landing(self, query: str) -> Step:
        match = _CID.match(query)
        cid = int(match[1]) if match else None
        if cid is None or (known := self._landings.pop(cid, None)) is None:
            # A second visit, such as a person who opens the final URL: it does not belong to the chain.
            return Step(_page(len(_PAGE)), 200)
        delay_ms, hops, page_bytes = known
        return Step(_page(page_bytes), 200, cid, hops, hops, delay_ms)


def _page(page_bytes: int) -> bytes:
    page = _PAGE + b"." * (page_bytes - len(_PAGE))
    return answer(200, page[:page_bytes], kind="text/html; charset=utf-8")
