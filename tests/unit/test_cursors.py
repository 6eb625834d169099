"""Cursors: a cursor comes back as its position, and other text is refused."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.control.listings import Position, cursor_of, position_at
from daemon.errors import BadInput

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(TEXT, TEXT, TEXT)
def test_a_cursor_gives_its_position_back_and_needs_no_escape_in_a_url(sort: str, key: str, row_id: str) -> None:
    cursor = cursor_of(Position(sort, key, row_id))
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert position_at(cursor, sort) == Position(sort, key, row_id)


@given(st.text(max_size=60))
def test_any_other_text_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="cursor: "):
        position_at(text, "created")


@pytest.mark.parametrize("found", [[], ["created", "a"], ["created", 1, "b"], ["created", "a", None], {}, "abc", 7])
def test_json_of_another_shape_is_bad_input(found: object) -> None:
    with pytest.raises(BadInput, match="this list did not return it"):
        position_at(base64.urlsafe_b64encode(json.dumps(found).encode()).decode(), "created")


def test_a_cursor_of_another_order_says_so() -> None:
    with pytest.raises(BadInput, match="it belongs to sort=-created"):
        position_at(cursor_of(Position("-created", "a", "b")), "created")
