"""Endpoints that departed from a pool while they were in use or rested, and until when they rest. Pure.

A row is deleted, edited to another endpoint, or moved to another country: its endpoint departs. A row that has
this endpoint later rests until then first. All pools share one such table. It begins with what the spool knows.
"""

import math

from daemon.pool.states import Ip, Rules, Status

SAME_S = 0.001  # a row's time has whole microseconds: what differs by less is the same

Endpoint = tuple[str, str]  # address, port
Departed = dict[Endpoint, float]


def remember(departed: Departed, ip: Ip, now_s: float, rules: Rules) -> None:
    """The rest that is left to the endpoint of `ip`, which departs; if it is in use, its lock and the rest after it."""
    if ip.locked_until_s is None:
        return
    rests_until_s = ip.locked_until_s + (rules.cooldown_s if ip.status is Status.LOCKED else 0.0)
    if rests_until_s > max(now_s, departed.get((ip.address, ip.port), -math.inf)):
        departed[ip.address, ip.port] = rests_until_s


def departed_until_s(departed: Departed, ip: Ip, rules: Rules) -> float | None:
    """When the rest that an IP's endpoint brought along ends, if that is later than what the IP knows of."""
    until_s = departed.get((ip.address, ip.port))
    if until_s is None:
        return None
    own_s = -math.inf if ip.locked_until_s is None else ip.locked_until_s
    if ip.status is Status.LOCKED:
        own_s += rules.cooldown_s
    return until_s if until_s > own_s + SAME_S else None


def forget(departed: Departed, now_s: float) -> None:
    """Endpoints whose rest is over."""
    for endpoint in [e for e, until_s in departed.items() if until_s <= now_s]:
        del departed[endpoint]
