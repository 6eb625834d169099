"""What advice goes by, read from the tables: a unit of work, of which each query looks at a bounded number of rows."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from daemon.countries import canonical
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.maintenance.figures import Demand, Evidence, Faults, Landings, Peak, Sample, Slots, Spent, Use

WINDOW_S = 600.0
OVERHANG_INTERVALS = 2  # of samples older than the window: one speaks for the time after it


async def read_evidence(
    conn: Connection, now_s: float, deadline_s: float, cooldown_s: float, interval_s: float
) -> Evidence:
    """`now_s` is this machine's wall clock, which the server's need not agree with."""
    span_s = WINDOW_S + OVERHANG_INTERVALS * max(60.0, interval_s)
    landings = await conn.fetchrow(QUERIES["landings"], deadline_s)
    rested = await conn.fetchrow(QUERIES["faults_by_rest"], cooldown_s)
    spent = await conn.fetchrow(QUERIES["spent"])
    refused = await conn.fetch(QUERIES["credentials_refused"])
    return Evidence(
        samples=tuple(_sample(row, now_s) for row in await conn.fetch(QUERIES["samples"], span_s)),
        peaks=_peaks(await conn.fetch(QUERIES["peaks"])),
        demands=_demands(await conn.fetch(QUERIES["demands"])),
        slots=_slots(await conn.fetch(QUERIES["slots"])),
        landings=Landings(**dict(landings)),
        gave_up=await conn.fetchval(QUERIES["gave_up"]),
        barely_rested=Faults(rested["barely"], rested["barely_by_ip"]),
        well_rested=Faults(rested["well"], rested["well_by_ip"]),
        spent=Spent(spent["traces"], spent["bytes"], spent["usual_bytes"], spent["usual_hours"]),
        credentials_refused={row["provider"]: row["traces"] for row in refused},
    )


async def read_active(conn: Connection) -> dict[str, int]:
    """A unit of work: traces that are not over, by country."""
    active: dict[str, int] = {}
    for row in await conn.fetch(QUERIES["active_by_country"]):
        country = canonical(row["country"])
        active[country] = active.get(country, 0) + row["traces"]
    return active


def _sample(row: Mapping[str, Any], now_s: float) -> Sample:
    return Sample(
        recorded_s=now_s - row["age_s"],
        pool=Use(row["percent"], row["busy"], row["healthy"]),
        countries=uses_in(row["country_breakdown"]),
    )


def uses_in(breakdown: str) -> dict[str, Use]:
    """Of the column country_breakdown, which an operator may have written: what is not as the daemon has it is left
    out.
    """
    by_country = json.loads(breakdown)
    uses = {}
    for country, counts in by_country.items() if isinstance(by_country, dict) else ():
        try:
            locked, cooldown, failed = counts["locked"], counts["cooldown"], counts["failed"]
            use = Use(float(counts["utilization_percent"]), int(locked + cooldown), int(counts["total"] - failed))
        except (KeyError, TypeError, ValueError):
            continue
        uses[canonical(country)] = use
    return uses


def _peaks(rows: Iterable[Mapping[str, Any]]) -> dict[str, Peak]:
    peaks: dict[str, Peak] = {}
    for row in rows:
        if row["percent"] is not None and row["busy"] is not None:
            peak = Peak(row["hours"], row["percent"], int(row["busy"]))
            known = peaks.get(country := canonical(row["country"]), peak)
            peaks[country] = Peak(
                max(peak.hours, known.hours), max(peak.percent, known.percent), max(peak.busy, known.busy)
            )
    return peaks


def _demands(rows: Iterable[Mapping[str, Any]]) -> dict[str, Demand]:
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        parts.setdefault(canonical(row["country"]), []).append(row)
    demands = {}
    for country, several in parts.items():
        traces = sum(row["traces"] for row in several)
        ms = sum(row["traces"] * row["trace_ms"] for row in several if row["traces"])
        per_minute = sum(row["requests"] / row["minutes"] for row in several)
        demands[country] = Demand(per_minute, ms / traces / 1000 if traces else None)
    return demands


def _slots(rows: Iterable[Mapping[str, Any]]) -> dict[str, Slots]:
    """The provider with the most IPs of a country comes first."""
    slots: dict[str, Slots] = {}
    for row in rows:
        slots.setdefault(canonical(row["country"]), Slots(row["provider"], row["highest"]))
    return slots
