"""Entries of the journal, with values that a test may replace."""

from typing import Any
from uuid import UUID, uuid4

from daemon.journal.entries import Hit, IpChanged, TraceFinished, TracePending, TraceProcessing

AT = 1_700_000_000.0


def hit(**values: Any) -> Hit:
    common: dict[str, Any] = {
        "request_id": uuid4(),
        "offer_id": uuid4(),
        "offer_name": "summer-sale",
        "outcome": "resolved",
        "reason": None,
        "location": "https://shop.example/?gclid=1",
        "visitor_address": "192.0.2.7",
        "user_agent": "Browser/1",
        "referrer": None,
        "wait_ms": 1234,
        "answered_at": AT,
    }
    return Hit(**{**common, **values})


def pending(request_id: UUID, **values: Any) -> TracePending:
    common: dict[str, Any] = {
        "offer_id": uuid4(),
        "tracking_url": "https://ads.example/go",
        "target_country": "us",
        "inbound_params": {"gclid": "1", "tag": ["a", "b"]},
        "started_at": AT,
        "timeout_at": AT + 85,
    }
    return TracePending(request_id, **{**common, **values})


def processing(request_id: UUID) -> TraceProcessing:
    return TraceProcessing(request_id, "198.51.100.1", AT + 1, 1000)


def finished(request_id: UUID) -> TraceFinished:
    hop = {"url": "https://ads.example/go", "status": 302, "ms": 12.5, "kind": "http"}
    params: dict[str, str | list[str]] = {"a": ["1", "2"]}
    return TraceFinished(
        request_id, "completed", AT + 2, "https://shop.example/?a=1&a=2", params, (hop,), None, 900, 1900, 0, 4321
    )


def leased(ip_id: UUID, edit_no: int, **values: Any) -> IpChanged:
    common: dict[str, Any] = {
        "id": ip_id,
        "event": "lease",
        "status": "locked",
        "locked_until": AT + 90,
        "locked_by_request": uuid4(),
        "last_used_at": AT,
        "uses": 1,
        "consecutive_failures": 0,
        "is_healthy": True,
        "avg_response_time_ms": None,
        "last_health_check": None,
        "lease_no": 1,
        "edit_no": edit_no,
        "probe_failures": 0,
    }
    return IpChanged(**{**common, **values})
