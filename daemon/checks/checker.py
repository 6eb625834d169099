"""Checks by the running daemon: each one has a lease of its IP, as a trace has, so that no trace goes through it.

An IP that is in use, or rests, is not checked but told of. A check waits, for PATIENCE_S at most, until it costs no
click an IP (pool/admission.py), and leaves no rest and no count behind. A probe is a check of one that failed, and
brings it back into use if it works.
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import structlog
import trio

from daemon.checks.check import CheckKind, CheckResult, check
from daemon.clock import Moment
from daemon.errors import TheirFault
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.pool.messages import Lease, NoIPAvailable, Release
from daemon.pool.states import Event
from daemon.providers.proxies import LeasedProxy
from daemon.settings.live import LiveSettings
from daemon.settings.model import proxy_of
from daemon.trace.leases import acquire, release
from daemon.trace.provider_health import ProviderHealth
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import Fetcher

CHECKS_MAX = 100  # at once
PATIENCE_S = 15.0
RETRY_S = 0.1
ACQUIRE_S = 5.0
LEASE_MARGIN_S = 0.5  # a check ends this much before its lock at the latest
SKIPPED = "skipped"

log = structlog.get_logger("daemon.trace")


class Checker:
    """`providers` learns of the logins that probes show to be refused, or to be accepted."""

    def __init__(
        self,
        live: LiveSettings,
        fetcher: Fetcher,
        directory: PoolDirectory,
        now: Callable[[], Moment],
        providers: ProviderHealth,
    ) -> None:
        self._live = live
        self._fetcher = fetcher
        self._directory = directory
        self._now = now
        self._providers = providers
        self._places = trio.CapacityLimiter(CHECKS_MAX)

    @property
    def url(self) -> str:
        """Empty: nothing can be checked."""
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
            post = self._directory.known(country)
            answer = await self._lease(post, asked) if post else NoIPAvailable(None, "gone")
            if isinstance(answer, NoIPAvailable):
                return {"kind": SKIPPED, "ms": None, "exit_ip": None, "message": self._why(answer)}
            assert post is not None
            result = await self._check(post, answer, url, timeout_s)
        log.info("check", ip=f"{answer.address}:{answer.port}", country=post.country, kind=result.kind,
                 ms=round(result.ms, 1), exit_ip=result.exit_ip, why=result.message or None)  # fmt: skip
        return {"kind": result.kind, "ms": result.ms, "exit_ip": result.exit_ip, "message": result.message}

    async def probe(self, post: PoolHandle, ip_id: UUID) -> CheckResult | NoIPAvailable:
        """Checks one that failed; one that works is available after it."""
        provision = self._live.current.provision
        answer = await acquire(post, uuid4(), self._now().tick_s + ACQUIRE_S, ip_id=ip_id)
        if isinstance(answer, NoIPAvailable):
            return answer
        return await self._check(post, answer, provision.check_url, provision.check_timeout_s, probes=True)

    async def _lease(self, post: PoolHandle, ip_id: UUID) -> Lease | NoIPAvailable:
        ends_s = self._now().tick_s + PATIENCE_S
        while True:
            answer = await acquire(post, uuid4(), self._now().tick_s + ACQUIRE_S, ip_id=ip_id)
            if isinstance(answer, Lease) or answer.why != "busy" or self._now().tick_s >= ends_s:
                return answer
            await trio.sleep(RETRY_S)

    async def _check(
        self, post: PoolHandle, lease: Lease, url: str, timeout_s: float, *, probes: bool = False
    ) -> CheckResult:
        """The lease is given back, whatever comes."""
        event = Event.CHECKED
        try:
            result = await self._checked(lease, url, timeout_s)
            if probes and result.kind is not CheckKind.CREDENTIALS:
                event = Event.PROBE_WORKED if result.works else Event.PROBE_FAILED
        finally:
            endpoint = lease.address, lease.port
            await release(post, Release(lease.ip_id, lease.lease_no, event, endpoint=endpoint))
        if probes and (result.works or result.kind is CheckKind.CREDENTIALS):
            verdict = Verdict.OK if result.works else Verdict.CREDENTIALS
            self._providers.trace(lease.provider, verdict, self._now())
        return result

    async def _checked(self, lease: Lease, url: str, timeout_s: float) -> CheckResult:
        settings = self._live.current
        name = f"{lease.request_id}/{lease.lease_no}"
        proxy = proxy_of(settings, LeasedProxy(lease.address, lease.port, lease.country, lease.provider, name))
        left_s = lease.locked_until_s - self._now().tick_s - LEASE_MARGIN_S
        slow_s = settings.provision.check_slow_s
        return await check(self._fetcher, proxy, url, timeout_s=min(timeout_s, left_s), slow_s=slow_s)

    def _why(self, answer: NoIPAvailable) -> str:
        now = self._now()
        if answer.why in ("locked", "cooldown") and answer.until_s is not None:
            until = time.strftime("%H:%M:%S", time.gmtime(now.wall_at(answer.until_s)))
            return f"in use, until {until} UTC at most" if answer.why == "locked" else f"rests until {until} UTC"
        return {
            "busy": "its country's other IPs are all in use: a check would cost a click its IP",
            "gone": "the running daemon does not know it",
        }.get(answer.why, f"no lease ({answer.why})")
