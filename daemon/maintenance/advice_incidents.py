"""Advice on incidents: countries without IPs, IPs that fail, attempts that fail. Pure.

The figures of these rules come from memory, so the advice changes within seconds.
"""

from collections.abc import Iterator, Mapping
from shlex import quote

from daemon.countries import canonical, is_acceptable
from daemon.maintenance.advice_countries import correction
from daemon.maintenance.figures import Advice, Figures, OddCountry, Severity, are, names
from daemon.nodes.figures import AttemptFigures
from daemon.pool.failing import check_command

OUT_MIN_PERCENT = 5.0
OUT_MIN = 50
OUT_CRITICAL_PERCENT = 50.0
FAILING_MIN_PERCENT = 50.0  # of a country's IPs, by their last trace: single failures are normal
FAILING_MIN = 2
ATTEMPTS_MIN = 5
ATTEMPTS_FAILED_PERCENT = 50.0
ATTEMPTS_CRITICAL_PERCENT = 90.0
PROVIDERS_NAMED_MAX = 3


def country_without_ips(f: Figures) -> Iterator[Advice]:
    default = canonical(f.default_country)
    has_default = bool(default) and default in f.countries and f.countries[default].total > 0
    for country, offers in f.offers.items():
        counts = f.countries.get(country)
        if (counts and counts.total) or (f.evidence.nobodys_ips and country in f.evidence.slots):
            continue
        whose = "its" if len(offers) == 1 else "their"
        several = f"{len(offers)} active offers ({names(offers)})"
        which = several if len(offers) > 1 else f"the active offer {offers[0]}"
        effect = (
            f"clicks are traced through IPs of {default} (trace.default_country)"
            if has_default
            else "clicks are not traced; those whose visitor waits go to the tracking URL with the reason no_pool"
        )
        more = f"tracepool provision import ips.csv --country {quote(country)}"
        yield Advice(
            "country_without_ips",
            Severity.WARNING if has_default else Severity.CRITICAL,
            f"There is no IP in {country or quote(country)}, the country of {which}: {whose} {effect}.",
            "a country of an active offer has no IP",
            {"ips": 0, "offers": len(offers)},
            more if is_acceptable(country) else correction(OddCountry(country, offers=offers)),
            country,
            country=country,
            offer=offers[0] if len(offers) == 1 else None,
            count=len(offers),
        )


def ips_out(f: Figures) -> Iterator[Advice]:
    for country, by_provider in sorted(f.out.items()):
        counts = f.countries.get(country)
        if counts is None or not counts.total:
            continue
        total, failed = counts.total, counts.failed
        failing = min(total, sum(map(sum, by_provider.values())))
        if failing >= FAILING_MIN and 100 * failing >= FAILING_MIN_PERCENT * total:
            yield _failing(f, country, by_provider, failing)
        elif failed >= OUT_MIN or (100 * failed >= OUT_MIN_PERCENT * total and failed):
            yield _failed(f, country, by_provider)


def _failing(f: Figures, country: str, by_provider: Mapping[str, tuple[int, int]], failing: int) -> Advice:
    counts = f.countries[country]
    provider = max(by_provider, key=lambda name: sum(by_provider[name]))
    error = f.error(country, provider)
    whose = _of_providers({name: sum(both) for name, both in by_provider.items()})
    because = f", most often because {error}" if error else ""
    gets = "gets" if counts.failed == 1 else "get"
    out = f" {counts.failed} of them {are(counts.failed)} failed and {gets} no clicks." if counts.failed else ""
    return Advice(
        "ips_out",
        Severity.CRITICAL,
        f"{failing} of the {counts.total} IPs of {country} fail{whose}: the last trace through each of them failed by "
        f"the IP's fault{because}.{out}",
        f"the last trace through {FAILING_MIN_PERCENT:g}% or more of a country's IPs failed by the IP's fault",
        {"ips_failing": failing, "ips_failed": counts.failed, "ips": counts.total,
         "failing_percent": round(100 * failing / counts.total, 1)},
        check_command(f"--country {quote(country)}{_option(provider)}", can_check=f.can_check),
        country,
        country=country,
        provider=provider or None,
        count=failing,
        of=counts.total,
        error=error,
    )  # fmt: skip


