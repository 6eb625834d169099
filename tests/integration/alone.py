"""Traces by the browser in a network namespace of their own: what went out.

As a program, which tests start in a new namespace. It prints one line of JSON: the datagrams that were sent, the
connections that were begun and those that were accepted, the connections to a port that no page may reach, and where
the traces landed.
"""

import functools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import trio

from daemon.providers.proxies import proxy_for
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.browser.tracing import browse
from daemon.trace.walk.steps import Identity, Landed, Limits, Walk
from tests.fakes.net import START, fetcher, net
from tests.fakes.origins import Reply, page, redirect, reply
from tests.support.tracers import browser_running

CANARY = "127.0.0.1:9999"
ALL_HOSTS = "010000E0"  # 224.0.0.1, which the kernel joins
IDLE_S = 3.0  # for what a browser does by itself
SETUP = (
    "link set lo up",
    "link add out0 type veth peer name out1",  # WebRTC does not use loopback
    "link set out0 up",
    "link set out1 up",
    "addr add 192.0.2.2/24 dev out0",
    "route add default via 192.0.2.1 dev out0",
)
NAMES = "x1.example x2.example localhost ip6-localhost 127.0.0.1:9999 [::1]:9999 192.0.2.7 198.51.100.9"
MARKUP = "<!doctype html><title>x</title>" + "".join(
    f"<link rel=dns-prefetch href=//{name}><link rel=preconnect href=https://{name}><link rel=prefetch href=//{name}/p>"
    f"<link rel=stylesheet href=http://{name}/s><img src=http://{name}/i><iframe src=http://{name}/f></iframe>"
    f"<script src=http://{name}/j></script><a ping=http://{name}/g href=#></a>"
    for name in NAMES.split()
)
SCRIPT = """
var candidates = [];
for (const name of 'NAMES'.split(' ')) {
    const host = name.replace(/:9999$/, '');
    fetch('http://' + name + '/fetch', {mode: 'no-cors'}).catch(() => {});
    navigator.sendBeacon('http://' + name + '/beacon', 'x');
    try {
        new WebSocket('ws://' + name + '/w');
        new WebTransport('https://' + host + ':4433/');
    } catch (e) {}
    const peer = new RTCPeerConnection({iceServers: [
        {urls: 'stun:' + host + ':3478'},
        {urls: ['turn:' + host + ':3478?transport=udp', 'turn:' + host + ':3478?transport=tcp'],
         username: 'u', credential: 'c'}]});
    peer.onicecandidate = (event) => event.candidate && candidates.push(event.candidate.candidate);
    peer.createDataChannel('x');
    peer.createOffer().then((offer) => peer.setLocalDescription(offer));
}
const code = "fetch('http://127.0.0.1:9999/worker', {mode: 'no-cors'}).catch(() => {})";
new Worker(URL.createObjectURL(new Blob([code])));
""".replace("NAMES", NAMES)
LEAKS = f"{MARKUP}<script>{SCRIPT} fetch('/slow').then(() => {{ location = 'http://b.example/landed' }})</script>"
PAGES: Mapping[str, Reply | list[Reply]] = {
    "ads.example/start": redirect("/leaks"),
    "ads.example/leaks": reply(200, ("Content-Type", "text/html"), body=LEAKS.encode()),
    "ads.example/slow": Reply((b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"), pause_s=2),
    "b.example/landed": page(),
    "ads.example/canary": reply(
        200, ("Content-Type", "text/html"), body=f"<script>location = 'http://{CANARY}/'</script>".encode()
    ),
}


def counters() -> dict[str, int]:
    """Of this network namespace, such as UdpOutDatagrams."""
    found: dict[str, int] = {}
    with open("/proc/net/snmp") as lines:
        for names in lines:
            numbers = next(lines)
            found |= {
                names.split(":")[0] + name: int(number)
                for name, number in zip(names.split()[1:], numbers.split()[1:], strict=True)
            }
    return found


def multicast_groups() -> list[str]:
    """The multicast groups of IPv4 that programs have joined."""
    rows = Path("/proc/net/igmp").read_text().splitlines()
    return sorted({row.split()[0] for row in rows if row.startswith("\t")} - {ALL_HOSTS})


async def main() -> None:
    for command in SETUP:
        subprocess.run(["ip", *command.split()], check=True)  # noqa: ASYNC221 - nothing else runs yet
    reached = 0

    async def count(stream: trio.SocketStream) -> None:
        nonlocal reached
        reached += 1
        await stream.aclose()

    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(functools.partial(trio.serve_tcp, count, 9999, host="127.0.0.1"))
        async with net(dict(PAGES)) as here, browser_running(LiveSettings(Settings())) as browser:
            for url in (START, "http://ads.example/canary", f"http://{CANARY}/"):
                walk = Walk(url, Identity("tester/1"), Limits(20, allow_private=False))
                proxy = proxy_for("127.0.0.1", str(here.port))
                result = await browse(browser, fetcher(), proxy, walk, timeout_s=40)
                ends.append(result.end.url if isinstance(result.end, Landed) else result.end.reason)
            # WebRTC gathers no addresses while a page's time stands still: once more in real time.
            async with browser.tab(f"http://127.0.0.1:{here.port}", wait_s=5) as tab:
                await tab.call("Runtime.evaluate", expression=SCRIPT)
                await trio.sleep(IDLE_S)
                result = (await tab.call("Runtime.evaluate", expression="candidates.join()"))["result"]
                groups = multicast_groups()
            now = counters()
            hosts = sorted({request.target.split("/")[2] for request in here.proxy.seen if "//" in request.target})
        nursery.cancel_scope.cancel()
    print(
        json.dumps(
            {
                "datagrams": now["UdpOutDatagrams"],
                "begun": now["TcpActiveOpens"],
                "accepted": now["TcpPassiveOpens"],
                "reached": reached,
                "ends": ends,
                "hosts": hosts,
                "candidates": result["value"],
                "groups": groups,
            }
        )
    )


if __name__ == "__main__":
    trio.run(main)
    sys.exit(0)
