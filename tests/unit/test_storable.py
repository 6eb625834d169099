import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.maintenance.tally import Tally
from daemon.nodes.figures import ENCODER
from daemon.storable import stored_json


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "\\u0000", "ü"])
def test_a_nodes_figures_are_stored_whatever_offer_a_visitor_asked_for(name: str) -> None:
    tally = Tally()
    tally.add(1.0, "unknown_offer", 5.0, name)
    figures = json.loads(stored_json(ENCODER, tally.figures(2.0)))
    assert "\0" not in str(figures)
    assert str(figures).encode()
    if name.isprintable() and name.encode("utf-8", "ignore").decode() == name:
        assert name in json.dumps(figures, ensure_ascii=False).replace("\\\\", "\\")


@given(st.recursive(st.text() | st.floats(), lambda part: st.lists(part) | st.dictionaries(st.text(), part)))
def test_no_text_and_no_number_is_refused(value: object) -> None:
    def has(item: object) -> bool:
        if isinstance(item, dict):
            return any(has(part) for pair in item.items() for part in pair)
        if isinstance(item, list):
            return any(map(has, item))
        return (isinstance(item, str) and "\0" in item) or (isinstance(item, float) and not math.isfinite(item))

    text = stored_json(ENCODER, value)
    assert text.encode()
    assert not has(json.loads(text))
