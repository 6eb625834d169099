"""The health of each provider as a whole, from the verdicts of its traces and the health of its IPs. Pure.

| from | event | to |
| --- | --- | --- |
| any | a proxy refused the login (407) | credentials_refused |
| credentials_refused | a success | ok |
| ok | an IP was exempted from quarantine, because too many IPs of its country have failed | suspected |
| suspected | a success, SUSPECTED_S or more after the last such exemption | ok |

A provider without a trace since the daemon's start has no record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
class ProviderStatus:
    """The health of a provider since `since`, with the counts since then.

    `suspected`: so many of its IPs fail that the provider must be at fault. `ips_spared`: how often an IP went into
    cooldown instead of failing for that reason.
    """

    state: Health
    since: str
    traces: int
    credentials_refused: int
    ips_spared: int


@dataclass(slots=True)
class ProviderRecord:
    """`accepted`: a trace has succeeded since `status.since`. `spared_in` is a country.

    `traced_s` and `spared_s` are ticks of the last trace and of the last exemption.
    """

    status: ProviderStatus
    accepted: bool = False
    traced_s: float = 0.0
    spared_s: float = 0.0
    spared_in: str = ""

    @property
    def why(self) -> str:
        """The reason for Health.SUSPECTED."""
        return (
            f"IPs of {self.spared_in} go on failing though as many of that country have failed as may at once; they go "
            "into cooldown instead"
        )


class ProviderHealth:
    """`on_change` is called with a provider's new record when its health changes."""

    def __init__(self, on_change: Callable[[str, ProviderRecord], None] = lambda provider, record: None) -> None:
        self._on_change = on_change
        self._records: dict[str, ProviderRecord] = {}

    def trace(self, provider: str, verdict: Verdict, now: Moment) -> None:
        """A trace, or a probe, ended."""
        record = self._record(provider, now)
        if verdict is Verdict.CREDENTIALS:
            record = self._set(provider, Health.CREDENTIALS_REFUSED, now)
            record.status.credentials_refused += 1
        elif verdict is Verdict.OK:
            if record.status.state is not Health.SUSPECTED or now.tick_s >= record.spared_s + SUSPECTED_S:
                record = self._set(provider, Health.OK, now)
            record.accepted = True
        record.traced_s = now.tick_s
        record.status.traces += 1

    def spared(self, provider: str, country: str, now: Moment) -> None:
        """An IP of `country` was exempted from quarantine."""
        record = self._record(provider, now)
        if record.status.state is Health.OK:
            record = self._set(provider, Health.SUSPECTED, now, spared_in=country)
        record.status.ips_spared += 1
        record.traced_s = record.spared_s = now.tick_s
        record.spared_in = country

    def records(self) -> Mapping[str, ProviderRecord]:
        """Copies, by provider."""
        return {name: replace(record, status=replace(record.status)) for name, record in sorted(self._records.items())}

    def _record(self, provider: str, now: Moment) -> ProviderRecord:
        if provider not in self._records:
            self._records[provider] = _new_record(Health.OK, now)
        return self._records[provider]

    def _set(self, provider: str, health: Health, now: Moment, spared_in: str = "") -> ProviderRecord:
        record = self._records[provider]
        if record.status.state is not health:
            record = self._records[provider] = _new_record(health, now, spared_in)
            self._on_change(provider, record)
        return record


def _new_record(health: Health, now: Moment, spared_in: str = "") -> ProviderRecord:
    since = datetime.fromtimestamp(now.wall_s, UTC).isoformat(timespec="seconds")
    return ProviderRecord(ProviderStatus(health, since, 0, 0, 0), spared_in=spared_in)
