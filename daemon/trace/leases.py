"""A lease from a country's pool, and back to it. Whoever has one gives it back, however its use ends."""

from uuid import UUID

import structlog
import trio

from daemon.oneshot import OneShot
from daemon.pool.directory import PoolHandle
from daemon.pool.messages import Acquire, Lease, Message, NoIPAvailable, Release
from daemon.pool.states import Event

RELEASE_S = 5.0
ANSWER_LATE_S = 1.0  # how long after the deadline a pool's answer is waited for: it knows the deadline itself

log = structlog.get_logger("daemon.trace")


async def acquire(
    post: PoolHandle,
    request_id: UUID,
    deadline_s: float,
    *,
    priority: int = 0,
    ip_id: UUID | None = None,
    tried: frozenset[UUID] = frozenset(),
) -> Lease | NoIPAvailable:
    """What the pool answers until `deadline_s`; messages.Acquire says what the rest means."""
    reply: OneShot[Lease | NoIPAvailable] = OneShot()
    with reply:  # closed on the way out: then the actor takes back a lease that nobody received
        try:
            with trio.move_on_at(deadline_s + ANSWER_LATE_S):
                message = Acquire(request_id, deadline_s, reply, priority, ip_id, tried)
                if not _put(post, message):
                    await post.mailbox.send(message)
                return await reply.receive()
        except trio.Cancelled:
            await _hand_back(post, reply)
            raise
        await _hand_back(post, reply)
        return NoIPAvailable(None, "deadline")


async def _hand_back(post: PoolHandle, reply: OneShot[Lease | NoIPAvailable]) -> None:
    """A lease that came in the instant in which we stopped waiting for it."""
    try:
        answer = reply.receive_nowait()
    except trio.WouldBlock:
        return
    if isinstance(answer, Lease):
        await release(post, Release(answer.ip_id, answer.lease_no, Event.RELEASED_TARGET_AT_FAULT))


async def release(post: PoolHandle, message: Release) -> None:
    """Gives a lease back, within RELEASE_S, through a cancel too."""
    if _put(post, message):
        return
    with trio.move_on_after(RELEASE_S, shield=True) as scope:
        await post.mailbox.send(message)
    if scope.cancelled_caught:
        log.error("release_lost", ip_id=str(message.ip_id), effect="the IP rests when its lock runs out")


def _put(post: PoolHandle, message: Message) -> bool:
    """Puts `message` into the mailbox without a wait, as is nearly always possible."""
    try:
        post.mailbox.send_nowait(message)
    except trio.WouldBlock:
        return False
    return True
