"""/api/ips: the rows of the proxy IPs. The pools adopt a change made here as they adopt an edit by SQL."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_request, validate_response

from daemon.control.api import (
    STRICT,
    Cursor,
    Flag,
    GetContext,
    Limit,
    RowRefused,
    Word,
    add_list,
    from_row,
    note_change,
    parse_rows,
)
from daemon.control.listings import IPS, TRACES, PageQuery, read_one, read_page
from daemon.control.observers import Failure
from daemon.control.problems import ProblemRaised
from daemon.database.postgres import Connection
from daemon.pool.provision_rows import NewIP, new_ip
from daemon.pool.store import Selection, add_ips, remove_ips, reset_ips
from daemon.web.endpoints import endpoint_name

HISTORY_MAX = 100
Credential = Annotated[str, Field(max_length=1_024, pattern=r"^[^\x00]*$")]
Status = Literal["available", "locked", "cooldown", "failed"]
Ascending = Literal["created", "ip", "country", "status", "last_used", "uses", "failures", "response_ms"]
Descending = Literal["-created", "-ip", "-country", "-status", "-last_used", "-uses", "-failures", "-response_ms"]


@dataclass(frozen=True, slots=True)
class IpsQuery:
    """`ip`: an address, or address:port. `node`: the name of the node that owns the IPs.

    `cursor`: the `next` of the page before.
    """

    country: Word | None = None
    provider: Word | None = None
    status: Status | None = None
    healthy: bool | None = None
    ip: Word | None = None
    node: Word | None = None
    sort: Literal[Ascending, Descending] = "created"
    cursor: Cursor | None = None
    limit: Limit = 50


@dataclass(frozen=True, slots=True)
class IpRow:
    """A row of ip_rotation_pool. With a gateway provider `ip_address` is a session slot.

    `has_login`: the row has a username of its own, which is not shown. `set_aside`: why the row is never leased.
    `owner`: the name of the node that owns the IP and alone leases it; null: nobody yet.
    """

    id: UUID
    ip_address: str
    ip_port: str
    country: str
    provider: str
    status: str
    is_healthy: bool
    locked_until: datetime | None
    locked_by_request: UUID | None
    last_used_at: datetime | None
    total_uses: int
    success_count: int
    failure_count: int
    consecutive_failures: int
    avg_response_time_ms: float | None
    last_health_check: datetime | None
    lease_no: int
    bytes_received: int
    bytes_sent: int
    notes: str | None
    has_login: bool
    set_aside: str | None
    owner: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class IpTrace:
    """A trace through the IP."""

    request_id: UUID
    offer_name: str | None
    status: str
    created_at: datetime
    trace_time_ms: int | None
    bytes_received: int
    error_message: str | None


@dataclass(frozen=True, slots=True)
class IpDetail:
    """One IP and its latest traces. `last_failure`: the IP's last own fault since the daemon started, or null."""

    ip: IpRow
    traces: list[IpTrace]
    last_failure: Failure | None


@dataclass(frozen=True, slots=True, config=STRICT)
class IpNew:
    """An IP to add. The defaults are those of `tracepool provision import`.

    `ip_address` may hold more than the host, as vendors' lists do: `192.0.2.7:3128:username:password`. A login belongs
    to its IP, and is used instead of its provider's.
    """

    ip_address: Word
    ip_port: Word | None = None
    username: Credential | None = None
    password: Credential | None = None
    country: Word | None = None
    provider: Word | None = None
    notes: Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")] | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class IpsNew:
    """Rows to add. `strict`: a bad row refuses all rows."""

    rows: Annotated[list[IpNew], Field(min_length=1, max_length=50_000)]
    strict: Flag = False


@dataclass(frozen=True, slots=True)
class IpsAdded:
    """`skipped`: IPs that existed already."""

    added: int
    skipped: int
    refused: list[RowRefused]


@dataclass(frozen=True, slots=True)
class IpsReset:
    """The IPs that are available again, as address:port."""

    reset: list[str]


