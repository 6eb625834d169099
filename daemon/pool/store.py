"""Units of work on the pool's rows as operators do them: add, list, remove, reset.

None of them is the daemon's own, so the triggers announce what they change and a running daemon adopts it.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from uuid import UUID

from daemon.countries import canonical, names_of
from daemon.database.postgres import Connection
from daemon.pool.provision_rows import COLUMNS, NewIP

COPY_BATCH_ROWS = 5_000
INSERT_TIMEOUT_S = 900.0  # a million rows on a slow disk; the pool's limit is for small statements

# As canonical() reads a country: case and the blanks around it do not count.
_SELECTED = r"""
    ($1::text[] is null or lower(btrim(country, E' \t\n\r')) = any($1))
    and ($2::text is null or ip_address = $2 or ip_address || ':' || ip_port = $2)
    and ($3::text is null or provider = $3)
    and ($4::text is null or status = $4)
    and ($5::uuid is null or id = $5)
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows: those that meet each condition given. `ip` is an address, or address:port; `country` any spelling."""

    country: str | None = None
    ip: str | None = None
    provider: str | None = None
    status: str | None = None
    id: UUID | None = None

    @property
    def arguments(self) -> tuple[list[str] | None, str | None, str | None, str | None, UUID | None]:
        countries = None if self.country is None else names_of(canonical(self.country))
        return countries, self.ip, self.provider, self.status, self.id


@dataclass(frozen=True, slots=True)
class PoolIP:
    """A row as an operator looks at it."""

    ip_address: str
    ip_port: str
    country: str
    provider: str
    status: str
    locked_until: datetime | None
    is_healthy: bool
    total_uses: int
    success_count: int
    failure_count: int
    consecutive_failures: int
    notes: str | None

    @property
    def name(self) -> str:
        return f"{self.ip_address}:{self.ip_port}"


@dataclass(frozen=True, slots=True)
class CheckableIP:
    """A row as a check needs it. `rests_until`: the end of a lock or a rest, where it has not come yet."""

    id: UUID
    ip_address: str
    ip_port: str
    country: str
    provider: str
    rests_until: datetime | None


_POOL_IP = ", ".join(PoolIP.__slots__)


async def add_ips(conn: Connection, ips: Sequence[NewIP], copied: Callable[[int], None]) -> int:
    """Adds what is not there yet, by (ip_address, ip_port), the first of several; gives their number.

    `copied` hears after each batch how many rows went over.
    """
    await conn.execute(
        "create temp table incoming (place bigint, ip_address text, ip_port text, country text, provider text,"
        " notes text) on commit drop"
    )
    for start in range(0, len(ips), COPY_BATCH_ROWS):
        batch = [(start + place, *astuple(ip)) for place, ip in enumerate(ips[start : start + COPY_BATCH_ROWS])]
        await conn.copy_records_to_table("incoming", records=batch, columns=["place", *COLUMNS])
        copied(len(batch))
    # In order: of a file's doubles the first one wins, and two imports at once do not wait for each other crosswise.
    done: str = await conn.execute(
        f"insert into ip_rotation_pool ({', '.join(COLUMNS)}) select {', '.join(COLUMNS)} from incoming order by place"  # noqa: S608
        " on conflict (ip_address, ip_port) do nothing",
        timeout=INSERT_TIMEOUT_S,
    )
    return int(done.split()[-1])


async def list_ips(conn: Connection, selection: Selection) -> list[PoolIP]:
    rows = await conn.fetch(
        f"select {_POOL_IP} from ip_rotation_pool where {_SELECTED}"  # noqa: S608
        " order by lower(country), provider, length(ip_address), ip_address, ip_port",
        *selection.arguments,
        timeout=INSERT_TIMEOUT_S,
    )
    return [PoolIP(*row) for row in rows]


async def checkable_ips(conn: Connection, selection: Selection) -> list[CheckableIP]:
    rows = await conn.fetch(
        "select id, ip_address, ip_port, country, provider, case when locked_until > now() then locked_until end"  # noqa: S608
        f" from ip_rotation_pool where {_SELECTED}"
        " order by lower(country), provider, length(ip_address), ip_address, ip_port",
        *selection.arguments,
        timeout=INSERT_TIMEOUT_S,
    )
    return [CheckableIP(*row) for row in rows]


async def remove_ips(conn: Connection, selection: Selection) -> tuple[int, int]:
    """(how many rows are gone, how many of them were locked: a running daemon lets those leases end)."""
    row = await conn.fetchrow(
        f"with gone as (delete from ip_rotation_pool where {_SELECTED} returning status)"  # noqa: S608
        " select count(*) as removed, count(*) filter (where status = 'locked') as locked from gone",
        *selection.arguments,
        timeout=INSERT_TIMEOUT_S,
    )
    return row["removed"], row["locked"]


async def reset_ips(conn: Connection, selection: Selection) -> list[PoolIP]:
    """Unhealthy and failed IPs back to available; gives their rows as they are now."""
    rows = await conn.fetch(
        "update ip_rotation_pool set is_healthy = true, consecutive_failures = 0, status = 'available',"  # noqa: S608
        " locked_until = null, locked_by_request = null"
        f" where (not is_healthy or status = 'failed') and {_SELECTED} returning {_POOL_IP}",
        *selection.arguments,
        timeout=INSERT_TIMEOUT_S,
    )
    return sorted((PoolIP(*row) for row in rows), key=lambda ip: (ip.country, len(ip.ip_address), ip.name))
