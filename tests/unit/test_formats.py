"""Numbers, bytes, durations and money as text. tests/browser has the same examples for the dashboard."""

import pytest

from daemon import formats
from tests.support.format_examples import EXAMPLES

NAMES = {"bytes": "size_in_words", "ms": "milliseconds"}  # in Python, if the name differs


@pytest.mark.parametrize(("name", "value", "text"), EXAMPLES)
def test_a_value_has_one_form(name: str, value: float | None, text: str) -> None:
    assert getattr(formats, NAMES.get(name, name))(value) == text
