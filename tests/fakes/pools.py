"""A pool directory without actors: the test does their work, or starts one."""

from collections.abc import Callable
from typing import Any

import trio

from daemon.clock import Moment
from daemon.pool.actor import Journal, PoolActor, Publish
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Decision, Message
from daemon.pool.pool import Pool
from daemon.pool.states import Rules


class PlayedPools:
    """The directory, and `pool`, `mailbox` and `publish` of the country that was opened last."""

    def __init__(self, rules: Rules | None = None) -> None:
        rules = rules or Rules()
        self.directory = PoolDirectory(lambda country: Pool(country, rules), self._take)
        self.pool: Pool
        self.mailbox: trio.MemoryReceiveChannel[Message]
        self.publish: Publish

    def _take(self, pool: Pool, mailbox: "trio.MemoryReceiveChannel[Message]", publish: Publish) -> None:
        self.pool, self.mailbox, self.publish = pool, mailbox, publish

    def decide(self, message: Message, now: Moment) -> None:
        """Let the pool decide on a message and publish the view, as an actor does."""
        self.pool.decide(message, now, Decision())
        self.publish(self.pool, self.pool.view())

    def actor(self, journal: Journal, now: Callable[[], Moment], **options: Any) -> PoolActor:
        return PoolActor(self.pool, self.mailbox, journal, now, publish=self.publish, **options)
