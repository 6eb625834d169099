"""`tracepool explain`: what happened to one click."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter

from daemon.cli.logs import LogFile, pieces_of, wanted_lines
from daemon.cli.nodes import names_that_run
from daemon.cli.output import say, say_json, warn
from daemon.cli.session import AsJSON, ConfigFile, settings_of, work
from daemon.control.socket import ask
from daemon.errors import BadInput, DatabaseUnavailable, TheirFault
from daemon.logbook.clicks import find_click, read_click
from daemon.logbook.filter import Selection
from daemon.logbook.parse import Line
from daemon.logbook.render_story import render_story
from daemon.logbook.story import Story, story_of
from daemon.settings.model import Settings

LINES_MAX = 200
SHIPPED_S = 1.5  # the longest wait for the rows of a click that was answered just now
POLL_S = 0.3

Rows = tuple[dict[str, Any] | None, dict[str, Any] | None]


def explain(
    request_id: Annotated[str, Parameter(metavar="REQUEST_ID", help="The answer's X-Request-Id; or a click id.")],
    file: LogFile = None,
    /,
    *,
    as_json: AsJSON = False,
    config: ConfigFile = None,
) -> None:
    """Show what happened to one click: its time, its IP, each hop, and its redirect.

    The output includes why that IP was chosen, the duration of each hop, which
    parameters were added, and the reason of a fallback. The sources are the rows of
    the click and its lines of the log (journald, FILE, or standard input). The hit
    is kept for retention.hits_days, the trace with its hops for
    retention.traces_days. Refused clicks are only in the log.

    Exit status: 1 if nothing is known about the click.

        tracepool explain 6f1c2d3e-8a5b-4c7d-9e0f-112233445566
        tracepool explain 6f1c2d3e-8a5b-4c7d-9e0f-112233445566 serve.log --json
        tracepool explain Cj0KCQiA-gclid-of-the-click
    """
    settings = settings_of(config)
    story = _story(settings, _request_of(settings, request_id.strip()), file)
    if as_json:
        say_json(asdict(story))
        return
    for line in render_story(story):
        say(line)


def _request_of(settings: Settings, given: str) -> UUID:
    """The request id; that of the click with this click id."""
    try:
        return UUID(given)
    except ValueError:
        found = work(settings, find_click, given) if given and "\0" not in given else []
    if not found:
        raise BadInput(
            f"{given!r} is no request id, and no click has it as its click id: the X-Request-Id of an answer, or"
            " `tracepool logs`, has a request id such as 6f1c2d3e-8a5b-4c7d-9e0f-112233445566"
        )
    if len(found) > 1:
        more = ", ".join(map(str, found[1:]))
        warn(f"tracepool: {len(found) - 1} more requests have this click id, such as its repeats: {more}")
    return found[0]


def _story(settings: Settings, wanted: UUID, file: str | None) -> Story:
    lines = list(_lines(wanted, file))
    story = story_of(str(wanted), *_rows(settings, wanted), lines)
    if story is None:
        where = "the log" if file == "-" else file or "journald"
        raise TheirFault(
            f"nothing is known of {wanted}: there is no row of it (hits are kept for {settings.retention.hits_days:g} "
            f"days, traces for {settings.retention.traces_days:g} days) and no line in {where}. Name the daemon's log"
            " file, or look for the id with: tracepool logs. The lines of a click are in the log of the node that"
            " answered it"
        )
    return story


def _rows(settings: Settings, wanted: UUID) -> Rows:
    """The trace and the hit. While a daemon runs, waits up to SHIPPED_S until its journal has shipped the hit."""
    until_s = time.monotonic() + SHIPPED_S
    while True:
        try:
            trace, hit = work(settings, read_click, wanted)
        except DatabaseUnavailable as e:
            warn(f"tracepool: {e}; only the log is used")
            return None, None
        if hit is not None or time.monotonic() > until_s:
            return trace, hit
        if ask(settings.state_dir, "status") is None and not names_that_run(settings):
            return trace, hit
        time.sleep(POLL_S)


def _lines(wanted: UUID, file: str | None) -> Iterator[Line]:
    """The log lines of the click, LINES_MAX at most."""
    wants = Selection(request=str(wanted)).wanted()
    try:
        yield from islice(wanted_lines(pieces_of(file, pattern=str(wanted)), wants), LINES_MAX)
    except TheirFault as e:
        if file is not None:
            raise
        warn(f"tracepool: {e}")
