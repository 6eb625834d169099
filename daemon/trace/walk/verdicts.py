"""Whose fault a failed hop is: a table from phase and failure to verdict, reason and message. Pure.

The phases of a hop, in order:

| phase | from | to |
| --- | --- | --- |
| dial | connecting to the proxy, TLS with an https proxy included | the connection is open |
| tunnel | CONNECT (https targets), or the SOCKS handshake (all targets) | the proxy has opened the tunnel |
| tls | TLS handshake with the target, inside the tunnel | the handshake is complete |
| behind | the request sent inside the tunnel | the target's response head |
| forward | the request sent in absolute form (http targets) | a response head, the target's or the proxy's own |

The verdict of each behaviour; `landed`: the answer counts as the target's.

| the proxy | https:// URL | http:// URL |
| --- | --- | --- |
| refuses connections | ip | ip |
| does not take a connection in time | ip | ip |
| has a name that does not resolve | ip | ip |
| closes without an answer | ip | ip |
| resets without an answer | ip | ip |
| answers with something that is not HTTP | ip | ip |
| closes within its answer | ip | target |
| says nothing | ip | target |
| answers with a head that is too large | ip | limit |
| answers 407 | credentials | credentials |
| answers 401 | credentials | landed |
| answers 400 | ip | landed |
| answers 402 | operator | landed |
| answers 405 | ip | landed |
| answers 451 | target | landed |
| answers 522 | provider | target |
| answers 429 | provider | provider |
| answers 503 | provider | provider |
| answers 429, as the target relayed by it | - | landed |
| answers 503, as the target relayed by it | - | target |
| answers 500 | target | target |
| answers 502 | target | target |
| answers 504 | target | target |
| answers 403 | provider | landed |
| answers 400, and says that it is the proxy's | operator | operator |
| answers 402, and says that it is the proxy's | operator | operator |
| answers 403, and says that it is the proxy's | target | target |
| answers 407, and says that it is the proxy's | credentials | credentials |
| answers 502, and says that it is the proxy's | provider | provider |
| answers 525, and says that it is the proxy's | provider | provider |
| answers 503 to the second hop | provider | target |
| closes without an answer to the second hop | target | target |
| resets without an answer to the second hop | target | target |
| says nothing to the second hop | target | target |
| refuses connections for the second hop | ip | ip |
| opens the tunnel, and the certificate does not verify | target | - |
| opens the tunnel, and TLS breaks | target | - |
| opens the tunnel and says nothing | target | - |
| opens the tunnel, and the target closes without an answer | target | - |
| opens the tunnel, and the target answers 407 | landed | - |

In `forward` an answer may be the proxy's or the target's:

- A connection that breaks before the first byte of an HTTP answer is the proxy's fault: a working proxy reports a
  broken target with a 502. Once the proxy has delivered an answer in the same trace (`proxy_proven`), the target is at
  fault. The same holds in `tunnel`. A timeout is the target's fault, because a proxy waits as long as its target does.
- An answer is the proxy's own if a rule of providers/answers.py says so: its verdict is the rule's, else that of
  OWN_STATUSES. So are 429 and 503 without such a sign, unless the proxy is proven or a header shows that the answer was
  relayed. A wrong guess costs a second attempt, a right one saves the click. Any other answer without a sign is the
  target's, 502 and 504 too: web servers send them for the applications behind them, and gateways mark theirs.
- 405 and 501 without a sign may come from a proxy that only opens tunnels: session.py then asks the target through one.

An answer to CONNECT is always the proxy's. With a rule that matches, or at a gateway, where each IP is a session and a
refusal is the same for all of them, the verdict is that of OWN_STATUSES, so no IP is at fault. Any other proxy that
refuses CONNECT with a status outside CONNECT_STATUSES is no usable proxy. 500, 502 and 504 without a rule report that
the target cannot be reached (RFC 9110, 15.6.3 and 15.6.5; name errors are reported so too). If this were the IP's
fault, an offer with a dead host would quarantine every IP of a country. 403 may be one proxy's rule or every proxy's:
another IP is tried, and none is at fault. The replies of SOCKS that report a failure on the way to the host (RFC 1928,
6: 1, 3, 4, 5, 6) mean the same as 502; the replies by which the proxy refuses the request (2, 7, 8) are the IP's fault.

Only the verdict `ip` counts against the IP. After `ip` and `provider` the job gets an attempt through another IP. While
another IP is free, a proxy that is slow to answer CONNECT is left early, so that the visitor need not wait for it. The
target may be the slow one, so the verdict is `provider`, which counts against no IP.
"""

