"""Renders a log line for a terminal: pieces of text, each with a style. Pure.

A log line is one line of text. Values pass `_text`, which quotes a value that could be read as something else on the
line; the writer of the pieces escapes control characters.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from daemon.logbook.parse import Line
from daemon.printable import word

_TIME = re.compile(r"[0-9:.TZ+ -]{0,40}")
_FRAME = re.compile(r'^[ |]*File "([^"\n]+)", line (\d+), in ', re.MULTILINE)
Piece = tuple[str, str]  # text, and a style of rich

OUTCOMES = {"resolved": "green", "fallback": "yellow", "left": "dim"}
LEVELS = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red", "critical": "bold red"}
SHOWN_ELSEWHERE = frozenset({"ts", "level", "event", "logger", "node"})
VALUE_CHARACTERS_MAX = 300
NO_TIME = " " * 20
"""Before a line of another program, where a line of the daemon has its time."""


def render_line(line: Line) -> list[Piece]:
    fields = line.fields
    if not line.is_ours:
        return [(NO_TIME + line.text + (" …" if line.is_cut else ""), "dim")]
    event, level = str(fields.get("event", "")), str(fields.get("level", "info"))
    pieces: list[Piece] = [(_time(fields.get("ts")), "dim"), (f"  {_text(event):<9}", LEVELS.get(level, "") or "bold")]
    if "node" in fields:
        pieces.append((f" {_text(fields['node'])} ", "magenta"))
    render = RENDERERS.get(event)
    # A line of ours without its usual fields is rendered as any other line.
    pieces += render(fields) if render and level == "info" and "request_id" in fields else _anything(fields)
    return pieces


def _time(ts: object) -> str:
    """`11-25 10:02:45.123`, in UTC like the log."""
    text = ts if isinstance(ts, str) else ""
    return f"{text[5:10]} {text[11:23]}".rstrip("Z") if _TIME.fullmatch(text) else ""


def _click(f: Mapping[str, Any]) -> Iterator[Piece]:
    outcome = str(f.get("outcome"))
    yield f" {_text(f.get('offer'))}", "cyan"
    yield f"  {_text(outcome)}", OUTCOMES.get(outcome, "")
    if f.get("reason"):
        yield f" {_text(f['reason'])}", "bold yellow"
    yield f"  {_ms(f.get('wait_ms'))}", "" if outcome == "resolved" else "yellow"
    if f.get("ip"):
        yield f"  {_text(f['ip'])}", ""
    yield f"  → {_text(f.get('location'))}", ""
    yield f"  {_text(f['request_id'])}", "dim"


def _trace(f: Mapping[str, Any]) -> Iterator[Piece]:
    status = str(f.get("status"))
    yield f" {_text(f.get('offer'))}", "cyan"
    yield f"  {_text(status)}", "green" if status == "completed" else "red"
    if f.get("verdict") not in (None, "ok"):
        yield f" {_text(f['verdict'])}", "red"
    if f.get("ip"):
        yield f"  {_text(f.get('country'))} {_text(f['ip'])}", ""
    if f.get("hops") is not None:
        received = f.get("bytes_received")
        size = f", {received / 1000:.1f} KB" if isinstance(received, int | float) else ""
        yield f"  {_text(f['hops'])} hops in {_ms(f.get('trace_ms'))}{size}", ""
    if f.get("error"):
        yield f"  {_text(f['error'])}", "red"
    yield f"  {_text(f['request_id'])}", "dim"


def _refused(f: Mapping[str, Any]) -> Iterator[Piece]:
    why = _text(f["error"]) if f.get("error") else f"no active offer {_text(f.get('offer'))}"
    yield f"  {_text(f.get('status'))} {why}", "yellow"
    yield f"  {_text(f['request_id'])}", "dim"


def _anything(f: Mapping[str, Any]) -> Iterator[Piece]:
    for name, value in f.items():
        if name in SHOWN_ELSEWHERE or value is None:
            continue
        if name in ("exception", "exc_info"):
            yield from _traceback(str(value))
        else:
            yield f" {_text(name)}=", "dim"
            yield _text(value), ""


Renderer = Callable[[Mapping[str, Any]], Iterator[Piece]]
RENDERERS: dict[str, Renderer] = {"click": _click, "trace": _trace, "click_refused": _refused}


def _ms(value: object) -> str:
    if not isinstance(value, int | float):
        return "-"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms"


def _traceback(text: str) -> Iterator[Piece]:
    """The error and its place: the last line with words, and the last frame. The JSON line has the whole traceback."""
    lines = (line.strip("|+- \t") for line in reversed(text.splitlines()))  # | and + draw an exception group
    yield " exception=", "dim"
    yield _text(next(filter(None, lines), "")), "red"
    if frames := _FRAME.findall(text):
        path, number = frames[-1]
        yield " at=", "dim"
        yield _text(f"{path}:{number}"), ""


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value)) or "-"
    text = str(value)
    return word(text if len(text) <= VALUE_CHARACTERS_MAX else text[:VALUE_CHARACTERS_MAX] + "…")
