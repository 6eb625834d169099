"""The request of a form that a script submits."""

import pytest
from ada_url import URL

from daemon.trace.page.forms import Jump
from daemon.trace.page.html import Page, Source, read_page

HERE = "http://ads.example/dir/page?q=1#top"
SUBMIT = "<script>document.forms[0].submit()</script>"


def read(page: str, *, charset: str = "utf-8") -> Page:
    return read_page(
        page.encode("utf-8" if charset == "utf-8" else charset), Source(URL(HERE), charset, 10), whole=True
    )


def sent(fields: str, attributes: str = "action=/s method=post", *, charset: str = "utf-8") -> str:
    found = read(f"<form {attributes}>{fields}</form>{SUBMIT}", charset=charset).jump
    assert found is not None
    assert (found.kind, found.method) == ("form", "POST")
    return found.body.decode("ascii")


def test_a_form_that_submits_itself_by_post_sends_its_hidden_fields() -> None:
    page = "<form action=https://b.example/s method=POST><input type=hidden name=a value='1 2'></form>" + SUBMIT
    assert read(page).jump == Jump("form", "https://b.example/s", "POST", b"a=1+2")


@pytest.mark.parametrize(
    ("attributes", "url"),
    [
        ("action=/s", "http://ads.example/s?a=1"),
        ("action=/s?x=y#z method=get", "http://ads.example/s?a=1#z"),
        ("", "http://ads.example/dir/page?a=1#top"),
        ("action='' method=GET", "http://ads.example/dir/page?a=1#top"),
        ("action=s method=nonsense enctype=text/plain", "http://ads.example/dir/s?a=1"),
        ("action=/s target=_self", "http://ads.example/s?a=1"),
        ("action=/s target=_TOP", "http://ads.example/s?a=1"),
    ],
)
def test_a_form_that_submits_itself_by_get_puts_its_fields_in_place_of_the_query(attributes: str, url: str) -> None:
    page = f"<form {attributes}><input type=hidden name=a value=1></form>{SUBMIT}"
    assert read(page).jump == Jump("form", url)


def test_a_form_without_fields_has_an_empty_query() -> None:
    assert read(f"<form action=/s?x=y></form>{SUBMIT}").jump == Jump("form", "http://ads.example/s?")


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ("<input name=a value=1><input type=text name=b>", "a=1&b="),
        ("<input name='' value=1><input value=2>", ""),
        ("<input type=submit name=a value=1><button name=b value=2></button><input type=image name=c>", ""),
        ("<input type=checkbox name=a><input type=checkbox name=b checked><input type=radio name=c value=d checked>",
         "b=on&c=d"),
        ("<input name=a value=1 disabled><fieldset disabled><input name=b value=2></fieldset><input name=c>", "c="),
        ("<textarea name=a>\nx\ny</textarea>", "a=x%0D%0Ay"),
        ("<select name=a><option>x<option selected value=y>z<option>w</select>", "a=y"),
        ("<select name=a><option disabled>x<option> y  z </select>", "a=y+z"),
        ("<select name=a multiple><option selected>x<option selected value=''>y</select>", "a=x&a="),
        ("<input type=hidden name=a value='x\ny'><input name=b value='x\ny'>", "a=x%0D%0Ay&b=xy"),
        ("<input name='a b' value='*-._~+&=%/é😀'>", "a+b=*-._%7E%2B%26%3D%25%2F%C3%A9%F0%9F%98%80"),
        ("<input type=hidden name=_charset_>", "_charset_=UTF-8"),
        ("<input type=file name=a>", "a="),
        ("<input name=a value=&quot;&#34;>", "a=%22%22"),
    ],
)  # fmt: skip
def test_the_fields_are_those_that_a_browser_sends(fields: str, body: str) -> None:
    assert sent(fields) == body


def test_fields_are_written_in_the_pages_character_set_or_the_forms_own() -> None:
    assert sent("<input name=a value=é&#960;>", charset="windows-1252") == "a=%E9%26%23960%3B"
    attributes = "action=/s method=post accept-charset='no-such utf-8'"
    assert sent("<input name=a value=é>", attributes, charset="windows-1252") == "a=%C3%A9"


def test_a_field_may_stand_outside_of_its_form() -> None:
    page = "<input form=f name=a value=1><form id=f method=post action=/s><input form=g name=b></form>"
    assert read(page + SUBMIT).jump == Jump("form", "http://ads.example/s", "POST", b"a=1")


def test_fields_after_the_script_are_not_sent() -> None:
    page = f"<form method=post action=/s><input name=a>{SUBMIT}<input name=b></form>"
    assert read(page).jump == Jump("form", "http://ads.example/s", "POST", b"a=")
    assert read(f"{SUBMIT}<form action=/s></form>") == Page(None, final=True)


@pytest.mark.parametrize(
    "submit",
    [
        "<script>document.forms['f'].submit();</script>",
        "<script>document.getElementById('i').submit()</script>",
        "<script>document.f.submit()</script>",
        "<script>i.submit()</script>",
        "<script>document.querySelector('form[name=f]').submit()</script>",
        "<script>document.getElementsByTagName('FORM')[1].submit()</script>",
        "<script>document.getElementsByName('f')[0].submit()</script>",
        "<script>window.onload = function () { document.forms[1].submit() }</script>",
        "<body onload='document.forms[1].submit();'>",
    ],
)
def test_the_form_is_the_one_that_the_script_names(submit: str) -> None:
    page = "<form action=/other></form><form name=f id=i action=/s></form>" + submit
    assert read(page).jump == Jump("form", "http://ads.example/s?")


@pytest.mark.parametrize(
    "page",
    [
        "<form action=/s target=frame></form>" + SUBMIT,
        "<base target=_blank><form action=/s></form>" + SUBMIT,
        "<form action=mailto:a@b.example></form>" + SUBMIT,
        "<form action='javascript:go()'></form>" + SUBMIT,
        "<form action=http://></form>" + SUBMIT,
        "<form method=dialog></form>" + SUBMIT,
        SUBMIT,
        "<form></form><script>document.forms[7].submit()</script>",
        "<form></form><script>document.querySelector('[[').submit()</script>",
        "<form></form><script>if (a) document.forms[0].submit()</script>",
        "<form></form><button onclick='document.forms[0].submit()'>Go</button>",
    ],
)
def test_a_submit_that_stays_on_the_page_is_no_jump(page: str) -> None:
    assert (read(page).jump, read(page).unresolved) == (None, False)


def test_only_submits_max_submits_of_a_page_are_read() -> None:
    nowhere = "<script>document.forms[99].submit()</script>"
    assert read(nowhere * 7 + "<form action=/s></form>" + SUBMIT).jump is not None
    assert read(nowhere * 8 + "<form action=/s></form>" + SUBMIT).jump is None
