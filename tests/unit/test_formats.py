"""Numbers, bytes, durations and money as text. tests/browser has the same examples for the dashboard."""

import pytest

from daemon import formats

EXAMPLES: list[tuple[str, float | None, str]] = [
    ("number", None, "–"),
    ("number", 0, "0"),
    ("number", 1234567, "1,234,567"),
    ("percentage", 66.666, "66.7%"),
    ("percentage", 100, "100%"),
    ("bytes", 0, "0 B"),
    ("bytes", 999, "999 B"),
    ("bytes", 999.6, "1 KB"),
    ("bytes", 1_250_000, "1.25 MB"),
    ("bytes", 999_600_000, "1 GB"),
    ("bytes", 12_000_000_000_000_000, "12000 TB"),
    ("duration", 4, "4.0 s"),
    ("duration", 75, "75 s"),
    ("duration", 300, "5 min"),
    ("duration", 9_000, "2.5 h"),
    ("duration", 400_000, "4.6 d"),
    ("ms", 0.4, "0 ms"),
    ("ms", 345, "345 ms"),
    ("ms", 1_234, "1.23 s"),
    ("ms", 300_000, "5 min"),
    ("dollars", 0, "$0.00"),
    ("dollars", 0.0012, "$0.0012"),
    ("dollars", 1234.5, "$1,234.50"),
]
NAMES = {"bytes": "size_in_words", "ms": "milliseconds"}  # in Python, if the name differs


@pytest.mark.parametrize(("name", "value", "text"), EXAMPLES)
def test_a_value_has_one_form(name: str, value: float | None, text: str) -> None:
    assert getattr(formats, NAMES.get(name, name))(value) == text
