"""Backends do a trace: the local one by this daemon's own fetching, the other one by a remote trace service.

A backend is given a walk (the URL, who asks, the limits), a leased proxy and a time; it gives hops, an end with its
verdict, and bytes. It raises nothing but trio.Cancelled; then `walk.hops` has what it knew by then. `reach_s`: how long
the proxy itself may take to be reached, where the backend has a say in that.
"""

import math
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

from daemon.providers.proxies import LeasedProxy
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings, proxy_of
from daemon.trace.walk.steps import GaveUp, Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import Fetcher, TraceResult, trace

if TYPE_CHECKING:
    from daemon.trace.service import ServiceBackend

LOCAL, SERVICE = "local", "service"


class Backend(Protocol):
    def trace(
        self, walk: Walk, proxy: LeasedProxy, *, timeout_s: float, reach_s: float = math.inf
    ) -> Awaitable[TraceResult]: ...


def fetcher_of(settings: Settings) -> Fetcher:
    trace = settings.trace
    return Fetcher(
        hop_timeout_s=trace.hop_timeout_s,
        connect_timeout_s=trace.connect_timeout_s,
        headers_bytes_max=trace.headers_bytes_max,
    )


class LocalBackend:
    """Goes through the proxy itself, by the logins of the settings."""

    def __init__(self, live: LiveSettings, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        live.subscribe(self._use)

    def _use(self, settings: Settings) -> None:
        self._settings = settings

    def trace(
        self, walk: Walk, proxy: LeasedProxy, *, timeout_s: float, reach_s: float = math.inf
    ) -> Awaitable[TraceResult]:
        address = proxy_of(self._settings, proxy)
        return trace(self._fetcher, address, walk, timeout_s=timeout_s, reach_s=reach_s)


class Backends:
    """Both, by name: the one that a trace names, or else the setting trace.backend. `local` is this daemon's own."""

    def __init__(self, live: LiveSettings, fetcher: Fetcher) -> None:
        self.local = LocalBackend(live, fetcher)
        self._live = live
        self._service: ServiceBackend | None = None
        live.subscribe(self._open_service)

    def _open_service(self, settings: Settings) -> None:
        """Once a service is set. Not at its first trace: an SSLContext takes 17 ms to build."""
        if self._service is None and settings.trace.service_url:
            from daemon.trace.service import ServiceBackend  # brings an HTTP client with it, which few daemons need

            self._service = ServiceBackend(self._live)

    async def trace(
        self, name: str | None, walk: Walk, proxy: LeasedProxy, *, timeout_s: float, reach_s: float = math.inf
    ) -> TraceResult:
        if (name or self._live.current.trace.backend) == LOCAL:
            return await self.local.trace(walk, proxy, timeout_s=timeout_s, reach_s=reach_s)
        if self._service is None or not self._live.current.trace.service_url:
            why = "the offer is to be traced by a service, and trace.service_url is not set"
            return TraceResult(GaveUp(Verdict.OPERATOR, "no_service", why), (), 0.0, 0, 0)
        return await self._service.trace(walk, proxy, timeout_s=timeout_s)

    async def aclose(self) -> None:
        if self._service is not None:
            await self._service.aclose()
