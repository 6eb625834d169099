"""The tree of a page, by the daemon or in the page's own process."""

import json

import msgspec
import pytest

from daemon.trace.engine.child import outcome_of, template
from daemon.trace.engine.engines import completed
from daemon.trace.engine.records import PageOutcome, PageRequest
from daemon.trace.engine.trees import SMALL_CHARACTERS, SMALL_TAGS, small_tree_of, tree_of

SCRIPTS = "<p>\U0001f600</p><script>var a = '\U0001f600'</script >b<script src=x></SCRIPT\n><script>c"


def in_code_units(text: str, begin: int, end: int) -> str:
    """`text.slice(begin, end)` in JavaScript."""
    return text.encode("utf-16-le")[2 * begin : 2 * end].decode("utf-16-le")


def test_positions_after_the_scripts_count_utf16_code_units() -> None:
    [_, ends] = json.loads(tree_of(SCRIPTS, None))
    assert len(ends) == 2
    assert in_code_units(SCRIPTS, 0, ends[0]).endswith("</script >")
    assert in_code_units(SCRIPTS, ends[0], ends[1]) == "b<script src=x></SCRIPT\n>"


def test_a_tree_ends_where_the_text_is_cut() -> None:
    [nodes, ends] = json.loads(tree_of(SCRIPTS, len("<p>") + 2 + len("</p><script>v")))
    assert ends == []
    assert "v<!--\\ufdd2-->" in json.dumps(nodes), "the script is not complete"


def test_a_page_keeps_noncharacters_of_its_own() -> None:
    [nodes, ends] = json.loads(tree_of("<script>a\ufdd00\ufdd1</script>\ufdd2", None))
    assert len(ends) == 1
    text = json.dumps(nodes)
    assert "a\\ufdd0A\\ufdd10\\ufdd0B\\ufdd1\\ufdd00\\ufdd1" in text
    assert "\\ufdd0C\\ufdd1" in text
    assert "\\ufdd2" not in text


@pytest.mark.parametrize(
    "html",
    ["x" * (SMALL_CHARACTERS + 1), "<i>" * (SMALL_TAGS + 1), "".join(f"<p><b {n}>" for n in range(100))],
    ids=["long", "many tags", "formatting that is reopened"],
)
def test_the_daemon_makes_no_tree_of_a_page_that_costs_much(html: str) -> None:
    assert small_tree_of(html, whole=True) is None
    assert small_tree_of(html[:60], whole=True) is not None


@pytest.mark.parametrize(
    ("html", "lands"),
    [
        ("\U0001f600<script>document.write('<a id=x href=/\U0001f600>')</script>b<script>location = x.href</script>",
         "%F0%9F%98%80"),
        ("<p>\U0001f600<script>document.write('<script>location = document.body.innerText<\\/script>')</script>",
         "%F0%9F%98%80"),
        ("<p>a\0b<script>location = '/' + document.body.firstChild.firstChild.data</script>", "ab"),
        ("<script><!--\nlocation='/w' //--></script></script><script>x</script>", "w"),
        ("<script><!--><script>\nlocation='/x'</script></script>", "x"),
        ("<svg><script>a()</script></svg><template><script>b()</script></template><script>location='/t'</script>", "t"),
        ("<textarea><script></textarea><script>location='/u'</script>", "u"),
        ("<!--<script>--><script><!--<script></script>\nlocation='/v'</script>", "v"),
        ("<form action=/f><input name=a value='\ufdd00\ufdd1'></form><script>document.forms[0].submit()</script>",
         "f?a=%EF%B7%900%EF%B7%91"),
        ("<textarea><script><!-- <script></textarea><script>var a</script><script>location='/y'</script>", "y"),
        ("<script>document.write('1')</script a='>'>2<script>location = document.body.innerText</script>", "12"),
        ("<script>document.write('<')</script>i id=z><script>location = z.tagName</script>", "I"),
        ("<script>document.write('<im')</script>g id=z><script>location = z.tagName</script>", "IMG"),
        ("<script>document.write('<script>var a=1<\\/script ');location = '/' + typeof a</script>", "undefined"),
        ("<script>location='/cut'</script ", None),
        ("<script </script>location='/z'</script>", "z"),
        ("<math><script>location='/m'</script></math>", None),
        ("<math><annotation-xml><script>location='/m'</script></annotation-xml></math>", None),
        ("<math><mi><script>location='/n'</script></math>", "n"),
        ("<script>location='/cut'</script", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("whole", [True, False])
def test_a_page_does_the_same_by_the_daemons_tree_as_by_its_own(html: str, lands: str | None, whole: bool) -> None:
    request = PageRequest("https://a.example/", html, "utf-8", whole)
    for encoded in (completed(request), msgspec.json.encode(request)):
        found = msgspec.json.decode(outcome_of(template(), encoded), type=PageOutcome)
        assert found.url == ("" if lands is None else f"https://a.example/{lands}")


def test_pages_draw_random_numbers_of_their_own() -> None:
    request = PageRequest("https://a.example/", "<script>location = '/' + Math.random()</script>", "utf-8", True)
    assert len({outcome_of(template(), completed(request)) for _ in range(3)}) == 3
