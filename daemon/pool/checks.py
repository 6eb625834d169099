"""When an IP may be had for a check: alone, at once, and never at the cost of a click. Pure."""

from daemon.pool.messages import Counts, NoIPAvailable
from daemon.pool.states import Ip, Status

KEPT_SHARE = 0.2  # of a country's healthy IPs: as many stay available for the clicks to come


def refused_check(ip: Ip, until_s: float | None, counts: Counts, now_s: float) -> NoIPAvailable | None:
    """Why the check has to wait, or None. `until_s`: the end of a lock or a rest, one that a failed IP has left too."""
    if ip.leaving:
        return NoIPAvailable(None, "gone")
    if until_s is not None and until_s > now_s:
        return NoIPAvailable(until_s, "locked" if ip.status is Status.LOCKED else "cooldown")
    kept = int(KEPT_SHARE * (counts.total - counts.failed))
    if ip.status is Status.AVAILABLE and (counts.waiting or counts.available <= kept):
        return NoIPAvailable(None, "busy")
    return None
