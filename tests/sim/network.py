"""The way from each node to PostgreSQL: delays, refused connections, lost and late packets."""

from collections.abc import Callable
from random import Random
from typing import Any

from tests.sim.loop import Call, Loop, Refused, Unavailable

OK, REFUSED, HOLE, SLOW = "ok", "refused", "black hole", "slow"
REFUSED_S = 0.002
SLOW_S, STALL_SHARE, STALL_MAX_S = 0.2, 0.05, 30.0
LATE_SHARE = 0.5  # of the packets into a black hole: they arrive when it ends

Answer = Callable[[Any, Exception | None], None]


class Link:
    """One node's way to PostgreSQL. `mode`: OK, REFUSED, HOLE or SLOW."""

    def __init__(self, loop: Loop, chance: Random) -> None:
        self._loop = loop
        self._chance = chance
        self.mode = OK
        self._held: list[Callable[[], None]] = []

    def set(self, mode: str) -> None:
        self.mode = mode
        if mode in (OK, SLOW):
            held, self._held = self._held, []
            for packet in held:
                self.pass_on(packet)

    def pass_on(self, packet: Callable[[], None]) -> None:
        """Delivers a packet later, or never."""
        chance = self._chance
        if self.mode in (HOLE, REFUSED):
            if chance.random() < LATE_SHARE:
                self._held.append(packet)
            return
        pause_s = chance.uniform(0.0003, 0.002)
        if self.mode == SLOW:
            pause_s = chance.uniform(1.0, STALL_MAX_S) if chance.random() < STALL_SHARE else SLOW_S
        self._loop.after(pause_s, packet)

    def call(self, call: Call, answer: Answer, later: Callable[[float, Callable[[], None]], None]) -> None:
        """Runs a transaction at the database; `answer` gets its result. `later` is the caller's own timer."""
        if self.mode == REFUSED:
            later(REFUSED_S, lambda: answer(None, Unavailable()))
            return
        open_ = [True]

        def answered(value: Any, error: Exception | None) -> None:
            if open_:
                open_.clear()
                answer(value, error)

        def arrived() -> None:
            value, error = None, None
            try:
                value = call.work()
            except Refused as e:
                error = e
            self.pass_on(lambda: later(0.0, lambda: answered(value, error)))

        self.pass_on(arrived)
        later(call.timeout_s, lambda: answered(None, Unavailable()))
