"""Reports: clicks, fallbacks, waits, traces, bytes and cost by group. A unit of work.

PostgreSQL does all sums; sorts and joins that exceed its work_mem use its temporary files. The SQL is made of the
constants here. A click counts when it was answered, a trace when it ended; repeats,
previews (hits.kind) and background clicks (hits.outcome) are counted apart. The country of a click is that of its
trace, else the one that was chosen for it, else the first one of its offer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daemon.control.report_groups import KEYS, LANDED, By, Figures, Source, Window, clicks_of, source_of, with_traces
from daemon.countries import ALIASES
from daemon.database.postgres import CLIENT_MARGIN_S, Connection

GROUPS_MAX = 1_000
TRACE_GROUPS_MAX = 10_000

_COUNTRY = "coalesce($3::jsonb ->> lower(btrim({0})), lower(btrim({0})))"
_CLICK_KEYS = {
    "offer": "coalesce(o.offer_name, h.offer_name)",
    "country": _COUNTRY.format("coalesce(t.target_country, h.country, o.target_country)"),
    "provider": "t.provider",
    "day": "(h.created_at at time zone 'utc')::date::text",
    "reason": """case when h.kind <> 'click' then null when h.outcome = 'resolved' then $4
                   when h.outcome = 'background' then h.outcome else coalesce(h.reason, 'unknown') end""",
}
_TRACE_KEYS = {
    "offer": "coalesce(o.offer_name, gone.offer_name)",
    "country": _COUNTRY.format("t.target_country"),
    "provider": "t.provider",
    "day": "(t.completed_at at time zone 'utc')::date::text",
    "reason": "case when h.outcome = 'resolved' then $4 else coalesce(h.reason, h.outcome) end",
}
_TRAFFIC_KEYS = {"offer": "coalesce(o.offer_name, f.offer_name)", "provider": "f.provider", "day": "f.day::text"}
# A trace begins before its click is answered, at most a deadline.
_TRACE_OF_HIT = """
    left join active_trace_requests t on t.request_id = h.request_id
              and t.created_at >= $1::timestamptz - interval '1 hour' and t.created_at < $2::timestamptz"""
_HIT_OF_TRACE = """
    left join hits h on h.request_id = t.request_id
              and h.created_at >= $1::timestamptz - interval '1 day'
              and h.created_at < $2::timestamptz + interval '1 hour'"""
# The groups with the most clicks, after the total.
_CLICKS = """
with answered as materialized (
    select {first} as first, {second} as second, coalesce({reason}, '#' || h.kind) as reason,
           case when h.kind = 'click' and h.outcome <> 'background' then h.wait_ms end as wait_ms
    from hits h left join offers o on o.id = h.offer_id {join}
    where h.created_at >= $1::timestamptz and h.created_at < $2::timestamptz
), by_reason as (
    select first, second, reason, count(*) as hits, count(wait_ms) as clicks from answered group by 1, 2, 3
), by_group as (
    select first, second, sum(clicks)::bigint as clicks, jsonb_object_agg(reason, hits) as reasons
    from by_reason group by 1, 2
), waits as (
    select first, second, percentile_cont(array[0.5, 0.95]) within group (order by wait_ms) as waits
    from answered group by 1, 2
), total as (
    select sum(clicks)::bigint as clicks, (select jsonb_object_agg(reason, hits) from (
               select reason, sum(hits)::bigint as hits from by_reason group by 1) r) as reasons,
           (select percentile_cont(array[0.5, 0.95]) within group (order by wait_ms) from answered) as waits,
           (select count(*) from by_group) as groups
    from by_reason
)
select true as is_total, '' as first, '' as second, clicks, reasons, waits, groups from total
union all
(select false, first, second, clicks, reasons, waits, null
 from by_group join waits using (first, second) order by clicks desc, first, second limit {limit})"""
# Only the index on created_at exists. A trace of the batch lane that waited for over a day before it began is missing.
_TRACES = """
from active_trace_requests t left join offers o on o.id = t.offer_id {join}
     left join (select offer_id, max(offer_name) as offer_name from traffic group by 1) gone
               on gone.offer_id = t.offer_id
where t.completed_at >= $1::timestamptz and t.completed_at < $2::timestamptz and t.cost is not null
      and t.created_at >= $1::timestamptz - interval '1 day' and t.created_at < $2::timestamptz"""
_TRAFFIC = """
from traffic f left join offers o on o.id = f.offer_id where f.day >= $1::date and f.day < $2::date"""
_SUMS = """
select grouping(first) = 1 as is_total, first, second, sum(traces)::bigint as traces,
       sum(bytes_received)::bigint as bytes_received, sum(bytes_sent)::bigint as bytes_sent, sum(cost)::float8 as cost
