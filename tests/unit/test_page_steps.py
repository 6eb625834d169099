"""The steps of a walk after pages with jumps, at hosts of stop_at, and after forms."""

import pytest
from msgspec.structs import replace

from daemon.trace.engine.records import PageOutcome
from daemon.trace.page.html import Document, Jump, Page
from daemon.trace.walk.hops import RunPage, Usage
from daemon.trace.walk.steps import Fetch, GaveUp, HopAnswer, Identity, Landed, Limits, Step, Walk

HERE = "https://ads.example.com/click?gclid=1"
LIMITS = Limits(20, allow_private=False)
HTML = ("Content-Type", "text/html")


def walk(limits: Limits = LIMITS, url: str = HERE) -> Walk:
    traced = Walk(url, Identity("tester/1"), limits)
    assert isinstance(traced.start(), Fetch)
    return traced


def raw(*headers: tuple[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), value.encode("latin-1")) for name, value in headers)


def answer(*headers: tuple[str, str], status: int = 200, page: Page | None = None) -> HopAnswer:
    return HopAnswer(status, raw(*headers), 12.5, 300, 200, page)


def to(location: str, *, status: int = 302) -> HopAnswer:
    return answer(("Location", location), status=status)


def goes(url: str, kind: str = "meta") -> HopAnswer:
    """An answer whose page jumps to `url` by its markup."""
    return answer(HTML, page=Page(Jump(kind, url)))


PAGE = Document(b"<script>\xfc()</script>", "<script>ü()</script>", "windows-1252", whole=True)


def ran(traced: Walk, outcome: PageOutcome, *headers: tuple[str, str]) -> Step:
    """The step after a page with a script, of which the engine finds `outcome`."""
    assert isinstance(traced.answered(answer(HTML, *headers, page=Page(document=PAGE))), RunPage)
    return traced.ran(outcome, Usage(20.5, 900, 400))


def jumps(url: str, how: str = "script", **more: object) -> PageOutcome:
    return PageOutcome("goes", how, url, **more)  # type: ignore[arg-type]


def kinds(traced: Walk) -> list[str]:
    return [hop.kind for hop in traced.hops]


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("meta", "meta"),
        ("script", "script"),
        ("form", "form"),
        ("link", "script"),
        ("refresh-header", "refresh-header"),
    ],
)
def test_a_jump_is_followed_and_its_hop_has_the_kind_and_the_tier(how: str, kind: str) -> None:
    for traced, by_markup in ((walk(), True), (walk(), False)):
        if by_markup:
            step: Step = traced.answered(goes("https://b.example.com/x#y", kind))
        else:
            step = ran(traced, jumps("https://b.example.com/x#y", how))
        assert isinstance(step, Fetch)
        assert (step.url, step.method) == ("https://b.example.com/x", "GET")
        assert traced.answered(answer()) == Landed("https://b.example.com/x#y")
        assert kinds(traced) == [kind, "final"]
        assert [hop.tier for hop in traced.hops] == ["markup" if by_markup else "engine", "markup"]


def test_a_hop_has_the_time_and_the_bytes_of_its_scripts_too() -> None:
    traced = walk()
    ran(traced, jumps("https://b.example.com/"))
    assert (traced.hops[0].ms, traced.hops[0].bytes_received, traced.hops[0].bytes_sent) == (20.5, 900, 400)


def test_the_engine_gets_the_page_as_a_browser_would_have_it() -> None:
    traced = Walk(HERE + "#top", Identity("tester/1", "de, en;q=0.5, *", "https://search.example.com/"), LIMITS)
    traced.start()
    headers = (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; HttpOnly"), ("Refresh", "5;/x"),
               ("Content-Security-Policy", "script-src 'self', default-src *"))  # fmt: skip
    step = traced.answered(answer(HTML, *headers, page=Page(document=PAGE)))
    assert isinstance(step, RunPage)
    asked = step.request
    assert (asked.url, asked.html, asked.encoding, asked.whole) == (HERE + "#top", PAGE.text, "windows-1252", True)
    assert (asked.user_agent, asked.languages) == ("tester/1", ("de", "en"))
    assert asked.referrer == "https://search.example.com/"
    assert (asked.cookie, asked.refresh, asked.refresh_max_s) == ("a=1", "5;/x", 10)
    assert asked.policies == ("script-src 'self'", " default-src *")


