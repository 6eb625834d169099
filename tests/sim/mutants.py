"""Deliberate faults of the protocol, which the checker must notice: `python -m tests.sim --mutant NAME`."""

from collections.abc import Set as AbstractSet
from typing import Any
from uuid import UUID

from daemon.clock import Moment
from daemon.pool.messages import Adopt, Decision, Give, Message
from daemon.pool.pool import Pool
from daemon.pool.states import Ip, Rules, Status

MUTANTS = {
    "free_without_quiet": "a lost node's IPs are freed when its trust ends, without its quiet time",
    "lost_by_database_clock": "a node is lost by PostgreSQL's clock, which can be set",
    "give_leased": "a leased IP is given away",
    "stale_adopt": "a pool adopts rows that were read before it gave the IPs away, or lost its claim",
    "unowned_states": "the journal's states and gifts apply to rows of other nodes too",
    "endless_trust": "a node leases on although its trust has ended",
    "no_beat_check": "a node does not notice that the database has lost its last renewals",
    "epoch_reused": "a node joins a restored database with an epoch that it has had before",
    "take_departed": "a row is taken whose endpoint another node may still use",
    "confirm_at_once": "an owner confirms that an endpoint has left, although it still rests",
}


class CarelessPool(Pool):
    """A pool with the faults `give_leased` and `stale_adopt`."""

    def __init__(self, faults: AbstractSet[str], country: str, rules: Rules, *args: Any) -> None:
        super().__init__(country, rules, *args)
        self._faults = faults

    def reloaded(self, rows: Adopt, now: Moment, undone: AbstractSet[UUID] = frozenset()) -> Pool:
        fresh = CarelessPool(self._faults, self.country, self.rules, self.rests)
        fresh.load(rows.ips)
        return fresh

    def _adopt(self, row: Ip, rests_s: float, now: Moment, decision: Decision) -> None:
        if "stale_adopt" in self._faults:
            self.giving.came_back(row.id)
        super()._adopt(row, rests_s, now, decision)

    def decide(self, message: Message, now: Moment, decision: Decision) -> None:
        if isinstance(message, Adopt) and "stale_adopt" in self._faults:
            message = Adopt(message.ips, self.term, message.rests_s)
        super().decide(message, now, decision)
        if isinstance(message, Give) and "give_leased" in self._faults:
            leased = [ip for ip in self.ips.values() if ip.status is Status.LOCKED]
            decision.entries += [self.giving.give(ip, message.to) for ip in leased[: message.count]]
