"""Changes of many IPs at once: reset, remove and check those that meet conditions; import a file; number sessions."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated
from uuid import UUID

import trio
from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint, request
from quart_schema import validate_querystring, validate_request, validate_response

from daemon.checks.checker import NO_CHECK_URL, SKIPPED, Checker
from daemon.control.api import STRICT, Flag, GetContext, Word, note_change
from daemon.control.openapi import takes_text
from daemon.control.problems import ProblemRaised
from daemon.control.resources.ips import IpRetired, IpsReset, Status
from daemon.database.postgres import Connection
from daemon.database.records import RefusedRecord, decoded
from daemon.errors import BadInput
from daemon.pool.provision_rows import (
    DEFAULT_COUNTRY,
    DEFAULT_PROVIDER,
    NewIP,
    country_warnings,
    generated_ips,
    read_ips,
)
from daemon.pool.store import (
    Added,
    CheckableIP,
    Selection,
    add_ips,
    checkable_ips,
    count_ips,
    remove_ips,
    reset_ips,
    unhealthy_ips,
    would_add,
)
from daemon.providers.proxies import DEFAULT_PORT
from daemon.web.endpoints import endpoint_name

IDS_MAX = 10_000
CHECKED_MAX = 20  # in one request, which ends before an answer is too late
REFUSED_SHOWN_MAX = 1_000
SAMPLE_ROWS = 20
GENERATED_MAX = 100_000  # in one request
FIELDS = {"ip_address": "prefix", "ip_port": "port"}  # of rows → of IpsNumbered


@dataclass(frozen=True, slots=True, config=STRICT)
class IpSelection:
    """The IPs that meet each condition given. For a reset: those of them that are unhealthy.

    `expected`: if another number of IPs meets them by now, the status is 409 and nothing is changed. `dry_run`: the
    answer is as of a change, and nothing is changed. `all`: without a condition, every IP.
    """

    country: Word | None = None
    ip: Word | None = None
    provider: Word | None = None
    status: Status | None = None
    ids: Annotated[list[UUID], Field(max_length=IDS_MAX)] | None = None
    expected: Annotated[int, Field(ge=0, strict=True)] | None = None
    dry_run: Flag = False
    all: Flag = False

    def selection(self) -> Selection:
        return Selection(country=self.country, ip=self.ip, provider=self.provider, status=self.status, ids=self.ids)

    @property
    def is_limited(self) -> bool:
        return any(one is not None for one in (self.country, self.ip, self.provider, self.status, self.ids))

    def check_count(self, count: int) -> None:
        """Raises ProblemRaised if the count is not the expected one: the change is then rolled back."""
        if self.expected is not None and count != self.expected:
            raise ProblemRaised(
                409,
                f"{count} IPs meet these conditions now, not {self.expected}: nothing was changed. Look again",
                kind="/problems/changed",
                title="Changed in the meantime",
            )


@dataclass(frozen=True, slots=True, config=STRICT)
class IpsToCheck:
    ids: Annotated[list[UUID], Field(min_length=1, max_length=CHECKED_MAX)]


@dataclass(frozen=True, slots=True)
class IpChecked:
    """`kind`: working, slow, refused, wrong_credentials, failed, or skipped, with the reason in `message`."""

    id: UUID
    ip: str
    kind: str
    ms: float | None
    exit_ip: str | None
    message: str


@dataclass(frozen=True, slots=True)
class IpsChecked:
    items: list[IpChecked]


@dataclass(frozen=True, slots=True)
class FileQuery:
    """`country`, `provider`: of rows that name none. `strict`: a bad row refuses all rows. `dry_run`: add nothing."""

    country: Word = DEFAULT_COUNTRY
    provider: Word = DEFAULT_PROVIDER
    strict: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class LineRefused:
    """A row of a file, by the line where it begins, from 1."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class IpRead:
    """A row of a file, without its password."""

    ip_address: str
    ip_port: str
    country: str
    provider: str
    has_login: bool
    notes: str | None


@dataclass(frozen=True, slots=True)
class FileRead:
    """What an import added, or with `dry_run` would add. `skipped`: IPs that the pool or the file has already.

    `lines`: the refused and the repeated rows, the first 1,000 of each. `sample`: the first rows.
    """

    added: int
    skipped: int
    refused: int
    lines: list[LineRefused]
    warnings: list[str]
    sample: list[IpRead]


@dataclass(frozen=True, slots=True, config=STRICT)
class IpsNumbered:
    """Sessions of a gateway provider to add: `prefix`1 to `prefix``count`; the default prefix is PROVIDER-COUNTRY-."""

    count: Annotated[int, Field(ge=1, le=GENERATED_MAX, strict=True)]
    country: Word = DEFAULT_COUNTRY
    provider: Word = DEFAULT_PROVIDER
    prefix: Word | None = None
    port: Word = DEFAULT_PORT
    dry_run: Flag = False


