"""Whether a request may wait for an IP, by an estimate; certain refusals are in prospects.py. Pure.

Under load a request is refused if its expected wait is too long, by the pool's heaps and counts. A click does not wait
so long that a trace of the usual duration could not end before its deadline: its IP would rest in vain, while a later
click could use it. A check of one IP gets its lease at once or not at all, and takes no IP that clicks need.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median_low

from daemon.pool.messages import Counts, NoIPAvailable
from daemon.pool.queues import IpHeap
from daemon.pool.states import Ip, Rules, Status

WAIT_SHARE_MAX = 0.3  # of the time until the deadline: with a longer expected wait a request is refused
QUEUE_SHORT = 8  # waiting requests; with fewer the wait is not estimated
HOLD_WEIGHT = 0.1  # of the newest lease in the mean duration of a lease
LANDED_MAX = 31  # the newest traces that landed, for their usual duration
LANDED_MIN = 5  # with fewer it is unknown, and clicks wait until their deadline
KEPT_SHARE = 0.2  # of a country's healthy IPs: kept from checks, for clicks


class WaitEstimate:
    """`hold_s`: the mean duration of recent leases. `usual_s`: the median of those whose trace landed, 0 if unknown."""

    def __init__(self, by_status: Mapping[Status, int], rests: IpHeap) -> None:
        self._by_status = by_status
        self._rests = rests
        self._landed_s = deque[float](maxlen=LANDED_MAX)
        self.hold_s = self.usual_s = 0.0

    def note_hold(self, held_s: float, *, landed: bool) -> None:
        self.hold_s += (HOLD_WEIGHT if self.hold_s else 1.0) * (held_s - self.hold_s)
        if landed:
            self._landed_s.append(held_s)
            if len(self._landed_s) >= LANDED_MIN:
                self.usual_s = median_low(self._landed_s)

    def waits_until_s(self, deadline_s: float, priority: int = 0) -> float:
        """Until when a request may wait. Nobody waits for the trace of a request with a priority above 0."""
        return deadline_s if priority else deadline_s - self.usual_s

    def expects_too_long(self, waiting: int, deadline_s: float, now_s: float, rules: Rules) -> bool:
        """Whether a new request behind `waiting` others must expect more than WAIT_SHARE_MAX of its time.

        Under overload a full queue would consist of requests that all reach their deadlines, and requests that come
        after the overload would wait behind them. A short queue has no such effect: there prospects.py alone decides.
        """
        if waiting < QUEUE_SHORT:
            return False
        by_s = now_s + WAIT_SHARE_MAX * (deadline_s - now_s)
        return self._leases_by(by_s, now_s, rules.cooldown_s, waiting + 1) <= waiting

    def _leases_by(self, by_s: float, now_s: float, cooldown_s: float, enough: int) -> float:
        """How many leases are expected to begin until `by_s` if no IP is available now; counted up to `enough`.

        The ends of rests are known. A lease is expected to last `hold_s`; how much of that has passed is unknown.
        """
        cycle_s = self.hold_s + cooldown_s
        if not cycle_s:
            return enough
        in_use_s = by_s - now_s - cooldown_s  # a lease must end within this time for its IP to be leased again
        leases = 0.0
        if in_use_s > 0:
            first = min(1.0, in_use_s / self.hold_s) if self.hold_s else 1.0
            leases = self._by_status[Status.LOCKED] * (first + max(0.0, in_use_s - self.hold_s) / cycle_s)
        for ip in self._rests.up_to(by_s):
            if leases >= enough:
                break
            leases += 1 + (by_s - (ip.locked_until_s or 0.0)) // cycle_s
        return leases


def refused_check(ip: Ip, until_s: float | None, counts: Counts, now_s: float) -> NoIPAvailable | None:
    """Why a check of `ip` gets no lease, or None. `until_s`: the end of its lock or rest, also of a failed IP."""
    if ip.leaving:
        return NoIPAvailable(None, "gone")
    if until_s is not None and until_s > now_s:
        return NoIPAvailable(until_s, "locked" if ip.status is Status.LOCKED else "cooldown")
    kept = int(KEPT_SHARE * (counts.total - counts.failed))
    if ip.status is Status.AVAILABLE and (counts.waiting or counts.available <= kept):
        return NoIPAvailable(None, "busy")
    return None
