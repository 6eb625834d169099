"""Advice on the deadline and the cooldown, from the durations and failures of traces. Pure."""

import math
from collections.abc import Iterator
from shlex import quote

from daemon.maintenance.advice_pools import full_pools
from daemon.maintenance.figures import Advice, Figures, Severity
from daemon.maintenance.sizing import IN_USE_AIM_PERCENT

LATE_MAX_PERCENT = 5.0
LANDED_MIN = 20
LANDED_SURE = 100
ONE_OFFER_SHARE = 0.8  # if one offer has this share of the late traces, the advice is about its deadline
GAVE_UP_MIN = 10
DEADLINE_LONG_FACTOR = 3
DEADLINE_MAX_S = 60
DEADLINE_MIN_S = 1

IP_FAULTS_MAX_PERCENT = 10.0
IP_FAULTS_FEW_PERCENT = 1.0
RESTED_MIN = 30
RESTED_SURE = 100
COOLDOWN_CUT_MAX = 4  # a cooldown below a fourth of the present one is never proposed


def deadline_short(f: Figures) -> Iterator[Advice]:
    landed = f.evidence.landings
    if landed.traces < LANDED_MIN or 100 * landed.late <= LATE_MAX_PERCENT * landed.traces:
        return
    percent = 100 * landed.late / landed.traces
    deadline_s = min(DEADLINE_MAX_S, math.ceil(landed.p95_s * 1.1))
    one = landed.late_offer if landed.late_of_offer >= ONE_OFFER_SHARE * landed.late else None
    setting = f"set click.deadline_s = {deadline_s}, then: systemctl reload tracepool"
    whose = f"Of {one}" if one else "In all"
    yield Advice(
        "deadline_short",
        Severity.WARNING,
        f"{percent:.0f}% of the last hour's traces landed after the visitor's deadline; 95% landed within "
        f"{landed.p95_s:.1f} s. {whose}, {landed.late_of_offer if one else landed.late} were late. Raise the deadline.",
        f"more than {LATE_MAX_PERCENT:g}% of the traces that land take longer than the deadline",
        {
            "landed_traces": landed.traces,
            "late_traces": landed.late,
            "late_percent": round(percent, 1),
            "trace_p95_s": round(landed.p95_s, 1),
            "deadline_s": f.deadline_s,
            "deadline_better_s": deadline_s,
        },
        f"tracepool offers update {quote(one)} --deadline {deadline_s}" if one else setting,
        one or "",
        offer=one,
        count=landed.late_of_offer if one else landed.late,
        of=landed.traces,
    )


def deadline_long(f: Figures) -> Iterator[Advice]:
    landed, gave_up = f.evidence.landings, f.evidence.gave_up
    better_s = max(DEADLINE_MIN_S, math.ceil(landed.p99_s * 1.5))
    if landed.traces < LANDED_SURE or gave_up < GAVE_UP_MIN or better_s * DEADLINE_LONG_FACTOR > f.deadline_s:
        return
    yield Advice(
        "deadline_long",
        Severity.INFO,
        f"{gave_up} clicks of the last hour waited the whole deadline of {f.deadline_s:g} s and fell back, while 99% "
        f"of the traces that land do so within {landed.p99_s:.1f} s: lower the deadline to {better_s} s.",
        "99% of the traces that land do so within a fraction of the deadline, and clicks fall back at the deadline",
        {
            "gave_up_clicks": gave_up,
            "landed_traces": landed.traces,
            "trace_p99_s": round(landed.p99_s, 1),
            "deadline_s": f.deadline_s,
            "deadline_better_s": better_s,
        },
        f"set click.deadline_s = {better_s}, then: systemctl reload tracepool",
        count=gave_up,
    )


def cooldown_short(f: Figures) -> Iterator[Advice]:
    barely, well = f.evidence.barely_rested, f.evidence.well_rested
    if barely.traces < RESTED_MIN or barely.percent <= IP_FAULTS_MAX_PERCENT:
        return
    if well.traces >= RESTED_MIN and barely.percent < 2 * well.percent:
        return  # a longer rest would not help
    longer_s = max(1.0, 2 * f.cooldown_s)
    yield Advice(
        "cooldown_short",
        Severity.WARNING,
        f"{barely.percent:.0f}% of the traces fail by their IP's fault if it rested little longer than its cooldown, "
        f"and {well.percent:.0f}% if it rested long: raise the cooldown to {longer_s:g} s.",
        f"more than {IP_FAULTS_MAX_PERCENT:g}% of traces through barely rested IPs fail by the IP's fault, and "
        "twice as many as through well rested ones",
        {
            "barely_rested_traces": barely.traces,
            "barely_rested_fault_percent": round(barely.percent, 1),
            "well_rested_traces": well.traces,
            "well_rested_fault_percent": round(well.percent, 1),
            "cooldown_s": f.cooldown_s,
            "cooldown_better_s": longer_s,
        },
        f"set pool.cooldown_s = {longer_s:g}, then: systemctl reload tracepool",
        count=barely.by_ip,
        of=barely.traces,
    )


def cooldown_long(f: Figures) -> Iterator[Advice]:
    barely = f.evidence.barely_rested
    if barely.traces < RESTED_SURE or barely.percent > IP_FAULTS_FEW_PERCENT:
        return
    better = []
    for country in full_pools(f):
        counts, demand = f.countries.get(country), f.evidence.demands.get(country)
        if counts is not None and demand is not None and demand.per_minute > 0 and demand.trace_s is not None:
            healthy = counts.total - counts.failed
            better.append(IN_USE_AIM_PERCENT / 100 * healthy / (demand.per_minute / 60) - demand.trace_s)
    shorter_s = math.floor(min(better, default=-1))
    if not f.cooldown_s / COOLDOWN_CUT_MAX <= shorter_s < f.cooldown_s:
        return
    yield Advice(
        "cooldown_long",
        Severity.INFO,
        f"IPs that rested little longer than their cooldown fail in only {barely.percent:.1f}% of traces: with a "
        f"cooldown of {shorter_s} s instead of {f.cooldown_s:g} s the pool is large enough.",
        f"a pool is too full, and at most {IP_FAULTS_FEW_PERCENT:g}% of traces through barely rested IPs fail by the "
        "IP's fault",
        {
            "barely_rested_traces": barely.traces,
            "barely_rested_fault_percent": round(barely.percent, 1),
            "cooldown_s": f.cooldown_s,
            "cooldown_better_s": shorter_s,
        },
        f"set pool.cooldown_s = {shorter_s}, then: systemctl reload tracepool",
        count=barely.by_ip,
        of=barely.traces,
    )
