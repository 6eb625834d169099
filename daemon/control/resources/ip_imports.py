"""New IPs from a file, or by number: added as the commands under `tracepool provision` do, with the same messages."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated

import trio
from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint, request
from quart_schema import validate_querystring, validate_request, validate_response

from daemon.control.api import STRICT, Flag, GetContext, Word, note_change, note_no_change
from daemon.control.openapi import takes_text
from daemon.database.records import RefusedRecord, decoded
from daemon.errors import BadInput
from daemon.pool.provision_rows import (
    COUNTRIES_NAMED_MAX,
    DEFAULT_COUNTRY,
    DEFAULT_PROVIDER,
    NewIP,
    generated_ips,
    read_ips,
)
from daemon.pool.store import Added, add_ips, would_add
from daemon.providers.proxies import DEFAULT_PORT

REFUSED_SHOWN_MAX = 1_000
SAMPLE_ROWS = 20
GENERATED_MAX = 10_000  # in one request, whose statement has a time limit
FIELDS = {"ip_address": "prefix", "ip_port": "port"}  # of rows → of IpsNumbered


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
    """Sessions of a gateway provider to add: `prefix`1 to `prefix``count`, at most 10,000 in one request.

    The default prefix is PROVIDER-COUNTRY-.
    """

    count: Annotated[int, Field(strict=True)]
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
    routes = Blueprint("ip_imports", __name__)

    @routes.post("/api/ips/import-file")
    @takes_text
    @validate_querystring(FileQuery)
    @validate_response(FileRead)
    async def import_ips(query_args: FileQuery) -> FileRead:
        """Add the IPs of a file, which is the body, as `tracepool provision import` does, with its messages."""
        here, content = context(), await request.get_data(as_text=False)
        assert isinstance(content, bytes)
        if not content:
            raise BadInput("the body is empty: it must be the file")
        defaults = {"country": query_args.country, "provider": query_args.provider}
        read = partial(read_ips, providers=here.settings().providers, defaults=defaults)
        found = await trio.to_thread.run_sync(lambda: read(decoded(content)))
        wanted = () if query_args.strict and found.refused else found.rows
        done = await _added(context, wanted, dry_run=query_args.dry_run)
        if query_args.dry_run or not wanted:
            note_no_change()
        note_change(added=done.added, refused=len(found.refused), rows_by_country=_countries(wanted))
        repeated = len(found.repeated) if wanted else 0
        strictly = [f"nothing was imported, as --strict asks: {len(found.refused)} rows refused"]
        return FileRead(
            added=done.added,
            skipped=len(wanted) - done.added + repeated,
            refused=len(found.refused),
            lines=_shown([*found.refused[:REFUSED_SHOWN_MAX], *found.repeated[:REFUSED_SHOWN_MAX]]),
            warnings=[*(strictly if query_args.strict and found.refused else ()), *done.warnings],
            sample=[_read(ip) for ip in found.rows[:SAMPLE_ROWS]],
        )

    @routes.post("/api/ips/generate")
    @validate_request(IpsNumbered)
    @validate_response(IpsGenerated)
    async def generate_ips(data: IpsNumbered) -> IpsGenerated:
        """Add numbered IPs, for providers that number sessions, as `tracepool provision generate` does."""
        given = (data.prefix, data.count, data.port, data.country, data.provider, GENERATED_MAX)
        try:
            ips = await trio.to_thread.run_sync(lambda: list(generated_ips(*given)))
        except BadInput as e:
            field = next((field for field, _ in e.errors), "")
            raise BadInput(str(e), field=FIELDS.get(field, field)) from None
        done = await _added(context, ips, dry_run=data.dry_run)
        if data.dry_run:
            note_no_change()
        note_change(added=done.added, refused=0, rows_by_country=_countries(ips))
        return IpsGenerated(done.added, len(ips) - done.added, ips[0].name, ips[-1].name)

    return routes


async def _added(context: GetContext, ips: Sequence[NewIP], *, dry_run: bool) -> Added:
    if not ips:
        return Added(0, 0)
    database = context().database
    return await (database.work(would_add, ips) if dry_run else database.work(add_ips, ips, lambda _: None))


def _countries(ips: Sequence[NewIP]) -> dict[str, int]:
    return dict(Counter(ip.country for ip in ips).most_common(COUNTRIES_NAMED_MAX))


def _shown(rows: Iterable[RefusedRecord]) -> list[LineRefused]:
    return [LineRefused(row.line, row.reason) for row in rows]


def _read(ip: NewIP) -> IpRead:
    return IpRead(ip.ip_address, ip.ip_port, ip.country, ip.provider, ip.username is not None, ip.notes)
