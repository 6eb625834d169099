"""One trace as a conversation: what happened goes in, the next step comes out. No sockets, no clock, no logger.

A Walk is told `start()`, then `answered()` or `failed()` for each Fetch that it asked for, until it says Landed or
GaveUp.

What counts as landing: any answer below 500 that is no redirect. A visitor's browser arrives at such a URL with its
parameters, and a 403 or 404 that a page gives to a proxy says nothing about what it gives to the visitor. A 5xx at the
end is a failure of the target: the URL may be one hop short of where the chain leads on good days, and the tracking URL
gets the visitor there by themselves. 301, 302, 303, 307 and 308 with a Location are followed by GET (RFC 9110, 15.4);
300, 304, and a redirect without a Location, land where they are.
"""

import re
from dataclasses import dataclass

from ada_url import URL

from daemon.trace.addresses import refused_host
from daemon.trace.cookies import Jar
from daemon.trace.verdicts import PLAIN_407, Fault, Kind, Phase, Verdict, fault_of

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
WEB_SCHEMES = frozenset({"http", "https"})
_SHOWN_CHARACTERS_MAX = 200
_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a trace. A Location of a scheme in `landing_schemes` beyond http and https ends the trace there."""

    hops_max: int
    allow_private: bool
    landing_schemes: frozenset[str] = WEB_SCHEMES


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the trace says it is. Only the first hop carries the referrer: a browser's later ones depend on policies."""

    user_agent: str
    accept_language: str | None = None
    referrer: str | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """Next step: one GET. `url` is absolute http(s) without fragment and userinfo; `headers` are latin-1 text.

    Host is not among the headers: it follows from the URL.
    """

    url: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Landed:
    """The trace ends here. `url` is what a browser would show, fragment included."""

    url: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The trace ends without a landing URL. `reason` is a short code, `message` a sentence without secrets.

    Reasons beyond those of verdicts.py: bad_tracking_url, bad_location, refused_address, loop, hops_max, status_5xx,
    bad_status, trace_timeout, bad_proxy_address.
    """

    verdict: Verdict
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class HopAnswer:
    """A response head. Bytes are those on the wire with the proxy, TLS and CONNECT included.

    `tunnelled`: the proxy had no part in the answer, which a plain one to an HTTP proxy may come from.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    ms: float
    bytes_received: int
    bytes_sent: int
    body: bytes = b""
    tunnelled: bool = False


