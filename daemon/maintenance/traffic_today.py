"""Today's traffic of all nodes: of one node from memory, of several from the table `traffic`.

While PostgreSQL is away: what was read last, and what this node has spent since.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from daemon.clock import Moment
from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.trace.traffic_costs import DAY_S, TrafficCosts, TrafficStatus, by_provider

FRESH_S = 1.0
READ_S = 1.0  # the longest wait for the table

Traffic = dict[str, TrafficStatus]


@dataclass(eq=False, repr=False)
class TrafficToday:
    """`others()`: whether the database has had another node."""

    database: Database
    costs: TrafficCosts
    now: Callable[[], Moment]
    others: Callable[[], bool]
    _tried_s: float = field(default=float("-inf"), init=False)
    _read: tuple[int, Traffic, Traffic] | None = field(default=None, init=False)  # day, table, own at that time

    async def today(self) -> Traffic:
        """By provider."""
        if not self.others():
            return self.costs.today(self.now().wall_s)
        if trio.current_time() >= self._tried_s + FRESH_S:
            self._tried_s = trio.current_time()
            await self._read_table()
        now_s = self.now().wall_s
        own = self.costs.today(now_s)
        if self._read is None or self._read[0] != int(now_s // DAY_S):
            return own
        _, table, before = self._read
        return {name: _later(name, table, own, before) for name in sorted(table.keys() | own.keys())}

    async def _read_table(self) -> None:
        now_s = self.now().wall_s
        before = self.costs.today(now_s)
        with trio.move_on_after(READ_S):
            try:
                rows = await self.database.fetch("traffic_today")
            except DatabaseUnavailable:
                return
            found = {name: spent.rounded() for name, spent in by_provider(rows).items()}
            self._read = int(now_s // DAY_S), found, before


NOTHING = TrafficStatus(0, 0, 0, 0.0)


def _later(name: str, table: Traffic, own: Traffic, before: Traffic) -> TrafficStatus:
    """What the table had, and what this node has spent since."""
    read, now, then = (each.get(name, NOTHING) for each in (table, own, before))
    return TrafficStatus(
        read.traces + now.traces - then.traces,
        read.bytes_received + now.bytes_received - then.bytes_received,
        read.bytes_sent + now.bytes_sent - then.bytes_sent,
        read.cost + now.cost - then.cost,
    ).rounded()
