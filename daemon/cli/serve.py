"""`tracepool serve`: the daemon in the foreground."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from daemon import logs
from daemon.cli.exit_codes import FAILED, leaves
from daemon.cli.session import ConfigFile, settings_of
from daemon.errors import TheirFault
from daemon.host import child, signals
from daemon.host.state_dir import refuse_beside_a_parent
from daemon.processes import plan
from daemon.settings.model import ENV_PREFIX, Settings
from daemon.settings.sources import config_path, with_processes

Processes = Annotated[
    str | None, Parameter(metavar="N", help='How many processes answer clicks, or "auto"; else the setting processes.')
]


def serve(*, processes: Processes = None, config: ConfigFile = None) -> int:
    """Run the daemon until SIGTERM or Ctrl-C.

    It answers clicks on click.bind (0.0.0.0:8080) and logs one line of JSON for
    each click and each trace to standard error. A first SIGTERM or Ctrl-C stops
    the daemon after the clicks in flight are answered; a second one stops it at
    once. SIGHUP reloads the settings, even while the daemon starts.

    Without database.url the daemon runs its own PostgreSQL in the state directory:
    $STATE_DIRECTORY, /var/lib/tracepool for root, else ~/.local/state/tracepool.

    With --processes N, N processes answer clicks, each as a node with a share of
    the IPs, and a parent process watches them: see the setting processes.

    Exit status: 0 stopped, 1 crashed, 78 bad settings or a database that cannot be
    used (the message names the key and what is allowed, or the SQL that repairs
    the database).

        tracepool serve --config /etc/tracepool/tracepool.toml
        tracepool serve --processes auto
        TRACEPOOL_CLICK__BIND=127.0.0.1:8080 tracepool serve
    """
    settings = settings_of(config)
    if processes is not None:
        settings = with_processes(settings, processes)
        os.environ[f"{ENV_PREFIX}PROCESSES"] = processes  # for the children, which share the CPUs
    # These import the whole daemon: only now, so that bad settings are reported at once.
    import structlog
    import trio

    logs.configure(settings.log.level)
    try:
        trio.run(_program(settings), settings, config_path(config, os.environ))
    except Exception as e:
        if all(isinstance(cause, TheirFault) for cause in leaves(e)):
            raise
        structlog.get_logger("daemon").critical("crashed", exc_info=True)
        return FAILED
    finally:
        signals.ignore_hangup()
    return 0


def _program(settings: Settings) -> Callable[[Settings, Path | None], Awaitable[None]]:
    """What this process is: the parent of several, one of them, or the only one. Raises AlreadyRunning."""
    if settings.role == "tracer":
        from daemon.tracer_role import run_tracer

        return run_tracer
    if child.is_child(os.environ):
        logs.name_node(settings.node.shown_name())
        if child.is_retired(os.environ):
            from daemon.retirement import run_retirement

            return run_retirement
    else:
        refuse_beside_a_parent(settings.state_dir)
        if plan.needs_parent(settings):
            from daemon.processes.parent import run_parent

            return run_parent
    from daemon.supervisor import run_daemon

    return run_daemon
