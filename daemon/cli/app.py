"""The command line: its commands and their order in the help.

A command is declared by its module in this package and its function. `run` imports the module of the one command that
runs. The help of a group of commands needs the docstrings of all of them, so all modules are imported for it.
"""

from importlib import import_module

from cyclopts import App
from cyclopts.help import DefaultFormatter, PanelSpec
from rich.box import Box

from daemon import __version__

ABOUT = """Answers ad clicks, each through a proxy IP of its own.

For each click tracepool leases one IP, follows the offer's redirect chain
through it, and redirects the visitor to the landing page.
To see this: tracepool demo

To begin:

    tracepool provision generate --country us --count 30 --provider luna
    tracepool offers add summer-sale 'https://ads.example/click?id=7'
    tracepool serve
    curl -i 'http://127.0.0.1:8080/track-hit?offer=summer-sale&gclid=1'

Without database.url in the settings, tracepool runs its own PostgreSQL in the
state directory. All commands work while the daemon runs and while it does not.
A running daemon uses within a second what they change.

Exit status: 0 done, 1 failed, 2 wrong usage, 78 bad settings."""
ABOUT_PROVISION = """Add proxy IPs to the pool, list, check and remove them.

With a gateway provider an IP is a session slot, not an address.

    tracepool provision generate --country us --count 30 --provider luna
    tracepool provision import ips.csv
    tracepool provision list --country us --status failed
    tracepool provision check --country us
    tracepool provision remove --country de"""
ABOUT_OFFERS = """Add, change, show and remove offers: what the ads sell.

An offer has a name, a tracking URL and the country of the IPs that trace it.
Its clicks arrive at /track-hit?offer=NAME.

    tracepool offers add summer-sale 'https://ads.example/click?id=7'
    tracepool offers update summer-sale --country uk --deadline 8
    tracepool offers update summer-sale --inactive
    tracepool offers list"""
ABOUT_ACCESS = """Create, list and revoke tokens for the control face.

The control face listens on control.bind (127.0.0.1:8081). Until a token is
created, any program on this machine may use it. From then on each request needs
a token. Requests from other machines always do.

    tracepool token create anna --role operator
    tracepool token list
    tracepool token revoke anna"""
ABOUT_NODES = """List the nodes: the daemons that share one database; drain or remove a node.

Each IP has one owner, and only the owner leases it. Without a command, the
nodes are listed.

    tracepool nodes
    tracepool nodes drain tracer-1
    tracepool nodes undrain tracer-1
    tracepool nodes remove tracer-1"""
ABOUT_JOURNAL = """The journal: what the daemon has decided and PostgreSQL does not have yet."""
ABOUT_EXPORT = """Print the rows of clicks and traces as CSV, for spreadsheets and other tools.

    tracepool export hits --from 2026-11-01 --to 2026-11-30 > november.csv
    tracepool export traces --country us --status failed --from 2h"""
ABOUT_REFUSED = """List, send again or drop the entries that PostgreSQL refused.

    tracepool journal refused list
    tracepool journal refused retry
    tracepool journal refused drop 1204"""
OF_NODES = (
    ("list", "nodes", "list_nodes"),
    ("drain", "nodes", "drain"),
    ("undrain", "nodes", "undrain"),
    ("remove", "nodes", "remove"),
)
_NO_LINES = Box("    \n" * 8)

Command = tuple[str, str, str] | App
"""Its name, its module and its function; or a group of commands."""


def build_app(*, lazy: bool = False) -> App:
    """The app. It returns the exit status and raises all errors, which __main__ handles.

    `lazy`: import a command's module only when the command is parsed; the help of a group then lacks descriptions.
    """
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

    def group(name: str, about: str, *commands: Command) -> App:
        return _with_commands(App(name=name, help=about), lazy, *commands)

    provision_group = group(
        "provision",
        ABOUT_PROVISION,
        ("generate", "provision", "generate"),
        ("import", "provision", "import_file"),
        ("list", "provision", "list_ips"),
        ("check", "provision_check", "check_ips"),
        ("remove", "provision", "remove"),
    )
    offers_group = group(
        "offers",
        ABOUT_OFFERS,
        ("add", "offers_write", "add"),
        ("import", "offers_write", "import_file"),
        ("list", "offers", "list_offers"),
        ("show", "offers", "show"),
        ("update", "offers_write", "update"),
        ("remove", "offers", "remove"),
        ("suggest", "offers", "suggest"),
    )
    entries = (("list", "journal", "list_refused"), ("retry", "journal", "retry"), ("drop", "journal", "drop"))
    tokens = (("create", "token", "create"), ("list", "token", "list_tokens"), ("revoke", "token", "revoke"))
    return _with_commands(
        app,
        lazy,
        ("demo", "demo", "demo"),
        ("serve", "serve", "serve"),
        provision_group,
        offers_group,
        ("trace", "trace", "trace"),
        ("status", "status", "status"),
        ("logs", "logs", "logs"),
        ("explain", "explain", "explain"),
        ("report", "report", "report"),
        group("export", ABOUT_EXPORT, ("hits", "export", "hits"), ("traces", "export", "traces")),
        ("reset", "provision", "reset"),
        ("maintenance", "status", "maintenance"),
        ("plan", "plan", "plan"),
        group("token", ABOUT_ACCESS, *tokens),
        ("actions", "actions", "actions"),
        ("forget", "forget", "forget_person"),
        group("nodes", ABOUT_NODES, *OF_NODES),
        group("journal", ABOUT_JOURNAL, group("refused", ABOUT_REFUSED, *entries)),
        ("psql", "psql", "psql"),
        ("database-url", "psql", "database_url"),
        ("database-grants", "psql", "database_grants"),
        ("install-units", "install_units", "install_units"),
    )


def _with_commands(app: App, lazy: bool, *commands: Command) -> App:
    """Add the commands, in the order in which --help shows them."""
    for place, command in enumerate(commands):
        if isinstance(command, App):
            command.sort_key = place
            app.command(command)
            continue
        name, module, function = command
        if lazy:
            app.command(f"daemon.cli.{module}:{function}", name=name, sort_key=place)
        else:
            app.command(getattr(import_module(f"daemon.cli.{module}"), function), name=name, sort_key=place)
    return app


def run(argv: list[str]) -> int:
    """The exit status of the command that `argv` names. Raises CycloptsError for wrong usage."""
    tokens = argv
    if argv[:1] == ["psql"]:
        tokens = _for_psql(argv[1:])
    elif argv[:1] == ["nodes"] and (not argv[1:] or (argv[1].startswith("-") and argv[1] not in ("--help", "-h"))):
        tokens = ["nodes", "list", *argv[1:]]  # the list is the default
    elif (argv[1:2] == ["import"] or argv[:1] in (["trace"], ["logs"], ["explain"])) and "-" in argv:
        tokens = [word for word in argv if word != "-"] + ["--", "-"]  # here a lone hyphen is the file
    words, apps, _ = build_app(lazy=True).parse_commands(tokens)
    named = apps[-2] if words[-1:] in (("--help",), ("-h",)) else apps[-1]
    is_group = any(not name.startswith("-") for name in named)
    return build_app(lazy=not is_group)(tokens) or 0


def _for_psql(arguments: list[str]) -> list[str]:
    """Pass all arguments to psql, except a --config that comes first and a lone --help."""
    if arguments in (["--help"], ["-h"]):
        return ["psql", *arguments]
    ours = 2 if arguments[:1] == ["--config"] else 1 if arguments and arguments[0].startswith("--config=") else 0
    return ["psql", *arguments[:ours], "--", *arguments[ours:]]
