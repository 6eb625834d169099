"""`tracepool forget`: blanks what the tables and the journal have of a person."""

import sys
from typing import Annotated

from cyclopts import Parameter

from daemon.cli.output import say
from daemon.cli.session import ConfigFile, commander, flag, settings_of, with_database
from daemon.control.forget import Request, find, forget, request_of
from daemon.errors import BadInput
from daemon.journal.forgetting import Found
from daemon.settings.model import Settings


def forget_person(
    *,
    visitor: Annotated[str | None, Parameter(metavar="ADDRESS", help="The visitor's address.")] = None,
    click_id: Annotated[str | None, Parameter(metavar="ID", help="The value of gclid, fbclid or another one.")] = None,
    yes: Annotated[bool, flag("Do not ask.")] = False,
    config: ConfigFile = None,
) -> None:
    """Forget a person: blank what the rows of their clicks have of them, for good.

    Hits and traces lose address, User-Agent, referrer, click id and parameters, and
    each of their URLs all but its origin. Offers, outcomes, times, bytes and costs
    stay, so reports do not change. With --click-id, each click is found that has
    the text as the value of any parameter, or as a part of a path.

    Entries of the journal that nodes have not shipped yet are blanked on their way,
    however late, and in the spool of each node that runs. Logs, exports and backups
    cannot be reached: see the README, Personal data. The action log has a row that
    does not name the person: the network of an address, or the beginning of the
    SHA-256 of a click id.

        tracepool forget --visitor 203.0.113.77
        tracepool forget --click-id EAIaIQobChMI7 --yes
    """
    request = request_of(visitor, click_id)
    if not (yes or sys.stdin.isatty()):
        raise BadInput("this needs a confirmation, and there is no terminal: add --yes")

    settings = settings_of(config)
    if not yes:
        _ask(request, with_database(settings, lambda database: find(database, request)))
    found = with_database(settings, lambda database: forget(database, request, commander()))
    say(f"forgotten: {_counts(found)}")
    say("their entries that arrive later are blanked too; logs, exports and backups are not reached")
    if request.network not in (None, request.value):
        _say_rest(request_of(request.network, None), settings)


def _say_rest(network: Request, settings: Settings) -> None:
    """Clicks that were kept with their truncated address are those of up to 256 addresses."""
    hits = len(with_database(settings, lambda database: find(database, network)).hits)
    if hits:
        say(f"{hits} more have only the network {network.value}, which is not one person's: they stay")
        say(f"    next: tracepool forget --visitor {network.value}")


def _ask(request: Request, found: Found) -> None:
    who = f"the visitor {request.value}" if request.kind == "visitor" else f"the click id {request.value}"
    say(f"{_counts(found)} of {who}: their addresses, parameters and URLs would be blanked for good.")
    if input("Forget them? [y/N] ").strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was changed")


def _counts(found: Found) -> str:
    hits, traces = len(found.hits), len(found.traces)
    return f"{hits} hit{'' if hits == 1 else 's'}, {traces} trace{'' if traces == 1 else 's'}"
