"""`tracepool plan`: how many IPs a rate of clicks needs, and what the traces cost."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter

from daemon.cli.output import say, say_json, say_table
from daemon.cli.session import AsJSON, ConfigFile, flag, settings_of, work
from daemon.errors import BadInput
from daemon.maintenance.plan import MONTH_DAYS, SHARES, TRAFFIC, Plan, demands_of, plan_for, shares_of
from daemon.maintenance.rates import HISTORY_DAYS, History, read_history
from daemon.maintenance.sizing import IN_USE_MAX_PERCENT
from daemon.settings.model import Settings

KB_PER_TRACE = 40.0  # five hops over plain HTTP to a page of 500 KB whose body is not read
CLICKS_PER_MINUTE_MAX = 600_000
COLUMNS = ("country", "share", "clicks/min", "busy", "IPs", "none free", "in use", "at 80%")
TRAFFIC_COLUMNS = ("country", *(f"{level}: {rate:,.0f}/min" for level, rate in TRAFFIC.items()))
NEXT_MAX = 5


def plan(
    *,
    clicks_per_minute: Annotated[float | None, Parameter(metavar="N", help="Of all countries together.")] = None,
    trace_seconds: Annotated[float | None, Parameter(metavar="S", help="The duration of a trace.")] = None,
    cooldown: Annotated[float | None, Parameter(metavar="S", help="Instead of pool.cooldown_s.")] = None,
    fallback_percent: Annotated[float, Parameter(metavar="P", help="Clicks that may find no available IP.")] = 1.0,
    shares: Annotated[str | None, Parameter(metavar="C=P,…", help="Instead of us=60,uk=20,ca=20.")] = None,
    price_per_gb: Annotated[float | None, Parameter(metavar="M", help="In US dollars; else from the settings.")] = None,
    kb_per_trace: Annotated[
        float | None, Parameter(metavar="K", help="Instead of 40, or the value from the tables.")
    ] = None,
    from_history: Annotated[bool, flag("Take rates and durations from the tables.")] = False,
    as_json: AsJSON = False,
    config: ConfigFile = None,
) -> None:
    """Compute how many IPs each country needs for a rate of clicks, and the cost.

    A click occupies an IP for its trace and the cooldown. "busy" is the average
    number of occupied IPs (Little's law). "IPs" is the smallest number with which
    at most --fallback-percent of the clicks find no available IP (Erlang's loss
    formula). With that number, "none free" is the share of such clicks and "in use"
    the share of occupied IPs. "at 80%" is the number of IPs that also keeps "in
    use" at 80% or less; above 80%, tracepool status advises more IPs. The second
    table has the IPs for low, medium and high traffic.

    --from-history uses each country's clicks of the last 7 days, sizes for the
    busiest minute, and reads the duration and the bytes of a trace.

        tracepool plan --clicks-per-minute 300 --trace-seconds 10
        tracepool plan --clicks-per-minute 300 --trace-seconds 4 --shares us=1,de=1
        tracepool plan --from-history --price-per-gb 3
    """
    _check(from_history, clicks_per_minute, trace_seconds, shares)
    _in_range("--fallback-percent", fallback_percent, 0.0001, 99)
    _in_range("--trace-seconds", trace_seconds, 0.001, 3_600)
    _in_range("--kb-per-trace", kb_per_trace, 0.001, 1e6)
    _in_range("--price-per-gb", price_per_gb, 0, 1e6)
    _in_range("--clicks-per-minute", clicks_per_minute, 0.001, CLICKS_PER_MINUTE_MAX)
    _in_range("--cooldown", cooldown, 0, 86_400)
    settings = settings_of(config)
    history = work(settings, read_history, HISTORY_DAYS) if from_history else None
    if history is None:
        weights = shares_of(shares) if shares else SHARES
        demands = demands_of(clicks_per_minute or 0, trace_seconds or 0, weights)
    else:
        demands = history.demands(trace_seconds)
    found = plan_for(
        demands,
        cooldown_s=settings.pool.cooldown_s if cooldown is None else cooldown,
        fallback_percent=fallback_percent,
        kb_per_trace=kb_per_trace or (history and history.kb_per_trace()) or KB_PER_TRACE,
        price_per_gb=_price_in(settings) if price_per_gb is None else price_per_gb,
    )
    if as_json:
        say_json(_json(found, history))
        return
    say_table(COLUMNS, _rows(found), right=COLUMNS[1:])
    say("IPs for other traffic, with the same shares and times:")
    say_table(TRAFFIC_COLUMNS, _traffic_rows(found), right=TRAFFIC_COLUMNS[1:])
    for line in _lines(found, history):
        say(line)


def _check(from_history: bool, clicks_per_minute: float | None, trace_s: float | None, shares: str | None) -> None:
    if from_history and (clicks_per_minute is not None or shares is not None):
        raise BadInput("--from-history reads the rates: give it, or --clicks-per-minute and --shares, not both")
    if not from_history and (clicks_per_minute is None or trace_s is None):
        raise BadInput("give --clicks-per-minute and --trace-seconds, or --from-history")


def _in_range(option: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:  # NaN is in no range
        raise BadInput(f"{option} is {value:g}; allowed: {least:g} to {most:.0f}")


def _price_in(settings: Settings) -> float | None:
    """The price of a GB, if all providers that have a price have the same."""
    prices = {provider.price_per_gb for provider in settings.providers.values() if provider.price_per_gb}
    return prices.pop() if len(prices) == 1 else None


def _rows(found: Plan) -> Iterable[tuple[object, ...]]:
    for one in found.needs:
        yield (
            one.country, f"{found.shares_percent[one.country]:.3g}%", round(one.clicks_per_minute, 1),
            round(one.mean_busy, 1), one.ips, f"{one.none_free_percent:.2f}%", f"{one.in_use_percent:.1f}%",
            one.ips_in_band,
        )  # fmt: skip
    total = _total(found)
    yield (
        "all", "100%", round(total["clicks_per_minute"], 1), round(total["mean_busy"], 1), total["ips"], None, None,
        total["ips_in_band"],
    )  # fmt: skip


def _traffic_rows(found: Plan) -> Iterable[tuple[object, ...]]:
    for one in found.needs:
        yield one.country, *(found.traffic[level][one.country] for level in TRAFFIC)
    yield "all", *(sum(found.traffic[level].values()) for level in TRAFFIC)


def _total(found: Plan) -> dict[str, Any]:
    names = ("clicks_per_minute", "mean_busy", "ips", "ips_in_band")
    return {name: sum(getattr(one, name) for one in found.needs) for name in names}


def _lines(found: Plan, history: History | None) -> Iterable[str]:
    spent, times = found.bytes, {one.trace_s for one in found.needs}
    yield (
        f"a click occupies its IP for {' to '.join(f'{s:.3g}' for s in sorted({min(times), max(times)}))} s of trace "
        f"and {found.cooldown_s:g} s of cooldown; at most {found.fallback_percent:g}% of clicks find no available IP"
    )
    if history is not None:
        mean = sum(rate.mean_clicks_per_minute for rate in history.rates)
        hours = history.minutes / 60
        span = f"{hours / 24:.1f} days" if hours >= 24 else f"{hours:.1f} hours"
        yield f"history: {span}, {mean:.3g} clicks/min on average; sized for the busiest minutes"
    carried = f"a GB carries {spent.traces_per_gb:,.0f} traces of {spent.kb_per_trace:.3g} KB"
    yield f"{carried}; a day takes {spent.gb_per_day:.3g} GB"
    if spent.price_per_gb is None:
        yield "for the cost give --price-per-gb, or set providers.NAME.price_per_gb"
    else:
        yield (
            f"at {spent.price_per_gb:g} dollars a GB: {spent.money_per_1000_clicks:.4g} per 1,000 clicks, "
            f"{spent.money_per_day:,.2f} a day, {spent.money_per_month:,.2f} in {MONTH_DAYS} days"
        )
    for one in found.needs[:NEXT_MAX]:
        yield f"next: tracepool provision generate --country {one.country} --count {one.ips_in_band} --provider luna"


def _json(found: Plan, history: History | None) -> dict[str, Any]:
    return {
        "cooldown_s": found.cooldown_s,
        "fallback_percent": found.fallback_percent,
        "in_use_max_percent": IN_USE_MAX_PERCENT,
        "countries": {
            one.country: {"share_percent": found.shares_percent[one.country], **asdict(one)} for one in found.needs
        },
        "total": _total(found),
        "traffic": {level: {"clicks_per_minute": rate, "ips": found.traffic[level]} for level, rate in TRAFFIC.items()},
        "bytes": asdict(found.bytes),
        "history": None if history is None else asdict(history),
    }
