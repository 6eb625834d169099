"""Which country's pool has which mailbox. The supervisor starts an actor for each country that `open` names first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import trio

from daemon.config import Settings
from daemon.moment import Moment
from daemon.pool.countries import canonical
from daemon.pool.messages import Counts, Message
from daemon.pool.pool import Pool
from daemon.pool.rows import Endpoint
from daemon.pool.states import Ip, Rules

MAILBOX_MAX = 10_000


@dataclass(slots=True)
class PoolHandle:
    """A country's mailbox and the pool behind it; the actor replaces `pool` when it starts over from the rows.

    `starts_over`: it waits for them now, and takes no message.
    """

    country: str
    mailbox: trio.MemorySendChannel[Message]
    receive: trio.MemoryReceiveChannel[Message]
    pool: Pool
    starts_over: bool = False


def rules_of(settings: Settings) -> Rules:
    pool = settings.pool
    return Rules(pool.lock_s, pool.cooldown_s, pool.failures_max, pool.waiting_max, pool.selection == "fastest")


class PoolDirectory:
    """`start_actor` is called once for each new country, with the IPs that it begins with."""

    def __init__(self, new_pool: Callable[[str], Pool], start_actor: Callable[[PoolHandle], None]) -> None:
        self._new_pool = new_pool
        self._start_actor = start_actor
        self._posts: dict[str, PoolHandle] = {}

    def __iter__(self) -> Iterator[PoolHandle]:
        return iter(list(self._posts.values()))

    def find(self, country: str) -> PoolHandle | None:
        """The post of a country whose pool has at least one IP."""
        post = self._posts.get(canonical(country))
        return post if post and post.pool.ips else None

    def known(self, country: str) -> PoolHandle | None:
        return self._posts.get(canonical(country))

    def has(self, endpoint: Endpoint) -> bool:
        """Whether an IP of any country has this address (in lower case, without brackets) and port."""
        ips = (ip for post in self for ip in post.pool.ips.values())
        return any((ip.address.strip().strip("[]").lower(), ip.port.strip()) == endpoint for ip in ips)

    def open(self, country: str, ips: list[Ip]) -> PoolHandle:
        """A new country, with its first IPs."""
        key = canonical(country)
        send, receive = trio.open_memory_channel[Message](MAILBOX_MAX)
        pool = self._new_pool(key)
        pool.load(ips)
        post = self._posts[key] = PoolHandle(key, send, receive, pool)
        self._start_actor(post)
        return post

    def use(self, settings: Settings) -> None:
        """New rules for what happens from now on; a lock or a rest that has begun keeps its end."""
        for post in self:
            post.pool.rules = rules_of(settings)

    def counts(self) -> dict[str, Counts]:
        return {post.country: post.pool.counts() for post in self}

    def overdue(self, now: Moment) -> int:
        return sum(post.pool.overdue(now) for post in self)

    def close(self) -> None:
        """No more messages: the actors end once they have handled what was sent."""
        for post in self:
            post.mailbox.close()
