"""One trace as a conversation: what happened goes in, the next step comes out. No sockets, no clock, no logger. Pure.

A Walk is told `start()`, then `answered()` or `failed()` for each Fetch that it asked for, until it says Landed or
GaveUp.

What counts as landing: any answer below 500 that is no redirect. A visitor's browser arrives at such a URL with its
parameters, and a 403 or 404 that a page gives to a proxy says nothing about what it gives to the visitor. A 5xx at the
end is a failure of the target: the URL may be one hop short of where the chain leads on good days, and the tracking URL
gets the visitor there by themselves. 301, 302, 303, 307 and 308 with a Location are followed (RFC 9110, 15.4); 300,
304, and a redirect without a Location, land where they are.

What else goes on, in this order: a Refresh header, and what an HTML page says (html.py). A page that goes on to itself
is asked for a second time where its cookies have changed, and landed on otherwise.
"""

from ada_url import URL

from daemon.trace.page.body import ACCEPT_ENCODING, PageBody, page_body
from daemon.trace.page.forms import FORM_TYPE
from daemon.trace.page.html import Jump, Page, Refresh, declared_refresh
from daemon.trace.walk.cookies import Jar
from daemon.trace.walk.hops import (
    REDIRECT_STATUSES,
    WEB_SCHEMES,
    Fetch,
    GaveUp,
    Hop,
    HopAnswer,
    HopFailure,
    Identity,
    Landed,
    Limits,
)
from daemon.trace.walk.verdicts import Fault, Verdict, fault_of, fault_of_answer
from daemon.web.addresses import refused_host_of
from daemon.web.headers import header_text, is_host_in, location_in, parsed, refresh_in, shown, wire_url

__all__ = [
    "REDIRECT_STATUSES", "WEB_SCHEMES", "Fetch", "GaveUp", "Hop", "HopAnswer", "HopFailure", "Identity", "Landed",
    "Limits", "Walk",
]  # fmt: skip

_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
_WITHOUT_BODY = frozenset({204, 205, 304})
_KEEPS_THE_METHOD = frozenset({307, 308})


