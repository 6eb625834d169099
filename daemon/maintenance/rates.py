"""The clicks and traces that there really were, by country: what `tracepool plan --from-history` goes by."""

from dataclasses import dataclass

from daemon.countries import canonical
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES


@dataclass(frozen=True, slots=True)
class Rate:
    """One country's clicks per minute, and what its traces took: None where none has ended."""

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


async def read_history(conn: Connection, days: float) -> History:
    """A unit of work, over the last `days`."""
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
