"""Output of commands: tables on a terminal, tab-separated lines into a pipe, JSON on request, progress bars.

Every text is escaped here (printable.py), so that commands pass stored texts as they are.
"""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.logs import masked
from daemon.printable import one_line, safe_json


def say(line: str) -> None:
    sys.stdout.write(f"{one_line(line)}\n")


def warn(line: str) -> None:
    """A line on standard error, beside the result."""
    sys.stdout.flush()
    sys.stderr.write(f"{one_line(masked(line))}\n")


def say_json(value: Any, *, indent: int | None = 2) -> None:
    sys.stdout.write(f"{_json(value, indent)}\n")


def _json(value: Any, indent: int | None = None) -> str:
    return safe_json(json.dumps(value, indent=indent, ensure_ascii=False, default=_json_value))


def say_rows_json(rows: Iterable[Any]) -> None:
    """Dataclass instances as a JSON array, one object on each line."""
    # Line by line: with unbuffered output, one huge write to a pipe that the reader closes can look like a success.
    before = "[\n"
    for row in rows:
        sys.stdout.write(before + _json(asdict(row)))
        before = ",\n"
    sys.stdout.write("\n]\n" if before == ",\n" else "[]\n")


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[str] = ()) -> None:
    """`right`: the columns to align to the right."""
    if sys.stdout.isatty():
        sys.stdout.flush()
        Console().print(table(columns, rows, right=right))
        return
    for row in chain((columns,), rows):
        sys.stdout.write("\t".join(one_line(shown(value)) for value in row) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[str] = ()) -> Table:
    result = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        result.add_column(
            column, justify="right" if column in right else "left", overflow="fold", min_width=len(column)
        )
    for row in rows:
        result.add_row(*(Text(one_line(shown(value))) for value in row))
    return result


def text(*lines: str) -> Text:
    """Lines for a terminal, beside a table."""
    return Text("\n".join(map(one_line, lines)))


def shown(value: object) -> str:
    """A value of a table as text; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return value.isoformat(sep=" ", timespec="seconds") if isinstance(value, datetime) else str(value)


def _json_value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar if standard error is a terminal. Yields a function to call with the number of items just done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn(label), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)
