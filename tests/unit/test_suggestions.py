"""Suggestions of a stop_at from past traces, and the reasons for none."""

import pytest

from daemon.cli.offers import registrable
from daemon.offers.suggestions import PastTraces, Suggestion, Walked, suggested
from daemon.web.headers import is_host_in

ADS, SHOP, WWW = "ads.example", "shop.example", "www.shop.example"


def walked(*hosts: str | None, traces: int = 30, ms: float | None = 100.0, **values: object) -> Walked:
    """Traces over these hosts, the last of them the landing page."""
    common = {"landing": hosts[-1], "hosts": hosts, "fetched": True, "same_page": False, "traces": traces, "ms": ms}
    return Walked(**{"bytes": 10 * (ms or 0), **common, **values})  # type: ignore[arg-type]


def judged(*traces: Walked, stop_at: tuple[str, ...] = (), traces_min: int = 20) -> Suggestion:
    return suggested(PastTraces("sale", stop_at, traces), 7, traces_min, registrable)


def test_one_site_is_proposed_with_what_it_saves_on_average() -> None:
    found = judged(walked(ADS, "t.example", WWW, traces=30, ms=100), walked(ADS, SHOP, traces=10, ms=300))
    assert found == Suggestion("sale", (SHOP,), 40, saves_ms=150, saves_bytes=1500)


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("www.shop.co.uk", "shop.co.uk"),
        ("shop.co.uk", "shop.co.uk"),
        ("co.uk", None),
        ("one.github.io", "one.github.io"),
        ("www.xn--r8jz45g.jp", "xn--r8jz45g.jp"),
        ("127.0.0.1", "127.0.0.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("localhost", None),
        ("a.b.shop.example", "shop.example"),
    ],
)
def test_a_site_is_what_one_party_registered(host: str, site: str | None) -> None:
    assert registrable(host) == site


@pytest.mark.parametrize(
    ("traces", "why"),
    [
        ([], "0 completed traces in 7 days: at least 20 are needed"),
        ([walked(ADS, WWW, traces=19)], "19 completed traces in 7 days: at least 20 are needed"),
        (
            [walked(ADS, WWW), walked(ADS, "shop.test", traces=1)],
            "its traces landed on 2 sites: shop.example (30), shop.test (1)",
        ),
        ([walked(ADS, "a.github.io"), walked(ADS, "b.github.io", traces=1)], "its traces landed on 2 sites"),
        (
            [walked(ADS, f"s{n}.example") for n in range(6)],
            "s0.example (30), s1.example (30), s2.example (30), s3.example (30), s4.example (30), …",
        ),
        ([walked(ADS, WWW), walked(ADS, None, traces=2)], "2 of 32 traces landed outside http and https"),
        ([walked(ADS, "co.uk")], "co.uk is a public suffix"),
        ([walked(WWW)], "its tracking URL is the landing page: there is no hop to save"),
        # the chain passes the landing page's own site
        (
            [walked(ADS, WWW, "t.example", WWW, traces=10), walked(ADS, WWW)],
            "10 of 40 traces pass shop.example on their way to the landing page",
        ),
        ([walked(ADS, WWW, WWW)], "30 of 30 traces pass shop.example on their way"),
    ],
)
def test_nothing_is_proposed_where_a_trace_could_end_elsewhere(traces: list[Walked], why: str) -> None:
    found = judged(*traces)
    assert found.stop_at is None
    assert found.why_not is not None
    assert why in found.why_not


def test_landing_hosts_alone_are_proposed_where_the_chain_passes_another_host_of_the_site() -> None:
    found = judged(walked(ADS, "go.shop.example", WWW), walked(ADS, "m.shop.example"))
    assert found.stop_at == ("m.shop.example", WWW)


def test_a_tracking_url_on_the_landing_site_is_no_redirect_to_it() -> None:
    assert judged(walked("go.shop.example", ADS, WWW)).stop_at == (SHOP,)
    assert judged(walked("go.shop.example", "go.shop.example", WWW)).stop_at == (WWW,)


def test_a_page_that_is_only_named_anew_may_be_left_to_the_visitors_browser() -> None:
    assert judged(walked(ADS, SHOP, WWW, same_page=True)).stop_at == (SHOP,)
    assert judged(walked(ADS, SHOP, SHOP, WWW, same_page=True)).stop_at == (WWW,)


def test_what_an_offer_has_already_is_not_proposed_again() -> None:
    stopped = walked(ADS, "t.example", landing=WWW, fetched=False)
    why = judged(stopped, stop_at=(SHOP,)).why_not
    assert why == "its stop_at has shop.example already"
    assert judged(walked(ADS, WWW), stop_at=("other.example",)).stop_at == (SHOP,)


def test_figures_that_are_not_known_are_not_made_up() -> None:
    found = judged(walked(ADS, WWW, bytes=None), walked(ADS, WWW, bytes=None, ms=None))
    assert (found.stop_at, found.saves_ms, found.saves_bytes) == ((SHOP,), 100, None)
    assert judged(walked(ADS, landing=WWW, fetched=False)).saves_ms is None


def test_a_host_covers_itself_and_those_below_it() -> None:
    assert is_host_in(SHOP, (SHOP,))
    assert is_host_in("a.b.shop.example", (SHOP,))
    assert not is_host_in("myshop.example", (SHOP,))
    assert not is_host_in(SHOP, (WWW,))
    assert not is_host_in(SHOP, ())
