"""One trace in a tab: the tab's events in, commands out. The walk decides, as for any other trace.

Requests for the main frame's document pause at two points. Before the request, the walk learns that the page jumps, and
says whether the request may be sent. At the head of the response, the walk follows a redirect or ends the trace;
otherwise the page is loaded. Other requests pause once, so that images, media, fonts and styles are not loaded.

A page has settled when it has not left within `refresh_max_s` of its own time (see page_time) since it was shown. That
time stands still while the page waits for the network, for some time (Emulation.setVirtualTimePolicy). In a browser
without virtual time, it is real time. A page that has not settled within PAGE_S gets the kind script_unresolved.
"""

from collections.abc import Awaitable, Callable

import trio

from daemon.trace.browser.cdp import REFUSED, BrowserGone, Params
from daemon.trace.browser.course import Course, follows
from daemon.trace.browser.forwarder import LOGIN_URL, login_for
from daemon.trace.browser.net_errors import ABORTED
from daemon.trace.browser.page_time import PageTime
from daemon.trace.browser.process import Tab
from daemon.trace.browser.protocol_types import KINDS, PATTERNS, agent_of, answer_of, cookie_of, jump_of, raw_headers
from daemon.trace.browser.resources import Resources
from daemon.trace.page.html import Jump
from daemon.trace.walk.hops import Fetch, GaveUp, Landed, LeftAt
from daemon.trace.walk.steps import WEB_SCHEMES
from daemon.web.app_links import web_page_of
from daemon.web.headers import RawHeaders

PAGE_S = 10.0
LEAVE_S = 1.0  # of real time for a navigation that the page has begun; one that a policy forbids never comes


