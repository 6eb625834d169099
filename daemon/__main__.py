"""The command `tracepool`, and `python -m daemon`: its outcome becomes the exit status here, and nowhere else."""

import sys

from daemon.host import hangup

if sys.argv[1:2] == ["serve"]:
    hangup.record()  # before anything slow is imported: SIGHUP asks for a reload from the first moment on


def main(argv: list[str] | tuple[str, ...] | None = None) -> int:
    """The exit status, as cli/outcomes.py lists them; what went wrong is told on standard error. Raises nothing."""
    try:
        from daemon.cli.app import run  # inside, because Ctrl-C may come while it is imported

        status = run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:  # by itself: half of what explains the others may not be imported yet
        return 130
    except (Exception, BaseExceptionGroup) as e:
        from daemon.cli.exit_codes import explain

        return explain(e)
    return status


if __name__ == "__main__":
    sys.exit(main())
