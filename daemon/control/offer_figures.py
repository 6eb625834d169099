"""A row for each offer: its clicks, fallbacks, waits and cost in a time, its state and its IPs.

PostgreSQL counts the hits of a time in one scan without a sort: waits are counted by ranges of 6%, so a p50 or p95 is
exact to 3%. A result is kept for at least 20 times as long as the scan took: however many pages ask, a table of
millions of hits costs PostgreSQL at most a twentieth of one core for each time that is looked at. 500,000 hits take
0.7 s of CPU. States and IPs are those of the request.
"""

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import trio

from daemon.control.report_groups import Figures, Window, clicks_of
from daemon.countries import canonical
from daemon.database.postgres import CLIENT_MARGIN_S, Connection
from daemon.errors import TheirFault
from daemon.pool.messages import Counts

State = Literal["broken", "active", "paused", "removed", "unknown"]
Span = Literal["15m", "1h", "6h", "24h", "today", "yesterday", "7d", "30d"]

FRESH_S = 5.0
SCANS_APART = 20.0
KEPT_MAX = 32
ROWS_MAX = 3_000
WORK_MEMORY = "64MB"  # for some 100,000 groups of offer, reason and wait
COST_HOURS_MAX = 6
_DAY = timedelta(days=1)
_SPANS = {
    "15m": timedelta(minutes=15), "1h": timedelta(hours=1), "6h": timedelta(hours=6), "24h": _DAY,
    "7d": 6 * _DAY, "30d": 29 * _DAY,
}  # fmt: skip

# The offers with the most hits; the offer of a hit by its id, else by its name.
_CLICKS = """
with counted as materialized (
    select offer_id, offer_name, case when kind <> 'click' then '#' || kind when outcome = 'resolved' then 'landed'
                                      when outcome = 'background' then outcome
                                      else coalesce(reason, 'unknown') end as reason,
           case when kind = 'click' and outcome <> 'background'
                then round(40 * log(greatest(wait_ms, 0) + 1))::int end as range, count(*) as hits
    from hits where created_at >= $1::timestamptz and created_at < $2::timestamptz group by 1, 2, 3, 4
), named as (
    select coalesce(o.offer_name, c.offer_name) as name, c.reason, c.range, sum(c.hits) as hits,
           bool_or(c.offer_id is not null and o.id is null) as removed
    from counted c left join offers o on o.id = c.offer_id group by 1, 2, 3
), ranges as (
    select name, range, sum(sum(hits)) over (partition by name order by range) as upto,
           sum(sum(hits)) over (partition by name) as clicks
    from named where range is not null group by 1, 2
), waits as (
    select name, max(clicks)::bigint as clicks, array[
        power(10, min(range) filter (where upto >= 0.5 * clicks) / 40.0)::float8 - 1,
        power(10, min(range) filter (where upto >= 0.95 * clicks) / 40.0)::float8 - 1] as waits
    from ranges group by 1
), reasons as (
    select name, jsonb_object_agg(reason, hits) as reasons, bool_or(removed) as removed, sum(hits) as hits
    from (select name, reason, sum(hits)::bigint as hits, bool_or(removed) as removed from named group by 1, 2) r
    group by 1
)
select name, coalesce(clicks, 0) as clicks, reasons, waits, removed, count(*) over () as groups
from reasons left join waits using (name) order by hits desc, name limit {limit}"""
_COSTS_OF_DAYS = """
select coalesce(o.offer_name, f.offer_name) as name, sum(f.cost)::float8 as cost
from traffic f left join offers o on o.id = f.offer_id where f.day >= $1::date and f.day < $2::date group by 1"""
_COSTS_OF_TRACES = """
select o.offer_name as name, sum(t.cost)::float8 as cost
from active_trace_requests t join offers o on o.id = t.offer_id
where t.completed_at >= $1::timestamptz and t.completed_at < $2::timestamptz and t.cost is not null
      and t.created_at >= $1::timestamptz - interval '1 hour' and t.created_at < $2::timestamptz group by 1"""
_OFFERS = "select id, offer_name, target_country, countries, is_active, paused_to from offers"


@dataclass(frozen=True, slots=True)
class Counted:
    """The figures of a time by offer's name. `costs`: None where the time is too long for the table of traces.

    `removed`: names of offers that no longer exist. `left_out`: names beyond the ROWS_MAX with the most hits.
    """

    window: Window
    figures: Mapping[str, Figures]
    removed: frozenset[str]
    costs: Mapping[str, float] | None
    left_out: int


@dataclass(frozen=True, slots=True)
class OfferRow:
    """`countries`: canonical. `ips` and `ips_available`: of these countries; `without_ips`: those that have none.

    `cost`: None where it is not known.
    """

    name: str
    state: State
    figures: Figures
    cost: float | None = None
    id: str | None = None
    countries: tuple[str, ...] = ()
    ips: int = 0
    ips_available: int = 0
    without_ips: tuple[str, ...] = ()
    paused_to: str | None = None

    @property
    def harm(self) -> tuple[Any, ...]:
        """The order of the rows, see `by_harm`."""
        lost = sum(self.figures.fallbacks.values())
        share = lost / self.figures.clicks if self.figures.clicks else 0.0
        is_dry = self.state == "active" and bool(self.without_ips)
        return (
            self.state != "broken",
            not is_dry,
            -lost * share,
            -self.figures.clicks - self.figures.background,
            self.state != "active",
            self.name,
        )


