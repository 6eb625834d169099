"""`tracepool serve`: the daemon in the foreground."""

import os

from daemon import hangup, logs
from daemon.cli.options import ConfigFile
from daemon.cli.outcomes import leaves
from daemon.config_sources import config_path, hide_secrets, load
from daemon.errors import TheirFault


def serve(*, config: ConfigFile = None) -> int:
    """Run the daemon until SIGTERM or Ctrl-C.

    It answers clicks on click.bind (0.0.0.0:8080) and logs one line of JSON for
    each click and each trace to standard error. A first SIGTERM or Ctrl-C stops
    it in order: clicks in flight are answered. A second one stops it at once.
    SIGHUP reads the settings anew, from the first moment of the start on.

    Without database.url it runs its own PostgreSQL in the state directory:
    $STATE_DIRECTORY, /var/lib/tracepool for root, ~/.local/state/tracepool else.

    Exit status: 0 stopped, 1 crashed, 78 bad settings (the message names the file,
    the key and what is allowed).

        tracepool serve --config /etc/tracepool/tracepool.toml
        TRACEPOOL_CLICK__BIND=127.0.0.1:8080 tracepool serve
    """
    settings = load(config)
    # Only now, so that bad settings are told at once: these bring the whole daemon with them.
    import structlog
    import trio

    from daemon.supervisor import run_daemon
    from daemon.tracer_role import run_tracer

    logs.configure(settings.log.level)
    hide_secrets(settings)
    try:
        trio.run(run_tracer if settings.role == "tracer" else run_daemon, settings, config_path(config, os.environ))
    except Exception as e:
        if all(isinstance(cause, TheirFault) for cause in leaves(e)):
            raise
        structlog.get_logger("daemon").critical("crashed", exc_info=True)
        return 1
    finally:
        hangup.ignore()
    return 0
