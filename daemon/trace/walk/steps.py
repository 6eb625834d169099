"""The steps of one trace: outcomes of hops in, the next step out. Pure.

The caller calls `start()`, then `answered()` or `failed()` for each Fetch, `ran()` for each RunPage and `fetched()` for
each ScriptFetch, until it gets Landed or GaveUp.

A trace lands at any answer below 500 that is no redirect. A visitor's browser arrives at such a URL with its
parameters, and a 403 or 404 for a proxy does not mean that the visitor gets one. A 5xx is a failure of the target: a
working server might redirect once more, and the tracking URL leads the visitor there. 301, 302, 303, 307 and 308 with a
Location are followed (RFC 9110, 15.4). 300, 304 and a redirect without a Location are landings ("If locationURL is
null, then return response", Fetch 4.4).

Other jumps are those of the HTML page, its Refresh header included: by its markup (page/html.py), or by the engine if a
script may run (page_runs.py). A page that jumps to itself is fetched again if its cookies or what scripts have stored
have changed, at most RELOADS_MAX times; otherwise the trace lands there. Scripts that change them each time may count.
"""

from ada_url import URL
from msgspec.structs import replace

from daemon.trace.engine.records import PageOutcome
from daemon.trace.page.body import ACCEPT_ENCODING, PageBody, ScriptBody, page_body
from daemon.trace.page.html import Jump, Page, Tier, page_without_html
from daemon.trace.page.refreshes import refresh_of
from daemon.trace.walk.cookies import Jar
from daemon.trace.walk.hops import (
    REDIRECT_STATUSES,
    RELOADS_MAX,
    WEB_SCHEMES,
    Fetch,
    GaveUp,
    Hop,
    HopAnswer,
    HopFailure,
    Identity,
    Landed,
    LeftAt,
    Limits,
    RunPage,
    ScriptFetch,
    Usage,
    fault_of_failure,
    times_at,
)
from daemon.trace.walk.page_runs import PageRun, Tab, page_of
from daemon.trace.walk.referrers import first_referrer, headers_to, of_page, redirected
from daemon.trace.walk.verdicts import Fault, Verdict, fault_of_answer
from daemon.web.addresses import refused_host_of
from daemon.web.app_links import web_page_of
from daemon.web.headers import header_text, is_host_in, location_in, parsed, shown, wire_url

__all__ = [
    "REDIRECT_STATUSES", "WEB_SCHEMES", "Fetch", "GaveUp", "Hop", "HopAnswer", "HopFailure", "Identity", "Landed",
    "LeftAt", "Limits", "RunPage", "ScriptFetch", "Step", "Usage", "Walk",
]  # fmt: skip

_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
_WITHOUT_BODY = frozenset({204, 205, 304})
_KEEPS_THE_METHOD = frozenset({307, 308})
_NO_PAGE = Page()
_GET = Jump("http", "")

_Request = tuple[str, str, bytes, str]  # method, URL, body, cookies
Step = Fetch | RunPage | Landed | GaveUp


