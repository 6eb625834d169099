"""How many sockets and files the daemon may have open: a shell's usual 1,024 would end long before our own bounds."""

import resource

import structlog

from daemon.config import Settings
from daemon.trace.fetch import CONNECTIONS_MAX

SPARE = 128  # for the spool, PostgreSQL, listeners and the control socket

log = structlog.get_logger("daemon")


def descriptors_wanted(settings: Settings) -> int:
    """With every visitor's connection open, and every worker at a chain that needs all the connections it may have."""
    return settings.click.connections_max + CONNECTIONS_MAX * settings.trace.workers + SPARE


def allow_descriptors(wanted: int) -> None:
    """Raises the soft limit to the hard one. Warns where that is still below what the settings could need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < wanted:
        log.warning(
            "few_descriptors",
            allowed=hard,
            wanted=wanted,
            effect="at a full house, the connections that are idle longest are closed for new ones",
            next="raise LimitNOFILE (ulimit -Hn), or lower click.connections_max or trace.workers",
        )
