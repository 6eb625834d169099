"""The jumps of HTML pages."""

import pytest
from ada_url import URL
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from daemon.trace.page.forms import Jump
from daemon.trace.page.html import Page, Source, read_page
from daemon.trace.page.refreshes import declared_refresh

HERE = "http://ads.example/dir/page?q=1"


def read(page: str | bytes, *, charset: str | None = "utf-8", whole: bool = True, refresh: str | None = None) -> Page:
    data = page if isinstance(page, bytes) else page.encode()
    header = None if refresh is None else declared_refresh(refresh, URL(HERE), URL(HERE))
    return read_page(data, Source(URL(HERE), charset, 10, header), whole=whole)


def jump(page: str | bytes, *, charset: str | None = "utf-8") -> tuple[str, str] | None:
    found = read(page, charset=charset).jump
    return None if found is None else (found.kind, found.url.removeprefix("http://ads.example"))


def meta(content: str, more: str = "") -> str:
    return f'<meta http-equiv="refresh" content="{content}"{more}>'


# The steps of HTML 4.2.5.3, case by case. None: they return before the navigation.
REFRESHES: list[tuple[str, tuple[int, str] | None]] = [
    ("0; url=/a", (0, "/a")),
    ("0;URL='/a'", (0, "/a")),
    ('0;url="/a"', (0, "/a")),
    ("0;url='/a\"b'c", (0, "/a%22b")),
    ("0;url='/a", (0, "/a")),
    ("0; /a", (0, "/a")),
    ("0 /a", (0, "/a")),
    ("0,/a", (0, "/a")),
    ("0, url = /a", (0, "/a")),
    ("  5  ;  url  =  /a", (5, "/a")),
    ("0;'/a'", (0, "/a")),
    ("0;url /a", (0, "/dir/url%20/a")),
    ("0;u", (0, "/dir/u")),
    ("0;ur=/a", (0, "/dir/ur=/a")),
    ("0;urn", (0, "/dir/urn")),
    ("0;url=", (0, "/dir/page?q=1")),
    ("0;url=url=/a", (0, "/dir/url=/a")),
    ("0;;/a", (0, "/dir/;/a")),
    ("0", (0, "/dir/page?q=1")),
    ("300", (300, "/dir/page?q=1")),
    ("3;", (3, "/dir/page?q=1")),
    ("3; ", (3, "/dir/page?q=1")),
    ("0.9; url=/a", (0, "/a")),
    ("1.2.3...; url=/a", (1, "/a")),
    (".5; url=/a", (0, "/a")),
    ("007; url=/a", (7, "/a")),
    ("99999999999999999999; url=/a", (999_999_999, "/a")),
    ("", None),
    (" ", None),
    ("url=/a", None),
    ("; url=/a", None),
    ("-1; url=/a", None),
    ("+1; url=/a", None),
    ("0url=/a", None),
    ("0x; url=/a", None),
    ("0\x0b;url=/a", None),
    ("0;url=http://", None),
    ("0;url=javascript:alert(1)", None),
    ("٣; url=/a", None),
]


@pytest.mark.parametrize(("text", "expected"), REFRESHES)
def test_a_refresh_is_read_by_the_shared_declarative_refresh_steps(text: str, expected: tuple[int, str] | None) -> None:
    found = declared_refresh(text, URL(HERE), URL(HERE))
    assert (None if found is None else (found.delay_s, found.url.href.removeprefix("http://ads.example"))) == expected


