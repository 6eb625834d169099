"""What is said between a daemon and a trace service: `POST /trace`, both ways. No I/O.

The fields of other services are taken as they are; ours add whose fault a failure is, and bytes. Whatever a service
answers is somebody else's text: `result_of` takes what fits and refuses the rest with a sentence.
"""

import re
from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Any

from ada_url import URL
from msgspec.structs import replace
from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass

from daemon.providers.proxies import address_of
from daemon.trace.walk.steps import WEB_SCHEMES, GaveUp, Hop, Identity, Landed, Limits
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import TraceResult
from daemon.web.addresses import refused_host
from daemon.web.query import extracted_params

MODE = "http_only"
PROVIDER = "luna"  # of a request that names none, as of a row
URL_CHARACTERS_MAX = 1_048_576
CHAIN_MAX = 200
MESSAGE_CHARACTERS_MAX = 500
DAY_MS = 86_400_000
KINDS = ("http", "refresh-header", "meta", "script", "form", "script_unresolved", "final", "failed")
WORDS_OF_OTHERS = (
    ("meta", "meta"),
    ("script", "script"),
    ("js", "script"),
    ("form", "form"),
    ("refresh", "refresh-header"),
)
_REASON = re.compile(r"[a-z0-9_]{1,64}")

Text = Annotated[str, Field(max_length=URL_CHARACTERS_MAX)]
Milliseconds = Annotated[float, Field(ge=0, le=DAY_MS, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]
Header = Annotated[str, Field(max_length=4_096)]


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One trace to be done through a proxy. The fields from `provider` on are tracepool's own, and may be left out.

    `provider` names the settings' [providers.NAME] by which the proxy is reached; `lease` is a text of this trace
    alone, for providers whose sessions last for one; `mode` is taken and not used.
    """

    url: Annotated[str, Field(min_length=1, max_length=URL_CHARACTERS_MAX)]
    proxy_ip: Annotated[str, Field(min_length=1, max_length=255)]
    proxy_port: Annotated[int, Field(ge=1, le=65_535)] | Annotated[str, Field(max_length=16)]
    target_country: Annotated[str, Field(max_length=64)] = "us"
    max_redirects: Annotated[int, Field(ge=0, le=1_000, strict=True)] = 19
    timeout_ms: Annotated[int, Field(ge=1, le=DAY_MS, strict=True)] = 60_000
    mode: Annotated[str, Field(max_length=64)] = MODE
    referrer: Header | None = None
    user_agent: Header | None = None
    provider: Annotated[str, Field(max_length=255)] = PROVIDER
    lease: Annotated[str, Field(max_length=255)] | None = None
    accept_language: Header | None = None
    landing_schemes: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=20)] = field(
        default_factory=list
    )
    stop_at: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=100)] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One hop. `redirect_type` is how it led on: http, refresh-header, meta, script, form; or script_unresolved, final,
    failed.
    """

    url: Text
    status: Annotated[int, Field(ge=0, le=999)] | None = None
    redirect_type: Text | None = None
    timing_ms: Milliseconds | None = None
    params: dict[str, Any] | None = None
    error: Text | None = None
    bytes_received: Bytes = 0
    bytes_sent: Bytes = 0


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """What a trace came to. Without success, `verdict` says whose fault it was, `reason` and `error` what happened."""

    success: StrictBool
    chain: Annotated[list[ChainStep], Field(max_length=CHAIN_MAX)] = field(default_factory=list)
    total_steps: Annotated[int, Field(ge=0)] | None = None
    final_url: Text | None = None
    total_timing_ms: Milliseconds | None = None
    mode_used: Text | None = None
    proxy_ip: Text | None = None
    error: Text | None = None
    verdict: Text | None = None
    reason: Text | None = None
    exit_ip: Text | None = None
    bytes_received: Bytes = 0
    bytes_sent: Bytes = 0


def identity_of(request: TraceRequest, user_agent: str) -> Identity:
    """`user_agent`: ours, for a request that has none."""
    return Identity(request.user_agent or user_agent, request.accept_language, request.referrer)


def answer_of(result: TraceResult, request: TraceRequest) -> TraceAnswer:
    end = result.end
    failure = end if isinstance(end, GaveUp) else None
    return TraceAnswer(
        success=failure is None,
        chain=[
            ChainStep(
                url=hop.url,
                status=hop.status,
                redirect_type=hop.kind,
                timing_ms=round(hop.ms, 1),
                params=extracted_params(hop.url),
                error=failure.message if failure and hop.kind == "failed" else None,
                bytes_received=hop.bytes_received,
                bytes_sent=hop.bytes_sent,
            )
            for hop in result.hops
        ],
        total_steps=len(result.hops),
        final_url=end.url if isinstance(end, Landed) else None,
        total_timing_ms=round(result.ms, 1),
        mode_used=MODE,
        proxy_ip=request.proxy_ip,
        error=failure.message if failure else None,
        verdict=failure.verdict.value if failure else Verdict.OK.value,
        reason=failure.reason if failure else None,
        exit_ip=result.exit_ip,
        bytes_received=result.bytes_received,
        bytes_sent=result.bytes_sent,
    )


def result_of(answer: TraceAnswer, limits: Limits, ms: float) -> TraceResult | str:
    """What the answer means for a trace that took `ms`, or what is wrong with it."""
    hops = tuple(_hop(step) for step in answer.chain)
    cost = (ms, answer.bytes_received, answer.bytes_sent, address_of(answer.exit_ip))
    if not answer.success:
        return TraceResult(_failure(answer), hops, *cost)
    if not answer.final_url or not hops:
        return "success without a final_url or a chain"
    try:
        url = URL(answer.final_url)
    except ValueError:
        return "its final_url is no URL"
    # Else it was not fetched: a landing beyond the web, or where the offer stops.
    if hops[-1].url == url.href and hops[-1].kind != "script_unresolved":
        hops = (*hops[:-1], replace(hops[-1], kind="final"))
    scheme = url.protocol.removesuffix(":")
    if scheme not in WEB_SCHEMES | limits.landing_schemes:
        return f"its final_url has the scheme {_line(scheme)[:40]!r}"
    if scheme in WEB_SCHEMES and not limits.allow_private and (why := refused_host(url.href)) is not None:
        end: Landed | GaveUp = GaveUp(Verdict.LIMIT, "refused_address", f"the trace service landed where {why}")
    else:
        end = Landed(url.href)
    return TraceResult(end, hops, *cost)


def _failure(answer: TraceAnswer) -> GaveUp:
    """Without a verdict of its own the target is blamed: a service that does not say must not cost an IP its health."""
    verdict = Verdict.TARGET
    if answer.verdict in set(Verdict) - {Verdict.OK}:
        verdict = Verdict(answer.verdict)
    reason = answer.reason if answer.reason and _REASON.fullmatch(answer.reason) else "service_trace_failed"
    errors: Sequence[str | None] = (answer.error, *(step.error for step in reversed(answer.chain)))
    said = next((error for error in errors if error), "the trace service gives no reason")
    return GaveUp(verdict, reason, _line(said)[:MESSAGE_CHARACTERS_MAX])


def _hop(step: ChainStep) -> Hop:
    return Hop(_href(step.url), step.status, step.timing_ms or 0.0, _kind(step), step.bytes_received, step.bytes_sent)


def _kind(step: ChainStep) -> str:
    """Services have words of their own for how a hop led on."""
    said = (step.redirect_type or "").lower()
    if said in KINDS:
        return said
    if step.error is not None:
        return "failed"
    return next((kind for word, kind in WORDS_OF_OTHERS if word in said), "http")


def _href(url: str) -> str:
    try:
        return str(URL(url).href)
    except ValueError:
        return _line(url)


def _line(text: str) -> str:
    """As a log or a table can show it."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