def test_the_cookies_of_a_script_are_sent_and_never_replace_one_that_is_http_only() -> None:
    traced = walk()
    cookies = ("js=1; path=/", "secret=2", "own=3; HttpOnly", "name=é")
    step = ran(traced, jumps("https://ads.example.com/next", cookies=cookies), ("Set-Cookie", "secret=1; HttpOnly"))
    assert isinstance(step, Fetch)
    assert dict(step.headers)["Cookie"] == "secret=1; js=1; name=Ã©"


def test_a_link_with_noreferrer_sends_none() -> None:
    step = ran(walk(), jumps("https://ads.example.com/next", "link", no_referrer=True))
    assert isinstance(step, Fetch)
    assert "Referer" not in dict(step.headers)
    step = ran(walk(), jumps("https://b.example.com/", referrer_policies=("origin",)))
    assert isinstance(step, Fetch)
    assert dict(step.headers)["Referer"] == "https://ads.example.com/"


def test_a_fragment_is_not_inherited_by_a_jump() -> None:
    traced = walk(url=HERE + "#top")
    traced.answered(goes("https://b.example.com/x"))
    assert traced.answered(answer()) == Landed("https://b.example.com/x")


@pytest.mark.parametrize("status", [200, 201, 302, 403, 404])
def test_a_refresh_header_counts_with_each_status_that_lands(status: int) -> None:
    traced = walk()
    step = traced.answered(answer(("refresh", "3; url='/next'"), status=status))
    assert isinstance(step, Fetch)
    assert step.url == "https://ads.example.com/next"
    assert kinds(traced) == ["refresh-header"]


def test_a_location_comes_before_a_refresh_header_and_the_page_says_whether_the_header_counts() -> None:
    traced = walk()
    step = traced.answered(answer(("Refresh", "0;/no"), ("Location", "/a"), status=302))
    assert isinstance(step, Fetch)
    assert step.url == "https://ads.example.com/a"
    step = ran(traced, jumps("https://ads.example.com/b"), ("Refresh", "0;/no"))
    assert isinstance(step, Fetch)
    assert step.url == "https://ads.example.com/b"
    assert kinds(traced) == ["http", "script"]


@pytest.mark.parametrize(
    ("refresh_max_s", "text", "followed"),
    [(10, "10;/a", True), (10, "11;/a", False), (0, "0;/a", True), (0, "1;/a", False), (2.5, "2;/a", True)],
)
def test_a_refresh_with_a_delay_above_the_limit_is_a_landing(refresh_max_s: float, text: str, followed: bool) -> None:
    traced = walk(replace(LIMITS, refresh_max_s=refresh_max_s))
    assert isinstance(traced.answered(answer(("Refresh", text))), Fetch if followed else Landed)


@pytest.mark.parametrize(
    ("status", "headers", "read"),
    [
        (200, [HTML], True),
        (404, [HTML], True),
        (200, [], True),
        (302, [HTML], True),
        (302, [HTML, ("Location", "/a")], False),
        (200, [("Content-Type", "image/png")], False),
        (200, [HTML, ("Refresh", "5;/a")], True),
        (200, [HTML, ("Refresh", "50;/a")], True),
        (204, [HTML], False),
        (304, [HTML], False),
        (500, [HTML], False),
        (101, [HTML], False),
        (407, [HTML], True),
    ],
)
def test_a_body_is_read_only_if_it_can_change_the_step(status: int, headers: list[tuple[str, str]], read: bool) -> None:
    assert (walk().body(status, raw(*headers)) is not None) is read


def test_the_body_of_a_plain_407_is_not_read() -> None:
    assert walk(url="http://ads.example.com/").body(407, raw(HTML)) is None


def test_a_page_that_leaves_for_an_unknown_url_is_a_landing_of_kind_script_unresolved() -> None:
    traced = walk()
    assert ran(traced, PageOutcome("unresolved", why="fetch")) == Landed(HERE)
    [hop] = traced.hops
    assert (hop.kind, hop.tier, hop.why) == ("script_unresolved", "engine", "fetch")
    assert traced.left_at is not None
    assert (traced.left_at.url, traced.left_at.status, traced.left_at.document) == (HERE, 200, PAGE)
    assert traced.left_at.fetch.url == HERE


