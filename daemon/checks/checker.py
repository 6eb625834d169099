"""Checks of IPs: one GET of a URL through the IP, and its exit address.

The caller of `check` has the IP to itself: no daemon runs that could lease it, or the caller holds a lease. `Checker`
does the checks of the running daemon, each with a lease. An IP that is locked or in cooldown is not checked: the result
is `skipped`. A check waits, for PATIENCE_S at most, until it takes no IP from a click (pool/admission.py). It causes no
cooldown and changes no counter. A probe is a check of a failed IP; a probe that succeeds makes the IP available.
"""

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import structlog
import trio
from ada_url import URL

from daemon.clock import Moment
from daemon.errors import TheirFault
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.pool.messages import Lease, NoIPAvailable, Release
from daemon.pool.states import Event
from daemon.providers.proxies import ProxyAddress, UnusableProxy, address_of
from daemon.settings.live import LiveSettings
from daemon.settings.model import HONEST_USER_AGENT, proxy_of
from daemon.trace.leases import acquire, release
from daemon.trace.page.body import FirstBytes
from daemon.trace.provider_health import ProviderHealth
from daemon.trace.walk.hops import Fetch, HopAnswer, HopFailure, fault_of_failure
from daemon.trace.walk.verdicts import Failure, Phase, Verdict, fault_of_own
from daemon.trace.wire.session import Fetcher
from daemon.web.headers import wire_url

CHECKS_MAX = 100  # at once
PATIENCE_S = 15.0
RETRY_S = 0.1
ACQUIRE_S = 5.0
LEASE_MARGIN_S = 0.5  # a check ends this long before its lock expires, at the latest
SKIPPED = "skipped"
NO_CHECK_URL = (
    "provision.check_url is not set: set it to an http or https URL that you may use and that answers 2xx,"
    " best with the caller's address"
)
BODY_BYTES_MAX = 4_096
_HEADERS = (("User-Agent", HONEST_USER_AGENT), ("Accept", "*/*"))
_REFUSALS = frozenset({"proxy_refused", "proxy_forbids", "proxy_payment", "proxy_parameters"})
_PLAIN_REFUSALS = frozenset({403, 405})  # over plain http the proxy's own answer looks like the URL's

log = structlog.get_logger("daemon.trace")


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
    fetcher: Fetcher,
    proxy: ProxyAddress | UnusableProxy,
    url: str,
    *,
    timeout_s: float,
    slow_s: float = math.inf,
    ends_boot_s: float = math.inf,
) -> CheckResult:
    """One check within `timeout_s`. A 2xx or 3xx answer is a success. Raises nothing but trio.Cancelled.

    `ends_boot_s`: see Fetcher.session.
    """
    if isinstance(proxy, UnusableProxy):
        return CheckResult(CheckKind.FAILED, 0.0, None, proxy.message)
    began_s = trio.current_time()
    body = FirstBytes(BODY_BYTES_MAX)
    outcome: HopAnswer | HopFailure | None = None
    with fetcher.session(proxy, timeout_s=math.inf, ends_boot_s=ends_boot_s) as session:
        with trio.move_on_after(timeout_s):
            outcome = await session.hop(Fetch(wire_url(URL(url).href), _HEADERS), lambda status, headers: body)
    ms = (trio.current_time() - began_s) * 1000
    if outcome is None:
        return CheckResult(CheckKind.FAILED, ms, None, f"no answer within {timeout_s:g} s")
    if isinstance(outcome, HopFailure):
        kind, message = _failure(outcome)
        return CheckResult(kind, ms, None, message)
    kind, message = _answer(outcome, plain=url.lower().startswith("http:"))
    if kind is CheckKind.WORKING and ms > slow_s * 1000:
        kind, message = CheckKind.SLOW, f"took longer than {slow_s:g} s"
    return CheckResult(kind, ms, session.exit_ip or address_in(body.data), message)


def _failure(failure: HopFailure) -> tuple[CheckKind, str]:
    fault = fault_of_failure(failure)
    if fault.verdict is Verdict.CREDENTIALS:
        return CheckKind.CREDENTIALS, fault.message
    refused = fault.reason in _REFUSALS or (failure.phase, failure.kind) == (Phase.DIAL, Failure.REFUSED)
    return (CheckKind.REFUSED if refused else CheckKind.FAILED), fault.message


def _answer(answer: HopAnswer, *, plain: bool) -> tuple[CheckKind, str]:
    status = answer.status
    if answer.own is not None:
        fault = fault_of_own(status, answer.own, f"the proxy answered with status {status}")
        refused = CheckKind.REFUSED if fault.reason in _REFUSALS else CheckKind.FAILED
        return CheckKind.CREDENTIALS if fault.verdict is Verdict.CREDENTIALS else refused, fault.message
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