from (select {first} as first, {second} as second, {traces} as traces, {of}.bytes_received, {of}.bytes_sent, {of}.cost
      {source}) s
group by grouping sets ((first, second), ()) order by 1 desc, 4 desc, 2, 3 limit {limit}"""


@dataclass(frozen=True, slots=True)
class Group:
    """`keys`: by name; None where a click or a trace has none."""

    keys: dict[str, str | None]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Report:
    """`groups`: those with the most clicks first, days in their order. `left_out`: groups beyond GROUPS_MAX.

    `source`: the table of traces, bytes and cost.
    """

    window: Window
    by: By | None
    source: Source
    groups: list[Group]
    total: Figures
    left_out: int


async def read_report(conn: Connection, by: By | None, window: Window, limit_s: float) -> Report:
    """`limit_s`: of each of the two statements."""
    source = source_of(by, window)
    await conn.execute(f"set local statement_timeout = {limit_s * 1_000:.0f}")
    clicks, whole, groups = await _clicks(conn, by, window, limit_s)
    sums = await _sums(conn, by, window, source, limit_s)
    keys = [*clicks, *(key for key in sums if key is not None and key not in clicks)]
    found = {key: with_traces(clicks.get(key, Figures()), sums.get(key)) for key in keys[:GROUPS_MAX]}
    several = [
        Group({name: text or None for name, text in zip(KEYS[by], key, strict=False)}, figures)
        for key, figures in found.items()
    ]
    if by == "day":
        several.sort(key=lambda group: group.keys["day"] or "")
    left_out = groups - len(clicks) + len(keys) - len(several)
    return Report(window, by, source, several, with_traces(whole, sums.get(None)), left_out)


async def click_times(conn: Connection) -> tuple[datetime, datetime] | None:
    """When the first click of the table and the last one were answered; None if there is none."""
    row = await conn.fetchrow("select min(created_at) as first, max(created_at) as last from hits")
    return None if row["first"] is None else (row["first"], row["last"])


Key = tuple[str, str]


async def _clicks(
    conn: Connection, by: By | None, window: Window, limit_s: float
) -> tuple[dict[Key, Figures], Figures, int]:
    """The groups, the total, and how many groups there are."""
    first, second = _keys(by, _CLICK_KEYS)
    statement = _CLICKS.format(
        first=first,
        second=second,
        reason=_CLICK_KEYS["reason"],
        join=_TRACE_OF_HIT if "t." in first + second else "",
        limit=GROUPS_MAX,
    )
    total, *rows = await _fetch(conn, limit_s, _known(statement), window.since, window.until)
    if total["reasons"] is None:
        return {}, Figures(), 0
    return (
        {(row["first"], row["second"]): clicks_of(_read(row)) for row in rows},
        clicks_of(_read(total)),
        total["groups"],
    )


async def _sums(
    conn: Connection, by: By | None, window: Window, source: Source, limit_s: float
) -> dict[Key | None, Mapping[str, Any]]:
    """Traces, bytes and cost; those of the key None are of all groups."""
    if source == "traffic":
        first, second = _keys(by, _TRAFFIC_KEYS)
        parts = {"traces": "f.traces", "of": "f", "source": _TRAFFIC}
        span: tuple[Any, Any] = window.days
    else:
        first, second = _keys(by, _TRACE_KEYS)
        parts = {"traces": "1", "of": "t", "source": _TRACES.format(join=_HIT_OF_TRACE if by == "reason" else "")}
        span = window.since, window.until
    statement = _SUMS.format(first=first, second=second, limit=TRACE_GROUPS_MAX, **parts)
    rows = await _fetch(conn, limit_s, _known(statement), *span)
    return {
        None if row["is_total"] else (row["first"], row["second"]): row for row in rows if row["traces"] is not None
    }


def _keys(by: By | None, expressions: Mapping[str, str]) -> tuple[str, str]:
    """Two keys for each group; an empty text is a key that a group has not."""
    found = [f"coalesce({expressions[name]}, '')" for name in KEYS[by]]
    return found[0], found[1] if len(found) > 1 else "''"


def _known(statement: str) -> str:
    """The statement with the aliases of countries and the word for landed clicks in place of $3 and $4."""
    aliases = json.dumps(dict(ALIASES)).replace("'", "''")
    return statement.replace("$3", f"'{aliases}'").replace("$4", f"'{LANDED}'")


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    reasons = row["reasons"]
    return {**row, "reasons": json.loads(reasons) if isinstance(reasons, str) else reasons}


async def _fetch(conn: Connection, limit_s: float, statement: str, *args: Any) -> list[dict[str, Any]]:
    rows = await conn.fetch(statement, *args, timeout=limit_s + CLIENT_MARGIN_S)
    return [dict(row) for row in rows]
