"""Endpoints that operators' statements took from rows of this node's IPs, and that this node may still use.

A trigger notes each such endpoint in the table departed_endpoints; while the entry is there, no other node takes a row
with this endpoint. This node deletes the entry when its pool has removed the IP, or has given it another endpoint, and
when the endpoint's rest is over (pool/rests.py). A lost node's entries are deleted when its IPs are freed.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog

from daemon.clock import Moment
from daemon.database.postgres import Database
from daemon.errors import PoolSilent
from daemon.pool.directory import PoolDirectory
from daemon.pool.rests import Rests
from daemon.pool.states import Endpoint

CHUNK = 5_000

log = structlog.get_logger("daemon.pool")


@dataclass(eq=False, repr=False)
class Departures:
    """`_rests`: the table that all pools share."""

    _node_id: UUID
    _database: Database
    _directory: PoolDirectory
    _rests: Rests
    _now: Callable[[], Moment]
    _after_no: int = field(default=0, init=False)  # where the next call goes on

    async def forget(self, country_of: Mapping[UUID, str]) -> int:
        """Deletes up to CHUNK entries whose endpoints are at rest no more. Returns how many.

        `country_of`: the pool of each IP, of which none is being removed now. Raises DatabaseUnavailable.
        """
        rows = await self._database.fetch("load_departed", self._node_id, CHUNK, self._after_no)
        self._after_no = rows[-1]["no"] if len(rows) == CHUNK else 0
        if not rows:
            return 0
        try:
            present = await self._endpoints({row["id"] for row in rows}, country_of)
        except PoolSilent:
            return 0
        now_s = self._now().tick_s
        over = [
            row["no"]
            for row in rows
            if (endpoint := _endpoint(row)) != present.get(row["id"]) and self._rests.until_s(endpoint) <= now_s
        ]
        if over:
            await self._database.fetch("forget_departed", over)
            log.info("departed_endpoints_at_rest", endpoints=len(over), effect="any node may use them")
        return len(over)

    async def _endpoints(self, ip_ids: set[UUID], country_of: Mapping[UUID, str]) -> dict[UUID, Endpoint]:
        """The present endpoints of those IPs that are in a pool. Raises PoolSilent."""
        by_country: dict[str, set[UUID]] = defaultdict(set)
        for ip_id in ip_ids & country_of.keys():
            by_country[country_of[ip_id]].add(ip_id)
        found: dict[UUID, Endpoint] = {}
        for country, ids in by_country.items():
            if handle := self._directory.known(country):
                found |= {ip.id: ip.endpoint for ip in await handle.describe(ids=frozenset(ids))}
        return found


def _endpoint(row: Mapping[str, Any]) -> Endpoint:
    return row["ip_address"], row["ip_port"], row["username"]
