"""Reads the evidence for advice from the tables. Each query reads a bounded number of rows."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from daemon.countries import canonical
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.maintenance.figures import Evidence, Faults, Landings, Peak, RecentDemand, Sample, Slots, Traffic, Use

WINDOW_S = 600.0
OVERHANG_INTERVALS = 2  # older samples are read too, because a sample counts for the time after it


async def read_evidence(
    conn: Connection, now_s: float, deadline_s: float, cooldown_s: float, interval_s: float
) -> Evidence:
    """A unit of work. `now_s` is this machine's wall clock, which may differ from the server's."""
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
        traffic=Traffic(spent["traces"], spent["bytes"], spent["usual_bytes"], spent["usual_hours"]),
        credentials_refused={row["provider"]: row["traces"] for row in refused},
    )


async def read_active(conn: Connection) -> dict[str, int]:
    """A unit of work: the number of unfinished traces, by country."""
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
    """Parse the column country_breakdown. Malformed entries are left out, because operators may edit the column."""
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


def _demands(rows: Iterable[Mapping[str, Any]]) -> dict[str, RecentDemand]:
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        parts.setdefault(canonical(row["country"]), []).append(row)
    demands = {}
    for country, several in parts.items():
        traces = sum(row["traces"] for row in several)
        ms = sum(row["traces"] * row["trace_ms"] for row in several if row["traces"])
        per_minute = sum(row["requests"] / row["minutes"] for row in several)
        demands[country] = RecentDemand(per_minute, ms / traces / 1000 if traces else None)
    return demands


def _slots(rows: Iterable[Mapping[str, Any]]) -> dict[str, Slots]:
    """The first row of each country, which is that of the provider with the most IPs."""
    slots: dict[str, Slots] = {}
    for row in rows:
        slots.setdefault(canonical(row["country"]), Slots(row["provider"], row["highest"]))
    return slots
