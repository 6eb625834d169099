"""pool.selection = "fastest": of the half of the available IPs that rested longest, one is drawn by its speed. Pure.

Speed is the inverse of avg_response_time_ms. One that was never measured counts as the fastest, so that it gets tried,
the less the more often in a row it has failed. Where there are many, the half is that of a sample of SAMPLE_MAX.
"""

from collections.abc import Callable, Iterable
from uuid import UUID

from daemon.pool.queues import Pile
from daemon.pool.states import Ip

SAMPLE_MAX = 32
MS_MIN = 1.0


def fast_one(rested: Pile, available: int, tried: frozenset[UUID], chance: Callable[[], float]) -> Ip | None:
    """One of `rested` (`available` in number) that is not among `tried`. `chance`: random, from 0 to below 1.

    None where all are tried; among very many, also where chance has it that only those were looked at.
    """
    some = rested.some(available, SAMPLE_MAX, chance)
    return drawn((ip for ip in some if ip.id not in tried), chance())


def drawn(ips: Iterable[Ip], chance: float) -> Ip | None:
    """One of the half that rested longest, the middle one included."""
    longest_first = sorted(ips, key=lambda ip: ip.last_used_s)
    half = longest_first[: (len(longest_first) + 1) // 2]
    if not half:
        return None
    best_ms = min((ip.avg_response_time_ms for ip in half if ip.avg_response_time_ms is not None), default=MS_MIN)
    weights = [1 / max(MS_MIN, _ms(ip, best_ms)) for ip in half]
    left = chance * sum(weights)
    for ip, weight in zip(half, weights, strict=True):
        left -= weight
        if left < 0:
            return ip
    return half[-1]


def _ms(ip: Ip, best_ms: float) -> float:
    ms = ip.avg_response_time_ms
    return best_ms * (1 + ip.consecutive_failures) if ms is None else ms
