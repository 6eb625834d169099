"""The daemon's browser: one process, started when a trace first needs it, and replaced after so many traces.

A process is ended when it has opened `trace.browser_traces_max` tabs and the last one is closed, when no trace has used
it for IDLE_S, when it no longer opens or closes tabs in time and the last one has ended, and with the daemon.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
import trio

from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.browser.cdp import BrowserGone
from daemon.trace.browser.command import PACKAGE, browser_program
from daemon.trace.browser.process import BrowserProcess, BrowserUnavailable, Tab, started

PLACE_WAIT_S = 10.0  # for one of trace.browser_max places
IDLE_S = 300.0
LOOK_S = 1.0
RETRY_S = 60.0  # after a failed start

log = structlog.get_logger("daemon.trace")


class BrowserBusy(Exception):
    """As many traces use the browser as may; the message says so."""


class Browser:
    """Opens tabs while `run` runs. `arguments`: further ones for the browser's command line."""

    def __init__(self, live: LiveSettings, *, arguments: Sequence[str] = ()) -> None:
        self._arguments = arguments
        self._places = trio.CapacityLimiter(1)
        self._nursery: trio.Nursery | None = None
        self._starting = trio.Lock()
        self._current: BrowserProcess | None = None
        self._failure: tuple[float, str] | None = None  # until when, and why
        self._said = ""  # the failure that the log has
        live.subscribe(self._use)

    def _use(self, settings: Settings) -> None:
        self._settings = settings.trace
        self._places.total_tokens = settings.trace.browser_max

    async def run(self) -> None:
        """Keeps the processes until it is cancelled; then they are ended."""
        try:
            async with trio.open_nursery() as self._nursery:
                await trio.sleep_forever()
        finally:
            self._nursery = self._current = None

    @asynccontextmanager
    async def tab(self, proxy_server: str, *, wait_s: float) -> AsyncIterator[Tab]:
        """A tab, all of whose traffic goes to `proxy_server`.

        Raises BrowserBusy if no place was free within `wait_s`, BrowserUnavailable without a browser, and BrowserGone.
        """
        with trio.move_on_after(min(wait_s, PLACE_WAIT_S)) as waiting:
            await self._places.acquire()
        if waiting.cancelled_caught:
            count = self._settings.browser_max
            raise BrowserBusy(f"{count} traces use the browser already (trace.browser_max)")
        try:
            async with AsyncExitStack() as opened:
                try:
                    tab = await opened.enter_async_context((await self._process()).tab(proxy_server))
                except BrowserGone:  # the process ended, or hung, before this trace used it
                    tab = await opened.enter_async_context((await self._process()).tab(proxy_server))
                yield tab
        finally:
            self._places.release()

    async def _process(self) -> BrowserProcess:
        async with self._starting:
            current = self._current
            if current is not None and current.is_usable and current.tabs < self._settings.browser_traces_max:
                return current
            self._current = None
            if self._failure is not None and trio.current_time() < self._failure[0]:
                raise BrowserUnavailable(self._failure[1])
            self._failure = None
            try:
                self._current = await self._start()
            except BrowserUnavailable as error:
                self._failure = trio.current_time() + RETRY_S, str(error)
                if self._said != str(error):
                    log.warning("no_browser", why=str(error), effect="traces that need the browser end without it")
                self._said = str(error)
                raise
            self._said = ""
            return self._current

    async def _start(self) -> BrowserProcess:
        if self._nursery is None:
            raise BrowserUnavailable("the daemon starts or stops")
        program = browser_program()
        if program is None:
            raise BrowserUnavailable(f"no browser is installed: install the package {PACKAGE} or chromium")
        process = await started(program, self._settings.user_agent, self._arguments, self._nursery)
        self._nursery.start_soon(self._keep, process)
        return process

    async def _keep(self, process: BrowserProcess) -> None:
        """Ends the process when it is no longer needed."""
        used_s = trio.current_time()
        try:
            while process.is_running:
                await trio.sleep(LOOK_S)
                if not process.is_running:
                    continue
                if process.open_tabs:
                    used_s = trio.current_time()
                elif not process.is_usable or process is not self._current or trio.current_time() - used_s > IDLE_S:
                    break
            else:
                log.warning("browser_ended", effect="its traces end; the next one starts a new browser")
        finally:
            if self._current is process:
                self._current = None
            with trio.CancelScope(shield=True):
                await process.end()


__all__ = ["Browser", "BrowserBusy", "BrowserGone", "BrowserUnavailable", "Tab"]
