"""Backends run traces: the local backend by this daemon's own requests, the other one by a remote trace service.

A backend receives a walk (the URL, the identity, the limits), a leased proxy and a time limit, and returns a
TraceResult: the hops, the end with its verdict, and the bytes. A backend raises nothing but trio.Cancelled; after that,
`walk.hops` has the hops so far. `proxy_timeout_s` bounds how long the proxy takes to accept a connection and to answer
CONNECT, where the backend controls that.
"""

import math
from typing import TYPE_CHECKING

from daemon.offers.values import OwnTracer
from daemon.providers.proxies import LeasedProxy
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.browser.browser import Browser
from daemon.trace.engine.records import PageEngine
from daemon.trace.local import LocalBackend
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import Fetcher

if TYPE_CHECKING:
    from daemon.trace.service import ServiceBackend

LOCAL = "local"


def fetcher_of(settings: Settings, engine: PageEngine | None = None) -> Fetcher:
    """Without an engine each page with a script is unresolved."""
    trace = settings.trace
    return Fetcher(
        hop_timeout_s=trace.hop_timeout_s,
        connect_timeout_s=trace.connect_timeout_s,
        headers_bytes_max=trace.headers_bytes_max,
        engine=engine,
    )


class Backends:
    """Both backends. A trace names the one that it wants, otherwise the setting trace.backend does."""

    def __init__(self, live: LiveSettings, fetcher: Fetcher, browser: Browser | None = None) -> None:
        self.local = LocalBackend(live, fetcher, browser)
        self._live = live
        self._service: ServiceBackend | None = None
        live.subscribe(self._open_service)

    def _open_service(self, settings: Settings) -> None:
        """Opens the service backend once trace.service_url is set: the first trace need not wait for an SSLContext.

        Building one takes 17 ms.
        """
        if self._service is None and settings.trace.service_url:
            from daemon.trace.service import ServiceBackend  # imports an HTTP client, which few daemons need

            self._service = ServiceBackend(self._live)

    async def trace(
        self,
        name: str | None,
        walk: Walk,
        proxy: LeasedProxy,
        *,
        timeout_s: float,
        proxy_timeout_s: float = math.inf,
        tracer: OwnTracer | None = None,
        offer: str | None = None,
    ) -> TraceResult:
        """`tracer`, `offer`: see LocalBackend.trace."""
        if (name or self._live.current.trace.backend) == LOCAL:
            limits = {"timeout_s": timeout_s, "proxy_timeout_s": proxy_timeout_s}
            return await self.local.trace(walk, proxy, tracer=tracer, offer=offer, **limits)
        if self._service is None or not self._live.current.trace.service_url:
            why = "the offer is to be traced by a service, and trace.service_url is not set"
            return TraceResult(GaveUp(Verdict.OPERATOR, "no_service", why), (), 0.0, 0, 0)
        return await self._service.trace(walk, proxy, timeout_s=timeout_s, tracer=tracer, offer=offer)

    async def aclose(self) -> None:
        if self._service is not None:
            await self._service.aclose()