def by_harm(rows: Iterable[OfferRow]) -> list[OfferRow]:
    """What hurts comes first.

    Broken offers; active offers with a country that has no IPs; then by fallbacks times their share of the clicks, so
    that 100 of 200 clicks come before 120 of 10,000. Of equal ones, those with more clicks, active ones, by name.
    """
    return sorted(rows, key=lambda row: row.harm)


def window_of_span(span: Span, now: datetime) -> Window:
    """Days are UTC. `7d` and `30d`: today and the days before."""
    now = now.astimezone(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if span == "yesterday":
        return Window(today - _DAY, today, now)
    if span == "today":
        return Window(today if now > today else today - _DAY, now, now)
    begin = today if span in ("7d", "30d") else now
    return Window(begin - _SPANS[span], now, now)


async def count(conn: Connection, window: Window, limit_s: float) -> Counted:
    """A unit of work. `limit_s`: of each statement."""
    await conn.execute(
        f"set local statement_timeout = {limit_s * 1_000:.0f}; set local work_mem = '{WORK_MEMORY}';"
        " set local max_parallel_workers_per_gather = 0"
    )
    timeout, span = limit_s + CLIENT_MARGIN_S, (window.since, window.until)
    rows = await conn.fetch(_CLICKS.format(limit=ROWS_MAX), *span, timeout=timeout)
    costs: Sequence[Mapping[str, Any]] | None = None
    if window.is_of_days:
        costs = await conn.fetch(_COSTS_OF_DAYS, *window.days, timeout=timeout)
    elif window.until - window.since <= timedelta(hours=COST_HOURS_MAX):
        costs = await conn.fetch(_COSTS_OF_TRACES, *span, timeout=timeout)
    return Counted(
        window,
        {row["name"]: clicks_of({**row, "reasons": json.loads(row["reasons"])}) for row in rows},
        frozenset(row["name"] for row in rows if row["removed"]),
        None if costs is None else {row["name"]: row["cost"] for row in costs if row["name"] is not None},
        rows[0]["groups"] - len(rows) if rows else 0,
    )


async def offers_now(conn: Connection) -> list[dict[str, Any]]:
    """A unit of work: each offer with what its row's state is made of."""
    return [dict(row) for row in await conn.fetch(_OFFERS)]


def rows_of(
    counted: Counted,
    offers: Iterable[Mapping[str, Any]],
    is_broken: Callable[[Mapping[str, Any]], bool],
    ips: Mapping[str, Counts],
) -> list[OfferRow]:
    """A row for each offer, and for each name of a click that is no offer's, by harm."""
    rows, none = [], Figures()
    costs = counted.costs or {}
    known = set()
    for offer in offers:
        name = str(offer["offer_name"])
        known.add(name)
        countries = tuple(dict.fromkeys(canonical(country) for country in countries_of(offer)))
        counts = [ips[country] for country in countries if country in ips]
        rows.append(
            OfferRow(
                name,
                "paused" if not offer["is_active"] else "broken" if is_broken(offer) else "active",
                counted.figures.get(name, none),
                None if counted.costs is None else round(costs.get(name, 0.0), 6),
                str(offer["id"]),
                countries,
                sum(one.total for one in counts),
                sum(one.available for one in counts),
                tuple(country for country in countries if country not in ips or not ips[country].total),
                offer["paused_to"],
            )
        )
    for name, figures in counted.figures.items():
        if name not in known:
            state: State = "removed" if name in counted.removed else "unknown"
            rows.append(OfferRow(name, state, figures, None if counted.costs is None else costs.get(name, 0.0)))
    return by_harm(rows)


def countries_of(offer: Mapping[str, Any]) -> list[str]:
    return [str(offer["target_country"]), *(country for country in offer["countries"] or () if country)]


@dataclass(slots=True)
class _Kept:
    """`counted`: the exception where the count failed, which is kept as long."""

    counted: Counted | Exception
    until_s: float


@dataclass(eq=False, repr=False)
class FigureCache:
    """Counts each time once, a long and a short one side by side, and keeps the results; see the module's text."""

    _tick_s: Callable[[], float] = time.monotonic
    _kept: dict[object, _Kept] = field(default_factory=dict, init=False)
    _short: trio.Lock = field(default_factory=trio.Lock, init=False)
    _long: trio.Lock = field(default_factory=trio.Lock, init=False)

    async def counted(self, key: object, work: Callable[[], Awaitable[Counted]], *, is_long: bool = False) -> Counted:
        """`key`: of the time that `work` counts. `is_long`: short times do not wait for this one."""
        found = self._fresh(key)
        if found is None:
            async with self._long if is_long else self._short:
                found = self._fresh(key) or await self._count(key, work)
        if isinstance(found, Exception):
            raise found
        return found

    def _fresh(self, key: object) -> Counted | Exception | None:
        kept = self._kept.get(key)
        return None if kept is None or self._tick_s() >= kept.until_s else kept.counted

    async def _count(self, key: object, work: Callable[[], Awaitable[Counted]]) -> Counted | Exception:
        began_s = self._tick_s()
        found: Counted | Exception
        try:
            found = await work()
        except TheirFault as e:
            found = e
        ended_s = self._tick_s()
        self._kept.pop(key, None)
        self._kept[key] = _Kept(found, ended_s + max(FRESH_S, SCANS_APART * (ended_s - began_s)))
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        return found
