"""Texts about the daemon itself, for the log, `systemctl status` and commands: versions, settings, readiness."""

import platform
from functools import reduce
from operator import getitem
from pathlib import Path
from shlex import quote
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
from daemon.pool.failing import check_command
from daemon.settings.live import LiveSettings, merged
from daemon.settings.model import Settings
from daemon.trace.provider_health import Health, ProviderRecord
from daemon.trace.wire.session import CONNECTIONS_MAX
from daemon.trace.workers import Tracer
from daemon.troubles import Troubles

SPARE_DESCRIPTORS = 128  # for the spool, PostgreSQL, listeners and the control socket

log = structlog.get_logger("daemon")


def start_facts(settings: Settings, config_file: Path | None, listeners: list[trio.SocketListener]) -> dict[str, Any]:
    """Versions, addresses, and the settings that differ from the defaults; SecretStr masks the secrets."""
    given = settings.model_dump(mode="json")
    _, live, others = merged(Settings(state_dir=settings.state_dir), settings)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "listening": [name_of(listener) for listener in listeners],
        "state_dir": str(settings.state_dir),
        "config": str(config_file) if config_file else None,
        "settings": {key: reduce(getitem, key.split("."), given) for key in sorted(live + others)},
    }


def log_ready(directory: PoolDirectory, offers: Offers) -> None:
    counts = directory.counts()
    log.info("ready", ips={country: c.total for country, c in counts.items()}, offers=len(offers))
    if not any(c.total for c in counts.values()):
        log.warning("no_ips", next="tracepool provision generate --country us --count 30 --provider luna")
    if not len(offers):
        log.warning("no_offers", next="tracepool offers add NAME URL --country us")


def log_provider(live: LiveSettings, provider: str, record: ProviderRecord) -> None:
    """Log that the health of a provider has changed."""
    if record.status.state is Health.CREDENTIALS_REFUSED:
        log.error("provider_credentials_refused", provider=provider, why="its proxies answer 407",
                  effect="traces through it fail; its IPs are not counted as failed",
                  remedy=f"correct providers.{provider}.username and its password, then reload")  # fmt: skip
    elif record.status.state is Health.SUSPECTED:
        remedy = check_command(f"--provider {quote(provider)}", can_check=bool(live.current.provision.check_url))
        log.error("provider_suspected", provider=provider, why=record.why, remedy=remedy)
    else:
        log.info("provider_recovered", provider=provider)


def status_line(directory: PoolDirectory, clicks: Clicks, tracer: Tracer) -> str:
    """The figures of a ready daemon, for `systemctl status`."""
    counts = directory.counts().values()
    ips, available = sum(c.total for c in counts), sum(c.available for c in counts)
    return f"serving: {available} of {ips} IPs available, {tracer.active} traces, {clicks.waiting} clicks waiting"


def starting_commands(troubles: Troubles) -> Commands:
    """The control socket's answers while the daemon starts: an error with the reason."""

    async def refuse(**_: object) -> dict[str, Any]:
        why = "; ".join(troubles.lines()) or "its database is not ready yet"
        raise DatabaseUnavailable(f"the daemon is starting, clicks of known offers fall back: {why}")

    return dict.fromkeys(("status", "maintenance", "check"), refuse)


def descriptors_wanted(settings: Settings) -> int:
    """File descriptors for all connections of visitors, and for workers that use all their connections."""
    return settings.click.connections_max + CONNECTIONS_MAX * settings.trace.workers + SPARE_DESCRIPTORS
