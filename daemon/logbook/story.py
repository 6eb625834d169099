"""The story of one click, from the rows and log lines that exist. Pure.

Rows have precedence, because they are exact; only the log has some facts, such as a refused click.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.journal.entries import Params
from daemon.logbook.parse import Line
from daemon.web.query import extracted_params

WHY = {
    "deadline": "the trace had begun, but did not end before the deadline",
    "no_ip": "no IP of the country became available in time",
    "no_pool": "the offer's country has no IPs, and trace.default_country names no other",
    "trace_failed": "the trace ended without a landing page",
    "overload": "more clicks arrived than trace.workers and the queue of jobs can take",
    "starting": "the daemon was starting and could not trace yet",
    "preview": "no visitor has clicked: it was HEAD, or the preview of a link, and used no IP",
    "unknown_offer": "no offer has the name that the click gave",
    "paused": "the offer is paused",
    "bad_offer": "none of the offer's tracking URLs is usable",
}
VERDICTS = {
    "ip": "the IP's fault",
    "credentials": "the provider refused the login",
    "provider": "the provider's fault",
    "target": "the target's fault",
    "operator": "the offer, the settings or this machine is at fault",
    "limit": "a limit of tracepool",
}


@dataclass(frozen=True, slots=True)
class Hop:
    """`began_ms`: after the first hop began. `tier`, `why` and `cookies` as in redirect_chain."""

    began_ms: float
    ms: float
    url: str
    status: int | None
    kind: str
    tier: str | None
    why: str | None
    bytes_received: int
    bytes_sent: int
    cookies: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The IP of a trace, or the last one of several: `tried` names all, in order.

    `unused_s`: time since its previous lease began; None for the first lease, or if unknown. `exit_ip`: the address
    that the provider reported.
    """

    ip: str
    country: str | None
    provider: str | None
    lease_no: int | None
    unused_s: float | None
    choices: int | None
    why: str
    waited_ms: float | None
    at: str | None
    tried: tuple[str, ...]
    exit_ip: str | None


@dataclass(frozen=True, slots=True)
class Trace:
    """`status`: pending, processing, completed, failed or timeout. `cost` in US dollars. `is_queued`: nobody waits."""

    status: str
    verdict: str | None
    reason: str | None
    error: str | None
    tracking_url: str | None
    final_url: str | None
    extracted_params: Params
    trace_ms: float | None
    total_ms: float | None
    bytes_received: int | None
    bytes_sent: int | None
    cost: float | None
    retry_count: int
    ended_at: str | None
    is_queued: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """`added`: parameters that the landing URL, or else the tracking URL, did not have.

    `replaced`: parameters that it had with another value; the new value is shown. `kind`: as in hits.
    """

    outcome: str
    reason: str | None
    why: str | None
    location: str | None
    added: Params
    replaced: Params
    waited_ms: float | None
    at: str | None
    kind: str = "click"


@dataclass(frozen=True, slots=True)
class Story:
    """`country_by`: where the visitor's country is from, if the offer has several: parameter, header, file or first."""

    request_id: str
    offer: str | None
    received_at: str | None
    visitor: str | None
    user_agent: str | None
    referrer: str | None
    click_id: str | None
    country: str | None
    country_by: str | None
    inbound_params: Params
    chosen: Chosen | None
    hops: tuple[Hop, ...]
    trace: Trace | None
    answered: Answered | None
    log: tuple[Mapping[str, Any], ...]


def story_of(
    request_id: str, row: Mapping[str, Any] | None, hit: Mapping[str, Any] | None, lines: Sequence[Line]
) -> Story | None:
    """The story; None if nothing is known. `row` of active_trace_requests and `hit` of hits have their JSON decoded."""
    log = tuple(line.fields for line in lines if line.is_ours)
    if row is None and hit is None and not log:
        return None
    click, traced = _event(log, "click"), _event(log, "trace")
    refused = _event(log, "click_refused")
    trace = _trace(row, traced)
    row, hit = row or {}, hit or {}
    return Story(
        request_id=request_id,
        offer=hit.get("offer_name") or row.get("offer_name") or _first("offer", click, traced, refused),
        received_at=_instant(row.get("started_at") or _received(hit)) or _first("ts", click, traced, refused),
        visitor=hit.get("visitor_address") or click.get("visitor"),
        user_agent=hit.get("user_agent"),
        referrer=hit.get("referrer"),
        click_id=hit.get("click_id"),
        country=hit.get("country") or click.get("country"),
        country_by=click.get("country_by"),
        inbound_params=row.get("inbound_params") or {},
        chosen=_chosen(row, traced),
        hops=_hops(row.get("redirect_chain") or ()),
        trace=trace,
        answered=_refusal(refused) if refused else _answered(hit, click, trace),
        log=log,
    )


def _event(log: Sequence[Mapping[str, Any]], event: str) -> Mapping[str, Any]:
    return next((fields for fields in reversed(log) if fields.get("event") == event), {})


def _first(name: str, *several: Mapping[str, Any]) -> str | None:
    return next((str(fields[name]) for fields in several if fields.get(name) is not None), None)


def _received(hit: Mapping[str, Any]) -> datetime | None:
    """When the click of a row of hits arrived. The row has when it was answered, and how long it waited."""
    answered, wait_ms = hit.get("created_at"), hit.get("wait_ms")
    if not isinstance(answered, datetime):
        return None
    return answered - timedelta(milliseconds=wait_ms or 0)


