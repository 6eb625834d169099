"""Escapes the characters that a terminal or an editor obeys instead of showing them. Pure.

Every text for people passes `one_line` where it is written: `cli/output.py`, `cli/exit_codes.py`, `demo/display.py`.
JSON passes `safe_json`, so that its lines are safe on a terminal and remain the same JSON.
"""

import json
import re
import unicodedata

# `str.isprintable` accepts them, but they have no glyph: Unicode's Default_Ignorable_Code_Point, the Braille blank.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_PLAIN = re.compile(r"[^\s\"'=\\,;|()\[\]{}]+|https?://[^\s\"'\\|]+")
_BEYOND_ASCII = re.compile("[^\x00-\x7e]+")
_BLANKS = re.compile(r"(?<= ) ")


def one_line(text: str) -> str:
    r"""The text on one line, with an escape such as `\n`, `\x1b` or `\u202e` for each character that is not shown.

    Escaped: control characters (C0, DEL, C1), line and paragraph separators, format characters (bidi marks and
    isolates, zero-width characters, tags), blanks other than the space, lone surrogates, unassigned code points.
    """
    if text.isascii() and text.isprintable():
        return text
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(character if is_shown(character) else escape(character) for character in text)


def is_shown(character: str) -> bool:
    return character.isprintable() and not _INVISIBLE.match(character)


def escape(character: str) -> str:
    code = ord(character)
    return _SHORT.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def word(value: object) -> str:
    r"""A value among others on a line: quoted where it has blanks, `=` or brackets, so that it looks like one value.

    A URL is not quoted for its `=`. A quoted value shows `"` as `\"` and a blank after a blank as `\x20`.
    """
    text = str(value)
    if text.isascii() and _PLAIN.fullmatch(text) and text.isprintable():
        return text
    if _PLAIN.fullmatch(text) and not unicodedata.combining(text[0]):
        return one_line(text)
    inside = one_line(text.replace("\\", r"\\").replace('"', r"\""))
    if unicodedata.combining(inside[:1] or " "):  # it would change the quote before it
        inside = escape(inside[0]) + inside[1:]
    inside = _BLANKS.sub(lambda _: r"\x20", inside)
    return f'"{inside}"'


def safe_json(text: str) -> str:
    r"""A JSON text with `\u202e` in place of each character that `one_line` escapes; the same JSON value."""
    if text.isascii():
        return text.replace("\x7f", r"\u007f") if "\x7f" in text else text
    return _BEYOND_ASCII.sub(_escaped_in_json, text)


def _escaped_in_json(run: re.Match[str]) -> str:
    return "".join(character if is_shown(character) else json.dumps(character)[1:-1] for character in run[0])
