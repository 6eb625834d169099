"""A plan of pools: how many IPs each country needs for a rate of clicks, and what the traffic costs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daemon.countries import canonical
from daemon.errors import BadInput
from daemon.maintenance.sizing import Need, need

SHARES: Mapping[str, float] = {"us": 60, "uk": 20, "ca": 20}
TRAFFIC: Mapping[str, float] = {"low": 60, "medium": 300, "high": 1_200}  # clicks per minute
BYTES_PER_KB = 1_000
BYTES_PER_GB = 1_000_000_000
MINUTES_PER_DAY = 1_440
MONTH_DAYS = 30
COUNTRIES_MAX = 300


@dataclass(frozen=True, slots=True)
class Demand:
    """The clicks of one country. The pool is sized for `clicks_per_minute`; the cost is computed from the mean."""

    country: str
    clicks_per_minute: float
    mean_clicks_per_minute: float
    trace_s: float


@dataclass(frozen=True, slots=True)
class Bytes:
    """The traffic of traces and its cost in US dollars, None without a price."""

    kb_per_trace: float
    traces_per_gb: float
    gb_per_day: float
    price_per_gb: float | None
    money_per_1000_clicks: float | None
    money_per_day: float | None
    money_per_month: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """`traffic`: the IPs of each country by level of TRAFFIC, with the same shares as `needs`."""

    cooldown_s: float
    fallback_percent: float
    shares_percent: dict[str, float]
    needs: tuple[Need, ...]
    traffic: dict[str, dict[str, int]]
    bytes: Bytes


def shares_of(text: str) -> dict[str, float]:
    """Parse `us=60,uk=20` to weights by country. Raises BadInput."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, mark, weight = part.partition("=")
        country = canonical(name)
        try:
            value = float(weight) if mark else -1.0
        except ValueError:
            value = -1.0
        if not country or not 0 < value <= 1e6:
            raise BadInput(f"--shares: {part.strip()!r} is not a country and its share such as us=60")
        if country in shares:
            raise BadInput(f"--shares: {country} is given twice")
        shares[country] = value
    if len(shares) > COUNTRIES_MAX:
        raise BadInput(f"--shares: {len(shares)} countries; at most {COUNTRIES_MAX} are allowed")
    return shares


def demands_of(clicks_per_minute: float, trace_s: float, shares: Mapping[str, float]) -> tuple[Demand, ...]:
    whole = sum(shares.values())
    rates = {country: clicks_per_minute * weight / whole for country, weight in shares.items()}
    return tuple(Demand(country, rate, rate, trace_s) for country, rate in rates.items())


def plan_for(
    demands: Sequence[Demand],
    *,
    cooldown_s: float,
    fallback_percent: float,
    kb_per_trace: float,
    price_per_gb: float | None,
) -> Plan:
    """The plan for `demands`, which are not empty and have clicks."""
    whole = sum(demand.mean_clicks_per_minute for demand in demands)
    shares = {demand.country: demand.mean_clicks_per_minute / whole for demand in demands}
    needs = [need(d.country, d.clicks_per_minute, d.trace_s, cooldown_s, fallback_percent) for d in demands]
    traffic = {
        level: {
            d.country: need(d.country, rate * shares[d.country], d.trace_s, cooldown_s, fallback_percent).ips
            for d in demands
        }
        for level, rate in TRAFFIC.items()
    }
    return Plan(
        cooldown_s=cooldown_s,
        fallback_percent=fallback_percent,
        shares_percent={country: 100 * share for country, share in shares.items()},
        needs=tuple(needs),
        traffic=traffic,
        bytes=bytes_of(whole, kb_per_trace, price_per_gb),
    )


def bytes_of(clicks_per_minute: float, kb_per_trace: float, price_per_gb: float | None) -> Bytes:
    per_trace_gb = kb_per_trace * BYTES_PER_KB / BYTES_PER_GB
    per_day_gb = clicks_per_minute * MINUTES_PER_DAY * per_trace_gb

    def cost(gb: float) -> float | None:
        return None if price_per_gb is None else gb * price_per_gb

    return Bytes(
        kb_per_trace=kb_per_trace,
        traces_per_gb=1 / per_trace_gb,
        gb_per_day=per_day_gb,
        price_per_gb=price_per_gb,
        money_per_1000_clicks=cost(1_000 * per_trace_gb),
        money_per_day=cost(per_day_gb),
        money_per_month=cost(per_day_gb * MONTH_DAYS),
    )
