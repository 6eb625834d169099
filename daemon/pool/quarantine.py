"""Which of a country's IPs are out of use, and whether one more may go by failing too often in a row. Pure.

So many that fail at once are not to blame one by one: it is their provider, and a pool without IPs would make it worse.
What operators take out of use by their own hand is not limited, and does not count.
"""

from uuid import UUID

from daemon.pool.states import Ip, Rules, Status

FAILED_MAX_ONE_IN = 5  # of a country's IPs, and at least one, may have failed at once: 20%


class Quarantine:
    """`ids` of all that are unhealthy, while they are checked too."""

    def __init__(self) -> None:
        self.ids: set[UUID] = set()
        self._broken: set[UUID] = set()

    def note(self, ip: Ip, rules: Rules) -> None:
        """As it stands now. What went out of use after `failures_max` failures in a row is taken to have for them."""
        if ip.is_healthy or ip.status is Status.GONE:
            self.ids.discard(ip.id)
            self._broken.discard(ip.id)
        elif ip.id not in self.ids:
            self.ids.add(ip.id)
            if ip.consecutive_failures >= rules.failures_max:
                self._broken.add(ip.id)

    def is_full(self, total: int) -> bool:
        """Of `total` IPs no other one may fail for now."""
        return len(self._broken) >= max(1, total // FAILED_MAX_ONE_IN)
