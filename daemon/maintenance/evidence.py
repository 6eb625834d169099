"""Reads the evidence for advice from the tables. Each query reads a bounded number of rows."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from daemon.countries import canonical, is_country, rows_by_country
from daemon.database.postgres import Connection, is_pooled
from daemon.database.queries import QUERIES
from daemon.maintenance.attempts import error_in
from daemon.maintenance.figures import (
    Evidence,
    Faults,
    Landings,
    NodeFact,
    OddCountry,
    Peak,
    RecentDemand,
    Sample,
    Slots,
    Traffic,
    Use,
)
from daemon.nodes.peers import peer_of
from daemon.settings.model import Settings

WINDOW_S = 600.0
ODD_COUNTRIES_MAX = 20
OVERHANG_INTERVALS = 2  # older samples are read too, because a sample counts for the time after it


async def read_evidence(conn: Connection, now_s: float, settings: Settings) -> Evidence:
    """A unit of work. `now_s` is this machine's wall clock, which may differ from the server's."""
    span_s = WINDOW_S + OVERHANG_INTERVALS * max(60.0, settings.maintenance.interval_s)
    landings = await conn.fetchrow(QUERIES["landings"], settings.click.deadline_s)
    rested = await conn.fetchrow(QUERIES["faults_by_rest"], settings.pool.cooldown_s)
    spent = await conn.fetchrow(QUERIES["spent"])
    refused = await conn.fetch(QUERIES["credentials_refused"])
    demands = rows_by_country(await conn.fetch(QUERIES["demands"]))
    slots = rows_by_country(await conn.fetch(QUERIES["slots"]))  # by country, the provider with the most IPs first
    return Evidence(
        samples=tuple(_sample(row, now_s) for row in await conn.fetch(QUERIES["samples"], span_s)),
        peaks=_peaks(await conn.fetch(QUERIES["peaks"])),
        demands={country: _demand(rows) for country, rows in demands.items()},
        slots={country: Slots(rows[0]["provider"], rows[0]["highest"]) for country, rows in slots.items()},
        landings=Landings(**dict(landings)),
        gave_up=await conn.fetchval(QUERIES["gave_up"]),
        barely_rested=Faults(rested["barely"], rested["barely_by_ip"]),
        well_rested=Faults(rested["well"], rested["well_by_ip"]),
        traffic=Traffic(*spent),
        credentials_refused=_sums(refused),
        refused_in={row["provider"]: canonical(row["country"]) for row in sorted(refused, key=itemgetter("traces"))},
        connections_max=None if await is_pooled(conn) else await conn.fetchval(QUERIES["connection_limits"]),
        set_aside=await conn.fetchval(QUERIES["set_aside"]),
        nodes=tuple(_node(row, now_s) for row in await conn.fetch(QUERIES["node_facts"])),
        nobodys_ips=await conn.fetchval(QUERIES["nobodys_ips"]),
        odd_countries=_odd(await conn.fetch(QUERIES["countries_in_use"])),
        errors=_errors(await conn.fetch(QUERIES["attempt_errors"])),
        has_clicks=await conn.fetchval(QUERIES["has_clicks"]),
    )


def _sums(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Traces by provider."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["provider"]] += row["traces"]
    return dict(sums)


def _errors(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The most common error by country and provider. Rows of one country may differ in its spelling."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        errors = counts.setdefault((canonical(row["country"]), row["provider"]), Counter())
        errors[error_in(row["error"])] += row["traces"]
    return {key: errors.most_common(1)[0][0] for key, errors in counts.items()}


async def read_out(conn: Connection) -> dict[str, dict[str, tuple[int, int]]]:
    """A unit of work: Figures.out by the rows."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for row in await conn.fetch(QUERIES["ips_out"]):
        of_country = found.setdefault(canonical(row["country"]), {})
        failed, others = of_country.get(row["provider"], (0, 0))
        of_country[row["provider"]] = (failed + row["failed"], others + row["others"])
    return found


async def read_active(conn: Connection) -> dict[str, int]:
    """A unit of work: the number of unfinished traces, by country."""
    rows = await conn.fetch(QUERIES["active_by_country"])
    return {country: sum(row["traces"] for row in several) for country, several in rows_by_country(rows).items()}


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


def _node(row: Mapping[str, Any], now_s: float) -> NodeFact:
    peer, settings = peer_of(row), {}
    if peer.figures.settings:
        settings = {"node.trust_s": peer.trust_s, **peer.figures.settings}
    since_s = row["draining_since_s"]
    draining_s = 0.0 if since_s is None else row["now_s"] - since_s
    return NodeFact(
        name=peer.name,
        state=peer.state,
        version=peer.version,
        seen_s_ago=peer.seen_s_ago,
        trusted_for_s=peer.trusted_for_s,
        free_at_s=now_s + peer.free_in_s,
        up_s=row["now_s"] - row["started_s"],
        draining_s=draining_s if peer.draining else None,
        ips=row["ips"],
        settings=settings,
    )


def _odd(rows: Iterable[Mapping[str, Any]]) -> tuple[OddCountry, ...]:
    odd = (row for row in rows if not is_country(canonical(row["country"])))
    return tuple(OddCountry(row["country"], row["ips"], tuple(row["offers"])) for row in odd)[:ODD_COUNTRIES_MAX]


def _peaks(rows: Iterable[Mapping[str, Any]]) -> dict[str, Peak]:
    used = [row for row in rows if row["percent"] is not None and row["busy"] is not None]
    peaks = {}
    for country, several in rows_by_country(used).items():
        hours, percent, busy = (max(row[name] for row in several) for name in ("hours", "percent", "busy"))
        peaks[country] = Peak(hours, percent, int(busy))
    return peaks


def _demand(rows: Sequence[Mapping[str, Any]]) -> RecentDemand:
    traces = sum(row["traces"] for row in rows)
    ms = sum(row["traces"] * row["trace_ms"] for row in rows if row["traces"])
    return RecentDemand(sum(row["requests"] / row["minutes"] for row in rows), ms / traces / 1000 if traces else None)
