"""No byte goes to a proxy after the lease, whichever byte is next when the machine or the process was suspended."""

import contextlib
import os
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace

import pytest

from daemon.checks.checker import CheckKind, check
from daemon.host.clocks import read_boot_clock
from daemon.providers.proxies import LeasedProxy, ProxyAddress
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.local import LocalBackend
from daemon.trace.walk.steps import Identity, Landed, Limits, Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire import session, stream
from tests.fakes.net import START, context_for, fetcher, gave_up, net, ports_of
from tests.fakes.origins import origin, page
from tests.fakes.socks import SocksProxy, socks_proxy
from tests.integration.test_proxy_schemes import LOGIN, PLAIN_TO_SECURE, SECURE, SECURE_TO_PLAIN, through

HOUR_S = 3_600.0


class SuspendedBefore:
    """The boot clock of traces, an hour later from the `nth` reading on. `events`: readings and writes in order."""

    def __init__(self, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nth = nth
        self.events: list[str] = []
        self.late_writes = 0
        traces_os = SimpleNamespace(write=self.write, read=os.read, strerror=os.strerror)  # the fakes write, too
        monkeypatch.setattr(session, "read_boot_clock", self.read)
        monkeypatch.setattr(stream, "os", traces_os)

    @property
    def readings(self) -> int:
        return self.events.count("read")

    def read(self) -> float:
        self.events.append("read")
        return read_boot_clock() + (HOUR_S if self.readings >= self.nth else 0.0)

    def write(self, fd: int, data: bytes) -> int:
        self.events.append("write")
        self.late_writes += self.readings >= self.nth
        return os.write(fd, data)


@contextlib.asynccontextmanager
async def proxy_of(scheme: str) -> AsyncIterator[int]:
    if scheme != "socks5":
        tls = context_for("127.0.0.1") if scheme == "https" else None
        async with net(PLAIN_TO_SECURE, SECURE_TO_PLAIN, credentials=LOGIN, proxy_tls=tls) as here:
            yield here.port
        return
    tls = context_for("secure.example", "s1.example")
    async with (
        origin(PLAIN_TO_SECURE) as (_, plain_port),
        origin(SECURE_TO_PLAIN, tls=tls) as (_, tls_port),
        socks_proxy(SocksProxy(ports_of(plain_port, tls_port), LOGIN)) as port,
    ):
        yield port


@pytest.mark.parametrize("url", [START, SECURE])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_whichever_byte_of_a_trace_is_next_none_leaves_after_the_lease(
    monkeypatch: pytest.MonkeyPatch, scheme: str, url: str
) -> None:
    """Connects, TLS with the proxy and the target, CONNECT, SOCKS, the first request and each redirect."""
    async with proxy_of(scheme) as port:
        with monkeypatch.context() as patch:
            whole = SuspendedBefore(1_000, patch)
            assert isinstance((await through(scheme, port, url)).end, Landed)
        assert "write" in whole.events
        assert all(before == "read" for before, event in pairwise(whole.events) if event == "write")
        for nth in range(2, whole.readings + 1):  # the first one is that of the session's begin
            with monkeypatch.context() as patch:
                clock = SuspendedBefore(nth, patch)
                end = gave_up(await through(scheme, port, url))
            assert (clock.late_writes, end.verdict, end.reason) == (0, Verdict.LIMIT, "trace_timeout"), nth


async def test_a_lease_that_ended_before_its_trace_began_sends_nothing() -> None:
    """The process was suspended between the worker's reading of the clock and the session's."""
    async with net({"ads.example/start": page()}) as here:
        backend = LocalBackend(LiveSettings(Settings()), fetcher())
        walk = Walk(START, Identity("tester/1"), Limits(20, allow_private=True))
        proxy = LeasedProxy("127.0.0.1", str(here.port), "us", "luna", "1", read_boot_clock() - 0.001)
        assert gave_up(await backend.trace(walk, proxy, timeout_s=10)).reason == "trace_timeout"
        assert here.proxy.connections == 0


@pytest.mark.parametrize("nth", [2, 3])  # the first reading is that of the session's begin
async def test_a_check_sends_nothing_after_its_lease(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    async with net({"ads.example/start": page()}) as here:
        clock, proxy = SuspendedBefore(nth, monkeypatch), ProxyAddress("127.0.0.1", here.port)
        found = await check(fetcher(), proxy, START, timeout_s=10, ends_boot_s=read_boot_clock() + 60)
        assert (found.kind, clock.late_writes, here.plain.requests) == (CheckKind.FAILED, 0, [])
