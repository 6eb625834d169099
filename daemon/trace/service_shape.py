"""The request and the answer of `POST /trace`, between a daemon and a trace service. No I/O.

Other services have some of the fields; tracepool's own add the verdict, the reason and the bytes. A service's answer is
untrusted input: `result_of` accepts what is valid and describes what is not.
"""

import re
from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Any, get_args

from ada_url import URL
from msgspec.structs import replace
from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass

from daemon.offers.values import NAME_CHARACTERS_MAX, OwnTracer
from daemon.providers.proxies import address_of
from daemon.trace.page.html import Tier
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import WEB_SCHEMES, GaveUp, Hop, Identity, Landed, Limits
from daemon.trace.walk.verdicts import Verdict
from daemon.web.addresses import refused_host
from daemon.web.query import extracted_params

MODE = "http_only"
PROVIDER = "luna"  # the default, as in the rows
URL_CHARACTERS_MAX = 1_048_576
CHAIN_MAX = 200
MESSAGE_CHARACTERS_MAX = 500
DAY_MS = 86_400_000
KINDS = ("http", "refresh-header", "meta", "script", "form", "script_unresolved", "final", "failed")
# Part of another service's redirect_type, and the kind that it stands for.
KINDS_OF_OTHERS = {"meta": "meta", "script": "script", "js": "script", "form": "form", "refresh": "refresh-header"}
TIERS: tuple[Tier, ...] = get_args(Tier)
_REASON = re.compile(r"[a-z0-9_]{1,64}")

Text = Annotated[str, Field(max_length=URL_CHARACTERS_MAX)]
Milliseconds = Annotated[float, Field(ge=0, le=DAY_MS, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]
Credential = Annotated[str, Field(max_length=1_024, pattern=r"^[^\x00-\x1f\x7f]*$")]
Header = Annotated[str, Field(max_length=4_096)]


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """A trace to run through a proxy. The fields from `provider` on are tracepool's own, and optional.

    `proxy_username`, `proxy_password`: the proxy's own login, instead of its provider's.

    `provider` names the settings' [providers.NAME] of the proxy. `lease` is unique to this trace, for providers with a
    session per trace. `mode` is accepted and not used.

    `tracer`: http, auto or browser; without it the service chooses. `offer`: its name, by which auto knows which offers
    have needed the browser.

    `ends_boot_s`: the end of the lease, on the boot clock with this `boot_id`. A tracer on the same machine sends
    nothing after it, however late it reads the request; another one counts `timeout_ms` from its reading of it.
    """

    url: Annotated[str, Field(min_length=1, max_length=URL_CHARACTERS_MAX)]
    proxy_ip: Annotated[str, Field(min_length=1, max_length=255)]
    proxy_port: Annotated[int, Field(ge=1, le=65_535)] | Annotated[str, Field(max_length=16)]
    target_country: Annotated[str, Field(max_length=64)] = "us"
    max_redirects: Annotated[int, Field(ge=0, le=1_000, strict=True)] = 20
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
    boot_id: Annotated[str, Field(max_length=255)] | None = None
    ends_boot_s: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None
    tracer: OwnTracer | None = None
    offer: Annotated[str, Field(max_length=NAME_CHARACTERS_MAX)] | None = None
    proxy_username: Credential | None = None
    proxy_password: Credential | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One hop. `redirect_type` is a Hop's `kind`; `tier` and `why` are the Hop's, too."""

    url: Text
    status: Annotated[int, Field(ge=0, le=999)] | None = None
    redirect_type: Text | None = None
    tier: Text | None = None
    why: Text | None = None
    timing_ms: Milliseconds | None = None
    params: dict[str, Any] | None = None
    error: Text | None = None
    bytes_received: Bytes = 0
    bytes_sent: Bytes = 0


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """The outcome of a trace. `verdict`, `reason` and `error` describe a failure."""

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
    """The identity of a trace; `user_agent` is for a request without one."""
    return Identity(request.user_agent or user_agent, request.accept_language, request.referrer)


def mode_of(result: TraceResult) -> str:
    """Who traced: requests alone, or a browser as well."""
    return "browser" if any(hop.tier == "browser" for hop in result.hops) else MODE


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
                tier=hop.tier,
                why=hop.why,
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
        mode_used=mode_of(result),
        proxy_ip=request.proxy_ip,
        error=failure.message if failure else None,
        verdict=failure.verdict.value if failure else Verdict.OK.value,
        reason=failure.reason if failure else None,
        exit_ip=result.exit_ip,
        bytes_received=result.bytes_received,
        bytes_sent=result.bytes_sent,
    )


def result_of(answer: TraceAnswer, limits: Limits, ms: float) -> TraceResult | str:
    """The result of a trace that took `ms`, or a sentence that says why the answer is invalid."""
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
    # A final_url that is not the last hop's was not fetched: a scheme of `landing_schemes`, or a host of `stop_at`.
    if hops[-1].url == url.href and hops[-1].kind != "script_unresolved":
        hops = (*hops[:-1], replace(hops[-1], kind="final"))
    scheme = url.protocol.removesuffix(":")
    if scheme not in WEB_SCHEMES | limits.landing_schemes:
        return f"its final_url has the scheme {_printable(scheme)[:40]!r}"
    if scheme in WEB_SCHEMES and not limits.allow_private and (why := refused_host(url.href)) is not None:
        end: Landed | GaveUp = GaveUp(Verdict.LIMIT, "refused_address", f"the trace service landed where {why}")
    else:
        end = Landed(url.href)
    return TraceResult(end, hops, *cost)


def _failure(answer: TraceAnswer) -> GaveUp:
    """Without a valid verdict the target is at fault, so that the answer never counts against the IP's health."""
    verdict = Verdict.TARGET
    if answer.verdict in set(Verdict) - {Verdict.OK}:
        verdict = Verdict(answer.verdict)
    reason = answer.reason if answer.reason and _REASON.fullmatch(answer.reason) else "service_trace_failed"
    errors: Sequence[str | None] = (answer.error, *(step.error for step in reversed(answer.chain)))
    message = next((error for error in errors if error), "the trace service gives no reason")
    return GaveUp(verdict, reason, _printable(message)[:MESSAGE_CHARACTERS_MAX])


def _hop(step: ChainStep) -> Hop:
    why = None if step.why is None else _printable(step.why)[:MESSAGE_CHARACTERS_MAX]
    tier: Tier = next((tier for tier in TIERS if tier == step.tier), "markup")
    ms, received, sent = step.timing_ms or 0.0, step.bytes_received, step.bytes_sent
    return Hop(_href(step.url), step.status, ms, _kind(step), received, sent, tier, why)


def _kind(step: ChainStep) -> str:
    """The hop's `kind`; other services have other names for a redirect_type."""
    given = (step.redirect_type or "").lower()
    if given in KINDS:
        return given
    if step.error is not None:
        return "failed"
    return next((kind for part, kind in KINDS_OF_OTHERS.items() if part in given), "http")


def _href(url: str) -> str:
    try:
        return str(URL(url).href)
    except ValueError:
        return _printable(url)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
