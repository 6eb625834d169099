"""Probes of the IPs that failed: what answers provision.check_url again comes back into use.

The first probe of an IP is due PAUSE_MIN_S after it failed, each further one after twice the pause before, up to
PAUSE_MAX_S, give or take JITTER of it. The pause goes by the row's probe_failures and, after a restart, from its
last_health_check on. A refused login (407) is the provider's matter: the pause grows no longer for it. Each probe has a
lease of its IP; without provision.check_url there are none.
"""

from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import structlog
import trio

from daemon.checks.check import CheckKind
from daemon.checks.checker import Checker
from daemon.clock import Moment
from daemon.errors import PoolSilent
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.pool.messages import IpView, NoIPAvailable

PAUSE_MIN_S, PAUSE_MAX_S = 300.0, 21_600.0
DOUBLINGS_MAX = 20
JITTER = 0.1
PROBES_MAX = 5  # at once
LOOK_S = 5.0
RETRY_S = 30.0  # where the IP could not be had

log = structlog.get_logger("daemon.trace")


def pause_s(failures: int, chance: float) -> float:
    """Until the next probe, after so many that failed in a row. `chance` from 0 to 1 spreads them."""
    pause = min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0 ** min(failures, DOUBLINGS_MAX))
    return pause * (1 + JITTER * (2 * chance - 1))


class Prober:
    """`due_s` by IP. What failed before this run is due by its last check, what fails in it by when that was seen."""

    def __init__(
        self, checker: Checker, directory: PoolDirectory, now: Callable[[], Moment], chance: Callable[[], float]
    ) -> None:
        self._checker = checker
        self._directory = directory
        self._now = now
        self._chance = chance
        self._under_way: set[UUID] = set()
        self._has_looked = False
        self.due_s: dict[UUID, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                for post, ip in await self._take_due():
                    nursery.start_soon(self._probe, post, ip)
                await trio.sleep(LOOK_S)

    async def _take_due(self) -> list[tuple[PoolHandle, IpView]]:
        """Those whose time has come, the longest overdue first, as many as there are places for; they are under way."""
        if not self._checker.url:
            self.due_s.clear()
            return []
        failed = dict[UUID, tuple[PoolHandle, IpView]]()
        for post in self._directory:
            with suppress(PoolSilent):  # its IPs are due anew once it answers
                failed |= {ip.id: (post, ip) for ip in await post.describe(unhealthy=True)}
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

    async def _probe(self, post: PoolHandle, ip: IpView) -> None:
        try:
            found = await self._checker.probe(post, ip.id)
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
            log.info("probe", ip=f"{ip.address}:{ip.port}", country=post.country,
                     kind=found.kind, ms=round(found.ms, 1), why=found.message or None,
                     next_in_s=next_in_s and round(next_in_s))  # fmt: skip
        finally:
            self._under_way.discard(ip.id)
