"""The request of a form that a script submits."""

import pytest

from daemon.trace.page.html import Jump
from tests.support.engine import Found, page_read

HERE = "http://ads.example/dir/page?q=1#top"
TYPE = "application/x-www-form-urlencoded"
SUBMIT = "<script>document.forms[0].submit()</script>"


def read(page: str, *, charset: str = "utf-8") -> Found:
    return page_read(page.encode("utf-8" if charset == "utf-8" else charset), HERE, charset=charset)


def sent(fields: str, attributes: str = "action=/s method=post", *, charset: str = "utf-8") -> str:
    found = read(f"<form {attributes}>{fields}</form>{SUBMIT}", charset=charset).jump
    assert found is not None
    assert (found.kind, found.method) == ("form", "POST")
    return found.body.decode("ascii")


def test_a_form_that_submits_itself_by_post_sends_its_hidden_fields() -> None:
    page = "<form action=https://b.example/s method=POST><input type=hidden name=a value='1 2'></form>" + SUBMIT
    assert read(page).jump == Jump("form", "https://b.example/s", "POST", b"a=1+2", TYPE)


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
        ("<textarea name=a>\n\nx</textarea>", "a=%0D%0Ax"),
        ("<input type=hidden name=_CharSet_ value=x>", "_CharSet_=UTF-8"),
        ("<input type=radio name=a value=1 checked><input type=radio name=a value=2 checked>", "a=2"),
        ("<input type=radio name=a value=1 checked><input type=radio name=b value=2 checked>", "a=1&b=2"),
        ("<datalist><input name=a></datalist><input name=b>", "a=&b="),  # as in Chromium
        ("<select name=a><optgroup disabled><option>x</optgroup><option>y</select>", "a=y"),
        ("<select name=a><option selected disabled>x<option>y</select>", ""),
        ("<select name=a><option selected>x<option selected>y</select>", "a=y"),
        ("<select name=a size=2><option>x</select><select name=b size=1><option>y</select>", "b=y"),
        ("<select name=a><option>x\u00a0\ty</select>", "a=x%C2%A0+y"),
        ("<fieldset disabled><legend><input name=a></legend><legend><input name=b></legend></fieldset>", "a="),
        ("<fieldset disabled><fieldset><legend><input name=a></legend></fieldset></fieldset>", ""),
        ("<fieldset disabled><div><legend><input name=a></legend></div></fieldset>", ""),
        ("<input name=a value=1 dirname=a.dir>", "a=1&a.dir=ltr"),
        ("<div dir=RTL><textarea name=a dirname=d></textarea></div>", "a=&d=rtl"),
        ("<input name=a value='1 \u05d0' dir=auto dirname=d>", "a=1+%D7%90&d=rtl"),
        ("<input type=number name=a value=1 dirname=d><input name=b dirname=''>", "a=1&b="),
        ("<input type=email name=a value=' a@b.example\n'>", "a=a%40b.example"),
        ("<input type=email name=a multiple value=' a@b.example , c'>", "a=a%40b.example%2Cc"),
        ("<input type=URL name=a value=' http://x '><input type=text name=b value=' x '>", "a=http%3A%2F%2Fx&b=+x+"),
        ("<input type=number name=a value=1.5e3><input type=number name=b value=+1>", "a=1.5e3&b="),
        ("<input type=range name=a><input type=range name=b value=7 min=10 max=20>", "a=50&b=10"),
        ("<input type=range name=a value=70><input type=range name=b min=10 max=5>", "a=70&b=10"),
        ("<input type=color name=a><input type=color name=b value=#ABCDEF>", "a=%23000000&b=%23abcdef"),
        ("<input type=date name=a value=2026-02-29><input type=date name=b value=2024-02-29>", "a=&b=2024-02-29"),
        ("<input type=date name=a value=20240229><input type=month name=b value=2024-02>", "a=&b=2024-02"),
        ("<input type=week name=a value=2026-W60><input type=week name=b value=2026-W07>", "a=&b=2026-W07"),
        ("<input type=time name=a value=24:00><input type=time name=b value=09:30>", "a=&b=09%3A30"),
        ("<input type=datetime-local name=a value='2024-02-29 09:30:00'>", "a=2024-02-29T09%3A30"),
        ("<input type=datetime-local name=a value=2024-02-29>", "a="),
        ("<input name=a form=''><input name=b form=other><input name=c>", "c="),
    ],
)  # fmt: skip
def test_the_fields_are_those_that_a_browser_sends(fields: str, body: str) -> None:
    assert sent(fields) == body


