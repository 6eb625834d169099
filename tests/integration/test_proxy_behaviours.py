"""Each behaviour of a proxy over real sockets has the verdict of the table in verdicts.py, which this test reads."""

import contextlib
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

import pytest
import trio
import trustme

from daemon.providers.proxies import ProxyAddress
from daemon.trace.walk import verdicts
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, Identity, Landed, Limits, Walk
from daemon.trace.wire.session import trace
from tests.fakes import origins, proxies
from tests.fakes.net import AUTHORITY, context_for, fetcher, traced
from tests.fakes.origins import Reply, origin, page, redirect, reply
from tests.fakes.proxies import Misbehaviour, Proxy, answering, proxy, sending
from tests.fakes.wire import free_port, listening

OUTCOME = "|".join(["-", "landed", *verdicts.Verdict])
ROW = re.compile(rf"^\| (?P<behaviour>.+) \| (?P<https>{OUTCOME}) \| (?P<http>{OUTCOME}) \|$", re.MULTILINE)
DOCUMENTED = {row["behaviour"]: row for row in ROW.finditer(verdicts.__doc__ or "")}
FIRST = {"http": "http://ads.example/start", "https": "https://secure.example/start"}
HOP_TIMEOUT_S = 0.4

Replies = dict[str, Reply | list[Reply]]


class Player(Protocol):
    async def trace(self, scheme: str) -> TraceResult: ...


@dataclass(frozen=True, slots=True)
class Plays:
    """A proxy that misbehaves from its nth request on; the first page of its origins redirects to a second one."""

    misbehave: Misbehaviour | None = None
    from_request: int = 1
    landing: Reply = field(default_factory=page)
    foreign_certificate: bool = False

    async def trace(self, scheme: str) -> TraceResult:
        plain: Replies = {"ads.example/start": redirect("http://b.example/next"), "b.example/next": self.landing}
        secure: Replies = {"secure.example/start": redirect("https://s1.example/next"), "s1.example/next": self.landing}
        authority = trustme.CA() if self.foreign_certificate else AUTHORITY
        tls = context_for("secure.example", "s1.example", authority=authority)
        async with origin(plain) as (_, plain_port), origin(secure, tls=tls) as (_, tls_port):
            ports = {"ads.example:80": plain_port, "b.example:80": plain_port}
            ports |= {"secure.example:443": tls_port, "s1.example:443": tls_port}
            async with proxy(ports, misbehave=self.misbehave, misbehaves_from=self.from_request) as (_, port):
                return await through(port, scheme)


async def through(port: int, scheme: str) -> TraceResult:
    return await traced(port, FIRST[scheme], by=fetcher(hop_timeout_s=HOP_TIMEOUT_S, connect_timeout_s=0.3))


class Refuses:
    async def trace(self, scheme: str) -> TraceResult:
        return await through(free_port(), scheme)


class TakesNoConnection:
    """The proxy's backlog is full."""

    async def trace(self, scheme: str) -> TraceResult:
        with contextlib.ExitStack() as open_sockets:
            full = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            address = full.getsockname()
            for _ in range(3):
                waiting = open_sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address)
            return await through(address[1], scheme)


class HasNoAddress:
    async def trace(self, scheme: str) -> TraceResult:
        walk = Walk(FIRST[scheme], Identity("tester/1"), Limits(20, allow_private=True))
        return await trace(fetcher(), ProxyAddress("a" * 70 + ".invalid", 7000), walk, timeout_s=5)


class RefusesLater:
    """The proxy serves one connection, then its port refuses connections."""

    async def trace(self, scheme: str) -> TraceResult:
        plain: Replies = {"ads.example/start": redirect("http://b.example/next")}
        secure: Replies = {"secure.example/start": redirect("https://s1.example/next")}
        tls = context_for("secure.example")
        async with origin(plain) as (_, plain_port), origin(secure, tls=tls) as (_, tls_port):
            ports = {"ads.example:80": plain_port, "secure.example:443": tls_port}
            async with one_connection(Proxy(ports, closes_after_answer=True)) as port:
                return await through(port, scheme)


@contextlib.asynccontextmanager
async def one_connection(served: Proxy) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def one() -> None:
            async with listener:
                stream = await listener.accept()
            async with stream:
                await served.serve(stream)

        nursery.start_soon(one)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class BreaksTls:
    """The target in the tunnel speaks another protocol than TLS."""

    async def trace(self, scheme: str) -> TraceResult:
        async def mail(stream: trio.abc.Stream) -> None:
            await stream.receive_some(65_536)
            await stream.send_all(b"220 smtp\r\n")

        async with listening(mail) as port, proxy({"secure.example:443": port}) as (_, proxy_port):
            return await through(proxy_port, scheme)


def own(status: int) -> Misbehaviour:
    """With a header that marks a gateway's own answers."""
    return sending(b"HTTP/1.1 %d No\r\nX-Error-Description: no\r\nContent-Length: 0\r\n\r\n" % status)


def relayed(status: int) -> Misbehaviour:
    return sending(b"HTTP/1.1 %d No\r\nVia: 1.1 gate\r\nContent-Length: 0\r\n\r\n" % status)


STATUSES = (400, 401, 402, 403, 405, 407, 429, 451, 500, 502, 503, 504, 522)
PLAYERS: dict[str, Player] = {
    "refuses connections": Refuses(),
    "does not take a connection in time": TakesNoConnection(),
    "has a name that does not resolve": HasNoAddress(),
    "closes without an answer": Plays(proxies.closing),
    "resets without an answer": Plays(proxies.resetting),
    "answers with something that is not HTTP": Plays(sending(b"SSH-2.0-server\r\n")),
    "closes within its answer": Plays(sending(b"HTTP/1.1 20")),
    "says nothing": Plays(proxies.silent),
    "answers with a head that is too large": Plays(sending(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000)),
    "answers 429, as the target relayed by it": Plays(relayed(429)),
    "answers 503, as the target relayed by it": Plays(relayed(503)),
    **{
        f"answers {status}, and says that it is the proxy's": Plays(own(status))
        for status in (400, 402, 403, 407, 502, 525)
    },
    "answers 503 to the second hop": Plays(answering(503), 2),
    "closes without an answer to the second hop": Plays(proxies.closing, 2),
    "resets without an answer to the second hop": Plays(proxies.resetting, 2),
    "says nothing to the second hop": Plays(proxies.silent, 2),
    "refuses connections for the second hop": RefusesLater(),
    "opens the tunnel, and the certificate does not verify": Plays(foreign_certificate=True),
    "opens the tunnel, and TLS breaks": BreaksTls(),
    "opens the tunnel and says nothing": Plays(proxies.opening_nothing),
    "opens the tunnel, and the target closes without an answer": Plays(landing=origins.CLOSES),
    "opens the tunnel, and the target answers 407": Plays(landing=reply(407)),
    **{f"answers {status}": Plays(answering(status)) for status in STATUSES},
}


def test_the_table_and_this_test_have_the_same_behaviours() -> None:
    assert DOCUMENTED.keys() == PLAYERS.keys()


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("behaviour", DOCUMENTED)
async def test_a_proxys_behaviour_has_the_verdict_of_the_table(behaviour: str, scheme: str) -> None:
    expected = DOCUMENTED[behaviour][scheme]
    if expected == "-":
        return
    with trio.fail_after(20):
        result = await PLAYERS[behaviour].trace(scheme)
    if expected == "landed":
        assert isinstance(result.end, Landed), result.end
    else:
        assert isinstance(result.end, GaveUp)
        assert result.end.verdict.value == expected, result.end.message
