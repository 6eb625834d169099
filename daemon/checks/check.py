"""Checks an IP: one GET of a URL through it, and its exit address.

The caller has the IP to itself: it holds a lease, or no daemon runs that could lease the IP.
"""

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import trio
from ada_url import URL

from daemon.providers.proxies import ProxyAddress, UnusableProxy, address_of
from daemon.settings.model import HONEST_USER_AGENT
from daemon.trace.page.body import FirstBytes
from daemon.trace.walk.steps import Fetch, HopAnswer, HopFailure
from daemon.trace.walk.verdicts import Failure, Phase, Verdict, fault_of
from daemon.trace.wire.session import Fetcher
from daemon.web.headers import wire_url

BODY_BYTES_MAX = 4_096
_HEADERS = (("User-Agent", HONEST_USER_AGENT), ("Accept", "*/*"))
_PLAIN_REFUSALS = frozenset({403, 405})  # over plain http the proxy's own answer looks like the URL's


class CheckKind(StrEnum):
    """The result of a check."""

    WORKING = "working"
    SLOW = "slow"  # the IP works, but took longer than the threshold
    REFUSED = "refused"  # the proxy's port refuses connections, or the proxy refuses the request
    CREDENTIALS = "wrong_credentials"
    FAILED = "failed"  # any other failure; see the message


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`ms` until the end of the answer or the failure. `exit_ip` is the proxy's exit address, if it is known."""

    kind: CheckKind
    ms: float
    exit_ip: str | None
    message: str

    @property
    def works(self) -> bool:
        return self.kind in (CheckKind.WORKING, CheckKind.SLOW)


async def check(
    fetcher: Fetcher, proxy: ProxyAddress | UnusableProxy, url: str, *, timeout_s: float, slow_s: float = math.inf
) -> CheckResult:
    """One check within `timeout_s`: a 2xx or 3xx answer of `url` is a success. Raises nothing but trio.Cancelled."""
    if isinstance(proxy, UnusableProxy):
        return CheckResult(CheckKind.FAILED, 0.0, None, proxy.message)
    began_s = trio.current_time()
    body = FirstBytes(BODY_BYTES_MAX)
    outcome: HopAnswer | HopFailure | None = None
    with fetcher.session(proxy, timeout_s=math.inf) as session:
        with trio.move_on_after(timeout_s):
            outcome = await session.hop(Fetch(wire_url(URL(url).href), _HEADERS), lambda status, headers: body)
    ms = (trio.current_time() - began_s) * 1000
    if outcome is None:
        return CheckResult(CheckKind.FAILED, ms, None, f"no answer within {timeout_s:g} s")
    if isinstance(outcome, HopFailure):
        kind, message = _failure(outcome)
        return CheckResult(kind, ms, None, message)
    kind, message = _answer(outcome.status, plain=url.lower().startswith("http:"))
    if kind is CheckKind.WORKING and ms > slow_s * 1000:
        kind, message = CheckKind.SLOW, f"took longer than {slow_s:g} s"
    return CheckResult(kind, ms, session.exit_ip or address_in(body.data), message)


def _failure(failure: HopFailure) -> tuple[CheckKind, str]:
    fault = fault_of(failure.phase, failure.kind, status=failure.status)
    if fault.verdict is Verdict.CREDENTIALS:
        return CheckKind.CREDENTIALS, fault.message
    refused = fault.reason == "proxy_refused" or (failure.phase, failure.kind) == (Phase.DIAL, Failure.REFUSED)
    return (CheckKind.REFUSED if refused else CheckKind.FAILED), fault.message


def _answer(status: int, *, plain: bool) -> tuple[CheckKind, str]:
    if 200 <= status <= 399:
        return CheckKind.WORKING, ""
    if plain and status == 407:
        return CheckKind.CREDENTIALS, "the proxy refuses the credentials: status 407"
    if plain and status in _PLAIN_REFUSALS:
        return CheckKind.REFUSED, f"answered with status {status}, by the proxy or by the check URL"
    return CheckKind.FAILED, f"the check URL answered with status {status}"


def address_in(body: bytes) -> str | None:
    """The IP address in a body: the whole text, or the field `ip` of a JSON object."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        with suppress(ValueError, RecursionError):
            return address_of(json.loads(text).get("ip"))
        return None
    return address_of(text)
