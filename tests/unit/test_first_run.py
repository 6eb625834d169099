"""The first steps of a new installation: three, in order, ticked as they are done."""

from typing import Any

import pytest

from daemon.maintenance.first_run import FirstRun, Installation, first_run


def steps_of(**found: Any) -> FirstRun | None:
    before: dict[str, Any] = {
        "ips": {}, "offers": {}, "offers_in_all": 0, "has_clicks": False, "clicks": 0, "click_bind": "0.0.0.0:8080"
    }  # fmt: skip
    return first_run(Installation(**{**before, **found}))


def test_an_empty_installation_begins_with_ips() -> None:
    found = steps_of()
    assert found is not None
    assert [(step.key, step.done) for step in found.steps] == [("ips", False), ("offer", False), ("ad", False)]
    assert found.next.command == "tracepool provision import ips.csv --country us"
    assert found.lines() == [
        "first steps:",
        "  [ ] 1. Import IPs: a list of proxies, or sessions of a gateway",
        "         tracepool provision import ips.csv --country us",
        "  [ ] 2. Add an offer: what the ad leads to",
        "         tracepool offers add winter-sale 'https://ads.example/click?id=42' --country us",
        "  [ ] 3. Point the ad here: its link is https://YOUR-HOST/track-hit?offer=winter-sale; this is a first click "
        "by hand",
        "         curl -i 'http://127.0.0.1:8080/track-hit?offer=winter-sale'",
    ]


def test_what_is_done_is_ticked_and_the_next_step_fits_it() -> None:
    found = steps_of(ips={"us": 2, "de": 20})
    assert found is not None
    ips, offer, _ = found.steps
    assert (ips.done, ips.count, ips.detail) == (True, 22, "22 IPs in de, us")
    assert found.next is offer
    assert offer.command.endswith("--country de")
    found = steps_of(ips={"de": 20}, offers={"de": ("a & b",)}, offers_in_all=2)
    assert found is not None
    assert found.next.key == "ad"
    assert "/track-hit?offer=a%20%26%20b'" in found.next.command
    assert found.steps[1].detail == "1 of 2 offers are active"
    only_offer = steps_of(offers={"fr": ("boots",)}, offers_in_all=1)
    assert only_offer is not None
    assert only_offer.next.command.endswith("--country fr")


@pytest.mark.parametrize("clicked", [{"has_clicks": True}, {"clicks": 3}])
def test_an_installation_that_works_has_no_first_steps(clicked: dict[str, Any]) -> None:
    assert steps_of(ips={"us": 1}, offers={"us": ("a",)}, offers_in_all=1, **clicked) is None
    assert steps_of(ips={"us": 1}, offers_in_all=1, **clicked) is None, "a night with all offers paused"
    emptied = steps_of(offers={"us": ("a",)}, offers_in_all=1, **clicked)
    assert emptied is not None
    assert emptied.next.key == "ips"


@pytest.mark.parametrize(
    ("bind", "command"),
    [
        ("[::]:80", "curl -i 'http://127.0.0.1:80/track-hit?offer=winter-sale'"),
        ("10.0.0.7:8080", "curl -i 'http://10.0.0.7:8080/track-hit?offer=winter-sale'"),
        ("unix:/run/clicks", "curl -i --unix-socket /run/clicks 'http://localhost/track-hit?offer=winter-sale'"),
    ],
)
def test_the_first_click_goes_where_the_daemon_listens(bind: str, command: str) -> None:
    found = steps_of(click_bind=bind)
    assert found is not None
    assert found.steps[2].command == command