from dataclasses import dataclass
from enum import StrEnum

from daemon.providers.answers import OwnAnswer
from daemon.web.headers import RawHeaders


class Verdict(StrEnum):
    """Whose fault a failed attempt is. `provider` and `credentials` are faults of the provider, not of one IP."""

    OK = "ok"
    IP = "ip"
    CREDENTIALS = "credentials"
    PROVIDER = "provider"
    TARGET = "target"
    OPERATOR = "operator"
    LIMIT = "limit"
    SERVICE = "service"  # a remote trace service gave no usable answer


class Phase(StrEnum):
    """Where in a hop a failure happened; see the table above."""

    DIAL = "dial"
    TUNNEL = "tunnel"
    TLS = "tls"
    BEHIND = "behind"
    FORWARD = "forward"


class Failure(StrEnum):
    """How a hop failed."""

    NAME = "name"  # the proxy's name does not resolve
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NO_SOCKETS = "no_sockets"  # this machine has no descriptor, port or memory left
    STATUS = "status"  # the answer to CONNECT has a status other than 2xx
    CREDENTIALS = "credentials"  # the SOCKS proxy refuses the login, or requires one
    SLOW = "slow"  # no answer to CONNECT within `proxy_timeout_s`
    TIMEOUT = "timeout"
    RESET = "reset"
    CLOSED = "closed"  # the stream ended before the response head did
    GARBAGE = "garbage"  # HTTP/1 that browsers refuse too
    NOT_HTTP = "not_http"  # the answer does not begin with "HTTP", see wire/heads.py
    HEAD_TOO_LARGE = "head_too_large"
    CERTIFICATE = "certificate"
    TLS = "tls"
    UNEXPECTED = "unexpected"  # an exception that session.py does not expect; it is in the log


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table: `reason` is a short code, `message` follows `hop 2 (ads.example): `."""

    verdict: Verdict
    reason: str
    message: str


_TARGET, _IP, _LIMIT, _LOGIN = Verdict.TARGET, Verdict.IP, Verdict.LIMIT, Verdict.CREDENTIALS
_OURS = Fault(_LIMIT, "internal", "an unexpected error in the daemon; the log has it")
_GARBAGE = Fault(
    _TARGET, "garbage", "the response head has a NUL or Content-Lengths that differ: browsers refuse it too"
)
_HEAD = Fault(_LIMIT, "headers_too_large", "the response head is larger than trace.headers_bytes_max")

FAULTS: dict[tuple[Phase, Failure], Fault] = {
    (Phase.DIAL, Failure.NAME): Fault(_IP, "proxy_unreachable", "the proxy's name does not resolve"),
    (Phase.DIAL, Failure.REFUSED): Fault(_IP, "proxy_unreachable", "the proxy's port refuses connections"),
    (Phase.DIAL, Failure.UNREACHABLE): Fault(_IP, "proxy_unreachable", "the proxy's address cannot be reached"),
    (Phase.DIAL, Failure.TIMEOUT): Fault(_IP, "proxy_timeout", "the proxy did not accept a connection in time"),
    (Phase.DIAL, Failure.NO_SOCKETS): Fault(_LIMIT, "no_sockets", "this machine has no socket left for a connection"),
    (Phase.DIAL, Failure.CERTIFICATE): Fault(_IP, "proxy_tls", "the proxy's certificate does not verify"),
    (Phase.DIAL, Failure.TLS): Fault(_IP, "proxy_tls", "the TLS handshake with the proxy failed"),
    (Phase.DIAL, Failure.RESET): Fault(_IP, "proxy_tls", "the proxy broke the connection during the TLS handshake"),
    (Phase.DIAL, Failure.CLOSED): Fault(_IP, "proxy_tls", "the proxy closed the connection during the TLS handshake"),
    (Phase.TUNNEL, Failure.REFUSED): Fault(_IP, "proxy_refused", "the proxy refuses the request"),
    (Phase.TUNNEL, Failure.UNREACHABLE): Fault(_TARGET, "target_unreachable", "the proxy cannot reach the host"),
    (Phase.TUNNEL, Failure.CREDENTIALS): Fault(_LOGIN, "proxy_credentials", "the proxy refuses the credentials"),
    (Phase.TUNNEL, Failure.TLS): Fault(_IP, "proxy_tls", "the TLS connection to the proxy failed"),
    (Phase.TUNNEL, Failure.SLOW): Fault(Verdict.PROVIDER, "proxy_slow", "the proxy was too slow to answer CONNECT"),
    (Phase.TUNNEL, Failure.TIMEOUT): Fault(_IP, "proxy_timeout", "the proxy did not answer CONNECT in time"),
    (Phase.TUNNEL, Failure.RESET): Fault(_IP, "proxy_broken", "the proxy broke the connection during CONNECT"),
    (Phase.TUNNEL, Failure.CLOSED): Fault(_IP, "proxy_broken", "the proxy closed the connection during CONNECT"),
    (Phase.TUNNEL, Failure.GARBAGE): Fault(_IP, "proxy_garbage", "the proxy's answer to CONNECT is malformed"),
    (Phase.TUNNEL, Failure.NOT_HTTP): Fault(_IP, "proxy_garbage", "the proxy's answer to CONNECT is not HTTP"),
    (Phase.TUNNEL, Failure.HEAD_TOO_LARGE): Fault(_IP, "proxy_garbage", "the proxy's answer to CONNECT is too large"),
    (Phase.TLS, Failure.CERTIFICATE): Fault(_TARGET, "bad_certificate", "the certificate does not verify"),
    (Phase.TLS, Failure.TLS): Fault(_TARGET, "tls", "the TLS handshake failed"),
    (Phase.TLS, Failure.RESET): Fault(_TARGET, "tls", "the connection broke during the TLS handshake"),
    (Phase.TLS, Failure.CLOSED): Fault(_TARGET, "tls", "the connection was closed during the TLS handshake"),
    (Phase.TLS, Failure.TIMEOUT): Fault(_TARGET, "hop_timeout", "the TLS handshake did not end in time"),
    (Phase.BEHIND, Failure.TIMEOUT): Fault(_TARGET, "hop_timeout", "no complete response head in time"),
    (Phase.BEHIND, Failure.RESET): Fault(_TARGET, "target_broken", "the connection broke before a response head"),
    (Phase.BEHIND, Failure.CLOSED): Fault(_TARGET, "target_broken", "the connection was closed before a response head"),
    (Phase.BEHIND, Failure.TLS): Fault(_TARGET, "tls", "the TLS connection failed"),
    (Phase.BEHIND, Failure.GARBAGE): _GARBAGE,
    (Phase.BEHIND, Failure.NOT_HTTP): Fault(_TARGET, "garbage", "the answer is not HTTP"),
    (Phase.BEHIND, Failure.HEAD_TOO_LARGE): _HEAD,
    (Phase.FORWARD, Failure.TIMEOUT): Fault(_TARGET, "hop_timeout", "no complete response head in time"),
    (Phase.FORWARD, Failure.RESET): Fault(_IP, "proxy_broken", "the proxy broke the connection without an answer"),
    (Phase.FORWARD, Failure.CLOSED): Fault(_IP, "proxy_broken", "the proxy closed the connection without an answer"),
    (Phase.FORWARD, Failure.TLS): Fault(_IP, "proxy_tls", "the TLS connection to the proxy failed"),
    (Phase.FORWARD, Failure.GARBAGE): _GARBAGE,
    (Phase.FORWARD, Failure.NOT_HTTP): Fault(_IP, "proxy_garbage", "the proxy's answer is not HTTP"),
    (Phase.FORWARD, Failure.HEAD_TOO_LARGE): _HEAD,
}

# These rows replace those above once the proxy has delivered bytes of an answer in this trace.
FAULTS_OF_A_PROVEN_PROXY: dict[tuple[Phase, Failure], Fault] = {
    (Phase.TUNNEL, Failure.TIMEOUT): Fault(_TARGET, "hop_timeout", "the proxy got no connection to the host in time"),
    (Phase.TUNNEL, Failure.RESET): Fault(_TARGET, "target_broken", "the proxy broke the connection during CONNECT"),
    (Phase.TUNNEL, Failure.CLOSED): Fault(_TARGET, "target_broken", "the proxy closed the connection during CONNECT"),
    (Phase.FORWARD, Failure.NOT_HTTP): FAULTS[Phase.BEHIND, Failure.NOT_HTTP],
    (Phase.FORWARD, Failure.RESET): FAULTS[Phase.BEHIND, Failure.RESET],
    (Phase.FORWARD, Failure.CLOSED): FAULTS[Phase.BEHIND, Failure.CLOSED],
}

_CLIENT_ERRORS, _UNOFFICIAL_ERRORS = range(400, 500), range(512, 600)  # RFC 9110 and its extensions end at 511
_BUSY, _REFUSED = (Verdict.PROVIDER, "provider_busy"), (Verdict.PROVIDER, "proxy_refused")

# The verdict for a proxy's own answer, if no rule has one. Any other 4xx is `operator`: the gateway does not accept the
# parameters of the request or the state of the account. Any other status is `provider`, reason `proxy_failed`.
OWN_STATUSES: dict[int, tuple[Verdict, str]] = {
    401: (Verdict.CREDENTIALS, "proxy_credentials"),
    407: (Verdict.CREDENTIALS, "proxy_credentials"),
    402: (Verdict.OPERATOR, "proxy_payment"),
    403: (Verdict.TARGET, "proxy_forbids"),
    451: (Verdict.TARGET, "proxy_forbids"),
    404: (Verdict.TARGET, "target_unreachable"),
    408: _BUSY,
    429: _BUSY,
    503: _BUSY,
}

# Statuses by which a proxy that is no gateway answers CONNECT, without a rule. Any other 5xx above 511 is `provider`,
# reason `proxy_failed` (gateways have such statuses, servers that are no proxies have not); any other is `ip`.
CONNECT_STATUSES: dict[int, tuple[Verdict, str]] = {
    **{status: OWN_STATUSES[status] for status in (401, 402, 407, 429, 451, 503)},
    403: _REFUSED,
    500: (Verdict.TARGET, "target_unreachable"),
    502: (Verdict.TARGET, "target_unreachable"),
    504: (Verdict.TARGET, "target_unreachable"),
}

_REASONS = {"ip": "proxy_refused", "credentials": "proxy_credentials", "provider": "proxy_failed",
            "target": "proxy_forbids", "operator": "proxy_parameters"}  # fmt: skip
# Headers of relayed answers: Via (RFC 9110, 7.6.3), those of caches, and a site's cookies.
_RELAYED = frozenset({b"via", b"age", b"cache-status", b"set-cookie"})


def fault_of(
    phase: Phase,
    failure: Failure,
    *,
    status: int | None = None,
    proxy_proven: bool = False,
    own: OwnAnswer | None = None,
) -> Fault:
    """The fault of one failed hop. `status` is the proxy's, for `Failure.STATUS`. An unknown pair is an internal error.

    `proxy_proven`: an earlier hop of the trace got its answer through the same proxy, or this hop got part of one.
    `own`: the answer to CONNECT, if a rule matches it or a gateway gave it.
    """
    if failure is Failure.STATUS and status is not None:
        if own is not None:
            return fault_of_own(status, own, f"the proxy answered CONNECT with status {status}")
        verdict, reason = CONNECT_STATUSES.get(status, (Verdict.IP, "proxy_refused"))
        if status in _UNOFFICIAL_ERRORS:
            verdict, reason = Verdict.PROVIDER, "proxy_failed"
        return Fault(verdict, reason, f"the proxy answered CONNECT with status {status}")
    if proxy_proven and (proven := FAULTS_OF_A_PROVEN_PROXY.get((phase, failure))):
        return proven
    return FAULTS.get((phase, failure), _OURS)


def fault_of_own(status: int, own: OwnAnswer, message: str) -> Fault:
    """The fault for an answer that a proxy gave for itself."""
    by_status = OWN_STATUSES.get(status)
    if by_status is None:
        by_status = (
            (Verdict.OPERATOR, "proxy_parameters") if 400 <= status < 500 else (Verdict.PROVIDER, "proxy_failed")
        )
    verdict, reason = by_status
    if own.blame is not None and own.blame != verdict:
        verdict, reason = Verdict(own.blame), _REASONS[own.blame]
    return Fault(verdict, reason, f"{message}: {own.detail}" if own.detail else message)


def fault_of_answer(
    status: int, headers: RawHeaders, *, proxy_proven: bool, own: OwnAnswer | None = None
) -> Fault | None:
    """The fault for an answer over plain http that is the proxy's own; None for the target's answer.

    `proxy_proven`: an earlier hop of the trace got its answer through the same proxy. `own`: a rule says that the
    answer is the proxy's.
    """
    if own is not None:
        return fault_of_own(status, own, f"the proxy answered with status {status}")
    if status == 407:
        return Fault(Verdict.CREDENTIALS, "proxy_credentials", "the proxy refuses the credentials: status 407")
    if status in (429, 503) and not proxy_proven and not {name.lower() for name, _ in headers} & _RELAYED:
        return Fault(*_BUSY, f"answered with status {status}, probably by the proxy")
    return None
