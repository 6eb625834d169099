"""How many IPs a rate of clicks needs. Pure.

A click occupies its IP for the trace and the cooldown, so on average clicks/s × (trace + cooldown) IPs are occupied
(J. D. C. Little, 1961: L = λW). This mean is the load, in erlangs. More IPs are needed because clicks arrive
irregularly: A. K. Erlang's loss formula (1917) gives the probability that a click finds none of n IPs available, for
any distribution of the traces' durations. Clicks of tracepool wait for an IP, so fewer fall back than the formula says.
"""

import math
from dataclasses import dataclass

IN_USE_MAX_PERCENT = 80.0  # above it, `tracepool status` reports that a pool is too small
IN_USE_MIN_PERCENT = 50.0  # below it, too large
IN_USE_AIM_PERCENT = 65.0


def mean_busy(clicks_per_minute: float, trace_s: float, cooldown_s: float) -> float:
    """The average number of IPs that are locked or in cooldown."""
    return clicks_per_minute / 60 * (trace_s + cooldown_s)


def none_free(ips: int, load: float) -> float:
    """Erlang B: the probability that a click finds none of `ips` available under `load` erlangs.

    Uses Jagerman's recursion on 1/B, which neither over- nor underflows: 1/B(n) = 1 + n/load × 1/B(n-1).
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
    """The fewest IPs such that the probability to find none available is at most `none_free_max`, in (0, 1]."""
    if load <= 0:
        return 0
    ips, inverse = 0, 1.0
    while inverse * none_free_max < 1:
        ips += 1
        inverse = 1 + ips / load * inverse
    return ips


def ips_within(load: float, in_use_percent: float) -> int:
    """The fewest IPs of which `load` is at most `in_use_percent`."""
    return math.ceil(load * 100 / in_use_percent - 1e-9)


@dataclass(frozen=True, slots=True)
class Need:
    """The IPs that one country needs.

    `mean_busy`: by Little's law. `ips`: the fewest IPs that meet the limit for clicks without an IP. With them,
    `none_free_percent` of the clicks find none and `in_use_percent` of the IPs are in use on average. `ips_in_band`:
    the fewest that also keep at most IN_USE_MAX_PERCENT of the IPs in use.
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
