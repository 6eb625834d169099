"""Whose fault a failed hop is: a pure table from where it failed and how to a verdict, a reason and its words. Pure.

Where a hop can fail, in order:

| phase | from | to |
| --- | --- | --- |
| dial | opening a connection to the proxy, TLS with an https proxy included | it is open |
| tunnel | CONNECT sent (https targets), or SOCKS spoken (all targets) | the proxy says that the tunnel stands |
| tls | TLS handshake with the target, inside the tunnel | both sides agreed |
| behind | the request sent inside the tunnel | the target's response head |
| forward | the request sent in absolute form (http targets) | a response head, the target's or the proxy's own |

What each behaviour becomes; `landed`: the trace goes on as if the target had said it.

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
| answers 429 | provider | provider |
| answers 503 | provider | provider |
| answers 429, as the target relayed by it | - | landed |
| answers 503, as the target relayed by it | - | target |
| answers 500 | target | target |
| answers 502 | target | target |
| answers 504 | target | target |
| answers 403 | ip | landed |
| answers 403, and says that it is the proxy's | ip | ip |
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

In `forward` the proxy and the target cannot be told apart for certain. What is broken before the first byte of an HTTP
answer is the proxy's, as a working proxy reports a broken target with a 502; but once the proxy has carried an answer
in the same trace it has proven itself, and the target is blamed. Silence is the target's: a proxy passes it on. The
same proof counts in `tunnel`. A status is the proxy's own where the answer says so (`fault_of_answer`); 429 and 503 are
as well, from a proxy that has not proven itself and with nothing in the answer that shows the target's hand: that costs
a second trace where it is wrong, and else saves the click. A proxy that answers CONNECT with 500, 502 or 504 does its
work and says that the target cannot be reached (RFC 9110, 15.6.3 and 15.6.5; name errors are reported so too): were it
the IP's fault, an offer with a dead host would turn every IP of a country unhealthy. The replies of SOCKS that report a
failure on the way to the host (RFC 1928, 6: 1, 3, 4, 5, 6) say the same; those by which the proxy does not let us
through (2, 7, 8) are the IP's.

Only the verdict `ip` counts against the IP; `ip` and `provider` are tried again through another one. While another one
is free, a proxy that is slow to answer CONNECT is left early, so that a visitor does not wait in vain: that is nobody's
fault yet, as the host may be the slow one, and goes by `provider`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from daemon.web.headers import RawHeaders, values_of


class Verdict(StrEnum):
    """Whose fault a trace's end is. `provider` and `credentials` are the provider's, not one IP's."""

    OK = "ok"
    IP = "ip"
    CREDENTIALS = "credentials"
    PROVIDER = "provider"
    TARGET = "target"
    OPERATOR = "operator"
    LIMIT = "limit"
    SERVICE = "service"  # a remote trace service did not do its part


class Phase(StrEnum):
    """Where in a hop something happened; the table above."""

    DIAL = "dial"
    TUNNEL = "tunnel"
    TLS = "tls"
    BEHIND = "behind"
    FORWARD = "forward"


