"""The jumps of HTML pages."""

import pytest
from ada_url import URL
from hypothesis import example, given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from daemon.trace.page.html import Jump, Source, read_page
from daemon.trace.page.refreshes import declared_refresh
from tests.support.engine import Found, page_read

HERE = "http://ads.example/dir/page?q=1"


def read(page: str | bytes, *, charset: str | None = "utf-8", whole: bool = True, refresh: str | None = None) -> Found:
    data = page if isinstance(page, bytes) else page.encode()
    return page_read(data, HERE, charset=charset, whole=whole, refresh=refresh)


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
    ("0;url='/a?b='c'&d", (0, "/a?b=%27c")),
    ("0;url='/a?b='c'&d'", (0, "/a?b=%27c%27&d")),
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
        meta("x") + meta("0;/b") + meta("0;/a"),
        meta("5;/b") + meta("2;/a") + meta("3;/b"),
        meta("60;/b") + meta("0;/a"),
        meta("0;/a") + meta("60;/b"),
        f"<noscript>{meta('0;/b')}</noscript><!-- {meta('0;/b')} --><template>{meta('0;/b')}</template>{meta('0;/a')}",
        f"<script>var page = '{meta('0;/b')}'</script><title>{meta('0;/b')}</title>{meta('0;/a')}",
        "<meta http-equiv=refresh>" + "<meta http-equiv=refresh content=''>" + meta("0;/a"),
        meta("0;&#47;a"),
        meta("0;/a") + "<script>function go() { location = '/b' }</script><a onclick='go()'>x</a>",
        meta("0;/a") + "<script>setTimeout(function () { location = '/b' }, 2000)</script>",
        meta("0;/a") + "<script async src=https://www.googletagmanager.com/gtag/js></script>",
        meta("0;/a") + "<script src=https://code.jquery.com/a.js></script>",
        meta("5;/a") + "<script>location = next()</script>",
        meta("5;/a") + "<script>eval(next)</script>",
        meta("5;/a") + "<script>if (a) location = '/b'</script>",
        meta("5;/a") + "<script>document.title = 'One moment'</script>",
        meta("0;/a") + "<script type='text/x-template' src=/x></script><script nomodule src=/y></script>",
    ],
)
def test_the_shortest_refresh_counts_and_of_equal_ones_the_last(page: str) -> None:
    assert jump(page) == ("meta", "/a")


@pytest.mark.parametrize(
    "page",
    [
        meta("11; url=/a"),
        meta("300"),
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
    assert read(page) == Found(read(page).page)


@pytest.mark.parametrize("script", ["", "<script>location = next()</script>"])
def test_a_refresh_header_is_a_refresh_that_comes_before_those_of_the_page(script: str) -> None:
    header, by_meta = Jump("refresh-header", "http://ads.example/h"), Jump("meta", "http://ads.example/a")
    assert read(script, refresh="0;/h").jump == header
    assert read(meta("5;/a") + script, refresh="2;/h").jump == header
    assert read(meta("0;/a") + script, refresh="5;/h").jump == by_meta
    assert read(meta("5;/a") + script, refresh="5;/h").jump == by_meta
    assert read(meta("5;/a") + script, refresh="60;/h").jump == by_meta


def test_a_script_that_leaves_at_once_comes_before_each_refresh() -> None:
    script = "<script>location='/b'</script>"
    assert read(meta("0;/a") + script, refresh="0;/h").jump == Jump("script", "http://ads.example/b")


@pytest.mark.parametrize(
    "more",
    [
        "<script>setTimeout(function () { location = '/b' }, 5500)</script>",
        "<script src=/b.js></script>",
        "<script type=module>import '/b.js'</script>",
        "<script>var s = document.createElement('script'); s.src = '/b.js'; document.head.appendChild(s)</script>",
        "<img src=x onerror='go()'><script>function go() { location = '/b' }</script>",
    ],
)
def test_a_refresh_does_not_count_if_a_script_may_leave_before_it_is_due(more: str) -> None:
    for page in (meta("5;/a") + more, more + meta("5;/a")):
        found = read(page)
        assert found.jump is None
        assert found.why is not None


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
def test_a_script_that_jumps_is_followed(page: str) -> None:
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
    assert (found.jump, found.why) == (None, None)


@pytest.mark.parametrize(
    "page",
    [
        "<script>location = '/a?' + 'b'.length</script>",
        "<script>setTimeout(function () { location = '/a?1' }, 2000)</script>",
        "<script>function go() { location = '/a?1' }</script><body onload='go()'>",
        "<script>location = next()</script><script>location = '/a?1'</script>",
        "<body onload=\"location='/b'\"><script>onload = function () { location='/a?1' }</script>",
        meta("5;/b") + "<script>setTimeout(function () { location = '/a?1' }, 100)</script>",
        "<script>var t = 'L2E/MQ=='; location.href = atob(t)</script>",
        "<script>document.write('<script>location = \"/a?1\"<\\/script>')</script>",
        "<script>var a = document.createElement('a'); a.href = '/a?1'; document.body.append(a); a.click()</script>",
    ],
)
def test_a_script_that_computes_its_target_is_run(page: str) -> None:
    found = jump("<!doctype html><body>" + page if "append" in page else page)
    assert found is not None
    assert found[1] == "/a?1"


@pytest.mark.parametrize(
    "page",
    [
        "<body onload='location = next'>",
        "<script>f = document.createElement('form'); f.submit()</script>",
        "<script>let a = 1</script><script>let a = 2; location = '/a'</script>",
    ],
)
def test_a_script_that_throws_or_does_nothing_stays(page: str) -> None:
    assert (read(page).jump, read(page).why) == (None, None)


@pytest.mark.parametrize(
    "page",
    [
        "<script>location = '/a'; setTimeout(function () { location = '/b' }, 20)</script>",
        "<script>fetch('/x').then(function (r) { location = r.url })</script>",
    ],
)
def test_a_page_that_leaves_for_a_url_that_is_not_certain_is_unresolved(page: str) -> None:
    found = read(page)
    assert found.jump is None
    assert found.why is not None


@pytest.mark.parametrize(
    ("more", "goes"),
    [
        ("", None),
        ("setTimeout(function () { location = '/a' }, 1500)", ("script", "/a")),
        ("setTimeout(function () { location = '/a' }, 60000)", None),
    ],
)
def test_a_page_that_opens_an_app_goes_on_where_the_offer_does_not_allow_the_scheme(
    more: str, goes: tuple[str, str] | None
) -> None:
    assert jump(f"<script>location = 'otherapp://open'; {more}</script>") == goes
    assert jump(f"<script>{more}; location = 'exampleapp://open'</script>") == ("script", "exampleapp://open")


def test_only_what_a_visitor_sees_is_text() -> None:
    unseen = "<title>abc</title><style>abc</style><script>abc</script><noscript>abc</noscript><!-- abc -->"
    assert read(unseen + "<textarea>abc</textarea><select><option>abc</select> \n ").page.text_characters == 0
    assert read(unseen + "<p> abc <b>de</b>").page.text_characters == 5


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (meta("0;/a") + "<p>more", ("meta", "/a")),
        (meta("0;/a")[:-5], None),
        ("<meta http-equiv=refresh content=0;/a", None),
        ("<script>location='/a'", None),
        ("<script>location='/a'</scr", None),
        ("<script>location='/a'</script>", ("script", "/a")),
        ("<script>location='/a'</script><p>The rest of the page ca", ("script", "/a")),
        ("<script>location='/a'//", None),
        (meta("5;/a"), ("meta", "/a")),
        ("<body onload='document.f.submit()'>", None),
    ],
)
def test_only_complete_elements_of_a_partial_page_count(page: str, found: tuple[str, str] | None) -> None:
    jumps = read(page, whole=False).jump
    assert (None if jumps is None else (jumps.kind, jumps.url.removeprefix("http://ads.example"))) == found


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
    found = read_page(page, Source(URL(HERE), charset, 10), whole=whole)
    if found.jump is not None:
        assert URL(found.jump.url).href == found.jump.url