def test_a_browser_goes_on_from_a_page_that_the_engine_left_unresolved() -> None:
    traced = walk()
    ran(traced, PageOutcome("unresolved", why="fetch"))
    left, hop = traced.left_at, traced.by_browser()
    assert left is not None
    assert hop is not None
    page = Page(Jump("script", "https://b.example.com/"), tier="browser")
    usage = (hop.ms + 100, hop.bytes_received + 5_000, hop.bytes_sent + 700)
    step = traced.answered(HopAnswer(left.status, left.headers, *usage, page=page))
    assert isinstance(step, Fetch)
    assert step.url == "https://b.example.com/"
    [hop] = traced.hops
    assert (hop.kind, hop.tier, hop.why) == ("script", "browser", None)
    assert (hop.ms, hop.bytes_received, hop.bytes_sent) == (120.5, 5_900, 1_100)
    assert traced.left_at is None


def test_a_page_that_stays_is_a_landing_and_no_page_is_left_for_a_browser() -> None:
    traced = walk()
    assert ran(traced, PageOutcome("stays")) == Landed(HERE)
    assert (kinds(traced), traced.hops[0].tier, traced.left_at) == (["final"], "engine", None)


@pytest.mark.parametrize("url", [HERE, HERE + "#"])
def test_a_page_that_jumps_to_itself_is_a_landing(url: str) -> None:
    traced = walk()
    assert isinstance(traced.answered(goes(url)), Landed)
    assert kinds(traced) == ["final"]


def test_a_jump_to_a_fragment_of_the_same_page_is_a_landing() -> None:
    assert walk().answered(goes(HERE + "#offer")) == Landed(HERE + "#offer")


def test_a_page_that_sets_a_cookie_and_jumps_to_itself_is_fetched_once_more_only() -> None:
    traced = walk()
    first = answer(HTML, ("Set-Cookie", "a=1"), page=goes(HERE).page)
    step = traced.answered(first)
    assert isinstance(step, Fetch)
    assert dict(step.headers)["Cookie"] == "a=1"
    again = answer(HTML, ("Set-Cookie", "a=2"), page=goes(HERE).page)
    assert traced.answered(again) == Landed(HERE)
    assert kinds(traced) == ["meta", "final"]


def reloads_with(traced: Walk, *stored: str) -> Step:
    """The last step of reloads by scripts that leave these texts in the tab."""
    step: Step | None = None
    for kept in stored:
        step = ran(traced, jumps(HERE, kept=kept))
    assert step is not None
    return step


def test_a_page_whose_scripts_may_count_its_reloads_is_fetched_again_and_then_unresolved() -> None:
    traced = walk()
    assert isinstance(reloads_with(traced, "1", "2", "3"), Fetch)
    assert reloads_with(traced, "4") == Landed(HERE)
    assert kinds(traced) == ["script", "script", "script", "script_unresolved"]
    assert traced.left_at is not None


def test_a_page_that_reloads_itself_and_changes_nothing_more_is_a_landing() -> None:
    traced = walk()
    assert reloads_with(traced, "1", "1") == Landed(HERE)
    assert (kinds(traced), traced.left_at) == (["script", "final"], None)


def test_a_browser_may_reload_a_page_because_its_storages_are_not_known() -> None:
    traced = walk()
    reloads = Page(Jump("script", HERE), tier="browser")
    for _ in range(3):
        assert isinstance(traced.answered(answer(HTML, page=reloads)), Fetch)
    assert traced.answered(answer(HTML, page=reloads)) == Landed(HERE)
    assert kinds(traced)[-1] == "script_unresolved"


def test_two_pages_that_jump_to_each_other_are_a_loop() -> None:
    traced = walk()
    traced.answered(goes("https://b.example.com/"))
    step = traced.answered(goes(HERE))
    assert isinstance(step, GaveUp)
    assert step.reason == "loop"


def test_an_app_url_is_a_landing_if_the_offer_allows_its_scheme_and_else_the_page_is() -> None:
    allowing = walk(replace(LIMITS, landing_schemes=LIMITS.landing_schemes | {"market"}))
    assert ran(allowing, jumps("market://details?id=x")) == Landed("market://details?id=x")
    assert kinds(allowing) == ["script"]
    other = walk()
    assert other.answered(goes("exampleapp://open")) == Landed(HERE)
    assert kinds(other) == ["final"]


def test_the_engine_is_told_which_apps_a_page_may_open() -> None:
    traced = walk(replace(LIMITS, landing_schemes=LIMITS.landing_schemes | {"exampleapp"}))
    step = traced.answered(answer(HTML, page=Page(document=PAGE)))
    assert isinstance(step, RunPage)
    assert {"http", "https", "exampleapp", "intent", "market"} <= set(step.request.schemes)
    assert "otherapp" not in step.request.schemes


