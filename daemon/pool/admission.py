"""Whether a request is admitted. Pure.

Under load a request is refused if it must expect to wait for too long. That is an estimate, from the pool's own heaps
and counts; what is certain about a request is in prospects.py. A check of one IP gets its lease at once or not at all,
and never at the cost of a click.
"""

from collections.abc import Mapping

from daemon.pool.messages import Counts, NoIPAvailable
from daemon.pool.queues import IpHeap
from daemon.pool.states import Ip, Rules, Status

WAIT_SHARE_MAX = 0.3  # of what a request would wait at most: one that must expect more is refused at once
QUEUE_SHORT = 8  # requests; behind fewer the expected wait is not estimated
HOLD_WEIGHT = 0.1  # of the newest lease in the mean of how long one lasts
KEPT_SHARE = 0.2  # of a country's healthy IPs: as many stay available for the clicks to come


class WaitEstimate:
    """`hold_s`: how long a lease lasts, as of late."""

    def __init__(self, by_status: Mapping[Status, int], rests: IpHeap) -> None:
        self._by_status = by_status
        self._rests = rests
        self.hold_s = 0.0

    def note_hold(self, held_s: float) -> None:
        self.hold_s += (HOLD_WEIGHT if self.hold_s else 1.0) * (held_s - self.hold_s)

    def expects_too_long(self, waiting: int, deadline_s: float, now_s: float, rules: Rules) -> bool:
        """Whether a request that came now, behind so many, must expect to wait for too long to be let in.

        Too long is more than WAIT_SHARE_MAX of its time. Under a load beyond the pool's means a queue of `waiting_max`
        would be of requests that run into their deadlines one and all, and those that come after the load would stand
        behind them. A short queue cannot do that: there prospects.py alone decides.
        """
        if waiting < QUEUE_SHORT:
            return False
        by_s = now_s + WAIT_SHARE_MAX * (deadline_s - now_s)
        return self._leases_by(by_s, now_s, rules.cooldown_s, waiting + 1) <= waiting

    def _leases_by(self, by_s: float, now_s: float, cooldown_s: float, enough: int) -> float:
        """How many leases can be expected by a time, while none is free now; counted up to `enough`.

        The ends of rests are known. A lease is expected to last as long as those of late, from a start nobody knows.
        """
        cycle_s = self.hold_s + cooldown_s
        if not cycle_s:
            return enough
        in_use_s = by_s - now_s - cooldown_s  # what of the time is left for leases that are under way
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
    """Why the check has to wait, or None. `until_s`: the end of a lock or a rest, one that a failed IP has left too."""
    if ip.leaving:
        return NoIPAvailable(None, "gone")
    if until_s is not None and until_s > now_s:
        return NoIPAvailable(until_s, "locked" if ip.status is Status.LOCKED else "cooldown")
    kept = int(KEPT_SHARE * (counts.total - counts.failed))
    if ip.status is Status.AVAILABLE and (counts.waiting or counts.available <= kept):
        return NoIPAvailable(None, "busy")
    return None
