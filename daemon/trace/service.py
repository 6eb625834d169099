"""The client of a remote trace service: one POST per trace.

A failure of the service itself has the verdict `service`: neither the IP's fault nor the target's. Of httpx only the
transport is used: its client logs URLs, follows redirects and decodes bodies.
"""

import ssl
from math import isfinite

import httpx
import structlog
import trio
from pydantic import TypeAdapter, ValidationError

from daemon.host.clocks import boot_id
from daemon.offers.values import OwnTracer
from daemon.providers.proxies import LeasedProxy
from daemon.settings.live import LiveSettings
from daemon.trace.service_shape import MODE, TraceAnswer, TraceRequest, result_of
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import WEB_SCHEMES, GaveUp, Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.web.strict_json import decode_json

ANSWER_BYTES_MAX = 4 * 1024 * 1024  # twenty hops with the longest Locations and their parameters
TRAVEL_S = 1.0  # the service's time limit is this much shorter than the trace's, so that its answer arrives in time
TRAVEL_SHARE_MAX = 0.2
CONNECT_S = 10.0
# Servers close idle connections after 2 s or more. A request lost to that is not repeated: its trace may have begun.
KEPT_S = 1.0
KEPT_MAX = 100
MESSAGE_CHARACTERS_MAX = 300

_ANSWER = TypeAdapter(TraceAnswer)
_REQUEST = TypeAdapter(TraceRequest)
log = structlog.get_logger("daemon.trace")


class _ServiceFault(Exception):
    """The service gave no usable answer. `args`: the reason, a short code, and the message."""


class ServiceBackend:
    """A service at trace.service_url. `ssl_context` verifies its certificate."""

    def __init__(self, live: LiveSettings, ssl_context: ssl.SSLContext | None = None) -> None:
        self._transport = httpx.AsyncHTTPTransport(
            verify=ssl_context or ssl.create_default_context(),
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_MAX, keepalive_expiry=KEPT_S),
        )
        self._live = live

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def trace(
        self,
        walk: Walk,
        proxy: LeasedProxy,
        *,
        timeout_s: float,
        tracer: OwnTracer | None = None,
        offer: str | None = None,
    ) -> TraceResult:
        """One whole trace within `timeout_s`. Raises nothing but trio.Cancelled.

        `tracer`: http, auto or browser; None: the service chooses. `offer`: its name.
        """
        if isinstance(step := walk.start(), GaveUp):
            return TraceResult(step, (), 0.0, 0, 0)  # a bad tracking URL needs no service
        began_s = trio.current_time()
        fault = _ServiceFault("service_timeout", f"did not answer within {timeout_s:g} s")
        with trio.move_on_after(timeout_s):
            try:
                answer = await self._ask(_request(walk, proxy, timeout_s, tracer, offer))
                result = result_of(answer, walk.limits, (trio.current_time() - began_s) * 1000)
                if isinstance(result, TraceResult):
                    return result
                fault = _ServiceFault("service_shape", f"answered with unusable JSON: {result}")
            except _ServiceFault as raised:
                fault = raised
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                fault = _ServiceFault("service_unreachable", f"cannot be reached: {_description(error)}")
            except Exception as error:
                log.error("service_trace_failed", exc_info=error)
                fault = _ServiceFault("service_unreachable", "failed with an unexpected error; the log has it")
        reason, message = fault.args
        end = GaveUp(Verdict.SERVICE, reason, f"the trace service {message}")
        return TraceResult(end, (), (trio.current_time() - began_s) * 1000, 0, 0)

    async def _ask(self, request: TraceRequest) -> TraceAnswer:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        trace = self._live.current.trace
        if token := trace.service_token.get_secret_value():
            headers["Authorization"] = f"Bearer {token}"
        timeouts = {"connect": CONNECT_S}  # `trace` has one timeout around all of it
        url, body = f"{trace.service_url}/trace", _REQUEST.dump_json(request, exclude_none=True)
        asked = httpx.Request("POST", url, headers=headers, content=body, extensions={"timeout": timeouts})
        answered = await self._transport.handle_async_request(asked)
        try:
            if answered.status_code != httpx.codes.OK:
                raise _ServiceFault("service_status", f"answered with status {answered.status_code}")
            return _read(await _body(answered))
        finally:
            with trio.CancelScope(shield=True):
                await answered.aclose()


def _description(error: BaseException) -> str:
    """The type of an error of httpx, and the message of the first cause that has one."""
    inner: BaseException | None = error
    while inner is not None and not str(inner):
        inner = inner.__cause__ or inner.__context__
    return f"{type(error).__name__}: {inner if inner is not None else 'no message'}"[:MESSAGE_CHARACTERS_MAX]


async def _body(answered: httpx.Response) -> bytes:
    body = bytearray()
    # A cancel scope inside ends httpcore's generators in order; a `break` would leave them to the garbage collector.
    with trio.CancelScope() as reading:
        async for piece in answered.aiter_raw():
            body += piece
            if len(body) > ANSWER_BYTES_MAX:
                reading.cancel()
    if len(body) > ANSWER_BYTES_MAX:
        raise _ServiceFault("service_shape", f"answered with more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)


def _read(body: bytes) -> TraceAnswer:
    try:
        return _ANSWER.validate_python(decode_json(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:100] or "the answer"
        message = f"answered with unusable JSON: {where}: {first['msg']}"
        raise _ServiceFault("service_shape", message[:MESSAGE_CHARACTERS_MAX]) from None
    except ValueError:
        raise _ServiceFault("service_shape", "answered something that is not JSON") from None


def _request(
    walk: Walk, proxy: LeasedProxy, timeout_s: float, tracer: OwnTracer | None, offer: str | None
) -> TraceRequest:
    travel_s = min(TRAVEL_S, timeout_s * TRAVEL_SHARE_MAX)
    identity = walk.identity
    return TraceRequest(
        url=walk.url,
        proxy_ip=proxy.address,
        proxy_port=proxy.port,
        target_country=proxy.country,
        max_redirects=walk.limits.hops_max - 1,
        timeout_ms=max(1, round((timeout_s - travel_s) * 1000)),
        mode=MODE,
        tracer=tracer,
        offer=offer,
        referrer=identity.referrer,
        user_agent=identity.user_agent,
        provider=proxy.provider,
        lease=proxy.lease,
        accept_language=identity.accept_language,
        landing_schemes=sorted(walk.limits.landing_schemes - WEB_SCHEMES),
        stop_at=sorted(walk.limits.stop_at),
        boot_id=boot_id() if isfinite(proxy.ends_boot_s) else None,
        ends_boot_s=proxy.ends_boot_s if isfinite(proxy.ends_boot_s) else None,
        proxy_username=proxy.login.username if proxy.login else None,
        proxy_password=proxy.login.password if proxy.login else None,
    )