class Walk:
    """One trace: the hops so far, its cookies, the requests it has seen. `hops` grows to `limits.hops_max` at most."""

    __slots__ = ("_fetch", "_fetched_before", "_first_url", "_headers", "_href", "_identity", "_jar", "_limits",
                 "_seen", "_url", "hops")  # fmt: skip

    def __init__(self, url: str, identity: Identity, limits: Limits) -> None:
        self.hops: list[Hop] = []
        self._first_url = url
        self._url: URL | None = None  # the URL being fetched
        self._href = ""  # and as text
        self._fetch: Fetch | None = None
        self._fetched_before = ""  # the URL of the hop before
        self._identity = identity
        self._limits = limits
        self._jar = Jar()
        self._seen: set[tuple[str, str, bytes, str]] = set()
        headers = [("User-Agent", header_text(identity.user_agent)), ("Accept", _ACCEPT)]
        if identity.accept_language:
            headers.append(("Accept-Language", header_text(identity.accept_language)))
        headers.append(("Accept-Encoding", ACCEPT_ENCODING))
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
        url = parsed(self._first_url)
        href = "" if url is None else url.href
        if url is None or _scheme(href) not in WEB_SCHEMES:
            what = f"the tracking URL {shown(self._first_url)} is not an absolute http(s) URL"
            return GaveUp(Verdict.OPERATOR, "bad_tracking_url", what)
        return self._allowed(url) or self._enter(url, href)

    def body(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> PageBody | None:
        """What an answer's body is to be given to; None where what it says would change nothing."""
        if not 200 <= status < 500 or status in _WITHOUT_BODY:
            return None
        if status in REDIRECT_STATUSES and location_in(headers) is not None:
            return None
        url, limits = self._current(), self._limits
        if status == 407 and not _is_https(self._href):
            return None
        refresh = _refresh(headers, url)
        if refresh is not None and refresh.delay_s <= limits.refresh_max_s:
            return None
        return page_body(
            url,
            headers,
            bytes_max=limits.body_bytes_max,
            refresh_max_s=limits.refresh_max_s,
            refreshed=refresh is not None,
        )

    def answered(self, answer: HopAnswer) -> Fetch | Landed | GaveUp:
        """What follows from an answer."""
        url = self._current()
        self._jar.keep(url, answer.headers)
        location = location_in(answer.headers) if answer.status in REDIRECT_STATUSES else None
        if location is not None:
            self._record(answer, "http")
            return self._redirected(url, location, answer.status)
        if not (answer.tunnelled or _is_https(self._href)):
            # Within a tunnel the proxy cannot answer; there a 407 is an odd landing page.
            fault = fault_of_answer(answer.status, answer.headers, proxy_proven=bool(self.hops))
            if fault is not None:
                return self._fault(answer, fault)
        if answer.status >= 500:
            return self._fault(answer, Fault(Verdict.TARGET, "status_5xx", f"answered with status {answer.status}"))
        if answer.status < 200:
            return self._fault(answer, Fault(Verdict.TARGET, "bad_status", f"answered with status {answer.status}"))
        page = answer.page or Page()
        refresh = _refresh(answer.headers, url)
        declared = refresh is not None and refresh.delay_s <= self._limits.refresh_max_s
        jump = Jump("refresh-header", refresh.url.href) if refresh is not None and declared else page.jump
        if jump is not None and (step := self._jumped(answer, jump)) is not None:
            return step
        self._record(answer, "script_unresolved" if page.unresolved or page.waits else "final")
        return Landed(self._href)

    def failed(self, failure: HopFailure) -> GaveUp:
        """Names the fault of a hop without an answer."""
        fault = fault_of(failure.phase, failure.kind, status=failure.status, proxy_proven=failure.proxy_proven)
        return self._fault(failure, fault)

    def out_of_time(self, timeout_s: float, late: HopFailure) -> GaveUp:
        """The trace's own time is over while a hop was under way: `late` is what it came to."""
        fault = Fault(Verdict.LIMIT, "trace_timeout", f"the trace did not end within {timeout_s:g} s")
        if self._url is None:
            return GaveUp(fault.verdict, fault.reason, fault.words)
        return self._fault(late, fault)

    def _redirected(self, base: URL, location: str, status: int) -> Fetch | Landed | GaveUp:
        url = parsed(location, self._href)
        href = "" if url is None else url.href
        scheme = _scheme(href)
        if url is None or not (scheme in WEB_SCHEMES or scheme in self._limits.landing_schemes):
            return self._give_up(Verdict.TARGET, "bad_location", f"the Location {shown(location)} leads nowhere")
        if "#" not in href and "#" in self._href:
            url.hash = base.hash  # RFC 9110, 10.2.2
            href = url.href
        if scheme not in WEB_SCHEMES:
            return Landed(href)
        if self._fetch is not None and status in _KEEPS_THE_METHOD:
            return self._go(url, href, self._fetch.method, self._fetch.body)
        return self._go(url, href)  # by GET, as browsers do after any method of ours (Fetch 4.4, 11)

    def _jumped(self, answer: HopAnswer, jump: Jump) -> Fetch | Landed | GaveUp | None:
        """What follows from a page that goes on by itself; None where a browser would stay on it."""
        url = URL(jump.url)
        href = url.href
        scheme = _scheme(href)
        if scheme not in WEB_SCHEMES:
            if scheme not in self._limits.landing_schemes:
                return None
            self._record(answer, jump.kind)
            return Landed(href)
        target = wire_url(href)
        if jump.method == "GET" and target == wire_url(self._href):
            if "#" in href:  # a place on the same page
                self._record(answer, "final")
                return Landed(href)
            if self._fetched_before == target or ("GET", target, b"", self._jar.header(url)) in self._seen:
                return None
        self._record(answer, jump.kind)
        return self._go(url, href, jump.method, jump.body)

    def _go(self, url: URL, href: str, method: str = "GET", body: bytes = b"") -> Fetch | Landed | GaveUp:
        """The hop to `url`, or the landing there, unless a rule of ours forbids it."""
        if (refused := self._allowed(url)) is not None:
            return refused
        # What a form posts would not go along with the visitor.
        if method == "GET" and self._limits.stop_at and is_host_in(url.hostname, self._limits.stop_at):
            return Landed(href)
        return self._enter(url, href, method, body)

    def _allowed(self, url: URL) -> GaveUp | None:
        if self._limits.allow_private or (why := refused_host_of(url)) is None:
            return None
        return self._give_up(Verdict.LIMIT, "refused_address", f"will not go to {shown(url.href)}: {why}")

    def _enter(self, url: URL, href: str, method: str = "GET", body: bytes = b"") -> Fetch | GaveUp:
        if len(self.hops) >= self._limits.hops_max:
            words = f"the chain goes on after {self._limits.hops_max} hops (trace.hops_max)"
            return self._give_up(Verdict.LIMIT, "hops_max", words)
        target, cookies = wire_url(href), self._jar.header(url)
        # A site may set a cookie and redirect to itself; the same request again can only get the same answer.
        request = (method, target, body, cookies)
        if request in self._seen:
            return self._give_up(Verdict.TARGET, "loop", f"the chain loops: {shown(target)} was already fetched")
        self._seen.add(request)
        headers = self._headers
        if not self.hops and self._identity.referrer:
            headers = (*headers, ("Referer", header_text(self._identity.referrer)))
        if cookies:
            headers = (*headers, ("Cookie", cookies))
        if method == "POST":
            headers = (*headers, ("Content-Type", FORM_TYPE))
        self._fetched_before = "" if self._fetch is None else self._fetch.url
        self._url, self._href, self._fetch = url, href, Fetch(target, headers, method, body)
        return self._fetch

    def _current(self) -> URL:
        assert self._url is not None, "answered() or failed() before start()"
        return self._url

    def _record(self, outcome: HopAnswer | HopFailure, kind: str) -> None:
        received, sent = outcome.bytes_received, outcome.bytes_sent
        self.hops.append(Hop(self._href, outcome.status, outcome.ms, kind, received, sent))

    def _fault(self, outcome: HopAnswer | HopFailure, fault: Fault) -> GaveUp:
        self._record(outcome, "failed")
        return self._give_up(fault.verdict, fault.reason, fault.words)

    def _give_up(self, verdict: Verdict, reason: str, words: str) -> GaveUp:
        where = "" if self._url is None else f"hop {len(self.hops)} ({shown(self._url.host)}): "
        return GaveUp(verdict, reason, where + words)


def _scheme(href: str) -> str:
    return href.partition(":")[0]


def _is_https(href: str) -> bool:
    return href.startswith("https:")


def _refresh(headers: tuple[tuple[bytes, bytes], ...], url: URL) -> Refresh | None:
    text = refresh_in(headers)
    return None if text is None else declared_refresh(text, url, url)
