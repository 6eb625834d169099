"""The hops of a trace over the wire: always through its proxy, never around it.

A session holds at most CONNECTIONS_MAX connections: one for all plain hops, and one tunnel per https host. Of bodies
only what the walk asks for is read (an HTML page, as far as it has a say); a redirect's own small body is drained, so
that its connection can serve the next hop. What goes wrong is turned into a HopFailure here, once: nothing above this
file knows trio's or ssl's exceptions.
"""

import logging
import math
import ssl
from collections.abc import Callable
from typing import Self

import msgspec
import trio

from daemon.host.clocks import read_boot_clock
from daemon.providers.proxies import ProxyAddress, UnusableProxy, exit_ip_in
from daemon.trace.page.body import Body, PageBody
from daemon.trace.walk.steps import Fetch, GaveUp, Hop, HopAnswer, HopFailure, Landed, Walk
from daemon.trace.walk.verdicts import Kind, Phase, Verdict
from daemon.trace.wire.connection import Key, Line, Progress, Refused, authorization_of, key_of, open_tunnel, secured
from daemon.trace.wire.http1 import Garbled, Headers, NotHttp
from daemon.trace.wire.socks import SocksError
from daemon.trace.wire.stream import Broken, DialError, Meter, TooMuch, dial

CONNECTIONS_MAX = 4  # of one session; the one used longest ago is closed for a new one
RESOLVERS_MAX = 64  # threads of all sessions that resolve proxies' names
# SO_RCVBUF, which Linux doubles for itself. What a landing page sends before we leave it is about this much more than
# what is read of it. A head fits into the one, the certificates of a server (3 to 5 KB) into the other: a smaller one
# would take them in two round trips.
RECEIVE_BUFFER_BYTES = 4_096
TLS_RECEIVE_BUFFER_BYTES = 6_144
BODY_WAIT_S = 5.0  # for a body; what is late of it is not waited for

Wanted = Callable[[int, Headers], Body | None]

log = logging.getLogger(__name__)


class OutOfTime(Exception):
    """The session's time, and with it the lease of its IP, is over."""


