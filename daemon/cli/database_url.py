"""`tracepool database-url`: where the database is, for other tools."""

from daemon.cli.options import ConfigFile
from daemon.cli.output import say, warn
from daemon.cli.session import settings_of
from daemon.database import embedded


def database_url(*, config: ConfigFile = None) -> None:
    """Print the address of the database, as libpq and other clients take it.

    It is printed whole, a password too. The embedded server runs only while the
    daemon or a command uses it: for a moment's look there is tracepool psql.

        pg_dump "$(tracepool database-url)" > tracepool.sql
    """
    settings = settings_of(config)
    if settings.database.url is not None:
        say(settings.database.url.get_secret_value())
        return
    server = embedded.start(settings.state_dir)
    server.stop()
    say(server.url)
    if embedded.running_url(settings.state_dir) is None:
        warn("tracepool: this server runs only while `tracepool serve`, or another command, uses it; now it is stopped")
