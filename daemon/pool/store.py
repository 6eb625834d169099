"""An operator's units of work on ip_rotation_pool: add, list, remove, reset.

The triggers announce these changes, as those of any role but the daemon, and a running daemon takes them over.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from daemon.countries import canonical, names_of
from daemon.database.postgres import Connection
from daemon.pool.provision_rows import COLUMNS, NewIP
from daemon.providers.proxies import Login, login_of
from daemon.web.endpoints import endpoint_name, endpoint_text

COPY_BATCH_ROWS = 5_000
INSERT_TIMEOUT_S = 900.0  # a million rows on a slow disk; the connection's limit is for small statements

# As in canonical(), a country's case and surrounding blanks are ignored.
_SELECTED = r"""
    ($1::text[] is null or lower(btrim(country, E' \t\n\r')) = any($1))
    and ($2::text is null or ip_address = $2 or ip_address || ':' || ip_port = $2)
    and ($3::text is null or provider = $3)
    and ($4::text is null or status = $4)
    and ($5::uuid[] is null or id = any($5))
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that meet all given conditions. `ip`: address or address:port. `country`: any spelling."""

    country: str | None = None
    ip: str | None = None
    provider: str | None = None
    status: str | None = None
    ids: Sequence[UUID] | None = None

    @property
    def arguments(self) -> tuple[list[str] | None, str | None, str | None, str | None, Sequence[UUID] | None]:
        countries = None if self.country is None else names_of(canonical(self.country))
        ip = None if self.ip is None else endpoint_text(self.ip)
        return countries, ip, self.provider, self.status, self.ids


@dataclass(frozen=True, slots=True)
class PoolIP:
    """A row as operators see it: without its login. `owner`: the name of the node that leases it, None: nobody yet."""

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
    has_login: bool
    set_aside: str | None
    notes: str | None
    owner: str | None

    @property
    def name(self) -> str:
        return endpoint_name(self.ip_address, self.ip_port)


@dataclass(frozen=True, slots=True)
class CheckableIP:
    """A row for a check. `rests_until`: the end of a lock or rest, if in the future. `node`: the owner's name."""

    id: UUID
    ip_address: str
    ip_port: str
    country: str
    provider: str
    rests_until: datetime | None
    login: Login | None
    node_id: UUID | None = None
    node: str | None = None


_OWNER = "(select name from nodes n where n.node_id = ip_rotation_pool.node_id)"
_POOL_IP = ", ".join(PoolIP.__slots__).replace("has_login", "username is not null").replace("owner", _OWNER)


@dataclass(frozen=True, slots=True)
class Added:
    """How many IPs were new, and how many of the others have another password in the pool."""

    added: int
    other_password: int

    @property
    def warnings(self) -> list[str]:
        if not self.other_password:
            return []
        return [
            f"{self.other_password} of the skipped IPs have another password in the pool, which stays:"
            " `tracepool provision remove` them and import again, or change the column password"
        ]


async def add_ips(conn: Connection, ips: Sequence[NewIP], copied: Callable[[int], None]) -> Added:
    """Adds the IPs whose endpoint is new; of duplicates the first.

    `copied` is called with each batch's number of rows.
    """
    await conn.execute(
        f"create temp table incoming (place bigint, {', '.join(f'{column} text' for column in COLUMNS)}) on commit drop"
    )
    for start in range(0, len(ips), COPY_BATCH_ROWS):
        batch = [(start + place, *astuple(ip)) for place, ip in enumerate(ips[start : start + COPY_BATCH_ROWS])]
        await conn.copy_records_to_table("incoming", records=batch, columns=["place", *COLUMNS])
        copied(len(batch))
    # In order: of duplicates in a file the first is added, and two concurrent imports do not deadlock.
    done: str = await conn.execute(
        f"insert into ip_rotation_pool ({', '.join(COLUMNS)}) select {', '.join(COLUMNS)} from incoming order by place"  # noqa: S608
        " on conflict do nothing",
        timeout=INSERT_TIMEOUT_S,
    )
    other_password = await conn.fetchval(
        "select count(*) from incoming i join ip_rotation_pool p"
        " on (p.ip_address, p.ip_port, coalesce(p.username, '')) = (i.ip_address, i.ip_port, coalesce(i.username, ''))"
        " where i.username is not null and p.set_aside is null and p.password is distinct from i.password",
        timeout=INSERT_TIMEOUT_S,
    )
    return Added(int(done.split()[-1]), other_password)


