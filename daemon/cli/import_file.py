"""Reads a file that a command imports, and reports its refused rows."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter

from daemon.cli.output import warn
from daemon.cli.session import flag
from daemon.database.records import Import, decoded
from daemon.errors import BadInput

T = TypeVar("T")

FILE_BYTES_MAX = 256 * 1024 * 1024
REFUSED_SHOWN_MAX = 1_000

ImportFile = Annotated[str, Parameter(metavar="FILE", help="The file, or - for standard input.")]
Strict = Annotated[bool, flag("If one row is bad, import nothing of the file.")]


def read_text(file: str) -> str:
    """The text of the file, or of standard input for `-`. Raises BadInput if it cannot be read."""
    try:
        if file == "-":
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(FILE_BYTES_MAX + 1)
    except OSError as e:
        raise BadInput(f"{file}: {e.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise BadInput(f"{name_of(file)}: larger than {FILE_BYTES_MAX // 1024**2} MiB: split it")
    try:
        return decoded(content)
    except BadInput as e:
        raise BadInput(f"{name_of(file)}: {e}") from None


def name_of(file: str) -> str:
    return "standard input" if file == "-" else file


def imported(file: str, read: Callable[[str], Import[T]], *, strict: bool) -> Import[T] | None:
    """The rows of the file; None if `strict` and a row was refused.

    Each refused or repeated row is a line on standard error, up to REFUSED_SHOWN_MAX of each. Raises BadInput if the
    file cannot be read.
    """
    text = read_text(file)
    try:
        found = read(text)
    except BadInput as e:
        raise BadInput(f"{name_of(file)}: {e}") from None
    for rows, word in ((found.refused, "refused"), (found.repeated, "repeated")):
        for row in rows[:REFUSED_SHOWN_MAX]:
            warn(f"tracepool: {name_of(file)}:{row.line}: {row.reason}")
        if len(rows) > REFUSED_SHOWN_MAX:
            warn(f"tracepool: {name_of(file)}: and {len(rows) - REFUSED_SHOWN_MAX} more rows {word}")
    if strict and found.refused:
        warn(f"tracepool: {name_of(file)}: nothing was imported, as --strict asks: {len(found.refused)} rows refused")
        return None
    return found
