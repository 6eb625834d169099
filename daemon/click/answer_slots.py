"""Answer slots spread the fallbacks at the deadline over time, so that none of them is late. Pure.

An answer costs the daemon a fraction of a millisecond, so thousands of answers due at the same moment would be late by
seconds. Each click takes the latest free slot at or before its deadline. At a low rate of clicks, that is the deadline
itself; in a burst, the slots reach back before the deadline.
"""

EACH_S = 0.0007
REACH_MAX = 0.4  # slots lie in this last part of the time until the deadline
KEPT_MAX = 200_000  # taken slots in memory; at this number, past slots are dropped


class AnswerSlots:
    """Times are seconds on one clock. A click whose trace ends in time leaves its slot unused."""

    def __init__(self) -> None:
        # Taken slot → a slot before it that may be free. A union-find forest: `_free_at` shortens its paths.
        self._before: dict[int, int] = {}

    def take(self, now_s: float, due_s: float) -> float:
        """Take a slot and return its time, at which an answer that is due by `due_s` begins."""
        last, first = int(due_s / EACH_S), int((due_s - REACH_MAX * max(0.0, due_s - now_s)) / EACH_S)
        if len(self._before) >= KEPT_MAX:
            self._before = {slot: before for slot, before in self._before.items() if slot * EACH_S >= now_s}
        slot = self._free_at(last)
        if slot < first:
            return first * EACH_S
        self._before[slot] = slot - 1
        return due_s if slot == last else slot * EACH_S

    def _free_at(self, slot: int) -> int:
        walked = []
        while (before := self._before.get(slot)) is not None:
            walked.append(slot)
            slot = before
        for one in walked:
            self._before[one] = slot
        return slot
