"""Acquires a lease from a country's pool and releases it. The holder releases a lease however its use ends."""

from uuid import UUID

import structlog
import trio

from daemon.oneshot import OneShot
from daemon.pool.directory import PoolHandle
from daemon.pool.messages import Acquire, Lease, Message, NoIPAvailable, Release
from daemon.pool.states import Event

RELEASE_S = 5.0
ANSWER_LATE_S = 1.0  # after the deadline, for the pool's answer: the pool applies the deadline itself

log = structlog.get_logger("daemon.trace")


async def acquire(
    pool: PoolHandle,
    request_id: UUID,
    deadline_s: float,
    *,
    priority: int = 0,
    ip_id: UUID | None = None,
    tried: frozenset[UUID] = frozenset(),
) -> Lease | NoIPAvailable:
    """The pool's answer by `deadline_s`; see messages.Acquire for the other arguments."""
    reply: OneShot[Lease | NoIPAvailable] = OneShot()
    with reply:  # closed at the end: the actor then takes back a lease that was not received
        try:
            with trio.move_on_at(deadline_s + ANSWER_LATE_S):
                message = Acquire(request_id, deadline_s, reply, priority, ip_id, tried)
                if not _put(pool, message):
                    await pool.mailbox.send(message)
                return await reply.receive()
        except trio.Cancelled:
            await _hand_back(pool, reply)
            raise
        await _hand_back(pool, reply)
        return NoIPAvailable(None, "deadline")


async def _hand_back(pool: PoolHandle, reply: OneShot[Lease | NoIPAvailable]) -> None:
    """Releases a lease that arrived just as the wait for it ended."""
    try:
        answer = reply.receive_nowait()
    except trio.WouldBlock:
        return
    if isinstance(answer, Lease):
        await release(pool, Release(answer.ip_id, answer.lease_no, Event.RELEASED_TARGET_AT_FAULT))


async def release(pool: PoolHandle, message: Release) -> None:
    """Releases a lease within RELEASE_S, even if the task is cancelled."""
    if _put(pool, message):
        return
    with trio.move_on_after(RELEASE_S, shield=True) as scope:
        await pool.mailbox.send(message)
    if scope.cancelled_caught:
        log.error("release_lost", ip_id=str(message.ip_id), effect="the IP goes into cooldown when its lock expires")


def _put(pool: PoolHandle, message: Message) -> bool:
    """Puts `message` into the mailbox without waiting; False if the mailbox is full."""
    try:
        pool.mailbox.send_nowait(message)
    except trio.WouldBlock:
        return False
    return True
