"""The proxy on loopback through which one trace's tab sends everything. It forwards to the leased IP only.

A browser can log in neither to a SOCKS proxy nor to an https one as tracepool needs it, and it neither counts bytes nor
says whose fault a failure is. The forwarder does, with the code of `trace/wire`. It takes requests with the trace's own
password only, sends nothing after the end of the lease, and refuses targets that are not public.

A CONNECT request becomes a tunnel. Other requests are forwarded one by one: to an HTTP proxy in absolute form, through
a tunnel if the proxy is a SOCKS proxy or only opens tunnels.
"""

import base64
import hmac
import math
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import trio

from daemon.host.clocks import read_boot_clock
from daemon.providers.proxies import ProxyAddress, exit_ip_in
from daemon.trace.browser.messages import Answer, NotHttp
from daemon.trace.browser.relay import ENDS, Fault, Relay
from daemon.trace.walk.verdicts import Failure, Phase
from daemon.trace.wire.connection import Progress, Target, authorization_of, open_tunnel
from daemon.trace.wire.failures import failure_of
from daemon.trace.wire.session import Fetcher
from daemon.trace.wire.stream import HopError, Meter, WireStream, dial
from daemon.web.addresses import refused_host

CONNECTIONS_MAX = 32  # of one tab at a time; a browser opens 6 per host
RECEIVE_BUFFER_BYTES = 65_536  # the browser reads a page to its end, unlike the other tracer
UNLIMITED = 1 << 62
USER = "trace"
LOGIN_HOST = "login.invalid"
LOGIN_URL = f"http://{LOGIN_HOST}/"  # refused, but the browser has logged in then


def login_for(challenge: Mapping[str, str], password: str) -> dict[str, str]:
    """The browser's answer to a request for a login: to the forwarder it logs in, and to nothing else."""
    if challenge.get("source") != "Proxy":
        return {"response": "CancelAuth"}
    return {"response": "ProvideCredentials", "username": USER, "password": password}


class Forwarder:
    """`meter` counts the bytes on the wire to the leased IP. `proven`: the IP has delivered an answer of a target.

    `is_exhausted` once more than `bytes_max` were received; then nothing more is.
    """

    def __init__(
        self, fetcher: Fetcher, proxy: ProxyAddress, *, timeout_s: float, proxy_timeout_s: float = math.inf,
        ends_boot_s: float = math.inf, allow_private: bool = False, bytes_max: int = UNLIMITED,
    ) -> None:  # fmt: skip
        self.meter = Meter()
        self.exit_ip: str | None = None
        self.proven = False
        self.only_tunnels = proxy.scheme == "socks5"
        self.forwards = False  # the proxy is known to forward plain http
        self.is_exhausted = False
        self.password = secrets.token_urlsafe(18)
        self._fetcher = fetcher
        self._proxy = proxy
        self._ends_at = trio.current_time() + timeout_s
        self._ends_boot_s = min(ends_boot_s, read_boot_clock() + timeout_s)
        self._proxy_timeout_s = proxy_timeout_s
        self._allow_private = allow_private
        self.bytes_max = bytes_max
        self._authorization = b"Basic " + base64.b64encode(f"{USER}:{self.password}".encode())
        self._places = trio.Semaphore(CONNECTIONS_MAX)
        self._scope = trio.CancelScope()  # of all connections
        self._faults: dict[tuple[str, int], Fault] = {}

    @property
    def is_over(self) -> bool:
        """Whether the time limit or the lease has ended."""
        return trio.current_time() >= self._ends_at or read_boot_clock() >= self._ends_boot_s

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serves until the end of the block; yields the URL for the browser. All connections end with the block."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            nursery.start_soon(trio.serve_listeners, self._serve, [listener])
            host, port = listener.socket.getsockname()
            yield f"http://{host}:{port}"
            self.close()

    def close(self) -> None:
        """Closes all connections."""
        self._scope.cancel()

    async def _serve(self, client: trio.SocketStream) -> None:
        async with self._places:
            with suppress(*ENDS, NotHttp):
                await Relay(self, client).serve()
            await trio.aclose_forcefully(client)

    def fault_at(self, host: str, port: int) -> Fault | None:
        """Takes the last fault of a request to this target."""
        return self._faults.pop((host, port), None)

    # What a relay asks, see LeasedIp.

    def knows(self, authorization: bytes | None) -> bool:
        return authorization is not None and hmac.compare_digest(authorization, self._authorization)

    def refuses(self, target: Target) -> bool:
        return target.host == LOGIN_HOST or (not self._allow_private and refused_host(target.host) is not None)

    def note(self, target: Target, fault: Fault) -> None:
        self._faults[target.host, target.port] = fault

    def note_head(self, answer: Answer) -> Fault | None:
        headers = tuple(answer.headers)
        self.exit_ip = exit_ip_in(headers, self._proxy.exit_ip_header) or self.exit_ip
        if answer.status != 407:
            return None
        return Fault(Phase.FORWARD, Failure.CREDENTIALS, 407, self._proxy.own_answer(407, headers), headers)

    def is_own(self, answer: Answer) -> bool:
        return self._proxy.own_answer(answer.status, tuple(answer.headers)) is not None

    def check_bytes(self) -> None:
        if self.meter.received > self.bytes_max:
            self.is_exhausted = True
            raise HopError(Failure.TIMEOUT)

    def proxy_headers(self) -> bytes:
        return b"".join(f"{name}: {value}\r\n".encode() for name, value in authorization_of(self._proxy))

    async def open(self, target: Target, *, tunnel: bool) -> WireStream | Fault:
        fetcher, progress = self._fetcher, Progress(self._fetcher.headers_bytes_max)
        stream: WireStream | None = None
        opened: WireStream | None = None
        fault = Fault(progress.phase, Failure.TIMEOUT)
        try:
            with trio.move_on_after(fetcher.hop_timeout_s):
                opened = stream = await self._dialled()
                if tunnel:
                    opened = None
                    progress.tunnel_s = math.inf if self.proven else self._proxy_timeout_s
                    opened = (await open_tunnel(stream, target, self._proxy, fetcher.ssl_context, progress)).stream
        except Exception as error:
            fault = Fault(progress.phase, failure_of(error, progress), progress.status, progress.own)
        finally:
            self.exit_ip = progress.exit_ip or self.exit_ip
            if opened is None and stream is not None:
                stream.close()
        if opened is None:
            return fault
        opened.allow(UNLIMITED, 0)
        return opened

    async def _dialled(self) -> WireStream:
        """Raises HopError, and what a TLS handshake raises."""
        fetcher, proxy = self._fetcher, self._proxy
        timeout_s = min(fetcher.connect_timeout_s, math.inf if self.proven else self._proxy_timeout_s)
        stream: WireStream | None = None
        with trio.move_on_after(timeout_s):
            stream = await dial(
                proxy.host, proxy.port, self.meter, timeout_s, RECEIVE_BUFFER_BYTES, fetcher.resolvers,
                self._check_time,
            )  # fmt: skip
        if stream is None:
            raise HopError(Failure.TIMEOUT)
        if proxy.scheme != "https":
            return stream
        try:
            with trio.move_on_after(fetcher.connect_timeout_s):
                return await stream.start_tls(fetcher.ssl_context, proxy.host.rstrip("."))
        except BaseException:
            stream.close()
            raise
        stream.close()
        raise HopError(Failure.TIMEOUT)

    def _check_time(self) -> None:
        """Before each connect and each write to the leased IP: raises HopError after the end."""
        if self.is_over:
            raise HopError(Failure.TIMEOUT)