@pytest.mark.parametrize("by_page", [True, False])
def test_the_web_page_of_an_app_url_is_fetched_if_the_offer_does_not_allow_the_scheme(by_page: bool) -> None:
    intent = "intent://p#Intent;scheme=app;S.browser_fallback_url=https%3A%2F%2Fb.example.com%2Fl;end"
    traced = walk()
    step = ran(traced, jumps(intent)) if by_page else traced.answered(to(intent))
    assert isinstance(step, Fetch)
    assert step.url == "https://b.example.com/l"
    allowing = walk(replace(LIMITS, landing_schemes=LIMITS.landing_schemes | {"intent"}))
    assert allowing.answered(to(intent)) == Landed(intent)
    assert isinstance(walk().answered(to(intent.replace("b.example.com", "10.0.0.1"))), GaveUp)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://intranet/"])
def test_a_page_leads_to_no_host_that_is_not_public(url: str) -> None:
    step = walk(replace(LIMITS, stop_at=frozenset({"intranet"}))).answered(goes(url))
    assert isinstance(step, GaveUp)
    assert step.reason == "refused_address"


def test_the_hop_after_the_last_allowed_one_is_not_made_for_a_page_either() -> None:
    step = walk(replace(LIMITS, hops_max=1)).answered(goes("https://b.example.com/"))
    assert isinstance(step, GaveUp)
    assert step.reason == "hops_max"


@pytest.mark.parametrize(
    ("stop_at", "location", "stops"),
    [
        ("shop.example.com", "https://shop.example.com/x", True),
        ("shop.example.com", "https://SHOP.example.com./x", True),
        ("shop.example.com", "https://www.shop.example.com/x", True),
        ("shop.example.com", "https://shop.example.com:8443/x", True),
        ("shop.example.com", "https://notshop.example.com/x", False),
        ("shop.example.com", "https://example.com/x", False),
        ("www.shop.example.com", "https://shop.example.com/x", False),
        ("xn--bcher-kva.example.com", "https://bücher.example.com/".encode().decode("latin-1"), True),
        ("93.184.216.34", "http://93.184.216.34/", True),
    ],
)
def test_stop_at_covers_the_host_and_its_subdomains(stop_at: str, location: str, stops: bool) -> None:
    traced = walk(replace(LIMITS, stop_at=frozenset({stop_at})))
    assert isinstance(traced.answered(to(location)), Landed if stops else Fetch)
    assert kinds(traced) == ["http"]


def test_the_landing_at_a_host_of_stop_at_has_the_url_that_a_browser_shows() -> None:
    traced = walk(replace(LIMITS, stop_at=frozenset({"shop.example.com"})), url=HERE + "#top")
    assert traced.answered(to("//shop.example.com/x?cid=7")) == Landed("https://shop.example.com/x?cid=7#top")
    assert len(traced.hops) == 1


def test_the_tracking_url_is_fetched_even_at_a_host_of_stop_at() -> None:
    traced = walk(replace(LIMITS, stop_at=frozenset({"ads.example.com"})))
    assert traced.answered(to("/next")) == Landed("https://ads.example.com/next")


TYPE = "application/x-www-form-urlencoded"
POSTED = jumps("https://b.example.com/s", "form", method="POST", body=b"a=1", content_type=TYPE)


def test_a_form_is_posted_with_its_fields_even_to_a_host_of_stop_at() -> None:
    traced = walk(replace(LIMITS, stop_at=frozenset({"b.example.com"})))
    step = ran(traced, POSTED)
    assert isinstance(step, Fetch)
    assert (step.url, step.method, step.body) == ("https://b.example.com/s", "POST", b"a=1")
    assert dict(step.headers)["Content-Type"] == TYPE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_a_post_keeps_it_only_by_307_and_308(status: int) -> None:
    traced = walk()
    ran(traced, POSTED)
    step = traced.answered(to("/next", status=status))
    assert isinstance(step, Fetch)
    if status in (307, 308):
        assert (step.method, step.body, dict(step.headers)["Content-Type"]) == ("POST", b"a=1", TYPE)
    else:
        assert (step.method, step.body, "Content-Type" in dict(step.headers)) == ("GET", b"", False)


def test_the_same_url_by_another_method_is_another_request() -> None:
    traced = walk()
    step = ran(traced, jumps(HERE, "form", method="POST", body=b"a=1", content_type=TYPE))
    assert isinstance(step, Fetch)
    step = ran(traced, jumps(HERE, "form", method="POST", body=b"a=1", content_type=TYPE))
    assert isinstance(step, GaveUp)
    assert step.reason == "loop"
