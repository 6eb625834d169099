"""The steps of one trace: outcomes of hops in, the next step out. Pure.

The caller calls `start()`, then `answered()` or `failed()` for each Fetch, `ran()` for each RunPage and `fetched()` for
each ScriptFetch, until it gets Landed or GaveUp.

A trace lands at any answer below 500 that is no redirect. A visitor's browser arrives at such a URL with its
parameters, and a 403 or 404 for a proxy does not mean that the visitor gets one. A 5xx is a failure of the target: a
working server might redirect once more, and the tracking URL leads the visitor there. 301, 302, 303, 307 and 308 with a
Location are followed (RFC 9110, 15.4). 300, 304 and a redirect without a Location are landings ("If locationURL is
null, then return response", Fetch 4.4).

Other jumps are those of the HTML page, its Refresh header included: by its markup (page/html.py), or by the engine if a
script may run (page_runs.py). A page that jumps to itself is fetched a second time if its cookies have changed;
otherwise the trace lands there.
"""

from collections.abc import Sequence

from ada_url import URL
from msgspec.structs import replace

from daemon.trace.engine.records import PageOutcome
from daemon.trace.page.body import PageBody, ScriptBody, page_body
from daemon.trace.page.html import Jump, page_without_html
from daemon.trace.page.refreshes import refresh_of
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
    LeftAt,
    Limits,
    RunPage,
    ScriptFetch,
    Tier,
    Usage,
    fault_of_failure,
)
from daemon.trace.walk.page_runs import PageRun
from daemon.trace.walk.referrers import Referrer, first_referrer, of_page, redirected
from daemon.trace.walk.request_headers import identity_fields, referrer_fields
from daemon.trace.walk.verdicts import Fault, Verdict, fault_of_answer
from daemon.web.addresses import refused_host_of
from daemon.web.app_links import web_page_of
from daemon.web.headers import header_text, is_host_in, location_in, parsed, shown, wire_url

__all__ = [
    "REDIRECT_STATUSES", "WEB_SCHEMES", "Fetch", "GaveUp", "Hop", "HopAnswer", "HopFailure", "Identity", "Landed",
    "LeftAt", "Limits", "RunPage", "ScriptFetch", "Step", "Usage", "Walk",
]  # fmt: skip

_WITHOUT_BODY = frozenset({204, 205, 304})
_KEEPS_THE_METHOD = frozenset({307, 308})
_KINDS = {"link": "script"}  # a jump by a link is a script's, which clicked the link
_GET = Jump("http", "")

_Request = tuple[str, str, bytes, str]  # method, URL, body, cookies
Step = Fetch | RunPage | Landed | GaveUp


