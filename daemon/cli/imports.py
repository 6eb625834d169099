"""Reading the file that a command imports, and telling what came of it."""

import sys
from pathlib import Path
from typing import TypeVar

from daemon.cli.output import warn
from daemon.database.records import Import, RefusedRecord, decoded
from daemon.errors import BadInput

T = TypeVar("T")

FILE_BYTES_MAX = 256 * 1024 * 1024
REFUSED_SHOWN_MAX = 1_000


def read_text(file: str) -> str:
    """The text of the file, or of standard input for `-`. Raises BadInput where it cannot be read."""
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


def report_refused(file: str, refused: tuple[RefusedRecord, ...]) -> None:
    """A line of standard error for each bad row, the first REFUSED_SHOWN_MAX of them."""
    for row in refused[:REFUSED_SHOWN_MAX]:
        warn(f"tracepool: {name_of(file)}:{row.line}: {row.reason}")
    if len(refused) > REFUSED_SHOWN_MAX:
        warn(f"tracepool: {name_of(file)}: and {len(refused) - REFUSED_SHOWN_MAX} more rows refused")


def refuses_whole(file: str, read: Import[T], strict: bool) -> bool:
    """Tells of the bad rows; True where one of them is enough to stop."""
    report_refused(file, read.refused)
    if strict and read.refused:
        warn(f"tracepool: {name_of(file)}: nothing was imported, as --strict asks: {len(read.refused)} rows refused")
        return True
    return False
