"""One process of the browser: its start, its tabs, its end.

Sandbox: the browser's own one needs user namespaces. Where the machine forbids them, the browser is started without it.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
import trio

from daemon.trace.browser import guard
from daemon.trace.browser.cdp import BrowserGone, CommandRefused, Connection, Params
from daemon.trace.browser.command import account, can_compile, command_line

START_S = 15.0
OPEN_S = CLOSE_S = 5.0  # for a tab to be opened or closed, and for a process to be reaped

log = structlog.get_logger("daemon.trace")


class BrowserUnavailable(Exception):
    """No browser could be started; the message says why, and what to do."""


class Tab:
    """A tab in a browser context of its own. `frame` is its main one. `events` ends when the tab is gone."""

    def __init__(self, connection: Connection, session: str, frame: str) -> None:
        self.events = connection.events_of(session)
        self.frame = frame
        self._connection = connection
        self._session = session

    async def call(self, method: str, /, **params: object) -> Params:
        """Raises BrowserGone and CommandRefused."""
        return await self._connection.call(method, self._session, **params)

    async def send(self, method: str, /, **params: object) -> int:
        """Sends a command without waiting for the answer, see Connection.send. Raises BrowserGone."""
        return await self._connection.send(method, self._session, **params)


class BrowserProcess:
    """A browser that runs. `tabs`: opened so far, `open_tabs`: now. Tabs are closed by tasks of `nursery`."""

    def __init__(self, guarded: "subprocess.Popen[bytes]", connection: Connection, nursery: trio.Nursery) -> None:
        self._guard = guarded
        self._connection = connection
        self._nursery = nursery
        self.tabs = self.open_tabs = 0
        self._is_slow = False  # it hangs, or pages keep it busy; its traces may still end well

    @property
    def is_usable(self) -> bool:
        """Whether a further tab may be opened."""
        return self.is_running and not self._is_slow

    @property
    def is_running(self) -> bool:
        return self._connection.is_open and self._guard.poll() is None

    @asynccontextmanager
    async def tab(self, proxy_server: str) -> AsyncIterator[Tab]:
        """A tab in a context of its own, all of whose traffic goes to `proxy_server`. Raises BrowserGone."""
        call = self._connection.call
        self.tabs += 1
        self.open_tabs += 1
        context = None
        try:
            # "<-loopback>": addresses of this machine go to the proxy as well, which refuses them.
            with trio.fail_after(OPEN_S):
                made = await call(
                    "Target.createBrowserContext", proxyServer=proxy_server, proxyBypassList="<-loopback>"
                )
                context = made["browserContextId"]
                target = (await call("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
                session = (await call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
                # The tab's own process answers this. Without its zygote, a browser opens tabs that have none.
                frame = (await call("Page.getFrameTree", session))["frameTree"]["frame"]["id"]
            yield Tab(self._connection, session, frame)
            self._connection.forget(session)
        except trio.TooSlowError:
            self._is_slow = True
            raise BrowserGone(f"the browser opened no tab within {OPEN_S:g} s") from None
        except CommandRefused as refused:
            raise BrowserGone(str(refused)) from None
        finally:
            if context is not None and self.is_running:
                self._nursery.start_soon(self._close, context)
            else:
                self.open_tabs -= 1

    async def _close(self, context: str) -> None:
        """Closes a tab with its context. The trace does not wait for it: the browser may hang."""
        with trio.move_on_after(CLOSE_S) as closing, suppress(BrowserGone, CommandRefused):
            await self._connection.call("Target.disposeBrowserContext", browserContextId=context)
        self.open_tabs -= 1
        self._is_slow = self._is_slow or closing.cancelled_caught

    async def end(self) -> None:
        """Ends the browser with all its processes, and waits for that."""
        self._connection.close()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        with trio.move_on_after(CLOSE_S, shield=True):
            await trio.to_thread.run_sync(self._guard.wait, abandon_on_cancel=True)


async def started(program: str, user_agent: str, arguments: Sequence[str], nursery: trio.Nursery) -> BrowserProcess:
    """A browser that has shown its first page. Its connection is served in `nursery`. Raises BrowserUnavailable."""
    compiles = can_compile()
    for sandbox in (True, False):
        line = [*command_line(program, sandbox=sandbox, compiles=compiles, user_agent=user_agent), *arguments]
        began_s = trio.current_time()
        try:
            process = _launched(line, nursery)
        except OSError as error:  # no descriptor or process is left
            raise BrowserUnavailable(f"the browser's process could not be created: {error}") from None
        nursery.start_soon(process._connection.run)
        try:
            with trio.fail_after(START_S):
                version = await process._connection.call("Browser.getVersion")
                async with process.tab("http://127.0.0.1:9") as tab:
                    await tab.call("Runtime.evaluate", expression="1")
        except (BrowserGone, CommandRefused, trio.TooSlowError):
            await process.end()
            continue
        except BaseException:
            await process.end()
            raise
        process.tabs = 0
        log.info(
            "browser_started", browser=version.get("product"), pid=process._guard.pid,
            sandbox="namespaces and seccomp" if sandbox else "none: user namespaces are not allowed here",
            javascript="compiled" if compiles else "interpreted: memory may not be writable and executable here",
            start_ms=round((trio.current_time() - began_s) * 1000),
        )  # fmt: skip
        return process
    raise BrowserUnavailable(f"{program} does not start; see why: {program} --headless --no-sandbox --dump-dom about:")


def _launched(line: Sequence[str], nursery: trio.Nursery) -> BrowserProcess:
    browser_reads, writes = os.pipe()
    try:
        reads, browser_writes = os.pipe()
    except OSError:
        os.close(browser_reads)
        os.close(writes)
        raise
    try:
        uid, gid = account()
        guarded = subprocess.Popen(  # noqa: S603 - fixed programs, no shell
            [sys.executable, "-I", "-S", guard.__file__, *map(str, (browser_reads, browser_writes, uid, gid)), *line],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(browser_reads, browser_writes),
            start_new_session=True,
        )
    except BaseException:
        os.close(reads)
        os.close(writes)
        raise
    finally:
        os.close(browser_reads)
        os.close(browser_writes)
    return BrowserProcess(guarded, Connection(reads, writes), nursery)
