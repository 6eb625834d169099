"""The command line: which commands there are. Their modules import what is slow to load only when they run."""

from collections.abc import Callable
from typing import Any

from cyclopts import App
from cyclopts.help import DefaultFormatter, PanelSpec
from rich.box import Box

from daemon import __version__
from daemon.cli import (
    database_url,
    demo,
    explain,
    install_units,
    logs,
    maintenance,
    nodes,
    offers,
    offers_suggest,
    offers_write,
    plan,
    provision,
    provision_add,
    provision_check,
    psql,
    reset,
    serve,
    status,
    token,
    trace,
)

ABOUT = """Answers ad clicks, each through a proxy IP of its own.

For every click it leases one IP, follows the offer's redirect chain through it,
and sends the visitor to where the chain lands. To see it: tracepool demo

To begin:

    tracepool provision generate --country us --count 30 --provider luna
    tracepool offers add summer-sale 'https://ads.example/click?id=7'
    tracepool serve
    curl -i 'http://127.0.0.1:8080/track-hit?offer=summer-sale&gclid=1'

Without database.url in the settings, tracepool runs a PostgreSQL of its own in
the state directory; every command finds it there. All commands work while the
daemon runs, which adopts what they change within a second, and without it.

Exit status: 0 done, 1 failed, 2 wrong usage, 78 bad settings."""
ABOUT_PROVISION = """Bring proxy IPs into the pool, look at them, try them, take them out.

With a gateway provider an IP is a session slot, not an address.

    tracepool provision generate --country us --count 30 --provider luna
    tracepool provision import ips.csv
    tracepool provision list --country us --status failed
    tracepool provision check --country us
    tracepool provision remove --country de"""
ABOUT_OFFERS = """What the ads sell: add, change, show and remove offers.

An offer has a name, a tracking URL and a country whose IPs trace it. Clicks
come to /track-hit?offer=NAME.

    tracepool offers add summer-sale 'https://ads.example/click?id=7'
    tracepool offers update summer-sale --country uk --deadline 8
    tracepool offers update summer-sale --inactive
    tracepool offers list"""
ABOUT_ACCESS = """Who may use the control face (control.bind, 127.0.0.1:8081).

While there is no token, programs of this machine may use it as they like; from
the first one on, each request needs one. Beyond this machine it always does.

    tracepool token create anna --role operator
    tracepool token list
    tracepool token revoke anna"""
ABOUT_NODES = """The daemons of one database: which one may lease its IPs.

One works at a time. A second one waits until the first has stopped, or has not
been heard of for node.trust_s and what its last traces may take.

    tracepool nodes list
    tracepool nodes remove tracer-1"""
_NO_LINES = Box("    \n" * 8)


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
    pool = App(name="provision", help=ABOUT_PROVISION)
    _add(
        pool,
        ("generate", provision_add.generate),
        ("import", provision_add.import_file),
        ("list", provision.list_ips),
        ("check", provision_check.check_ips),
        ("remove", provision.remove),
    )
    sold = App(name="offers", help=ABOUT_OFFERS)
    _add(
        sold,
        ("add", offers_write.add),
        ("import", offers_write.import_file),
        ("list", offers.list_offers),
        ("show", offers.show),
        ("update", offers_write.update),
        ("remove", offers.remove),
        ("suggest", offers_suggest.suggest),
    )
    tokens = App(name="token", help=ABOUT_ACCESS)
    members = App(name="nodes", help=ABOUT_NODES)
    _add(members, ("list", nodes.list_nodes), ("remove", nodes.remove))
    _add(tokens, ("create", token.create), ("list", token.list_tokens), ("revoke", token.revoke))
    _add(
        app,
        ("demo", demo.demo),
        ("serve", serve.serve),
        ("provision", pool),
        ("offers", sold),
        ("trace", trace.trace),
        ("status", status.status),
        ("logs", logs.logs),
        ("explain", explain.explain),
        ("reset", reset.reset),
        ("maintenance", maintenance.maintenance),
        ("plan", plan.plan),
        ("token", tokens),
        ("nodes", members),
        ("psql", psql.psql),
        ("database-url", database_url.database_url),
        ("install-units", install_units.install_units),
    )
    return app


def _add(app: App, *commands: tuple[str, Callable[..., Any] | App]) -> None:
    """In the order in which --help is to show them."""
    for place, (name, command) in enumerate(commands):
        if isinstance(command, App):
            command.sort_key = place
            app.command(command)
        else:
            app.command(command, name=name, sort_key=place)


def run(argv: list[str]) -> int:
    """The exit status of the command that `argv` names. Raises CycloptsError for wrong usage."""
    tokens = _for_psql(argv[1:]) if argv[:1] == ["psql"] else argv
    if (
        argv[1:2] == ["import"] or argv[:1] in (["trace"], ["logs"], ["explain"])
    ) and "-" in argv:  # a lone hyphen is a file here
        tokens = [word for word in argv if word != "-"] + ["--", "-"]
    return build_app()(tokens) or 0


def _for_psql(arguments: list[str]) -> list[str]:
    """All of them are for psql, whatever they look like, but a first --config or a lone --help."""
    if arguments in (["--help"], ["-h"]):
        return ["psql", *arguments]
    ours = 2 if arguments[:1] == ["--config"] else 1 if arguments and arguments[0].startswith("--config=") else 0
    return ["psql", *arguments[:ours], "--", *arguments[ours:]]