def _failed(f: Figures, country: str, by_provider: Mapping[str, tuple[int, int]]) -> Advice:
    counts, by_failed = f.countries[country], {name: failed for name, (failed, _) in by_provider.items() if failed}
    provider = max(by_failed, key=lambda name: by_failed[name], default="")
    error, percent = f.error(country, provider), 100 * counts.failed / counts.total
    because = f" Most failures are because {error}." if error else ""
    alone = counts.failed == 1 and percent < OUT_CRITICAL_PERCENT
    severity = Severity.INFO if alone else Severity.WARNING
    which = f"{counts.failed:,} of the {counts.total:,} IPs" if counts.total > 1 else "The only IP"
    they = "it gets" if counts.failed == 1 else "they get"
    return Advice(
        "ips_out",
        Severity.CRITICAL if percent >= OUT_CRITICAL_PERCENT else severity,
        f"{which} of {country} {are(counts.failed)} out{_of_providers(by_failed)}: failed, so {they} no clicks."
        f"{because}",
        f"{OUT_MIN_PERCENT:g}% or more of a country's IPs, or {OUT_MIN} of them, are failed",
        {"ips_failed": counts.failed, "ips": counts.total, "failed_percent": round(percent, 1)},
        check_command(f"--country {quote(country)}{_option(provider)}", can_check=f.can_check),
        country,
        country=country,
        provider=provider or None,
        count=counts.failed,
        of=counts.total,
        error=error,
    )


def attempts_failing(f: Figures) -> Iterator[Advice]:
    """Where IPs of providers fail that are no fault of single IPs, and where too few IPs were tried to count them."""
    said = {advice.country for advice in ips_out(f) if "ips_failing" in advice.numbers}
    for one in sorted(f.attempts, key=lambda one: (one.country, one.provider)):
        percent = 100 * one.failed / one.attempts if one.attempts else 0.0
        if one.attempts >= ATTEMPTS_MIN and percent >= ATTEMPTS_FAILED_PERCENT and one.country not in said:
            yield _attempts(one, percent, can_check=f.can_check)


def _attempts(one: AttemptFigures, percent: float, *, can_check: bool) -> Advice:
    return Advice(
        "attempts_failing",
        Severity.CRITICAL if percent >= ATTEMPTS_CRITICAL_PERCENT else Severity.WARNING,
        f"In {one.country}, {one.failed} of the last {one.attempts} attempts through IPs of {one.provider} failed by "
        f"the fault of the IP or the provider, most often because {one.error}.",
        f"{ATTEMPTS_FAILED_PERCENT:g}% or more of the last two minutes' attempts, at least {ATTEMPTS_MIN}, failed by "
        "the fault of the IP or the provider",
        {"attempts": one.attempts, "attempts_failed": one.failed, "failed_percent": round(percent, 1)},
        check_command(f"--country {quote(one.country)}{_option(one.provider)}", can_check=can_check),
        f"{one.country} {one.provider}",
        country=one.country,
        provider=one.provider,
        count=one.failed,
        of=one.attempts,
        error=one.error,
    )


def _of_providers(counts: Mapping[str, int]) -> str:
    """Such as ": 12 of luna, 8 of soax" for the providers with the most."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(most) == 1:
        return f" (provider {most[0][0]})"
    shown = ", ".join(f"{count:,} of {name}" for name, count in most[:PROVIDERS_NAMED_MAX])
    return f" ({shown}{', …' if len(most) > PROVIDERS_NAMED_MAX else ''})" if shown else ""


def _option(provider: str) -> str:
    return f" --provider {quote(provider)}" if provider else ""
