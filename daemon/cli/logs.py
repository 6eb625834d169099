"""`tracepool logs`: the log of clicks and traces, for people and for programs."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from daemon.cli.output import warn
from daemon.cli.session import flag
from daemon.logbook import sources
from daemon.logbook.filter import Selection, since_of
from daemon.logbook.parse import Line, Splitter
from daemon.logbook.render_line import render_line
from daemon.printable import one_line, safe_json

LogFile = Annotated[str | None, Parameter(metavar="FILE", help="A log file, or - for standard input; else journald.")]


def logs(
    file: LogFile = None,
    /,
    *,
    follow: Annotated[bool, flag("Go on with new lines.")] = False,
    outcome: Annotated[
        str | None, Parameter(metavar="O", help="resolved, fallback, background, left, refused.")
    ] = None,
    offer: Annotated[str | None, Parameter(metavar="X", help="Clicks and traces of this offer.")] = None,
    ip: Annotated[str | None, Parameter(metavar="A", help="Traces through ADDRESS or ADDRESS:PORT.")] = None,
    request: Annotated[str | None, Parameter(metavar="ID", help="One click, by X-Request-Id or its beginning.")] = None,
    node: Annotated[str | None, Parameter(metavar="N", help="Lines of this process, with several.")] = None,
    since: Annotated[str | None, Parameter(metavar="T", help="90s, 10m, 2h, 1d ago, or a time.")] = None,
) -> None:
    """Show the daemon's log: coloured lines on a terminal, JSON lines otherwise.

    Each event is one line. On a terminal a value with blanks or = is quoted, and of
    a traceback only the error is shown; control characters are escaped everywhere.

    The log is read from journald (journalctl -u tracepool), from FILE, or from
    standard input. A line is shown if it meets all given conditions. Times are UTC.
    --follow begins with the last ten lines, or with those since --since.

        tracepool logs --follow
        tracepool logs --outcome fallback --since 10m
        tracepool logs --ip 192.0.2.7 /var/log/tracepool.log
        tracepool serve 2>&1 | tracepool logs -
    """
    since_s = None if since is None else since_of(since, datetime.now().astimezone())
    wants = Selection(outcome, offer, ip, request, since_s, node).wanted()
    tail = sources.TAIL_LINES if follow and since is None and file not in (None, "-") else None
    say_line = _painter() if sys.stdout.isatty() else lambda line: sys.stdout.write(f"{safe_json(line.as_json())}\n")
    seen = 0
    for line in wanted_lines(pieces_of(file, follow=follow, since_s=since_s), wants, tail):
        seen += 1
        say_line(line)
    if not seen and file is None:
        warn("tracepool: journald has no such line of tracepool.service: run this as root, or name a log file")


def pieces_of(
    file: str | None, *, follow: bool = False, since_s: float | None = None, pattern: str | None = None
) -> Iterator[bytes]:
    """The bytes of the log. `since_s` and `pattern` limit what journald returns; a file is read as a whole."""
    if file is None:
        return sources.journald(follow=follow, since_s=since_s, pattern=pattern)
    return sources.standard_input() if file == "-" else sources.file(Path(file), follow=follow)


def wanted_lines(pieces: Iterator[bytes], wants: Callable[[Line], bool], tail: int | None = None) -> Iterator[Line]:
    """The wanted lines. `tail`: show only so many of those that were written before the first pause."""
    splitter = Splitter()
    before: deque[Line] | None = None if tail is None else deque(maxlen=tail)
    for piece in pieces:
        found = filter(wants, splitter.feed(piece))
        if before is None:
            yield from found
        elif piece:
            before.extend(found)
        else:
            yield from before
            before = None
        sys.stdout.flush()
    yield from before or ()
    yield from filter(wants, splitter.end())


def _painter() -> Callable[[Line], object]:
    console = Console(highlight=False, soft_wrap=True)

    def paint(line: Line) -> None:
        console.print(Text.assemble(*((one_line(text), style) for text, style in render_line(line))))

    return paint
