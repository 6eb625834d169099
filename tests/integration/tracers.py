"""All tracers, so that one test runs with each: the local one, the control face of a tracer daemon, the browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import trio
import trio.testing

from daemon.control.api import TracerContext
from daemon.control.service import ControlFace
from daemon.control.tracing import TracesForOthers
from daemon.host.clocks import read_clocks
from daemon.http.listeners import open_control
from daemon.providers.proxies import LeasedProxy, Login
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.browser.browser import Browser
from daemon.trace.local import LocalBackend
from daemon.trace.service import ServiceBackend
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import Identity, Limits, Walk
from tests.fakes.net import START, fetcher
from tests.integration.control_faces import Served
from tests.support.tracers import TOKEN, browser_running

LEASE = "6f1c/1"
IDENTITY = Identity("tester/1", "en", "https://referrer.example/")


def service_settings(url: str, token: str = TOKEN, **trace: Any) -> Settings:
    return Settings(trace={"service_url": url, "service_token": token} | trace)


@asynccontextmanager
async def tracer_face(settings: Settings, *, browser: Browser | None = None, **rules: Any) -> AsyncIterator[Served]:
    """A daemon with role = "tracer", in this process."""
    live = LiveSettings(settings)
    local = LocalBackend(live, fetcher(hop_timeout_s=settings.trace.hop_timeout_s), browser)
    face = ControlFace(live, read_clocks)
    context = TracerContext(live, TracesForOthers(live, local, **rules), trio.Event())
    listeners = await open_control(settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(face.serve, listeners)
        nursery.start_soon(face.run, context)
        await trio.testing.wait_all_tasks_blocked()
        yield Served(face, f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", None)
        await face.end(1)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def backend_of(name: str, settings: Settings) -> AsyncIterator[LocalBackend | ServiceBackend]:
    """`settings` are those of the daemon that traces: this one, or the service."""
    if name == "browser":
        settings = settings.model_copy(update={"trace": settings.trace.model_copy(update={"tracer": name})})
    live, by = LiveSettings(settings), fetcher(hop_timeout_s=settings.trace.hop_timeout_s)
    if name == "local":
        yield LocalBackend(live, by)
        return
    if name == "browser":
        async with browser_running(live) as browser:
            yield LocalBackend(live, by, browser)
        return
    async with tracer_face(settings) as served:
        service = ServiceBackend(LiveSettings(service_settings(served.url)))
        try:
            yield service
        finally:
            await service.aclose()


async def traced_by(
    backend: LocalBackend | ServiceBackend,
    proxy_port: int,
    url: str = START,
    *,
    provider: str = "luna",
    timeout_s: float = 15,
    login: Login | None = None,
    ends_boot_s: float = inf,
    **limits: Any,
) -> TraceResult:
    given: dict[str, Any] = {"hops_max": 20, "allow_private": True}
    walk = Walk(url, IDENTITY, Limits(**(given | limits)))
    proxy = LeasedProxy("127.0.0.1", str(proxy_port), "us", provider, LEASE, ends_boot_s, login)
    return await backend.trace(walk, proxy, timeout_s=timeout_s)
