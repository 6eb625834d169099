"""How many sockets and files the daemon may have open: a shell's usual 1,024 would end long before our own bounds."""

import resource

import structlog

log = structlog.get_logger("daemon")


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