def _instant(value: object) -> str | None:
    return value.astimezone(UTC).isoformat(timespec="milliseconds") if isinstance(value, datetime) else None


def _chosen(row: Mapping[str, Any], traced: Mapping[str, Any]) -> Chosen | None:
    address = row.get("ip_assigned")
    named = traced.get("ip")
    if address is None and named is None:
        return None
    unused_s = row.get("ip_unused_s", traced.get("unused_s"))
    choices = row.get("ip_choices") or traced.get("choices")
    return Chosen(
        ip=str(named or address),
        country=row.get("target_country") or traced.get("country"),
        provider=row.get("provider") or traced.get("provider"),
        lease_no=traced.get("lease_no"),
        unused_s=unused_s,
        choices=choices,
        why=_why_chosen(unused_s, choices),
        waited_ms=_waited_ms(row, traced),
        at=_instant(row.get("ip_locked_at")),
        tried=tuple(row.get("ips_tried") or traced.get("ips_tried") or ()),
        exit_ip=row.get("exit_ip") or traced.get("exit_ip"),
    )


def _waited_ms(row: Mapping[str, Any], traced: Mapping[str, Any]) -> float | None:
    """From the click to its IP. Of a trace that was queued, wait_time_ms has only the time since its turn came."""
    locked_at, started_at = row.get("ip_locked_at"), row.get("started_at")
    if row.get("priority") and isinstance(locked_at, datetime) and isinstance(started_at, datetime):
        return round((locked_at - started_at).total_seconds() * 1000, 1)
    waited_ms: float | None = row.get("wait_time_ms", traced.get("wait_ms"))
    return waited_ms


def _why_chosen(unused_s: float | None, choices: int | None) -> str:
    if choices is None:
        return "why this IP was chosen is not recorded"
    used = "the IP had never been used" if unused_s is None else f"its last use began {span(unused_s)} before"
    if choices == 1:
        return f"the only available IP; {used}"
    if unused_s is None:
        return f"of the {choices} available IPs, those that were never used come first"
    return f"of the {choices} available IPs this one had rested longest: {used}"


def _hops(chain: Sequence[Mapping[str, Any]]) -> tuple[Hop, ...]:
    hops, began_ms = [], 0.0
    for hop in chain:
        ms = float(hop.get("ms") or 0.0)
        hops.append(
            Hop(
                began_ms=round(began_ms, 1),
                ms=ms,
                url=str(hop.get("url", "")),
                status=hop.get("status"),
                kind=str(hop.get("kind", "")),
                tier=hop.get("tier"),
                why=hop.get("why"),
                bytes_received=hop.get("bytes_received") or 0,
                bytes_sent=hop.get("bytes_sent") or 0,
                cookies=hop.get("cookies"),
            )
        )
        began_ms += ms
    return tuple(hops)


def _trace(row: Mapping[str, Any] | None, traced: Mapping[str, Any]) -> Trace | None:
    if row is None and not traced:
        return None
    row = row or {}
    return Trace(
        status=row.get("status") or str(traced.get("status")),
        verdict=row.get("verdict") or traced.get("verdict"),
        reason=row.get("reason") or traced.get("reason"),
        error=row.get("error_message") or traced.get("error"),
        tracking_url=row.get("tracking_url"),
        final_url=row.get("final_url"),
        extracted_params=row.get("extracted_params") or {},
        trace_ms=row.get("trace_time_ms") or traced.get("trace_ms"),
        total_ms=row.get("total_time_ms"),
        bytes_received=row.get("bytes_received") or traced.get("bytes_received"),
        bytes_sent=row.get("bytes_sent") or traced.get("bytes_sent"),
        cost=row.get("cost"),
        retry_count=row.get("retry_count") or 0,
        ended_at=_instant(row.get("completed_at")),
        is_queued=bool(row.get("priority")),
    )


def _answered(hit: Mapping[str, Any], click: Mapping[str, Any], trace: Trace | None) -> Answered | None:
    outcome = hit.get("outcome") or click.get("outcome")
    if outcome is None:
        return None
    reason = hit.get("reason") or click.get("reason")
    location = hit.get("location") or click.get("location") or None
    given = None if trace is None else trace.final_url if outcome == "resolved" else trace.tracking_url
    before = extracted_params(given or "")
    now = extracted_params(location or "") if given and location else {}
    return Answered(
        outcome=outcome,
        reason=reason,
        why=WHY.get(reason, reason) if reason else None,
        location=location,
        added={name: value for name, value in now.items() if name not in before},
        replaced={name: value for name, value in now.items() if name in before and before[name] != value},
        waited_ms=hit.get("wait_ms", click.get("wait_ms")),
        at=_instant(hit.get("created_at")) or click.get("ts"),
        kind=hit.get("kind") or "click",
    )


def _refusal(refused: Mapping[str, Any]) -> Answered:
    why = refused.get("error") or "no active offer has that name"
    return Answered("refused", str(refused.get("status")), str(why), None, {}, {}, None, refused.get("ts"))


def span(seconds: float) -> str:
    """A duration with two units at most, such as `4 min 12 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = ((whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    first = next(index for index, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)
