"""The recorded clicks and traces by country, for `tracepool plan --from-history`."""

from dataclasses import dataclass

from daemon.countries import canonical
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
    traced: dict[str, list[tuple[int, float, float]]] = {}
    for row in await conn.fetch(QUERIES["trace_costs"], days):
        traced.setdefault(canonical(row["country"]), []).append((row["traces"], row["trace_ms"], row["bytes"]))
    clicks: dict[str, dict[int, int]] = {}
    minutes = 0.0
    for row in await conn.fetch(QUERIES["clicks_by_minute"], days):
        minutes = max(minutes, row["minutes_since"])
        by_minute = clicks.setdefault(canonical(row["country"]), {})
        by_minute[row["minute"]] = by_minute.get(row["minute"], 0) + row["clicks"]
    minutes = max(minutes, 1.0)
    rates = []
    for country, by_minute in clicks.items():
        parts = traced.get(country, [])
        traces = sum(part[0] for part in parts)
        rates.append(
            Rate(
                country=country,
                clicks=sum(by_minute.values()),
                mean_clicks_per_minute=sum(by_minute.values()) / minutes,
                peak_clicks_per_minute=max(by_minute.values()),
                trace_s=sum(n * ms for n, ms, _ in parts) / traces / 1000 if traces else None,
                kb_per_trace=sum(n * size for n, _, size in parts) / traces / 1000 if traces else None,
            )
        )
    return History(minutes, tuple(sorted(rates, key=lambda rate: -rate.clicks)))