def test_fields_are_written_in_the_pages_character_set_or_the_forms_own() -> None:
    assert sent("<input name=a value=é&#960;>", charset="windows-1252") == "a=%E9%26%23960%3B"
    attributes = "action=/s method=post accept-charset='no-such utf-8'"
    assert sent("<input name=a value=é>", attributes, charset="windows-1252") == "a=%C3%A9"


@pytest.mark.parametrize(
    ("charset", "text", "written"),
    [
        ("gb18030", "\ue5e5€", "%26%2358853%3B%A2%E3"),
        ("gbk", "€\u4e02", "%80%81%40"),
        ("shift_jis", "¥‾～\u2212", "%5C%7E%81%60%81%7C"),
        ("euc-jp", "～\u2212", "%A1%C1%A1%DD"),
        ("iso-2022-jp", "\u2212", "%1B%24B%21%5D%1B%28B"),
        ("iso-2022-jp", "&#14;a", "%26%2365533%3Ba"),
    ],
)
def test_fields_are_written_by_the_encoders_of_the_encoding_standard(charset: str, text: str, written: str) -> None:
    text = "".join(letter if letter.isascii() else f"&#{ord(letter)};" for letter in text)
    page = f"<form action=/s method=post accept-charset={charset}><input name=a value='{text}'></form>"
    found = read(page + SUBMIT).jump
    assert found is not None
    assert found.body.decode() == f"a={written}"


def test_a_form_whose_accept_charset_names_no_encoding_is_written_in_utf_8() -> None:
    attributes = "action=/s method=post accept-charset=no-such"
    assert sent("<input name=a value=é>", attributes, charset="windows-1252") == "a=%C3%A9"


def test_the_fields_of_a_form_between_a_table_and_its_rows_are_sent() -> None:
    row = "<tr><td><input name=a value=1></td></tr>"
    page = f"<table><form action=/s>{row}</form></table><input name=b>"
    assert read(page + SUBMIT).jump == Jump("form", "http://ads.example/s?a=1")
    assert read(f"<table><form action=/t></form><form action=/s>{row}</form></table>" + SUBMIT).jump == Jump(
        "form", "http://ads.example/t?"
    )


@pytest.mark.parametrize("field", ["<input type=submit name=submit>", "<button id=submit>", "<input name=submit>"])
def test_a_field_named_submit_hides_the_forms_submit(field: str) -> None:
    found = read(f"<form action=/s>{field}</form>{SUBMIT}")
    assert (found.jump, found.why) == (None, None), "the script throws"


def test_a_form_with_another_encoding_type_is_sent_as_it_says() -> None:
    form = "<form method=post action=/s enctype={}><input name=a value=1></form>" + SUBMIT
    plain = read(form.format("text/plain")).jump
    assert plain is not None
    assert (plain.body, plain.content_type) == (b"a=1\r\n", "text/plain")
    parts = read(form.format("multipart/form-data")).jump
    assert parts is not None
    kind, _, boundary = parts.content_type.partition("; boundary=")
    assert kind == "multipart/form-data"
    assert parts.body == (
        f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--{boundary}--\r\n'.encode()
    )


def test_a_field_may_stand_outside_of_its_form() -> None:
    page = "<input form=f name=a value=1><form id=f method=post action=/s><input form=g name=b></form>"
    assert read(page + SUBMIT).jump == Jump("form", "http://ads.example/s", "POST", b"a=1", TYPE)


def test_fields_after_the_script_are_not_sent() -> None:
    page = f"<form method=post action=/s><input name=a>{SUBMIT}<input name=b></form>"
    assert read(page).jump == Jump("form", "http://ads.example/s", "POST", b"a=", TYPE)
    assert read(f"{SUBMIT}<form action=/s></form>").jump is None


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
        "<form action=http://></form>" + SUBMIT,
        "<form method=dialog></form>" + SUBMIT,
        SUBMIT,
        "<form></form><script>document.forms[7].submit()</script>",
        "<form></form><button onclick='document.forms[0].submit()'>Go</button>",
    ],
)
def test_a_submit_that_stays_on_the_page_is_no_jump(page: str) -> None:
    assert (read(page).jump, read(page).why) == (None, None)
