"""Splits a log into lines. Any input is accepted, and memory is bounded. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

LINE_BYTES_MAX = 1024 * 1024  # the daemon cuts its own lines to far less
CUT_BYTES = 2_000  # the kept beginning of a longer line


@dataclass(frozen=True, slots=True)
class Line:
    """`fields` of a JSON object, empty for other text. `at_s`: the line's own `ts`, in seconds since 1970."""

    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    at_s: float | None = None
    is_cut: bool = False

    @property
    def is_ours(self) -> bool:
        return bool(self.fields)

    def as_json(self) -> str:
        """One JSON object on one line: the line itself if it is one, else an object with the text."""
        if self.is_ours:
            return self.text
        return json.dumps({"event": "line_too_long" if self.is_cut else "not_json", "text": self.text})


class Splitter:
    """Turns pieces of a stream into lines. Of a line longer than LINE_BYTES_MAX only the beginning is kept."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_cut = False

    def feed(self, piece: bytes) -> Iterator[Line]:
        parts = piece.split(b"\n")
        for part in parts[:-1]:
            self._take(part)
            yield from self.end()
        self._take(parts[-1])

    def end(self) -> Iterator[Line]:
        """The unfinished line, if there is one. A new line begins."""
        rest, is_cut = bytes(self._rest), self._is_cut
        self._rest.clear()
        self._is_cut = False
        if rest.strip():
            yield _line(rest, is_cut)

    def _take(self, part: bytes) -> None:
        if not self._is_cut:
            self._rest += part
            if len(self._rest) > LINE_BYTES_MAX:
                del self._rest[CUT_BYTES:]
                self._is_cut = True


def _line(raw: bytes, is_cut: bool) -> Line:
    text = raw.rstrip(b"\r").decode("utf-8", "replace")
    if is_cut:
        return Line(text, is_cut=True)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return Line(text)
    if not isinstance(fields, dict):
        return Line(text)
    return Line(text.strip(), fields, _instant(fields.get("ts")))


def _instant(ts: object) -> float | None:
    if not isinstance(ts, str):
        return None
    try:
        return datetime.fromisoformat(ts).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
