"""Traces for other daemons: what POST /trace asks for is done here, within this daemon's own bounds.

One proxy serves one trace at a time here too: a second request that names it while the first runs is refused, and so is
one that names an IP of this daemon's own pool, which only a lease may use.
"""

from collections.abc import Awaitable, Callable
from uuid import uuid4

from msgspec.structs import replace

from daemon.control.problems import ProblemRaised
from daemon.providers.proxies import LeasedProxy
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.backends import LocalBackend
from daemon.trace.dispatch import own_user_agent
from daemon.trace.service_shape import TraceAnswer, TraceRequest, answer_of, identity_of
from daemon.trace.walk.hops import WEB_SCHEMES
from daemon.trace.walk.steps import Walk
from daemon.trace.wire.session import TraceResult
from daemon.trace.workers import limits_of

Endpoint = tuple[str, str]  # address, port


async def _is_of_no_pool(endpoint: Endpoint) -> bool:
    return False


class TracesForOthers:
    """`active` ones hold a proxy now."""

    def __init__(
        self,
        live: LiveSettings,
        backend: LocalBackend,
        *,
        workers_busy: Callable[[], int] = lambda: 0,
        is_of_the_pool: Callable[[Endpoint], Awaitable[bool]] = _is_of_no_pool,
    ) -> None:
        """It traces by itself always: two daemons that trace by each other would pass a request on for ever.

        `workers_busy` with this daemon's own clicks: both together keep to trace.workers.
        """
        self._live = live
        self._workers_busy = workers_busy
        self._is_of_the_pool = is_of_the_pool
        self._backend = backend
        self._in_use: set[Endpoint] = set()

    @property
    def active(self) -> int:
        return len(self._in_use)

    async def trace(self, asked: TraceRequest) -> TraceAnswer:
        """Raises ProblemRaised: 409 where the proxy is in use, 503 where trace.workers are. Raises PoolSilent."""
        settings = self._live.current
        endpoint = asked.proxy_ip.strip().strip("[]").lower(), str(asked.proxy_port).strip()
        if await self._is_of_the_pool(endpoint):
            raise _conflict(f"{':'.join(endpoint)} is of this daemon's own pool: its traces lease it, nobody else may")
        if endpoint in self._in_use:
            raise _conflict(f"{':'.join(endpoint)} serves another trace now: try again when that is over")
        if self.active + self._workers_busy() >= settings.trace.workers:
            why = f"{settings.trace.workers} traces are under way (trace.workers)"
            raise ProblemRaised(503, why, kind="/problems/busy", title="Busy")
        self._in_use.add(endpoint)
        try:
            result = await self._trace(asked, settings)
        finally:
            self._in_use.remove(endpoint)
        return answer_of(result, asked)

    async def _trace(self, asked: TraceRequest, settings: Settings) -> TraceResult:
        trace = settings.trace
        limits = replace(
            limits_of(settings),
            hops_max=min(trace.hops_max, asked.max_redirects + 1),
            landing_schemes=WEB_SCHEMES | frozenset(asked.landing_schemes),
            stop_at=frozenset(asked.stop_at),
        )
        walk = Walk(asked.url, identity_of(asked, own_user_agent(settings)), limits)
        lease = asked.lease or uuid4().hex
        proxy = LeasedProxy(asked.proxy_ip, str(asked.proxy_port), asked.target_country, asked.provider, lease)
        timeout_s = min(trace.timeout_s, asked.timeout_ms / 1000)
        return await self._backend.trace(walk, proxy, timeout_s=timeout_s)


def _conflict(why: str) -> ProblemRaised:
    return ProblemRaised(409, why, kind="/problems/proxy-in-use", title="The proxy is in use")
