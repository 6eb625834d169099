"""The virtual clock of a page in a tab. The page's timers run by this clock, which the browser advances in steps. Pure.

Frames, disks, and the browser's other processes run in real time only. A page that waits for one of them often has a
fallback timer, which leads elsewhere. A timer must not fire before an event that takes less time in reality. So the
clock runs as fast as real time at first. Each later step is a share of the time that has passed: of two delays of which
one is much longer, the shorter one still ends first. While a worker may answer, the clock runs as fast as real time.

Animations and transitions have real time too, but the browser can be told how much of one has passed. So one ends when
as much of the page's time has passed as it takes, and its last moment passes in real time.

The time stands still while the page waits for the network, because the leased IP is slower than a visitor's own. After
PATIENCE_S it passes as fast as real time, until a step ends by itself: some answers never come. These steps are long,
so that one ends by itself on a busy machine too.
"""

from daemon.trace.browser.protocol_types import Params

FIRST_MS = 150.0  # so long it passes as fast as real time
WORKER_S = 3.0  # so long too, from the start of a worker or a WebSocket
ENDING_S = 0.05  # so long as well, for the frames in which an animation ends
ENDING_MS = 1.0  # what is left of an animation then
ANIMATIONS_MAX = 100  # of one page that run at once
STEP_S = 0.025  # of real time after each step; a busy machine takes longer for the step, and for what real time brings
GROWTH = 0.4  # a later step, as a share of the time that has passed
PATIENCE_S = 1.0  # of real time for a step that the network holds up
STALLED_MS = 250.0  # a step after such a one; it is given as much of real time
MARGIN_MS, END_MS = 250.0, 50.0  # after refresh_max_s, for what is due then; and, in short steps, for what follows


class PageTime:
    """`refresh_max_s`: as long as a page may wait before it jumps. `now`: seconds of one clock."""

    def __init__(self, refresh_max_s: float) -> None:
        self.whole_ms = refresh_max_s * 1000 + MARGIN_MS
        self.begin()

    def begin(self) -> None:
        """A page is shown."""
        self._passed_ms = self._waits_until = self._step_ms = 0.0
        self._is_stalled = False
        self._animations: dict[str, tuple[float, float]] = {}  # when each ends, on the page's clock and on its own
        self.patience_s = PATIENCE_S  # for the current step

    def rewind(self) -> None:
        """A navigation of the page came to nothing. Nobody knows what of the current step passed meanwhile."""
        self._animations = {
            name: (due_ms - self._passed_ms, end_ms) for name, (due_ms, end_ms) in self._animations.items()
        }
        self._passed_ms = 0.0

    def begin_worker(self, now: float) -> None:
        self._waits_until = now + WORKER_S

    def begin_animation(self, animation: Params) -> None:
        """One that the browser has begun or changed: a CSS animation, a transition, or one of a script."""
        name, source, rate = animation["id"], animation.get("source") or {}, animation.get("playbackRate", 1.0)
        self._animations.pop(name, None)
        duration_ms, iterations = source.get("duration"), source.get("iterations")  # none: without an end
        is_running = animation.get("playState") == "running" and rate > 0 and "viewOrScrollTimeline" not in animation
        if not is_running or duration_ms is None or iterations is None:
            return
        end_ms = (source.get("delay") or 0.0) + duration_ms * iterations + (source.get("endDelay") or 0.0)
        left_ms = end_ms - (animation.get("currentTime") or 0.0)
        if left_ms > ENDING_MS and len(self._animations) < ANIMATIONS_MAX:
            self._animations[name] = self._passed_ms + left_ms / rate, end_ms

    def ending(self, now: float) -> list[tuple[str, float]]:
        """The animations that end now, each with the time that its own clock must have."""
        ended = [(name, end_ms) for name, (due_ms, end_ms) in self._animations.items() if due_ms <= self._passed_ms]
        for name, _ in ended:
            del self._animations[name]
        # An animation may begin when another one ends, for ever. So a longer step comes before time is slow again.
        if ended and now >= self._waits_until and self._passed_ms < self.whole_ms + END_MS:
            self._waits_until = now + ENDING_S
        return [(name, end_ms - ENDING_MS) for name, end_ms in ended]

    def step_ms(self, now: float) -> float:
        """What passes next."""
        step_ms = STALLED_MS if self._is_stalled else STEP_S * 1000
        if FIRST_MS <= self._passed_ms < self.whole_ms and now >= self._waits_until and not self._is_stalled:
            step_ms = min(self._passed_ms * GROWTH, self.whole_ms - self._passed_ms)
        self.patience_s, self._is_stalled = STALLED_MS / 1000 if self._is_stalled else PATIENCE_S, False
        self._passed_ms += step_ms
        self._step_ms = step_ms
        return step_ms

    def stall(self) -> float | None:
        """The current step has not ended within `patience_s`. Returns what passes of it now; None: all."""
        self._is_stalled = True
        if self._step_ms <= STALLED_MS:
            return None
        self._passed_ms -= self._step_ms - STALLED_MS
        self._step_ms = STALLED_MS
        return self._step_ms

    @property
    def rest_s(self) -> float:
        """How long the page's time stands still after the current step."""
        return 0.0 if self._is_stalled else STEP_S

    def is_over(self, now: float) -> bool:
        return self._passed_ms >= self.whole_ms + END_MS and now >= self._waits_until
