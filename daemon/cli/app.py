"""The command line: which commands there are. Each one's module is imported when it is called, not before."""

from cyclopts import App
from cyclopts.help import DefaultFormatter, PanelSpec
from rich.box import Box

from daemon import __version__

ABOUT = """Answers ad clicks: leases a dedicated proxy IP for each, follows the offer's
redirect chain through it, and sends the visitor to where it lands.

To begin:

    tracepool provision generate --country us --count 30 --provider luna
    tracepool offers add summer-sale 'https://ads.example/click?id=7'
    tracepool serve
    curl -i 'http://127.0.0.1:8080/track-hit?offer=summer-sale&gclid=1'

Without database.url in the settings, tracepool runs a PostgreSQL of its own in
the state directory; every command finds it there. All commands work while the
daemon runs, which adopts what they change within a second, and without it.

Exit status: 0 done, 1 failed, 2 wrong usage, 78 bad settings."""
ABOUT_PROVISION = """Bring proxy IPs into the pool, look at them, take them out.

With a gateway provider an IP is a session slot, not an address.

    tracepool provision generate --country us --count 30 --provider luna
    tracepool provision import ips.csv
    tracepool provision list --country us --status failed
    tracepool provision remove --country de"""
ABOUT_OFFERS = """What the ads sell: each offer has a name, a tracking URL and a country.

    tracepool offers add summer-sale 'https://ads.example/click?id=7'
    tracepool offers update summer-sale --country uk --deadline 8
    tracepool offers update summer-sale --inactive
    tracepool offers list

Its clicks come to /track-hit?offer=summer-sale."""
_NO_LINES = Box("    \n" * 8)


def _group(name: str, about: str) -> App:
    return App(name=name, help=about)


def build_app() -> App:
    """The app; it raises what goes wrong and returns the exit status, for __main__ to deal with."""
    app = App(
        name="tracepool",
        help=ABOUT,
        version=f"tracepool {__version__}",
        help_format="plaintext",
        help_formatter=DefaultFormatter(panel_spec=PanelSpec(box=_NO_LINES, padding=(0, 0, 0, 2))),
        exit_on_error=False,
        print_error=False,
        verbose=False,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app.command("daemon.cli.serve:serve", name="serve")
    app.command("daemon.cli.demo:demo", name="demo")
    provision = _group("provision", ABOUT_PROVISION)
    provision.command("daemon.cli.provision_add:generate", name="generate")
    provision.command("daemon.cli.provision_add:import_file", name="import")
    provision.command("daemon.cli.provision:list_ips", name="list")
    provision.command("daemon.cli.provision:remove", name="remove")
    app.command(provision)
    offers = _group("offers", ABOUT_OFFERS)
    offers.command("daemon.cli.offers_write:add", name="add")
    offers.command("daemon.cli.offers_write:import_file", name="import")
    offers.command("daemon.cli.offers:list_offers", name="list")
    offers.command("daemon.cli.offers:show", name="show")
    offers.command("daemon.cli.offers_write:update", name="update")
    offers.command("daemon.cli.offers:remove", name="remove")
    app.command(offers)
    app.command("daemon.cli.status:status", name="status")
    app.command("daemon.cli.reset:reset", name="reset")
    app.command("daemon.cli.maintenance:maintenance", name="maintenance")
    app.command("daemon.cli.psql:psql", name="psql")
    app.command("daemon.cli.database_url:database_url", name="database-url")
    return app


def run(argv: list[str]) -> int:
    """The exit status of the command that `argv` names. Raises CycloptsError for wrong usage."""
    return build_app()(_for_psql(argv)) or 0


def _for_psql(argv: list[str]) -> list[str]:
    """All that follows `psql` is for psql, whatever it looks like, but a first --config or a lone --help."""
    if argv[:1] != ["psql"] or argv[1:] in (["--help"], ["-h"]):
        return argv
    rest = argv[1:]
    ours: list[str] = []
    if rest[:1] == ["--config"]:
        ours, rest = rest[:2], rest[2:]
    elif rest and rest[0].startswith("--config="):
        ours, rest = rest[:1], rest[1:]
    return ["psql", *ours, "--", *rest]
