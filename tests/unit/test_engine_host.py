"""The functions that page.js calls, compared with the parsers themselves."""

import json
from typing import Any

import pytest
from ada_url import URL
from hypothesis import given
from hypothesis import strategies as st

from daemon.trace.engine.host import host_functions
from daemon.trace.engine.trees import DEPTH_MAX

PARTS = (
    "href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash", "origin",
)  # fmt: skip
BASE = "https://base.example/a/b?c#d"
PIECES = st.sampled_from(
    [*"/?#@:\\ \t|&!'\"é", "http:", "https:", "ftp:", "x:", "//", "a", "b.example", "[::1]", ":80", ":443", "..", "%2f"]
)


def call(name: str, *arguments: str | None) -> Any:
    answer = host_functions()[name](json.dumps(arguments))
    assert answer.isascii()
    return json.loads(answer)


@given(st.lists(PIECES, max_size=9).map("".join))
def test_the_parts_of_a_url_are_those_of_the_parser(text: str) -> None:
    try:
        url = URL(text, base=BASE)
    except ValueError:
        assert call("__url", "parse", text, BASE, "utf-8") is None
    else:
        if url.pathname.startswith("/"):
            url.pathname = url.pathname.replace("|", "%7C")  # as in Chromium
        assert call("__url", "parse", text, BASE, "utf-8") == {part: getattr(url, part) for part in PARTS}


def test_a_part_of_a_url_is_set_as_by_its_setter() -> None:
    assert call("__url", "set", BASE, "search", "x y")["href"] == "https://base.example/a/b?x%20y#d"
    assert call("__url", "set", BASE, "href", "//") is None
    assert call("__url", "set", "//", "hash", "x") is None


def test_a_query_has_the_encoding_of_the_document() -> None:
    assert call("__url", "parse", "/ü?ü", BASE, "windows-1252")["href"] == "https://base.example/%C3%BC?%FC"
    assert call("__encode", "aé π", "windows-1252", "form") == "a%E9+%26%23960%3B"
    assert call("__encode", "aé", "windows-1252", "bytes") == "Yek="
    assert call("__encode", "a&b", "utf-8", "query") == "a&b"


def test_a_document_is_its_elements_texts_and_comments() -> None:
    [comment, html] = call(
        "__parse", "<!--a--><!doctype html><p id=x hidden>a<b>c</b></p><noscript><p></noscript>", None
    )
    assert comment == ["!", "a"]
    assert html == [
        "html", {}, [
            ["head", {}, []],
            ["body", {}, [["p", {"id": "x", "hidden": ""}, ["a", ["b", {}, ["c"]]]], ["noscript", {}, ["<p>"]]]],
        ],
    ]  # fmt: skip


def test_a_fragment_is_parsed_inside_of_its_element() -> None:
    assert call("__parse", "<td>a<td>b", "tr") == [["td", {}, ["a"]], ["td", {}, ["b"]]]
    assert call("__parse", "<template><i>z</i></template>", "div") == [["template", {}, [["i", {}, ["z"]]]]]
    assert call("__parse", "", "div") == []


def test_lone_surrogates_and_nul_are_replaced_as_in_a_browser() -> None:
    assert call("__parse", "a\ud800b", "div") == ["a\ufffdb"]
    assert call("__url", "parse", "/\ud800\0x", BASE, "utf-8")["pathname"] == "/%EF%BF%BD%00x"


@pytest.mark.parametrize("extra", [0, 1, 100])
def test_a_tree_is_as_deep_as_in_a_browser(extra: int) -> None:
    """The rest become siblings."""
    text = host_functions()["__parse"](json.dumps(["<i>" * (DEPTH_MAX + extra), "div"]))
    assert text.count('["i",{},[') == DEPTH_MAX + extra
    depth = deepest = 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        deepest = max(deepest, depth)
    assert deepest == 1 + 2 * (DEPTH_MAX + (extra > 0))
