"""The hops of one trace in a browser: what the tab requested, received and showed, as the walk takes it.

The walk decides the next step. A page may replace its own jump by another one before the first is answered; then the
walk takes the first one back.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

import trio
from ada_url import URL
from msgspec.structs import replace

from daemon.providers.proxies import ProxyAddress
from daemon.trace.browser.forwarder import Forwarder
from daemon.trace.browser.net_errors import TOO_MANY_REDIRECTS, failure_of_error
from daemon.trace.browser.relay import Fault
from daemon.trace.page.content_types import content_type_of, is_attachment, is_xml
from daemon.trace.page.html import Jump, Page
from daemon.trace.walk.hops import REDIRECT_STATUSES, Fetch, GaveUp, HopAnswer, HopFailure, Landed, LeftAt
from daemon.trace.walk.steps import Step, Walk
from daemon.trace.walk.verdicts import Failure, Phase, Verdict
from daemon.trace.wire.connection import HTTP_PORT, HTTPS_PORT
from daemon.web.headers import RawHeaders, location_in, parsed, shown, wire_url

_WITHOUT_CONTENT = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT})
_SAVED = frozenset({"application/octet-stream", "application/vnd.android.package-archive", "application/zip"})
REPLACED_MAX = 20  # jumps by which one page replaces its own earlier one

Usage = tuple[float, int, int]
"""Milliseconds, bytes received and bytes sent."""


class Course:
    """`url` is requested, or shown while `answer` is set. `end` is set when the trace has ended."""

    def __init__(self, walk: Walk, forwarder: Forwarder, proxy: ProxyAddress, timeout_s: float) -> None:
        self.walk = walk
        self.url = ""
        self.answer: HopAnswer | None = None
        self.end: Landed | GaveUp | None = None
        self._forwarder = forwarder
        self._proxy = proxy
        self._timeout_s = timeout_s
        self._at: Usage = self._now()  # when the hop began
        self._before: Usage = 0.0, 0, 0  # of the hop, before the browser had it
        self._jumped: tuple[HopAnswer, str, Usage, Usage] | None = None  # the page whose jump is being requested
        self._replaced = 0
        self._answers: tuple[HopAnswer, ...] = ()  # to the page's jump
        self._jump: tuple[Jump, str] | None = None  # the last one, with its cookies
        self._ending: tuple[HopAnswer, ...] | None = None  # to that jump, which has left the page where it was

    def begin(self) -> tuple[Fetch, LeftAt | None] | None:
        """The first request, and the page that the walk left unresolved, if there is one. None: the trace has ended."""
        left, hop = self.walk.left_at, self.walk.by_browser()
        step: Step = self.walk.start() if left is None else left.fetch
        if hop is not None:
            self._before = hop.ms, hop.bytes_received, hop.bytes_sent
            self._forwarder.proven = True
        self._take(step)
        return (step, left) if isinstance(step, Fetch) else None

    def redirected_by_browser(self, url: str) -> None:
        """The browser goes to another URL by itself: to https, because the host demands it (HSTS)."""
        if wire_url(url) == self.url:
            return  # the same, with a login
        self.answered(self.head(307, ((b"location", url.encode()),)))

    def answered(self, answer: HopAnswer) -> Step:
        """The step after an answer: one whose body does not matter, or one with its page."""
        self._forwarder.proven = True
        self._answers += (answer,)
        step = self.walk.answered(answer)
        self._take(step)
        return step

    def jump(self, jump: Jump, cookies: str = "") -> Step:
        """The page that is shown leaves. `cookies`: the Cookie header of its request."""
        assert self.answer is not None, "no page is shown"
        if (url := parsed(jump.url)) is None:  # the browser accepts names of hosts that are not valid
            return self._left(Page(tier="browser", why=f"the page jumps to {shown(jump.url)}, which is no URL"))
        self._keep_cookies(url, cookies, self.answer)
        jumped = self.answer, self.url, self._at, self._before
        step = self._left(Page(jump, tier="browser"))
        self._jumped, self.answer = jumped, None
        self._jump, self._answers, self._ending = (jump, cookies), (), None
        return step

    def is_page(self, answer: HopAnswer) -> bool:
        """Whether the answer has a page that may leave."""
        if answer.own is not None:
            return False
        is_xml_page = HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES and is_xml(answer.headers)
        return self.walk.body(answer.status, answer.headers) is not None or is_xml_page

    def keeps_page(self, answer: HopAnswer) -> bool:
        """Whether the page that has jumped stays in the tab after this answer, and may jump again."""
        if self._jumped is None or answer.own is not None or not is_no_document(answer.status, answer.headers):
            return False
        self._ending = (*self._answers, answer)
        return True

    def _keep_cookies(self, target: URL, sent: str, answer: HopAnswer) -> None:
        """Stores the cookies that scripts of the page have set, as far as the page's own host gets them."""
        jar, page = self.walk.jar, URL(self.url)
        if target.hostname == page.hostname:
            known = jar.header(target).split("; ")
            new = [f"{pair}; path=/" for pair in sent.split("; ") if pair and pair not in known]
            jar.keep_from_script(page, answer.headers, new)

    def return_to_page(self) -> bool:
        """The page's jump is not performed. False if no page had jumped, or it has done so too often."""
        self._replaced += 1
        if self._jumped is None or self._replaced > REPLACED_MAX:
            return False
        self.walk.undo()
        self.answer, self.url, self._at, self._before = self._jumped
        self._jumped = None
        return True

    def land(self, why: str = "") -> None:
        """The trace ends at the page that is shown. `why` it is not certain that the page stays.

        Or at the last answer to its jump, if that answer has left the page where it was.
        """
        if not why and self._ending is not None and self._jump is not None:
            answers = self._ending
            self.jump(*self._jump)
            for answer in answers:
                self.answered(answer)
            return
        self._left(Page(tier="browser", why=why or None))

    def show(self, answer: HopAnswer) -> None:
        self._forwarder.proven = True
        self.answer = answer
        self._jumped = None
        self._replaced = 0

    def fault(self) -> Fault | None:
        """Takes the leased IP's fault at the current request."""
        target = urlsplit(self.url)
        port = target.port or (HTTPS_PORT if target.scheme == "https" else HTTP_PORT)
        return self._forwarder.fault_at(target.netloc.rpartition("@")[2].removesuffix(f":{target.port}"), port)

    def fail(self, fault: Fault) -> None:
        """The trace ends, because the request has no answer."""
        if self.is_exhausted:
            self.out_of_bytes()
            return
        if fault.refusal is not None and fault.status is not None:
            self.answered(replace(self.head(fault.status, fault.refusal), own=fault.own, tunnelled=False))
            return
        proven = self._forwarder.proven or (fault.began and fault.failure is not Failure.NOT_HTTP)
        failure = HopFailure(
            fault.phase, fault.failure, *self._usage(), status=fault.status, proxy_proven=proven, own=fault.own
        )
        over = self._forwarder.is_over
        self._take(self.walk.out_of_time(self._timeout_s, failure) if over else self.walk.failed(failure))

    def fail_by(self, error: str) -> None:
        """The trace ends by a network error of the browser."""
        if (fault := self.fault()) is not None:
            return self.fail(fault)
        if error == TOO_MANY_REDIRECTS:
            self.end = GaveUp(Verdict.LIMIT, "hops_max", "the browser follows no more than 20 redirects")
            return None
        return self.fail(Fault(*failure_of_error(error)))

    @property
    def is_exhausted(self) -> bool:
        """Whether the trace has received as much as it may."""
        return self._forwarder.is_exhausted

    def out_of_bytes(self) -> None:
        """The trace ends, because nothing more is received: pages may lack what would make them leave."""
        why = f"the trace received more than {self._forwarder.bytes_max >> 20} MB"
        if self.answer is None and not self.return_to_page():
            self.end = GaveUp(Verdict.LIMIT, "bytes_max", why)
        else:
            self.land(why)

    def late(self) -> None:
        """The trace ends, because the request or the whole trace takes too long."""
        self.fail(self.fault() or Fault(self._phase, Failure.TIMEOUT))

    def head(self, status: int, headers: RawHeaders) -> HopAnswer:
        tunnelled, raw = self._is_tunnelled, tuple(headers)
        own = None if tunnelled else self._proxy.own_answer(status, raw)
        return HopAnswer(status, raw, *self._usage(), tunnelled=tunnelled, own=own)

    @property
    def _is_tunnelled(self) -> bool:
        return self.url.startswith("https:") or self._forwarder.only_tunnels

    @property
    def _phase(self) -> Phase:
        return Phase.BEHIND if self._is_tunnelled else Phase.FORWARD

    def _now(self) -> Usage:
        return trio.current_time() * 1000, self._forwarder.meter.received, self._forwarder.meter.sent

    def _usage(self) -> Usage:
        now, at, before = self._now(), self._at, self._before
        return now[0] - at[0] + before[0], now[1] - at[1] + before[1], now[2] - at[2] + before[2]

    def _left(self, page: Page) -> Step:
        assert self.answer is not None, "no page is shown"
        ms, received, sent = self._usage()
        return self.answered(replace(self.answer, page=page, ms=ms, bytes_received=received, bytes_sent=sent))

    def _take(self, step: Step) -> None:
        if isinstance(step, Fetch):
            self.url = step.url
            if self.walk.hops:
                self._at, self._before = self._now(), (0.0, 0, 0)
        elif isinstance(step, Landed | GaveUp):
            self.end = step


def is_no_document(status: int, headers: RawHeaders) -> bool:
    """Whether an answer to a navigation is nothing that a browser shows: no content, or a download."""
    is_saved = is_attachment(headers) or content_type_of(headers).essence in _SAVED
    return status in _WITHOUT_CONTENT or (HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES and is_saved)


def follows(status: int, headers: RawHeaders, base: str, step: Fetch) -> bool:
    """Whether the browser itself goes on as the walk has decided: to the http(s) URL of a redirect."""
    location = location_in(headers) if status in REDIRECT_STATUSES else None
    url = None if location is None else parsed(location, base)
    return url is not None and wire_url(url.href) == step.url
