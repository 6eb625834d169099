"""`tracepool serve`: the daemon in the foreground."""

import os

from daemon import logs
from daemon.cli.exit_codes import FAILED, leaves
from daemon.cli.session import ConfigFile, settings_of
from daemon.errors import TheirFault
from daemon.host import signals
from daemon.settings.sources import config_path


def serve(*, config: ConfigFile = None) -> int:
    """Run the daemon until SIGTERM or Ctrl-C.

    It answers clicks on click.bind (0.0.0.0:8080) and logs one line of JSON for
    each click and each trace to standard error. A first SIGTERM or Ctrl-C stops
    the daemon after the clicks in flight are answered; a second one stops it at
    once. SIGHUP reloads the settings, even while the daemon starts.

    Without database.url the daemon runs its own PostgreSQL in the state directory:
    $STATE_DIRECTORY, /var/lib/tracepool for root, else ~/.local/state/tracepool.

    Exit status: 0 stopped, 1 crashed, 78 bad settings or a database that cannot be
    used (the message names the key and what is allowed, or the SQL that repairs
    the database).

        tracepool serve --config /etc/tracepool/tracepool.toml
        TRACEPOOL_CLICK__BIND=127.0.0.1:8080 tracepool serve
    """
    settings = settings_of(config)
    # These import the whole daemon: only now, so that bad settings are reported at once.
    import structlog
    import trio

    from daemon.supervisor import run_daemon
    from daemon.tracer_role import run_tracer

    logs.configure(settings.log.level)
    try:
        trio.run(run_tracer if settings.role == "tracer" else run_daemon, settings, config_path(config, os.environ))
    except Exception as e:
        if all(isinstance(cause, TheirFault) for cause in leaves(e)):
            raise
        structlog.get_logger("daemon").critical("crashed", exc_info=True)
        return FAILED
    finally:
        signals.ignore_hangup()
    return 0