@pytest.mark.parametrize(
    "page",
    [
        meta("0; url=/a"),
        "<META HTTP-EQUIV=Refresh CONTENT='0;/a'>",
        f"<html><body><p>Moving on{meta('0;/a')}",
        meta("10; url=/a"),
        meta("5; url=/a") + "<p>You will be taken there in five seconds.",
        meta("x") + meta("0;/a") + meta("0;/b"),
        f"<noscript>{meta('0;/b')}</noscript><!-- {meta('0;/b')} --><template>{meta('0;/b')}</template>{meta('0;/a')}",
        f"<script>var page = '{meta('0;/b')}'</script><title>{meta('0;/b')}</title>{meta('0;/a')}",
        "<meta http-equiv=refresh>" + "<meta http-equiv=refresh content=''>" + meta("0;/a"),
        meta("0;&#47;a"),
        meta("0;/a") + "<script>function go() { location = '/b' }</script><a onclick='go()'>x</a>",
        meta("0;/a") + "<script>setTimeout(function () { location = '/b' }, 2000)</script>",
        meta("0;/a") + "<script async src=https://www.googletagmanager.com/gtag/js></script>",
        meta("0;/a")
        + "<script src=https://code.jquery.com/a.js></script><script>$('a').click(function () {})</script>",
        meta("0;/a") + "<script type='text/x-template' src=/x></script><script nomodule src=/y></script>",
    ],
)
def test_the_first_refresh_of_a_page_that_is_one_counts(page: str) -> None:
    assert jump(page) == ("meta", "/a")


@pytest.mark.parametrize(
    "page",
    [
        meta("11; url=/a"),
        meta("300"),
        meta("60;/b") + meta("0;/a"),
        f"<noscript>{meta('0;/a')}</noscript>",
        f"<!-- {meta('0;/a')} -->",
        f"<template>{meta('0;/a')}</template>",
        f"<textarea>{meta('0;/a')}</textarea>",
        f"<iframe>{meta('0;/a')}</iframe>",
        "<meta name=refresh content='0;/a'>",
        "<meta http-equiv=' refresh' content='0;/a'>",
        "<p>" + meta("0;/a").replace("<", "&lt;"),
    ],
)
def test_a_refresh_with_a_long_delay_or_outside_the_page_is_no_jump(page: str) -> None:
    assert read(page) == Page(None, final=True, text_characters=read(page).text_characters)


def test_a_refresh_header_has_precedence_over_meta_elements_and_a_script_over_both() -> None:
    script = "<script>location='/b'</script>"
    assert read(meta("0;/a"), refresh="5;/h").jump == Jump("refresh-header", "http://ads.example/h")
    assert read(meta("0;/a") + script, refresh="0;/h").jump == Jump("script", "http://ads.example/b")
    assert read(meta("0;/a"), refresh="11;/h").jump is None
    found = read("<script>location = b</script>", refresh="0;/h")
    assert (found.jump, found.unresolved) == (None, True)


@pytest.mark.parametrize(
    "more",
    [
        "<script>location = next()</script>",
        "<script>eval(next)</script>",
        "<script>if (a) location = '/b'</script>",
        "<script>setTimeout(function () { location = '/b' }, 100)</script>",
        "<script>setTimeout(function () { location = '/b' }, 5500)</script>",
        "<script src=/b.js></script>",
        "<script async src=https://cdn.example/b.js></script>",
        "<script type=module>import '/b.js'</script>",
        "<script>var s = document.createElement('script'); s.src = '/b.js'; document.head.appendChild(s)</script>",
        "<img src=x onerror='go()'><script>function go() { location = '/b' }</script>",
    ],
)
def test_a_refresh_does_not_count_if_a_script_may_leave_before_it_is_due(more: str) -> None:
    for page in (meta("5;/a") + more, more + meta("5;/a")):
        assert (read(page).jump, read(page).unresolved) == (None, True)


@pytest.mark.parametrize(
    ("page", "url"),
    [
        ("<base href='/x/'>" + meta("0;a"), "/x/a"),
        (meta("0;a") + "<base href='/x/'>", "/dir/a"),
        ("<base target=_top><base href='/x/'><base href='/y/'>" + meta("0;a"), "/x/a"),
        ("<base href='data:x,y'><base href='/y/'>" + meta("0;a"), "/dir/a"),
        ("<base href='javascript:1'>" + meta("0;a"), "/dir/a"),
        ("<base href='http://'>" + meta("0;a"), "/dir/a"),
        ("<base href='//b.example/x/'>" + meta("0;a"), "http://b.example/x/a"),
        ("<base href='/x/'><script>location='a'</script>", "/x/a"),
        ("<base href='/x/'>" + meta("0"), "/dir/page?q=1"),
    ],
)
def test_a_base_element_before_the_jump_counts(page: str, url: str) -> None:
    found = jump(page)
    assert found is not None
    assert found[1] == url


