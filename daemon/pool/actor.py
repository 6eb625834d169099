"""The actor around one country's Pool. Its loop: drain a batch, decide, journal, answer, publish a view.

A lease is answered when its entries are durable; other entries are recorded without waiting. No await between taking a
message and the end of the decision. After a crash `start_over` reloads the rows; the next `run` begins with the
messages that were left unfinished.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
import trio

from daemon.clock import Moment
from daemon.journal.entries import IpChanged, Recorder
from daemon.pool.messages import (
    Adopt,
    CountOverdue,
    Decision,
    Describe,
    Lease,
    Message,
    NoIPAvailable,
    Ping,
    PoolView,
    Release,
    Remove,
    Reply,
    StartOver,
)
from daemon.pool.pool import Pool
from daemon.pool.rows import described
from daemon.pool.states import Event

BATCH_MAX = 256
TIMERS_EACH_S = 0.1  # while no request waits: a new request fires due timers itself, so this only delays rows

Publish = Callable[[Pool, PoolView], None]
T = TypeVar("T")

log = structlog.get_logger("daemon.pool")


@dataclass(eq=False, repr=False)
class PoolActor:
    """`may_lease` is called before each decision: False refuses all requests.

    `spared(provider, country, now)` is called for each IP that cools down instead of failing. `publish` is called after
    each batch.
    """

    pool: Pool
    _mailbox: "trio.MemoryReceiveChannel[Message]"
    _journal: Recorder
    _now: Callable[[], Moment]
    may_lease: Callable[[], bool] = lambda: True
    spared: Callable[[str, str, Moment], None] = lambda provider, country, now: None
    publish: Publish = lambda pool, view: None
    _batch: list[Message] = field(default_factory=list, init=False)
    _at: int = field(default=-1, init=False)  # index of the message that is being decided
    _decision: Decision = field(default_factory=Decision, init=False)

    def __repr__(self) -> str:
        return f"<PoolActor {self.pool!r}>"

    def unfinished(self) -> list[Message]:
        """After a crash: the messages that have no answer, without the one whose decision raised."""
        poison = self._batch[self._at] if self._at >= 0 else None
        taken = [*self.pool.waiting, *(request for request, _ in self._decision.answers), *self._batch]
        return [message for message in {id(m): m for m in taken}.values() if message is not poison]

    async def run(self, first: list[Message]) -> list[StartOver]:
        """Handles `first`, then the mailbox. Returns the StartOver messages of a batch; none: the mailbox is closed."""
        batch = first
        try:
            while True:
                await self._handle(batch)
                if start_over := [message for message in batch if isinstance(message, StartOver)]:
                    self.publish(self.pool, self.pool.view(starts_over=True))
                    return start_over
                try:
                    batch = await self._next_batch()
                except trio.EndOfChannel:
                    return []
        except Exception:
            self.publish(self.pool, self.pool.view(starts_over=True))
            raise

    def start_over(self, rows: Adopt) -> list[Message]:
        """Reloads the pool from its current rows. Returns the messages that `run` must handle first (`unfinished`)."""
        unfinished = self.unfinished()
        undone = {entry.id for entry in self._decision.entries if isinstance(entry, IpChanged)}
        self.pool = self.pool.reloaded(rows, self._now(), undone)
        self.publish(self.pool, self.pool.view())
        return unfinished

    async def _next_batch(self) -> list[Message]:
        """At least one message, or none if a timer is due."""
        batch: list[Message] = []
        due_s = self.pool.next_due_s()
        if due_s is not None and not self.pool.waiting:
            due_s = (due_s // TIMERS_EACH_S + 1) * TIMERS_EACH_S
        with trio.move_on_at(math.inf if due_s is None else due_s):
            batch.append(await self._mailbox.receive())
        while len(batch) < BATCH_MAX:
            try:
                batch.append(self._mailbox.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return batch

    async def _handle(self, batch: list[Message]) -> None:
        while True:
            self._batch, self._at, self._decision = batch, -1, Decision(may_lease=self.may_lease())
            decision, now = self._decision, self._now()
            self.pool.fire_timers(now, decision)
            for self._at, message in enumerate(batch):
                self.pool.decide(message, now, decision)
                match message:
                    case Remove() | Ping():
                        message.done()
                    case Describe():
                        _send(message.reply, described(message, self.pool.ips, self.pool.quarantine.ids))
                    case CountOverdue():
                        _send(message.reply, decision.overdue)
            self._at = -1
            for remark in decision.remarks:
                log.warning("lease_lost", country=self.pool.country, why=remark)
            if cut := self.pool.rests.take_cut():
                log.warning("rests_cut", ips=cut, effect="they rest for pool.lock_s + pool.cooldown_s at most",
                            why="by their rows a lock or a cooldown would last longer than is possible: the system's"
                            " clock was set back, or the rows were edited")  # fmt: skip
            for provider in decision.spared:
                self.spared(provider, self.pool.country, now)
            durable = True
            if decision.grants:
                durable = await self._journal.durable(*decision.entries)
            else:
                self._journal.record(*decision.entries)
            batch = self._answer(decision, durable)
            self.publish(self.pool, self.pool.view())
            if not batch:
                break
        self._batch, self._decision = [], Decision()

    def _answer(self, decision: Decision, durable: bool) -> list[Message]:
        """Sends the answers. Returns releases for the leases that no requester took, or that are not durable."""
        releases: list[Message] = []
        for request, answer in decision.answers:
            lease = answer if isinstance(answer, Lease) else None
            try:
                request.reply.send_nowait(answer if durable or not lease else NoIPAvailable(None, "journal"))
                taken = durable
            except (trio.BrokenResourceError, trio.WouldBlock):  # the requester left, or has an answer already
                log.debug("requester_left", request_id=str(request.request_id), lease=repr(lease))
                taken = False
            if lease and not taken:
                releases.append(Release(lease.ip_id, lease.lease_no, Event.RELEASED_TARGET_AT_FAULT))
        return releases


def _send(reply: Reply[T], value: T) -> None:
    with suppress(trio.BrokenResourceError, trio.WouldBlock):  # the requester left, or has the answer since a crash
        reply.send_nowait(value)