@dataclass(eq=False, repr=False)
class Checker:
    """`_providers` receives whether the logins of probes were accepted or refused."""

    _live: LiveSettings
    _fetcher: Fetcher
    _directory: PoolDirectory
    _now: Callable[[], Moment]
    _providers: ProviderHealth
    _places: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(CHECKS_MAX), init=False)

    @property
    def url(self) -> str:
        """provision.check_url; without it nothing can be checked."""
        return self._live.current.provision.check_url

    async def check(self, ip_id: str, country: str, timeout_s: float) -> dict[str, Any]:
        """Checks one IP: `kind` of CheckResult or "skipped", `ms`, `exit_ip`, `message`. Raises TheirFault."""
        if not (url := self.url):
            raise TheirFault("the running daemon has no provision.check_url: set it, and send the daemon a SIGHUP")
        try:
            asked = UUID(ip_id)
        except ValueError:
            raise TheirFault(f"{ip_id[:80]!r} is no id of an IP") from None
        async with self._places:
            pool = self._directory.known(country)
            answer = await self._lease(pool, asked) if pool else NoIPAvailable(None, "gone")
            if isinstance(answer, NoIPAvailable):
                return {"kind": SKIPPED, "ms": None, "exit_ip": None, "message": self._why(answer)}
            assert pool is not None
            result = await self._check(pool, answer, url, timeout_s)
        log.info("check", ip=answer.name, country=pool.country, kind=result.kind,
                 ms=round(result.ms, 1), exit_ip=result.exit_ip, why=result.message or None)  # fmt: skip
        return {"kind": result.kind, "ms": result.ms, "exit_ip": result.exit_ip, "message": result.message}

    async def probe(self, pool: PoolHandle, ip_id: UUID) -> CheckResult | NoIPAvailable:
        """Checks a failed IP, which becomes available if it works."""
        provision = self._live.current.provision
        answer = await acquire(pool, uuid4(), self._now().tick_s + ACQUIRE_S, ip_id=ip_id)
        if isinstance(answer, NoIPAvailable):
            return answer
        return await self._check(pool, answer, provision.check_url, provision.check_timeout_s, probes=True)

    async def _lease(self, pool: PoolHandle, ip_id: UUID) -> Lease | NoIPAvailable:
        ends_s = self._now().tick_s + PATIENCE_S
        while True:
            answer = await acquire(pool, uuid4(), self._now().tick_s + ACQUIRE_S, ip_id=ip_id)
            if isinstance(answer, Lease) or answer.why != "busy" or self._now().tick_s >= ends_s:
                return answer
            await trio.sleep(RETRY_S)

    async def _check(
        self, pool: PoolHandle, lease: Lease, url: str, timeout_s: float, *, probes: bool = False
    ) -> CheckResult:
        """Checks the IP and releases the lease in any case."""
        event = Event.CHECKED
        try:
            result = await self._checked(lease, url, timeout_s)
            if probes and result.kind is not CheckKind.CREDENTIALS:
                event = Event.PROBE_WORKED if result.works else Event.PROBE_FAILED
        finally:
            await release(pool, Release(lease.ip_id, lease.lease_no, event, endpoint=lease.endpoint))
        if probes and (result.works or result.kind is CheckKind.CREDENTIALS):
            verdict = Verdict.OK if result.works else Verdict.CREDENTIALS
            self._providers.trace(lease.provider, verdict, self._now())
        return result

    async def _checked(self, lease: Lease, url: str, timeout_s: float) -> CheckResult:
        settings = self._live.current
        proxy = proxy_of(settings, lease.proxy())
        now, ends_boot_s = self._now(), lease.ends_boot_s - LEASE_MARGIN_S
        timeout_s = min(timeout_s, lease.locked_until_s - LEASE_MARGIN_S - now.tick_s, ends_boot_s - now.boot_s)
        slow_s = settings.provision.check_slow_s
        return await check(self._fetcher, proxy, url, timeout_s=timeout_s, slow_s=slow_s, ends_boot_s=ends_boot_s)

    def _why(self, answer: NoIPAvailable) -> str:
        now = self._now()
        if answer.why in ("locked", "cooldown") and answer.until_s is not None:
            until = time.strftime("%H:%M:%S", time.gmtime(now.wall_at(answer.until_s)))
            return f"in use, until {until} UTC at most" if answer.why == "locked" else f"in cooldown until {until} UTC"
        return {
            "busy": "its country's other IPs are all in use: a check would cost a click its IP",
            "gone": "this node does not own the IP: no node does yet, or another one has got it now",
        }.get(answer.why, f"no lease ({answer.why})")