UMLAUT = meta("0;/ü?q=ü")
PATH_UTF_8, QUERY_UTF_8, QUERY_1252 = "/%C3%BC", "?q=%C3%BC", "?q=%FC"
MOJIBAKE = "/%C3%83%C2%BC?q=%C3%BC"  # UTF-8 read as windows-1252, its query written as that


@pytest.mark.parametrize(
    ("page", "charset", "url"),
    [
        (UMLAUT.encode(), "utf-8", PATH_UTF_8 + QUERY_UTF_8),
        (UMLAUT.encode("latin-1"), "ISO-8859-1", PATH_UTF_8 + QUERY_1252),
        (UMLAUT.encode("latin-1"), None, PATH_UTF_8 + QUERY_1252),
        (UMLAUT.encode("latin-1"), "no such charset", PATH_UTF_8 + QUERY_1252),
        (UMLAUT.encode(), None, MOJIBAKE),
        (b"\xef\xbb\xbf" + UMLAUT.encode(), "windows-1252", PATH_UTF_8 + QUERY_UTF_8),
        (b"\xff\xfe" + UMLAUT.encode("utf-16-le"), "utf-8", PATH_UTF_8 + QUERY_UTF_8),
        (b"\xfe\xff" + UMLAUT.encode("utf-16-be"), None, PATH_UTF_8 + QUERY_UTF_8),
        (UMLAUT.encode("utf-16-le"), "UTF-16LE", PATH_UTF_8 + QUERY_UTF_8),
        (b"<meta charset=utf8>" + UMLAUT.encode(), None, PATH_UTF_8 + QUERY_UTF_8),
        (b"<meta charset=' UTF-8 '>" + UMLAUT.encode(), None, PATH_UTF_8 + QUERY_UTF_8),
        (b"<meta charset=utf-16>" + UMLAUT.encode(), None, PATH_UTF_8 + QUERY_UTF_8),
        (b"<meta charset=koi8-r>" + UMLAUT.encode(), "utf-8", PATH_UTF_8 + QUERY_UTF_8),
        (b"<meta http-equiv=Content-Type content='text/html; charset=utf-8'>" + UMLAUT.encode(), None,
         PATH_UTF_8 + QUERY_UTF_8),
        (b"<!-- <meta charset=utf-8> --><meta charset=none-such>" + UMLAUT.encode(), None, MOJIBAKE),
        (meta("0;/а?q=а").encode("cp1251"), "windows-1251", "/%D0%B0?q=%E0"),
        (meta("0;/日?q=日").encode("shift_jis"), "Shift_JIS", "/%E6%97%A5?q=%93%FA"),
        (meta("0;/&#960;?q=&#960;#&#960;").encode(), "windows-1252", "/%CF%80?q=%26%23960%3B#%CF%80"),
        (b"<script>location = '/\\u00fc?q=\\u00fc'</script>", None, PATH_UTF_8 + QUERY_1252),
    ],
)  # fmt: skip
def test_a_url_is_read_and_its_query_written_in_the_pages_character_set(
    page: bytes, charset: str | None, url: str
) -> None:
    found = jump(page, charset=charset)
    assert found is not None
    assert found[1] == url


