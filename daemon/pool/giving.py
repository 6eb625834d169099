"""Gifts of one country's IPs to other nodes: what is still to be given, and what was given. Pure."""

from uuid import UUID

from daemon.journal.entries import IpGiven
from daemon.pool.messages import Give
from daemon.pool.states import Ip

ORDER_S = 3.0  # the balancer sends its orders anew each second
REMEMBERED_MAX = 100_000


class Giving:
    """`totals`: the IPs given so far, by receiver; replaced at each gift. `handled`: the Give messages so far.

    `lease_no` has the lease numbers of given IPs. All pools of a node share it, because an operator may move the row of
    a given IP to another country before the gift is applied.
    """

    def __init__(self, lease_no: dict[UUID, int]) -> None:
        self.totals: dict[UUID, int] = {}
        self.handled = 0
        self._orders: dict[UUID, tuple[int, float]] = {}  # how many IPs are still to be given, and until when
        self._lease_no = lease_no
        self._is_turn = False  # whether the next IP goes to another node although a request waits

    def order(self, give: Give, given: int, now_s: float) -> None:
        """Replaces the order for `give.to`, of whose IPs `given` are given already."""
        self.handled += 1
        self._orders.pop(give.to, None)
        if (left := min(give.later, give.count - given)) > 0:
            self._orders[give.to] = left, now_s + ORDER_S

    def next_receiver(self, now_s: float, *, is_waited_for: bool) -> UUID | None:
        """The node that gets an IP that is available now; None: it is for this node's requests.

        While requests wait here, every second IP is given.
        """
        for to, (_, until_s) in list(self._orders.items()):
            if until_s <= now_s:
                del self._orders[to]
                continue
            self._is_turn = not (is_waited_for and self._is_turn)
            return to if self._is_turn or not is_waited_for else None
        return None

    def give(self, ip: Ip, to: UUID) -> IpGiven:
        """Notes that `ip` is given."""
        self.totals = self.totals | {to: self.totals.get(to, 0) + 1}
        if (order := self._orders.pop(to, None)) is not None and order[0] > 1:
            self._orders[to] = order[0] - 1, order[1]  # behind the orders for other nodes
        self._lease_no[ip.id] = ip.lease_no
        if len(self._lease_no) > REMEMBERED_MAX:
            del self._lease_no[next(iter(self._lease_no))]
        return IpGiven(ip.id, to, ip.lease_no)

    def is_outdated(self, row: Ip) -> bool:
        """Whether `row` was read before its gift was applied, which raises the row's lease number."""
        return row.lease_no <= self._lease_no.get(row.id, -1)

    def came_back(self, ip_id: UUID) -> None:
        self._lease_no.pop(ip_id, None)

    def forget(self) -> None:
        """Call it under a new claim. All gifts have been applied, and what was read under the former one is ignored.

        A restored database may have any of the IPs for this node again.
        """
        self._lease_no.clear()
