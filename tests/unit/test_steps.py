"""The steps of a walk as a transcript: each answer of an origin, and the walk's next step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.settings.model import Settings
from daemon.trace.walk.steps import Fetch, GaveUp, HopAnswer, HopFailure, Identity, Landed, Limits, Step, Walk
from daemon.trace.walk.verdicts import Failure, Phase, Verdict

HERE = "https://ads.example.com/click?gclid=1"
WHO = Identity("tester/1")


def walk(url: str = HERE, *, hops_max: int = 20, allow_private: bool = False, schemes: tuple[str, ...] = ()) -> Walk:
    limits = Limits(hops_max, allow_private, frozenset({"http", "https", *schemes}))
    return Walk(url, WHO, limits)


def answer(status: int, *headers: tuple[str, str | bytes]) -> HopAnswer:
    raw = tuple((name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers)
    return HopAnswer(status, raw, 12.5, 300, 200)


def to(location: str | bytes, *headers: tuple[str, str | bytes], status: int = 302) -> HopAnswer:
    return answer(status, ("Location", location), *headers)


def step_after(location: str | bytes, *, url: str = HERE, schemes: tuple[str, ...] = ()) -> Step:
    traced = walk(url, schemes=schemes)
    assert isinstance(traced.start(), Fetch)
    return traced.answered(to(location))


def url_after(location: str | bytes, *, url: str = HERE) -> str:
    step = step_after(location, url=url)
    assert isinstance(step, Fetch)
    return step.url


def header(step: object, name: str) -> str | None:
    assert isinstance(step, Fetch)
    return dict(step.headers).get(name)


def test_a_chain_is_followed_to_the_page_that_does_not_redirect() -> None:
    traced = walk()
    step: object = traced.start()
    assert isinstance(step, Fetch)
    assert step.url == HERE
    step = traced.answered(to("https://b.example.com/two"))
    assert isinstance(step, Fetch)
    assert step.url == "https://b.example.com/two"
    assert traced.answered(answer(200)) == Landed("https://b.example.com/two")
    assert [(hop.url, hop.status, hop.kind) for hop in traced.hops] == [
        (HERE, 302, "http"),
        ("https://b.example.com/two", 200, "final"),
    ]
    assert (sum(hop.bytes_received for hop in traced.hops), sum(hop.bytes_sent for hop in traced.hops)) == (600, 400)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_each_redirect_status_is_followed(status: int) -> None:
    traced = walk()
    traced.start()
    assert isinstance(traced.answered(to("/next", status=status)), Fetch)


@pytest.mark.parametrize("status", [200, 204, 300, 304, 305, 399, 403, 404, 410, 451, 499])
def test_an_answer_below_500_that_is_no_redirect_lands_where_it_is(status: int) -> None:
    traced = walk()
    traced.start()
    assert traced.answered(to("/next", status=status)) == Landed(HERE)


@pytest.mark.parametrize("location", ["", "  "])
def test_a_redirect_without_a_location_lands_where_it_is(location: str) -> None:
    traced = walk()
    traced.start()
    assert traced.answered(to(location)) == Landed(HERE)
    other = walk()
    other.start()
    assert other.answered(answer(302)) == Landed(HERE)


def test_the_first_location_that_is_not_empty_is_followed() -> None:
    traced = walk()
    traced.start()
    step = traced.answered(answer(302, ("location", ""), ("LOCATION", "/one"), ("Location", "/two")))
    assert isinstance(step, Fetch)
    assert step.url == "https://ads.example.com/one"


@pytest.mark.parametrize(
    ("status", "reason"), [(500, "status_5xx"), (503, "status_5xx"), (999, "status_5xx"), (101, "bad_status")]
)
def test_a_chain_that_ends_in_a_server_error_is_the_targets_failure(status: int, reason: str) -> None:
    traced = walk()
    traced.start()
    step = traced.answered(answer(status))
    assert isinstance(step, GaveUp)
    assert (step.verdict, step.reason) == (Verdict.TARGET, reason)
    assert step.message.startswith("hop 1 (ads.example.com): ")
    assert traced.hops[0].kind == "failed"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/a", "https://ads.example.com/a"),
        ("a/../b", "https://ads.example.com/b"),
        ("?q=1", "https://ads.example.com/click?q=1"),
        ("//c.example.com", "https://c.example.com/"),
        ("http:c.example.com/x", "http://c.example.com/x"),
        ("https:\\\\c.example.com\\x", "https://c.example.com/x"),
        (" /a b?c d ", "https://ads.example.com/a%20b?c%20d"),
        (b"\t//c.exam\tple.com/\t", "https://c.example.com/"),
        ("/ü?ö", "https://ads.example.com/%C3%BC?%C3%B6"),
        (b"/\xfc", "https://ads.example.com/%FC"),
        ("//BÜCHER.example.com/", "https://xn--bcher-kva.example.com/"),
        ("/%zz%C3%28", "https://ads.example.com/%zz%C3%28"),
        ("//c.example.com:443/", "https://c.example.com/"),
        ("//c.example.com:8443/", "https://c.example.com:8443/"),
        ("//1.1/", "https://1.0.0.1/"),
        ("//user:word@c.example.com/x#y", "https://c.example.com/x"),
    ],
)
def test_a_location_leads_where_a_browser_would_go(location: str | bytes, url: str) -> None:
    assert url_after(location) == url


@pytest.mark.parametrize(
    "location",
    [
        "javascript:alert(1)",
        "data:text/html,hello",
        "exampleapp://open",
        "mailto:a@example.com",
        "file:///etc/passwd",
        "http://",
        "https://[::1",
        "https://a b/",
        "https://ads.example.com:99999/",
        b"https://ex\x00ample.com/",
        "blob:https://ads.example.com/1",
    ],
)
def test_a_location_that_no_trace_can_follow_is_the_targets_failure(location: str | bytes) -> None:
    step = step_after(location)
    assert isinstance(step, GaveUp)
    assert (step.verdict, step.reason) == (Verdict.TARGET, "bad_location")
    assert step.message.startswith("hop 1 (ads.example.com): ")


def test_a_scheme_that_the_offer_allows_lands_without_a_hop() -> None:
    step = step_after("market://details?id=x&referrer=y", schemes=("market",))
    assert step == Landed("market://details?id=x&referrer=y")


def test_a_fragment_stays_off_the_wire_and_is_inherited() -> None:
    traced = walk(HERE + "#top")
    step = traced.start()
    assert isinstance(step, Fetch)
    assert step.url == HERE
    traced.answered(to("/inherits"))
    assert traced.answered(answer(200)) == Landed("https://ads.example.com/inherits#top")


@pytest.mark.parametrize(("location", "landed"), [("/a#own", "/a#own"), ("/a#", "/a#")])
def test_a_locations_own_fragment_replaces_the_inherited_one_even_if_empty(location: str, landed: str) -> None:
    traced = walk(HERE + "#top")
    traced.start()
    traced.answered(to(location))
    assert traced.answered(answer(200)) == Landed("https://ads.example.com" + landed)


def test_a_redirect_to_a_url_that_was_fetched_is_followed_up_to_the_limit() -> None:
    traced = walk(hops_max=4)
    traced.start()
    assert isinstance(traced.answered(to(HERE)), Fetch)
    assert isinstance(traced.answered(to("#again")), Fetch)
    step = traced.answered(to("/two"))
    assert isinstance(step, Fetch)
    assert traced.answered(answer(200)) == Landed("https://ads.example.com/two#again")


def test_redirects_that_reach_the_limit_at_a_url_that_was_fetched_are_a_loop_which_is_named() -> None:
    traced = walk(hops_max=4)
    traced.start()
    for location in ("/two", HERE, "/two"):
        assert isinstance(traced.answered(to(location)), Fetch)
    step = traced.answered(to(HERE))
    assert isinstance(step, GaveUp)
    assert (step.verdict, step.reason) == (Verdict.TARGET, "loop")
    assert HERE in step.message
    assert len(traced.hops) == 4


def test_the_last_redirect_that_browsers_follow_is_followed() -> None:
    traced = walk(hops_max=Settings().trace.hops_max)
    step: object = traced.start()
    for number in range(20):
        assert isinstance(step, Fetch)
        step = traced.answered(to(f"/{number}"))
    assert isinstance(step, Fetch)
    step = traced.answered(to("/21st"))
    assert isinstance(step, GaveUp)
    assert step.reason == "hops_max"


def test_a_page_that_sets_a_cookie_and_redirects_to_itself_is_no_loop() -> None:
    traced = walk()
    traced.start()
    step = traced.answered(to(HERE, ("Set-Cookie", "seen=1; Path=/")))
    assert header(step, "Cookie") == "seen=1"
    assert traced.answered(answer(200)) == Landed(HERE)


def test_the_hop_after_the_last_allowed_one_is_not_made() -> None:
    traced = walk(hops_max=3)
    step: object = traced.start()
    for number in range(3):
        assert isinstance(step, Fetch)
        step = traced.answered(to(f"/{number}"))
    assert isinstance(step, GaveUp)
    assert (step.verdict, step.reason) == (Verdict.LIMIT, "hops_max")
    assert step.message.startswith("hop 3 (ads.example.com): ")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]", "0x7f.1", "2130706433", "intranet"]
)
def test_a_host_that_is_not_public_is_refused_anywhere_in_the_chain(host: str) -> None:
    first = walk(f"http://{host}/").start()
    assert isinstance(first, GaveUp)
    assert (first.verdict, first.reason) == (Verdict.LIMIT, "refused_address")
    later = step_after(f"http://{host}/")
    assert isinstance(later, GaveUp)
    assert (later.verdict, later.reason) == (Verdict.LIMIT, "refused_address")
    assert isinstance(walk(f"http://{host}/", allow_private=True).start(), Fetch)


@pytest.mark.parametrize(
    "url", ["", "ads.example.com/x", "/x", "javascript:1", "ftp://ads.example.com/", "http://", "http://\ud800/"]
)
def test_a_tracking_url_that_is_no_web_address_is_the_operators_fault(url: str) -> None:
    step = walk(url).start()
    assert isinstance(step, GaveUp)
    assert (step.verdict, step.reason) == (Verdict.OPERATOR, "bad_tracking_url")


def test_the_headers_are_those_of_the_identity_and_redirects_keep_the_referrer() -> None:
    traced = Walk(HERE, Identity("Mozilla/5.0 ü", "de, en;q=0.5", "https://search.example.com/"), Limits(20, False))
    first = traced.start()
    assert isinstance(first, Fetch)
    assert [name for name, _ in first.headers] == [
        "User-Agent",
        "Accept",
        "Accept-Language",
        "Accept-Encoding",
        "Referer",
    ]
    assert header(first, "User-Agent") == "Mozilla/5.0 \xc3\xbc"
    assert header(first, "Accept-Language") == "de, en;q=0.5"
    assert header(first, "Referer") == "https://search.example.com/"
    assert header(traced.answered(to("/two")), "Referer") == "https://search.example.com/"
    assert header(traced.answered(to("http://ads.example.com/three")), "Referer") is None


def test_line_breaks_of_an_identity_are_not_in_the_headers() -> None:
    traced = Walk(HERE, Identity("a\r\nX-Evil: 1", "en\x00\n", "\r\nb"), Limits(20, False))
    step = traced.start()
    assert isinstance(step, Fetch)
    assert not any(ord(letter) < 32 for _, value in step.headers for letter in value)


def test_a_407_is_the_proxys_over_plain_http_and_a_landing_inside_a_tunnel() -> None:
    plain = walk("http://ads.example.com/")
    plain.start()
    step = plain.answered(answer(407))
    assert isinstance(step, GaveUp)
    assert (step.verdict, step.reason) == (Verdict.CREDENTIALS, "proxy_credentials")
    tunnelled = walk()
    tunnelled.start()
    assert tunnelled.answered(answer(407)) == Landed(HERE)


def test_a_failure_has_hop_and_host_in_its_message_and_is_in_the_chain() -> None:
    traced = walk()
    traced.start()
    traced.answered(to("https://b.example.com/"))
    step = traced.failed(HopFailure(Phase.TLS, Failure.CERTIFICATE, 7.0, 100, 50))
    assert step == GaveUp(Verdict.TARGET, "bad_certificate", "hop 2 (b.example.com): the certificate does not verify")
    assert (traced.hops[1].kind, traced.hops[1].status, traced.hops[1].bytes_received) == ("failed", None, 100)


def test_a_trace_out_of_time_records_the_hop_under_way() -> None:
    traced = walk()
    traced.start()
    step = traced.out_of_time(75, HopFailure(Phase.FORWARD, Failure.TIMEOUT, 500.0, 1, 2))
    assert (step.verdict, step.reason) == (Verdict.LIMIT, "trace_timeout")
    assert [hop.kind for hop in traced.hops] == ["failed"]


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_no_location_raises_and_every_fetch_is_plain_ascii(locations: list[bytes]) -> None:
    traced = walk(allow_private=True)
    step: object = traced.start()
    for location in locations:
        if not isinstance(step, Fetch):
            break
        assert step.url.isascii()
        assert " " not in step.url
        assert "#" not in step.url
        step = traced.answered(to(location))
    assert isinstance(step, Fetch | Landed | GaveUp)
