"""A PoolDirectory without actors: the test decides in their place, or starts one."""

from collections.abc import Callable
from typing import Any

import trio

from daemon.clock import Moment
from daemon.journal.entries import Recorder
from daemon.pool.actor import PoolActor, Publish
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Decision, Message
from daemon.pool.pool import Pool
from daemon.pool.states import Rules
from tests.fakes.asked import clocks


class PlayedPools:
    """The directory, and the newest country's `pool`, `mailbox` and `publish`."""

    def __init__(self, rules: Rules | None = None) -> None:
        rules = rules or Rules()
        self.directory = PoolDirectory(lambda country: Pool(country, rules), self._take, clocks)
        self.pool: Pool
        self.mailbox: trio.MemoryReceiveChannel[Message]
        self.publish: Publish

    def _take(self, pool: Pool, mailbox: "trio.MemoryReceiveChannel[Message]", publish: Publish) -> None:
        self.pool, self.mailbox, self.publish = pool, mailbox, publish

    def decide(self, message: Message, now: Moment) -> None:
        """Decides like an actor, without answers."""
        self.pool.decide(message, now, Decision())
        self.publish(self.pool, self.pool.view())

    def actor(self, journal: Recorder, now: Callable[[], Moment], **options: Any) -> PoolActor:
        return PoolActor(self.pool, self.mailbox, journal, now, publish=self.publish, **options)
