"""Probes failed IPs: an IP through which provision.check_url answers again becomes available.

The first probe of an IP is due PAUSE_MIN_S after the IP failed. Each further pause is twice as long, up to PAUSE_MAX_S,
with a jitter of ±JITTER. The row's probe_failures sets the pause; after a restart it starts at the row's
last_health_check. A refused login (407) is the provider's fault and does not make the pause longer. Each probe has a
lease of its IP. Without provision.check_url there are no probes.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import structlog
import trio

from daemon.checks.checker import Checker, CheckKind
from daemon.clock import Moment
from daemon.errors import PoolSilent
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.pool.messages import IpView, NoIPAvailable

PAUSE_MIN_S, PAUSE_MAX_S = 300.0, 21_600.0
DOUBLINGS_MAX = 20
JITTER = 0.1
PROBES_MAX = 5  # at once
LOOK_S = 5.0
RETRY_S = 30.0  # after a probe that got no lease

log = structlog.get_logger("daemon.trace")


def pause_s(failures: int, chance: float) -> float:
    """The pause after `failures` failed probes in a row. `chance`, in [0, 1], sets the jitter."""
    pause = min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0 ** min(failures, DOUBLINGS_MAX))
    return pause * (1 + JITTER * (2 * chance - 1))


@dataclass(eq=False, repr=False)
class Prober:
    """`due_s`: the tick of each failed IP's next probe."""

    _checker: Checker
    _directory: PoolDirectory
    _now: Callable[[], Moment]
    _chance: Callable[[], float]
    _under_way: set[UUID] = field(default_factory=set, init=False)
    _has_looked: bool = field(default=False, init=False)
    due_s: dict[UUID, float] = field(default_factory=dict, init=False)

    async def run(self) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                for pool, ip in await self._take_due():
                    nursery.start_soon(self._probe, pool, ip)
                await trio.sleep(LOOK_S)

    async def _take_due(self) -> list[tuple[PoolHandle, IpView]]:
        """The IPs whose probe is due, longest overdue first, as many as PROBES_MAX allows; marks them as under way."""
        if not self._checker.url:
            self.due_s.clear()
            return []
        failed = dict[UUID, tuple[PoolHandle, IpView]]()
        for pool in self._directory:
            with suppress(PoolSilent):  # the due times of its IPs are set again once it answers
                failed |= {ip.id: (pool, ip) for ip in await pool.describe(unhealthy=True)}
        now_s = self._now().tick_s
        self.due_s = {
            ip_id: self.due_s[ip_id] if ip_id in self.due_s else self._first_due_s(ip, now_s)
            for ip_id, (_, ip) in failed.items()
        }
        self._has_looked = True
        due = [ip_id for ip_id, due_s in self.due_s.items() if due_s <= now_s and ip_id not in self._under_way]
        due = sorted(due, key=lambda ip_id: self.due_s[ip_id])[: PROBES_MAX - len(self._under_way)]
        self._under_way.update(due)
        return [failed[ip_id] for ip_id in due]

    def _first_due_s(self, ip: IpView, now_s: float) -> float:
        since_s = now_s
        if not self._has_looked and ip.last_health_check_s is not None:
            since_s = min(now_s, ip.last_health_check_s)
        return since_s + pause_s(ip.probe_failures, self._chance())

    async def _probe(self, pool: PoolHandle, ip: IpView) -> None:
        try:
            found = await self._checker.probe(pool, ip.id)
            now_s = self._now().tick_s
            if isinstance(found, NoIPAvailable):
                self.due_s[ip.id] = max(now_s + RETRY_S, found.until_s or 0.0)
                return
            next_in_s = None
            if found.works:
                self.due_s.pop(ip.id, None)
            else:
                next_in_s = pause_s(ip.probe_failures + (found.kind is not CheckKind.CREDENTIALS), self._chance())
                self.due_s[ip.id] = now_s + next_in_s
            log.info("probe", ip=ip.name, country=pool.country,
                     kind=found.kind, ms=round(found.ms, 1), why=found.message or None,
                     next_in_s=next_in_s and round(next_in_s))  # fmt: skip
        finally:
            self._under_way.discard(ip.id)
