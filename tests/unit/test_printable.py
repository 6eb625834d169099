"""Texts of strangers as one line of visible characters, as one word among others, and inside JSON."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.exit_codes import explain
from daemon.errors import TheirFault
from daemon.printable import is_shown, one_line, safe_json, word

HIDDEN = {
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\0": r"\x00",
    "\x1b": r"\x1b",
    "\x7f": r"\x7f",
    "\x85": r"\x85",
    "\x9b": r"\x9b",
    "\xa0": r"\xa0",
    "\xad": r"\xad",
    "\u034f": r"\u034f",
    "\u061c": r"\u061c",
    "\u200b": r"\u200b",
    "\u200e": r"\u200e",
    "\u2028": r"\u2028",
    "\u2029": r"\u2029",
    "\u202e": r"\u202e",
    "\u2066": r"\u2066",
    "\u2069": r"\u2069",
    "\u2800": r"\u2800",
    "\u3164": r"\u3164",
    "\ufe0f": r"\ufe0f",
    "\ufeff": r"\ufeff",
    "\udc9b": r"\udc9b",
    "\U000e0041": r"\U000e0041",
    "\U000e0100": r"\U000e0100",
}
TEXTS = st.text(st.sampled_from([*HIDDEN, *'ab="\\ é中🙂 ']) | st.characters())


@pytest.mark.parametrize(("character", "escaped"), HIDDEN.items())
def test_what_is_not_shown_is_escaped(character: str, escaped: str) -> None:
    assert one_line(f"a{character}b") == f"a{escaped}b"
    assert word(f"a{character}b").strip('"') == f"a{escaped}b"


@pytest.mark.parametrize(
    "text", ["", "a b", "[red]x[/red]", "sommer & Söhne", "中文 日本", "שלום", "e\u0301", "🙂", "\\n"]
)
def test_what_is_shown_stays(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sale", "sale"),
        ("192.0.2.7:7000", "192.0.2.7:7000"),
        ("Söhne", "Söhne"),
        ("https://ads.example/c?a=1&b=2#x", "https://ads.example/c?a=1&b=2#x"),
        ("", '""'),
        ("a b", '"a b"'),
        ("ip=9.9.9.9", '"ip=9.9.9.9"'),
        ("x://ip=9.9.9.9", '"x://ip=9.9.9.9"'),
        ("https://x/ ip=9.9.9.9", '"https://x/ ip=9.9.9.9"'),
        ('a" ip=9.9.9.9 "', r'"a\" ip=9.9.9.9 \""'),
        ("a\\", r'"a\\"'),
        ("a   b", r'"a \x20\x20b"'),
        ("(x)", '"(x)"'),
        ("a, b", '"a, b"'),
        ("\u0338a", r'"\u0338a"'),
        (7, "7"),
        (None, "None"),
    ],
)
def test_a_value_among_others_is_quoted_where_it_could_be_read_as_two(text: object, expected: str) -> None:
    assert word(text) == expected


@given(TEXTS)
def test_any_text_becomes_one_line_of_shown_characters(text: str) -> None:
    for written in (one_line(text), word(text)):
        assert all(map(is_shown, written))
        assert not {unicodedata.category(character) for character in written} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert re.fullmatch(r'[^\s"=]+|https?://[^\s"]+|"(?:[^"\\]|\\.)*"', word(text))


@given(st.recursive(TEXTS | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_json_stays_the_same_value(value: object) -> None:
    text = safe_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert all(map(is_shown, text))


def test_an_error_is_one_line_and_what_another_program_wrote_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    error = TheirFault("no node is called a\ntracepool: b\x9b")
    error.add_note("PostgreSQL said:\nFATAL: \x1b[2J\ntracepool: c")
    assert explain(error) == 1
    assert capsys.readouterr().err == (
        "tracepool: no node is called a\\ntracepool: b\\x9b\n  PostgreSQL said:\n  FATAL: \\x1b[2J\n  tracepool: c\n"
    )
