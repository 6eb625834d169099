"""Bytes of a five-hop chain to a 500 KB page through a proxy, compared with `curl -L` through the same proxy.

The chain is plain, or has TLS on every hop (five hosts, so five handshakes, with certificates of a usual size), or the
offer stops at the landing's host. There are two pages: the text of one begins at once, the head of the other is longer
than the daemon reads. The proxy counts bytes on the wire, as providers bill them, not bytes that it queued and dropped.
"""

import itertools
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
import trustme

from daemon.demo.wire import free_port_for
from daemon.providers.proxies import proxy_for
from daemon.trace.walk.steps import Identity, Landed, Limits, Walk
from daemon.trace.wire.session import Fetcher, trace
from tests.bench.figures import Figure, shown
from tests.bench.scene import PROXY_PORT_FROM, BenchmarkBroke, Scene
from tests.fakes.network import FakeNetwork, fake_network
from tests.fakes.origins import Reply, origin, page, redirect

HOSTS = tuple(f"hop{number}.example" for number in range(5))
PAGE_BYTES = 500_000
PAGES = {
    "text at once": b"<!doctype html><title>Shop</title><p>" + b"All that you need. " * (PAGE_BYTES // 19),
    "a long head": b"<!doctype html><title>Shop</title><style>" + b"a{b:c}" * (PAGE_BYTES // 6),
}
TARGETS_KB = {"http": 40.0, "https": 75.0}
STOPPED_KB = {"http": 2.0, "https": 20.0}  # without the landing's handshake; four of them and their redirects
DISAGREEMENT_PERCENT = 5.0
ADDRESS = "127.1.0.1"
SETTLED_S = 0.3
RSA = trustme.KeyType.RSA


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes in both directions, as counted by the proxy and by the trace (None for curl)."""

    proxy: int
    ours: int | None = None

    @property
    def off_percent(self) -> float:
        return 0.0 if self.ours is None else 100 * abs(self.ours - self.proxy) / self.proxy


class Wire:
    """A proxy that counts bytes, in front of plain and TLS origins."""

    def __init__(self, network: FakeNetwork, certificate: Path) -> None:
        self._network = network
        self._certificate = certificate
        trusting = ssl.create_default_context(cafile=str(certificate))
        trusting.set_alpn_protocols(["http/1.1"])
        self._fetcher = Fetcher(hop_timeout_s=10, connect_timeout_s=5, headers_bytes_max=65_536, ssl_context=trusting)

    async def traced(self, url: str, stop_at: frozenset[str] = frozenset()) -> Cost:
        before = await self._counted()
        limits = Limits(hops_max=20, allow_private=True, stop_at=stop_at)
        proxy = proxy_for(ADDRESS, str(self._network.proxy_port))
        result = await trace(self._fetcher, proxy, Walk(url, Identity("tracepool"), limits), timeout_s=30)
        if not isinstance(result.end, Landed):
            raise BenchmarkBroke(f"the trace did not land: {result.end}")
        return Cost(await self._counted() - before, result.bytes_received + result.bytes_sent)

    async def curled(self, url: str) -> Cost:
        before = await self._counted()
        command = ["curl", "-q", "-sSLf", "-o", "/dev/null", "--noproxy", "", "--cacert", str(self._certificate)]
        command += ["-x", f"http://{ADDRESS}:{self._network.proxy_port}", url]
        await trio.run_process(command)
        return Cost(await self._counted() - before)

    async def _counted(self) -> int:
        """The proxy's count after the end of the last connection."""
        await trio.sleep(SETTLED_S)
        return sum(event.bytes_in + event.bytes_out for event in self._network.log.of_proxies())


@asynccontextmanager
async def wire(body: bytes) -> AsyncIterator[Wire]:
    root = trustme.CA(key_type=RSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    root.create_child_ca(RSA).issue_cert(*HOSTS, key_type=RSA).configure_cert(context)
    async with (
        origin(_chain("http", body)) as (_, plain_port),
        origin(_chain("https", body), tls=context) as (_, tls_port),
    ):
        names = {f"{host}:80": ("127.0.0.1", plain_port) for host in HOSTS}
        names |= {f"{host}:443": ("127.0.0.1", tls_port) for host in HOSTS}
        port = free_port_for([ADDRESS], PROXY_PORT_FROM)
        async with fake_network([ADDRESS], proxy_port=port, names=names) as network:
            with tempfile.NamedTemporaryFile(suffix=".pem") as certificate:
                certificate.write(root.cert_pem.bytes())
                certificate.flush()
                yield Wire(network, Path(certificate.name))


def _chain(scheme: str, body: bytes) -> dict[str, Reply | list[Reply]]:
    replies: dict[str, Reply | list[Reply]] = {f"{HOSTS[-1]}/": page(body)}
    for host, following in itertools.pairwise(HOSTS):
        replies[f"{host}/"] = redirect(f"{scheme}://{following}/", ("Set-Cookie", "click=7f3a9c; Path=/"))
    return replies


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    return trio.run(_measured, say)


async def _measured(say: Callable[[str], None]) -> list[Figure]:
    figures, off = [], []
    for name, body in PAGES.items():
        async with wire(body) as served:
            for scheme, target_kb in TARGETS_KB.items():
                say(f"{scheme}, {name}")
                url = f"{scheme}://{HOSTS[0]}/"
                ours, curl = await served.traced(url), await served.curled(url)
                off.append(ours.off_percent)
                what = "plain" if scheme == "http" else "TLS on every hop"
                figures.append(_figure(f"bytes of a five-hop chain, {what}, {name}", ours, curl, target_kb))
                if name == "text at once":
                    stopped = await served.traced(url, frozenset({HOSTS[-1]}))
                    off.append(stopped.off_percent)
                    figures.append(
                        _figure(f"bytes, {what}, stop_at names the landing's host", stopped, curl, STOPPED_KB[scheme])
                    )
    note = f"the largest difference of {len(off)} traces"
    return [
        *figures,
        Figure("bytes counted, off the proxy's own count", max(off), "%", DISAGREEMENT_PERCENT, note=note),
    ]


def _figure(name: str, ours: Cost, curl: Cost, target_kb: float) -> Figure:
    return Figure(
        name,
        ours.proxy / 1_000,
        "KB",
        target_kb,
        reference=curl.proxy / 1_000,
        beside="curl -L through the same proxy",
        note=f"counted by the proxy, both directions; by the trace: {shown((ours.ours or 0) / 1_000, 'KB')}",
    )
