"""What a request may expect of a pool that has no IP for it now. Pure; reads the pool's own piles and counts."""

from collections.abc import Mapping
from uuid import UUID

from daemon.pool.messages import Acquire
from daemon.pool.queues import Pile
from daemon.pool.states import Ip, Rules, Status

WAIT_SHARE_MAX = 0.3  # of what a request would wait at most: one that must expect more is refused at once
WAITING_SURE = 8  # so many may wait in any case: an operator may bring IPs meanwhile
HOLD_WEIGHT = 0.1  # of the newest lease in the mean of how long one lasts


class Outlook:
    """`hold_s`: how long a lease lasts, as of late."""

    def __init__(self, ips: Mapping[UUID, Ip], by_status: Mapping[Status, int], rests: Pile) -> None:
        self._ips = ips
        self._by_status = by_status
        self._rests = rests
        self.hold_s = 0.0

    def note_hold(self, held_s: float) -> None:
        self.hold_s += (HOLD_WEIGHT if self.hold_s else 1.0) * (held_s - self.hold_s)

    def refusal(self, waiting: int, deadline_s: float, now_s: float, rules: Rules) -> str | None:
        """Why a request that came now, behind so many, would not even wait: `full`, or `hopeless`; None if it would.

        Hopeless is what must expect to wait for longer than WAIT_SHARE_MAX of its time. Under a load beyond the pool's
        means a queue of `waiting_max` would be of requests that run into their deadlines one and all, and those that
        come after the load would stand behind them.
        """
        if waiting >= rules.waiting_max:
            return "full"
        if waiting < WAITING_SURE:
            return None
        by_s = now_s + WAIT_SHARE_MAX * (deadline_s - now_s)
        return None if self._leases_by(by_s, now_s, rules.cooldown_s, waiting + 1) > waiting else "hopeless"

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

    def has_tried_all(self, request: Acquire, now_s: float, cooldown_s: float) -> bool:
        """Each IP that can be free before its deadline is one that the request has tried."""
        if not request.tried:
            return False
        tried_locked = sum(1 for ip_id in request.tried if (ip := self._ips.get(ip_id)) and ip.status is Status.LOCKED)
        if self._by_status[Status.LOCKED] > tried_locked and now_s + cooldown_s < request.deadline_s:
            return False
        return all(ip.id in request.tried for ip in self._rests.up_to(request.deadline_s))