@pytest.mark.parametrize(
    "page",
    [
        "<script>location='/a'</script>",
        "<p>One moment, please.</p><script type='text/javascript'>window.location.replace('/a')</script>",
        "<script type=module>location='/a'</script>",
        "<script language=JavaScript1.2>location='/a'</script>",
        "<body onload=\"location.href='/a'\">",
        '<body onload="javascript:location.href=&quot;/a&quot;">',
        "<script>window.onload = function () { location = '/a' }</script><p>Hello",
        "<script src=/lib.js>location='/b'</script><script>location='/a'</script>",
        "<script type='text/template'>location='/b'</script><script>location='/a'</script>",
        "<script nomodule>location='/b'</script><script>location='/a'</script>",
        "<script>unknown()</script><script>location='/a'</script>",
        "<script>location='/a'</script><script>location='/b'</script>",
        "<script>location='/a'</script><script>location = next()</script>",
        "<script>location='/a'; onload = function () { location='/b' }</script>",
        "<form action=/b></form><script>document.forms[0].submit(); location='/a'</script>",
        "<script>location='/b'; location='/a'</script>",
        meta("0;/b") + "<script>location='/a'</script>",
        meta("0;/b") + "<script>document.addEventListener('DOMContentLoaded', () => { location='/a' })</script>",
        "<script>location='/a'; setTimeout(function () { location='/b' }, 2000)</script>",
        "<script>location='/a'</script>" + meta("0;/b"),
        meta("3;/b") + "<script>location='/a'</script>",
        "<noscript>"
        + meta("0;/b")
        + "</noscript><title>x</title><script>window.opener=null;location.replace('/a')</script>",
        "<svg><script>location='/a'</script></svg>",
        "<body onload=\"location='/b'\"><script>location='/a'</script>",
        "<script>location='javascript:go()'</script><script>location='/a'</script>",
        "<script>location='http://'; location='/b'</script><script>location='/a'</script>",
    ],
)
def test_a_script_that_jumps_is_found_on_the_tree(page: str) -> None:
    assert jump(page) == ("script", "/a")


@pytest.mark.parametrize(
    "page",
    [
        "<!-- <script>location='/a'</script> -->",
        "<template><script>location='/a'</script></template>",
        "<noscript><script>location='/a'</script></noscript>",
        "<textarea><script>location='/a'</script></textarea>",
        "<script>location='/a'",  # incomplete
        "<script src=/x.js>location='/a'</script>",
        "<script type='application/ld+json'>location='/a'</script>",
        "<a href=/x onclick=\"location='/a'\">x</a>",
        "<img onload=\"location='/a'\">",
        "<p>location='/a'</p>",
        "<script>function go() { location = '/a' }</script><a onclick='go()'>x</a>",
        "<script>location='javascript:void(0)'</script>",
        "<script>location='http://'</script>",
    ],
)
def test_what_no_browser_would_run_at_the_load_is_no_jump(page: str) -> None:
    found = read(page)
    assert (found.jump, found.unresolved) == (None, False)


@pytest.mark.parametrize(
    "page",
    [
        "<script>location = '/a?' + Date.now()</script>",
        "<body onload='location = next'>",
        "<script>setTimeout(function () { location = '/a' }, 2000)</script>",
        "<script>function go() { location = '/a' }</script><body onload='go()'>",
        "<script>f = document.createElement('form'); f.submit()</script>",
        "<form method=post enctype=multipart/form-data></form><script>document.forms[0].submit()</script>",
        "<script>location = next()</script><script>location = '/a'</script>",
        "<script>let a = 1</script><script>let a = 2; location = '/a'</script>",
        "<script>location = '/a'; setTimeout(function () { location = '/b' }, 20)</script>",
        "<body onload=\"location='/b'\"><script>onload = function () { location='/a' }</script>",
    ],
)
def test_a_page_that_leaves_for_an_unknown_url_is_unresolved(page: str) -> None:
    found = read(page)
    assert (found.jump, found.unresolved) == (None, True)


