"""The story of a click from the rows and log lines that exist."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.logbook.parse import Line, Splitter
from daemon.logbook.render_story import render_story
from daemon.logbook.story import Story, span, story_of

REQUEST = "6f1c2d3e-8a5b-4c7d-9e0f-112233445566"
AT = datetime(2026, 1, 2, 10, 0, tzinfo=UTC)
ROW: dict[str, Any] = {
    "offer_name": "sale",
    "tracking_url": "https://ads.example/go?c=1",
    "target_country": "us",
    "inbound_params": {"gclid": "x", "tag": ["a", "b"]},
    "ip_assigned": "luna-us-3",
    "ip_locked_at": AT + timedelta(seconds=2),
    "ip_unused_s": 252.4,
    "ip_choices": 28,
    "provider": "luna",
    "status": "completed",
    "verdict": "ok",
    "started_at": AT,
    "completed_at": AT + timedelta(seconds=3.3),
    "final_url": "https://shop.example/?cid=7&gclid=old",
    "extracted_params": {"cid": "7", "gclid": "old"},
    "redirect_chain": [
        {"url": "https://ads.example/go?c=1", "status": 302, "ms": 210.5, "kind": "http", "bytes_received": 1200,
         "bytes_sent": 400},
        {"url": "https://shop.example/?cid=7&gclid=old", "status": 200, "ms": 1089.5, "kind": "final"},
    ],
    "error_message": None,
    "wait_time_ms": 2000,
    "trace_time_ms": 1300,
    "total_time_ms": 3300,
    "retry_count": 0,
    "bytes_received": 6100,
}  # fmt: skip
HIT: dict[str, Any] = {
    "offer_name": "sale",
    "outcome": "resolved",
    "reason": None,
    "location": "https://shop.example/?cid=7&gclid=x&tag=a&tag=b",
    "visitor_address": "192.0.2.7",
    "user_agent": "Browser/1",
    "wait_ms": 3310,
    "created_at": AT + timedelta(seconds=3.31),
}


def log(*lines: dict[str, Any]) -> list[Line]:
    splitter = Splitter()
    return [
        line
        for fields in lines
        for line in splitter.feed(json.dumps({"request_id": REQUEST, **fields}).encode() + b"\n")
    ]


def story(row: dict[str, Any] | None = ROW, hit: dict[str, Any] | None = HIT, *lines: dict[str, Any]) -> Story:
    found = story_of(REQUEST, row, hit, log(*lines))
    assert found is not None
    assert json.dumps(asdict(found))
    return found


def test_without_rows_and_lines_there_is_no_story() -> None:
    assert story_of(REQUEST, None, None, []) is None
    assert story_of(REQUEST, None, None, [Line("Traceback")]) is None


def test_a_resolved_click_is_shown_from_its_rows() -> None:
    assert list(render_story(story())) == [
        f"click {REQUEST} of offer sale, 2026-01-02T10:00:00.000+00:00",
        "  asked      by 192.0.2.7 (Browser/1) with gclid=x, tag=a, tag=b",
        "  IP         luna-us-3 (us, luna), 2.00 s after the click arrived",
        "             of the 28 available IPs this one had rested longest: its last use began 4 min 12 s before",
        "  hop 1      at 0 ms for 210 ms: 302 http, 1.2 KB in, 0.4 KB out: https://ads.example/go?c=1",
        "  hop 2      at 210 ms for 1.09 s: 200 final, 0.0 KB in, 0.0 KB out: https://shop.example/?cid=7&gclid=old",
        "  landed     in 1.30 s for 6.1 KB: https://shop.example/?cid=7&gclid=old",
        "             with cid=7, gclid=old",
        "  added      tag=a, tag=b",
        "  replaced   gclid=x",
        "  answered   resolved after 3.31 s: https://shop.example/?cid=7&gclid=x&tag=a&tag=b",
    ]


def test_a_fallback_at_the_deadline_shows_how_its_trace_ended() -> None:
    location = "https://ads.example/go?c=1&gclid=x"
    hit = {**HIT, "outcome": "fallback", "reason": "deadline", "location": location, "wait_ms": 2300}
    lines = list(render_story(story(hit=hit)))
    assert lines[-4:] == [
        "  added      gclid=x",
        "  fallback   deadline: the trace had begun, but did not end before the deadline",
        "             it landed 1.00 s later",
        f"  answered   fallback after 2.30 s: {location}",
    ]


def test_a_trace_that_is_not_over_is_shown_as_such() -> None:
    row = {**ROW, "status": "processing", "final_url": None, "redirect_chain": None, "extracted_params": None,
           "total_time_ms": None, "trace_time_ms": None, "verdict": None, "completed_at": None}  # fmt: skip
    lines = list(render_story(story(row, None)))
    assert "  trace      not over yet (processing)" in lines
    assert lines[-1] == "  answered   not yet, or no visitor waited for it"


def test_a_failed_trace_shows_its_verdict() -> None:
    row = {**ROW, "status": "failed", "verdict": "ip", "final_url": None,
           "error_message": "hop 1 (ads.example): refused", "retry_count": 2}  # fmt: skip
    lines = list(render_story(story(row)))
    assert "  failed     in 1.30 s for 6.1 KB after 2 retries (the IP's fault): hop 1 (ads.example): refused" in lines


def test_known_ips_tried_exit_address_and_cost_are_shown() -> None:
    row = {**ROW, "ips_tried": ["luna-us-1", "luna-us-3"], "exit_ip": "198.51.100.9", "cost": 0.0000183}
    lines = list(render_story(story(row)))
    assert "             tried one after the other: luna-us-1, luna-us-3" in lines
    assert "             seen by the target as 198.51.100.9" in lines
    assert "  landed     in 1.30 s for 6.1 KB ($0.000018): https://shop.example/?cid=7&gclid=old" in lines


def test_the_country_is_shown_where_there_was_a_choice_or_no_ip() -> None:
    told = {"event": "click", "request_id": REQUEST, "country": "de", "country_by": "header"}
    by_log = story_of(REQUEST, ROW, {**HIT, "country": "de"}, log(told))
    assert by_log is not None
    assert "  country    de: the header click.country_header names it" in list(render_story(by_log))
    by_row = story_of(REQUEST, None, {**HIT, "country": "de"}, ())
    assert by_row is not None
    assert "  country    de" in list(render_story(by_row))
    assert not [line for line in render_story(story(ROW)) if line.startswith("  country")]


def test_a_click_without_an_ip_shows_the_reason() -> None:
    row = {**ROW, "ip_assigned": None, "status": "failed", "final_url": None, "redirect_chain": [], "verdict": None,
           "error_message": "no IP available in us (deadline); the next one in 7 s", "trace_time_ms": None,
           "bytes_received": 0}  # fmt: skip
    hit = {**HIT, "outcome": "fallback", "reason": "no_ip", "location": "https://ads.example/go?c=1"}
    lines = list(render_story(story(row, hit)))
    assert not [line for line in lines if line.startswith("  IP")]
    assert "  failed     no IP available in us (deadline); the next one in 7 s" in lines
    assert "  fallback   no_ip: no IP of the country became available in time" in lines


@pytest.mark.parametrize(
    ("unused_s", "choices", "why"),
    [
        (None, 3, "of the 3 available IPs, those that were never used come first"),
        (None, 1, "the only available IP; the IP had never been used"),
        (70.0, 1, "the only available IP; its last use began 1 min 10 s before"),
        (None, None, "why this IP was chosen is not recorded"),
    ],
)
def test_why_an_ip_was_chosen(unused_s: float | None, choices: int | None, why: str) -> None:
    found = story({**ROW, "ip_unused_s": unused_s, "ip_choices": choices})
    assert found.chosen is not None
    assert found.chosen.why == why


def test_the_log_supplies_facts_that_no_row_has() -> None:
    click = {"event": "click", "ts": "2026-01-02T10:00:09Z", "offer": "sale", "outcome": "fallback",
             "reason": "overload", "wait_ms": 3.1, "location": "https://ads.example/go?c=1",
             "visitor": "192.0.2.7"}  # fmt: skip
    traced = {"event": "trace", "offer": "sale", "country": "us", "ip": "luna-us-3:7000", "lease_no": 12,
              "unused_s": 70.5, "choices": 4, "status": "completed", "verdict": "ok",
              "wait_ms": 2.5, "trace_ms": 900.0}  # fmt: skip
    found = story(None, None, click, traced)
    assert found.chosen is not None
    assert (found.chosen.ip, found.chosen.lease_no, found.chosen.choices) == ("luna-us-3:7000", 12, 4)
    assert found.answered is not None
    assert (found.answered.outcome, found.answered.reason, found.answered.added) == ("fallback", "overload", {})
    assert len(found.log) == 2
    assert next(iter(render_story(found))) == f"click {REQUEST} of offer sale, 2026-01-02T10:00:09Z"
    assert "its lease 12" in "\n".join(render_story(found))


def test_refused_and_left_clicks_are_only_in_the_log() -> None:
    refused = {"event": "click_refused", "ts": "2026-01-02T10:00:09Z", "status": 404, "offer": "nope"}
    assert list(render_story(story(None, None, refused))) == [
        f"click {REQUEST} of offer nope, 2026-01-02T10:00:09Z",
        "  refused    404: no active offer has that name",
    ]
    left = {"event": "click", "ts": "2026-01-02T10:00:09Z", "offer": "sale", "outcome": "left", "wait_ms": 1500.0,
            "location": ""}  # fmt: skip
    assert list(render_story(story(None, None, left)))[-1] == (
        "  left       the visitor closed the connection after 1.50 s, before there was an answer"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_600, "1 h"),
        (90_061, "1 d 1 h"),
        (252.4, "4 min 12 s"),
    ],
)
def test_a_span_has_two_units_at_most(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_page_that_may_go_on_says_what_found_that_out_and_why() -> None:
    chain = [
        {"url": "https://ads.example/go", "status": 200, "ms": 9.0, "kind": "script", "tier": "engine", "why": None},
        {"url": "https://b.example/", "status": 200, "ms": 9.0, "kind": "script_unresolved", "tier": "engine",
         "why": "fetch, and more"},
    ]  # fmt: skip
    story = story_of(REQUEST, {**ROW, "redirect_chain": chain}, None, [])
    assert story is not None
    lines = list(render_story(story))
    assert "  hop 1      at 0 ms for 9 ms: 200 script (engine), 0.0 KB in, 0.0 KB out: https://ads.example/go" in lines
    assert "             where the page goes on is not certain: fetch, and more" in lines


def test_a_hop_of_the_browser_says_why_the_browser_was_used() -> None:
    hop = {"url": "https://b.example/", "status": 200, "ms": 9.0, "kind": "script", "tier": "browser", "why": "fetch"}
    story = story_of(REQUEST, {**ROW, "redirect_chain": [hop]}, None, [])
    assert story is not None
    lines = list(render_story(story))
    assert "             why the browser: fetch" in lines
    assert not [line for line in lines if "not certain" in line]


def test_a_click_without_a_trace_arrived_before_its_answer_by_its_wait() -> None:
    hit = {**HIT, "kind": "preview", "outcome": "fallback", "reason": "preview"}
    assert story(None, hit).received_at == "2026-01-02T10:00:00.000+00:00"
    assert story(None, {**hit, "wait_ms": None}).received_at == "2026-01-02T10:00:03.310+00:00"


def test_a_repeat_is_told_as_one() -> None:
    said = "  repeat     the same click again: it got the answer of the first one, and used no IP"
    assert said in render_story(story(None, {**HIT, "kind": "repeat"}))
    assert said not in render_story(story(None, HIT))
