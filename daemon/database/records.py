"""Records of an imported file: a table with a header (spreadsheets.py), JSON lines, or a list of values. Pure.

BadInput is raised for a file that cannot be read at all. A bad record is a RefusedRecord, and the import goes on. Blank
lines are skipped.
"""

import codecs
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from daemon.database.spreadsheets import Header, header_of, lines_of, rows_after
from daemon.errors import BadInput

T = TypeVar("T")

SHOWN_CHARACTERS_MAX = 40
JSON_TYPES: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
          (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip
_WORDS = re.compile(r"[\s_-]+")


# (line from 1, the fields that are given and not null, or why the record is refused)
Record = tuple[int, Mapping[str, object] | str]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file. `aliases`: other names that headers have, in lower case with `_` between the words.

    `listed`: the column of a file without a header, whose lines are its values; empty: a header is required. With
    `listed`, there may be comments anywhere.
    """

    names: Sequence[str]
    required: Sequence[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    listed: str = ""

    def find(self, name: str) -> str | None:
        """The column that a header's cell names."""
        word = _WORDS.sub("_", name.strip().lower())
        word = self.aliases.get(word, word)
        return word if word in self.names else None


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Import(Generic[T]):
    """`lines`: of each row, the line where it begins. `repeated`: rows that the file has already."""

    rows: tuple[T, ...]
    refused: tuple[RefusedRecord, ...]
    lines: tuple[int, ...] = field(compare=False)
    repeated: tuple[RefusedRecord, ...] = ()


def decoded(content: bytes) -> str:
    """A file's text, without byte order marks. Invalid UTF-8 becomes lone surrogates, and its record is refused."""
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:2]:
        raise BadInput("the file is UTF-16 without a byte order mark: save it as UTF-8")
    return content.decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace").lstrip("\ufeff")


def import_rows(text: str, columns: Columns, row_of: Callable[[Mapping[str, object]], T]) -> Import[T]:
    """Applies `row_of`, which raises BadInput with the reason for a bad record, to each record of `text` in order.

    Raises BadInput for a wrong header or kind of file.
    """
    rows: list[T] = []
    lines: list[int] = []
    refused: list[RefusedRecord] = []
    first = text.lstrip()[:1]
    if (first == "[" and not columns.listed) or re.match(r"\s*\[\s*(\{|\]\s*$)", text):
        raise BadInput("the file is a JSON array: write JSON lines, one object on each line (jq -c '.[]' makes them)")

    def is_row(line: str) -> bool:
        try:
            row_of({columns.listed: line})
        except BadInput:
            return False
        return True

    records = _json_records(text, columns) if first == "{" else _table_records(text, columns, is_row)
    for line, fields in records:
        try:
            if isinstance(fields, str):
                raise BadInput(fields)
            rows.append(row_of(fields))
            lines.append(line)
        except BadInput as e:
            refused.append(RefusedRecord(line, str(e)))
    return Import(tuple(rows), tuple(refused), tuple(lines))


def _table_records(text: str, columns: Columns, is_row: Callable[[str], bool]) -> Iterator[Record]:
    """`is_row`: whether a line is a row of a list. Its login may have words that are names of columns too."""
    header = header_of(text, lambda cell: columns.find(cell) is not None)
    if header is None:
        return
    found = list(map(columns.find, header.cells))
    names_all = any(found) and all(name for name, cell in zip(found, header.cells, strict=True) if cell)
    names_some = set(columns.required) <= set(found) and not is_row(header.text)
    is_list = not (names_all or names_some) or (names_all and header.delimiter == ":")
    if columns.listed and is_list:
        named = header.line if names_all else 0  # `ip:port:username:password` above a list
        yield from ((line, {columns.listed: value}) for line, value in lines_of(text) if line > named)
        return
    names = _checked_header(header, found, columns)
    for line, row in rows_after(header, comments=bool(columns.listed)):
        if isinstance(row, str):
            yield line, row
            continue
        fields = {name: cell for name, cell in zip(names, row, strict=True) if name is not None and cell}
        blank = next((name for name in columns.required if name not in fields), None)
        yield line, fields if blank is None else f"{blank} is blank"


def _checked_header(header: Header, found: Sequence[str | None], columns: Columns) -> Sequence[str | None]:
    allowed = f"allowed: {', '.join(columns.names)}"
    at = f"line {header.line}"
    if not header.cells:
        raise BadInput(f"{at}: its quotes are not in pairs; the first line must name the columns; {allowed}")
    for cell, name in zip(header.cells, found, strict=True):
        if name is None and cell:
            raise BadInput(f"{at}: unknown column {_shown(cell)}; {allowed}")
        if name is not None and found.count(name) > 1:
            raise BadInput(f"{at}: the column {name} is there twice")
    for name in columns.required:
        if name not in found:
            raise BadInput(f"{at}: the column {name} is missing; {allowed}")
    return found


def _json_records(text: str, columns: Columns) -> Iterator[Record]:
    # Not splitlines(): U+2028 and others that it splits at may stand inside a JSON string.
    for line, raw in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if not raw.strip():
            continue
        try:
            fields = json.loads(raw)
        except json.JSONDecodeError as e:
            yield line, f"not JSON: {e.msg}: character {e.pos + 1}"
            continue
        except ValueError as e:
            yield line, f"not JSON: {e}"
            continue
        except RecursionError:
            yield line, "not JSON that can be read: nested too deeply"
            continue
        if not isinstance(fields, dict):
            yield line, "not a JSON object"
        elif unknown := [name for name in fields if name not in columns.names]:
            yield line, f"unknown key {_shown(unknown[0])}; allowed: {', '.join(columns.names)}"
        elif missing := [name for name in columns.required if fields.get(name) is None]:
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
        raise BadInput(f"{column} must be text in quotes, not {JSON_TYPES.get(type(value), 'that')}", field=column)
    value = value.strip()
    if len(value) > characters_max:
        raise BadInput(f"{column} is {len(value)} characters long; at most {characters_max} are allowed", field=column)
    if not value.isprintable():
        for character in value:
            category = unicodedata.category(character)
            if category == "Cs":
                raise BadInput(f"{column} is not UTF-8", field=column)
            if category in ("Cc", "Zl", "Zp"):
                raise BadInput(f"{column} holds a control character, U+{ord(character):04X}", field=column)
    return value


def filled_text_in(fields: Mapping[str, object], column: str, characters_max: int) -> str | None:
    """As `text_in`; BadInput if the column is given and blank."""
    value = text_in(fields, column, characters_max)
    if value == "":
        raise BadInput(f"{column} is blank", field=column)
    return value


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "…")
