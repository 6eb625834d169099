"""Requests for an IP with the channel for their answer, on trio's clock."""

from uuid import uuid4

import trio

from daemon.clock import Moment
from daemon.pool.messages import Acquire, Lease, NoIPAvailable
from tests.fakes.ips import WALL_S


def clocks() -> Moment:
    return Moment(trio.current_time(), WALL_S + trio.current_time())


class Asked:
    """A request, and the receive end for its answer."""

    def __init__(self, patience_s: float = 1e6, priority: int = 0) -> None:
        self.send, self.receive = trio.open_memory_channel[Lease | NoIPAvailable](1)
        self.message = Acquire(uuid4(), trio.current_time() + patience_s, self.send, priority)

    async def lease(self) -> Lease:
        answer = await self.receive.receive()
        assert isinstance(answer, Lease)
        return answer

    async def refusal(self) -> NoIPAvailable:
        answer = await self.receive.receive()
        assert isinstance(answer, NoIPAvailable)
        return answer

    @property
    def answered(self) -> bool:
        return self.receive.statistics().current_buffer_used > 0
