"""Each country's mailbox and what others see of its pool. `PoolDirectory.open` starts an actor for a new country."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import trio

from daemon.clock import Moment
from daemon.countries import canonical
from daemon.errors import PoolSilent
from daemon.oneshot import OneShot
from daemon.pool.actor import Publish
from daemon.pool.messages import Adopt, CountOverdue, Counts, Describe, IpView, Message, PoolView, SetRules, StartOver
from daemon.pool.pool import Pool
from daemon.pool.states import Endpoint, Ip, Rules
from daemon.settings.model import Settings

T = TypeVar("T")
MAILBOX_MAX = 10_000
ANSWER_S = 2.0  # an actor does not answer while it waits for the disk or for rows

StartActor = Callable[[Pool, "trio.MemoryReceiveChannel[Message]", Publish], None]


class PoolHandle:
    """A country's pool for other tasks than its actor: its mailbox, and the `view` that the actor published last.

    `turned_away`: requests that were refused by `turns_away` and not sent to the actor.
    """

    __slots__ = ("_begins_to_wait", "_pool", "_unsent", "country", "mailbox", "turned_away", "view")

    def __init__(
        self, mailbox: "trio.MemorySendChannel[Message]", pool: Pool, begins_to_wait: Callable[[], None] = lambda: None
    ) -> None:
        self.country = pool.country
        self.mailbox = mailbox
        self.view = pool.view()
        self._pool = pool
        self.turned_away = 0
        self._begins_to_wait = begins_to_wait
        self._unsent: Rules | None = None  # the mailbox was full

    def __repr__(self) -> str:
        return f"<PoolHandle {self.country}: {self.view.counts}>"

    def publish(self, pool: Pool, view: PoolView) -> None:
        """Only for the actor."""
        if view.counts.waiting > self.view.counts.waiting == 0:
            self._begins_to_wait()
        self._pool, self.view = pool, view
        if self._unsent is not None:
            self.set_rules(self._unsent)

    def set_rules(self, rules: Rules) -> None:
        """Sends SetRules; if the mailbox is full, after the actor's next batch."""
        self._unsent = None
        try:
            self.mailbox.send_nowait(SetRules(rules))
        except trio.WouldBlock:
            self._unsent = rules
        except trio.ClosedResourceError:
            return  # the daemon stops

    def turns_away(self, deadline_s: float, now_s: float) -> str | None:
        """Why a request is refused at once; None if it may be sent. See Pool.would_refuse.

        This is the only read of a pool outside of its actor's task. So a click that gets no IP is answered at once,
        even while the actor waits for the disk.
        """
        why = self._pool.would_refuse(deadline_s, now_s)
        self.turned_away += why is not None
        return why

    async def describe(
        self,
        *,
        start: int = 0,
        count: int | None = None,
        unhealthy: bool = False,
        endpoint: Endpoint | None = None,
        ids: frozenset[UUID] | None = None,
    ) -> tuple[IpView, ...]:
        """Copies of IPs, see messages.Describe. Raises PoolSilent."""
        reply: OneShot[tuple[IpView, ...]] = OneShot()
        return await self._request(Describe(reply, start, count, unhealthy, endpoint, ids), reply)

    async def overdue(self) -> int:
        """See messages.CountOverdue. Raises PoolSilent."""
        reply: OneShot[int] = OneShot()
        return await self._request(CountOverdue(reply), reply)

    async def _request(self, message: Describe | CountOverdue, reply: OneShot[T]) -> T:
        with reply, trio.move_on_after(ANSWER_S), suppress(trio.ClosedResourceError):
            await self.mailbox.send(message)
            return await reply.receive()
        raise PoolSilent(
            f"the pool of {self.country} does not answer: its actor waits for the disk or the database, or ends"
        )


def rules_of(settings: Settings) -> Rules:
    pool = settings.pool
    return Rules(pool.lock_s, pool.cooldown_s, pool.failures_max, pool.waiting_max, pool.selection == "fastest")


@dataclass(eq=False, repr=False)
class PoolDirectory:
    """`_start_actor` is called once for each new country, with its pool of the first IPs."""

    _new_pool: Callable[[str], Pool]
    _start_actor: StartActor
    _now: Callable[[], Moment]
    _handles: dict[str, PoolHandle] = field(default_factory=dict, init=False)
    _on_wait: Callable[[], None] = field(default_factory=lambda: lambda: None, init=False)

    def __iter__(self) -> Iterator[PoolHandle]:
        return iter(list(self._handles.values()))

    def find(self, country: str) -> PoolHandle | None:
        """The handle of a country of which this node or another one has at least one IP."""
        handle = self._handles.get(canonical(country))
        return handle if handle and handle.view.country_counts.total else None

    def known(self, country: str) -> PoolHandle | None:
        return self._handles.get(canonical(country))

    async def has(self, endpoint: Endpoint) -> bool:
        """Whether an IP of any country has this endpoint.

        Raises PoolSilent.
        """
        return any([await handle.describe(endpoint=endpoint, count=1) for handle in self])

    def open(self, country: str, ips: Iterable[Ip], term: int = 0, rests_s: float = 0.0) -> PoolHandle:
        """A new country, with its first IPs. `term`, `rests_s`: see messages.Adopt."""
        send, receive = trio.open_memory_channel[Message](MAILBOX_MAX)
        pool = self._new_pool(canonical(country))
        pool.load_rows(ips, self._now(), term, rests_s)
        handle = self._handles[pool.country] = PoolHandle(send, pool, self._request_waits)
        self._start_actor(pool, receive, handle.publish)
        return handle

    def on_wait(self, call: Callable[[], None]) -> None:
        """`call` is called when a request waits in a pool where none has waited."""
        self._on_wait = call

    def _request_waits(self) -> None:
        self._on_wait()

    def use(self, settings: Settings) -> None:
        """Sends the new rules to each actor, see messages.SetRules."""
        for handle in self:
            handle.set_rules(rules_of(settings))

    async def recheck_requests(self) -> None:
        """Makes each actor examine its waiting requests, after a change of whether the node may lease."""
        for handle in self:
            with suppress(trio.ClosedResourceError):  # the daemon stops
                await handle.mailbox.send(Adopt(()))  # after each message an actor examines its requests

    async def start_over(self) -> None:
        """Returns when each actor has reloaded its pool from the rows."""
        done = []
        for handle in self:
            done.append(trio.Event())
            await handle.mailbox.send(StartOver(done[-1].set))
        for event in done:
            await event.wait()

    def counts(self) -> dict[str, Counts]:
        return {handle.country: handle.view.counts for handle in self}

    async def overdue(self) -> int:
        """How many locks and rests a failed timer has missed, see messages.CountOverdue."""
        count = 0
        for handle in self:
            with suppress(PoolSilent):  # the actor waits for the disk or for rows: no timer failed
                count += await handle.overdue()
        return count

    def close(self) -> None:
        """Closes the mailboxes: the actors end after the messages that were sent."""
        for handle in self:
            handle.mailbox.close()
