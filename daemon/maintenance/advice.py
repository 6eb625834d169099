"""Advice for the operator, derived from figures by one function per rule. Pure.

Each advice carries its rule in words and the figures that met the rule. A rule without data (samples, clicks, traces)
gives no advice.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from shlex import quote

from daemon.maintenance.advice_countries import country_unknown
from daemon.maintenance.advice_disk import disk_full_soon
from daemon.maintenance.advice_incidents import attempts_failing, country_without_ips, ips_out
from daemon.maintenance.advice_nodes import ips_nobodys, node_draining, node_lost, settings_differ, versions_differ
from daemon.maintenance.advice_pools import active_above_available, oversized, utilisation_high
from daemon.maintenance.advice_times import cooldown_long, cooldown_short, deadline_long, deadline_short
from daemon.maintenance.figures import Advice, Figures, Severity, are, counted
from daemon.pool.failing import check_command

FALLBACKS_MAX_PERCENT = 10.0
FALLBACKS_CRITICAL_PERCENT = 50.0
CLICKS_SURE = 10  # with fewer clicks the severity is only info
TRAFFIC_HOURS_MIN = 6.0
TRAFFIC_TRACES_MIN = 20
TRAFFIC_MORE, TRAFFIC_LESS = 1.5, 0.5
CONNECTIONS_SHARE_MAX = 0.8
LOGS = "tracepool logs --outcome fallback --since 10m"
FALLBACK_REASONS = {
    "no_ip": ("no IP became available in time", "tracepool plan --from-history"),
    "no_pool": ("their country has no IPs", "tracepool provision generate --country C --count N --provider P"),
    "deadline": ("their traces took longer than the deadline", LOGS),
    "trace_failed": ("their traces failed", LOGS),
    "overload": ("there were more clicks than trace.workers and trace.queue_max allow", "tracepool status"),
    "starting": ("the daemon was starting", "tracepool status"),
    "unknown_offer": ("no offer has the name in their links", f"{LOGS}, then correct the links or add the offer"),
    "paused": ("their offer is paused", "tracepool offers update NAME --active, or --paused-to OTHER"),
    "bad_offer": ("their offer has no usable tracking URL", "tracepool offers update NAME --url URL"),
}

Rule = Callable[[Figures], Iterator[Advice]]


def advise(figures: Figures) -> tuple[Advice, ...]:
    """All advice, the most severe first."""
    found = [advice for rule in RULES.values() for advice in rule(figures)]
    severities = list(Severity)
    return tuple(sorted(found, key=lambda advice: (-severities.index(advice.severity), advice.code, advice.about)))


def _database_hinders(f: Figures) -> Iterator[Advice]:
    for hindrance in f.hindrances:
        yield Advice(
            "database_hinders",
            Severity.CRITICAL,
            f"This does not work: {hindrance.activity}. {hindrance.sentence}.",
            "PostgreSQL, the disk or a file that the settings name hinders the daemon",
            {},
            hindrance.remedy,
            hindrance.activity,
        )


def _entries_refused(f: Figures) -> Iterator[Advice]:
    if count := f.entries_refused:
        yield Advice(
            "entries_refused",
            Severity.WARNING,
            f"PostgreSQL refused {count} of the journal's entries, and "
            f"{'its row is' if count == 1 else 'their rows are'} missing: change the constraint or trigger that "
            "refuses them, then send them again: tracepool journal refused retry.",
            "PostgreSQL refused entries of the journal for their values; they are kept until they are sent again or "
            "dropped",
            {"entries": count},
            "tracepool journal refused list",
            count=count,
        )


def _ips_set_aside(f: Figures) -> Iterator[Advice]:
    if count := f.evidence.set_aside:
        yield Advice(
            "ips_set_aside",
            Severity.WARNING,
            f"{counted(count, 'row')} of ip_rotation_pool {are(count)} set aside and never leased; the column "
            "set_aside says why: give each an endpoint of its own by UPDATE, or delete it.",
            "rows of an earlier version had the endpoint of another row in another spelling, or none at all",
            {"rows": count},
            'tracepool psql -c "select id, ip_address, ip_port, set_aside from ip_rotation_pool'
            ' where set_aside is not null"',
            count=count,
        )


def _connections_short(f: Figures) -> Iterator[Advice]:
    most = f.evidence.connections_max
    if not most or f.nodes < 2 or f.connections <= CONNECTIONS_SHARE_MAX * most:
        return
    yield Advice(
        "connections_short",
        Severity.WARNING if f.connections > most else Severity.INFO,
        f"{f.nodes} nodes may open {f.connections} connections to PostgreSQL, which accepts {most}: set "
        "database.connections_max lower on each node, raise max_connections, or put a pooler in transaction mode "
        "before PostgreSQL.",
        f"the nodes' connections together are more than {CONNECTIONS_SHARE_MAX:.0%} of what PostgreSQL accepts",
        {"nodes": f.nodes, "connections": f.connections, "connections_max": most},
        "tracepool psql -c 'select application_name, count(*) from pg_stat_activity group by 1 order by 2 desc'",
        count=f.connections,
        of=most,
    )


def _fallbacks_high(f: Figures) -> Iterator[Advice]:
    clicks, fallbacks = f.clicks.clicks, sum(f.clicks.fallbacks.values())
    if not clicks or 100 * fallbacks <= FALLBACKS_MAX_PERCENT * clicks:
        return
    percent = 100 * fallbacks / clicks
    reason = max(f.clicks.fallbacks, key=lambda name: f.clicks.fallbacks[name])
    why, command = FALLBACK_REASONS.get(reason, (reason, LOGS))
    where, country, offer = _most_fallen(f, fallbacks)
    command = command.replace("--country C", f"--country {quote(country or 'C')}")
    command = command.replace(" NAME ", f" {quote(offer or 'NAME')} ")
    severity = Severity.CRITICAL if percent > FALLBACKS_CRITICAL_PERCENT else Severity.WARNING
    share = f"{fallbacks} of the last minute's {clicks} clicks ({percent:.0f}%)"
    who = share if clicks > 1 else "The only click of the last minute"
    yield Advice(
        "fallbacks_high",
        severity if clicks >= CLICKS_SURE else Severity.INFO,
        f"{who} fell back, {'' if fallbacks == 1 else 'most of them '}because {why}{where}.",
        f"more than {FALLBACKS_MAX_PERCENT:g}% of the last minute's clicks are fallbacks",
        {"clicks": clicks, "fallbacks": fallbacks, "fallback_percent": round(percent, 1)}
        | {f"fallbacks_{name}": count for name, count in sorted(f.clicks.fallbacks.items())},
        command,
        country=country,
        offer=offer,
        count=fallbacks,
        of=clicks,
    )


def _most_fallen(f: Figures, fallbacks: int) -> tuple[str, str | None, str | None]:
    """Where most of the fallbacks are: for the sentence, the country, and the offer."""
    by_offer, by_country = Counter[str](), Counter[str]()
    for fallen in f.clicks.fallbacks_by_offer:
        by_offer[fallen.offer] += fallen.fallbacks
        by_country[fallen.country] += fallen.fallbacks
    offer, of_offer = (*by_offer.most_common(1), ("", 0))[0]
    country, of_country = (*by_country.most_common(1), ("", 0))[0]
    in_country = country if country and 2 * of_country > fallbacks else None
    where = f"{_of_them(of_country, fallbacks)} with offers of {in_country}" if in_country else ""
    if not offer or 2 * of_offer <= fallbacks:
        return where, in_country, None
    inside = f" ({in_country})" if in_country else ""
    return f"{_of_them(of_offer, fallbacks)} with the offer {offer}{inside}", in_country, offer


def _of_them(some: int, of: int) -> str:
    return "," if of == 1 else f"; {some} of them"


def _provider_suspected(f: Figures) -> Iterator[Advice]:
    for name, suspect in sorted(f.suspects.items()):
        yield Advice(
            "provider_suspected",
            Severity.CRITICAL,
            f"The provider {name} seems to fail, not its single IPs: {suspect.why}. Check its IPs and ask the "
            "provider.",
            "so many IPs of a provider fail at once that the provider itself must be at fault",
            {"ips_spared": suspect.spared},
            check_command(f"--provider {quote(name)}", can_check=f.can_check),
            name,
            country=suspect.country,
            provider=name,
            count=suspect.spared,
        )


def _credentials_refused(f: Figures) -> Iterator[Advice]:
    for name, traces in sorted({**f.refusals, **f.evidence.credentials_refused}.items()):
        if traces > 0 and f.refusals.get(name) != 0:
            country = f.evidence.refused_in.get(name)
            where = f", {'' if traces == 1 else 'most of them '}in {country}" if country else ""
            yield Advice(
                "credentials_refused",
                Severity.CRITICAL,
                f"The proxies of {name} refused the login {counted(traces, 'time')} in the last hour{where}: correct "
                "its username and password.",
                "a proxy answered 407: the provider's credentials are wrong, or its quota is used up",
                {"traces_refused": traces},
                f"set providers.{name}.username and its password, then: systemctl reload tracepool",
                name,
                country=country,
                provider=name,
                count=traces,
            )


def _money_unusual(f: Figures) -> Iterator[Advice]:
    traffic = f.evidence.traffic
    now, usual = traffic.bytes_per_trace, traffic.usual_bytes_per_trace
    if not now or not usual or traffic.traces < TRAFFIC_TRACES_MIN or traffic.usual_hours < TRAFFIC_HOURS_MIN:
        return
    ratio = now / usual
    if TRAFFIC_LESS <= ratio <= TRAFFIC_MORE:
        return
    prices = [price for price in f.prices_per_gb.values() if price]
    numbers = {
        "kb_per_trace": round(now / 1000, 1),
        "usual_kb_per_trace": round(usual / 1000, 1),
        "times_usual": round(ratio, 2),
        "traces": traffic.traces,
    }
    money, offer = "", ""
    if traffic.offer and traffic.offer_bytes is not None:
        offer = f" Most bytes were of the offer {traffic.offer}, {traffic.offer_bytes / 1000:.1f} KB a trace."
    if len(set(prices)) == 1:
        cost, before = round(now * prices[0] / 1e6, 4), round(usual * prices[0] / 1e6, 4)
        numbers |= {"money_per_1000_traces": cost, "usual_money_per_1000_traces": before}
        money = f" 1,000 traces cost {cost:g} dollars instead of {before:g}."
    yield Advice(
        "money_unusual",
        Severity.WARNING if ratio > 1 else Severity.INFO,
        f"A trace of the last hour took {now / 1000:.1f} KB on average, {ratio:.1f} times the usual "
        f"{usual / 1000:.1f} KB: look for a chain that has changed.{offer}{money}",
        f"bytes, and so money, per trace above {TRAFFIC_MORE:g} or below {TRAFFIC_LESS:g} times the median of the "
        "days before",
        numbers,
        f"tracepool logs --since 1h --offer {quote(traffic.offer)}" if traffic.offer else "tracepool logs --since 1h",
        offer=traffic.offer,
        provider=traffic.provider,
        count=traffic.traces,
    )


RULES: Mapping[str, Rule] = {
    "database_hinders": _database_hinders,
    "disk_full_soon": disk_full_soon,
    "entries_refused": _entries_refused,
    "ips_set_aside": _ips_set_aside,
    "connections_short": _connections_short,
    "node_lost": node_lost,
    "settings_differ": settings_differ,
    "ips_nobodys": ips_nobodys,
    "node_draining": node_draining,
    "versions_differ": versions_differ,
    "country_unknown": country_unknown,
    "country_without_ips": country_without_ips,
    "ips_out": ips_out,
    "attempts_failing": attempts_failing,
    "utilisation_high": utilisation_high,
    "fallbacks_high": _fallbacks_high,
    "active_above_available": active_above_available,
    "provider_suspected": _provider_suspected,
    "credentials_refused": _credentials_refused,
    "money_unusual": _money_unusual,
    "deadline_short": deadline_short,
    "deadline_long": deadline_long,
    "cooldown_short": cooldown_short,
    "cooldown_long": cooldown_long,
    "oversized": oversized,
}
"""By code. A rule gives advice of its own code only."""