class Walk:
    """One trace from `url` on: its hops so far (`limits.hops_max` at most), its cookies, its requests."""

    __slots__ = ("_current_url", "_fetch", "_headers", "_href", "_page_run", "_page_url", "_referrer",
                 "_seen", "_tab", "_tier", "_undo", "hops", "identity", "jar", "left_at", "limits", "url")  # fmt: skip

    def __init__(self, url: str, identity: Identity, limits: Limits) -> None:
        self.url = url
        self.identity = identity
        self.limits = limits
        self.hops: list[Hop] = []
        self._current_url: URL | None = None  # the URL being fetched
        self._href = ""  # and as text
        self._fetch: Fetch | None = None
        self.jar = Jar()
        self.left_at: LeftAt | None = None  # set if the trace landed on a page of kind script_unresolved
        self._tab = Tab()
        self._page_url: URL | None = None  # of the page that jumped last
        self._page_run: PageRun | None = None  # of the page whose scripts run
        self._tier: Tier = "markup"  # of the hops that are no pages
        self._undo: tuple[URL | None, str, Fetch | None, int, set[_Request]] | None = None  # of the last jump
        self._referrer = first_referrer(identity.referrer)  # of the next request
        self._seen: set[_Request] = set()
        headers = [("User-Agent", header_text(identity.user_agent)), ("Accept", _ACCEPT)]
        if identity.accept_language:
            headers.append(("Accept-Language", header_text(identity.accept_language)))
        headers.append(("Accept-Encoding", ACCEPT_ENCODING))
        self._headers = tuple(headers)

    def start(self) -> Fetch | GaveUp:
        """The first hop, or GaveUp for a bad tracking URL."""
        url = parsed(self.url)
        href = "" if url is None else url.href
        if url is None or _scheme(href) not in WEB_SCHEMES:
            what = f"the tracking URL {shown(self.url)} is not an absolute http(s) URL"
            return GaveUp(Verdict.OPERATOR, "bad_tracking_url", what)
        return self._allowed(url) or self._enter(url, href)

    def body(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> PageBody | None:
        """The reader of an answer's body, or None if the body cannot change the next step."""
        if not 200 <= status < 500 or status in _WITHOUT_BODY:
            return None
        if status in REDIRECT_STATUSES and location_in(headers) is not None:
            return None
        url, limits = self._current(), self.limits
        if status == 407 and _scheme(self._href) != "https":
            return None  # the proxy's own answer
        return page_body(url, headers, limits.body_bytes_max, limits.refresh_max_s, refresh_of(headers, url))

    def answered(self, answer: HopAnswer) -> Step:
        """The step after an answer."""
        url = self._current()
        if answer.own is None:
            self.jar.keep(url, answer.headers)
        elif (fault := self._fault_of(answer)) is not None:
            return self._fault(answer, fault)
        location = location_in(answer.headers) if answer.status in REDIRECT_STATUSES else None
        if location is not None:
            self._record(answer, "http")
            return self._redirected(url, location, answer)
        if (fault := self._fault_of(answer)) is not None:
            return self._fault(answer, fault)
        if not 200 <= answer.status < 500:
            reason = "status_5xx" if answer.status >= 500 else "bad_status"
            return self._fault(answer, Fault(Verdict.TARGET, reason, f"answered with status {answer.status}"))
        page = answer.page or page_without_html(answer.headers, url, self.limits.refresh_max_s)
        if page.document is not None:
            assert self._fetch is not None
            self._page_run = PageRun(answer, self._fetch, self._href, self.identity, self.limits, self.jar, self._tab)
            return self._page_run.run()
        return self._left(answer, page)

    def early_run(self, answer: HopAnswer) -> RunPage:
        """The run of a page that is still received: the run that `answered()` would return now."""
        assert self._fetch is not None
        self.jar.keep(self._current(), answer.headers)
        return PageRun(answer, self._fetch, self._href, self.identity, self.limits, self.jar, self._tab).run()

    def ran(self, outcome: PageOutcome, usage: Usage) -> Step:
        """The step after a RunPage. `usage` is that of the hop so far."""
        assert self._page_run is not None, "ran() without a RunPage"
        answer, step = self._page_run.answer, self._page_run.ran(outcome)
        if not isinstance(step, PageOutcome):
            return step
        self._page_run = None
        answer = replace(answer, ms=usage.ms, bytes_received=usage.bytes_received, bytes_sent=usage.bytes_sent)
        self._tab.kept = step.kept or self._tab.kept
        self.jar.keep_from_script(self._current(), answer.headers, step.cookies)
        return self._left(answer, page_of(step))

    def by_browser(self) -> Hop | None:
        """From now on a browser sends the requests. Takes the landing at `left_at` back, and returns its hop.

        The next answer is then that of the page at `left_at`, with what the browser makes of it.
        """
        left, self.left_at, self._tier = self.left_at, None, "browser"
        return None if left is None else self.hops.pop()

    def undo(self) -> None:
        """Takes a page's jump and its redirects back: the page has replaced the jump before its answer came."""
        assert self._undo is not None, "undo() without a jump"
        self._current_url, self._href, self._fetch, hops, self._seen = self._undo
        del self.hops[hops:]

    def script_body(self, _: int, headers: tuple[tuple[bytes, bytes], ...]) -> ScriptBody | None:
        """The reader of an answer to a ScriptFetch."""
        return None if self._page_run is None else self._page_run.body(headers)

    def fetched(self, outcome: HopAnswer | HopFailure) -> Step:
        """The step after a ScriptFetch. A script that could not be fetched does not end the trace."""
        assert self._page_run is not None, "fetched() without a ScriptFetch"
        return self._page_run.fetched(outcome)

    def failed(self, failure: HopFailure) -> GaveUp:
        """The end of the trace after a hop without an answer."""
        return self._fault(failure, fault_of_failure(failure))

    def out_of_time(self, timeout_s: float, late: HopFailure) -> GaveUp:
        """The end of a trace whose time limit passed during a hop; `late` is that hop."""
        fault = Fault(Verdict.LIMIT, "trace_timeout", f"the trace did not end within {timeout_s:.4g} s")
        if self._current_url is None:
            return GaveUp(fault.verdict, fault.reason, fault.message)
        return self._fault(late, fault)

    def _fault_of(self, answer: HopAnswer) -> Fault | None:
        """The proxy's, if the answer is its own. Inside a tunnel a 407 is the target's answer, and a landing."""
        if answer.tunnelled or _scheme(self._href) == "https":
            return None
        return fault_of_answer(answer.status, answer.headers, proxy_proven=bool(self.hops), own=answer.own)

    def _redirected(self, base: URL, location: str, answer: HopAnswer) -> Fetch | Landed | GaveUp:
        href = "" if (url := parsed(location, self._href)) is None else url.href
        scheme = _scheme(href)
        if scheme not in WEB_SCHEMES | self.limits.landing_schemes and (page := web_page_of(href)) is not None:
            return self._go(page, page.href)
        # "If locationURL is failure, then return a network error", as for a scheme that is not HTTP(S) (Fetch 4.4).
        if url is None or not (scheme in WEB_SCHEMES or scheme in self.limits.landing_schemes):
            return self._give_up(Verdict.TARGET, "bad_location", f"the Location {shown(location)} leads nowhere")
        if "#" not in href and "#" in self._href:
            url.hash = base.hash  # "the redirection inherits the fragment" (RFC 9110, 10.2.2)
            href = url.href
        if scheme not in WEB_SCHEMES:
            return Landed(href)
        if self._referrer is not None:
            self._referrer = redirected(self._referrer, base, url, answer.headers)
        # A POST becomes a GET after 301, 302 and 303 (Fetch 4.4).
        return self._go(url, href, self._fetch if self._fetch and answer.status in _KEEPS_THE_METHOD else _GET)

    def _landed(self, answer: HopAnswer, page: Page) -> Landed:
        """The landing on the current page."""
        self._record(answer, "final" if page.why is None else "script_unresolved", page)
        if page.why is not None and self._fetch is not None:
            document = None if answer.page is None else answer.page.document
            self.left_at = LeftAt(self._href, self._fetch, answer.status, answer.headers, document, page.why)
        return Landed(self._href)

    def _left(self, answer: HopAnswer, page: Page) -> Step:
        """The step after an answer with a page, of which it is known what it does."""
        if (jump := page.jump) is None:
            return self._landed(answer, page)
        url = URL(jump.url)
        href, scheme = url.href, url.protocol[:-1]
        if scheme not in WEB_SCHEMES:
            if scheme in self.limits.landing_schemes:
                self._record(answer, jump.kind, page)
                return Landed(href)
            if (web_page := web_page_of(href)) is None:
                return self._landed(answer, page)
            url, href = web_page, web_page.href
        target = wire_url(href)
        is_seen = (jump.method, target, jump.body, self._known_at(url)) in self._seen
        if jump.method == "GET" and target == wire_url(self._href):
            if "#" in href and page.tier == "markup":  # a place on the same page; the engine tells only of reloads
                self._record(answer, "final", page)
                return Landed(href)
            is_seen = is_seen and page.tier != "browser"  # whose storages are not known here
            if is_seen or times_at(self._href, self.hops, page.tier) >= RELOADS_MAX[page.tier]:
                counts = page.tier != "markup" and not is_seen and not (answer.page and answer.page.shows_much)
                return self._landed(answer, replace(page, why="it reloads itself again") if counts else page)
        self._undo = self._current_url, self._href, self._fetch, len(self.hops), set(self._seen)
        self._record(answer, jump.kind, page)
        self._referrer = of_page(self._current(), answer.headers, page.referrer_policies)
        self._page_url = self._current()
        # Browsers follow a page's jumps for ever; a trace leaves a loop of pages when it comes back the first time.
        return self._loop(target) if is_seen else self._go(url, href, jump)

    def _go(self, url: URL, href: str, sends: Fetch | Jump = _GET) -> Fetch | Landed | GaveUp:
        """The hop to `url` or the landing there, or GaveUp for a forbidden address."""
        if (refused := self._allowed(url)) is not None:
            return refused
        # After a POST the visitor would arrive there without the form's fields.
        if sends.method == "GET" and self.limits.stop_at and is_host_in(url.hostname, self.limits.stop_at):
            return Landed(href)
        return self._enter(url, href, sends)

    def _allowed(self, url: URL) -> GaveUp | None:
        if self.limits.allow_private or (why := refused_host_of(url)) is None:
            return None
        return self._give_up(Verdict.LIMIT, "refused_address", f"will not go to {shown(url.href)}: {why}")

    def _enter(self, url: URL, href: str, sends: Fetch | Jump = _GET) -> Fetch | GaveUp:
        """The request for `url`, with the method and body of `sends`."""
        method, body, content_type = sends.method, sends.body, sends.content_type
        target, cookies = wire_url(href), self.jar.header(url, self._page_url, method)
        request = (method, target, body, self._known_at(url))
        if len(self.hops) >= self.limits.hops_max:
            # Browsers have no other end of redirects than a number (Fetch 4.4): a site may let the third try pass.
            if request in self._seen:
                return self._loop(target)
            message = f"the chain goes on after {self.limits.hops_max} hops (trace.hops_max)"
            return self._give_up(Verdict.LIMIT, "hops_max", message)
        self._seen.add(request)
        headers = self._headers + self._origins(url, method)
        if cookies:
            headers = (*headers, ("Cookie", cookies))
        if content_type:
            headers = (*headers, ("Content-Type", content_type))
        self._current_url, self._href, self._fetch = url, href, Fetch(target, headers, method, body, content_type)
        return self._fetch

    def _known_at(self, url: URL) -> str:
        """What makes a second request for the same URL another one: cookies, and what pages have left in the tab."""
        return f"{self.jar.header(url)}\n{self._tab.kept}"

    def _origins(self, url: URL, method: str) -> tuple[tuple[str, str], ...]:
        """Referer and Origin. The first request has the referrer as the visitor or the caller gave it."""
        given = self.identity.referrer
        if not self.hops and given:
            return (("Referer", header_text(given)),)
        return () if self._referrer is None else headers_to(url, self._referrer, method)

    def _loop(self, target: str) -> GaveUp:
        return self._give_up(Verdict.TARGET, "loop", f"the chain loops: {shown(target)} was already fetched")

    def _current(self) -> URL:
        assert self._current_url is not None, "answered() or failed() before start()"
        return self._current_url

    def _record(self, outcome: HopAnswer | HopFailure, kind: str, page: Page = _NO_PAGE) -> None:
        received, sent = outcome.bytes_received, outcome.bytes_sent
        how = self._tier if page.tier == "markup" else page.tier, page.why, len(self.jar)
        self.hops.append(Hop(self._href, outcome.status, outcome.ms, kind, received, sent, *how))

    def _fault(self, outcome: HopAnswer | HopFailure, fault: Fault) -> GaveUp:
        self._record(outcome, "failed")
        return self._give_up(fault.verdict, fault.reason, fault.message)

    def _give_up(self, verdict: Verdict, reason: str, message: str) -> GaveUp:
        where = "" if self._current_url is None else f"hop {len(self.hops)} ({shown(self._current_url.host)}): "
        return GaveUp(verdict, reason, where + message)


def _scheme(href: str) -> str:
    return href.partition(":")[0]