@dataclass(frozen=True, slots=True)
class IpsGenerated:
    """`skipped`: IPs that existed already. `first`, `last`: as address:port."""

    added: int
    skipped: int
    first: str
    last: str


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("ip_sets", __name__)

    @routes.post("/api/ips/reset")
    @validate_request(IpSelection)
    @validate_response(IpsReset)
    async def reset(data: IpSelection) -> IpsReset:
        """Make unhealthy IPs available again; without a condition, all of them."""
        names = await context().database.work(_reset, data)
        if not data.dry_run:
            note_change(reset=len(names))
        return IpsReset(names)

    @routes.post("/api/ips/remove")
    @validate_request(IpSelection)
    @validate_response(IpRetired)
    async def remove(data: IpSelection) -> IpRetired:
        """Remove IPs from the pool. The lease of an IP that is locked ends first."""
        if data.all == data.is_limited:
            conditions = "ids, ip, country, provider or status"
            raise BadInput(f"say which IPs: give {conditions}, which may be combined, or all alone")
        removed, locked = await context().database.work(_remove, data)
        if not data.dry_run:
            note_change(removed=removed)
        return IpRetired(removed, locked)

    @routes.post("/api/ips/check")
    @validate_request(IpsToCheck)
    @validate_response(IpsChecked)
    async def check(data: IpsToCheck) -> IpsChecked:
        """Check IPs as `tracepool provision check` does: fetch provision.check_url through each, with a lease."""
        here = context()
        if not here.settings().provision.check_url:
            raise ProblemRaised(409, NO_CHECK_URL)
        ips = await here.database.work(checkable_ips, Selection(ids=data.ids))
        note_change(checked=len(ips))
        return IpsChecked(await _checked(ips, here.checker, here.settings().provision.check_timeout_s))

    _add_new(routes, context)
    return routes


def _add_new(routes: Blueprint, context: GetContext) -> None:
    @routes.post("/api/ips/import-file")
    @takes_text
    @validate_querystring(FileQuery)
    @validate_response(FileRead)
    async def import_ip_file(query_args: FileQuery) -> FileRead:
        """Add the IPs of a file, which is the body, as `tracepool provision import` does, with its messages."""
        here, content = context(), await request.get_data(as_text=False)
        assert isinstance(content, bytes)
        defaults = {"country": query_args.country, "provider": query_args.provider}
        read = partial(read_ips, providers=here.settings().providers, defaults=defaults)
        found = await trio.to_thread.run_sync(lambda: read(decoded(content)))
        wanted = () if query_args.strict and found.refused else found.rows
        done = await _added(context, wanted, dry_run=query_args.dry_run)
        if not query_args.dry_run:
            note_change(added=done.added, refused=len(found.refused))
        repeated = len(found.repeated) if wanted else 0
        strictly = [f"nothing was imported, as --strict asks: {len(found.refused)} rows refused"]
        return FileRead(
            added=done.added,
            skipped=len(wanted) - done.added + repeated,
            refused=len(found.refused),
            lines=_shown([*found.refused[:REFUSED_SHOWN_MAX], *found.repeated[:REFUSED_SHOWN_MAX]]),
            warnings=[
                *(strictly if query_args.strict and found.refused else ()),
                *country_warnings(found.rows),
                *done.warnings,
            ],
            sample=[_read(ip) for ip in found.rows[:SAMPLE_ROWS]],
        )

    @routes.post("/api/ips/generate")
    @validate_request(IpsNumbered)
    @validate_response(IpsGenerated)
    async def generate(data: IpsNumbered) -> IpsGenerated:
        """Add numbered IPs, for providers that number sessions, as `tracepool provision generate` does."""
        given = (data.prefix, data.count, data.port, data.country, data.provider)
        try:
            ips = await trio.to_thread.run_sync(lambda: list(generated_ips(*given)))
        except BadInput as e:
            field = next((field for field, _ in e.errors), "")
            raise BadInput(str(e), field=FIELDS.get(field, field)) from None
        done = await _added(context, ips, dry_run=data.dry_run)
        if not data.dry_run:
            note_change(added=done.added)
        return IpsGenerated(done.added, len(ips) - done.added, ips[0].name, ips[-1].name)


async def _reset(conn: Connection, wanted: IpSelection) -> list[str]:
    ips = await (unhealthy_ips if wanted.dry_run else reset_ips)(conn, wanted.selection())
    wanted.check_count(len(ips))
    return [ip.name for ip in ips]


async def _remove(conn: Connection, wanted: IpSelection) -> tuple[int, int]:
    counts = await (count_ips if wanted.dry_run else remove_ips)(conn, wanted.selection())
    wanted.check_count(counts[0])
    return counts


async def _added(context: GetContext, ips: Sequence[NewIP], *, dry_run: bool) -> Added:
    if not ips:
        return Added(0, 0)
    database = context().database
    return await (database.work(would_add, ips) if dry_run else database.work(add_ips, ips, lambda _: None))


async def _checked(ips: Sequence[CheckableIP], checker: Checker, timeout_s: float) -> list[IpChecked]:
    found: dict[UUID, IpChecked] = {}

    async def check_one(ip: CheckableIP) -> None:
        result = await checker.check(str(ip.id), ip.country, timeout_s)
        message = result["message"]
        if result["kind"] == SKIPPED and ip.node is not None and "this node does not own" in message:
            message = f"node {ip.node} owns this IP: check it there"
        name = endpoint_name(ip.ip_address, ip.ip_port)
        found[ip.id] = IpChecked(ip.id, name, str(result["kind"]), result["ms"], result["exit_ip"], message)

    async with trio.open_nursery() as nursery:
        for ip in ips:
            nursery.start_soon(check_one, ip)
    return [found[ip.id] for ip in ips]


def _shown(rows: Iterable[RefusedRecord]) -> list[LineRefused]:
    return [LineRefused(row.line, row.reason) for row in rows]


def _read(ip: NewIP) -> IpRead:
    return IpRead(ip.ip_address, ip.ip_port, ip.country, ip.provider, ip.username is not None, ip.notes)
