"""The bounds of one page: its tags, its tree, its steps. test_linear_time.py tests the time."""

import pytest
from ada_url import URL
from selectolax.lexbor import LexborHTMLParser

from daemon.trace.page.bounds import REOPENED_MAX, ROOT_TAGS_MAX, STEPS_MAX, TAGS_MAX, Steps, bounded
from daemon.trace.page.html import Source, read_page
from tests.fakes.hostile_inputs import FORMS, MARKUP, PAGE_BYTES, SCRIPTS, Make

SOURCE = Source(URL("http://ads.example/"), None, 10)
JUMP = "<meta http-equiv=refresh content='0;/a'>"


def nodes_of(text: str) -> int:
    root = LexborHTMLParser(text).root
    return 0 if root is None else sum(1 for _ in root.traverse(include_text=True))


@pytest.mark.parametrize("make", MARKUP.values(), ids=MARKUP)
@pytest.mark.parametrize("size", [PAGE_BYTES, 4 * PAGE_BYTES])
def test_no_page_makes_a_large_tree(make: Make, size: int) -> None:
    text, tags, _ = bounded(make(size).decode())
    assert tags <= TAGS_MAX
    assert nodes_of(text) <= 3 * TAGS_MAX + REOPENED_MAX


@pytest.mark.parametrize("make", (MARKUP | SCRIPTS | FORMS).values(), ids=MARKUP | SCRIPTS | FORMS)
def test_a_page_takes_no_more_steps_than_it_has(make: Make) -> None:
    steps = Steps(1_000)
    page = read_page(make(PAGE_BYTES), SOURCE, whole=True, steps=steps)
    assert 0 <= steps.left <= 1_000
    assert page.document is not None or not steps.exhausted, "such a page is one for the engine"


def test_a_usual_page_is_read_with_a_small_part_of_its_steps() -> None:
    links = "".join(f"<li><a href='/{number}'><b>Item {number}</b></a></li>" for number in range(200))
    text = f"<!doctype html><html><head><title>x</title></head><body><ul>{links}</ul><script>a()</script></body></html>"
    steps = Steps()
    read_page(text.encode(), SOURCE, whole=True, steps=steps)
    assert not steps.exhausted
    assert STEPS_MAX - steps.left < STEPS_MAX / 4
    assert bounded(text)[0] == text


def test_the_rest_of_a_page_with_too_many_tags_is_not_read() -> None:
    before = "<p>" * (TAGS_MAX - 1)
    assert read_page(f"{before}{JUMP}<p>".encode(), SOURCE, whole=False).jump is not None
    page = read_page(f"{before}<p>{JUMP}".encode(), SOURCE, whole=False)
    assert (page.jump, page.document) == (None, None)


def test_a_page_with_too_many_tags_and_a_script_behind_them_is_one_for_the_engine() -> None:
    text = "<p>" * (TAGS_MAX - 1) + "<script>location='/a'</script>"
    document = read_page(text.encode(), SOURCE, whole=True).document
    assert document is not None
    assert document.text == text


def test_only_root_tags_max_tags_add_attributes_to_the_root() -> None:
    roots = "<html a>" * (ROOT_TAGS_MAX // 2) + "<BODY b>" * (ROOT_TAGS_MAX // 2)
    assert bounded(roots) == (roots, ROOT_TAGS_MAX, False)
    assert bounded(roots + "<html c>x") == (roots, ROOT_TAGS_MAX + 1, True)


def test_formatting_elements_that_would_be_reopened_too_often_are_renamed_and_the_jump_is_found() -> None:
    text = MARKUP["formatting for each paragraph"](PAGE_BYTES // 2).decode() + JUMP
    read, _, cut = bounded(text)
    assert not cut
    assert "<x-b 0>" in read
    assert read_page(text.encode(), SOURCE, whole=True).jump is not None
