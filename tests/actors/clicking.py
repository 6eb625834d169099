"""`Clicks` with a fake journal and pool, and trace workers of several kinds."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

import trio
import trio.testing

from daemon.click.clicks import Answer, Clicks
from daemon.click.visitor import Visitor
from daemon.clock import Moment
from daemon.journal.entries import Hit
from daemon.offers.model import Offers
from daemon.pool.states import Ip
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.dispatch import Dispatcher
from daemon.trace.jobs import Finished, Started, TraceJob, WaitingForIp
from tests.fakes.entries import of_kind
from tests.fakes.journal import MemoryJournal
from tests.fakes.pools import PlayedPools

T = TypeVar("T")
WALL_S = 1_700_000_000.0
VISITOR = Visitor("192.0.2.7", "Browser/1", "de-DE", "https://search.example/")
TRACKING = "https://ads.example/go?c=1"


def now() -> Moment:
    return Moment(trio.current_time(), WALL_S + trio.current_time())


class Face:
    """`Clicks` with fakes behind it. `jobs` receives the trace jobs."""

    def __init__(self, queue_max: int = 10, draw: Callable[[], float] = lambda: 0.0, **settings: Any) -> None:
        send, self.jobs = trio.open_memory_channel[TraceJob](queue_max)
        self.journal = MemoryJournal()
        self.offers = Offers()
        settings["click"] = {"repeat_s": 0, **settings.get("click", {})}
        self.live = LiveSettings(Settings(**settings))
        self.directory = PlayedPools().directory
        self.directory.open("us", [Ip(uuid4(), "198.51.100.1", "7000", "us", "luna")])
        self.dispatcher = Dispatcher(self.directory, self.journal, send, self.live, now)
        self.clicks = Clicks(self.offers, self.dispatcher, self.journal, now, self.live, draw)
        self.offer()

    def offer(self, name: str = "sale", **values: Any) -> None:
        row = {
            "id": uuid4(),
            "offer_name": name,
            "final_url": TRACKING,
            "target_country": "us",
            "deadline_s": None,
            "user_agent": "default",
            "landing_schemes": [],
        }
        self.offers.replace([{**row, **values}])

    async def click(
        self, query: bytes = b"offer=sale&gclid=7", visitor: Visitor = VISITOR, waited_s: float = 0.0
    ) -> Answer:
        return await self.clicks.answer(query, visitor, waited_s)

    @property
    def hit(self) -> Hit:
        [hit] = of_kind(Hit, self.journal.entries)
        return hit


Worker = Callable[[TraceJob], Awaitable[None]]


@asynccontextmanager
async def served_by(face: Face, worker: Worker) -> AsyncIterator[None]:
    async def work() -> None:
        async for job in face.jobs:
            nursery.start_soon(worker, job)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        yield
        nursery.cancel_scope.cancel()


def lands_at(url: str, after_s: float = 1.0) -> Worker:
    async def worker(job: TraceJob) -> None:
        job.listener.send_nowait(WaitingForIp())
        job.listener.send_nowait(Started("198.51.100.1"))
        await trio.sleep(after_s)
        try:
            job.listener.send_nowait(Finished(url, None))
        except trio.BrokenResourceError:
            return  # the visitor has its answer already

    return worker


async def hears_only(job: TraceJob) -> None:
    """Receives the job and gets no IP."""
    job.listener.send_nowait(WaitingForIp())


async def starts_only(job: TraceJob) -> None:
    job.listener.send_nowait(WaitingForIp())
    job.listener.send_nowait(Started("198.51.100.1"))


async def ends_without(job: TraceJob, reason: str) -> None:
    job.listener.send_nowait(WaitingForIp())
    await trio.sleep(0.5)
    job.listener.send_nowait(Finished(None, reason))


FALLBACK = "https://ads.example/go?c=1&gclid=7"
