"""Sends the hops of a trace, always through its proxy.

A session holds at most CONNECTIONS_MAX connections: one for all plain hops, and one tunnel per https host. Where the
proxy only opens tunnels, plain hops use them too. Bodies are
read only if the walk needs them (HTML pages, up to what decides the next step). A redirect's own small body is drained,
so that its connection can serve the next hop. This file turns every exception into a HopFailure: its callers see no
exceptions of trio or ssl.
"""

import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import trio

from daemon.host.clocks import read_boot_clock
from daemon.providers.answers import BODY_BYTES_MAX
from daemon.providers.proxies import ProxyAddress, UnusableProxy, exit_ip_in
from daemon.trace.engine.records import PageEngine
from daemon.trace.page.body import BeginningOf, Body, Headers, PageBody
from daemon.trace.walk.hops import Fetch, HopAnswer, HopFailure, RunPage, ScriptFetch, TraceResult, Usage
from daemon.trace.walk.steps import GaveUp, Landed, Step, Walk
from daemon.trace.walk.verdicts import Failure, Phase, Verdict
from daemon.trace.wire.connection import Key, Progress, ProxyConnection, authorization_of, key_of, open_tunnel
from daemon.trace.wire.failures import failure_of
from daemon.trace.wire.http1 import Garbled, RunEarly
from daemon.trace.wire.script_runs import ScriptRuns
from daemon.trace.wire.stream import Broken, HopError, Meter, dial
from daemon.trace.wire.tls import verifying_context

CONNECTIONS_MAX = 4  # of one session; the least recently used one is closed for a new one
RESOLVERS_MAX = 64  # threads of all sessions that resolve proxies' names
# SO_RCVBUF, which Linux doubles. A landing page costs about this much beside what is read of it. A response head fits
# into the first; a server's certificates (3 to 5 KB) fit into the second without a second round trip.
RECEIVE_BUFFER_BYTES = 4_096
TLS_RECEIVE_BUFFER_BYTES = 6_144
BODY_WAIT_S = 5.0  # for a body; then the trace goes on with what has come of it
SCRIPTS_WAIT_S = 5.0  # for all external scripts of a page; then the trace goes on without those that have not come

_REFUSED_METHODS = frozenset({405, 501})  # by a proxy that knows no request but CONNECT (RFC 9110, 15.5.6 and 15.6.2)

ReaderOf = Callable[[int, Headers], Body | None]


@dataclass(slots=True, kw_only=True)
class Fetcher:
    """The settings of a hop, the engine and one SSLContext (17 ms to build), shared by all traces.

    `headers_bytes_max` bounds a response head; each line counts 32 bytes more. `ssl_context` must verify certificates
    and offer only http/1.1 by ALPN.
    """

    hop_timeout_s: float
    connect_timeout_s: float
    headers_bytes_max: int
    engine: PageEngine | None = None
    ssl_context: ssl.SSLContext = field(default_factory=verifying_context)
    resolvers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(RESOLVERS_MAX))

    def session(
        self, proxy: ProxyAddress, *, timeout_s: float, proxy_timeout_s: float = math.inf, ends_boot_s: float = math.inf
    ) -> "Session":
        """The connections of one trace; `with` closes them at once, without waiting for a peer.

        `timeout_s` bounds the whole session from now on. `ends_boot_s`: from then on, by the boot clock, no byte is
        sent. `proxy_timeout_s`: until the first answer, the proxy has this long to accept a connection, and to answer
        CONNECT.
        """
        return Session(self, proxy, timeout_s, proxy_timeout_s, ends_boot_s)


