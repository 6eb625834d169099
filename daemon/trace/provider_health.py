"""How each provider stands as a whole, by what its traces and IPs say. Pure: what changes is told to `say`.

| from | what came | to |
| --- | --- | --- |
| any | a proxy refused the login (407) | credentials_refused |
| credentials_refused | a success | ok |
| ok | an IP rests that should have failed, as too many of its country have | suspected |
| suspected | a success, SUSPECTED_S or more after the last such IP | ok |

A provider that nobody has traced through in this run has no standing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from daemon.clock import Moment
from daemon.trace.walk.verdicts import Verdict

SUSPECTED_S = 300.0


class Health(StrEnum):
    OK = "ok"
    SUSPECTED = "suspected"
    CREDENTIALS_REFUSED = "credentials_refused"


@dataclass(slots=True)
class Standing:
    """`traces`, those refused and the IPs spared are counted since `since_s`, on the wall clock.

    `accepted`: a trace has gone well since then. `spared_s`: on the monotonic clock.
    """

    since_s: float
    health: Health = Health.OK
    traces: int = 0
    credentials_refused: int = 0
    ips_spared: int = 0
    accepted: bool = False
    spared_s: float = 0.0
    spared_in: str = ""


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """How a provider stands as a whole since `since`, with what was counted since then. `suspected`: so many of its IPs
    fail that it must be the provider's fault; `ips_spared` is how often one rested instead of failing for that.
    """

    state: Health
    since: str
    traces: int
    credentials_refused: int
    ips_spared: int


class ProviderHealth:
    def __init__(self, say: Callable[[str, Standing], None] = lambda provider, standing: None) -> None:
        self._say = say
        self._standings: dict[str, Standing] = {}

    def trace(self, provider: str, verdict: Verdict, now: Moment) -> None:
        """A trace, or a probe, ended."""
        standing = self._standing(provider, now)
        if verdict is Verdict.CREDENTIALS:
            standing = self._becomes(provider, Health.CREDENTIALS_REFUSED, now)
            standing.credentials_refused += 1
        elif verdict is Verdict.OK:
            if standing.health is not Health.SUSPECTED or now.tick_s >= standing.spared_s + SUSPECTED_S:
                standing = self._becomes(provider, Health.OK, now)
            standing.accepted = True
        standing.traces += 1

    def spared(self, provider: str, country: str, now: Moment) -> None:
        """An IP rests that should have failed: as many of `country` have failed as may at once."""
        standing = self._standing(provider, now)
        if standing.health is Health.OK:
            standing = self._becomes(provider, Health.SUSPECTED, now, spared_in=country)
        standing.ips_spared += 1
        standing.spared_s, standing.spared_in = now.tick_s, country

    def suspects(self) -> dict[str, str]:
        """Why each provider that is suspected is."""
        return {name: why_of(one) for name, one in self._standings.items() if one.health is Health.SUSPECTED}

    def refusals(self) -> dict[str, int]:
        """Refused logins by provider; 0 where the last ones went well. Those that nobody knows of are left out."""
        return {
            name: one.credentials_refused
            for name, one in self._standings.items()
            if one.accepted or one.health is Health.CREDENTIALS_REFUSED
        }

    def status(self) -> dict[str, ProviderStatus]:
        return {name: _shown(one) for name, one in sorted(self._standings.items())}

    def _standing(self, provider: str, now: Moment) -> Standing:
        if provider not in self._standings:
            self._standings[provider] = Standing(now.wall_s)
        return self._standings[provider]

    def _becomes(self, provider: str, health: Health, now: Moment, spared_in: str = "") -> Standing:
        standing = self._standings[provider]
        if standing.health is health:
            return standing
        fresh = self._standings[provider] = Standing(now.wall_s, health, spared_in=spared_in)
        self._say(provider, fresh)
        return fresh


def why_of(standing: Standing) -> str:
    return (
        f"IPs of {standing.spared_in} go on failing though as many of that country have failed as may at once; they "
        "rest instead"
    )


def _shown(standing: Standing) -> ProviderStatus:
    since = datetime.fromtimestamp(standing.since_s, UTC).isoformat(timespec="seconds")
    return ProviderStatus(standing.health, since, standing.traces, standing.credentials_refused, standing.ips_spared)
