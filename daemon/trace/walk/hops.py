"""The records that a walk and the wire exchange: fetches, answers and failures; and the record of a hop. Pure."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

import msgspec

from daemon.providers.answers import OwnAnswer
from daemon.trace.engine.records import PageRequest
from daemon.trace.page.html import Document, Page, Tier
from daemon.trace.walk.verdicts import Failure, Fault, Phase, Verdict, fault_of
from daemon.web.headers import wire_url

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
WEB_SCHEMES = frozenset({"http", "https"})
RELOADS_MAX: Mapping[Tier, int] = {"markup": 1, "engine": 3, "browser": 3}  # of a page by itself: scripts may count


class Limits(msgspec.Struct, frozen=True):
    """Bounds of a trace.

    `hops_max` requests: one more than a browser's limit of redirects, for the landing. A trace lands, without a fetch,
    at a URL whose scheme is in `landing_schemes` but not http or https, and at the first URL whose host is in `stop_at`
    or below such a host (`shop.example` covers `www.shop.example`; lower case).
    `body_bytes_max` of an HTML answer are read. A refresh with a delay above `refresh_max_s` is not followed.
    """

    hops_max: int
    allow_private: bool
    landing_schemes: frozenset[str] = WEB_SCHEMES
    stop_at: frozenset[str] = frozenset()
    body_bytes_max: int = 16_384
    refresh_max_s: float = 10


class Identity(msgspec.Struct, frozen=True):
    """The identity headers of a trace. The first hop sends the referrer as it is; for later ones see referrers.py."""

    user_agent: str
    accept_language: str | None = None
    referrer: str | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """navigator.languages, by the value of Accept-Language."""
        names = (part.partition(";")[0].strip() for part in (self.accept_language or "").split(","))
        return tuple(name for name in names if name and name != "*")


class Fetch(msgspec.Struct, frozen=True):
    """Next step: one request, a GET or a POST.

    `url` is an absolute http(s) URL, serialized by the URL Standard, without fragment and userinfo. `headers` are
    latin-1 text, without Host and Content-Length, which the wire adds. `content_type` is the body's, also in `headers`.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    method: str = "GET"
    body: bytes = b""
    content_type: str = ""


class ScriptFetch(Fetch, frozen=True):
    """Next step: a request for an external script of the page that the last Fetch brought. It is part of that hop."""


class RunPage(msgspec.Struct, frozen=True):
    """Next step: run the page's scripts. The engine's clock begins when it runs them."""

    request: PageRequest


class Landed(msgspec.Struct, frozen=True):
    """The trace ends here. `url` is the URL that a browser would show, with its fragment."""

    url: str


class GaveUp(msgspec.Struct, frozen=True):
    """The trace ends without a landing URL. `reason` is a short code, `message` a sentence without secrets.

    Reasons besides those of verdicts.py: bad_tracking_url, bad_location, refused_address, loop, hops_max, status_5xx,
    bad_status, trace_timeout, bad_proxy_address.
    """

    verdict: Verdict
    reason: str
    message: str


class HopAnswer(msgspec.Struct, frozen=True):
    """A response head, and its page if the body was read (`Walk.body`).

    Bytes are those on the wire to the proxy, TLS and CONNECT included. `tunnelled`: the answer came through a tunnel,
    so the proxy cannot have written it. `own`: a rule says that the proxy gave the answer for itself.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    ms: float
    bytes_received: int
    bytes_sent: int
    page: Page | None = None
    tunnelled: bool = False
    own: OwnAnswer | None = None


class Usage(msgspec.Struct, frozen=True):
    """What a hop has taken so far."""

    ms: float
    bytes_received: int
    bytes_sent: int


class HopFailure(msgspec.Struct, frozen=True):
    """A hop without a response head; verdicts.py has the fault. `status` is the proxy's answer to CONNECT.

    `own`: see `verdicts.fault_of`.
    """

    phase: Phase
    kind: Failure
    ms: float
    bytes_received: int = 0
    bytes_sent: int = 0
    status: int | None = None
    proxy_proven: bool = False
    own: OwnAnswer | None = None


class Hop(msgspec.Struct, frozen=True):
    """One hop, as in redirect_chain. `kind` is how the chain went on from it, `tier` is what found that out.

    http (a redirect), refresh-header, meta, script, form; final (landed here), script_unresolved (landed here, but a
    script of the page goes on, or may go on, to a URL that is not certain: `why`), failed. A landing that was not
    fetched (Limits.stop_at, landing_schemes) is no hop.

    markup: the response's head and markup; engine: the page's scripts, run in the engine; browser: a browser.
    cookies: that the trace has after the hop; None if they are not known, as at a trace service.
    """

    url: str
    status: int | None
    ms: float
    kind: str
    bytes_received: int
    bytes_sent: int
    tier: Tier = "markup"
    why: str | None = None
    cookies: int | None = None


class LeftAt(msgspec.Struct, frozen=True):
    """The page of kind script_unresolved at which a trace landed, so that a browser can go on from there.

    `url` has its fragment. `fetch` is the request that brought the page, with its Referer. The page's cookies are in
    `Walk.jar`.
    """

    url: str
    fetch: Fetch
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    document: Document | None
    why: str


class TraceResult(msgspec.Struct, frozen=True):
    """A finished attempt. Bytes are those on the wire to the proxy. `exit_ip` is the exit address in its answers."""

    end: Landed | GaveUp
    hops: tuple[Hop, ...]
    ms: float
    bytes_received: int
    bytes_sent: int
    exit_ip: str | None = None


def times_at(href: str, hops: Sequence[Hop], tier: Tier) -> int:
    """How many of the last hops were at this URL, without its fragment, and in this tier."""
    last = takewhile(lambda hop: wire_url(hop.url) == wire_url(href), reversed(hops))
    return sum(hop.tier == tier for hop in last)


def fault_of_failure(failure: HopFailure) -> Fault:
    """Whose fault a hop without an answer is."""
    proven, own = failure.proxy_proven, failure.own
    return fault_of(failure.phase, failure.kind, status=failure.status, proxy_proven=proven, own=own)
