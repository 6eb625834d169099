"""The health of the providers in the figures that nodes share, and in the status. Pure."""

from collections.abc import Mapping

from daemon.maintenance.figures import Suspect
from daemon.nodes.figures import ProviderFigures
from daemon.trace.provider_health import Health, ProviderHealth, ProviderRecord, ProviderStatus


def provider_figures(health: ProviderHealth, now_s: float) -> dict[str, ProviderFigures]:
    """`now_s` is a tick."""
    return {name: _figures(record, now_s) for name, record in health.records().items()}


def _figures(record: ProviderRecord, now_s: float) -> ProviderFigures:
    status = record.status
    return ProviderFigures(
        state=status.state,
        since=status.since,
        traces=status.traces,
        refused=status.credentials_refused,
        spared=status.ips_spared,
        idle_s=int(max(0.0, now_s - record.traced_s)),
        accepted=record.accepted,
        why=record.why if status.state is Health.SUSPECTED else "",
        country=record.spared_in if status.state is Health.SUSPECTED else "",
    )


def suspects(providers: Mapping[str, ProviderFigures]) -> dict[str, Suspect]:
    """The suspected providers."""
    return {
        name: Suspect(one.why, one.country or None, one.spared)
        for name, one in providers.items()
        if one.state == Health.SUSPECTED
    }


def refusals(providers: Mapping[str, ProviderFigures]) -> dict[str, int]:
    """Refused logins by provider, 0 if the last logins were accepted. Providers without either are left out."""
    return {
        name: one.refused for name, one in providers.items() if one.accepted or one.state == Health.CREDENTIALS_REFUSED
    }


def provider_statuses(providers: Mapping[str, ProviderFigures]) -> dict[str, ProviderStatus]:
    return {
        name: ProviderStatus(Health(one.state), one.since, one.traces, one.refused, one.spared)
        for name, one in providers.items()
    }
