"""Lines of the log about the daemon itself: its versions, addresses and settings, what it lacks, and its providers."""

import platform
from pathlib import Path
from typing import Any

import structlog
import trio

from daemon import __version__
from daemon.click.clicks import Clicks
from daemon.control.socket import Commands
from daemon.errors import DatabaseUnavailable
from daemon.http.listeners import name_of
from daemon.offers.model import Offers
from daemon.pool.directory import PoolDirectory
from daemon.settings.live import changed_keys
from daemon.settings.model import Settings
from daemon.trace.provider_health import Health, ProviderRecord
from daemon.trace.wire.session import CONNECTIONS_MAX
from daemon.trace.workers import Tracer
from daemon.troubles import Troubles

SPARE_DESCRIPTORS = 128  # for the spool, PostgreSQL, listeners and the control socket

log = structlog.get_logger("daemon")


def start_facts(settings: Settings, config_file: Path | None, listeners: list[trio.SocketListener]) -> dict[str, Any]:
    """Versions, addresses, and what differs from the defaults; secrets are masked by their types."""
    given = settings.model_dump(mode="json")
    changed = changed_keys(Settings(state_dir=settings.state_dir), settings)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "listening": [name_of(listener) for listener in listeners],
        "state_dir": str(settings.state_dir),
        "config": str(config_file) if config_file else None,
        "settings": {key: _value_of(given, key) for key in changed},
    }


def say_ready(directory: PoolDirectory, offers: Offers) -> None:
    counts = directory.counts()
    log.info("ready", ips={country: c.total for country, c in counts.items()}, offers=len(offers))
    if not any(c.total for c in counts.values()):
        log.warning("no_ips", next="tracepool provision generate --country us --count 30 --provider luna")
    if not len(offers):
        log.warning("no_offers", next="tracepool offers add NAME URL --country us")


def say_provider(provider: str, record: ProviderRecord) -> None:
    """A provider stands otherwise than before."""
    if record.health is Health.CREDENTIALS_REFUSED:
        log.error("provider_credentials_refused", provider=provider, why="its proxies answer 407",
                  effect="traces through it fail; none of its IPs is blamed",
                  remedy=f"correct providers.{provider}.username and its password, then reload")  # fmt: skip
    elif record.health is Health.SUSPECTED:
        log.error("provider_suspected", provider=provider, why=record.why, remedy="tracepool provision check")
    else:
        log.info("provider_recovered", provider=provider)


def superseded(settings: Settings) -> dict[str, Any]:
    """The settings that a socket unit stands in for."""
    return {"click.bind": list(settings.click.bind), "click.backlog": settings.click.backlog}


def status_line(directory: PoolDirectory, clicks: Clicks, tracer: Tracer) -> str:
    """How things stand, for `systemctl status`."""
    counts = directory.counts().values()
    ips, available = sum(c.total for c in counts), sum(c.available for c in counts)
    return f"serving: {available} of {ips} IPs available, {tracer.active} traces, {clicks.waiting} clicks waiting"


def _value_of(given: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return given[section][name] if name else given[section]


def starting_commands(troubles: Troubles) -> Commands:
    """What commands get from a daemon that is not ready: why it is not."""

    async def say_it_starts(**_: object) -> dict[str, Any]:
        why = "; ".join(troubles.lines()) or "its database is not there yet"
        raise DatabaseUnavailable(f"the daemon is starting, clicks of offers that it knows fall back: {why}")

    return dict.fromkeys(("status", "maintenance", "check"), say_it_starts)


def descriptors_wanted(settings: Settings) -> int:
    """With every visitor's connection open, and every worker at a chain that needs all the connections it may have."""
    return settings.click.connections_max + CONNECTIONS_MAX * settings.trace.workers + SPARE_DESCRIPTORS
