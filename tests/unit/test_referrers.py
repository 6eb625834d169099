"""Referer and Origin from one page to the next, by the policies of the pages and redirects."""

import pytest
from ada_url import URL

from daemon.trace.page.body import page_body
from daemon.trace.page.html import Jump, Page
from daemon.trace.walk.referrers import first_referrer, of_page, origin_to, policy_in, redirected, referer_to
from daemon.trace.walk.steps import Fetch, HopAnswer, Identity, Limits, Walk

HERE = "https://user:word@ads.example/click?id=1#top"
BARE = "https://ads.example/click?id=1"
SAME, OTHER, PLAIN = "https://ads.example/next", "https://b.example/", "http://ads.example/next"
ORIGIN = "https://ads.example"


def policy(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"Referrer-Policy", text.encode())]


@pytest.mark.parametrize(
    ("text", "to_same", "to_other", "to_plain"),
    [
        ("", BARE, ORIGIN + "/", ""),
        ("unknown", BARE, ORIGIN + "/", ""),
        ("no-referrer", "", "", ""),
        ("no-referrer-when-downgrade", BARE, BARE, ""),
        ("same-origin", BARE, "", ""),
        ("origin", ORIGIN + "/", ORIGIN + "/", ORIGIN + "/"),
        ("strict-origin", ORIGIN + "/", ORIGIN + "/", ""),
        ("origin-when-cross-origin", BARE, ORIGIN + "/", ORIGIN + "/"),
        ("strict-origin-when-cross-origin", BARE, ORIGIN + "/", ""),
        ("unsafe-url", BARE, BARE, BARE),
        ("origin, No-Referrer, future-policy", "", "", ""),
    ],
)
def test_the_policy_of_a_page_decides_what_its_jump_sends(
    text: str, to_same: str, to_other: str, to_plain: str
) -> None:
    referrer = of_page(URL(HERE), policy(text))
    sent = [referer_to(URL(url), referrer) for url in (SAME, OTHER, PLAIN)]
    assert sent == [to_same, to_other, to_plain]


@pytest.mark.parametrize(
    ("text", "to_same", "to_other", "to_plain"),
    [
        ("", ORIGIN, ORIGIN, "null"),
        ("no-referrer", "null", "null", "null"),
        ("same-origin", ORIGIN, "null", "null"),
        ("origin", ORIGIN, ORIGIN, ORIGIN),
        ("unsafe-url", ORIGIN, ORIGIN, ORIGIN),
    ],
)
def test_the_policy_of_a_page_decides_the_origin_of_its_post(
    text: str, to_same: str, to_other: str, to_plain: str
) -> None:
    referrer = of_page(URL(HERE), policy(text))
    assert [origin_to(URL(url), referrer) for url in (SAME, OTHER, PLAIN)] == [to_same, to_other, to_plain]


@pytest.mark.parametrize(
    ("declared", "sent"),
    [
        (["no-referrer"], ""),
        (["NEVER "], ""),
        (["default"], ORIGIN + "/"),
        (["always"], BARE),
        (["origin-when-crossorigin"], ORIGIN + "/"),
        (["no-referrer", "nonsense"], ""),
        (["no-referrer", "unsafe-url"], BARE),
        (["nonsense"], BARE),
        ([], BARE),
    ],
)
def test_a_policy_of_the_page_itself_comes_before_that_of_its_head(declared: list[str], sent: str) -> None:
    assert referer_to(URL(OTHER), of_page(URL(HERE), policy("unsafe-url"), declared)) == sent


def test_the_policies_of_a_page_are_read_from_its_meta_elements() -> None:
    html = b"<meta name=Referrer content=never><meta http-equiv=refresh content='0;https://b.example/'>"
    body = page_body(URL(HERE), ((b"Content-Type", b"text/html"),), 4_096, 10)
    assert body is not None
    body.feed(html)
    body.end(whole=True)
    assert body.page.referrer_policies == ("never",)
    walk = Walk(HERE, Identity("tester/1"), Limits(20, allow_private=False))
    walk.start()
    step = walk.answered(HopAnswer(200, (), 1, 1, 1, page=body.page))
    assert isinstance(step, Fetch)
    assert "Referer" not in dict(step.headers)


