"""The bounds of one page: its tags, its tree, its steps. test_linear_time.py tests the time."""

import pytest
from ada_url import URL
from selectolax.lexbor import LexborHTMLParser

from daemon.trace.page.bounds import REOPENED_MAX, ROOT_TAGS_MAX, STEPS_MAX, TAGS_MAX, Steps, bounded
from daemon.trace.page.html import Source, read_page
from daemon.trace.page.tokens import tokens_in
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
    if steps.exhausted:
        assert (page.final, page.unresolved, page.jump) == (True, True, None)


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
    assert (page.jump, page.final, page.unresolved) == (None, True, False)


def test_a_script_that_the_last_tag_cut_off_is_not_run() -> None:
    text = "<p>" * (TAGS_MAX - 1) + "<script>location='/a'</script>"
    assert read_page(text.encode(), SOURCE, whole=True).jump is None


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


def test_a_form_is_found_after_scripts_that_found_none() -> None:
    text = (
        "<script>document.forms.a.submit()</script><form action=/a></form><script>document.forms[0].submit()</script>"
    )
    page = read_page(text.encode(), SOURCE, whole=True)
    assert page.jump is not None
    assert page.jump.url == "http://ads.example/a?"


def test_a_control_in_a_disabled_fieldset_is_not_sent_however_deep() -> None:
    fields = "<input name=a><fieldset disabled><fieldset disabled><p><input name=b></fieldset></fieldset><input name=c>"
    text = f"<form>{fields}</form><script>document.forms[0].submit()</script>"
    page = read_page(text.encode(), SOURCE, whole=True)
    assert page.jump is not None
    assert page.jump.url == "http://ads.example/?a=&c="


@pytest.mark.parametrize("code", ["a=/[", "a=/b", "(/[/", "return /\\", "location='/a';x=/[/"])
def test_a_regular_expression_without_an_end_is_a_syntax_error(code: str) -> None:
    assert tokens_in(code) is None


@pytest.mark.parametrize("code", ["a=/[/]/", "a=b/c", "a=/\\//g", "a=(1)/2", "return /[[/]+/i.test(a)"])
def test_regular_expressions_and_divisions_are_told_apart(code: str) -> None:
    assert tokens_in(code) is not None


def test_a_token_is_counted_whether_its_script_is_valid_or_not() -> None:
    for code in ("a b c", "a b c)"):
        steps = Steps(100)
        tokens_in(code, steps)
        assert steps.left <= 88
