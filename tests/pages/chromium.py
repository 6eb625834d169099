"""Chromium as the judge: where it lands with each page.

Chromium is driven over the DevTools protocol on a pipe. Its requests never reach a network: each is answered from the
page's file. Each page has a browser context of its own. Time is virtual, as far as Chromium has it: it stands still
while a request is pending, and it passes at once while the page waits. `real=True` waits for the real clock instead.
"""

import base64
import fcntl
import itertools
import json
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.pages.corpus import JumpPage, Sent

USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
REFRESH_MAX_S = 10.0
WAIT_S = REFRESH_MAX_S + 0.9  # a jump that is due at REFRESH_MAX_S has gone by then
PAGE_S_MAX = 60.0
TABS_MAX = 6
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-site-isolation-trials",
    "--disable-features=IsolateOrigins,site-per-process,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
    "--no-first-run",
    "--lang=en-US",
    "--accept-lang=en-US,en",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    f"--user-agent={USER_AGENT}",
    "--remote-debugging-pipe",
)
Message = dict[str, Any]


class Protocol:
    """Messages to and from Chromium. A session's events go to the function that it has in `listeners`."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads = trio.lowlevel.FdStream(reads)
        self._writes = trio.lowlevel.FdStream(writes)
        self._ids = itertools.count(1)
        self._replies: dict[int, trio.MemorySendChannel[Message]] = {}
        self._writing = trio.Lock()
        self.listeners: dict[str, Callable[[str, Message], None]] = {}

    async def run(self) -> None:
        """Reads until Chromium ends."""
        held = bytearray()
        while data := await self._reads.receive_some(1 << 16):
            held += data
            *whole, rest = bytes(held).split(b"\0")
            held[:] = rest
            for text in whole:
                self._received(json.loads(text))

    def _received(self, message: Message) -> None:
        if (reply := self._replies.pop(message.get("id", 0), None)) is not None:
            reply.send_nowait(message)
        elif (listener := self.listeners.get(message.get("sessionId", ""))) is not None and "method" in message:
            listener(message["method"], message["params"])

    async def send(self, method: str, session: str | None = None, **params: object) -> Message:
        """The result of a command; an error is a result without keys."""
        number = next(self._ids)
        replies, reply = trio.open_memory_channel[Message](1)
        self._replies[number] = replies
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        async with self._writing:
            await self._writes.send_all(json.dumps(message).encode() + b"\0")
        found = (await reply.receive()).get("result", {})
        assert isinstance(found, dict)
        return found


@asynccontextmanager
async def chromium(program: str, profile: Path) -> AsyncIterator[Protocol]:
    """A Chromium with an empty profile, until the block ends."""
    to_read, to_write = os.pipe(), os.pipe()

    def place() -> None:  # Chromium reads commands from 3 and writes to 4
        reads, writes = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read[0], to_write[1]))
        os.dup2(reads, 3)
        os.dup2(writes, 4)
        os.closerange(5, 256)

    process = await trio.lowlevel.open_process(
        [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        preexec_fn=place,
        pass_fds=(3, 4),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TZ": "UTC", "LANG": "en_US.UTF-8"},
        start_new_session=True,
    )
    os.close(to_read[0])
    os.close(to_write[1])
    protocol = Protocol(to_write[0], to_read[1])
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(protocol.run)
            yield protocol
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@dataclass
class _Tab:
    """One page's tab. `judged` is set when the window has landed or its time is over."""

    page: JumpPage
    protocol: Protocol
    session: str
    nursery: trio.Nursery
    frame: str
    real: bool
    over: trio.Event = field(default_factory=trio.Event)
    asked: Counter[str] = field(default_factory=Counter)
    documents: dict[str, Message] = field(default_factory=dict)
    landing: Sent | None = None
    trail: list[str] = field(default_factory=list)

    def event(self, method: str, params: Message) -> None:
        if method == "Fetch.requestPaused":
            self.nursery.start_soon(self._answer, params)
        elif method == "Page.frameNavigated" and params["frame"]["id"] == self.frame:
            self._committed(params["frame"])
        elif method == "Page.javascriptDialogOpening":
            accept = params["type"] in ("alert", "beforeunload")
            self._soon("Page.handleJavaScriptDialog", accept=accept)
        elif method == "Emulation.virtualTimeBudgetExpired" and self.landing is not None:
            self.over.set()

    def _soon(self, method: str, **params: object) -> None:
        async def send() -> None:
            await self.protocol.send(method, self.session, **params)

        self.nursery.start_soon(send)

    def _committed(self, frame: Message) -> None:
        url = frame["url"] + frame.get("urlFragment", "")
        if (request := self.documents.get(frame["loaderId"])) is None:
            return
        self.trail.append(url)
        headers = {name.lower(): value for name, value in request["headers"].items()}
        body = b"".join(
            base64.b64decode(part["bytes"]) for part in request.get("postDataEntries", ()) if "bytes" in part
        )
        self.landing = self.page.landing(url, request["method"], headers.get("content-type"), body)
        if frame["url"] not in self.page.answers:
            self.over.set()
        elif not self.real:
            self._soon("Emulation.setVirtualTimePolicy", policy="pauseIfNetworkFetchesPending",
                       budget=WAIT_S * 1_000, maxVirtualTimeTaskStarvationCount=10_000)  # fmt: skip

    async def _answer(self, params: Message) -> None:
        request = params["request"]
        url, document = request["url"], params["resourceType"] == "Document"
        if document and params["frameId"] == self.frame and "networkId" in params:
            self.documents[params["networkId"]] = request
        answer = self.page.answer(url, nth=self.asked[url], document=document)
        self.asked[url] += 1
        headers = [{"name": name, "value": value} for name, value in answer.headers]
        body = base64.b64encode(answer.body).decode()
        await self.protocol.send("Fetch.fulfillRequest", self.session, requestId=params["requestId"],
                                 responseCode=answer.status, responseHeaders=headers, body=body)  # fmt: skip


