"""Traces for other daemons (POST /trace), within this daemon's own bounds.

One proxy serves one trace at a time: a second request with a proxy that is in use is refused, and so is a request with
an IP of this daemon's own pool, which only a lease may use.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from uuid import uuid4

from msgspec.structs import replace

from daemon.control.problems import ProblemRaised
from daemon.errors import BadInput
from daemon.host.clocks import boot_id
from daemon.pool.states import Endpoint
from daemon.providers.proxies import LeasedProxy, login_of
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.dispatch import own_user_agent
from daemon.trace.local import LocalBackend
from daemon.trace.service_shape import TraceAnswer, TraceRequest, answer_of, identity_of
from daemon.trace.walk.hops import WEB_SCHEMES, TraceResult
from daemon.trace.walk.steps import Walk
from daemon.trace.workers import limits_of
from daemon.web.endpoints import canonical_endpoint, endpoint_name


async def _is_of_no_pool(endpoint: Endpoint) -> bool:
    return False


@dataclass(slots=True, eq=False)
class TracesForOthers:
    """`active`: the number of traces that run now; each uses one proxy.

    `backend` is always the local one: two daemons that trace by each other would forward a request for ever.
    `workers_busy()`: workers that trace this daemon's own clicks; together they are at most trace.workers.
    """

    live: LiveSettings
    backend: LocalBackend
    workers_busy: Callable[[], int] = field(default=lambda: 0, kw_only=True)
    is_of_the_pool: Callable[[Endpoint], Awaitable[bool]] = field(default=_is_of_no_pool, kw_only=True)
    _in_use: set[Endpoint] = field(default_factory=set, init=False)

    @property
    def active(self) -> int:
        return len(self._in_use)

    async def trace(self, request: TraceRequest) -> TraceAnswer:
        """Raises ProblemRaised: 409 if the proxy is in use, 503 if trace.workers traces run. Raises PoolSilent."""
        settings = self.live.current
        endpoint = _endpoint_of(request)
        name = endpoint_name(*endpoint[:2])
        if await self.is_of_the_pool(endpoint):
            raise _conflict(f"{name} is an IP of this daemon's own pool: only its own traces may use it")
        if endpoint in self._in_use:
            raise _conflict(f"{name} serves another trace now: try again when that trace is over")
        if self.active + self.workers_busy() >= settings.trace.workers:
            why = f"{settings.trace.workers} traces run already (trace.workers)"
            raise ProblemRaised(503, why, kind="/problems/busy", title="Busy")
        self._in_use.add(endpoint)
        try:
            result = await self._trace(request, settings)
        finally:
            self._in_use.remove(endpoint)
        return answer_of(result, request)

    async def _trace(self, request: TraceRequest, settings: Settings) -> TraceResult:
        trace = settings.trace
        limits = replace(
            limits_of(settings),
            hops_max=min(trace.hops_max, request.max_redirects + 1),
            landing_schemes=WEB_SCHEMES | frozenset(request.landing_schemes),
            stop_at=frozenset(request.stop_at),
        )
        walk = Walk(request.url, identity_of(request, own_user_agent(settings)), limits)
        lease = request.lease or uuid4().hex
        login = login_of(request.proxy_username, request.proxy_password)
        is_same_clock = request.boot_id is not None and request.boot_id == boot_id()
        proxy = LeasedProxy(
            request.proxy_ip, str(request.proxy_port), request.target_country, request.provider, lease,
            inf if request.ends_boot_s is None or not is_same_clock else request.ends_boot_s, login,
        )  # fmt: skip
        timeout_s = min(trace.timeout_s, request.timeout_ms / 1000)
        return await self.backend.trace(walk, proxy, timeout_s=timeout_s, tracer=request.tracer, offer=request.offer)


def _endpoint_of(request: TraceRequest) -> Endpoint:
    """In its one spelling; a text that is no endpoint stays, and its trace fails."""
    address, port, username = request.proxy_ip, str(request.proxy_port), request.proxy_username or ""
    try:
        return *canonical_endpoint(address, port), username
    except BadInput:
        return address, port, username


def _conflict(why: str) -> ProblemRaised:
    return ProblemRaised(409, why, kind="/problems/proxy-in-use", title="The proxy is in use")