@dataclass(frozen=True, slots=True)
class HopFailure:
    """A hop without a response head; verdicts.py says whose fault. `status` is a proxy's answer to CONNECT."""

    phase: Phase
    kind: Kind
    ms: float
    bytes_received: int = 0
    bytes_sent: int = 0
    status: int | None = None
    proxy_proven: bool = False


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop as redirect_chain shows it. `kind`: http (a redirect), final (landed here), failed."""

    url: str
    status: int | None
    ms: float
    kind: str
    bytes_received: int
    bytes_sent: int


class Walk:
    """One trace: the hops so far, its cookies, the requests it has seen. `hops` grows to `limits.hops_max` at most."""

    __slots__ = ("_first_url", "_headers", "_identity", "_jar", "_limits", "_seen", "_url", "hops")

    def __init__(self, url: str, identity: Identity, limits: Limits) -> None:
        self.hops: list[Hop] = []
        self._first_url = url
        self._url: URL | None = None  # the URL being fetched
        self._identity = identity
        self._limits = limits
        self._jar = Jar()
        self._seen: set[tuple[str, str]] = set()
        headers = [("User-Agent", _header_text(identity.user_agent)), ("Accept", _ACCEPT)]
        if identity.accept_language:
            headers.append(("Accept-Language", _header_text(identity.accept_language)))
        # Bodies are not read, so the encoding matters only for the bytes in flight when the connection is closed.
        headers.append(("Accept-Encoding", "gzip"))
        self._headers = tuple(headers)

    @property
    def url(self) -> str:
        """Where it begins."""
        return self._first_url

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def bytes_received(self) -> int:
        return sum(hop.bytes_received for hop in self.hops)

    @property
    def bytes_sent(self) -> int:
        return sum(hop.bytes_sent for hop in self.hops)

    def start(self) -> Fetch | GaveUp:
        """The first hop, or what is wrong with the tracking URL."""
        url = _parsed(self._first_url)
        if url is None or url.protocol.removesuffix(":") not in WEB_SCHEMES:
            shown = _shown(self._first_url)
            return GaveUp(
                Verdict.OPERATOR, "bad_tracking_url", f"the tracking URL {shown} is not an absolute http(s) URL"
            )
        return self._enter(url)

    def answered(self, answer: HopAnswer) -> Fetch | Landed | GaveUp:
        """What follows from a response head."""
        url = self._current()
        self._jar.keep(url, answer.headers)
        location = _location(answer) if answer.status in REDIRECT_STATUSES else None
        if location is not None:
            self._record(answer, "http")
            return self._redirected(url, location)
        if answer.status == 407 and url.protocol == "http:" and not answer.tunnelled:
            # Within a tunnel the proxy cannot answer; there a 407 is an odd landing page.
            return self._fault(answer, PLAIN_407)
        if answer.status >= 500:
            return self._fault(answer, Fault(Verdict.TARGET, "status_5xx", f"answered with status {answer.status}"))
        if answer.status < 200:
            return self._fault(answer, Fault(Verdict.TARGET, "bad_status", f"answered with status {answer.status}"))
        self._record(answer, "final")
        return Landed(url.href)

    def failed(self, failure: HopFailure) -> GaveUp:
        """Names the fault of a hop without an answer."""
        fault = fault_of(failure.phase, failure.kind, status=failure.status, proxy_proven=failure.proxy_proven)
        return self._fault(failure, fault)

    def out_of_time(self, timeout_s: float, *, ms: float, bytes_received: int, bytes_sent: int) -> GaveUp:
        """The trace's own time is over while a hop was under way: `ms` and bytes are that hop's so far."""
        fault = Fault(Verdict.LIMIT, "trace_timeout", f"the trace did not end within {timeout_s:g} s")
        if self._url is None:
            return GaveUp(fault.verdict, fault.reason, fault.words)
        return self._fault(HopFailure(Phase.DIAL, Kind.TIMEOUT, ms, bytes_received, bytes_sent), fault)

    def _redirected(self, base: URL, location: str) -> Fetch | Landed | GaveUp:
        url = _parsed(location, base)
        scheme = "" if url is None else url.protocol.removesuffix(":")
        if url is None or scheme not in WEB_SCHEMES | self._limits.landing_schemes:
            return self._give_up(Verdict.TARGET, "bad_location", f"the Location {_shown(location)} leads nowhere")
        if "#" not in url.href and base.hash:
            url.hash = base.hash  # RFC 9110, 10.2.2
        if scheme not in WEB_SCHEMES:
            return Landed(url.href)
        return self._enter(url)

    def _enter(self, url: URL) -> Fetch | GaveUp:
        """The hop to `url`, unless a rule of ours forbids it."""
        if not self._limits.allow_private and (why := refused_host(url.href)) is not None:
            return self._give_up(Verdict.LIMIT, "refused_address", f"will not go to {_shown(url.href)}: {why}")
        if len(self.hops) >= self._limits.hops_max:
            words = f"the chain goes on after {self._limits.hops_max} hops (trace.hops_max)"
            return self._give_up(Verdict.LIMIT, "hops_max", words)
        wire_url, cookies = _wire_url(url), self._jar.header(url)
        # A site may set a cookie and redirect to itself; the same request again can only get the same answer.
        if (wire_url, cookies) in self._seen:
            return self._give_up(Verdict.TARGET, "loop", f"the chain loops: {_shown(wire_url)} was already fetched")
        self._seen.add((wire_url, cookies))
        self._url = url
        headers = self._headers
        if not self.hops and self._identity.referrer:
            headers = (*headers, ("Referer", _header_text(self._identity.referrer)))
        if cookies:
            headers = (*headers, ("Cookie", cookies))
        return Fetch(wire_url, headers)

    def _current(self) -> URL:
        assert self._url is not None, "answered() or failed() before start()"
        return self._url

    def _record(self, outcome: HopAnswer | HopFailure, kind: str) -> None:
        received, sent = outcome.bytes_received, outcome.bytes_sent
        self.hops.append(Hop(self._current().href, outcome.status, outcome.ms, kind, received, sent))

    def _fault(self, outcome: HopAnswer | HopFailure, fault: Fault) -> GaveUp:
        self._record(outcome, "failed")
        return self._give_up(fault.verdict, fault.reason, fault.words)

    def _give_up(self, verdict: Verdict, reason: str, words: str) -> GaveUp:
        where = "" if self._url is None else f"hop {len(self.hops)} ({_shown(self._url.host)}): "
        return GaveUp(verdict, reason, where + words)


def _location(answer: HopAnswer) -> str | None:
    """The first Location that is not empty, as Chromium takes it. Browsers read its bytes as UTF-8 where they are."""
    for name, value in answer.headers:
        if name.lower() == b"location" and (text := value.strip(b" \t")):
            try:
                return text.decode()
            except UnicodeDecodeError:
                return text.decode("latin-1")
    return None


def _parsed(text: str, base: URL | None = None) -> URL | None:
    """The WHATWG URL parser, or None where it fails."""
    try:
        return URL(text, base=None if base is None else base.href)
    except ValueError:  # UnicodeEncodeError, for lone surrogates, is one too
        return None


def _wire_url(url: URL) -> str:
    """The URL without what a client keeps to itself: the fragment, and the userinfo (no browser sends it unasked)."""
    href = url.href
    if "#" not in href and "@" not in href:
        return href
    bare = URL(href)
    bare.hash = bare.username = bare.password = ""
    return bare.href


def _header_text(text: str) -> str:
    """A header's value that h11 will send: one line, latin-1 holding UTF-8 where it must."""
    line = _CONTROL.sub(" ", text).strip(" ")
    return line if line.isascii() else line.encode("utf-8", "replace").decode("latin-1")


def _shown(text: str) -> str:
    """A text from outside, cut and made printable for a message."""
    cut = text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…"
    return cut.encode("ascii", "backslashreplace").decode() if not cut.isprintable() else cut