class Visit:
    """`run` drives the walk of `course` to its end in `tab`. `password`: of the tab's proxy."""

    def __init__(self, tab: Tab, course: Course, password: str, *, hop_timeout_s: float, ends_at: float) -> None:
        self._tab = tab
        self._course = course
        self._password = password
        self._hop_timeout_s = hop_timeout_s
        self._ends_at = self._deadline = self._page_ends_at = ends_at
        self._network_id = ""  # of the document's request
        self._left: LeftAt | None = None  # a page that need not be requested
        self._is_shown = self._is_loaded = False  # whether the course's page is
        self._how: tuple[str, str] = "", "script"  # where the page wants to go, and how
        self._is_leaving = False  # it has begun a navigation whose request has not paused yet
        self._resources = Resources(tab, allow_private=course.walk.limits.allow_private)  # of the page that is shown
        self._time = PageTime(course.walk.limits.refresh_max_s)  # of the page that is shown
        self._is_lingering = False  # the page's time stands still until the deadline, for what real time brings
        self._has_virtual_time = True
        self._time_command = 0  # the number of the last command for it

    async def run(self) -> Landed | GaveUp:
        """The end of the trace. Raises CommandRefused, and BrowserGone if the tab ended before it showed a page."""
        handlers: dict[str, Callable[[Params], Awaitable[None]]] = {
            "Fetch.requestPaused": self._paused,
            "Fetch.authRequired": self._log_in,
            "Network.loadingFailed": self._loading_failed,
            "Page.frameRequestedNavigation": self._leaving,
            "Page.frameNavigated": self._navigated,
            "Page.loadEventFired": self._loaded,
            "Emulation.virtualTimeBudgetExpired": self._time_passed,
            "Animation.animationStarted": self._animated,
            "Animation.animationUpdated": self._animated,
            "Target.attachedToTarget": self._attached,
            "Network.webSocketCreated": self._worker_begins,
            "Page.javascriptDialogOpening": self._dialog,
            "Inspector.targetCrashed": self._crashed,
            REFUSED: self._refused,
        }
        course = self._course
        try:
            await self._begin()
            while course.end is None:
                event = None
                with trio.move_on_at(self._deadline):
                    event = await self._tab.events.receive()
                if event is None:
                    await self._out_of_time()
                elif course.is_exhausted and course.answer is not None:
                    course.out_of_bytes()
                elif (handler := handlers.get(event.method)) is not None:
                    await handler(event.params)
        except (BrowserGone, trio.EndOfChannel):
            if course.end is None and course.answer is None:
                raise BrowserGone("the browser ended") from None
            if course.end is None:
                await self._crashed({})
        assert course.end is not None
        return course.end

    async def _begin(self) -> None:
        """Prepares the tab, and has it request the first page, or show the page that the walk left."""
        first = self._course.begin()
        if first is None:
            return
        fetch, self._left = first
        tab, walk = self._tab, self._course.walk
        await tab.send("Emulation.setUserAgentOverride", **agent_of(walk.identity))
        await tab.send("Network.enable", maxTotalBufferSize=0, maxResourceBufferSize=0)
        for domain in ("Inspector", "Page", "Animation"):
            await tab.send(f"{domain}.enable")
        await tab.send("Emulation.setFocusEmulationEnabled", enabled=True)
        await tab.send("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        if cookies := [cookie_of(cookie) for cookie in walk.jar.cookies()]:
            await tab.send("Network.setCookies", cookies=cookies)
        await tab.call("Fetch.enable", patterns=PATTERNS, handleAuthRequests=True)
        # A WebSocket cannot log in to the forwarder. So the browser knows the login before a page is shown to it.
        await self._navigate(fetch, walk.url if self._left is None else LOGIN_URL)

    async def _navigate(self, fetch: Fetch, url: str | None = None) -> None:
        """Has the tab request what the walk decided. `url`: with its fragment."""
        options = {}
        if referer := next((value for name, value in fetch.headers if name == "Referer"), ""):
            options = {"referrer": referer, "referrerPolicy": "unsafeUrl"}
        self._network_id, self._is_leaving = "", False
        self._await_answer()
        await self._tab.send("Page.navigate", url=url or fetch.url, **options)

    def _await_answer(self) -> None:
        self._is_shown = self._is_loaded = self._is_lingering = False
        self._resources = Resources(self._tab, allow_private=self._course.walk.limits.allow_private)
        self._deadline = min(trio.current_time() + self._hop_timeout_s, self._ends_at)

    # Requests for the main frame's document, and the heads of their answers

    async def _paused(self, params: Params) -> None:
        if params["resourceType"] == "Document" and params["frameId"] == self._tab.frame:
            if self._left is not None and params["request"]["url"] == LOGIN_URL:
                await self._logged_in(params, self._left)
            elif "responseStatusCode" in params:
                await self._answered(params)
            elif "responseErrorReason" in params:
                await self._tab.send("Fetch.continueRequest", requestId=params["requestId"])  # see _loading_failed
            else:
                await self._requested(params)
        elif self._course.answer is not None and (why := self._resources.excess) is not None:
            self._course.land(why)
        else:
            await self._resources.paused(params)

    async def _logged_in(self, params: Params, left: LeftAt) -> None:
        """The request that logs in, or the forwarder's answer to it."""
        if params.keys() & {"responseStatusCode", "responseErrorReason"}:
            await self._tab.send("Fetch.failRequest", requestId=params["requestId"], errorReason="Aborted")
            await self._navigate(left.fetch, left.url)
        else:
            await self._tab.send("Fetch.continueRequest", requestId=params["requestId"])

    async def _requested(self, params: Params) -> None:
        course, request, network_id = self._course, params["request"], params.get("networkId", "")
        replaces = course.answer is None and self._network_id not in ("", network_id)
        if replaces and not course.return_to_page():
            course.late()
        elif course.answer is not None:
            course.jump(*jump_of(request, *self._how))
        elif request["url"] != course.url:
            course.redirected_by_browser(request["url"])
        self._network_id, self._is_leaving = network_id, False
        if course.end is not None:
            return
        self._await_answer()
        left, self._left = self._left, None
        if left is None or left.document is None or not left.document.whole:
            await self._tab.send("Fetch.continueRequest", requestId=params["requestId"])
            return
        self._show(left.status, left.headers)
        answer = answer_of(left.status, left.headers, left.document.data)
        await self._tab.send("Fetch.fulfillRequest", requestId=params["requestId"], **answer)

    async def _answered(self, params: Params) -> None:
        course, number = self._course, params["requestId"]
        if params.get("networkId", "") == self._network_id and course.answer is None:
            if (fault := course.fault()) is not None:
                course.fail(fault)
                return
            status, headers = params["responseStatusCode"], raw_headers(params.get("responseHeaders", ()))
            answer = course.head(status, headers)
            if course.keeps_page(answer):
                await self._tab.send("Fetch.failRequest", requestId=number, errorReason="Aborted")
                return
            if course.is_page(answer):
                self._show(status, headers)
            else:
                base, step = course.url, course.answered(answer)
                if not isinstance(step, Fetch):
                    return
                if not follows(status, headers, base, step):
                    await self._tab.send("Fetch.failRequest", requestId=number, errorReason="Aborted")
                    await self._navigate(step)
                    return
                self._await_answer()
        await self._tab.send("Fetch.continueRequest", requestId=number)

    def _show(self, status: int, headers: RawHeaders) -> None:
        """The page is being loaded."""
        self._course.show(self._course.head(status, headers))
        self._is_lingering = False
        self._deadline = self._page_ends_at = min(trio.current_time() + PAGE_S, self._ends_at)

    async def _loading_failed(self, params: Params) -> None:
        course = self._course
        if params["requestId"] != self._network_id or self._is_shown:
            return
        if course.answer is not None:  # its answer is a download
            course.land()
        elif params["errorText"] != ABORTED:
            course.fail_by(params["errorText"])
        elif course.return_to_page():  # the page has stopped its own navigation, or that was to no document
            self._is_shown = self._is_loaded = True
            self._time.rewind()
            await self._run_time()
        else:
            course.late()

    async def _log_in(self, params: Params) -> None:
        answer = login_for(params["authChallenge"], self._password)
        await self._tab.send("Fetch.continueWithAuth", requestId=params["requestId"], authChallengeResponse=answer)

    # The page

    async def _leaving(self, params: Params) -> None:
        """The page has begun a navigation. One to an app is no request; where it leads is known before."""
        if params["frameId"] != self._tab.frame or params.get("disposition") != "currentTab":
            return
        url, course = params["url"], self._course
        scheme = url.partition(":")[0].lower()
        self._how = url, KINDS.get(params["reason"], "script")
        if scheme in WEB_SCHEMES:
            self._is_leaving = course.answer is not None
        elif course.answer is not None and (
            scheme in course.walk.limits.landing_schemes or web_page_of(url) is not None
        ):
            step = course.jump(Jump(self._how[1], url))
            if isinstance(step, Fetch):
                await self._navigate(step)

    async def _navigated(self, params: Params) -> None:
        frame, course = params["frame"], self._course
        is_of_page = frame["id"] == self._tab.frame and course.answer is not None
        if is_of_page and frame["url"].startswith("http"):
            self._is_shown = True
            self._time.begin()
            # Not from the load on: an app's URL, or document.open, ends the loading of some pages.
            await self._run_time()
        elif is_of_page and self._is_shown and frame["url"] == "about:blank":
            course.land()  # by history.back(): nothing is left of the page

    async def _loaded(self, _: Params) -> None:
        if self._is_shown:
            self._is_loaded = True

    async def _run_time(self) -> None:
        """Lets a part of the page's time pass; Emulation.virtualTimeBudgetExpired reports its end."""
        now, budget_ms = trio.current_time(), self._time.whole_ms
        if self._is_shown:
            budget_ms = self._time.step_ms(now)
            self._deadline = min(now + self._time.patience_s, self._page_ends_at)
        policy = {"policy": "pauseIfNetworkFetchesPending", "budget": budget_ms}
        # The browser answers no command while a navigation of the tab waits for us.
        self._time_command = await self._tab.send("Emulation.setVirtualTimePolicy", **policy)

    async def _pass_by(self) -> None:
        """Lets time pass although the page waits for the network, or for a worker's first script."""
        self._deadline = self._page_ends_at
        budget = {} if (budget_ms := self._time.stall()) is None else {"budget": budget_ms}
        await self._tab.send("Emulation.setVirtualTimePolicy", policy="advance", **budget)

    async def _refused(self, params: Params) -> None:
        if params["id"] == self._time_command:
            self._has_virtual_time = False
            self._deadline = min(trio.current_time() + self._course.walk.limits.refresh_max_s, self._ends_at)

    async def _time_passed(self, _: Params) -> None:
        if not self._is_shown or self._course.answer is None:
            await self._run_time()
        else:
            self._is_lingering = True
            rest_s = LEAVE_S if self._is_leaving else self._time.rest_s
            self._deadline = min(trio.current_time() + rest_s, self._ends_at)
            for name, time_ms in self._time.ending(trio.current_time()):
                await self._tab.send("Animation.seekAnimations", animations=[name], currentTime=time_ms)

    async def _animated(self, params: Params) -> None:
        self._time.begin_animation(params["animation"])

    async def _attached(self, params: Params) -> None:
        if "worker" in params["targetInfo"]["type"]:
            await self._worker_begins(params)

    async def _worker_begins(self, _: Params) -> None:
        """The page awaits what comes in real time."""
        self._time.begin_worker(trio.current_time())

    async def _dialog(self, params: Params) -> None:
        """Nobody is there to agree to a question of the page."""
        await self._tab.send("Page.handleJavaScriptDialog", accept=params["type"] not in ("confirm", "prompt"))

    async def _crashed(self, _: Params) -> None:
        if self._course.answer is None:
            raise BrowserGone("the tab crashed")
        self._course.land("the page crashed the browser's tab")

    async def _out_of_time(self) -> None:
        if self._course.answer is None:
            self._course.late()
        elif self._is_lingering:
            self._is_lingering = self._is_leaving = False  # a navigation that has not come until now is forbidden
            self._deadline = self._page_ends_at
            if self._time.is_over(trio.current_time()):
                self._course.land()
            else:
                await self._run_time()
        elif self._is_shown and self._has_virtual_time and trio.current_time() < self._page_ends_at:
            await self._pass_by()
        elif self._is_loaded and not self._has_virtual_time:
            self._course.land()
        else:
            self._course.land(f"the page did not settle within {PAGE_S:g} s")
