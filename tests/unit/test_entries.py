"""Encoded entries: JSON with the same values that jsonb accepts."""

import json
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from daemon.journal.entries import (
    KINDS,
    Entry,
    Hit,
    IpChanged,
    IpGiven,
    IpTraffic,
    TraceFinished,
    TracePending,
    TraceProcessing,
    TraceQueued,
    encode,
)

REQUEST, OFFER, IP = UUID(int=1), UUID(int=2), UUID(int=3)
HOP = {"url": "https://offer.example/?a=1", "status": 302, "ms": 12.5, "kind": "redirect"}

IP_CHANGED = IpChanged(IP, "lease", "locked", 1.7e9 + 0.125, REQUEST, 1.7e9, 0, True, 321.5, None, 9, 4, 1, 0, 0)
PENDING = TracePending(
    REQUEST, OFFER, "https://offer.example/?ä=ö", "us", {"gclid": "x", "n": ["1", "2"], "empty": ""}, 1.7e9, 1.7e9 + 75
)
QUEUED = TraceQueued(
    REQUEST, OFFER, "https://offer.example/?ä=ö", "us", {"gclid": "x"}, 1, 1.7e9, 1.7e9 + 3600, {"user_agent": "agent"}
)
PROCESSING = TraceProcessing(REQUEST, "192.0.2.1", 1.7e9, 12)
FINISHED = TraceFinished(
    REQUEST, "completed", 1.7e9, "https://shop.example/", {"a": "1"}, (HOP, HOP), None, 900, 1000, 0, 4096
)
HIT = Hit(
    REQUEST, OFFER, "summer-sale", "resolved", None, "https://shop.example/?a=1", "192.0.2.7", "agent", None, 950, 1.7e9
)
ENTRIES: list[Entry] = [
    IP_CHANGED,
    IpGiven(IP, OFFER, 4),
    PENDING,
    QUEUED,
    PROCESSING,
    FINISHED,
    IpTraffic(IP, 4096, 512),
    HIT,
]


def as_json(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def decoded(entry: Entry) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(entry)[1], parse_constant=lambda name: pytest.fail(f"jsonb has no {name}"))
    return body


def test_every_entry_has_a_kind_of_its_own() -> None:
    assert set(KINDS) == set(get_args(Entry)) == {type(entry) for entry in ENTRIES}
    assert len(set(KINDS.values())) == len(KINDS)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: KINDS[type(entry)])
def test_an_entry_reads_back_as_it_was(entry: Entry) -> None:
    kind, _ = encode(entry)
    assert kind == KINDS[type(entry)]
    assert decoded(entry) == {name: as_json(value) for name, value in asdict(entry).items()}


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\\u0000 and \\ud800 spelled out", "\\u0000 and \\ud800 spelled out"),
        ("😀 \ud7ff \ue000", "😀 \ud7ff \ue000"),
        ("NaN, Infinity", "NaN, Infinity"),
    ],
)
def test_what_jsonb_refuses_in_text_is_replaced_and_nothing_else(written: str, stored: str) -> None:
    assert decoded(replace(HIT, user_agent=written))["user_agent"] == stored
    pending = decoded(replace(PENDING, inbound_params={written: [written, "b"], "c": written}))
    assert pending["inbound_params"] == {stored: [stored, "b"], "c": stored}
    hop = {**HOP, "url": written}
    assert decoded(replace(FINISHED, redirect_chain=(hop,)))["redirect_chain"] == [{**HOP, "url": stored}]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_becomes_null(number: float) -> None:
    assert decoded(replace(IP_CHANGED, avg_response_time_ms=number))["avg_response_time_ms"] is None
    assert decoded(replace(FINISHED, redirect_chain=({"ms": number},)))["redirect_chain"] == [{"ms": None}]


@given(text=st.text(st.characters(exclude_categories=())), number=st.floats())
def test_whatever_is_encoded_can_be_stored(text: str, number: float) -> None:
    hit = replace(HIT, user_agent=text, answered_at=number)
    encode(hit)[1].encode("utf-8")
    body = decoded(hit)
    assert "\0" not in body["user_agent"]
    body["user_agent"].encode("utf-8")  # raises at a lone surrogate


class DriversUUID(UUID):
    """As asyncpg makes them of rows."""


def test_a_drivers_own_uuids_are_encoded_like_any_other() -> None:
    assert decoded(replace(IP_CHANGED, id=DriversUUID(str(IP_CHANGED.id)))) == decoded(IP_CHANGED)
