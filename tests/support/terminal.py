"""A program on a pseudo-terminal with colours."""

import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path

PATIENCE_S = 60.0


def run_on_a_terminal(command: Sequence[str], cwd: Path, *, columns: int, **env: str) -> tuple[int, bytes]:
    """The exit status of the program, and the raw bytes that it writes to its terminal of `columns` columns."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), **env}
    environment.pop("NO_COLOR", None)
    child = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    output = b""
    try:
        while piece := os.read(master, 65_536):
            output += piece
    except OSError:
        pass  # the error of Linux when the other end is closed
    finally:
        os.close(master)
    return child.wait(PATIENCE_S), output
