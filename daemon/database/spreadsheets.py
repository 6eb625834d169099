"""Tables with a header: read as spreadsheets and people write them, and written (RFC 4180 and what is around it). Pure.

Columns stand between commas, semicolons, tabs, bars or blanks, whichever names the most columns in the header. Blank
lines, rows without text and columns without a name are passed over. Lines end by LF, CR LF or CR. `sep=;`, which Excel
writes before the header, is understood, and so is `="08080"`, which protects a text from Excel.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

COMMENT = "#"
# Spreadsheets evaluate a cell that begins so (OWASP, CSV injection). With an apostrophe before it, the cell is a text.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
DELIMITERS = (",", ";", "\t", "|", ":", " ")
LINES = re.compile(r"(.*?)(?:\r\n|\r|\n|\Z)", re.DOTALL)
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_FORMULA = re.compile(r'="(.*)"', re.DOTALL)
_REASONS = {
    "unexpected end of data": "a quote is opened and never closed",
    "expected after": "something stands between a closing quote and the next separator",
    "field larger than field limit": "a field is longer than 131072 characters; is a quote left open?",
}


@dataclass(frozen=True, slots=True)
class Header:
    """The first line with `text`, and the `rest` after it. `cells` is empty if the line is no row."""

    line: int
    text: str
    cells: tuple[str, ...]
    delimiter: str
    rest: str


def header_of(text: str, is_column: Callable[[str], bool]) -> Header | None:
    """The header, with the delimiter that makes the most of its cells columns. None for a text without a line.

    Comments before the header are passed over.
    """
    forced = ""
    for number, (line, after) in enumerate(_lines(text), start=1):
        if not line.strip() or line.lstrip().startswith(COMMENT):
            continue
        if (separator := _SEPARATOR.fullmatch(line.strip(" "))) and not forced:
            forced = separator[1]
            continue
        splits = [(cells_of(line, delimiter), delimiter) for delimiter in ([forced] if forced else DELIMITERS)]
        cells, delimiter = max(splits, key=lambda split: sum(map(is_column, split[0])))
        return Header(number, line.strip(), cells, delimiter, text[after:])
    return None


def cells_of(line: str, delimiter: str) -> tuple[str, ...]:
    """The stripped cells of one line; none if its quotes are wrong."""
    try:
        found = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True), [])
    except csv.Error:
        return ()
    return tuple(map(_plain, found))


def rows_after(header: Header, *, comments: bool) -> Iterator[tuple[int, Sequence[str] | str]]:
    """(line, as many cells as the header has, or what is wrong with the row). `comments`: rows with # are skipped."""
    text = io.StringIO(header.rest, newline="")
    reader = csv.reader(text, delimiter=header.delimiter, skipinitialspace=True, strict=True)
    width = len(header.cells)
    while True:
        line = header.line + reader.line_num + 1
        try:
            row = [_plain(cell) for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as e:
            yield line, next((ours for theirs, ours in _REASONS.items() if theirs in str(e)), str(e))
            continue
        if not any(row) or (comments and row[0].startswith(COMMENT)):
            continue
        if any(row[width:]):
            yield line, f"{len(row)} fields where the header has {width}"
        else:
            yield line, (row + [""] * (width - len(row)))[:width]


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """(number, stripped line) of each line that has text and is no comment."""
    for number, (line, _) in enumerate(_lines(text), start=1):
        if (stripped := line.strip()) and not stripped.startswith(COMMENT):
            yield number, stripped


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """(a line, where the next one begins)."""
    for match in LINES.finditer(text):
        if match.end() > match.start():
            yield match[1], match.end()


def _plain(cell: str) -> str:
    cell = cell.strip()
    formula = _FORMULA.fullmatch(cell)
    return formula[1].strip() if formula else cell


def write_line(cells: Iterable[object]) -> str:
    """A line of a CSV file (RFC 4180). Empty for None; no text is a formula for a spreadsheet (`FORMULA_STARTS`)."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow([_no_formula(cell) if isinstance(cell, str) else cell for cell in cells])
    return line.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
