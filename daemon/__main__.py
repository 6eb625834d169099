"""The command `tracepool`, and `python -m daemon`: turns outcomes into exit statuses.

0 done or stopped, 1 failed or crashed, 2 wrong usage, 78 bad settings (EX_CONFIG of sysexits.h), 130 Ctrl-C, 141 nobody
reads the output any more (as a shell shows a death by SIGPIPE). psql's own status is passed on.
"""

import os
import sys
import traceback
from collections.abc import Sequence

from daemon.errors import BadInput, BadSettings, TracepoolError

OK, FAILED, USAGE, BAD_SETTINGS, INTERRUPTED, NOBODY_READS = 0, 1, 2, 78, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status; what went wrong is on standard error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        from daemon.cli.app import run  # inside, because Ctrl-C may come while it is imported

        status = run(arguments)
        sys.stdout.flush()
    except Exception as e:
        return _explained(e)
    except (KeyboardInterrupt, BaseExceptionGroup) as e:
        return _explained(e)
    return status


def _explained(error: BaseException) -> int:
    from cyclopts import CycloptsError

    from daemon.logs import masked

    leaves = _leaves(error)
    first = leaves[0]
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
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
            _complain(masked(line))
        return BAD_SETTINGS if isinstance(first, BadSettings) else USAGE if isinstance(first, BadInput) else FAILED
    sys.stderr.write(masked("".join(traceback.format_exception(error))))
    _complain("this is a fault of tracepool itself")
    return FAILED


def _leaves(error: BaseException) -> list[BaseException]:
    """What a nursery wrapped in groups, without them."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _complain(line: str) -> None:
    sys.stderr.write(f"tracepool: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