def test_a_redirect_keeps_the_referrer_and_may_change_its_policy() -> None:
    referrer = of_page(URL(HERE), [])
    kept = redirected(referrer, URL(SAME), URL(OTHER), [])
    assert referer_to(URL(OTHER), kept) == ORIGIN + "/"
    hidden = redirected(kept, URL(OTHER), URL(SAME), policy("no-referrer"))
    assert referer_to(URL(SAME), hidden) == ""


def test_a_redirect_does_not_bring_back_what_its_request_has_not_sent() -> None:
    at_other = redirected(of_page(URL(HERE), []), URL(OTHER), URL(SAME), [])
    assert referer_to(URL(SAME), at_other) == ORIGIN + "/"
    at_plain = redirected(of_page(URL(HERE), []), URL(PLAIN), URL(SAME), policy("unsafe-url"))
    assert (referer_to(URL(SAME), at_plain), origin_to(URL(PLAIN), of_page(URL(HERE), []))) == ("", "null")


def test_an_origin_is_hidden_after_a_redirect_between_foreign_origins() -> None:
    referrer = redirected(of_page(URL(HERE), []), URL(SAME), URL(OTHER), [])
    assert origin_to(URL(OTHER), referrer) == ORIGIN
    back = redirected(referrer, URL(OTHER), URL("https://c.example/"), [])
    assert origin_to(URL("https://c.example/"), back) == "null"


def test_of_a_very_long_url_only_the_origin_is_sent() -> None:
    long = of_page(URL("https://ads.example/?" + "x" * 5_000), [])
    assert referer_to(URL(SAME), long) == ORIGIN + "/"


@pytest.mark.parametrize("text", [None, "", "about:blank", "search.example", "android-app://x/"])
def test_what_is_no_web_address_is_no_referrer_of_later_requests(text: str | None) -> None:
    assert first_referrer(text) is None


def test_the_last_known_policy_of_all_fields_counts() -> None:
    assert policy_in([*policy("origin"), *policy("x, unsafe-url"), *policy("y")]) == "unsafe-url"
    assert policy_in([]) is None


def walked(
    jump: Jump, *headers: tuple[bytes, bytes], start: str = "http://ads.example/click?id=1"
) -> tuple[Walk, Fetch]:
    walk = Walk(start, Identity("tester/1"), Limits(20, allow_private=False))
    walk.start()
    step = walk.answered(HopAnswer(200, tuple(headers), 1, 1, 1, page=Page(jump)))
    assert isinstance(step, Fetch)
    return walk, step


def test_a_form_that_is_posted_has_the_page_as_referer_and_its_origin() -> None:
    walk, step = walked(Jump("form", "http://ads.example/next", "POST", b"a=1"))
    sent = dict(step.headers)
    assert (sent["Referer"], sent["Origin"]) == ("http://ads.example/click?id=1", "http://ads.example")
    kept = walk.answered(HopAnswer(307, ((b"Location", b"https://b.example/"),), 1, 1, 1))
    assert isinstance(kept, Fetch)
    assert (kept.method, dict(kept.headers)["Origin"]) == ("POST", "http://ads.example")
    after = walk.answered(HopAnswer(302, ((b"Location", b"/c"),), 1, 1, 1))
    assert isinstance(after, Fetch)
    assert dict(after.headers).get("Referer") == "http://ads.example/"
    assert "Origin" not in dict(after.headers)


@pytest.mark.parametrize("kind", ["script", "meta", "refresh-header"])
def test_any_other_jump_has_the_page_as_referer_and_no_origin(kind: str) -> None:
    _, step = walked(Jump(kind, "https://b.example/"))
    assert dict(step.headers)["Referer"] == "http://ads.example/"
    assert "Origin" not in dict(step.headers)
    _, step = walked(Jump(kind, "https://b.example/"), (b"Referrer-Policy", b"no-referrer"))
    assert "Referer" not in dict(step.headers)


def test_a_trace_without_a_referrer_sends_none_along_redirects() -> None:
    walk = Walk("https://ads.example/", Identity("tester/1"), Limits(20, allow_private=False))
    walk.start()
    step = walk.answered(HopAnswer(302, ((b"Location", b"https://b.example/"),), 1, 1, 1))
    assert isinstance(step, Fetch)
    assert "Referer" not in dict(step.headers)