@given(PAGES)
@example(b"<a ona=\x00>")
def test_a_page_is_one_for_the_engine_or_its_jump_is_on_its_tree(page: bytes) -> None:
    tree = LexborHTMLParser(page.decode("utf-8", "replace"), scripting=True)
    found = read_page(page, Source(URL(HERE), "utf-8", 10), whole=True)
    if found.document is not None:
        assert found.jump is None
        handlers = [name for element in tree.css("*") for name in element.attributes if name.startswith("on")]
        assert handlers or tree.css("script")
    elif found.jump is not None:
        assert tree.css("meta[http-equiv]")


@pytest.mark.parametrize(
    "element",
    [
        "<img src=x onerror=\"location='/a'\">",
        "<img srcset=x onload=\"location='/a'\">",
        "<svg onload=\"location='/a'\">",
        "<script src=//code.jquery.com/a.js onerror=\"location='/a'\"></script>",
        "<style onload='go()'></style>",
        "<input autofocus onfocus=\"location='/a'\">",
        "<details open ontoggle=\"location='/a'\">",
        "<body onpageshow=\"location='/a'\">",
        "<iframe src=\"javascript:top.location='/a'\"></iframe>",
        "<iframe src=\" \tjava\nscript:top.location='/a'\"></iframe>",
        '<iframe srcdoc="<script>top.location=1</script>"></iframe>',
        '<iframe srcdoc="<img src=x onerror=top.location=1>"></iframe>',
        "<svg><script href=/a.js></script></svg>",
        "<script src=''></script>",
        "<script for=window event=onload>location='/a'</script>",
        "<body onload='a()'>",
    ],
)
def test_a_page_with_an_element_that_may_run_a_script_is_one_for_the_engine(element: str) -> None:
    page = read_page((meta("0;/a") + element).encode(), Source(URL(HERE), "utf-8", 10), whole=True)
    assert page.document is not None
    assert page.jump is None


@pytest.mark.parametrize(
    "element",
    [
        "<a href=# onclick=\"location='/a'\">",
        "<img onload=\"location='/a'\">",
        "<input onfocus=\"location='/a'\" onchange='this.form.submit()'>",
        "<body onunload=\"location='/a'\" onbeforeunload=\"location='/a'\" onresize=\"location='/a'\">",
        "<iframe src=about:blank></iframe><iframe src=//b.example/></iframe>",
        "<iframe srcdoc='<p>stop</p>'></iframe>",
        "<script for=window event=onclick>location='/a'</script>",
        "<script type='text/javascript; charset=utf-8'>location='/a'</script>",
        "<script type=application/ld+json>{}</script><script type=importmap>{}</script>",
        "<script> </script><script nomodule src=/a.js></script>",
        "<script src=https://www.googletagmanager.com/gtag/js></script>",
        "<a href=\"javascript:location='/a'\">x</a>",
        "<script>location='/a'",
    ],
)
def test_a_page_on_which_no_script_runs_by_itself_needs_no_engine(element: str) -> None:
    page = read_page((meta("0;/a") + element).encode(), Source(URL(HERE), "utf-8", 10), whole=True)
    assert page.document is None
    assert page.jump == Jump("meta", "http://ads.example/a")