class Kind(StrEnum):
    """How a hop failed."""

    NAME = "name"  # the proxy's name does not resolve
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NO_SOCKETS = "no_sockets"  # this machine has no descriptor, port or memory left
    STATUS = "status"  # CONNECT answered with another status than 2xx
    CREDENTIALS = "credentials"  # the SOCKS proxy wants another login, or a login at all
    SLOW = "slow"  # no answer to CONNECT in the time that leaves some for another IP
    TIMEOUT = "timeout"
    RESET = "reset"
    CLOSED = "closed"  # an end of the stream where a response head was due
    GARBAGE = "garbage"  # not as HTTP/1.x has it
    NOT_HTTP = "not_http"  # not even the beginning of an answer of HTTP/1.x
    HEAD_TOO_LARGE = "head_too_large"
    CERTIFICATE = "certificate"
    TLS = "tls"
    UNEXPECTED = "unexpected"  # an error that fetch.py does not know; it is in the log


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table: `reason` is a short code, `words` follow `hop 2 (ads.example): `."""

    verdict: Verdict
    reason: str
    words: str


_TARGET, _IP, _LIMIT = Verdict.TARGET, Verdict.IP, Verdict.LIMIT
_OURS = Fault(_LIMIT, "internal", "an unexpected error of the daemon's own; the log has it")
_HEAD = Fault(_LIMIT, "headers_too_large", "the response head is larger than trace.headers_bytes_max")

FAULTS: dict[tuple[Phase, Kind], Fault] = {
    (Phase.DIAL, Kind.NAME): Fault(_IP, "proxy_unreachable", "the proxy's name does not resolve"),
    (Phase.DIAL, Kind.REFUSED): Fault(_IP, "proxy_unreachable", "the proxy's port refuses connections"),
    (Phase.DIAL, Kind.UNREACHABLE): Fault(_IP, "proxy_unreachable", "the proxy's address cannot be reached"),
    (Phase.DIAL, Kind.TIMEOUT): Fault(_IP, "proxy_timeout", "the proxy did not accept a connection in time"),
    (Phase.DIAL, Kind.NO_SOCKETS): Fault(_LIMIT, "no_sockets", "this machine has no socket left for a connection"),
    (Phase.DIAL, Kind.CERTIFICATE): Fault(_IP, "proxy_tls", "the proxy's certificate does not verify"),
    (Phase.DIAL, Kind.TLS): Fault(_IP, "proxy_tls", "the TLS handshake with the proxy failed"),
    (Phase.DIAL, Kind.RESET): Fault(_IP, "proxy_tls", "the proxy broke the connection during the TLS handshake"),
    (Phase.DIAL, Kind.CLOSED): Fault(_IP, "proxy_tls", "the proxy closed the connection during the TLS handshake"),
    (Phase.TUNNEL, Kind.REFUSED): Fault(_IP, "proxy_refused", "the proxy does not let us through"),
    (Phase.TUNNEL, Kind.UNREACHABLE): Fault(_TARGET, "target_unreachable", "the proxy cannot reach the host"),
    (Phase.TUNNEL, Kind.CREDENTIALS): Fault(
        Verdict.CREDENTIALS, "proxy_credentials", "the proxy wants other credentials"
    ),
    (Phase.TUNNEL, Kind.TLS): Fault(_IP, "proxy_tls", "the TLS connection to the proxy failed"),
    (Phase.TUNNEL, Kind.SLOW): Fault(
        Verdict.PROVIDER, "proxy_slow", "the proxy did not answer CONNECT while there was time for another one"
    ),
    (Phase.TUNNEL, Kind.TIMEOUT): Fault(_IP, "proxy_timeout", "the proxy did not answer CONNECT in time"),
    (Phase.TUNNEL, Kind.RESET): Fault(_IP, "proxy_broken", "the proxy broke the connection during CONNECT"),
    (Phase.TUNNEL, Kind.CLOSED): Fault(_IP, "proxy_broken", "the proxy closed the connection during CONNECT"),
    (Phase.TUNNEL, Kind.GARBAGE): Fault(_IP, "proxy_garbage", "the proxy's answer to CONNECT is not of its protocol"),
    (Phase.TUNNEL, Kind.NOT_HTTP): Fault(_IP, "proxy_garbage", "the proxy answered CONNECT with something not HTTP"),
    (Phase.TUNNEL, Kind.HEAD_TOO_LARGE): Fault(_IP, "proxy_garbage", "the proxy's answer to CONNECT is too large"),
    (Phase.TLS, Kind.CERTIFICATE): Fault(_TARGET, "bad_certificate", "the certificate does not verify"),
    (Phase.TLS, Kind.TLS): Fault(_TARGET, "tls", "the TLS handshake failed"),
    (Phase.TLS, Kind.RESET): Fault(_TARGET, "tls", "the connection broke during the TLS handshake"),
    (Phase.TLS, Kind.CLOSED): Fault(_TARGET, "tls", "the connection was closed during the TLS handshake"),
    (Phase.TLS, Kind.TIMEOUT): Fault(_TARGET, "hop_timeout", "the TLS handshake did not end in time"),
    (Phase.BEHIND, Kind.TIMEOUT): Fault(_TARGET, "hop_timeout", "no complete response head in time"),
    (Phase.BEHIND, Kind.RESET): Fault(_TARGET, "target_broken", "the connection broke before a response head"),
    (Phase.BEHIND, Kind.CLOSED): Fault(_TARGET, "target_broken", "the connection was closed before a response head"),
    (Phase.BEHIND, Kind.TLS): Fault(_TARGET, "tls", "the TLS connection failed"),
    (Phase.BEHIND, Kind.GARBAGE): Fault(_TARGET, "garbage", "the response head is malformed"),
    (Phase.BEHIND, Kind.NOT_HTTP): Fault(_TARGET, "garbage", "the answer is not HTTP"),
    (Phase.BEHIND, Kind.HEAD_TOO_LARGE): _HEAD,
    (Phase.FORWARD, Kind.TIMEOUT): Fault(_TARGET, "hop_timeout", "no complete response head in time"),
    (Phase.FORWARD, Kind.RESET): Fault(_IP, "proxy_broken", "the proxy broke the connection without an answer"),
    (Phase.FORWARD, Kind.CLOSED): Fault(_IP, "proxy_broken", "the proxy closed the connection without an answer"),
    (Phase.FORWARD, Kind.TLS): Fault(_IP, "proxy_tls", "the TLS connection to the proxy failed"),
    (Phase.FORWARD, Kind.GARBAGE): Fault(_TARGET, "garbage", "the response head is malformed"),
    (Phase.FORWARD, Kind.NOT_HTTP): Fault(_IP, "proxy_garbage", "the proxy's answer is not HTTP"),
    (Phase.FORWARD, Kind.HEAD_TOO_LARGE): _HEAD,
}

# What replaces a row above once the proxy has carried bytes of an answer in this trace.
FAULTS_OF_A_PROVEN_PROXY: dict[tuple[Phase, Kind], Fault] = {
    (Phase.TUNNEL, Kind.TIMEOUT): Fault(_TARGET, "hop_timeout", "the proxy got no connection to the host in time"),
    (Phase.TUNNEL, Kind.RESET): Fault(_TARGET, "target_broken", "the proxy broke the connection during CONNECT"),
    (Phase.TUNNEL, Kind.CLOSED): Fault(_TARGET, "target_broken", "the proxy closed the connection during CONNECT"),
    (Phase.FORWARD, Kind.NOT_HTTP): FAULTS[Phase.BEHIND, Kind.NOT_HTTP],
    (Phase.FORWARD, Kind.RESET): FAULTS[Phase.BEHIND, Kind.RESET],
    (Phase.FORWARD, Kind.CLOSED): FAULTS[Phase.BEHIND, Kind.CLOSED],
}

# Statuses by which a proxy answers CONNECT; any other outside 2xx is `ip`, reason `proxy_refused`.
CONNECT_STATUSES: dict[int, tuple[Verdict, str]] = {
    401: (Verdict.CREDENTIALS, "proxy_credentials"),
    407: (Verdict.CREDENTIALS, "proxy_credentials"),
    429: (Verdict.PROVIDER, "provider_busy"),
    503: (Verdict.PROVIDER, "provider_busy"),
    500: (Verdict.TARGET, "target_unreachable"),
    502: (Verdict.TARGET, "target_unreachable"),
    504: (Verdict.TARGET, "target_unreachable"),
}

# Headers by which a proxy says that an answer is its own: Squid, Bright Data, and many after their manner; RFC 9209.
_OWN = re.compile(rb"x-(squid|luminati|brd|proxy)-err(or)?\b", re.IGNORECASE)
_OWN_BY_RFC_9209 = re.compile(rb";\s*error\s*=")
# Headers of what was relayed: by proxies that mention themselves (RFC 9110, 7.6.3), caches, and a site's own.
_RELAYED = frozenset({b"via", b"age", b"cache-status", b"set-cookie"})


def fault_of(phase: Phase, kind: Kind, *, status: int | None = None, proxy_proven: bool = False) -> Fault:
    """The fault of one failed hop. `status` is the proxy's, for `Kind.STATUS`; a pair the table lacks is our own fault.

    `proxy_proven`: an earlier hop of the trace got its answer through the same proxy, or this one got a part of it.
    """
    if kind is Kind.STATUS and status is not None:
        verdict, reason = CONNECT_STATUSES.get(status, (Verdict.IP, "proxy_refused"))
        return Fault(verdict, reason, f"the proxy answered CONNECT with status {status}")
    if proxy_proven and (proven := FAULTS_OF_A_PROVEN_PROXY.get((phase, kind))):
        return proven
    return FAULTS.get((phase, kind), _OURS)


def fault_of_answer(status: int, headers: RawHeaders, *, proxy_proven: bool) -> Fault | None:
    """The fault that an answer over plain http tells of as the proxy's own word; None: it is the target's answer.

    `proxy_proven`: an earlier hop of the trace got its answer through the same proxy.
    """
    if status < 400:
        return None
    if status == 407:
        return Fault(Verdict.CREDENTIALS, "proxy_credentials", "the proxy wants other credentials: status 407")
    names = {name.lower() for name, _ in headers}
    own = any(map(_OWN.match, names)) or any(map(_OWN_BY_RFC_9209.search, values_of(headers, b"proxy-status")))
    verdict, reason = CONNECT_STATUSES.get(status, (Verdict.IP, "proxy_refused"))
    if own:
        return Fault(verdict, reason, f"the proxy answered with status {status}")
    if verdict is Verdict.PROVIDER and not (proxy_proven or names & _RELAYED):
        return Fault(verdict, reason, f"answered with status {status}, by the proxy as far as can be told")
    return None
