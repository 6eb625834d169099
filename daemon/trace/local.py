"""The local backend: this daemon's own requests, or its browser, through the leased IP.

The tracer of a trace is "http" (requests, markup and the JavaScript engine), "browser", or "auto": http first, and the
browser goes on from a page of which the engine cannot tell where it leads. With auto, an offer whose last traces needed
the browser starts there. Without a browser, or while it is busy, auto keeps what http has found.
"""

import math

import trio
from msgspec.structs import replace

from daemon.offers.values import OwnTracer
from daemon.providers.proxies import LeasedProxy, ProxyAddress, UnusableProxy
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings, proxy_of
from daemon.trace.browser.browser import Browser
from daemon.trace.browser.needs import Needs
from daemon.trace.browser.tracing import NOT_USED, browse
from daemon.trace.walk.hops import GaveUp, Landed, TraceResult
from daemon.trace.walk.steps import Walk
from daemon.trace.wire.session import Fetcher, trace

AUTO, BROWSER, HTTP = "auto", "browser", "http"
BROWSER_MIN_S = 1.0  # the browser is not asked with less time left


class LocalBackend:
    """Traces with the provider logins of the settings. Without a `browser`, the tracer is http."""

    def __init__(self, live: LiveSettings, fetcher: Fetcher, browser: Browser | None = None) -> None:
        self._fetcher = fetcher
        self._browser = browser
        self._needs = Needs()
        live.subscribe(self._use)

    def _use(self, settings: Settings) -> None:
        self._settings = settings

    async def trace(
        self,
        walk: Walk,
        proxy: LeasedProxy,
        *,
        timeout_s: float,
        proxy_timeout_s: float = math.inf,
        tracer: OwnTracer | None = None,
        offer: str | None = None,
    ) -> TraceResult:
        """`tracer`: http, auto or browser; None: that of the setting trace.tracer. `offer`: its name."""
        address, browser = proxy_of(self._settings, proxy), self._browser
        chosen = (tracer or self._settings.trace.tracer) if browser is not None else HTTP
        attempt = _Attempt(self._fetcher, address, walk, timeout_s, proxy_timeout_s, proxy.ends_boot_s)
        because = self._needs.reason(offer) if chosen == AUTO else None
        if browser is not None and (chosen == BROWSER or because is not None):
            result = await attempt.browsed(browser, because)
            if chosen == BROWSER or not _is_unused(result):
                return result
        result = await attempt.traced()
        if browser is None or chosen != AUTO:
            return result
        if (left := walk.left_at) is None or attempt.left_s < BROWSER_MIN_S:
            self._needs.note(offer, None)
            return result
        further = await attempt.browsed(browser, left.why)
        went_on = isinstance(further.end, Landed) and further.end.url != left.url
        if not _is_unused(further):
            self._needs.note(offer, left.why if went_on else None)
        return _joined(result, further)


class _Attempt:
    """One attempt through one IP, within `timeout_s` from now on."""

    def __init__(
        self, fetcher: Fetcher, address: ProxyAddress | UnusableProxy, walk: Walk, timeout_s: float,
        proxy_timeout_s: float, ends_boot_s: float,
    ) -> None:  # fmt: skip
        self._fetcher = fetcher
        self._address = address
        self._walk = walk
        self._ends_at = trio.current_time() + timeout_s
        self._limits = {"proxy_timeout_s": proxy_timeout_s, "ends_boot_s": ends_boot_s}

    @property
    def left_s(self) -> float:
        return self._ends_at - trio.current_time()

    async def traced(self) -> TraceResult:
        return await trace(self._fetcher, self._address, self._walk, timeout_s=self.left_s, **self._limits)

    async def browsed(self, browser: Browser, because: str | None) -> TraceResult:
        """`because`: why it is the browser that traces, for the first of its hops."""
        at = len(self._walk.hops) - (self._walk.left_at is not None)
        result = await browse(browser, self._fetcher, self._address, self._walk, timeout_s=self.left_s, **self._limits)
        hops = list(result.hops)
        if because is not None and len(hops) > at and hops[at].tier == BROWSER and hops[at].why is None:
            hops[at] = replace(hops[at], why=because)
        return replace(result, hops=tuple(hops))


def _is_unused(result: TraceResult) -> bool:
    return isinstance(result.end, GaveUp) and result.end.reason in NOT_USED


def _joined(first: TraceResult, further: TraceResult) -> TraceResult:
    """The result of a trace that a browser has continued. If it could not be used, the first one's end stands."""
    end, hops = (first.end, first.hops) if _is_unused(further) else (further.end, further.hops)
    return TraceResult(
        end,
        hops,
        first.ms + further.ms,
        first.bytes_received + further.bytes_received,
        first.bytes_sent + further.bytes_sent,
        further.exit_ip or first.exit_ip,
    )
