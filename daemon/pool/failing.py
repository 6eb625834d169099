"""Counts a country's IPs that fail, by provider; the command that checks them. Pure."""

from collections.abc import Mapping
from uuid import UUID

from daemon.pool.states import Ip, Status


def check_command(options: str, *, can_check: bool) -> str:
    """What an operator runs to check IPs. `can_check`: provision.check_url is set; without it no IP can be checked."""
    command = f"tracepool provision check {options}"
    return command if can_check else f"set provision.check_url and reload, then: {command}"


class Failing:
    """`by_provider`: (failed IPs, other IPs whose last trace failed by the IP's fault). A change makes a new mapping.

    With pool.failures_max 5 and a cooldown of 60 s, a dead IP is `failed` only after minutes, and Quarantine keeps
    most of many dead IPs in use. The second number shows such IPs after their first trace.
    """

    def __init__(self) -> None:
        self.by_provider: Mapping[str, tuple[int, int]] = {}
        self._noted: dict[UUID, tuple[str, bool]] = {}

    def note(self, ip: Ip) -> None:
        """Call it after each change of `ip`."""
        fails = ip.status is not Status.GONE and (ip.consecutive_failures > 0 or not ip.is_healthy)
        if not fails and ip.id not in self._noted:
            return
        now, before = (ip.provider, not ip.is_healthy) if fails else None, self._noted.pop(ip.id, None)
        if now is not None:
            self._noted[ip.id] = now
        if now == before:
            return
        counts = dict(self.by_provider)
        for noted, change in ((before, -1), (now, 1)):
            if noted is not None:
                provider, is_failed = noted
                failed, others = counts.get(provider, (0, 0))
                counts[provider] = (failed + change * is_failed, others + change * (not is_failed))
        self.by_provider = {provider: both for provider, both in counts.items() if any(both)}
