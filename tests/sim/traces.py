"""A click and its trace: an attempt of some requests through a leased IP, within the lease."""

from typing import TYPE_CHECKING
from uuid import UUID

from daemon.pool.messages import Lease, NoIPAvailable
from daemon.pool.states import Event
from tests.sim.loop import Task

if TYPE_CHECKING:
    from tests.sim.node import Run

ATTEMPTS_MAX = 2
IP_FAULT_SHARE, TARGET_FAULT_SHARE = 0.02, 0.05
LEASE_MARGIN_S = 0.5


class Trace:
    """Receives the pool's answers as the reply of its request."""

    def __init__(self, run: "Run", number: int, country: str, deadline_s: float) -> None:
        self._run, self.number, self._country, self.deadline_s = run, number, country, deadline_s
        self.tried: set[UUID] = set()
        self._is_answered = False

    def answer(self, outcome: str) -> None:
        """The visitor is sent on, once."""
        if not self._is_answered:
            self._is_answered = True
            self._run.world.checker.answered(self.number, self._run.loop.now_s, outcome)

    def send_nowait(self, answer: Lease | NoIPAvailable) -> None:
        if isinstance(answer, NoIPAvailable):
            self.answer("untrusted" if answer.why == "untrusted" else "no_ip")
            self._finish()
        else:
            self._run.spawn(self._attempt(answer))

    def _attempt(self, lease: Lease) -> Task:
        run, chance = self._run, self._run.world.chance
        self.tried.add(lease.ip_id)
        event = Event.RELEASED_OK
        for _ in range(run.world.hops):
            left_s = min(lease.ends_boot_s - run.boot() - LEASE_MARGIN_S, lease.locked_until_s - run.tick())
            if left_s <= 0:  # trace/wire/session.py: no byte after the end of the lease
                event = Event.RELEASED_TARGET_AT_FAULT
                break
            length_s = min(left_s, run.world.hop_s * chance.uniform(0.5, 1.5))
            now_s, key = run.loop.now_s, f"{self.number}/{len(self.tried)}"
            run.world.checker.request(lease.endpoint, run.name, key, now_s, now_s + length_s, run.rules.cooldown_s)
            yield length_s
            luck = chance.random()
            if luck < IP_FAULT_SHARE:
                event = Event.RELEASED_IP_AT_FAULT
                break
            if luck < IP_FAULT_SHARE + TARGET_FAULT_SHARE:
                event = Event.RELEASED_TARGET_AT_FAULT
                break
        run.release(self._country, lease, event)
        again = event is Event.RELEASED_IP_AT_FAULT and len(self.tried) < ATTEMPTS_MAX
        if again and self.deadline_s > run.tick():
            run.acquire(self._country, self)
            return
        self.answer("resolved" if event is Event.RELEASED_OK else "failed")
        self._finish()

    def _finish(self) -> None:
        self._run.record("facts", self.number)
