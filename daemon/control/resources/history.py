"""Clicks, fallbacks, wait and trace times over time: the last day from memory, any range with PostgreSQL's minutes."""

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_querystring, validate_response

from daemon.control.api import ControlContext, GetContext, Time, Word
from daemon.control.click_history import RANGE_S_MAX, Range, cut, joined
from daemon.control.history import DAY_MINUTES, FALLBACK_REASONS, MINUTE_S, MINUTES, OTHER, Series, Span
from daemon.control.problems import ProblemRaised
from daemon.control.resources.nodes import chosen_node
from daemon.errors import DatabaseUnavailable
from daemon.nodes.listing import NodeEntry

SLACK_S = 10.0  # between a client's clock and this one


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """The hour is in steps of 5 s, the day in minutes.

    `since`, `until`: this range instead of `span`, in steps of a minute or more, such that there are at most 750
    buckets; inside the last hour in steps of 5 s. Without `until`, up to now.

    `node`: only this node's figures, by its name or the beginning of its id; without it, those of all nodes together.
    Figures of one node go back a day at most, and to the start of the answering daemon.
    """

    span: Literal["hour", "day"] = "hour"
    since: Time | None = None
    until: Time | None = None
    node: Word | None = None


@dataclass(frozen=True, slots=True)
class TimePercentiles:
    """Milliseconds in buckets of `times_step_s`; null for one without clicks or traces."""

    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Counts in buckets of `step_s` from `from_s` (seconds since 1970) on; the last bucket may not be over yet.

    Times in buckets of `times_step_s` from `minutes_from_s` on; in a bucket longer than a minute they are the mean of
    its minutes. There are no figures from before `began_s`: with `span`, the start of the daemon, which records what
    other nodes do since it first saw them; with `since`, the first recorded minute. `node`: null for all nodes
    together. A minute's times that are not the answering node's own are those of the last minute before a renewal in
    it.
    """

    span: str
    began_s: float
    step_s: float
    from_s: float
    resolved: list[int]
    fallbacks: dict[str, list[int]]
    background: list[int]
    left: list[int]
    refused: list[int]
    minutes_from_s: float
    times_step_s: float
    wait_ms: TimePercentiles
    trace_ms: TimePercentiles
    deadline_ms: float
    node: str | None = None


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("history", __name__)

    @routes.get("/api/history")
    @validate_querystring(HistoryQuery)
    @validate_response(HistoryAnswer)
    async def history(query_args: HistoryQuery) -> HistoryAnswer:
        """Clicks, fallbacks by reason, wait and trace times over time, of all nodes or of one."""
        here = context()
        entry = chosen_node(context, query_args.node) if query_args.node else None
        if query_args.since is None:
            began_s, series = _in_memory(here, query_args.span, entry)
        else:
            began_s, series = await _in_range(here, _range_of(query_args.since, query_args.until), entry)
        counts = series.counts
        return HistoryAnswer(
            span=query_args.span if query_args.since is None else "range",
            began_s=round(began_s),
            step_s=series.step_s,
            from_s=round(series.from_s),
            resolved=counts["resolved"],
            fallbacks={reason: counts[reason] for reason in (*FALLBACK_REASONS, OTHER)},
            background=counts["background"],
            left=counts["left"],
            refused=counts["refused"],
            minutes_from_s=round(series.minutes_from_s),
            times_step_s=series.times_step_s,
            wait_ms=TimePercentiles(**series.wait_ms),
            trace_ms=TimePercentiles(**series.trace_ms),
            deadline_ms=here.settings().click.deadline_s * 1000,
            node=None if entry is None else entry.name,
        )

    return routes


def _range_of(since: datetime, until: datetime | None) -> Range:
    now = datetime.now(UTC)
    wanted = Range(since.timestamp(), min(now, until or now).timestamp())
    if wanted.length_s < 1:
        raise ProblemRaised(400, "since must be in the past, and before until")
    if wanted.length_s > RANGE_S_MAX:
        raise ProblemRaised(400, f"the range is longer than {RANGE_S_MAX // 86_400} days")
    return wanted


def _in_memory(here: ControlContext, span: Span, entry: NodeEntry | None) -> tuple[float, Series]:
    """When recording began, and the series, both by the wall clock."""
    now, recorded = here.overview.now(), here.observers.history
    if entry is not None and entry.this:
        began_s, series = recorded.own.began_s, recorded.own.series(span, now.tick_s)
    else:
        node_id = None if entry is None else UUID(entry.node_id)
        began_s, series = recorded.began_s(node_id), recorded.series(span, now.tick_s, node_id)
    ahead_s = now.wall_s - now.tick_s
    return began_s + ahead_s, series.moved(ahead_s)


async def _in_range(here: ControlContext, wanted: Range, entry: NodeEntry | None) -> tuple[float, Series]:
    """From memory, unless PostgreSQL has minutes of the range from before the daemon's start or the last day."""
    now_s = here.overview.now().wall_s
    began_s, day = _in_memory(here, "day", entry)
    is_fine = wanted.since_s > now_s - MINUTES["hour"] * MINUTE_S - SLACK_S
    memory = cut(_in_memory(here, "hour", entry)[1] if is_fine else day, wanted)
    oldest_s = max(began_s, now_s - (DAY_MINUTES - 1) * MINUTE_S)
    if entry is not None or wanted.since_s >= oldest_s:
        return began_s, memory
    try:
        since_s = wanted.since_s // wanted.step_s * wanted.step_s  # the whole of the first bucket
        rows = await here.database.fetch("click_history", since_s, wanted.until_s, wanted.step_s)
    except DatabaseUnavailable:
        return began_s, memory
    if not rows or rows[0]["at"] >= oldest_s - MINUTE_S:
        return began_s, memory
    return min(began_s, rows[0]["began_s"]), joined(wanted, rows, day)
