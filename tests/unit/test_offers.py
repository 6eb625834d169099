"""The cache of offers: what it takes from rows, and what it says of those that it cannot use."""

from typing import Any
from uuid import uuid4

import pytest

from daemon.click.offers import RUNNING_SCHEMES, Offers


def row(name: str = "summer-sale", **values: Any) -> dict[str, Any]:
    common = {
        "id": uuid4(),
        "offer_name": name,
        "final_url": "https://ads.example/go",
        "target_country": "us",
        "deadline_s": None,
        "user_agent": "default",
        "landing_schemes": [],
    }
    return {**common, **values}


def test_an_offer_is_found_by_its_exact_name() -> None:
    offers = Offers()
    one = row(deadline_s=4.5, user_agent="visitor", target_country="UK")
    assert offers.replace([one]) == []
    found = offers.find("summer-sale")
    assert found is not None
    assert (found.id, found.tracking_url, found.country) == (one["id"], "https://ads.example/go", "UK")
    assert (found.deadline_s, found.user_agent) == (4.5, "visitor")
    assert offers.find("Summer-Sale") is offers.find("summer-sale ") is offers.find("") is None


def test_rows_replace_all_that_was_known() -> None:
    offers = Offers()
    offers.replace([row("a"), row("b")])
    offers.replace([row("b", final_url="https://other.example/")])
    assert len(offers) == 1
    found = offers.find("b")
    assert found is not None
    assert found.tracking_url == "https://other.example/"


@pytest.mark.parametrize(
    "url", ["", "ads.example/go", "javascript:alert(1)", "ftp://ads.example/", "https://", "//a.example/"]
)
def test_an_offer_without_a_usable_url_is_left_out_and_named(url: str) -> None:
    offers = Offers()
    [complaint] = offers.replace([row("bad", final_url=url), row("good")])
    assert complaint.startswith("offer 'bad': ")
    assert "404" in complaint
    assert offers.find("bad") is None
    assert offers.find("good") is not None


def test_a_complaint_does_not_break_the_log_line() -> None:
    [complaint] = Offers().replace([row("a\r\nb", final_url="\r\n")])
    assert "\n" not in complaint


def test_landing_schemes_are_compared_in_lower_case_and_never_run_code() -> None:
    offers = Offers()
    offers.replace([row(landing_schemes=["Market", "JavaScript", "DATA", "intent"])])
    found = offers.find("summer-sale")
    assert found is not None
    assert found.landing_schemes == {"market", "intent"}
    assert not found.landing_schemes & RUNNING_SCHEMES