async def would_add(conn: Connection, ips: Sequence[NewIP]) -> Added:
    """What `add_ips` would return now. Nothing is added."""
    await conn.execute("savepoint dry_run")
    added = await add_ips(conn, ips, lambda _: None)
    await conn.execute("rollback to savepoint dry_run")
    return added


async def list_ips(conn: Connection, selection: Selection) -> list[PoolIP]:
    return [PoolIP(*row) for row in await _select(conn, _POOL_IP, selection)]


async def checkable_ips(conn: Connection, selection: Selection) -> list[CheckableIP]:
    columns = (
        "id, ip_address, ip_port, country, provider, username, password,"
        " case when locked_until > now() then locked_until end as rests_until,"
        f" node_id, {_OWNER} as node"
    )
    rows = [dict(row) for row in await _select(conn, columns, selection, "set_aside is null")]
    return [CheckableIP(login=login_of(row.pop("username"), row.pop("password")), **row) for row in rows]


async def _select(conn: Connection, columns: str, selection: Selection, condition: str = "true") -> list[Any]:
    return await conn.fetch(  # type: ignore[no-any-return]
        f"select {columns} from ip_rotation_pool where {_SELECTED} and {condition}"  # noqa: S608
        " order by lower(country), provider, length(ip_address), ip_address, ip_port",
        *selection.arguments,
        timeout=INSERT_TIMEOUT_S,
    )


async def remove_ips(conn: Connection, selection: Selection) -> tuple[int, int]:
    """(deleted rows, how many of them were locked). A running daemon lets their leases end."""
    row = await conn.fetchrow(
        f"with gone as (delete from ip_rotation_pool where {_SELECTED} returning status)"  # noqa: S608
        " select count(*) as removed, count(*) filter (where status = 'locked') as locked from gone",
        *selection.arguments,
        timeout=INSERT_TIMEOUT_S,
    )
    return row["removed"], row["locked"]


async def count_ips(conn: Connection, selection: Selection) -> tuple[int, int]:
    """What `remove_ips` would return now."""
    row = await conn.fetchrow(
        "select count(*) as rows, count(*) filter (where status = 'locked') as locked from ip_rotation_pool"  # noqa: S608
        f" where {_SELECTED}",
        *selection.arguments,
        timeout=INSERT_TIMEOUT_S,
    )
    return row["rows"], row["locked"]


_UNHEALTHY = "(not is_healthy or status = 'failed') and set_aside is null"


async def unhealthy_ips(conn: Connection, selection: Selection) -> list[PoolIP]:
    """The IPs that `reset_ips` would reset now."""
    return [PoolIP(*row) for row in await _select(conn, _POOL_IP, selection, _UNHEALTHY)]


async def reset_ips(conn: Connection, selection: Selection) -> list[PoolIP]:
    """Makes unhealthy and failed IPs available; returns their new rows."""
    rows = await conn.fetch(
        "update ip_rotation_pool set is_healthy = true, consecutive_failures = 0, status = 'available',"  # noqa: S608
        " locked_until = null, locked_by_request = null"
        f" where {_UNHEALTHY} and {_SELECTED} returning {_POOL_IP}",
        *selection.arguments,
        timeout=INSERT_TIMEOUT_S,
    )
    return sorted((PoolIP(*row) for row in rows), key=lambda ip: (ip.country, len(ip.ip_address), ip.name))
