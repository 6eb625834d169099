"""Where tracepool lands with a page of the corpus: a whole trace through a proxy on loopback."""

import contextlib
import math
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trio

from daemon.demo.wire import Connection, Request, answer
from daemon.providers.proxies import LeasedProxy
from daemon.settings.live import LiveSettings
from daemon.trace.engine.engines import engines_running
from daemon.trace.local import HTTP, LocalBackend
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import Identity, Landed, Limits, Walk
from tests.fakes.net import context_for, fetcher
from tests.fakes.proxies import proxy
from tests.fakes.wire import listening
from tests.pages.chromium import USER_AGENT
from tests.pages.corpus import JumpPage, Sent
from tests.support.tracers import browser_running, tracer_settings

ENGINES = 2
TRACES_MAX = 4
TRACE_S_MAX = 30.0
LIMITS = Limits(20, allow_private=True)
IDENTITY = Identity(USER_AGENT, "en-US,en;q=0.9")


class _Ports(Mapping[str, int]):
    """Every name leads to one plain and one TLS origin, whose ports are here."""

    def __init__(self, plain: int, tls: int) -> None:
        self._by_port = {"80": plain, "443": tls}

    def __getitem__(self, address: str) -> int:
        return self._by_port[address.rpartition(":")[2]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_port)

    def __len__(self) -> int:
        return len(self._by_port)


@dataclass
class _Origin:
    """Every host of one page."""

    page: JumpPage
    scheme: str
    asked: Counter[str]
    requests: list[tuple[str, Request]] = field(default_factory=list)

    async def serve(self, stream: trio.abc.Stream) -> None:
        await Connection(stream).serve(lambda request: self._answer(stream, request))

    async def _answer(self, stream: trio.abc.Stream, request: Request) -> bool:
        url = f"{self.scheme}://{request.value('host')}{request.target}"
        self.requests.append((url, request))
        is_document = "text/html" in (request.value("accept") or "")
        found = self.page.answer(url, nth=self.asked[url], document=is_document)
        self.asked[url] += 1
        await stream.send_all(answer(found.status, found.body, *found.headers, kind=None))
        return True


@dataclass(frozen=True)
class Traced:
    """`kinds` are those of the hops. `why` the trace gave up, or the last page is unresolved."""

    landing: Sent | None
    kinds: tuple[str, ...]
    why: str


def certificates(pages: list[JumpPage]) -> ssl.SSLContext:
    """Of every host that the pages name."""
    urls = {url for page in pages for url in (*page.answers, page.told.lands if page.told else "")}
    return context_for(*sorted({urlsplit(url).hostname or "" for url in urls if url.startswith("http")}))


@contextlib.asynccontextmanager
async def served(page: JumpPage, tls: ssl.SSLContext) -> AsyncIterator[tuple[int, list[tuple[str, Request]]]]:
    """The port of a proxy that leads to the page, and the requests that came through it."""
    asked: Counter[str] = Counter()
    plain = _Origin(page, "http", asked)
    secure = _Origin(page, "https", asked, plain.requests)
    async with (
        listening(plain.serve) as plain_port,
        listening(secure.serve, tls=tls) as tls_port,
        proxy(_Ports(plain_port, tls_port)) as (_, port),
    ):
        yield port, plain.requests


async def traced(page: JumpPage, tls: ssl.SSLContext, by: LocalBackend) -> Traced:
    async with served(page, tls) as (port, requests):
        proxy = LeasedProxy("127.0.0.1", str(port), "us", "", "a/1", math.inf)
        result = await by.trace(Walk(page.url, IDENTITY, LIMITS), proxy, timeout_s=TRACE_S_MAX)
    return _told(page, result, requests)


def _told(page: JumpPage, result: TraceResult, requests: list[tuple[str, Request]]) -> Traced:
    kinds = tuple(hop.kind for hop in result.hops)
    if not isinstance(result.end, Landed):
        return Traced(None, kinds, f"gave up: {result.end.reason}: {result.end.message}")
    url = result.end.url
    documents = [request for asked, request in requests if asked == url.partition("#")[0]]
    last = documents[-1] if documents else Request("GET", "")
    return Traced(
        page.landing(url, last.method, last.value("content-type"), last.body), kinds, result.hops[-1].why or ""
    )


async def trace_all(pages: list[JumpPage], tracer: str = "http") -> dict[str, Traced]:
    """By the page's name."""
    tls = certificates(pages)
    found: dict[str, Traced] = {}
    room = trio.CapacityLimiter(TRACES_MAX)
    live = LiveSettings(tracer_settings(tracer=tracer, user_agent=USER_AGENT))

    async def one(page: JumpPage, by: LocalBackend) -> None:
        async with room:
            found[page.name] = await traced(page, tls, by)

    async with contextlib.AsyncExitStack() as stack:
        engines = await stack.enter_async_context(engines_running(ENGINES))
        browser = await stack.enter_async_context(browser_running(live)) if tracer != HTTP else None
        by = LocalBackend(live, fetcher(engine=engines), browser)
        async with trio.open_nursery() as nursery:
            for page in pages:
                nursery.start_soon(one, page, by)
    return found