class Session:
    """Sends the hops of one trace through `proxy`. For one task; `meter` counts the bytes of all hops.

    `hop` and `walk` raise nothing but trio.Cancelled: every failure is a HopFailure.
    """

    def __init__(
        self, fetcher: Fetcher, proxy: ProxyAddress, timeout_s: float, proxy_timeout_s: float, ends_boot_s: float
    ) -> None:
        self.meter = Meter()
        self.exit_ip: str | None = None  # from the proxy's last answer that has it
        self._fetcher = fetcher
        self._proxy = proxy
        self._timeout_s = timeout_s
        now = trio.current_time()
        self._ends_at = now + timeout_s
        self._ends_boot_s = min(ends_boot_s, read_boot_clock() + timeout_s)
        self._proxy_timeout_s = proxy_timeout_s
        self._connections: dict[Key, ProxyConnection] = {}  # least recently used first
        self._proven = False
        self._forwards = self._tunnels = False  # whether the proxy forwards plain http; whether it has to go by tunnels
        self._scope = trio.CancelScope()  # around all hops; its deadline is that of the current operation
        self._hop_ends_at = self._ends_at
        self._scripts_end_at = math.inf  # of the hop's page
        self._scripts = ScriptRuns(fetcher.engine)
        self._walk: Walk | None = None
        self._began: tuple[float, int, int] = (now, 0, 0)  # of the hop: time, bytes received, bytes sent
        self._progress = Progress(fetcher.headers_bytes_max)  # of the hop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    async def hop(self, fetch: Fetch, reader_of: ReaderOf) -> HopAnswer | HopFailure:
        """The session's only request, within `hop_timeout_s`.

        `reader_of` gets the answer's head and returns the reader of its body. A late or broken body is no failure.
        """
        with self._scope:
            return await self._hop(fetch, reader_of)
        return self._failure(Failure.TIMEOUT)

    async def walk(self, walk: Walk) -> Landed | GaveUp:
        """Runs `walk` to its end, each hop within `hop_timeout_s`; `Limits.hops_max` bounds their number."""
        step: Step = walk.start()
        self._walk = walk
        with self._scope:
            while not isinstance(step, Landed | GaveUp):
                if isinstance(step, RunPage):
                    self._scope.deadline = self._ends_at
                    step = walk.ran(await self._scripts.run(step.request), Usage(*self._usage()))
                    continue
                if isinstance(step, ScriptFetch):
                    outcome = await self._script(step, walk.script_body)
                else:
                    outcome = await self._hop(step, walk.body)
                if isinstance(outcome, HopFailure) and self._is_over():
                    return walk.out_of_time(self._timeout_s, outcome)
                if isinstance(step, ScriptFetch):
                    step = walk.fetched(outcome)
                else:
                    step = walk.answered(outcome) if isinstance(outcome, HopAnswer) else walk.failed(outcome)
            return step
        late = self._failure(Failure.TIMEOUT)
        return walk.out_of_time(self._timeout_s, late) if trio.current_time() >= self._ends_at else walk.failed(late)

    async def _hop(self, fetch: Fetch, reader_of: ReaderOf) -> HopAnswer | HopFailure:
        now = trio.current_time()
        self._began = (now, self.meter.received, self.meter.sent)
        self._scripts_end_at = math.inf
        self._hop_ends_at = min(now + self._fetcher.hop_timeout_s, self._ends_at)
        return await self._asked(fetch, reader_of)

    async def _script(self, fetch: ScriptFetch, reader_of: ReaderOf) -> HopAnswer | HopFailure:
        """A request for an external script, in the time of its page's hop. A late one does not end the hop."""
        now = trio.current_time()
        self._scripts_end_at = min(self._scripts_end_at, now + SCRIPTS_WAIT_S)
        self._hop_ends_at = min(self._hop_ends_at, self._scripts_end_at)
        hop, self._scope = self._scope, trio.CancelScope(deadline=self._hop_ends_at)
        hop.deadline = self._ends_at
        try:
            with self._scope:
                return await self._asked(fetch, reader_of)
            return self._failure(Failure.TIMEOUT)
        finally:
            self._scope = hop

    def _early_runs(self, status: int, headers: Headers, body: Body) -> RunEarly | None:
        """The runs of a page while it is received (ScriptRuns.run_early)."""
        if self._walk is None or not isinstance(body, PageBody):
            return None
        return partial(self._scripts.run_early, self._walk, HopAnswer(status, headers, *self._usage()), body)

    async def _asked(self, fetch: Fetch, reader_of: ReaderOf) -> HopAnswer | HopFailure:
        outcome = await self._outcome(fetch, reader_of)
        if not (isinstance(outcome, HopAnswer) and self._may_only_tunnel(outcome)):
            return outcome
        self._tunnels = True
        tunnelled = await self._outcome(fetch, reader_of)
        if isinstance(tunnelled, HopFailure) and tunnelled.phase in (Phase.DIAL, Phase.TUNNEL):
            self._tunnels, self._forwards = False, True
            return outcome  # no tunnel: the first answer was the target's
        return tunnelled

    async def _outcome(self, fetch: Fetch, reader_of: ReaderOf) -> HopAnswer | HopFailure:
        progress = self._progress = Progress(self._fetcher.headers_bytes_max)
        try:
            status, headers, body = await self._request(fetch, progress, reader_of)
        except Exception as error:
            return self._failure(failure_of(error, progress))
        self._proven = True
        page = body.page if isinstance(body, PageBody) else None
        tunnelled = progress.phase is Phase.BEHIND
        return HopAnswer(status, headers, *self._usage(), page=page, tunnelled=tunnelled, own=progress.own)

    def _may_only_tunnel(self, answer: HopAnswer) -> bool:
        """Whether the answer may be that of a proxy which opens tunnels and forwards no request."""
        if answer.tunnelled or answer.own is not None or self._forwards:
            return False
        self._forwards = answer.status not in _REFUSED_METHODS
        return not self._forwards

    def _failure(self, failure: Failure) -> HopFailure:
        progress = self._progress
        # Part of an answer to a plain request proves the proxy as well: it relays the target's bytes.
        began_to_answer = progress.phase is Phase.FORWARD and progress.began_to_answer
        proven = self._proven or (began_to_answer and failure is not Failure.NOT_HTTP)
        return HopFailure(
            progress.phase, failure, *self._usage(), status=progress.status, proxy_proven=proven, own=progress.own
        )

    def _usage(self) -> tuple[float, int, int]:
        """Milliseconds, bytes received and bytes sent since the hop began."""
        at, received, sent = self._began
        return (trio.current_time() - at) * 1000, self.meter.received - received, self.meter.sent - sent

    async def _request(self, fetch: Fetch, progress: Progress, reader_of: ReaderOf) -> tuple[int, Headers, Body | None]:
        """Sends the request on an idle connection or a new one. Raises as connection.py does."""
        key = key_of(fetch.url, self._proxy, tunnels=self._tunnels)
        while True:  # twice at most: the second time on a new connection
            idle = self._take_idle(key)
            connection = idle or await self._open(key, progress)
            self._scope.deadline = self._hop_ends_at
            progress.phase, progress.stream = connection.phase, connection.stream
            progress.bytes_read_before = connection.stream.bytes_read
            self._connections[key] = connection
            try:
                status, headers = await connection.request(fetch, head_bytes_max=self._fetcher.headers_bytes_max)
                if connection.phase is Phase.FORWARD:
                    self.exit_ip = exit_ip_in(headers, self._proxy.exit_ip_header) or self.exit_ip
                    progress.own = self._proxy.own_answer(status, headers)
                body = None if progress.own else reader_of(status, headers)
                asks = connection.phase is Phase.FORWARD and progress.own is None
                asks = asks and self._proxy.answer_rules.asks_for_body(status, headers)
                begun = BeginningOf(body, BODY_BYTES_MAX) if asks else None
                if (reader := begun or body) is not None:
                    wait_s = max(0, min(BODY_WAIT_S, self._hop_ends_at - trio.current_time()))
                    self._scope.deadline = self._ends_at
                    await connection.read(reader, headers, wait_s, self._early_runs(status, headers, reader))
                if begun is not None:
                    progress.own = self._proxy.own_answer(status, headers, body=begun.data)
                return status, headers, body
            except (Broken, Garbled):
                # The peer may have closed an idle connection just before its use: not a failure of the hop.
                if idle is None or progress.began_to_answer:
                    raise
            finally:
                if not connection.is_idle():
                    self._connections.pop(key, None)
                    connection.close()

    def _is_over(self) -> bool:
        return trio.current_time() >= self._ends_at or read_boot_clock() >= self._ends_boot_s

    def _check_time(self) -> None:
        """Called before each connect and each write: raises HopError once the time limit or the lease has ended."""
        if self._is_over():
            raise HopError(Failure.TIMEOUT)

    def _take_idle(self, key: Key) -> ProxyConnection | None:
        """Takes an idle connection for `key`, if there is one; otherwise makes room for a new one."""
        connection = self._connections.pop(key, None)
        if connection is not None and connection.stream.is_readable():
            connection.close()
            return None
        if connection is None and len(self._connections) >= CONNECTIONS_MAX:
            self._connections.pop(next(iter(self._connections))).close()
        return connection

    async def _open(self, key: Key, progress: Progress) -> ProxyConnection:
        """Connects to the proxy, and opens a tunnel if `key` is a Target."""
        progress.phase, progress.stream = Phase.DIAL, None
        fetcher, proxy = self._fetcher, self._proxy
        speaks_tls = proxy.scheme == "https" or (key is not None and key.tls)
        buffer_bytes = TLS_RECEIVE_BUFFER_BYTES if speaks_tls else RECEIVE_BUFFER_BYTES
        proxy_timeout_s = math.inf if self._proven else self._proxy_timeout_s
        timeout_s = min(fetcher.connect_timeout_s, proxy_timeout_s)
        self._scope.deadline = min(trio.current_time() + timeout_s, self._hop_ends_at)
        stream = await dial(
            proxy.host, proxy.port, self.meter, timeout_s, buffer_bytes, fetcher.resolvers, self._check_time
        )
        self._scope.deadline = self._hop_ends_at
        try:
            if proxy.scheme == "https":
                with trio.move_on_after(fetcher.connect_timeout_s) as securing:
                    stream = await stream.start_tls(fetcher.ssl_context, proxy.host.rstrip("."))
                if securing.cancelled_caught:
                    raise HopError(Failure.TIMEOUT)
            if key is None:
                return ProxyConnection(stream, Phase.FORWARD, authorization_of(proxy))
            progress.tunnel_s = proxy_timeout_s
            return await open_tunnel(stream, key, proxy, fetcher.ssl_context, progress)
        except BaseException:
            stream.close()
            raise
        finally:
            self.exit_ip = progress.exit_ip or self.exit_ip


async def trace(
    fetcher: Fetcher,
    proxy: ProxyAddress | UnusableProxy,
    walk: Walk,
    *,
    timeout_s: float,
    proxy_timeout_s: float = math.inf,
    ends_boot_s: float = math.inf,
) -> TraceResult:
    """One whole walk within `timeout_s`; for `proxy_timeout_s` and `ends_boot_s` see Fetcher.session.

    Raises nothing but trio.Cancelled. Its connections are closed on return.
    """
    if isinstance(proxy, UnusableProxy):
        return TraceResult(GaveUp(Verdict.IP, "bad_proxy_address", proxy.message), (), 0.0, 0, 0)
    began_at = trio.current_time()
    limits = {"timeout_s": timeout_s, "proxy_timeout_s": proxy_timeout_s, "ends_boot_s": ends_boot_s}
    with fetcher.session(proxy, **limits) as session:
        end = await session.walk(walk)
    ms = (trio.current_time() - began_at) * 1000
    return TraceResult(end, tuple(walk.hops), ms, session.meter.received, session.meter.sent, session.exit_ip)
