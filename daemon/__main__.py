"""The command `tracepool`, also as `python -m daemon`. The exit status is decided here and nowhere else."""

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

from daemon.host import signals

if sys.argv[1:2] == ["serve"]:
    signals.record_hangup()  # before the slow imports: SIGHUP asks for a reload from the first moment on


def main(argv: list[str] | tuple[str, ...] | None = None) -> int:
    """Return the exit status, as cli/exit_codes.py lists them. Errors are written to standard error; none is raised."""
    try:
        from daemon.cli.app import run  # inside, because Ctrl-C may come during the import

        if isinstance(sys.stdout, io.TextIOWrapper):  # an offer's name may have characters that the locale lacks
            sys.stdout.reconfigure(errors="backslashreplace")
        status = run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:  # not left to exit_codes: its imports may be incomplete
        return 130
    except (Exception, BaseExceptionGroup) as e:
        from daemon.cli.exit_codes import explain

        return explain(e)
    return status


def start() -> NoReturn:
    """Run the command and end the process with its status.

    A daemon has closed everything by then, and ends without the finalization of Python: a worker thread that still
    runs, such as a name lookup, can crash the interpreter there, and systemd would see a failure.
    """
    status = main()
    if sys.argv[1:2] == ["serve"]:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    start()
