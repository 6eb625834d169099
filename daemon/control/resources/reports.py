"""Reports: figures of a time by group; and the rows themselves as CSV."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint, Response
from quart_schema import validate_querystring, validate_response

from daemon.control.api import ControlContext, GetContext, Time, Word
from daemon.control.exports import EXPORTS, each_chunk
from daemon.control.openapi import returns_csv
from daemon.control.problems import ProblemRaised
from daemon.control.report_groups import KEYS, By, Window, cells_of, columns_of, window_of
from daemon.control.reports import read_report
from daemon.control.resources.traces import HitsFilter
from daemon.database.spreadsheets import write_line
from daemon.errors import DatabaseUnavailable

STATEMENT_S_MAX = 60.0  # a report has two statements, and an answer 150 s
AT_ONCE_MAX = 2
CSV = "text/csv; charset=utf-8; header=present"


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """From `since` to before `until`, RFC 3339 with a zone; else the last 7 days. No `by`: by offer and country."""

    by: By | None = None
    since: Time | None = None
    until: Time | None = None


@dataclass(frozen=True, slots=True)
class ReportFigures:
    """`landed` and `fallbacks` (by reason) add up to `clicks`. Waits are null without clicks; `cost` in US dollars.

    `background`: clicks that were answered at once. `repeats`, `previews`: requests that are no clicks of their own.
    These three are in no other figure; the traces of background clicks are among `traces`.
    """

    clicks: int
    landed: int
    fallbacks: dict[str, int]
    background: int
    repeats: int
    previews: int
    wait_p50_ms: float | None
    wait_p95_ms: float | None
    traces: int
    bytes_received: int
    bytes_sent: int
    cost: float


@dataclass(frozen=True, slots=True)
class ReportRow:
    """The figures of a group. Null: the groups are not by this, or the group's clicks and traces have none."""

    figures: ReportFigures
    offer: str | None = None
    country: str | None = None
    provider: str | None = None
    day: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    """`items`: at most 1,000 groups, those with the most clicks first, days in their order; `left_out`: how many more.

    `source`: the table of traces, bytes and cost. `traffic` has them for all time, of whole days by offer, provider and
    day; a trace that was tried through two providers counts for both. `active_trace_requests` has those of the last
    retention.traces_days, each for its last provider.
    """

    since: datetime
    until: datetime
    by: By | None
    source: Literal["traffic", "active_trace_requests"]
    items: list[ReportRow]
    total: ReportFigures
    left_out: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class HitsExportQuery(HitsFilter):
    """As those of GET /api/hits; without `since`, the last 7 days (UTC)."""


@dataclass(frozen=True, slots=True)
class TracesExportQuery:
    """As those of GET /api/traces; without `since`, the last 7 days (UTC)."""

    offer: Word | None = None
    status: Literal["pending", "processing", "completed", "failed", "timeout"] | None = None
    ip: Word | None = None
    country: Word | None = None
    batch: bool | None = None
    since: Time | None = None
    until: Time | None = None


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("reports", __name__)
    slots = _Slots()

    @routes.get("/api/reports")
    @validate_querystring(ReportQuery)
    @validate_response(ReportAnswer)
    async def show_report(query_args: ReportQuery) -> ReportAnswer:
        """Clicks, fallbacks, waits, traces, bytes and cost of a time, by group."""
        database, window = context().database, _window(query_args)
        with slots.one():
            found = await database.work(read_report, query_args.by, window, STATEMENT_S_MAX)
        return ReportAnswer(
            since=window.since,
            until=window.until,
            by=found.by,
            source=found.source,
            items=[ReportRow(ReportFigures(**asdict(one.figures)), **one.keys) for one in found.groups],
            total=ReportFigures(**asdict(found.total)),
            left_out=found.left_out,
        )

    @routes.get("/api/reports/report.csv")
    @returns_csv
    @validate_querystring(ReportQuery)
    async def export_report(query_args: ReportQuery) -> Response:
        """A report as CSV (RFC 4180): a line for each group, as `tracepool report --csv` prints it."""
        database, window = context().database, _window(query_args)
        with slots.one():
            found = await database.work(read_report, query_args.by, window, STATEMENT_S_MAX)
        columns = columns_of(KEYS[found.by], [group.figures for group in found.groups])
        lines = [write_line(columns)]
        lines += [write_line(cells_of(columns, group.keys, group.figures)) for group in found.groups]
        headers = {"Content-Disposition": 'attachment; filename="report.csv"'}
        return Response("".join(lines), content_type=CSV, headers=headers)

    @routes.get("/api/reports/hits.csv")
    @returns_csv
    @validate_querystring(HitsExportQuery)
    async def export_hits(query_args: HitsExportQuery) -> Response:
        """The answered clicks as CSV (RFC 4180), the oldest first."""
        return await _csv(context(), "hits", query_args, slots)

    @routes.get("/api/reports/traces.csv")
    @returns_csv
    @validate_querystring(TracesExportQuery)
    async def export_traces(query_args: TracesExportQuery) -> Response:
        """The traces without their hops as CSV (RFC 4180), the oldest first."""
        return await _csv(context(), "traces", query_args, slots)

    return routes


def _window(query: Any) -> Window:
    return window_of(query.since, query.until, datetime.now(UTC))


class _Slots:
    """The reports and exports that run at once. Each uses one of the daemon's connections to PostgreSQL."""

    def __init__(self) -> None:
        self._used = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises ProblemRaised if AT_ONCE_MAX run already."""
        if self._used >= AT_ONCE_MAX:
            why = f"{AT_ONCE_MAX} reports or exports run already: ask again later"
            raise ProblemRaised(503, why, kind="/problems/busy", title="Busy")
        self._used += 1
        try:
            yield
        finally:
            self._used -= 1


async def _csv(context: ControlContext, noun: str, query: Any, slots: _Slots) -> Response:
    window, wanted = _window(query), asdict(query)
    filters = {**wanted, "since": window.since, "until": window.until}
    chunks = _chunks(context, noun, filters, slots)
    first = await anext(chunks)  # before the answer's head, so that an error can still be told
    headers = {"Content-Disposition": f'attachment; filename="{noun}.csv"', "X-Accel-Buffering": "no"}
    return Response(_all(first, chunks), content_type=CSV, headers=headers)


async def _chunks(
    context: ControlContext, noun: str, filters: Mapping[str, Any], slots: _Slots
) -> AsyncIterator[bytes]:
    """The lines. An error in between closes the connection before the end of the body, so that clients see it."""
    with slots.one():
        async for lines in each_chunk(context.database.work, EXPORTS[noun], filters):
            if context.stopping.is_set():
                raise DatabaseUnavailable("tracepool is stopping", "ask again when it has started")
            yield lines.encode()


async def _all(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in others:
        yield chunk