class Walk:
    """One trace from `url` on: its hops so far (`limits.hops_max` at most), its cookies, its requests."""

    __slots__ = ("_current_url", "_fetch", "_fetched_before", "_headers", "_href", "_page_run", "_referrer", "_seen",
                 "_tier", "_undo", "hops", "identity", "jar", "left_at", "limits", "url")  # fmt: skip

    def __init__(self, url: str, identity: Identity, limits: Limits) -> None:
        self.url = url
        self.identity = identity
        self.limits = limits
        self.hops: list[Hop] = []
        self._current_url: URL | None = None  # the URL being fetched
        self._href = ""  # and as text
        self._fetch: Fetch | None = None
        self._fetched_before = ""  # the URL of the hop before
        self.jar = Jar()
        self.left_at: LeftAt | None = None  # set if the trace landed on a page of kind script_unresolved
        self._page_run: PageRun | None = None  # of the page whose scripts run
        self._tier: Tier = "markup"  # of hops whose outcome needs no script
        self._undo: tuple[URL | None, str, Fetch | None, str, Referrer | None, _Request] | None = None  # the last jump
        self._referrer = first_referrer(identity.referrer)  # of the next request
        self._seen: set[_Request] = set()
        self._headers = identity_fields(identity)

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
        if status == 407 and not self._href.startswith("https:"):
            return None  # the proxy's own answer
        url, limits = self._current(), self.limits
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
            self._page_run = PageRun(answer, self._fetch, self._href, self.identity, self.limits, self.jar)
            return self._page_run.run()
        if page.jump is None:
            return self._landed(answer)
        return self._jumped(answer, page.jump, page.referrer_policies)

    def ran(self, outcome: PageOutcome, usage: Usage) -> Step:
        """The step after a RunPage. `usage` is that of the hop so far."""
        assert self._page_run is not None, "ran() without a RunPage"
        answer, step = self._page_run.answer, self._page_run.ran(outcome)
        if not isinstance(step, PageOutcome):
            return step
        self._page_run = None
        answer = replace(answer, ms=usage.ms, bytes_received=usage.bytes_received, bytes_sent=usage.bytes_sent)
        return self._left(answer, step, "engine")

    def by_browser(self) -> Hop | None:
        """From now on a browser sends the requests. Takes the landing at `left_at` back, and returns its hop."""
        self._tier = "browser"
        if self.left_at is None:
            return None
        self.left_at = None
        return self.hops.pop()

    def browsed(self, answer: HopAnswer, outcome: PageOutcome) -> Step:
        """The step after a page that a browser has loaded. `answer` has the usage of the whole hop."""
        self.jar.keep(self._current(), answer.headers)
        return self._left(answer, outcome, "browser")

    def undo(self) -> None:
        """Takes the last jump back: the page has replaced it by another one before its answer came."""
        assert self._undo is not None, "undo() without a jump"
        self._current_url, self._href, self._fetch, self._fetched_before, self._referrer, request = self._undo
        self._seen.discard(request)
        self.hops.pop()

    def _left(self, answer: HopAnswer, outcome: PageOutcome, tier: Tier) -> Step:
        """The step after a page whose scripts have run."""
        self.jar.keep_from_script(self._current(), answer.headers, outcome.cookies)
        if outcome.kind != "goes":
            return self._landed(answer, tier, None if outcome.kind == "stays" else shown(outcome.why) or "unknown")
        jump = Jump(
            _KINDS.get(outcome.how, outcome.how), outcome.url, outcome.method, outcome.body, outcome.content_type
        )
        policies = (*outcome.referrer_policies, "no-referrer") if outcome.no_referrer else outcome.referrer_policies
        return self._jumped(answer, jump, policies, tier)

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
        fault = Fault(Verdict.LIMIT, "trace_timeout", f"the trace did not end within {timeout_s:g} s")
        if self._current_url is None:
            return GaveUp(fault.verdict, fault.reason, fault.message)
        return self._fault(late, fault)

    def _fault_of(self, answer: HopAnswer) -> Fault | None:
        """The proxy's, if the answer is its own. Inside a tunnel a 407 is the target's answer, and a landing."""
        if answer.tunnelled or self._href.startswith("https:"):
            return None
        return fault_of_answer(answer.status, answer.headers, proxy_proven=bool(self.hops), own=answer.own)

    def _redirected(self, base: URL, location: str, answer: HopAnswer) -> Fetch | Landed | GaveUp:
        url = parsed(location, self._href)
        href = "" if url is None else url.href
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
        if self._fetch is not None and answer.status in _KEEPS_THE_METHOD:
            return self._go(url, href, self._fetch)
        return self._go(url, href)  # a POST becomes a GET after 301, 302 and 303 (Fetch 4.4)

    def _landed(self, answer: HopAnswer, tier: Tier | None = None, why: str | None = None) -> Landed:
        """The landing on the current page; `why` is set if the page goes on to a URL that is not known."""
        self._record(answer, "final" if why is None else "script_unresolved", tier, why)
        if why is not None:
            assert self._fetch is not None
            document = None if answer.page is None else answer.page.document
            self.left_at = LeftAt(self._href, self._fetch, answer.status, answer.headers, document, why)
        return Landed(self._href)

    def _jumped(self, answer: HopAnswer, jump: Jump, policies: Sequence[str], tier: Tier | None = None) -> Step:
        """The step after a page with a jump. `policies`: the referrer policies that the page declares."""
        url = URL(jump.url)
        href = url.href
        scheme = _scheme(href)
        if scheme not in WEB_SCHEMES:
            if scheme in self.limits.landing_schemes:
                self._record(answer, jump.kind, tier)
                return Landed(href)
            if (page := web_page_of(href)) is None:
                return self._landed(answer, tier)
            url, href = page, page.href
        target = wire_url(href)
        if jump.method == "GET" and target == wire_url(self._href):
            if "#" in href:  # a place on the same page
                self._record(answer, "final", tier)
                return Landed(href)
            if self._fetched_before == target or ("GET", target, b"", self.jar.header(url)) in self._seen:
                return self._landed(answer, tier)
        self._record(answer, jump.kind, tier)
        self._referrer = of_page(self._current(), answer.headers, policies)
        # Browsers follow a page's jumps for ever; a trace leaves a loop of pages when it comes back the first time.
        if (jump.method, target, jump.body, self.jar.header(url)) in self._seen:
            return self._loop(target)
        return self._go(url, href, jump)

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
        target, cookies = wire_url(href), self.jar.header(url)
        request = (method, target, body, cookies)
        if len(self.hops) >= self.limits.hops_max:
            # Browsers have no other end of redirects than a number (Fetch 4.4): a site may let the third try pass.
            if request in self._seen:
                return self._loop(target)
            message = f"the chain goes on after {self.limits.hops_max} hops (trace.hops_max)"
            return self._give_up(Verdict.LIMIT, "hops_max", message)
        self._seen.add(request)
        # The first request has the referrer as the visitor or the caller gave it.
        given = None if self.hops else self.identity.referrer
        origins = (("Referer", header_text(given)),) if given else referrer_fields(url, method, self._referrer)
        headers = self._headers + origins
        if cookies:
            headers = (*headers, ("Cookie", cookies))
        if content_type:
            headers = (*headers, ("Content-Type", content_type))
        self._undo = self._current_url, self._href, self._fetch, self._fetched_before, self._referrer, request
        self._fetched_before = "" if self._fetch is None else self._fetch.url
        self._current_url, self._href, self._fetch = url, href, Fetch(target, headers, method, body, content_type)
        return self._fetch

    def _loop(self, target: str) -> GaveUp:
        return self._give_up(Verdict.TARGET, "loop", f"the chain loops: {shown(target)} was already fetched")

    def _current(self) -> URL:
        assert self._current_url is not None, "start() was not called"
        return self._current_url

    def _record(
        self, outcome: HopAnswer | HopFailure, kind: str, tier: Tier | None = None, why: str | None = None
    ) -> None:
        received, sent = outcome.bytes_received, outcome.bytes_sent
        self.hops.append(Hop(self._href, outcome.status, outcome.ms, kind, received, sent, tier or self._tier, why))

    def _fault(self, outcome: HopAnswer | HopFailure, fault: Fault) -> GaveUp:
        self._record(outcome, "failed")
        return self._give_up(fault.verdict, fault.reason, fault.message)

    def _give_up(self, verdict: Verdict, reason: str, message: str) -> GaveUp:
        where = "" if self._current_url is None else f"hop {len(self.hops)} ({shown(self._current_url.host)}): "
        return GaveUp(verdict, reason, where + message)


def _scheme(href: str) -> str:
    return href.partition(":")[0]
