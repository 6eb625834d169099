"""Advice on the size of a pool: too small, about to be too small, too large. Pure."""

from collections.abc import Iterator

from daemon.maintenance.figures import POOL, Advice, Figures, Sample, Severity, Use, are, counted
from daemon.maintenance.sizing import (
    IN_USE_AIM_PERCENT,
    IN_USE_MAX_PERCENT,
    IN_USE_MIN_PERCENT,
    ips_needed,
    ips_within,
    mean_busy,
)

WINDOW_MIN = 10
FULL_MIN = 5
HOLD_INTERVALS = 1.5  # a sample counts for the minutes after it, until the next sample is overdue
NONE_FREE_MAX = 0.01
FULL_PERCENT = 95.0
OVERSIZED_H = 1.0


def utilisation_high(f: Figures) -> Iterator[Advice]:
    for country, busy in full_pools(f).items():
        used = [use for use in _minutes(f, country) if use is not None]
        counts = f.countries.get(country)
        healthy = counts.total - counts.failed if counts else max(use.healthy for use in used)
        add = ips_to_add(f, country, busy, healthy)
        percent = max(use.percent for use in used)
        where = f"The {country} pool" if country else "The pool of all countries"
        yield Advice(
            "utilisation_high",
            Severity.CRITICAL if percent >= FULL_PERCENT else Severity.WARNING,
            f"{where} has been more than {IN_USE_MAX_PERCENT:g}% in use for "
            f"{_full_minutes(f, country)} of the last {WINDOW_MIN} minutes, up to {percent:.0f}%: "
            f"add {counted(add, 'IP')}.",
            f"utilisation above {IN_USE_MAX_PERCENT:g}% for {FULL_MIN} of the last {WINDOW_MIN} minutes",
            {
                "minutes_above": _full_minutes(f, country),
                "utilisation_percent_max": round(percent, 1),
                "healthy_ips": healthy,
                "ips_to_add": add,
            },
            _more_ips(f, country, add),
            country,
            country=country or None,
            provider=_provider(f, country),
            count=max(use.busy for use in used),
            of=healthy,
        )


def ips_to_add(f: Figures, country: str, busy: int, healthy: int) -> int:
    """Enough IPs that the load is about 65% of the pool and at most 1% of clicks find no available IP. At least 1."""
    load = float(busy)
    demand = f.evidence.demands.get(country)
    if demand is not None and demand.trace_s is not None:
        load = max(load, mean_busy(demand.per_minute, demand.trace_s, f.cooldown_s))
    return max(1, ips_within(load, IN_USE_AIM_PERCENT) - healthy, ips_needed(load, NONE_FREE_MAX) - healthy)


def full_pools(f: Figures) -> dict[str, int]:
    """The countries that meet the rule, or POOL if only all together do, with the most busy IPs in that time."""
    countries = sorted({country for sample in f.evidence.samples for country in sample.countries})
    full = [country for country in countries if _full_minutes(f, country) >= FULL_MIN]
    if not full and _full_minutes(f, POOL) >= FULL_MIN:
        full = [POOL]
    return {country: max(use.busy for use in _minutes(f, country) if use is not None) for country in full}


def _full_minutes(f: Figures, country: str) -> int:
    return sum(1 for used in _minutes(f, country) if used is not None and used.percent > IN_USE_MAX_PERCENT)


def _minutes(f: Figures, country: str) -> list[Use | None]:
    """The utilisation in each of the last ten minutes, the newest first; None for a minute without a sample."""
    hold_s = HOLD_INTERVALS * max(60.0, f.interval_s)
    newest_first = sorted(f.evidence.samples, key=lambda sample: -sample.recorded_s)

    def at(instant_s: float) -> Sample | None:
        return next((s for s in newest_first if instant_s - hold_s <= s.recorded_s <= instant_s), None)

    samples = [at(f.now_s - 60 * minute) for minute in range(WINDOW_MIN)]
    return [None if s is None else s.pool if country == POOL else s.countries.get(country) for s in samples]


def _more_ips(f: Figures, country: str, add: int) -> str:
    slots = f.evidence.slots.get(country)
    if slots is None or slots.highest is None:
        return "tracepool provision import ips.csv"
    count = slots.highest + add  # generate counts from 1 and skips IPs that exist
    return f"tracepool provision generate --country {country} --count {count} --provider {slots.provider}"


def _provider(f: Figures, country: str) -> str | None:
    """The one that has most of the country's IPs."""
    slots = f.evidence.slots.get(country)
    return slots.provider if slots else None


def active_above_available(f: Figures) -> Iterator[Advice]:
    for country, counts in sorted(f.countries.items()):
        active = f.active.get(country, 0)
        if active <= counts.available or not counts.total:
            continue
        add = ips_to_add(f, country, counts.locked + counts.cooldown + counts.waiting, counts.total - counts.failed)
        yield Advice(
            "active_above_available",
            Severity.WARNING,
            f"{counted(active, 'trace')} {are(active)} active in {country}, and {counts.available} of its IPs "
            f"{are(counts.available)} available: the next clicks may have to wait. Add {counted(add, 'IP')}.",
            "more traces are active than IPs are available",
            {"active_traces": active, "available_ips": counts.available, "waiting": counts.waiting, "ips_to_add": add},
            _more_ips(f, country, add),
            country,
            country=country,
            provider=_provider(f, country),
            count=active,
            of=counts.total,
        )


def oversized(f: Figures) -> Iterator[Advice]:
    for country, peak in sorted(f.evidence.peaks.items()):
        counts = f.countries.get(country)
        if counts is None or peak.hours < OVERSIZED_H or peak.percent >= IN_USE_MIN_PERCENT or peak.busy < 1:
            continue
        healthy = counts.total - counts.failed
        enough = max(ips_within(peak.busy, IN_USE_AIM_PERCENT), ips_needed(peak.busy, NONE_FREE_MAX))
        if enough >= healthy:
            continue
        yield Advice(
            "oversized",
            Severity.INFO,
            f"The {country} pool was never more than {peak.percent:.0f}% in use in {peak.hours:.0f} h: {enough} of its "
            f"{healthy} IPs {are(enough)} enough.",
            f"utilisation below {IN_USE_MIN_PERCENT:g}% for all of the recorded time, an hour to a day",
            {
                "hours": round(peak.hours, 1),
                "utilisation_percent_max": round(peak.percent, 1),
                "busy_ips_max": peak.busy,
                "healthy_ips": healthy,
                "ips_enough": enough,
                "ips_to_spare": healthy - enough,
            },
            "tracepool plan --from-history",
            country,
            country=country,
            provider=_provider(f, country),
            count=healthy - enough,
            of=healthy,
        )
