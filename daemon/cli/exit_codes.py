"""From what a command raised to what is told and the exit status.

0 done or stopped, 1 failed or crashed, 2 wrong usage, 78 bad settings (EX_CONFIG of sysexits.h), 130 Ctrl-C, 141 nobody
reads the output any more (as a shell shows a death by SIGPIPE). psql's own status is passed on.
"""

import os
import sys
import traceback

from cyclopts import CycloptsError

from daemon.errors import BadInput, BadSettings, TracepoolError
from daemon.logs import masked

FAILED, USAGE, BAD_SETTINGS, INTERRUPTED, NOBODY_READS = 1, 2, 78, 130, 141


def explain(error: BaseException) -> int:
    """Tells on standard error what went wrong, if there is anything to tell; gives the exit status."""
    causes = leaves(error)
    first = causes[0]
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return INTERRUPTED
    if isinstance(first, BrokenPipeError):
        # Else the interpreter complains when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    if isinstance(first, CycloptsError):
        command = " ".join(("tracepool", *(first.command_chain or ())))
        _complain(f"{' '.join(str(first).split())} Try: {command} --help")
        return USAGE
    if isinstance(first, TracepoolError):
        for line in str(first).splitlines() if isinstance(first, BadSettings) else [str(first)]:
            _complain(line)
        return BAD_SETTINGS if isinstance(first, BadSettings) else USAGE if isinstance(first, BadInput) else FAILED
    if isinstance(first, OSError):
        _complain(str(first))
        return FAILED
    _complain("a fault of tracepool itself:\n" + "".join(traceback.format_exception(error)).rstrip())
    return FAILED


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions inside the groups that nurseries wrap around them."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def _complain(line: str) -> None:
    sys.stderr.write(f"tracepool: {masked(line)}\n")
