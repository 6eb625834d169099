"""One page whose scripts run in the engine, with the external scripts that it needs. Pure.

The engine runs the page. If the page needs external scripts, they are fetched, and the page is run again from its
beginning with them.
"""

from dataclasses import dataclass

from ada_url import URL
from msgspec.structs import replace

from daemon.trace.engine.records import PageOutcome, PageRequest
from daemon.trace.page.body import ScriptBody, policies_in, script_body
from daemon.trace.page.content_types import HTML_TYPES, content_type_of, is_sniffed, is_xml
from daemon.trace.page.external import MEASURING_HOSTS
from daemon.trace.page.html import Jump, Page, why_late
from daemon.trace.page.running import is_script
from daemon.trace.walk.cookies import Jar, is_same_site
from daemon.trace.walk.hops import (
    REDIRECT_STATUSES,
    WEB_SCHEMES,
    Fetch,
    HopAnswer,
    HopFailure,
    Identity,
    Limits,
    RunPage,
    ScriptFetch,
)
from daemon.trace.walk.referrers import Referrer, of_page, redirected, referer_to
from daemon.web.addresses import refused_host_of
from daemon.web.app_links import SCHEMES
from daemon.web.headers import RawHeaders, location_in, parsed, refresh_in, shown, wire_url

# Only the scripts of pages that look like a jump are fetched: of pages that show little and are small enough to be read
# whole. Those of a landing page are frameworks and measurements, which cost many bytes of a paid proxy and hardly ever
# leave the page.
SCRIPTS_MAX = 8  # of one page, that are fetched
SCRIPT_BYTES_MAX = 131_072  # of one; a common library has 90 KB, compressed 30 KB
SCRIPTS_BYTES_MAX = 262_144  # of all of one trace
RUNS_MAX = 5  # of one page: a script may add scripts
REDIRECTS_MAX = 4  # of one script

_KEPT_HEADERS = frozenset({"User-Agent", "Accept-Language", "Accept-Encoding"})
_REFUSALS = frozenset({401, 403, 451})
_NO_SCRIPTS = ("image/", "audio/", "video/", "text/csv")  # Fetch 2.9, blocked due to its MIME type


@dataclass(slots=True)
class Tab:
    """What the pages of one trace share. `kept`: what they have left for later ones (PageOutcome.kept)."""

    kept: str = ""
    script_bytes_left: int = SCRIPTS_BYTES_MAX


