"""The recorded clicks and traces by country, for `tracepool plan --from-history`."""

from collections import Counter
from dataclasses import dataclass

from daemon.countries import rows_by_country
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.errors import TheirFault
from daemon.maintenance.plan import Demand

HISTORY_DAYS = 7.0


@dataclass(frozen=True, slots=True)
class Rate:
    """One country's clicks per minute, and the mean duration and size of its traces; None if none has ended."""

    country: str
    clicks: int
    mean_clicks_per_minute: float
    peak_clicks_per_minute: int
    trace_s: float | None
    kb_per_trace: float | None


@dataclass(frozen=True, slots=True)
class History:
    """`minutes`: from the first click until now. `rates`: the busiest country first."""

    minutes: float
    rates: tuple[Rate, ...]

    def demands(self, trace_s: float | None) -> tuple[Demand, ...]:
        """Each country's demand in its busiest minute. `trace_s` replaces the recorded durations.

        Raises TheirFault if there are no clicks, or neither `trace_s` nor a trace that has ended.
        """
        if not self.rates:
            raise TheirFault("there was no click of an offer in the last 7 days: give --clicks-per-minute")
        known = [(rate.clicks, rate.trace_s) for rate in self.rates if rate.trace_s is not None]
        if not known and trace_s is None:
            raise TheirFault("no trace has ended in the last 7 days: give --trace-seconds as well")
        mean = sum(n * s for n, s in known) / sum(n for n, _ in known) if known else 0.0
        return tuple(
            Demand(
                rate.country, rate.peak_clicks_per_minute, rate.mean_clicks_per_minute, trace_s or rate.trace_s or mean
            )
            for rate in self.rates
        )

    def kb_per_trace(self) -> float | None:
        """The average over all clicks."""
        known = [(rate.clicks, rate.kb_per_trace) for rate in self.rates if rate.kb_per_trace is not None]
        return sum(n * kb for n, kb in known) / sum(n for n, _ in known) if known else None


async def read_history(conn: Connection, days: float) -> History:
    """A unit of work: the clicks and traces of the last `days`."""
    traced = rows_by_country(await conn.fetch(QUERIES["trace_costs"], days))
    clicked = await conn.fetch(QUERIES["clicks_by_minute"], days)
    minutes = max([1.0, *(row["minutes_since"] for row in clicked)])
    rates = []
    for country, rows in rows_by_country(clicked).items():
        parts = traced.get(country, [])
        traces = sum(part["traces"] for part in parts)
        by_minute: Counter[int] = Counter()
        for row in rows:
            by_minute[row["minute"]] += row["clicks"]
        rates.append(
            Rate(
                country=country,
                clicks=by_minute.total(),
                mean_clicks_per_minute=by_minute.total() / minutes,
                peak_clicks_per_minute=max(by_minute.values()),
                trace_s=sum(part["traces"] * part["trace_ms"] for part in parts) / traces / 1000 if traces else None,
                kb_per_trace=sum(part["traces"] * part["bytes"] for part in parts) / traces / 1000 if traces else None,
            )
        )
    return History(minutes, tuple(sorted(rates, key=lambda rate: -rate.clicks)))
