"""The certain actions of scripts, read from their text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.trace.page.actions import Action, Go, Submit
from daemon.trace.page.bounds import Steps
from daemon.trace.page.scripts import NOTHING, Actions, read_script
from daemon.trace.page.statements import Code
from daemon.trace.page.tokens import tokens_in


def read(code: str, *, handler: bool = False) -> Actions:
    tokens = tokens_in(code)
    return NOTHING if tokens is None else read_script(Code(tokens), Steps(), handler=handler)


@pytest.mark.parametrize(
    "code",
    [
        'location = "/a"',
        "location='/a';",
        "location.href = '/a'",
        "location.replace('/a')",
        'location.assign("/a");',
        "window.location = '/a'",
        "self.location.href='/a'",
        "top.location.replace('/a')",
        "parent.location = '/a'",
        "document.location.href = '/a'",
        "window.top.document.location.assign('/a')",
        "parent.window.location.href='/a'",
        "window['location']['href'] = '/a'",
        "location = `/a`",
        "location.href = ('/a')",
        "location\n.href\n=\n'/a'",
        "/* x */ location /* y */ = /* z */ '/a' // end",
        "<!--\nlocation = '/a'\n-->",
        "<!--\nlocation = '/a'\n//-->",
        "{ location = '/a' }",
        "try { location = '/a' } catch (e) { location = '/b' }",
        "javascript:location='/a'",
        "window.opener = null; location.replace('/a')",
        "var x = 1\nlocation = '/a'\nvar y",
        "var r = /[/\"]{/; location = '/a'",
        "'use strict'; let a, b = null; location = '/a'; const c = [], d = {}",
        "location = '/' + 'a'",
        "location = (('/a')), document.title = 'x'",
        "go(); function go() { location = '/a' }",
        "function a() { b() } function b() { location = '/a' } a()",
        "console.log('x', 1); try { localStorage.setItem('a', 'b') } catch (e) {} location = '/a'",
        "try { unknown('x') } catch { console.error('x') } location.replace('/a')",
        "!(function () { location = '/a'; return }())",
        "location = '/other'; location = '/a'",
        "(function () { location.replace('/a') })();",
        "!function () { location = '/a' }()",
        "(() => { location = '/a' })()",
        "location.href = '/a'; function later() { location = '/b' }",
    ],
)
def test_a_script_that_is_nothing_but_a_jump_goes_to_its_literal(code: str) -> None:
    assert read(code).now[-1:] == (Go("/a"),)


@pytest.mark.parametrize(
    "code", ["return location.href='/a'", "location='/a'; return false;", "javascript:location='/a'"]
)
def test_an_event_handler_may_return(code: str) -> None:
    assert read(code, handler=True).now == (Go("/a"),)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        (r"'\/a\/b'", "/a/b"),
        (r"'\x2fa\u002fb\u{2f}c'", "/a/b/c"),
        (r"'/\u00fc\ud83d\ude00\ud83d'", "/ü😀�"),
        (r"'/\101\n\0\q'", "/A\n\0q"),
        ("'/a\\\nb'", "/ab"),
        (r'"/it\'s?a=\"b\""', '/it\'s?a="b"'),
        ("''", ""),
    ],
)
def test_the_escapes_of_a_literal_are_decoded(written: str, url: str) -> None:
    assert read(f"location = {written}").now == (Go(url),)


@pytest.mark.parametrize(
    "code",
    [
        "location = url",
        "location = '/a' + b",
        "location = `/a${b}`",
        "location.href = b ? '/a' : '/b'",
        "location.replace()",
        "location += '/a'",
        "location.search = 'a=1'",
        "a = location = '/a'",
        "if (a) location = '/a'",
        "for (;;) { location = '/a' }",
        "a && (location = '/a')",
        "x.location = '/a'",
        "document.cookie = 'a=b'; location = '/a'",
        "setTimeout(function () { location = '/a' }, 500)",
        "document.forms[n].submit()",
        "jQuery('#f').submit()",
        "throw 1; location = '/a'",
        "go(1); function go(a) { location = '/a' }",
        "go(); location = '/a'",
        "unknown; location = '/a'",
        "a.b = 1; location = '/a'",
        "document.getElementById('a').hidden = true; location = '/a'",
        "location = '/a'; return false",
        "return; location = '/a'",
        "(function () { return; location = '/a' })()",
        "location = '/a'; var a = ;",
        "location = '/a'; if (",
        "location = '/a'; let b; let b",
        "location = '/a'; const b",
        "location = '/a'; var class = 1",
        "const a = 1; a = 2; location = '/a'",
        "location = '/a' '/b'",
        "location = '/a'; function b() { var c = ; }",
        "location = '/a'; a b",
        "location = '/a'; 1 +",
        "try { location = '/a' }",
        "try { unknown(); location = '/a' } catch (e) { location = '/b' }",
        "try { location = '/a'; unknown() } catch (e) {}",
        "try { unknown() } catch (e) { location = '/a' }",
        "var location; location = '/a'",
        "let window = {}; window.location = '/a'",
        "(function () { var location; location = '/a' })()",
        "(function (window) { window.location = '/a' })({})",
        "function top() {} top.location = '/a'",
        "function console() {} console.log('x'); location = '/a'",
        "try {} catch (document) { document.location = '/a' }",
        "location = '/a",
        "location = '/a' }",
        "location = '/a' /* not closed",
        "location = '/a' \u0001",
        "say(\"location = '/a'\")",
        "button.onclick = function () { location = '/a' }",
        "document.onload = function () { location = '/a' }",
        "document.addEventListener('load', function () { location = '/a' })",
    ],
)
def test_a_script_that_may_throw_or_has_another_form_is_not_certain(code: str) -> None:
    assert read(code) == NOTHING


@pytest.mark.parametrize("code", ["", "function go() { location = '/a' }", "// location = '/a'", "var a = 'location'"])
def test_a_script_without_a_jump_that_runs_does_nothing(code: str) -> None:
    assert read(code) == NOTHING


@pytest.mark.parametrize(
    "code",
    [
        "window.onload = function () { location.href = '/a' }",
        "onload = () => location.href = '/a'",
        "window.addEventListener('load', function () { location = '/a' }, false)",
        "document.addEventListener('DOMContentLoaded', () => { location = '/a' })",
        "window.onload = go; function go() { location = '/a' }",
    ],
)
def test_an_onload_function_runs_at_the_load(code: str) -> None:
    assert (read(code).now, read(code).on_load) == ((), (Go("/a"),))


def test_the_jumps_that_are_understood_are_named_by_their_tokens() -> None:
    assert read("top.location = '/a'").understood == {2}
    assert read("try { location = '/a' } catch (e) { location = '/b' }").understood == {2, 11}
    assert read("document.f.submit()").understood == {4}
    assert read("function go() { location = '/a' }").understood == set()


@pytest.mark.parametrize(
    ("form", "submit"),
    [
        ("document.forms[0]", Submit("forms", 0)),
        ("document.forms['f']", Submit("forms", "f")),
        ("window.document.forms.f", Submit("forms", "f")),
        ("document.forms.item(1)", Submit("forms", 1)),
        ("document.f", Submit("forms", "f")),
        ("f", Submit("global", "f")),
        ("document.getElementById('f')", Submit("id", "f")),
        ("document.querySelector('#f')", Submit("selector", "#f")),
        ("document.getElementsByTagName('form')[1]", Submit("selector", "form", 1)),
        ("document.getElementsByName('f')[0]", Submit("name", "f")),
    ],
)
def test_a_submit_has_the_key_of_its_form(form: str, submit: Action) -> None:
    assert read(f"{form}.submit();").now == (submit,)


WORDS = st.sampled_from(
    [*"(){}[];,.=+?:!<>/\\'\"`$ \n", "location", "href", "replace", "if", "else", "function", "=>", "try", "catch",
     "do", "while", "return", "submit", "document", "forms", "window", "onload", "setTimeout", "&&", "${", "/*", "*/",
     "<!--", "-->", "'/a'", "0", "async", "\\u", "\\x4", "\u2028", "\ud800"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=60).map("".join) | st.text(max_size=80))
def test_no_text_raises(code: str) -> None:
    read("location;" + code)
    tokens_in(code)


@pytest.mark.parametrize(
    "part", ["{", "(", "[", "if(a)", "function f(){", "(function(){", "a.", "try{", "else ", "`${"]
)
def test_deep_or_long_scripts_neither_raise_nor_take_long(part: str) -> None:
    closing = {"{": "}", "(": ")", "[": "]", "`${": "}`"}
    times = 16_384 // len(part)
    tail = "".join(closing.get(letter, "") for letter in reversed(part)) if part != "`${" else closing[part]
    read(part * times + "location='/a'" + tail * times)
    read(part * times + "location='/a'")
