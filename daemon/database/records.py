"""Records of an imported file: CSV with a header (RFC 4180, blanks around values ignored), or JSON lines. Pure.

BadInput is raised for a file that cannot be read at all. A bad record is a RefusedRecord, and the import goes on. Blank
lines are skipped.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from daemon.errors import BadInput

T = TypeVar("T")

SHOWN_CHARACTERS_MAX = 40
CSV_REASONS = {
    "unexpected end of data": "a quote is opened and never closed",
    "',' expected after '\"'": "something stands between a closing quote and the next comma",
    "field larger than field limit": "a field is longer than 131072 characters; is a quote left open?",
}
JSON_TYPES: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


# (line from 1, the fields that are given and not null, or why the record is refused)
Record = tuple[int, Mapping[str, object] | str]


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Import(Generic[T]):
    rows: tuple[T, ...]
    refused: tuple[RefusedRecord, ...]


def decoded(content: bytes) -> str:
    """A file's text, without a byte order mark. Invalid UTF-8 becomes lone surrogates, and its record is refused."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput("the file is UTF-16: save it as UTF-8")
    return content.decode("utf-8-sig", "surrogateescape")


def import_rows(
    text: str, columns: Sequence[str], required: Sequence[str], row_of: Callable[[Mapping[str, object]], T]
) -> Import[T]:
    """Applies `row_of`, which raises BadInput with the reason for a bad record, to each record of `text` in order.

    Raises BadInput for a wrong header or kind of file.
    """
    rows: list[T] = []
    refused: list[RefusedRecord] = []
    first = text.lstrip()[:1]
    if first == "[":
        raise BadInput("the file is a JSON array: write JSON lines, one object on each line (jq -c '.[]' makes them)")
    records = _json_records if first == "{" else _csv_records
    for line, fields in records(text, columns, required):
        try:
            if isinstance(fields, str):
                raise BadInput(fields)
            rows.append(row_of(fields))
        except BadInput as e:
            refused.append(RefusedRecord(line, str(e)))
    return Import(tuple(rows), tuple(refused))


def _csv_records(text: str, columns: Sequence[str], required: Sequence[str]) -> Iterator[Record]:
    header: list[str] | None = None
    for line, row in _csv_rows(text):
        if isinstance(row, str):
            if header is None:
                raise BadInput(f"line {line}: {row}; the first line must name the columns: {', '.join(columns)}")
            yield line, row
        elif header is None:
            header = _checked_header(line, row, columns, required)
        elif len(row) != len(header):
            yield line, f"{len(row)} fields where the header has {len(header)}"
        else:
            yield line, dict(zip(header, row, strict=True))


def _csv_rows(text: str) -> Iterator[tuple[int, list[str] | str]]:
    """(line, the fields or what is wrong with them)."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            yield line, next((ours for theirs, ours in CSV_REASONS.items() if theirs in str(e)), str(e))
            continue
        if len(row) > 1 or (row and row[0].strip()):
            yield line, row


def _checked_header(line: int, row: Sequence[str], columns: Sequence[str], required: Sequence[str]) -> list[str]:
    header = [name.strip().lower() for name in row]
    allowed = f"allowed: {', '.join(columns)} (with commas between them)"
    for name in header:
        if name not in columns:
            raise BadInput(f"line {line}: unknown column {_shown(name)}; {allowed}")
        if header.count(name) > 1:
            raise BadInput(f"line {line}: the column {name} is there twice")
    for name in required:
        if name not in header:
            raise BadInput(f"line {line}: the column {name} is missing; {allowed}")
    return header


def _json_records(text: str, columns: Sequence[str], required: Sequence[str]) -> Iterator[Record]:
    # Not splitlines(): U+2028 and others that it splits at may stand inside a JSON string.
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            fields = json.loads(raw)
        except ValueError as e:
            yield line, f"not JSON: {e}"
            continue
        except RecursionError:
            yield line, "not JSON that can be read: nested too deeply"
            continue
        if not isinstance(fields, dict):
            yield line, "not a JSON object"
        elif unknown := [name for name in fields if name not in columns]:
            yield line, f"unknown key {_shown(unknown[0])}; allowed: {', '.join(columns)}"
        elif missing := [name for name in required if fields.get(name) is None]:
            yield line, f"{missing[0]} is missing"
        else:
            yield line, {name: value for name, value in fields.items() if value is not None}


def text_in(fields: Mapping[str, object], column: str, characters_max: int) -> str | None:
    """The column's text without surrounding blanks, maybe empty; None if it is not given.

    Raises BadInput if it is not text, too long, or has control characters or invalid UTF-8.
    """
    value = fields.get(column)
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadInput(f"{column} must be text in quotes, not {JSON_TYPES.get(type(value), 'that')}")
    value = value.strip()
    if len(value) > characters_max:
        raise BadInput(f"{column} is {len(value)} characters long; at most {characters_max} are allowed")
    if not value.isprintable():
        for character in value:
            category = unicodedata.category(character)
            if category == "Cs":
                raise BadInput(f"{column} is not UTF-8")
            if category in ("Cc", "Zl", "Zp"):
                raise BadInput(f"{column} holds a control character, U+{ord(character):04X}")
    return value


def filled_text_in(fields: Mapping[str, object], column: str, characters_max: int) -> str | None:
    """As `text_in`; BadInput if the column is given and blank."""
    value = text_in(fields, column, characters_max)
    if value == "":
        raise BadInput(f"{column} is blank")
    return value


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "…")