@dataclass(frozen=True, slots=True)
class IpRetired:
    """`locked`: the IP is in use, and is removed when its lease ends."""

    removed: int
    locked: int


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("ips", __name__)
    add_list(routes, context, "list_ips", "/api/ips", IPS, IpsQuery, IpRow, summary="The IPs, a page at a time.")

    @routes.get("/api/ips/<uuid:ip_id>")
    @validate_response(IpDetail)
    async def show_ip(ip_id: UUID) -> IpDetail:
        """One IP with its latest 100 traces."""
        row, traces = await context().database.work(_read_detail, ip_id)
        failure = context().observers.last_failure(ip_id)
        return IpDetail(from_row(IpRow, _known(row, ip_id)), [from_row(IpTrace, trace) for trace in traces], failure)

    _add_changes(routes, context)
    return routes


def _add_changes(routes: Blueprint, context: GetContext) -> None:
    @routes.post("/api/ips")
    @validate_request(IpNew)
    @validate_response(IpRow, 201)
    async def add_ip(data: IpNew) -> tuple[IpRow, int]:
        """Add an IP; 409 if the pool has it already."""
        ip = new_ip(_given(data), context().settings().providers)
        row = await context().database.work(_add_one, ip)
        if row is None:
            raise ProblemRaised(409, f"{ip.name} is in the pool already")
        note_change(ip.name)
        return from_row(IpRow, row), 201

    @routes.post("/api/ips/import")
    @validate_request(IpsNew)
    @validate_response(IpsAdded)
    async def import_ips(data: IpsNew) -> IpsAdded:
        """Add many IPs. An IP that exists is skipped."""
        providers = context().settings().providers
        rows, refused = parse_rows(data.rows, lambda row: new_ip(_given(row), providers), strict=data.strict)
        added = (await context().database.work(add_ips, rows, lambda _: None)).added if rows else 0
        note_change(added=added, refused=len(refused))
        return IpsAdded(added, len(rows) - added, refused)

    @routes.post("/api/ips/<uuid:ip_id>/reset")
    @validate_response(IpsReset)
    async def reset_ip(ip_id: UUID) -> IpsReset:
        """Make one unhealthy IP available again."""
        database = context().database
        _known(await database.work(read_one, IPS, ip_id), ip_id)
        rows = await database.work(reset_ips, Selection(ids=[ip_id]))
        note_change(", ".join(row.name for row in rows) or str(ip_id), reset=len(rows))
        return IpsReset([row.name for row in rows])

    @routes.delete("/api/ips/<uuid:ip_id>")
    @validate_response(IpRetired)
    async def retire_ip(ip_id: UUID) -> IpRetired:
        """Retire an IP. A lease of the IP ends first."""
        database = context().database
        row = _known(await database.work(read_one, IPS, ip_id), ip_id)
        removed, locked = await database.work(remove_ips, Selection(ids=[ip_id]))
        if not removed:
            _known(None, ip_id)
        note_change(endpoint_name(row["ip_address"], row["ip_port"]), country=row["country"], locked=locked)
        return IpRetired(removed, locked)


async def _read_detail(conn: Connection, ip_id: UUID) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    row = await read_one(conn, IPS, ip_id)
    if row is None:
        return None, []
    traces, _ = await read_page(conn, TRACES, PageQuery("-created", HISTORY_MAX, None, {"ip": row["ip_address"]}))
    return row, traces


async def _add_one(conn: Connection, ip: NewIP) -> dict[str, Any] | None:
    """The new row; None if the pool has the IP already."""
    if not (await add_ips(conn, [ip], lambda _: None)).added:
        return None
    [row], _ = await read_page(conn, IPS, PageQuery("-created", 1, None, {"ip": f"{ip.ip_address}:{ip.ip_port}"}))
    return row


def _given(new: IpNew) -> dict[str, object]:
    return {name: value for name, value in asdict(new).items() if value is not None}


def _known(row: dict[str, Any] | None, ip_id: UUID) -> dict[str, Any]:
    if row is None:
        raise ProblemRaised(404, f"no IP has the id {ip_id}: GET /api/ips lists them")
    return row
