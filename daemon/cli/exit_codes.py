"""Maps the exception that ended a command to an error message and an exit status.

0 done or stopped, 1 failed or crashed, 2 wrong usage, 78 bad settings (EX_CONFIG of sysexits.h), 130 Ctrl-C, 141 the
reader of the output has closed the pipe (a shell reports SIGPIPE as 141). The status of psql is passed on.
"""

import os
import sys
import traceback

from cyclopts import CycloptsError

from daemon.errors import BadInput, BadSettings, DatabaseUnavailable, TracepoolError
from daemon.logs import masked
from daemon.printable import one_line

FAILED, USAGE, BAD_SETTINGS, INTERRUPTED, PIPE_CLOSED = 1, 2, 78, 130, 141


def explain(error: BaseException) -> int:
    """Write what went wrong to standard error, if it needs words. Returns the exit status."""
    causes = leaves(error)
    first = causes[0]
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return INTERRUPTED
    if isinstance(first, BrokenPipeError):
        # Otherwise the interpreter writes an error when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    if isinstance(first, CycloptsError):
        command = " ".join(("tracepool", *(first.command_chain or ())))
        _complain(f"{' '.join(str(first).split())} Try: {command} --help")
        return USAGE
    if isinstance(first, BadSettings):
        for line in str(first).split("\n"):
            _complain(line)
        return BAD_SETTINGS
    if isinstance(first, TracepoolError | OSError):
        _complain(with_remedy(first))
        _quote("\n".join(getattr(first, "__notes__", ())))  # what another program wrote
        return USAGE if isinstance(first, BadInput) else FAILED
    _complain("a fault of tracepool itself:")
    _quote("".join(traceback.format_exception(error)))
    return FAILED


def with_remedy(error: BaseException) -> str:
    """The message, and what to do next if the error knows that and the message does not say it."""
    remedy = error.remedy if isinstance(error, DatabaseUnavailable) else ""
    is_said = not remedy or remedy in str(error) or "next: " in str(error).lower()
    return str(error) if is_said else f"{error}. Next: {remedy}"


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions inside the exception groups that nurseries raise."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def _quote(text: str) -> None:
    for line in text.rstrip().split("\n") if text else ():
        sys.stderr.write(f"  {one_line(masked(line))}\n")


def _complain(line: str) -> None:
    sys.stderr.write(f"tracepool: {one_line(masked(line))}\n")
