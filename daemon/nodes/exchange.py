"""One country's demand and gifts, as a node's balancer follows them from the views of its pool. Pure.

Times are on the monotonic clock.
"""

import math
from collections import deque
from collections.abc import Mapping
from uuid import UUID

from daemon.nodes.balance import MOVED_S, Given
from daemon.nodes.figures import NO_COUNTRY_FIGURES, SOON_S, CountryFigures, Sent, largest
from daemon.nodes.others import NO_OTHERS, Others
from daemon.pool.messages import PoolView, SetElsewhere

MEMORY_S = 30.0  # of the demand
MISSED_S = 3.0
UNSEEN_S = 5.0  # later a receiver that renews has a gift, or has lost it
GONE_S = 3600.0  # later a receiver that does not renew has lost it
LATELY_S = 3.0  # in which as many IPs are expected from other nodes as in the time before
HOPE_MAX_S = 5.0  # without an IP, although other nodes have some to give
DESPAIR_S = 10.0


class Exchange:
    """`given`: this node's gifts of the last MOVED_S. `note` comes before all else.

    `before`: of the node's last run. Its demand goes on, so that a node that restarts keeps the IPs that it needs.
    """

    def __init__(self, now_s: float, before: CountryFigures = NO_COUNTRY_FIGURES) -> None:
        self.given: deque[Given] = deque()
        self._began_s = self._noted_s = now_s
        self._asked = self._missed = 0
        self._wanted_per_s = before.wanted_per_s
        self._known_s = MEMORY_S if before.wanted_per_s else MISSED_S  # for how long the demand counts as known
        self._missed_at: deque[tuple[float, int]] = deque()
        self._adopted_at: deque[tuple[float, int]] = deque()  # the total until then
        self._totals: Mapping[UUID, int] = {}  # gifts by receiver
        self._others = NO_OTHERS  # at the last note with other nodes
        self._sent: dict[UUID, tuple[Sent, float]] = {}
        self._hopes_since_s = math.inf
        self._despairs_until_s = -math.inf

    def note(self, view: PoolView, turned_away: int, others: Others, now_s: float) -> None:
        """`turned_away`: see PoolHandle."""
        asked, missed = view.asked + turned_away, view.missed + turned_away
        if (passed_s := now_s - self._noted_s) > 0:
            weight = max(1 - math.exp(-passed_s / MEMORY_S), passed_s / (now_s - self._began_s + self._known_s))
            self._wanted_per_s += weight * ((asked - self._asked) / passed_s - self._wanted_per_s)
            self._asked, self._noted_s = asked, now_s
        if missed > self._missed:
            self._missed_at.append((now_s, missed - self._missed))
            self._missed = missed
        while self._missed_at and self._missed_at[0][0] <= now_s - MISSED_S:
            self._missed_at.popleft()
        if not self._adopted_at or view.adopted > self._adopted_at[-1][1]:
            self._adopted_at.append((now_s, view.adopted))
            self._hopes_since_s = math.inf
        while len(self._adopted_at) > 1 and self._adopted_at[1][0] <= now_s - LATELY_S:
            self._adopted_at.popleft()
        self._note_gifts(view.given, others, now_s)

    def _note_gifts(self, totals: Mapping[UUID, int], others: Others, now_s: float) -> None:
        for to, count in self._new_gifts(totals):
            self._sent[to] = self._sent_to(to, count, others), now_s
            self.given.append(Given(to, count, now_s))
        self._totals = totals
        if others.ids:
            self._others = others
        for to, (sent, at_s) in list(self._sent.items()):
            unseen_s = UNSEEN_S if to in others.ids else GONE_S
            if now_s >= at_s + unseen_s or others.of(to).adopted >= sent.seen_at:
                del self._sent[to]
        while self.given and self.given[0].at_s <= now_s - MOVED_S:
            self.given.popleft()

    def _new_gifts(self, totals: Mapping[UUID, int]) -> list[tuple[UUID, int]]:
        """Those since the last note. `totals`: all gifts by receiver."""
        if totals is self._totals:
            return []
        since = ((to, total - self._totals.get(to, 0)) for to, total in totals.items())
        return [(to, count) for to, count in since if count > 0]

    def _sent_to(self, to: UUID, count: int, others: Others) -> Sent:
        """After `count` new gifts. They came after the last note, and the receiver may have adopted them already.

        So they count from what the receiver had adopted by the last note, or since its start.
        """
        adopted = others.of(to).adopted
        if to in self._others.ids:
            adopted = min(self._others.of(to).adopted, adopted)
        before = self._sent[to][0] if to in self._sent else Sent(0, adopted)
        left = count + max(0, min(before.count, before.seen_at - adopted))
        return Sent(left, adopted + left)

    def figures(self, view: PoolView, now_s: float) -> CountryFigures:
        sent = {to: sent for to, (sent, _) in self._sent.items()}
        for to, count in self._new_gifts(view.given):
            sent[to] = self._sent_to(to, count, self._others)
        counts = view.counts
        return CountryFigures(
            available=counts.available,
            locked=counts.locked,
            cooldown=counts.cooldown,
            failed=counts.failed,
            waiting=counts.waiting,
            wanted_per_s=round(self._wanted_per_s, 3),
            missed=sum([count for _, count in self._missed_at]),
            adopted=view.adopted,
            broken=view.broken,
            soon=int(view.rested_s is not None and view.rested_s <= now_s + SOON_S),
            sent=sent,
            out=largest(view.failing),
        )

    def elsewhere(self, me: UUID, own: CountryFigures, others: Others, now_s: float) -> SetElsewhere:
        """What the other nodes have. Coming are IPs that are idle or will be soon, are on their way, or came lately."""
        arrived = self._adopted_at[-1][1] - self._adopted_at[0][1]
        coming = others.to_come + others.coming(me, own.adopted) + arrived
        if not self._may_hope(coming, own.waiting, now_s):
            coming = 0
        return SetElsewhere(coming, others.counts, others.broken)

    def _may_hope(self, coming: int, waiting: int, now_s: float) -> bool:
        """False for DESPAIR_S after requests have waited HOPE_MAX_S for a gift that did not come."""
        if now_s < self._despairs_until_s:
            return False
        if not (coming and waiting):
            self._hopes_since_s = math.inf
        elif self._hopes_since_s == math.inf:
            self._hopes_since_s = now_s
        elif now_s > self._hopes_since_s + HOPE_MAX_S:
            self._despairs_until_s, self._hopes_since_s = now_s + DESPAIR_S, math.inf
            return False
        return True
