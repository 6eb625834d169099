"""What entries have of a person: how it is found, and that nothing of it stays."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.control.forget import request_of
from daemon.errors import BadInput
from daemon.journal.personal import Kind, blank_url, blanked, click_ids_in, is_about, pattern_of, person_of

ID = "EAIaIQobChMI-7_x"
HIT: dict[str, Any] = {
    "request_id": "6f1c2d3e-8a5b-4c7d-9e0f-112233445566", "offer_id": "1f1c2d3e-8a5b-4c7d-9e0f-112233445566",
    "offer_name": "sale", "outcome": "resolved", "reason": None, "location": f"https://shop.example/a?gclid={ID}&mail=x",
    "visitor_address": "203.0.113.77", "user_agent": "Mozilla", "referrer": "https://news.example/anna", "wait_ms": 7,
    "answered_at": 1.5, "kind": "click", "click_id": ID,
}  # fmt: skip
TRACE: dict[str, Any] = {
    "request_id": HIT["request_id"], "status": "completed", "final_url": "https://shop.example/a?x=1",
    "extracted_params": {"x": ["1", "2"]}, "error_message": None, "trace_time_ms": 5, "bytes_received": 9,
    "redirect_chain": [
        {"url": f"https://ads.example/c/{ID}/z", "status": 302, "ms": 1.0, "kind": "location"},
        {"url": f"https://net.example/r?to=https%3A%2F%2Fshop.example%2Fa%3Fgclid%3D{quote(ID)}", "status": 200},
    ],
}  # fmt: skip


def about(body: dict[str, Any], kind: Kind, value: str) -> bool:
    return is_about(body, [person_of("visitor", "192.0.2.1"), person_of(kind, value)])


def test_a_hit_is_found_by_its_visitor_and_by_its_click_id() -> None:
    assert about(HIT, "visitor", "203.0.113.77")
    assert not about(HIT, "visitor", "203.0.113.7")
    assert about(HIT, "click_id", ID)
    assert about(HIT | {"click_id": None}, "click_id", ID), "by the URL"
    assert not about(HIT, "click_id", ID[:-1])
    assert not about(HIT, "click_id", "203.0.113.77")


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_chain": TRACE["redirect_chain"][:1]},
        {"redirect_chain": TRACE["redirect_chain"][1:]},
        {"redirect_chain": (), "extracted_params": {"sub1": ID}},
        {"redirect_chain": (), "inbound_params": {"a": ["b", ID]}},
        {"redirect_chain": (), "final_url": f"https://shop.example/#/a?gclid={ID}"},
        {"redirect_chain": (), "final_url": f"https://shop.example/a;jsessionid={ID}"},
        {"redirect_chain": (), "final_url": f"intent://a/b?x={ID}#Intent;scheme=shop;S.gclid=1;end"},
        {"redirect_chain": None, "tracking_url": f"https://ads.example/c?k=a&u=1&click={ID}"},
    ],
)
def test_a_trace_is_found_by_a_click_id_in_any_of_its_urls(changed: dict[str, Any]) -> None:
    assert about(TRACE | changed, "click_id", ID)
    assert not about(TRACE | {"redirect_chain": ()}, "click_id", ID)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=4, max_size=60))
def test_any_click_id_is_found_however_a_url_encodes_it(value: str) -> None:
    for safe in ("", "/:-._~"):
        url = f"https://shop.example/a?b=c&id={quote(value, safe=safe)}"
        assert value in click_ids_in({"location": url})
        assert pattern_of(value)[1:-1].replace("\\", "") in url, "SQL finds the row"
    params = {"inbound_params": {"id": value}}
    assert value in click_ids_in(params)


def test_nothing_of_the_person_stays_and_all_figures_do() -> None:
    for body in (HIT, TRACE, TRACE | {"inbound_params": {"gclid": ID}, "tracking_url": f"https://ads.example/?g={ID}"}):
        left = json.dumps(blanked(body))
        for personal in (ID, quote(ID), "203.0.113.77", "Mozilla", "anna", "mail", "x=1"):
            assert personal not in left
        assert list(blanked(body)) == list(body)
    hit, trace = blanked(HIT), blanked(TRACE)
    assert hit["location"] == trace["final_url"] == "https://shop.example/"
    assert (hit["offer_name"], hit["wait_ms"], trace["bytes_received"]) == ("sale", 7, 9)
    assert [hop["url"] for hop in trace["redirect_chain"]] == ["https://ads.example/", "https://net.example/"]
    assert blanked(HIT | {"offer_id": None})["offer_name"] == "", "the link had this name"
    assert blanked(trace) == trace


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("https://anna:pw@Shop.example:8443/a?b#c", "https://shop.example:8443/"),
        ("market://details?id=shop&referrer=x", "market://details/"),
        ("mailto:anna@example.org", "mailto:"),
        ("no url at all", ""),
        ("", ""),
    ],
)
def test_a_blanked_url_is_its_origin(url: str, left: str) -> None:
    assert blank_url(url) == left


@pytest.mark.parametrize(
    ("visitor", "click_id"),
    [
        (None, None),
        ("203.0.113.7", "abcd"),
        ("somebody", None),
        ("203.0.0.0/16", None),
        ("203.0.113.7/24", None),
        ("", None),
        (None, "abc"),
        (None, "   a  "),
        (None, "x" * 2_001),
        (None, "abcd\0"),
    ],
)
def test_whom_to_forget_must_be_clear(visitor: str | None, click_id: str | None) -> None:
    with pytest.raises(BadInput):
        request_of(visitor, click_id)


def test_the_action_log_does_not_name_the_person() -> None:
    assert request_of(" 203.0.113.7 ", None).subject == "visitor 203.0.113.0/24"
    assert request_of("2001:DB8:0:0::7", None).subject == "visitor 2001:db8::/48"
    assert request_of("::ffff:203.0.113.7", None).value == "203.0.113.7"
    assert request_of("203.0.113.0/24", None).value == "203.0.113.0/24"
    subject = request_of(None, ID).subject
    assert ID not in subject
    assert len(subject) == len("click id sha256:") + 12