class Fetcher:
    """What all traces share: the settings of a hop and one SSLContext (17 ms to build).

    `headers_bytes_max` bounds a response head, 32 bytes added for each line. A context of your own should verify, and
    offer http/1.1 alone by ALPN.
    """

    def __init__(
        self,
        *,
        hop_timeout_s: float,
        connect_timeout_s: float,
        headers_bytes_max: int,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.hop_timeout_s = hop_timeout_s
        self.connect_timeout_s = connect_timeout_s
        self.headers_bytes_max = headers_bytes_max
        self.resolvers = trio.CapacityLimiter(RESOLVERS_MAX)
        if ssl_context is None:
            ssl_context = ssl.create_default_context()
            ssl_context.set_alpn_protocols(["http/1.1"])
        self.ssl_context = ssl_context

    def session(self, proxy: ProxyAddress, *, timeout_s: float, reach_s: float = math.inf) -> "Session":
        """The connections of one trace, which a `with` closes: all of them, at once and without waiting for anyone.

        `timeout_s` is for all of it, from now on. `reach_s`: until its first answer, the proxy has this long to take a
        connection, and to answer CONNECT.
        """
        return Session(self, proxy, timeout_s, reach_s)


class Session:
    """One trace's way out: every byte goes through `proxy`. For one task; `meter` counts over all hops.

    Neither `hop` nor `walk` raises anything but trio.Cancelled: every failure is a HopFailure.
    """

    def __init__(self, fetcher: Fetcher, proxy: ProxyAddress, timeout_s: float, reach_s: float) -> None:
        self.meter = Meter()
        self.exit_ip: str | None = None  # as the proxy told it last
        self._fetcher = fetcher
        self._proxy = proxy
        self._timeout_s = timeout_s
        now = trio.current_time()
        self._ends_at = now + timeout_s
        self._ends_boot_s = read_boot_clock() + timeout_s
        self._reach_s = reach_s
        self._lines: dict[Key, Line] = {}  # the least recently used first
        self._proven = False
        self._clock = trio.CancelScope()  # around all hops; its deadline is that of what is being done
        self._hop_ends_at = self._ends_at
        self._began: tuple[float, int, int] = (now, 0, 0)  # the hop: time, bytes received, bytes sent
        self._progress = Progress()  # of the hop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    async def hop(self, fetch: Fetch, wanted: Wanted) -> HopAnswer | HopFailure:
        """One request within `hop_timeout_s`, the session's only one.

        `wanted` says by an answer's head what its body is given to. A body that is late or breaks is no failure.
        """
        with self._clock:
            return await self._hop(fetch, wanted)
        return self._failure(Kind.TIMEOUT)

    async def walk(self, walk: Walk) -> Landed | GaveUp:
        """Takes `walk` to its end, each hop within `hop_timeout_s`; `Limits.hops_max` bounds them."""
        step: Fetch | Landed | GaveUp = walk.start()
        with self._clock:
            while isinstance(step, Fetch):
                outcome = await self._hop(step, walk.body)
                if isinstance(outcome, HopFailure) and self._is_over():
                    return walk.out_of_time(self._timeout_s, outcome)
                step = walk.answered(outcome) if isinstance(outcome, HopAnswer) else walk.failed(outcome)
            return step
        late = self._failure(Kind.TIMEOUT)
        return walk.out_of_time(self._timeout_s, late) if trio.current_time() >= self._ends_at else walk.failed(late)

    async def _hop(self, fetch: Fetch, wanted: Wanted) -> HopAnswer | HopFailure:
        now = trio.current_time()
        self._began = (now, self.meter.received, self.meter.sent)
        self._hop_ends_at = min(now + self._fetcher.hop_timeout_s, self._ends_at)
        progress = self._progress = Progress()
        try:
            status, headers, body = await self._exchange(fetch, progress, wanted)
        except Exception as error:
            return self._failure(_kind_of(error, progress))
        self._proven = True
        page = body.page if isinstance(body, PageBody) else None
        return HopAnswer(status, headers, *self._spent(), page=page, tunnelled=progress.phase is Phase.BEHIND)

    def _failure(self, kind: Kind) -> HopFailure:
        progress = self._progress
        # A part of an answer to a plain request proves the proxy as well: it has something to relay.
        began_to_answer = progress.phase is Phase.FORWARD and progress.began_to_answer
        proven = self._proven or (began_to_answer and kind is not Kind.NOT_HTTP)
        return HopFailure(progress.phase, kind, *self._spent(), status=progress.status, proxy_proven=proven)

    def _spent(self) -> tuple[float, int, int]:
        """Milliseconds, bytes received and bytes sent since the hop began."""
        at, received, sent = self._began
        return (trio.current_time() - at) * 1000, self.meter.received - received, self.meter.sent - sent

    async def _exchange(self, fetch: Fetch, progress: Progress, wanted: Wanted) -> tuple[int, Headers, Body | None]:
        """Sends the request on a kept connection or a new one. Raises whatever lines.py raises."""
        key = key_of(fetch.url, self._proxy)
        while True:  # twice at most: the second time on a new connection
            self._check_time()
            kept = self._kept(key)
            line = kept or await self._open(key, progress)
            self._clock.deadline = self._hop_ends_at
            progress.phase, progress.stream = line.phase, line.stream
            progress.bytes_read_before = line.stream.bytes_read
            self._lines[key] = line
            try:
                self._check_time()
                status, headers = await line.request(fetch, head_bytes_max=self._fetcher.headers_bytes_max)
                if line.phase is Phase.FORWARD:
                    self.exit_ip = exit_ip_in(headers, self._proxy.exit_ip_header) or self.exit_ip
                if (body := wanted(status, headers)) is not None:
                    wait_s = max(0, min(BODY_WAIT_S, self._hop_ends_at - trio.current_time()))
                    self._clock.deadline = self._ends_at
                    await line.read(body, headers, wait_s)
                return status, headers, body
            except (Broken, Garbled):
                # A kept connection may have been closed by the peer just before we used it: not a failure of the hop.
                if kept is None or progress.began_to_answer:
                    raise
            finally:
                if not line.is_idle():
                    self._lines.pop(key, None)
                    line.close()

    def _is_over(self) -> bool:
        return trio.current_time() >= self._ends_at or read_boot_clock() >= self._ends_boot_s

    def _check_time(self) -> None:
        """Before a hop's first byte. A process that stood still, or a machine that slept, must not go on where it was.

        Timers alone would not do: what has come meanwhile is handled before they are, and a write waits for nobody.
        """
        if self._is_over():
            raise OutOfTime

    def _kept(self, key: Key) -> Line | None:
        """An idle connection for `key`, if there is one; else makes room for a new one."""
        line = self._lines.pop(key, None)
        if line is not None and line.was_closed_by_peer():
            line.close()
            return None
        if line is None and len(self._lines) >= CONNECTIONS_MAX:
            self._lines.pop(next(iter(self._lines))).close()
        return line

    async def _open(self, key: Key, progress: Progress) -> Line:
        """Dials the proxy, and stands up a tunnel if `key` names its end."""
        progress.phase, progress.stream = Phase.DIAL, None
        fetcher, proxy = self._fetcher, self._proxy
        speaks_tls = proxy.scheme == "https" or (key is not None and key.tls)
        buffer_bytes = TLS_RECEIVE_BUFFER_BYTES if speaks_tls else RECEIVE_BUFFER_BYTES
        reach_s = math.inf if self._proven else self._reach_s
        timeout_s = min(fetcher.connect_timeout_s, reach_s)
        self._clock.deadline = min(trio.current_time() + timeout_s, self._hop_ends_at)
        stream = await dial(
            proxy.host,
            proxy.port,
            self.meter,
            timeout_s=timeout_s,
            receive_buffer_bytes=buffer_bytes,
            resolvers=fetcher.resolvers,
        )
        self._clock.deadline = self._hop_ends_at
        if proxy.scheme == "https":
            stream = await secured(stream, proxy, fetcher.ssl_context, timeout_s=fetcher.connect_timeout_s)
        if key is None:
            return Line(stream, Phase.FORWARD, authorization_of(proxy))
        head_bytes_max, progress.tunnel_s = fetcher.headers_bytes_max, reach_s
        try:
            return await open_tunnel(stream, key, proxy, fetcher.ssl_context, progress, head_bytes_max=head_bytes_max)
        finally:
            self.exit_ip = progress.exit_ip or self.exit_ip


class TraceResult(msgspec.Struct, frozen=True):
    """A finished trace. Bytes are those on the wire with the proxy. `exit_ip` is where it says that it leaves."""

    end: Landed | GaveUp
    hops: tuple[Hop, ...]
    ms: float
    bytes_received: int
    bytes_sent: int
    exit_ip: str | None = None


async def trace(
    fetcher: Fetcher, proxy: ProxyAddress | UnusableProxy, walk: Walk, *, timeout_s: float, reach_s: float = math.inf
) -> TraceResult:
    """One whole trace within `timeout_s`, its proxy reached within `reach_s` (Fetcher.session).

    Raises nothing but trio.Cancelled; its connections are closed on return.
    """
    if isinstance(proxy, UnusableProxy):
        return TraceResult(GaveUp(Verdict.IP, "bad_proxy_address", proxy.message), (), 0.0, 0, 0)
    began_at = trio.current_time()
    with fetcher.session(proxy, timeout_s=timeout_s, reach_s=reach_s) as session:
        end = await session.walk(walk)
    ms = (trio.current_time() - began_at) * 1000
    return TraceResult(end, tuple(walk.hops), ms, session.meter.received, session.meter.sent, session.exit_ip)


def _kind_of(error: Exception, progress: Progress) -> Kind:
    """What an exception of ours, of trio, ssl or the system means; the one place that knows their types."""
    if isinstance(error, DialError | SocksError):
        return error.kind
    if isinstance(error, OutOfTime):
        return Kind.TIMEOUT
    if isinstance(error, Refused):
        return Kind.STATUS
    if isinstance(error, TooMuch):
        return Kind.HEAD_TOO_LARGE
    if isinstance(error, NotHttp):
        return Kind.NOT_HTTP
    if isinstance(error, Garbled):
        return Kind.CLOSED if progress.stream is not None and progress.stream.ended else Kind.GARBAGE
    if isinstance(error, Broken | trio.BrokenResourceError):
        return _kind_of_break(error)
    if isinstance(error, ValueError) and progress.phase in (Phase.DIAL, Phase.TLS):
        return Kind.CERTIFICATE  # the host has a label that no certificate can name
    log.error("a hop failed in a way that is not known", exc_info=error)
    return Kind.UNEXPECTED


def _kind_of_break(error: BaseException) -> Kind:
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None:
            break
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Kind.CERTIFICATE
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return Kind.CLOSED
        if isinstance(cause, ssl.SSLError):
            return Kind.TLS
        cause = cause.__cause__ or cause.__context__
    return Kind.RESET
