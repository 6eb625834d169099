"""How many IPs a rate of clicks needs. Pure.

A click keeps its IP for the trace and the rest after it, so on average clicks/s × (trace + cooldown) IPs are not free
(J. D. C. Little, 1961: L = λW). That mean is the load, in erlangs. How many more it takes, because clicks do not come
evenly, A. K. Erlang's loss formula says (1917): the chance that a click finds none of n IPs free. It holds however the
times of traces are spread. Clicks that wait instead of giving up at once, as tracepool's do, lose out less often.
"""

import math
from dataclasses import dataclass

IN_USE_MAX_PERCENT = 80.0  # above it, `tracepool status` says that a pool is too small
IN_USE_MIN_PERCENT = 50.0  # below it, too large
IN_USE_AIM_PERCENT = 65.0


def mean_busy(clicks_per_minute: float, trace_s: float, cooldown_s: float) -> float:
    """IPs that are locked or rest, on average."""
    return clicks_per_minute / 60 * (trace_s + cooldown_s)


def none_free(ips: int, load: float) -> float:
    """Erlang B: the chance, 0 to 1, that a click finds none of `ips` free under `load` erlangs.

    By the recursion on 1/B (Jagerman), which neither over- nor underflows: 1/B(n) = 1 + n/load × 1/B(n-1).
    """
    if load <= 0:
        return 0.0 if ips > 0 else 1.0
    inverse = 1.0
    for n in range(1, ips + 1):
        inverse = 1 + n / load * inverse
        if math.isinf(inverse):
            return 0.0
    return 1 / inverse


def ips_needed(load: float, none_free_max: float) -> int:
    """The fewest IPs with which the chance to find none free is at most `none_free_max`, above 0 to 1."""
    if load <= 0:
        return 0
    ips, inverse = 0, 1.0
    while inverse * none_free_max < 1:
        ips += 1
        inverse = 1 + ips / load * inverse
    return ips


def ips_within(load: float, in_use_percent: float) -> int:
    """The fewest IPs of which `load` is at most so many percent."""
    return math.ceil(load * 100 / in_use_percent - 1e-9)


@dataclass(frozen=True, slots=True)
class Need:
    """What one country needs. `mean_busy`: by Little's law. `ips`: the fewest with at most the asked-for chance of none
    free, which with so many is `none_free_percent`, and then `in_use_percent` of them are in use on average.
    `ips_in_band`: with those, at most IN_USE_MAX_PERCENT are in use as well.
    """

    country: str
    clicks_per_minute: float
    trace_s: float
    mean_busy: float
    ips: int
    none_free_percent: float
    in_use_percent: float
    ips_in_band: int


def need(
    country: str, clicks_per_minute: float, trace_s: float, cooldown_s: float, none_free_max_percent: float
) -> Need:
    load = mean_busy(clicks_per_minute, trace_s, cooldown_s)
    ips = ips_needed(load, none_free_max_percent / 100)
    lost = none_free(ips, load) if load > 0 else 0.0
    return Need(
        country=country,
        clicks_per_minute=clicks_per_minute,
        trace_s=trace_s,
        mean_busy=load,
        ips=ips,
        none_free_percent=lost * 100,
        in_use_percent=100 * load * (1 - lost) / ips if ips else 0.0,
        ips_in_band=max(ips, ips_within(load, IN_USE_MAX_PERCENT)),
    )
