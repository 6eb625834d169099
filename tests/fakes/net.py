"""Plain and TLS origins under example names behind one proxy, all on loopback; and traces through the proxy."""

import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import trustme

from daemon.providers.proxies import proxy_for
from daemon.providers.settings import Provider
from daemon.trace.engine.records import PageEngine
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, Identity, Limits, Walk
from daemon.trace.wire.session import Fetcher, trace
from tests.fakes.origins import Origin, Reply, origin
from tests.fakes.proxies import Proxy, proxy
from tests.support.engine import EngineHere

AUTHORITY = trustme.CA()
ISSUER = AUTHORITY.create_child_ca()  # its certificate is sent with those that it issues
START = "http://ads.example/start"
LIMITS = Limits(20, allow_private=True)


def context_for(
    *names: str, authority: trustme.CA = ISSUER, not_after: datetime.datetime | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, not_after=not_after).configure_cert(context)
    return context


def fetcher(
    *,
    hop_timeout_s: float = 5,
    connect_timeout_s: float = 2,
    headers_bytes_max: int = 65_536,
    engine: PageEngine | None = None,
) -> Fetcher:
    """`engine`: by default one in this process."""
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    return Fetcher(
        hop_timeout_s=hop_timeout_s,
        connect_timeout_s=connect_timeout_s,
        headers_bytes_max=headers_bytes_max,
        engine=EngineHere() if engine is None else engine,
        ssl_context=trusting,
    )


async def traced(
    proxy_port: int,
    url: str = START,
    *,
    by: Fetcher | None = None,
    provider: Provider | None = None,
    timeout_s: float = 10,
    limits: Limits = LIMITS,
) -> TraceResult:
    walk = Walk(url, Identity("tester/1"), limits)
    address = proxy_for("127.0.0.1", str(proxy_port), provider)
    return await trace(by or fetcher(), address, walk, timeout_s=timeout_s)


@dataclass
class Net:
    """Plain and TLS origins under example names, behind one proxy."""

    plain: Origin
    secure: Origin
    proxy: Proxy
    port: int


def ports_of(plain_port: int, tls_port: int) -> dict[str, int]:
    """The loopback ports of the example names, for the proxy."""
    ports = {f"{name}.example:80": plain_port for name in ("ads", "b", "c", "d", "e")}
    return ports | {f"{name}.example:443": tls_port for name in ("secure", "s1", "s2", "s3", "s4", "s5")}


@contextlib.asynccontextmanager
async def net(
    plain: dict[str, Reply | list[Reply]],
    secure: dict[str, Reply | list[Reply]] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    credentials: tuple[str, str] | None = None,
    closes_after_answer: bool = False,
    own_header: str = "",
    proxy_tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Net]:
    tls = tls or context_for("secure.example", *(f"s{number}.example" for number in range(1, 6)))
    async with origin(plain) as (plain_origin, plain_port), origin(secure or {}, tls=tls) as (tls_origin, tls_port):
        ports = ports_of(plain_port, tls_port)
        async with proxy(
            ports,
            credentials=credentials,
            closes_after_answer=closes_after_answer,
            own_header=own_header,
            tls=proxy_tls,
        ) as (served, port):
            yield Net(plain_origin, tls_origin, served, port)


def gave_up(result: TraceResult) -> GaveUp:
    assert isinstance(result.end, GaveUp), result
    return result.end