async def judged(protocol: Protocol, page: JumpPage, *, real: bool = False) -> Sent | None:
    """Where Chromium lands with the page; None if its first document never came."""
    context = (await protocol.send("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
    target = (await protocol.send("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
    session = (await protocol.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
    try:
        async with trio.open_nursery() as nursery:
            tab = _Tab(page, protocol, session, nursery, target, real)
            protocol.listeners[session] = tab.event
            await protocol.send("Page.enable", session)
            await protocol.send("Network.enable", session)
            await protocol.send("Emulation.setFocusEmulationEnabled", session, enabled=True)
            await protocol.send("Fetch.enable", session, patterns=[{"urlPattern": "*"}])
            if not real:
                await protocol.send("Emulation.setVirtualTimePolicy", session, policy="pause")
            nursery.start_soon(_navigate, protocol, session, page.url)
            with trio.move_on_after(WAIT_S if real else PAGE_S_MAX):
                await tab.over.wait()
            nursery.cancel_scope.cancel()
    finally:
        protocol.listeners.pop(session, None)
        with trio.CancelScope(shield=True):
            await protocol.send("Target.disposeBrowserContext", browserContextId=context)
    return tab.landing


async def _navigate(protocol: Protocol, session: str, url: str) -> None:
    await protocol.send("Page.navigate", session, url=url)


async def judge_all(
    program: str, profile: Path, pages: list[JumpPage], *, real: bool = False, tabs: int = TABS_MAX
) -> dict[str, Sent | None]:
    """Where Chromium lands with each page, by the page's name."""
    found: dict[str, Sent | None] = {}
    room = trio.CapacityLimiter(tabs)

    async def one(protocol: Protocol, page: JumpPage) -> None:
        async with room:
            found[page.name] = await judged(protocol, page, real=real or page.real_time)

    async with chromium(program, profile) as protocol, trio.open_nursery() as nursery:
        for page in pages:
            nursery.start_soon(one, protocol, page)
    return found
