"""Answer slots at the deadline: clicks that wait in vain are answered one after the other, none of them late. Pure.

An answer takes the daemon a part of a millisecond; thousands that fall due together would be late by seconds. So each
click has a slot of its own, the latest that is free by its deadline: where clicks come more slowly than they can be
answered that is the deadline itself, and in a burst the slots reach back before it.
"""

EACH_S = 0.0007
REACH_MAX = 0.4  # of the time until the deadline: no slot is earlier
KEPT_MAX = 200_000  # slots in memory; those that have passed are dropped then


class AnswerSlots:
    """Times are seconds on one clock. A click that has its landing page in time leaves its slot unused."""

    def __init__(self) -> None:
        # The nearest slot at or before a taken one that may be free; paths are shortened as they are walked.
        self._before: dict[int, int] = {}

    def take(self, now_s: float, due_s: float) -> float:
        """When an answer that is due by `due_s` begins."""
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
