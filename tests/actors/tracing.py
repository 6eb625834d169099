"""A tracer with its jobs; the test acts as the pool and supplies the results of the traces."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
import trio
import trio.testing

from daemon.clock import Moment
from daemon.journal.entries import Entry, TraceFinished, TraceProcessing
from daemon.pool.directory import PoolHandle
from daemon.pool.messages import Acquire, Lease, Message
from daemon.pool.states import Ip, Rules
from daemon.providers.proxies import ProxyAddress, UnusableProxy
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.backends import Backends
from daemon.trace.jobs import TraceJob, TraceUpdate
from daemon.trace.provider_health import ProviderHealth
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, Hop, Identity, Landed, Walk
from daemon.trace.wire.session import Fetcher
from daemon.trace.workers import Tracer
from tests.fakes.entries import of_kind
from tests.fakes.journal import MemoryJournal
from tests.fakes.pools import PlayedPools

WALL_S = 1_700_000_000.0
RULES = Rules(lock_s=90, cooldown_s=60)
LANDED = Landed("https://shop.example/?a=1&a=2")
HOP = Hop("https://ads.example/go", 302, 12.345, "http", 100, 50)

Tracing = Callable[[Any, ProxyAddress | UnusableProxy, Walk, float], Awaitable[TraceResult]]


def now() -> Moment:
    return Moment(trio.current_time(), WALL_S + trio.current_time())


def result(end: Landed | GaveUp = LANDED, ms: float = 1000.0) -> TraceResult:
    return TraceResult(end, (HOP,), ms, 4321, 765)


class Bench:
    """One tracer, its `jobs`, and a pool: the test's own `mailbox`, or an actor after `start_pool`."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tracing: Tracing,
        timeout_s: float = 75,
        *,
        retries_max: int = 0,
        ips: int = 1,
    ) -> None:
        async def trace(
            fetcher: Any, proxy: Any, walk: Walk, *, timeout_s: float, proxy_timeout_s: float, ends_boot_s: float
        ) -> TraceResult:
            self.lease_ends.append(ends_boot_s)
            self.proxies.append(proxy)
            self.timeouts.append(timeout_s)
            self.proxy_timeouts.append(proxy_timeout_s)
            return await tracing(fetcher, proxy, walk, timeout_s)

        monkeypatch.setattr("daemon.trace.local.trace", trace)
        self.proxies: list[ProxyAddress | UnusableProxy] = []
        self.timeouts: list[float] = []
        self.lease_ends: list[float] = []
        self.proxy_timeouts: list[float] = []
        self.journal = MemoryJournal()
        self.ips = [Ip(uuid4(), f"198.51.100.{number}", "7000", "us", "luna") for number in range(1, 1 + ips)]
        self.ip = self.ips[0]
        self.pools = PlayedPools(RULES)
        self.directory = self.pools.directory
        self.post: PoolHandle = self.directory.open("us", self.ips)
        self.live = LiveSettings(
            Settings(
                pool={"lock_s": 3_600},
                trace={"timeout_s": timeout_s, "retries_max": retries_max},
                providers={"luna": {"username": "customer", "password": "secret"}},
            )
        )
        self.providers = ProviderHealth()
        fetcher = Fetcher(hop_timeout_s=30, connect_timeout_s=10, headers_bytes_max=65_536)
        backends = Backends(self.live, fetcher)
        self.tracer = Tracer(self.live, backends, self.directory, self.journal, now, self.providers)
        self.jobs, self.receive = trio.open_memory_channel[TraceJob](10)
        send, self.updates = trio.open_memory_channel[TraceUpdate](8)
        self.job = TraceJob(
            request_id=uuid4(),
            offer_id=uuid4(),
            offer_name="sale",
            tracking_url="https://ads.example/go",
            country="us",
            inbound={},
            identity=Identity("Browser/1"),
            asked_s=0.0,
            deadline_s=10.0,
            listener=send,
        )

    def start_pool(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self.pools.actor(self.journal, now).run, [])

    async def work(self) -> None:
        """Runs the job to its end."""
        self.jobs.send_nowait(self.job)
        self.jobs.close()
        await self.tracer.work(self.receive)

    async def message(self) -> Message:
        with trio.fail_after(200):
            return await self.pools.mailbox.receive()

    def lease(self, lease_no: int = 1, locked_until_s: float = 90.0, ip: Ip | None = None) -> Lease:
        ip = ip or self.ip
        return Lease(
            ip.id, ip.address, ip.port, ip.provider, "us", lease_no, locked_until_s, self.job.request_id,
            ends_boot_s=locked_until_s,
        )  # fmt: skip

    async def grant(self, lease_no: int = 1, locked_until_s: float = 90.0, ip: Ip | None = None) -> None:
        """Answer the request for an IP, which is the next message, with a lease."""
        request = await self.message()
        assert isinstance(request, Acquire)
        request.reply.send_nowait(self.lease(lease_no, locked_until_s, ip))

    def heard(self) -> list[TraceUpdate]:
        updates: list[TraceUpdate] = []
        while True:
            try:
                updates.append(self.updates.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                return updates

    def states(self) -> list[Entry]:
        """The entries for the trace's row, in order."""
        return [e for e in self.journal.entries if isinstance(e, TraceProcessing | TraceFinished)]

    def finished(self) -> TraceFinished:
        [entry] = of_kind(TraceFinished, self.journal.entries)
        return entry


def ends(end: Landed | GaveUp, after_s: float = 1.0) -> Tracing:
    async def tracing(fetcher: Any, proxy: Any, walk: Walk, timeout_s: float) -> TraceResult:
        await trio.sleep(after_s)
        return result(end, after_s * 1000)

    return tracing


async def never_ends(fetcher: Any, proxy: Any, walk: Walk, timeout_s: float) -> TraceResult:
    await trio.sleep_forever()
    raise AssertionError


async def broken(fetcher: Any, proxy: Any, walk: Walk, timeout_s: float) -> TraceResult:
    raise ZeroDivisionError("a bug in trace")
