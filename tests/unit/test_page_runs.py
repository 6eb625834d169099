"""The external scripts of a page: which are fetched, by which requests, and what the engine gets of them."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from daemon.trace.engine.records import PageOutcome
from daemon.trace.page.html import TEXT_CHARACTERS_MAX, Document, Page
from daemon.trace.walk.hops import HopFailure, RunPage, ScriptFetch, Usage
from daemon.trace.walk.page_runs import REDIRECTS_MAX, RUNS_MAX, SCRIPT_BYTES_MAX, SCRIPTS_MAX
from daemon.trace.walk.steps import Fetch, HopAnswer, Identity, Landed, Limits, Step, Walk
from daemon.trace.walk.verdicts import Failure, Phase

HERE = "https://ads.example.com/click?id=1"
PAGE = Document(b"<script src=/a.js></script>", "<script src=/a.js></script>", "windows-1252", whole=True)
TEXT = (("Content-Type", "text/javascript"),)
Headers = tuple[tuple[str, str], ...]


def raw(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), value.encode()) for name, value in headers)


def started(*headers: tuple[str, str], characters: int = 0, whole: bool = True) -> tuple[Walk, RunPage]:
    """A walk at a page with a script."""
    walk = Walk(HERE, Identity("tester/1", "de", "https://search.example.com/"), Limits(20, allow_private=False))
    walk.start()
    page = Page(document=replace(PAGE, whole=whole), text_characters=characters)
    step = walk.answered(HopAnswer(200, raw(headers), 1, 1, 1, page))
    assert isinstance(step, RunPage)
    return walk, step


def ran(walk: Walk, outcome: PageOutcome) -> Step:
    return walk.ran(outcome, Usage(1, 1, 1))


def needs(walk: Walk, *urls: str) -> Step:
    return ran(walk, PageOutcome("needs", needs=urls))


def answered(walk: Walk, body: bytes | None, *headers: tuple[str, str], status: int = 200) -> Step:
    """The step after an answer to a ScriptFetch; `body` None: its body was cut."""
    reader = walk.script_body(status, raw(headers))
    if reader is not None:
        reader.feed(b"x" if body is None else body)
        reader.end(whole=body is not None)
    return walk.fetched(HopAnswer(status, raw(headers), 1, 1, 1))


def scripts(step: Step) -> Mapping[str, str | None]:
    assert isinstance(step, RunPage)
    return step.request.scripts


def test_an_xhtml_page_with_a_script_is_unresolved() -> None:
    walk, _ = started(("Content-Type", "application/xhtml+xml"))
    assert isinstance(ran(walk, PageOutcome("goes", "script", "https://shop.example.com/")), Landed)
    assert (walk.hops[0].kind, walk.hops[0].why) == ("script_unresolved", "scripts of an XHTML page")


def test_a_script_that_the_page_needs_is_fetched_and_the_page_is_run_again_with_it() -> None:
    walk, first = started()
    assert (first.request.scripts, first.request.fetches_left) == ({}, SCRIPTS_MAX)
    step = needs(walk, "https://ads.example.com/a.js#x", "https://cdn.example.net/b.js")
    assert isinstance(step, ScriptFetch)
    assert step.url == "https://ads.example.com/a.js"
    step = answered(walk, b"a()", *TEXT)
    assert isinstance(step, ScriptFetch)
    assert step.url == "https://cdn.example.net/b.js"
    step = answered(walk, b"b()", *TEXT)
    assert scripts(step) == {"https://ads.example.com/a.js#x": "a()", "https://cdn.example.net/b.js": "b()"}
    assert isinstance(step, RunPage)
    assert step.request.fetches_left == SCRIPTS_MAX - 2
    assert isinstance(ran(walk, PageOutcome("goes", "script", "https://b.example.com/")), Fetch)


def test_the_request_for_a_script_is_that_of_a_browser() -> None:
    walk, _ = started(("Set-Cookie", "a=1"))
    step = needs(walk, "https://cdn.ads.example.com/a.js", "https://cdn.example.net/b.js")
    assert isinstance(step, ScriptFetch)
    own = dict(step.headers)
    assert (own["Accept"], own["User-Agent"], own["Accept-Language"]) == ("*/*", "tester/1", "de")
    assert own["Referer"] == "https://ads.example.com/"
    assert "Cookie" not in own, "the cookie is for another host"
    answered(walk, b"", ("Set-Cookie", "b=2; domain=ads.example.com"), *TEXT)
    foreign = answered(walk, b"", ("Set-Cookie", "c=3"), *TEXT)
    assert isinstance(foreign, RunPage)
    assert walk.jar.document_cookie(walk._current()) == "a=1; b=2"


def test_a_script_of_the_same_host_gets_its_cookies_and_one_of_another_site_none() -> None:
    walk, _ = started(("Set-Cookie", "a=1; domain=example.com"), ("Referrer-Policy", "unsafe-url"))
    step = needs(walk, "https://ads.example.com/a.js", "https://cdn.example.net/b.js")
    assert isinstance(step, ScriptFetch)
    assert dict(step.headers)["Cookie"] == "a=1"
    assert dict(step.headers)["Referer"] == HERE
    step = answered(walk, b"", *TEXT)
    assert isinstance(step, ScriptFetch)
    assert "Cookie" not in dict(step.headers)


@pytest.mark.parametrize(
    ("status", "headers", "body", "known"),
    [
        (200, TEXT, b"go()", "go()"),
        (200, (), b"go()", "go()"),
        (203, (("Content-Type", "text/plain"),), b"go()", "go()"),
        (204, (), b"", ""),
        (200, (("Content-Type", "text/javascript;charset=utf-8"),), "ü".encode(), "ü"),
        (200, TEXT, b"\xfc", "ü"),
        (200, (("Content-Type", "image/gif"),), b"go()", None),
        (200, (("Content-Type", "text/html"), ("X-Content-Type-Options", "nosniff")), b"go()", None),
        (200, (*TEXT, ("X-Content-Type-Options", "nosniff")), b"go()", "go()"),
        (404, TEXT, b"go()", None),
        (404, (("Content-Type", "text/html"),), b"go()", None),
        (403, TEXT, b"go()", None),
        (451, TEXT, b"go()", None),
        (410, TEXT, b"", None),
        (304, TEXT, b"", None),
    ],
)
def test_what_is_no_script_is_none(status: int, headers: Headers, body: bytes, known: str | None) -> None:
    walk, _ = started()
    needs(walk, "https://ads.example.com/a.js")
    assert scripts(answered(walk, body, *headers, status=status)) == {"https://ads.example.com/a.js": known}
    ran(walk, PageOutcome("stays"))
    is_refused = status in (403, 451) or (status < 300 and dict(headers).get("Content-Type") == "text/html")
    assert walk.hops[-1].kind == ("script_unresolved" if is_refused else "final"), "the visitor may get the script"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (503, TEXT, b""),
        (429, TEXT, b""),
        (407, TEXT, b""),
        (200, TEXT, None),
        (200, (*TEXT, ("Content-Length", str(SCRIPT_BYTES_MAX + 1))), b"x"),
        (200, (*TEXT, ("Content-Encoding", "aes128gcm")), b"x"),
        (200, TEXT, bytes(SCRIPT_BYTES_MAX)),
    ],
    ids=["busy", "too many", "of the proxy", "cut", "too long", "unknown coding", "too long without a length"],
)
def test_a_script_that_could_not_be_fetched_is_unknown(status: int, headers: Headers, body: bytes | None) -> None:
    walk, _ = started()
    needs(walk, "https://ads.example.com/a.js")
    assert scripts(answered(walk, body, *headers, status=status)) == {}
    step = needs(walk, "https://ads.example.com/a.js")
    assert isinstance(step, RunPage), "it is not asked for twice"
    assert step.request.fetches_left == 0


def test_a_script_whose_connection_fails_does_not_end_the_trace() -> None:
    for outcome in (PageOutcome("stays"), PageOutcome("goes", "script", "https://b.example.com/")):
        walk, _ = started()
        needs(walk, "https://ads.example.com/a.js")
        assert scripts(walk.fetched(HopFailure(Phase.DIAL, Failure.REFUSED, 1))) == {}
        assert isinstance(ran(walk, outcome), Landed if outcome.kind == "stays" else Fetch)
    walk, _ = started()
    needs(walk, "https://ads.example.com/a.js")
    walk.fetched(HopFailure(Phase.DIAL, Failure.REFUSED, 1))
    ran(walk, PageOutcome("stays"))
    assert walk.hops[-1].kind == "script_unresolved", "the script might have left"
    assert "https://ads.example.com/a.js" in (walk.hops[-1].why or "")


def test_the_redirects_of_a_script_are_followed_within_a_bound() -> None:
    walk, _ = started()
    step = needs(walk, "https://ads.example.com/a.js")
    for number in range(REDIRECTS_MAX):
        step = answered(walk, b"", ("Location", f"https://cdn{number}.example.net/a.js"), status=302)
        assert isinstance(step, ScriptFetch)
        assert step.url == f"https://cdn{number}.example.net/a.js"
    assert scripts(answered(walk, b"", ("Location", "/b.js"), status=302)) == {}


@pytest.mark.parametrize("url", ["http://127.0.0.1/a.js", "http://intranet/a.js", "ftp://ads.example.com/a.js"])
def test_no_script_leads_to_a_host_that_is_not_public(url: str) -> None:
    walk, _ = started()
    assert scripts(needs(walk, url)) == {}
    walk, _ = started()
    needs(walk, "https://ads.example.com/a.js")
    assert scripts(answered(walk, b"", ("Location", url), status=302)) == {}


def test_scripts_that_only_measure_are_not_fetched() -> None:
    _, step = started()
    assert "www.googletagmanager.com" in step.request.harmless_hosts


def test_the_scripts_of_a_page_that_shows_much_or_is_too_large_to_be_read_whole_are_not_fetched() -> None:
    _, jump = started(characters=TEXT_CHARACTERS_MAX)
    assert (jump.request.unknown_stay, jump.request.fetches_left) == (False, SCRIPTS_MAX)
    for _, landing in (started(characters=TEXT_CHARACTERS_MAX + 1), started(whole=False)):
        assert (landing.request.unknown_stay, landing.request.fetches_left) == (True, 0)


def test_the_number_of_scripts_of_a_page_and_their_bytes_in_a_trace_are_bounded() -> None:
    walk, _ = started()
    step = needs(walk, *(f"https://ads.example.com/{number}.js" for number in range(3 * SCRIPTS_MAX)))
    fetched = 0
    while isinstance(step, ScriptFetch):
        fetched += 1
        step = answered(walk, bytes(SCRIPT_BYTES_MAX - 1), *TEXT)
    assert fetched == SCRIPTS_MAX
    assert len(scripts(step)) == 2
    ran(walk, PageOutcome("goes", "script", "https://b.example.com/"))
    assert isinstance(walk.answered(HopAnswer(200, (), 1, 1, 1, Page(document=PAGE))), RunPage)
    needs(walk, "https://b.example.com/a.js")
    assert scripts(answered(walk, b"a()", *TEXT)) == {}


def test_a_page_whose_scripts_add_scripts_is_run_only_so_often() -> None:
    walk, _ = started()
    for number in range(RUNS_MAX - 1):
        assert isinstance(needs(walk, f"https://ads.example.com/{number}.js"), ScriptFetch)
        last = answered(walk, b"", *TEXT)
    assert isinstance(last, RunPage)
    assert last.request.fetches_left == 0
    assert isinstance(needs(walk, "https://ads.example.com/last.js"), Landed)
    assert walk.hops[-1].why == "external scripts"


def test_what_a_page_leaves_in_the_tab_reaches_the_next_page_and_makes_a_reload_another_request() -> None:
    walk, first = started()
    assert first.request.kept == ""
    assert isinstance(ran(walk, PageOutcome("goes", "script", HERE, kept="seen")), Fetch)
    step = walk.answered(HopAnswer(200, (), 1, 1, 1, Page(document=PAGE)))
    assert isinstance(step, RunPage)
    assert step.request.kept == "seen"
    assert isinstance(ran(walk, PageOutcome("goes", "script", HERE, kept="seen")), Landed)
