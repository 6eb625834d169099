"""The journal's entries: frozen records of what the daemon decided. Pure.

An entry has all values of its row, so that applying it needs no other data. Times are wall seconds since 1970 (UTC).
`encode` gives the kind and the JSON that database/queries.sql reads with `jsonb_to_recordset`: a field has the name of
its column.
"""

from typing import Any, Literal, Protocol
from uuid import UUID

import msgspec

from daemon.storable import stored_json

Text = str | None
Params = dict[str, str | list[str]]


class IpChanged(msgspec.Struct, frozen=True):
    """An IP's whole changeable state after a step of pool/states.py, based on the operator's edit `edit_no`.

    The state is applied while this node owns the IP, and no other has owned it since `lease_no`. `uses`, `successes`
    and `failures` are the step's additions to the row's counters, which count for any owner. Entries of earlier
    versions have the counters' values instead.

    The endpoint `address`, `port`, `username` rests until `locked_until`, even if the row is deleted or edited.
    `locked_until_boot_s` is the same time on the boot clock with this `boot_id` (see Moment), which nobody can set.
    """

    id: UUID
    event: str
    status: str
    locked_until: float | None
    locked_by_request: UUID | None
    last_used_at: float | None
    consecutive_failures: int
    is_healthy: bool
    avg_response_time_ms: float | None
    last_health_check: float | None
    lease_no: int
    edit_no: int
    uses: int = 0
    successes: int = 0
    failures: int = 0
    probe_failures: int = 0
    address: str = ""
    port: str = ""
    username: str = ""
    locked_until_boot_s: float | None = None
    boot_id: str = ""


class IpGiven(msgspec.Struct, frozen=True):
    """The owner gives an IP to the node `to`. `lease_no`: of the IP's last lease; the row gets the next number."""

    id: UUID
    to: UUID
    lease_no: int


class TracePending(msgspec.Struct, frozen=True):
    """`node_id`: the node that traces."""

    request_id: UUID
    offer_id: UUID | None
    tracking_url: str
    target_country: str
    inbound_params: Params
    started_at: float
    timeout_at: float
    node_id: UUID | None = None


class TraceQueued(msgspec.Struct, frozen=True):
    """The trace of a background click, for the batch lane (trace/batch.py) of any node.

    `priority`: a lower number first. It fails if it has not begun by `timeout_at`. `identity`: what it sends of the
    visitor's browser, as Identity; None: nothing.
    """

    request_id: UUID
    offer_id: UUID
    tracking_url: str
    target_country: str
    inbound_params: Params
    priority: int
    queued_at: float
    timeout_at: float
    identity: dict[str, str | None] | None = None


class TraceProcessing(msgspec.Struct, frozen=True):
    """`ip_unused_s`: time since the IP's previous lease began, None for the first. `ip_choices`: IPs available then."""

    request_id: UUID
    ip_assigned: str
    ip_locked_at: float
    wait_time_ms: int
    provider: Text = None
    ip_unused_s: float | None = None
    ip_choices: int | None = None


class Traffic(msgspec.Struct, frozen=True):
    """The bytes of one attempt, as the proxy counts them. `cost` in US dollars, by the prices then."""

    provider: str
    bytes_received: int
    bytes_sent: int
    cost: float


class IpTraffic(msgspec.Struct, frozen=True):
    """The same bytes for the IP's row. An entry of its own: a lock on that row must not hold up traces and hits."""

    ip_id: UUID
    bytes_received: int
    bytes_sent: int


class TraceFinished(msgspec.Struct, frozen=True):
    """`redirect_chain`: one mapping per hop with url, status, ms, kind.

    `verdict` and `reason`: see trace/walk/verdicts.py; a trace that got no IP has only a reason. `ips_tried`: addresses
    in order. `traffic`: one record per attempt; `cost` is their sum.
    """

    request_id: UUID
    status: str
    completed_at: float
    final_url: Text
    extracted_params: Params
    redirect_chain: tuple[dict[str, Any], ...]
    error_message: Text
    trace_time_ms: int | None
    total_time_ms: int
    retry_count: int
    bytes_received: int
    bytes_sent: int = 0
    verdict: Text = None
    offer_id: UUID | None = None
    offer_name: Text = None
    cost: float | None = None
    traffic: tuple[Traffic, ...] = ()
    ips_tried: tuple[str, ...] = ()
    exit_ip: Text = None
    reason: Text = None


HitKind = Literal["click", "repeat", "preview"]


class Hit(msgspec.Struct, frozen=True):
    """One answered click; or, by its `kind`, a repeat of one or a preview of a link, which used no IP.

    `outcome`: resolved, fallback, or background (answered at once, and traced afterwards). `click_id`: the value of the
    parameter that identifies the click, such as gclid. `country`: whose IPs were to trace it.
    Without `offer_id` no offer has the name that the click gave, which may be empty.
    """

    request_id: UUID
    offer_id: UUID | None
    offer_name: str
    outcome: str
    reason: Text
    location: str
    visitor_address: Text
    user_agent: Text
    referrer: Text
    wait_ms: int
    answered_at: float
    kind: HitKind = "click"
    click_id: Text = None
    country: Text = None


Entry = IpChanged | IpGiven | TracePending | TraceQueued | TraceProcessing | TraceFinished | IpTraffic | Hit

KINDS: dict[type[Entry], str] = {
    IpChanged: "ip_changed",
    IpGiven: "ip_given",
    TracePending: "trace_pending",
    TraceQueued: "trace_queued",
    TraceProcessing: "trace_processing",
    TraceFinished: "trace_finished",
    IpTraffic: "ip_traffic",
    Hit: "hit",
}
COUNTED = "ip_counted"
"""The kind of an entry `ip_changed` of which only the additions are applied: its state is out of date."""
STATES = (COUNTED, "ip_changed", "ip_given", "ip_traffic")
"""The kinds that change rows of ip_rotation_pool. All others are facts, which do not wait for these rows."""


class Recorder(Protocol):
    """Accepts entries. `record` returns at once. `durable` returns when they are on disk; False if the disk failed."""

    def record(self, *entries: Entry) -> None: ...

    async def durable(self, *entries: Entry) -> bool: ...


_ENCODER = msgspec.json.Encoder(enc_hook=str)  # asyncpg's UUIDs are of a class of their own


def encode(entry: Entry) -> tuple[str, str]:
    """(kind, JSON object). UUIDs become strings.

    Values that jsonb refuses are replaced: NUL and lone surrogates by U+FFFD, numbers that are not finite by null.
    """
    return KINDS[type(entry)], stored_json(_ENCODER, entry)
