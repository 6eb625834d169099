"""The own time of a page that a tab shows: its timers see it, and it passes in steps that the browser is told. Pure.

Frames, disks, and the browser's other processes have real time alone. A page that waits for one of them often has a
timer besides, which leads elsewhere: a timer must not come before what takes less time in reality. So the page's time
passes as fast as real time at first. Then it passes faster, by a share of what has passed already, because of two times
of which one is much longer, the order stays. While a worker may answer, it passes as fast as real time again.
"""

FIRST_MS = 150.0  # so long it passes as fast as real time
WORKER_S = 3.0  # so long too, from the start of a worker or a WebSocket
STEP_S = 0.025  # of real time for each step
GROWTH = 0.4  # a later step, as a share of the time that has passed
MARGIN_MS, END_MS = 250.0, 50.0  # after refresh_max_s, for what is due then; and, in short steps, for what follows


class PageTime:
    """`refresh_max_s`: as long as a page may wait before it jumps. `now`: seconds of one clock."""

    def __init__(self, refresh_max_s: float) -> None:
        self.whole_ms = refresh_max_s * 1000 + MARGIN_MS
        self.begin()

    def begin(self) -> None:
        """A page is shown."""
        self._passed_ms = self._waits_until = 0.0

    def begin_worker(self, now: float) -> None:
        self._waits_until = now + WORKER_S

    def step_ms(self, now: float) -> float:
        """What passes next."""
        step_ms = STEP_S * 1000
        if FIRST_MS <= self._passed_ms < self.whole_ms and now >= self._waits_until:
            step_ms = min(self._passed_ms * GROWTH, self.whole_ms - self._passed_ms)
        self._passed_ms += step_ms
        return step_ms

    def is_over(self, now: float) -> bool:
        return self._passed_ms >= self.whole_ms + END_MS and now >= self._waits_until
