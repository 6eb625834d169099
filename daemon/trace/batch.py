"""Traces that nobody waits for: they use an IP only while their country's pool has IPs to spare.

Their rows are the queue, so that they survive a restart: what was under way then begins anew. A click never waits for
one of them: none begins that would bring a country's utilisation to `pool.batch_below_percent`, and at most half of the
workers have one.
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
import trio

from daemon.clock import Moment
from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import Recorder, TraceFinished
from daemon.pool.messages import Counts
from daemon.settings.live import LiveSettings
from daemon.trace.dispatch import Dispatcher, JobRequest
from daemon.trace.jobs import Finished, News, Started
from daemon.troubles import Troubles

CHANNEL = "tracepool_traces"
TICK_S = 1.0  # while rows wait for IPs
PAUSE_S = 0.1  # between two looks, however often rows are announced
CHECK_S = 15.0  # an announcement that was lost is made up for
RETRY_S = 2.0
WORKERS_SHARE = 0.5
FILLING = "beginning batch traces"
REFUSED_AT_ONCE = 500

log = structlog.get_logger("daemon.trace")


def room(counts: Counts, beginning: int, below_percent: float) -> int:
    """How many more traces may begin in a country where `beginning` have no IP yet. Pure.

    The last of them leaves the utilisation, (locked + cooldown) / healthy, below `below_percent`.
    """
    healthy = counts.total - counts.failed
    used = counts.locked + counts.cooldown + beginning
    most = math.ceil(healthy * below_percent / 100) - 1
    return max(0, min(most - used, counts.available - beginning)) if not counts.waiting else 0


class Batch:
    """`under_way` traces have been given to a worker. `flush` returns once the rows have all that is journaled."""

    def __init__(
        self,
        database: Database,
        dispatcher: Dispatcher,
        journal: Recorder,
        flush: Callable[[], Awaitable[None]],
        live: LiveSettings,
        now: Callable[[], Moment],
        troubles: Troubles,
    ) -> None:
        self._database = database
        self._troubles = troubles
        self._dispatcher = dispatcher
        self._journal = journal
        self._flush = flush
        self._live = live
        self._now = now
        self._wake = trio.Event()
        self._anew = False  # what an earlier run of the daemon had under way
        self.beginning: Counter[str] = Counter()  # by country: those without an IP yet
        self.under_way: set[UUID] = set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; while PostgreSQL is away the rows wait."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            while True:
                self._wake = trio.Event()
                try:
                    more = await self._fill()
                    self._troubles.over(FILLING)
                except DatabaseUnavailable as e:
                    self._troubles.note(FILLING, e, effect="batch traces wait; clicks go on")
                    more = True
                with trio.move_on_after(TICK_S if more else CHECK_S):
                    await self._wake.wait()
                await trio.sleep(PAUSE_S)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._database.listen(CHANNEL) as announcements:
                    self.wake()
                    while True:
                        with trio.move_on_after(CHECK_S) as silence:
                            await announcements.received.receive()
                            self.wake()
                        if silence.cancelled_caught:
                            await announcements.connection.execute("select 1")
            except (DatabaseUnavailable, trio.EndOfChannel) as e:
                log.debug("batch_listens_again", why=str(e))
                await trio.sleep(RETRY_S)

    async def _fill(self) -> bool:
        """Begins what may begin now; True where more waits for it."""
        await self._flush()
        if not self._anew:
            await self._database.fetch("restart_batch_traces")
            self._anew = True
        more = False
        for row in await self._database.fetch("batch_countries"):
            more |= await self._fill_from(row["target_country"])
        return more

    async def _fill_from(self, country: str) -> bool:
        settings = self._live.current
        post = self._dispatcher.pool_of(country)
        if post is None:
            return await self._refuse(country)
        free = room(post.view.counts, self.beginning[post.country], settings.pool.batch_below_percent)
        workers = math.ceil(settings.trace.workers * WORKERS_SHARE) - len(self.under_way)
        most = min(free, workers)
        if most <= 0:
            return True
        rows = await self._database.fetch("next_batch_traces", country, list(self.under_way), most)
        for row in rows:
            listener = _BatchListener(self, row["request_id"], post.country)
            request = JobRequest(row["request_id"], row["tracking_url"], country, self._now())
            if not self._dispatcher.dispatch_batch(request, post, listener):
                return True
            self.under_way.add(row["request_id"])
            self.beginning[post.country] += 1
        return len(rows) == most

    async def _refuse(self, country: str) -> bool:
        """A country without IPs: its traces end, as a click for it falls back."""
        now = self._now()
        rows = await self._database.fetch("next_batch_traces", country, list(self.under_way), REFUSED_AT_ONCE)
        why = f"no pool: there is no IP in {country}, and trace.default_country names no other"
        for row in rows:
            self._journal.record(
                TraceFinished(
                    row["request_id"], "failed", now.wall_s, None, {}, (), why, None, 0, 0, 0, reason="no_pool"
                )
            )
        return len(rows) == REFUSED_AT_ONCE

    def began(self, country: str) -> None:
        self.beginning[country] -= 1

    def ended(self, request_id: UUID) -> None:
        self.under_way.discard(request_id)
        self.wake()


class _BatchListener:
    """Receives what happens to one trace of the batch lane."""

    __slots__ = ("_batch", "_country", "_has_ip", "_request_id")

    def __init__(self, batch: Batch, request_id: UUID, country: str) -> None:
        self._batch = batch
        self._request_id = request_id
        self._country = country
        self._has_ip = False

    def send_nowait(self, value: News, /) -> None:
        if isinstance(value, Started | Finished) and not self._has_ip:
            self._has_ip = True
            self._batch.began(self._country)
        if isinstance(value, Finished):
            self._batch.ended(self._request_id)
