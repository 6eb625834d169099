"""The log read again: splitting any bytes into lines, filtering lines, rendering lines."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import BadInput
from daemon.logbook.filter import Selection, since_of
from daemon.logbook.parse import CUT_BYTES, LINE_BYTES_MAX, Line, Splitter
from daemon.logbook.render_line import render_line
from daemon.printable import one_line

NOW = datetime(2026, 1, 2, 10, 0, tzinfo=UTC)
REQUEST = "6f1c2d3e-8a5b-4c7d-9e0f-112233445566"
CLICK = {
    "event": "click",
    "level": "info",
    "ts": "2026-01-02T10:00:00.123456Z",
    "request_id": REQUEST,
    "offer": "sale",
    "outcome": "fallback",
    "reason": "deadline",
    "ip": "192.0.2.7",
    "wait_ms": 9960.4,
    "location": "https://ads.example/?gclid=1",
}
TRACE = {
    "event": "trace",
    "level": "info",
    "ts": "2026-01-02T10:00:02Z",
    "request_id": REQUEST,
    "offer": "sale",
    "country": "us",
    "ip": "192.0.2.7:7000",
    "status": "failed",
    "verdict": "ip",
    "error": "hop 1: the proxy's port refuses connections",
    "hops": 1,
    "trace_ms": 12.5,
    "bytes_received": 31_234,
}


def read(*pieces: bytes) -> list[Line]:
    splitter = Splitter()
    return [line for piece in pieces for line in splitter.feed(piece)] + list(splitter.end())


def line(fields: dict[str, Any], **changes: Any) -> Line:
    [found] = read(json.dumps({**fields, **changes}).encode())
    return found


# lines


@given(st.lists(st.binary(max_size=60)), st.data())
def test_the_pieces_of_a_stream_do_not_change_its_lines(raw: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join(raw)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*pieces) == read(stream)


@given(st.binary())
def test_any_bytes_give_lines_that_can_be_written_as_json(raw: bytes) -> None:
    for found in read(raw):
        assert isinstance(json.loads(found.as_json()), dict)
        assert "\n" not in found.as_json()
        assert render_line(found)


def test_a_line_of_ours_is_passed_on_as_it_is() -> None:
    text = json.dumps(CLICK)
    [found] = read(text.encode() + b"\r\n")
    assert found.as_json() == text
    assert found.at_s == datetime(2026, 1, 2, 10, 0, 0, 123456, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "raw", [b"Traceback (most recent call last):", b'{"event": "cl', b"[1]", b"3", b"\xff\xfe", b"[" * 100_000]
)
def test_text_that_is_not_a_json_object_is_kept(raw: bytes) -> None:
    [found] = read(raw)
    assert not found.is_ours
    assert json.loads(found.as_json()) == {"event": "not_json", "text": raw.decode("utf-8", "replace")}


@pytest.mark.parametrize("ts", [None, 5, "yesterday", "9999-99-99", ["2026"]])
def test_a_line_without_a_readable_time_has_none(ts: object) -> None:
    assert line(CLICK, ts=ts).at_s is None


def test_a_huge_line_is_cut_and_the_next_one_is_whole() -> None:
    found = read(b"x" * (LINE_BYTES_MAX // 2), b"y" * LINE_BYTES_MAX, b"z" * LINE_BYTES_MAX + b"\n", b'{"a": 1}\n')
    assert [(one.is_cut, len(one.text)) for one in found] == [(True, CUT_BYTES), (False, 8)]
    assert json.loads(found[0].as_json())["event"] == "line_too_long"
    splitter = Splitter()
    for _ in range(50):
        assert list(splitter.feed(b"x" * 100_000)) == []
    assert len(splitter._rest) <= LINE_BYTES_MAX


def test_blank_lines_are_skipped() -> None:
    assert read(b"\n  \n\r\n\n") == []


# selection


def matches(given: Selection, *lines: Line) -> list[bool]:
    wants = given.wanted()
    return [wants(one) for one in lines]


def test_without_conditions_everything_is_wanted() -> None:
    assert matches(Selection(), line(CLICK), Line("Traceback")) == [True, True]


@pytest.mark.parametrize(
    ("condition", "fields", "wanted"),
    [
        ({"outcome": "fallback"}, CLICK, True),
        ({"outcome": "resolved"}, CLICK, False),
        ({"outcome": "fallback"}, TRACE, False),
        ({"outcome": "refused"}, {"event": "click_refused", "status": 404}, True),
        ({"outcome": "refused"}, CLICK, False),
        ({"offer": "sale"}, TRACE, True),
        ({"offer": "sal"}, TRACE, False),
        ({"ip": "192.0.2.7"}, TRACE, True),
        ({"ip": "192.0.2.7:7000"}, TRACE, True),
        ({"ip": "192.0.2.7:7000"}, CLICK, True),
        ({"ip": "192.0.2.7:7001"}, TRACE, False),
        ({"ip": "192.0.2.70"}, TRACE, False),
        ({"ip": "192.0.2.8"}, {"event": "ips_unhealthy", "ips": [3, "192.0.2.8:7000"]}, True),
        ({"ip": "2001:db8::1"}, {"event": "trace", "ip": "2001:db8::1:7000"}, True),
        ({"ip": "2001:db8::1"}, {"event": "trace", "ip": "[2001:db8::1]:7000"}, True),
        ({"ip": "[2001:db8::1]:7000"}, {"event": "trace", "ip": "[2001:db8::1]:7000"}, True),
        ({"node": "web-2"}, {**CLICK, "node": "web-2"}, True),
        ({"node": "web-2"}, {**CLICK, "node": "web-20"}, False),
        ({"node": "web-2"}, CLICK, False),
        ({"request": REQUEST}, CLICK, True),
        ({"request": REQUEST.replace("-", "").upper()}, CLICK, True),
        ({"request": REQUEST[:6]}, TRACE, True),
        ({"request": "0" + REQUEST[1:]}, TRACE, False),
        ({"request": REQUEST}, {"event": "started"}, False),
        ({"offer": "sale", "outcome": "fallback", "ip": "192.0.2.7"}, CLICK, True),
        ({"offer": "sale", "outcome": "fallback", "ip": "192.0.2.9"}, CLICK, False),
    ],
)
def test_a_condition_is_met_or_not(condition: dict[str, Any], fields: dict[str, Any], wanted: bool) -> None:
    assert matches(Selection(**condition), line(fields)) == [wanted]


@pytest.mark.parametrize("condition", [{"outcome": "fallback"}, {"offer": "sale"}, {"ip": "a"}, {"request": "6f1c"}])
def test_a_line_of_another_program_meets_no_condition(condition: dict[str, Any]) -> None:
    assert matches(Selection(**condition), Line("Traceback")) == [False]


def test_a_line_without_a_time_counts_as_the_line_before_it() -> None:
    early, late = line(CLICK), line(CLICK, ts="2026-01-02T11:00:00Z")
    since = Selection(since_s=NOW.timestamp() + 60)
    assert matches(since, Line("?"), early, Line("Traceback"), late, Line("Traceback")) == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_an_unknown_outcome_is_refused_and_the_allowed_ones_are_named() -> None:
    with pytest.raises(BadInput, match="allowed: resolved, fallback, left, refused"):
        Selection(outcome="lost")


@pytest.mark.parametrize(
    ("text", "ago_s"), [("90s", 90), ("10m", 600), (" 1.5h ", 5400), ("2d", 172_800), ("1w", 604_800), ("0s", 0)]
)
def test_a_span_counts_back_from_now(text: str, ago_s: float) -> None:
    assert since_of(text, NOW) == NOW.timestamp() - ago_s


def test_a_time_without_a_zone_is_local() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=2)))
    assert since_of("2026-01-02T12:00", local) == NOW.timestamp()
    assert since_of("2026-01-02T10:00Z", local) == NOW.timestamp()
    assert since_of("2026-01-02", NOW) == NOW.timestamp() - 36_000


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "10 minutes ago", "1e3s", "99999999999h", "2026-13-01"])
def test_text_that_is_neither_span_nor_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadInput, match="such as 90s, 10m"):
        since_of(text, NOW)


# rendering


def text_of(fields: dict[str, Any]) -> str:
    return "".join(text for text, _ in render_line(line(fields)))


def test_a_click_is_one_line_with_what_matters() -> None:
    assert text_of(CLICK) == (
        "01-02 10:00:00.123  click     sale  fallback deadline  9.96 s  192.0.2.7  → https://ads.example/?gclid=1  "
        + REQUEST
    )


def test_a_trace_is_one_line_with_its_verdict() -> None:
    assert text_of(TRACE) == (
        "01-02 10:00:02  trace     sale  failed ip  us 192.0.2.7:7000  1 hops in 12 ms, 31.2 KB  "
        f'"hop 1: the proxy\'s port refuses connections"  {REQUEST}'
    )


def test_of_several_processes_each_line_names_its_own() -> None:
    shown = "01-02 10:00:00.123  click     web-2  sale  fallback deadline"
    assert text_of({**CLICK, "node": "web-2"}).startswith(shown)


def test_outcomes_have_colours() -> None:
    for outcome, colour in (("resolved", "green"), ("fallback", "yellow"), ("left", "dim")):
        assert (f"  {outcome}", colour) in render_line(line(CLICK, outcome=outcome))


def test_a_refused_click_shows_the_reason() -> None:
    refused = {"event": "click_refused", "level": "info", "ts": CLICK["ts"], "request_id": REQUEST}
    assert "404 no active offer nope" in text_of({**refused, "status": 404, "offer": "nope"})
    assert '400 "offer parameter is required"' in text_of(
        {**refused, "status": 400, "error": "offer parameter is required"}
    )


def test_any_other_line_shows_its_fields_and_the_error_of_a_traceback() -> None:
    traceback = 'Traceback:\n  File "/x/daemon/a.py", line 7, in f\n    g()\nValueError: no such thing\n'
    fields = {"event": "boom", "level": "error", "ts": CLICK["ts"], "a": 1, "b": None, "exception": traceback}
    assert text_of(fields) == (
        '01-02 10:00:00.123  boom      a=1 exception="ValueError: no such thing" at=/x/daemon/a.py:7'
    )
    group = "  + Exception Group Traceback\n  | ExceptionGroup: x\n  +-+- 1 ---\n    | KeyError: 'y'\n    +----\n"
    assert text_of({**fields, "exception": group}).endswith("exception=\"KeyError: 'y'\"")
    assert (f"  {'boom':<9}", "bold red") in render_line(line(fields))


@given(
    st.dictionaries(st.sampled_from([*CLICK, *TRACE, "x"]), st.none() | st.text() | st.integers() | st.lists(st.text()))
)
def test_a_line_of_ours_with_any_fields_can_be_rendered(fields: dict[str, Any]) -> None:
    for event in ("click", "trace", "click_refused", "other"):
        assert render_line(line({**fields, "event": event}))


FORGED = "x\n01-02 10:00:00.123  audit     who=root ip=9.9.9.9"


@pytest.mark.parametrize("event", ["click", "trace", "click_refused", "audit", FORGED])
def test_a_value_looks_neither_like_a_line_nor_like_another_value(event: str) -> None:
    texts = dict.fromkeys([*CLICK, *TRACE, "error", "who", "what", FORGED], FORGED)
    written = one_line(text_of({**texts, "event": event, "level": "info", "ips": [FORGED, "1.2.3.4:70"]}))
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", written)
    assert "9.9.9.9" not in outside
    assert "who=root" not in outside
    assert "123  audit" not in written, "blanks after a blank are escaped"


def test_a_line_of_another_program_stands_where_no_time_is() -> None:
    [forged] = Splitter().feed(b"01-02 10:00:00.123  audit     who=root\n")
    assert "".join(text for text, _ in render_line(forged)) == " " * 20 + "01-02 10:00:00.123  audit     who=root"
