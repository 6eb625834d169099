"""The certain actions of scripts, read from their text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.trace.page.scripts import UNRESOLVED, Action, Actions, Go, Submit, read_script
from daemon.trace.page.tokens import tokens_in


def read(code: str) -> Actions:
    return read_script(code, wait_s_max=10)


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
        "return location.href='/a'",
        "window.opener = null; location.replace('/a')",
        "var x = 1\nlocation = '/a'\nvar y",
        "var r = /[/\"]{/.test(x) ? 1 : 2; location = '/a'",
        "location = '/other'; location = '/a'",
        "(function () { location.replace('/a') })();",
        "!function () { location = '/a' }()",
        "(() => { location = '/a' })()",
        "location.href = '/a'; function later() { location = '/b' }",
    ],
)
def test_a_script_that_is_nothing_but_a_jump_goes_to_its_literal(code: str) -> None:
    assert read(code).now == Go("/a")


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
    assert read(f"location = {written}").now == Go(url)


@pytest.mark.parametrize(
    "code",
    [
        "location = url",
        "location = '/a' + b",
        "location = 'https://' + 'b.example'",
        "location = `/a${b}`",
        "location.href = b ? '/a' : '/b'",
        "location.replace(next())",
        "location.replace()",
        "location += '/a'",
        "location.search = 'a=1'",
        "location.reload()",
        "a = location = '/a'",
        "void(location.href = '/a')",
        "var location = '/a'",
        "var u = '/a'; top.location.href = u",
        "if (phone) { location = '/m' } else { location = '/d' }",
        "if (a) location = '/m'; else if (b) location = '/d'; else location.href = '/e'",
        "document.cookie = 'a=b'; location = '/a'",
        "jQuery('#f').submit()",
        "document.forms[n].submit()",
    ],
)
def test_a_jump_to_a_computed_url_is_unresolved(code: str) -> None:
    assert read(code).now == UNRESOLVED


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x.location = '/a'",
        "var a = location.href; send(document.location)",
        "location.hash = 'top'",
        "if (top != self) { top.location = '/a' }",
        "if (a) location = '/a'",
        "if (a) {} else location = '/a'",
        "if (a) location = '/a'; else if (b) stay()",
        "while (a) location = '/a'",
        "for (const a of b) { location = '/a' }",
        "do { location = '/a' } while (a); ",
        "switch (a) { case 1: location = '/a' }",
        "a && (location = '/a')",
        "a ? location.replace('/a') : 0",
        "function go() { location = '/a' }",
        "async function go() { location = '/a' }",
        "button.onclick = function () { location = '/a' }",
        "button.onclick = () => location = '/a'",
        "document.addEventListener('click', function () { location = '/a' })",
        "class A { go() { location = '/a' } }",
        "(function () { if (a) return; location = '/a' })()",
        "throw 1; location = '/a'",
        "say(\"location = '/a'\")",
        "// location = '/a'",
        "/* location = '/a' */",
        "location = '/a",
        "location = '/a' }",
        "location = '/a' /* not closed",
        "location = '/a' \u0001",
        "setTimeout(function () { location = '/a' }, 60000)",
    ],
)
def test_a_jump_that_is_conditional_deferred_or_unreachable_is_no_jump(code: str) -> None:
    actions = read(code)
    assert (actions.now, actions.on_load, actions.later) == (None, None, False)


@pytest.mark.parametrize(
    "code",
    [
        "window.onload = function () { location.href = '/a' }",
        "onload = () => location.href = '/a'",
        "window.addEventListener('load', function () { location = '/a' }, false)",
        "document.addEventListener('DOMContentLoaded', () => { location = '/a' })",
    ],
)
def test_an_onload_function_runs_at_the_load(code: str) -> None:
    assert read(code) == Actions(on_load=Go("/a"))


@pytest.mark.parametrize(
    "code",
    [
        "setTimeout(function () { location = '/a' }, 500)",
        "window.setTimeout(() => location.replace('/a'), 10000)",
        "setTimeout(\"location.href = '/a'\", 0)",
        "setTimeout(function () { location = '/a' })",
        "$(document).ready(function () { location = '/a' })",
        "jQuery(() => { document.forms[0].submit() })",
    ],
)
def test_a_timer_that_jumps_is_noted(code: str) -> None:
    assert read(code) == Actions(later=True)


def test_a_function_that_jumps_is_noted_and_so_is_its_call() -> None:
    assert read("go(); function go() { location = '/a' }") == Actions(
        called=frozenset({"go"}), jumping=frozenset({"go"})
    )
    assert read("return go()").called == {"go"}
    assert read("if (a) go()").called == set()


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
    assert read(f"{form}.submit();").now == submit


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
