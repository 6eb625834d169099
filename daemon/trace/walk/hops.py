"""What a walk along a chain and the wire below it tell each other, and what is kept of each hop. Pure."""

import msgspec

from daemon.trace.page.html import Page
from daemon.trace.walk.verdicts import Kind, Phase, Verdict

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
WEB_SCHEMES = frozenset({"http", "https"})


class Limits(msgspec.Struct, frozen=True):
    """Bounds of a trace. A Location of a scheme in `landing_schemes` beyond http and https ends the trace there.

    So does, without being fetched, the first jump to a host in `stop_at` or to one below it (`shop.example` covers
    `www.shop.example`), names in lower case. An HTML answer is read up to `body_bytes_max`; a refresh that waits longer
    than `refresh_max_s` is not followed.
    """

    hops_max: int
    allow_private: bool
    landing_schemes: frozenset[str] = WEB_SCHEMES
    stop_at: frozenset[str] = frozenset()
    body_bytes_max: int = 16_384
    refresh_max_s: float = 10


class Identity(msgspec.Struct, frozen=True):
    """Who the trace says it is. Only the first hop carries the referrer: a browser's later ones depend on policies."""

    user_agent: str
    accept_language: str | None = None
    referrer: str | None = None


class Fetch(msgspec.Struct, frozen=True):
    """Next step: one request, a GET or a POST.

    `url` is absolute http(s) as the URL Standard serializes it, a slash behind its host, without fragment and userinfo.
    `headers` are latin-1 text; Host and Content-Length are not among them: they follow from the rest.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    method: str = "GET"
    body: bytes = b""


class Landed(msgspec.Struct, frozen=True):
    """The trace ends here. `url` is what a browser would show, fragment included."""

    url: str


class GaveUp(msgspec.Struct, frozen=True):
    """The trace ends without a landing URL. `reason` is a short code, `message` a sentence without secrets.

    Reasons beyond those of verdicts.py: bad_tracking_url, bad_location, refused_address, loop, hops_max, status_5xx,
    bad_status, trace_timeout, bad_proxy_address.
    """

    verdict: Verdict
    reason: str
    message: str


class HopAnswer(msgspec.Struct, frozen=True):
    """A response head, and what its page says where it was read (`Walk.body`).

    Bytes are those on the wire with the proxy, TLS and CONNECT included.
    `tunnelled`: the proxy had no part in the answer, which a plain one to an HTTP proxy may come from.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    ms: float
    bytes_received: int
    bytes_sent: int
    page: Page | None = None
    tunnelled: bool = False


class HopFailure(msgspec.Struct, frozen=True):
    """A hop without a response head; verdicts.py says whose fault. `status` is a proxy's answer to CONNECT."""

    phase: Phase
    kind: Kind
    ms: float
    bytes_received: int = 0
    bytes_sent: int = 0
    status: int | None = None
    proxy_proven: bool = False


class Hop(msgspec.Struct, frozen=True):
    """One hop as redirect_chain shows it. `kind` says how it went on from there.

    http (a redirect), refresh-header, meta, script, form; final (landed here), script_unresolved (landed here, and a
    script of the page goes on to where only a browser knows), failed. A landing that was not fetched (Limits.stop_at,
    landing_schemes) is no hop.
    """

    url: str
    status: int | None
    ms: float
    kind: str
    bytes_received: int
    bytes_sent: int