@pytest.mark.parametrize(
    ("more", "goes_on"),
    [
        ("", False),
        (meta("2;/a"), True),
        ("<script>setTimeout(function () { location = '/a' }, 1500)</script>", True),
        (meta("60;/a"), False),
    ],
)
def test_a_page_that_opens_an_app_may_go_on(more: str, goes_on: bool) -> None:
    found = read("<script>location = 'exampleapp://open'</script>" + more)
    assert (found.jump, found.unresolved) == (Jump("script", "exampleapp://open"), goes_on)


def test_only_what_a_visitor_sees_is_text() -> None:
    unseen = "<title>abc</title><style>abc</style><script>abc</script><noscript>abc</noscript><!-- abc -->"
    assert read(unseen + "<textarea>abc</textarea><select><option>abc</select> \n ").text_characters == 0
    assert read(unseen + "<p> abc <b>de</b>").text_characters == 5


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (meta("0;/a") + "<p>more", Page(Jump("meta", "http://ads.example/a"))),
        (meta("0;/a")[:-5], Page()),
        ("<meta http-equiv=refresh content=0;/a", Page()),
        ("<script>location='/a'", Page()),
        ("<script>location='/a'</scr", Page()),
        ("<script>location='/a'</script>", Page(Jump("script", "http://ads.example/a"), final=True)),
        ("<script>location='/a'//", Page()),
        (meta("5;/a"), Page(Jump("meta", "http://ads.example/a"))),
        ("<body onload=\"location='/a'\">", Page(Jump("script", "http://ads.example/a"))),
        ("<body onload='document.f.submit()'>", Page(waits=True)),
        ("<body onload='document.f.submit()'><form name=f><input name=a>", Page(waits=True)),
        ("<body onload='document.f.submit()'><form name=f></form><p", Page(waits=True)),
        ("<body onload='document.f.submit()'><form name=f></form>", Page(Jump("form", HERE.partition("?")[0] + "?"))),
    ],
)
def test_only_complete_elements_of_a_partial_page_count(page: str, found: Page) -> None:
    assert read(page, whole=False) == Page(
        found.jump, final=found.final, waits=found.waits, text_characters=read(page, whole=False).text_characters
    )


PIECES = st.sampled_from(
    ["<meta http-equiv=refresh content='", "0;/a", "'>", "<script>", "location=", "'/a'", "</script>", "<form>",
     "</form>", "<input name=a value=b>", "document.forms[0].submit()", "<noscript>", "</noscript>", "<template>",
     "</template>", "<!--", "-->", "<body onload=\"location='/b'\">", "<base href='//x/'>", "<meta charset=", "utf-16>",
     "koi8-r>", "<svg>", "<textarea>", "<select>", "text",
     "\x00", "\ufdd0", "ü", "<", ">", "&#", "<plaintext>", "<frameset onload='a'>"]
)  # fmt: skip
PAGES = st.binary(max_size=200) | st.lists(PIECES, max_size=30).map(lambda pieces: "".join(pieces).encode())


@given(PAGES, st.sampled_from([None, "utf-8", "utf-16le", "iso-2022-jp", "replacement", "x"]), st.booleans())
def test_no_page_raises_and_every_jump_is_a_url(page: bytes, charset: str | None, whole: bool) -> None:
    found = read(page, charset=charset, whole=whole)
    if found.jump is not None:
        assert URL(found.jump.url).href == found.jump.url


@given(PAGES)
def test_a_jump_is_found_only_if_the_tree_has_its_element(page: bytes) -> None:
    tree = LexborHTMLParser(page.decode("utf-8", "replace"), scripting=True)
    found = read(page).jump
    if found is None:
        return
    makes = {"meta": "meta[http-equiv]", "script": "script, body[onload], frameset[onload]", "form": "form"}
    assert tree.css(makes[found.kind])


@given(PAGES, st.integers(0, 200))
def test_a_final_result_of_a_part_is_the_result_of_the_whole_page(page: bytes, cut: int) -> None:
    found = read(page[:cut], whole=False)
    if found.final:
        assert read(page).jump == found.jump