class PageRun:
    """A page with a script that may run: the page of `answer` to `fetch`, at `href` with its fragment.

    A script that could not be fetched is left out of the request, so that the engine knows that it is missing.
    """

    def __init__(
        self, answer: HopAnswer, fetch: Fetch, href: str, identity: Identity, limits: Limits, jar: Jar, tab: Tab
    ) -> None:  # fmt: skip
        page = answer.page
        assert page is not None
        assert page.document is not None
        self.answer = answer
        self._page_url = url = URL(href)
        self._waited_s = page.document.waited_s
        is_cut = not (page.document.whole or self._waited_s)
        self._request = PageRequest(
            url=href, html=page.document.text, encoding=page.document.encoding, whole=page.document.whole,
            open=page.document.waited_s > 0,
            referrer=dict(fetch.headers).get("Referer", ""), cookie=jar.document_cookie(url),
            user_agent=identity.user_agent, languages=identity.languages,
            refresh_max_s=limits.refresh_max_s, refresh=refresh_in(answer.headers),
            policies=policies_in(answer.headers), schemes=tuple(WEB_SCHEMES | SCHEMES | limits.landing_schemes),
            harmless_hosts=tuple(MEASURING_HOSTS), kept=tab.kept,
            unknown_stay=page.shows_much or is_cut,
        )  # fmt: skip
        kept = [header for header in fetch.headers if header[0] in _KEPT_HEADERS]
        self._headers = (("Accept", "*/*"), *kept)
        self._referrer = of_page(url, answer.headers, page.referrer_policies)
        self._jar = jar
        self._tab = tab
        self._allow_private = limits.allow_private
        self._scripts: dict[str, str | None] = {}
        self._tried: set[str] = set()
        self._waiting: list[str] = []
        self._unknown: list[str] = []  # why scripts did not come
        self._runs = 0
        self._body: ScriptBody | None = None
        self._from = url, self._referrer, 0  # of the script being fetched: URL, referrer, redirects so far

    def run(self) -> RunPage:
        self._runs += 1
        left = 0 if self._request.unknown_stay or self._runs >= RUNS_MAX else SCRIPTS_MAX - len(self._tried)
        return RunPage(replace(self._request, scripts=dict(self._scripts), fetches_left=left))

    def ran(self, outcome: PageOutcome) -> PageOutcome | RunPage | ScriptFetch:
        """The page's outcome, or the next step towards it."""
        if is_xml(self.answer.headers):  # read by other rules than HTML; the trees here are HTML's
            return replace(outcome, kind="unresolved", why="scripts of an XHTML page")
        if outcome.kind == "stays" and not self._request.unknown_stay and self._unknown:
            return replace(outcome, kind="unresolved", why=self._unknown[0])
        if outcome.kind == "stays" and self._waited_s:
            return replace(outcome, kind="unresolved", why=why_late(self._waited_s))
        if outcome.kind != "needs":
            return outcome
        if self._runs >= RUNS_MAX:
            return PageOutcome("unresolved", why="external scripts", text_characters=outcome.text_characters)
        new = [url for url in dict.fromkeys(outcome.needs) if url not in self._tried][: SCRIPTS_MAX - len(self._tried)]
        self._tried.update(new)
        if not new:
            self._runs = RUNS_MAX - 1  # the last run, which does without
        self._waiting = new
        return self._next()

    def body(self, headers: RawHeaders) -> ScriptBody | None:
        """The reader of the script's answer."""
        bytes_max = min(SCRIPT_BYTES_MAX, self._tab.script_bytes_left)
        self._body = script_body(tuple(headers), self._request.encoding, bytes_max) if bytes_max > 0 else None
        return self._body

    def fetched(self, answer: HopAnswer | HopFailure) -> RunPage | ScriptFetch:
        """The step after an answer to a ScriptFetch."""
        url, referrer, redirects = self._from
        body, self._body = self._body, None
        if body is not None:
            self._tab.script_bytes_left -= body.bytes_read
        if isinstance(answer, HopFailure) or answer.own is not None or answer.status in (407, 429):
            return self._without_script("could not be fetched")  # possibly the proxy's doing
        if is_same_site(url, self._page_url):
            self._jar.keep(url, answer.headers)
        location = location_in(answer.headers) if answer.status in REDIRECT_STATUSES else None
        if location is not None:
            target = parsed(location, url.href)
            if target is None or redirects >= REDIRECTS_MAX or not self._is_allowed(target):
                return self._without_script("could not be fetched")
            return self._fetch(target, redirected(referrer, url, target, answer.headers), redirects + 1)
        if answer.status >= 500 or (answer.status < 300 and (body is None or body.text is None)):
            return self._without_script("could not be fetched")
        # A refusal or a page for a proxy does not mean that the visitor gets one.
        if answer.status in _REFUSALS:
            self._unknown.append(f"the script {shown(url.href)} was answered with status {answer.status}")
        elif answer.status < 300 and content_type_of(answer.headers).essence in HTML_TYPES:
            self._unknown.append(f"the script {shown(url.href)} was answered with an HTML page")
        is_script = answer.status < 300 and not _is_blocked(answer.headers)
        self._scripts[self._waiting.pop(0)] = body.text if is_script and body is not None else None
        return self._next()

    def _without_script(self, why: str) -> RunPage | ScriptFetch:
        self._unknown.append(f"the script {shown(self._waiting.pop(0))} {why}")
        return self._next()

    def _next(self) -> RunPage | ScriptFetch:
        if not self._waiting:
            return self.run()
        url = parsed(self._waiting[0])
        if url is not None and self._is_allowed(url):
            return self._fetch(url, self._referrer, 0)
        return self._without_script("is at no public address")

    def _is_allowed(self, url: URL) -> bool:
        is_web = url.protocol in ("http:", "https:")
        return is_web and (self._allow_private or refused_host_of(url) is None)

    def _fetch(self, url: URL, referrer: Referrer, redirects: int) -> ScriptFetch:
        """A cross-site request for a script has no cookies whose SameSite is Lax, the default (RFC 6265bis, 5.8.3)."""
        self._from = url, referrer, redirects
        headers = self._headers
        if referer := referer_to(url, referrer):
            headers = (*headers, ("Referer", referer))
        if is_same_site(url, self._page_url) and (cookies := self._jar.header(url)):
            headers = (*headers, ("Cookie", cookies))
        return ScriptFetch(wire_url(url.href), headers)


def page_of(outcome: PageOutcome) -> Page:
    """What a page does, by the engine's outcome."""
    if outcome.kind == "unresolved":
        return Page(tier="engine", why=shown(outcome.why) or "unknown")
    if outcome.kind != "goes":
        return Page(tier="engine")
    kind = "script" if outcome.how == "link" else outcome.how  # the script that clicked the link
    jump = Jump(kind, outcome.url, outcome.method, outcome.body, outcome.content_type)
    policies = (*outcome.referrer_policies, "no-referrer") if outcome.no_referrer else outcome.referrer_policies
    return Page(jump, referrer_policies=policies, tier="engine")


def _is_blocked(headers: RawHeaders) -> bool:
    """Whether a browser refuses to run an answer as a script (Fetch 2.9; 3.6, nosniff)."""
    essence = content_type_of(headers).essence or ""
    return essence.startswith(_NO_SCRIPTS) or (not is_sniffed(headers) and not is_script({"type": essence or "-"}))
