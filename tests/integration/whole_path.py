"""A click's whole path in one process, on the real clock: clicks, workers, a pool actor, real sockets; no database."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import trio

from daemon.click.clicks import Answer, Clicks
from daemon.click.visitor import Visitor
from daemon.host.clocks import read_clocks
from daemon.journal.entries import Entry, Hit, IpChanged, TraceFinished
from daemon.offers.model import Offers
from daemon.pool.actor import PoolActor, Publish
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.pool.messages import Message
from daemon.pool.pool import Pool
from daemon.pool.states import Ip, Rules
from daemon.providers.proxies import Login
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.backends import Backends
from daemon.trace.dispatch import Dispatcher
from daemon.trace.engine.records import PageEngine
from daemon.trace.jobs import TraceJob
from daemon.trace.provider_health import ProviderHealth
from daemon.trace.wire.session import Fetcher
from daemon.trace.workers import Tracer
from tests.fakes.net import AUTHORITY
from tests.support.engine import EngineHere

PATIENCE_S = 20.0
VISITOR = Visitor("192.0.2.7", "Browser/1", None, None)


@dataclass(frozen=True, slots=True)
class ClickOutcome:
    """The outcome of one click: its answer, its hit, the end of its trace, the release of its IP."""

    answer: Answer
    hit: Hit
    trace: TraceFinished
    release: IpChanged

    @property
    def message(self) -> str:
        return self.trace.error_message or ""


class Heard:
    """A journal in memory that keeps the entries of each request until a test takes them."""

    def __init__(self) -> None:
        self.hits: dict[UUID, Hit] = {}
        self.traces: dict[UUID, TraceFinished] = {}
        self.releases: dict[UUID, IpChanged] = {}
        self._holder: dict[UUID, UUID] = {}  # the request that holds an IP
        self._more = trio.Event()

    def record(self, *entries: Entry) -> None:
        for entry in entries:
            if isinstance(entry, Hit):
                self.hits[entry.request_id] = entry
            elif isinstance(entry, TraceFinished):
                self.traces[entry.request_id] = entry
            elif isinstance(entry, IpChanged) and entry.locked_by_request is not None:
                self._holder[entry.id] = entry.locked_by_request
            elif isinstance(entry, IpChanged) and entry.event.startswith("released"):
                self.releases[self._holder.pop(entry.id)] = entry
        self._more.set()
        self._more = trio.Event()

    async def durable(self, *entries: Entry) -> bool:
        self.record(*entries)
        await trio.lowlevel.checkpoint()
        return True

    async def taken(self, answer: Answer) -> ClickOutcome:
        """The outcome of one click, once its trace has ended and its IP is released."""
        which = answer.request_id
        with trio.fail_after(PATIENCE_S):
            while which not in self.traces or which not in self.releases:
                await self._more.wait()
        return ClickOutcome(answer, self.hits.pop(which), self.traces.pop(which), self.releases.pop(which))


@dataclass(slots=True)
class WholePath:
    clicks: Clicks
    offers: Offers
    post: PoolHandle
    journal: Heard
    directory: PoolDirectory
    dispatcher: Dispatcher
    tracer: Tracer

    def offer(self, tracking_url: str, *landing_schemes: str, **values: object) -> None:
        """The only offer."""
        row = {"id": uuid4(), "offer_name": "sale", "final_url": tracking_url, "target_country": "us"}
        more = {"deadline_s": None, "user_agent": "default", "landing_schemes": list(landing_schemes)}
        assert all(complaint.usable for complaint in self.offers.replace([{**row, **more, **values}]))

    async def click(self) -> Answer:
        with trio.fail_after(PATIENCE_S):
            return await self.clicks.answer(b"offer=sale&gclid=7", VISITOR)

    async def outcome(self) -> ClickOutcome:
        return await self.journal.taken(await self.click())


@asynccontextmanager
async def whole_path(
    proxy_port: int, settings: Settings, *, ips: int = 1, engine: PageEngine | None = None
) -> AsyncIterator[WholePath]:
    """A path with `ips` IPs, all of them the proxy at this port of loopback with a username of its own.

    `engine`: by default one in this process, without limits.

    At the end no IP is locked.
    """
    pool, trace = settings.pool, settings.trace
    rules = Rules(pool.lock_s, pool.cooldown_s, pool.failures_max, pool.waiting_max)
    journal = Heard()
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    fetcher = Fetcher(
        hop_timeout_s=trace.hop_timeout_s,
        connect_timeout_s=trace.connect_timeout_s,
        headers_bytes_max=trace.headers_bytes_max,
        engine=EngineHere() if engine is None else engine,
        ssl_context=trusting,
    )
    send, receive = trio.open_memory_channel[TraceJob](trace.queue_max)
    async with send, trio.open_nursery() as nursery:

        def start_actor(pool: Pool, mailbox: "trio.MemoryReceiveChannel[Message]", publish: Publish) -> None:
            nursery.start_soon(PoolActor(pool, mailbox, journal, read_clocks, publish=publish).run, [])

        directory, offers = PoolDirectory(lambda country: Pool(country, rules), start_actor, read_clocks), Offers()
        logins = [Login(f"slot-{number}", "sesame") for number in range(ips)]
        endpoint = "127.0.0.1", str(proxy_port)
        post = directory.open("us", [Ip(uuid4(), *endpoint, "us", "luna", login=login) for login in logins])
        every_click = settings.click.model_copy(update={"repeat_s": 0})
        live = LiveSettings(settings.model_copy(update={"click": every_click}))
        tracer = Tracer(live, Backends(live, fetcher), directory, journal, read_clocks, ProviderHealth())
        for _ in range(trace.workers):
            nursery.start_soon(tracer.work, receive.clone())
        receive.close()
        dispatcher = Dispatcher(directory, journal, send, live, read_clocks)
        clicks = Clicks(offers, dispatcher, journal, read_clocks, live)
        yield WholePath(clicks, offers, post, journal, directory, dispatcher, tracer)
        assert post.view.counts.locked == 0
        nursery.cancel_scope.cancel()
