"""The pauses before restarts: each doubles, and after a calm time the next one is the shortest again. Pure."""

PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 30.0
CALM_S = 60.0


class Pauses:
    """The crashes of one actor or process."""

    def __init__(self) -> None:
        self._pause_s = PAUSE_MIN_S
        self._crashed_s = float("-inf")

    def after_crash(self, now_s: float) -> float:
        """The pause before the next start, in seconds."""
        if now_s - self._crashed_s > CALM_S + self._pause_s:
            self._pause_s = PAUSE_MIN_S
        self._crashed_s, pause_s = now_s, self._pause_s
        self._pause_s = min(PAUSE_MAX_S, 2 * pause_s)
        return pause_s
