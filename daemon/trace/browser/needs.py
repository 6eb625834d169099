"""Which offers start in the browser, because their last traces needed it."""

from dataclasses import dataclass

import structlog

TRACES_MIN = 3  # in a row that needed the browser
PROBED_EACH = 20  # of so many traces, one begins without the browser: the offer may no longer need it
OFFERS_MAX = 10_000  # beyond it the offer that was noted first is forgotten

log = structlog.get_logger("daemon.trace")


@dataclass(slots=True)
class _Need:
    why: str
    in_a_row: int = 1
    begun: int = 0  # traces that began in the browser since then


class Needs:
    """The offers whose last trace without the browser needed it."""

    def __init__(self) -> None:
        self._needs: dict[str, _Need] = {}

    def note(self, offer: str | None, why: str | None) -> None:
        """A trace of the offer began without the browser. `why` it needed one all the same; None: it did not."""
        if offer is None:
            return
        need = self._needs.get(offer)
        if why is None:
            if need is not None:
                del self._needs[offer]
                if need.in_a_row >= TRACES_MIN:
                    log.info("offer_without_browser", offer=offer, why="its last trace did not need the browser")
            return
        if need is None:
            if len(self._needs) >= OFFERS_MAX:
                del self._needs[next(iter(self._needs))]
            need = self._needs[offer] = _Need(why)
        else:
            need.why, need.in_a_row, need.begun = why, need.in_a_row + 1, 0
        if need.in_a_row == TRACES_MIN:
            log.info("offer_with_browser", offer=offer, why=f"its last {TRACES_MIN} traces needed the browser: {why}")

    def reason(self, offer: str | None) -> str | None:
        """Why the offer's next trace begins in the browser, or None if it does not. To be called once for a trace."""
        need = None if offer is None else self._needs.get(offer)
        if need is None or need.in_a_row < TRACES_MIN:
            return None
        need.begun += 1
        if need.begun % PROBED_EACH == 0:
            return None
        return f"the offer's last {need.in_a_row} traces without the browser needed it: {need.why}"
