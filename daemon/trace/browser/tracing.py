"""A trace by the browser: its forwarder, its tab, its result."""

import math

import trio
from msgspec.structs import replace

from daemon.providers.proxies import ProxyAddress, UnusableProxy
from daemon.trace.browser.browser import Browser, BrowserBusy, BrowserUnavailable
from daemon.trace.browser.cdp import BrowserGone, CommandRefused
from daemon.trace.browser.course import Course
from daemon.trace.browser.forwarder import Forwarder
from daemon.trace.browser.visit import Visit
from daemon.trace.walk.hops import GaveUp, Hop, Landed, TraceResult
from daemon.trace.walk.steps import Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import Fetcher
from daemon.trace.wire.stream import Meter

LATE_S = 1.0  # after the end of the trace's time, for a browser that does not answer
NOT_USED = frozenset({"no_browser", "browser_busy", "browser_crashed"})
"""Reasons of a trace that could not use the browser."""
TRACE_BYTES_MAX = 8 * 1024 * 1024  # received by one trace


async def browse(
    browser: Browser,
    fetcher: Fetcher,
    proxy: ProxyAddress | UnusableProxy,
    walk: Walk,
    *,
    timeout_s: float,
    proxy_timeout_s: float = math.inf,
    ends_boot_s: float = math.inf,
) -> TraceResult:
    """The whole walk, or the rest of it from `walk.left_at` on; see wire/session.py: trace.

    Bytes and time are those of the browser alone. If the browser could not be used, the walk is as it was, and the
    result has the verdict operator (no_browser) or limit (browser_busy, browser_crashed). Raises nothing but
    trio.Cancelled.
    """
    if isinstance(proxy, UnusableProxy):
        return TraceResult(GaveUp(Verdict.IP, "bad_proxy_address", proxy.message), (), 0.0, 0, 0)
    began_at, hops, left = trio.current_time(), tuple(walk.hops), walk.left_at
    forwarder = Forwarder(
        fetcher, proxy, timeout_s=timeout_s, proxy_timeout_s=proxy_timeout_s, ends_boot_s=ends_boot_s,
        allow_private=walk.limits.allow_private, bytes_max=TRACE_BYTES_MAX,
    )  # fmt: skip
    course = Course(walk, forwarder, proxy, timeout_s)
    async with forwarder.listening() as url:
        end = await _visited(browser, fetcher, forwarder, course, url, began_at + timeout_s)
    if len(walk.hops) < len(hops):  # the browser did not come as far as the walk had been
        walk.hops, walk.left_at = list(hops), left
    meter = forwarder.meter
    _complete_last_hop(walk, hops, meter)
    ms = (trio.current_time() - began_at) * 1000
    return TraceResult(end, tuple(walk.hops), ms, meter.received, meter.sent, forwarder.exit_ip)


async def _visited(
    browser: Browser, fetcher: Fetcher, forwarder: Forwarder, course: Course, url: str, ends_at: float
) -> Landed | GaveUp:
    try:
        with trio.move_on_at(ends_at + LATE_S):
            async with browser.tab(url, wait_s=(ends_at - trio.current_time()) / 2) as tab:
                visit = Visit(tab, course, forwarder.password, hop_timeout_s=fetcher.hop_timeout_s, ends_at=ends_at)
                end = await visit.run()
                forwarder.close()
                return end
        return GaveUp(Verdict.LIMIT, "browser_crashed", "the browser did not answer in time")
    except BrowserUnavailable as error:
        return GaveUp(Verdict.OPERATOR, "no_browser", str(error))
    except BrowserBusy as error:
        return GaveUp(Verdict.LIMIT, "browser_busy", str(error))
    except (BrowserGone, CommandRefused) as error:
        return GaveUp(Verdict.LIMIT, "browser_crashed", f"the browser could not go on: {error}")


def _complete_last_hop(walk: Walk, before: tuple[Hop, ...], meter: Meter) -> None:
    """Adds the bytes that came after the last hop was recorded, while its connections were closed."""
    if not walk.hops or len(walk.hops) < len(before):
        return
    received = meter.received - sum(hop.bytes_received for hop in walk.hops) + sum(hop.bytes_received for hop in before)
    sent = meter.sent - sum(hop.bytes_sent for hop in walk.hops) + sum(hop.bytes_sent for hop in before)
    last = walk.hops[-1]
    walk.hops[-1] = replace(last, bytes_received=last.bytes_received + received, bytes_sent=last.bytes_sent + sent)
