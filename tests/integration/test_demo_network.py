"""The demo network over real sockets: chains through its proxies, each failure on demand, its log, its process."""

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing
import trustme

from daemon.demo.history import OriginEvent, check
from daemon.demo.network import demo_network
from daemon.demo.wire import HEAD_BYTES_MAX, Connection, PortBusy, Request, free_port_for
from daemon.errors import BadInput
from tests.fakes.events import ProxyEvent, read_log
from tests.fakes.network import Failure, FakeNetwork, fake_network, main, parse_addresses
from tests.fakes.wire import free_port
from tests.support.waiting import until

ADDRESSES = ("127.1.0.1", "127.1.0.2", "127.1.0.3")
PATIENCE_S = 10.0
"""No test waits longer for something that must happen; none passes by waiting."""


@pytest.fixture
async def network() -> AsyncIterator[FakeNetwork]:
    async with fake_network(ADDRESSES, proxy_port=free_port(*ADDRESSES)) as running:
        yield running


def through(network: FakeNetwork, address: str, **more: object) -> httpx.AsyncClient:
    proxy = f"http://{address}:{network.proxy_port}"
    return httpx.AsyncClient(proxy=proxy, trust_env=False, timeout=PATIENCE_S, **more)  # type: ignore[arg-type]


async def test_a_chain_lands_with_its_click_id_before_the_callers_query(network: FakeNetwork) -> None:
    async with through(network, ADDRESSES[0], follow_redirects=True) as client:
        answer = await client.get(network.chain_url(hops=5, delay_ms=1, page_bytes=700) + "?gclid=a%20b&x=")
    assert [step.status_code for step in answer.history] == [302] * 5
    assert answer.history[0].headers["location"] == "/c/1/5/700/1?cid=1&gclid=a%20b&x="
    assert str(answer.url) == "http://track.example/c/1/5/700/5?cid=1&gclid=a%20b&x="
    assert (answer.status_code, len(answer.content)) == (200, 700)
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_chain_with_a_landing_host_ends_there(network: FakeNetwork) -> None:
    url = network.chain_url(
        hops=3, delay_ms=1, page_bytes=12, host="track.summer-sale.example", landing="www.shop.example"
    )
    async with through(network, ADDRESSES[0], follow_redirects=True) as client:
        landed = await client.get(url + "?gclid=7")
        again = await client.get(landed.url)
    assert str(landed.url) == "http://www.shop.example/landing?cid=1&gclid=7"
    assert (len(landed.history), len(landed.content), again.status_code) == (3, 12, 200)
    # The second visit is no part of the chain, lest it look like a fifth request of the trace.
    assert [(event.cid, event.hop) for event in network.log.of_origin()] == [
        (1, 0),
        (1, 1),
        (1, 2),
        (1, 3),
        (None, None),
    ]


async def test_each_chain_has_a_click_id_of_its_own_whatever_the_query_says(network: FakeNetwork) -> None:
    async with through(network, ADDRESSES[0]) as client:
        places = [(await client.get(network.chain_url(1, 0) + "?cid=1")).headers["location"] for _ in range(2)]
    assert places == ["/c/0/1/0/1?cid=1&cid=1", "/c/0/1/0/1?cid=2&cid=1"]
    await until(lambda: len(network.log.of_proxies()) == 2)
    assert [event.cid for event in network.log.of_proxies()] == [1, 2]


async def test_the_origin_sees_the_address_of_the_proxy(network: FakeNetwork) -> None:
    for address in ADDRESSES:
        async with through(network, address) as client:
            assert (await client.get("http://whoami.test/ip")).text == address
    assert [event.address for event in network.log.of_origin()] == list(ADDRESSES)


async def test_one_connection_serves_a_whole_chain_on_both_sides(network: FakeNetwork) -> None:
    async with through(network, ADDRESSES[0], follow_redirects=True) as client:
        await client.get(network.chain_url(4, 0))
    proxied = network.log.of_proxies()
    assert {event.connection for event in proxied} == {1}
    assert [event.cid for event in proxied] == [1] * 5
    assert [event.status for event in proxied] == [302, 302, 302, 302, 200]
    for event in proxied:
        assert event.began_s <= event.ended_s
        assert event.bytes_in > len(event.target)
        assert event.bytes_out > 0


async def test_a_log_file_has_every_request_and_its_times_in_order(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    async with fake_network(ADDRESSES, proxy_port=free_port(*ADDRESSES), log=log) as network:
        async with through(network, ADDRESSES[1], follow_redirects=True) as client:
            await client.get(network.chain_url(2, 5))
            written = list(read_log(log))  # at once, not at the end
        assert sorted(written, key=lambda event: event.ended_s) == written
    assert written == list(network.log.events)
    hops = [event for event in written if isinstance(event, OriginEvent)]
    assert [(event.hop, event.hops, event.address) for event in hops] == [(k, 2, ADDRESSES[1]) for k in range(3)]
    assert all(event.ended_s - event.began_s >= 0.005 for event in hops)
    assert len(written) == 6


async def test_the_checker_clears_one_trace_after_another_and_names_two_at_once(network: FakeNetwork) -> None:
    async def trace(address: str) -> None:
        async with through(network, address, follow_redirects=True) as client:
            await client.get(network.chain_url(2, 20))

    await trace(ADDRESSES[0])
    await trace(ADDRESSES[0])
    assert check(network.log.events, cooldown_s=0) == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trace, ADDRESSES[1])
        nursery.start_soon(trace, ADDRESSES[2])
    assert check(network.log.events, cooldown_s=0) == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trace, ADDRESSES[1])
        nursery.start_soon(trace, ADDRESSES[1])
    found = check(network.log.of_origin(), cooldown_s=0)
    assert [(breach.kind, breach.address) for breach in found] == [("overlap", ADDRESSES[1])]
    assert check(network.log.of_proxies(), cooldown_s=0) != []
    assert all(event.cid is not None for event in network.log.events), "all were judged"


async def test_a_client_that_gives_up_ends_the_hop_at_the_origin(network: FakeNetwork) -> None:
    async with through(network, ADDRESSES[0]) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(network.chain_url(5, 60_000), timeout=httpx.Timeout(PATIENCE_S, read=0.5))
    await until(lambda: len(network.log.events) == 2)
    [hop], [passed] = network.log.of_origin(), network.log.of_proxies()
    assert (hop.cid, hop.hop, hop.status, hop.bytes_out) == (1, 0, 0, 0)
    assert (passed.cid, passed.status, passed.bytes_out) == (None, 0, 0)


async def test_a_tunnel_carries_tls_from_the_proxys_address(network: FakeNetwork) -> None:
    authority = trustme.CA()
    serving, asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(asking)
    clients: list[str] = []

    async def greet(stream: trio.SSLStream[trio.SocketStream]) -> None:
        clients.append(stream.transport_stream.socket.getpeername()[0])
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, greet, [trio.SSLListener(listener, serving)])
        port = listener.socket.getsockname()[1]
        async with through(network, ADDRESSES[2], verify=asking) as client:
            assert (await client.get(f"https://127.0.0.1:{port}/")).text == "hello"
        nursery.cancel_scope.cancel()
    assert clients == [ADDRESSES[2]]
    await until(lambda: len(network.log.events) == 1)
    [event] = network.log.of_proxies()
    assert (event.target, event.status, event.cid) == (f"127.0.0.1:{port}", 200, None)
    assert event.bytes_in > 200
    assert event.bytes_out > 500


async def test_a_chunked_answer_and_a_posted_body_pass_through(network: FakeNetwork) -> None:
    got: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        data = b""
        while not data.endswith(b"a=1&b=2"):
            data += await stream.receive_some()
        got.append(data)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await stream.send_all(b"0\r\n\r\n")
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        at = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with through(network, ADDRESSES[0]) as client:
            headers = {"Proxy-Authorization": "Basic Zm9v"}
            assert (await client.post(f"{at}/form", content=b"a=1&b=2", headers=headers)).text == "abc"
        nursery.cancel_scope.cancel()
    assert got[0].startswith(b"POST /form HTTP/1.1\r\n")
    assert b"proxy-" not in got[0].lower()


async def test_one_client_connection_may_go_to_one_host_after_another(network: FakeNetwork) -> None:
    other = f"http://127.0.0.1:{network.proxy_port}/"  # nobody listens there: the proxies are on other addresses
    origins = [f"http://{network.origin[0]}:{network.origin[1]}/ip", "http://whoami.test/ip", other]
    async with fake_network([]) as elsewhere:
        origins.append(f"http://{elsewhere.origin[0]}:{elsewhere.origin[1]}/ip")
        origins.append("http://whoami.test/ip")
        stream = await trio.open_tcp_stream(ADDRESSES[0], network.proxy_port)
        async with stream:
            statuses = []
            for url in origins:
                await stream.send_all(f"GET {url} HTTP/1.1\r\nHost: any\r\n\r\n".encode())
                statuses.append((await stream.receive_some())[9:12])
        assert statuses == [b"200", b"200", b"502", b"200", b"200"]
        assert [event.address for event in elsewhere.log.of_origin()] == [ADDRESSES[0]]
    assert {event.connection for event in network.log.of_proxies()} == {1}


async def test_a_request_that_asks_for_a_close_gets_its_answer_first(network: FakeNetwork) -> None:
    for target, address in [("http://whoami.test/ip", (ADDRESSES[0], network.proxy_port)), ("/ip", network.origin)]:
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n".encode())
            with trio.fail_after(PATIENCE_S):
                answer = b"".join([bytes(piece) async for piece in stream])
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"127.0.0.1" if target == "/ip" else ADDRESSES[0].encode())


async def test_a_request_without_an_answer_is_recorded_without_the_status_of_the_one_before(
    network: FakeNetwork,
) -> None:
    async with through(network, ADDRESSES[0]) as client:
        assert (await client.get(network.chain_url(1, 0))).status_code == 302
        network.fail(ADDRESSES[0], "silent")
        with pytest.raises(httpx.ReadTimeout):
            await client.get(network.chain_url(1, 0), timeout=0.1)
    await until(lambda: len(network.log.of_proxies()) == 2)
    assert [(event.status, event.cid, event.bytes_out > 0) for event in network.log.of_proxies()] == [
        (302, 1, True),
        (0, None, False),
    ]


async def test_requests_sent_together_come_one_by_one_with_their_bodies() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    connection, got = Connection(theirs), []
    chunked = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    last = b"GET /b HTTP/1.0\r\nX-Some: y\r\n\r\n"
    await ours.send_all(chunked + last + b"more")

    async def answer_one(request: Request) -> bool:
        got.append((request.method, request.target, request.value("x-some"), request.body, connection.bytes_in))
        return True

    await connection.serve(answer_one)
    assert got == [("POST", "/a", None, b"abcde", len(chunked)), ("GET", "/b", "y", b"", len(chunked + last))]
    assert await connection.receive() == b"more"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://192.0.2.1/", 403),
        ("http://nowhere.invalid/", 502),
        ("http://127.0.0.1:1/", 502),
        ("http://track.example/elsewhere", 404),
        ("http://track.example/c/0/3/0/4", 404),
    ],
)
async def test_where_it_cannot_or_must_not_go_it_says_so_and_serves_on(
    network: FakeNetwork, url: str, status: int
) -> None:
    async with through(network, ADDRESSES[0]) as client:
        assert (await client.get(url)).status_code == status
        assert (await client.get("http://whoami.test/ip")).status_code == 200
    await until(lambda: len(network.log.of_proxies()) == 2)
    assert [event.status for event in network.log.of_proxies()] == [status, 200]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET http://a.test/a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST http://a.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n",
        b"POST http://a.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST http://a.test/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"x" * (HEAD_BYTES_MAX * 2),
    ],
)
async def test_what_is_no_request_gets_400_or_a_close(network: FakeNetwork, request_bytes: bytes) -> None:
    stream = await trio.open_tcp_stream(ADDRESSES[0], network.proxy_port)
    async with stream:
        with trio.fail_after(PATIENCE_S):
            try:
                await stream.send_all(request_bytes)
                answer = await stream.receive_some()
            except trio.BrokenResourceError:  # closed with bytes of ours unread
                answer = b""
    assert answer.startswith(b"HTTP/1.1 400 ") or not answer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "outcome"), [("refuse", httpx.ConnectError), ("silent", httpx.ReadTimeout), (407, 407), (502, 502)]
)
async def test_an_address_fails_on_demand_until_it_is_mended(
    network: FakeNetwork, failure: Failure, outcome: int | type[Exception]
) -> None:
    url, bad = network.chain_url(1, 0), ADDRESSES[1]

    async def ask(address: str, timeout_s: float = PATIENCE_S) -> int:
        async with through(network, address) as client:
            return (await client.get(url, timeout=timeout_s)).status_code

    assert await ask(bad) == 302
    network.fail(bad, failure)
    if isinstance(outcome, int):
        assert await ask(bad) == outcome
    else:
        with pytest.raises(outcome):
            await ask(bad, 0.1 if failure == "silent" else PATIENCE_S)
    assert await ask(ADDRESSES[0]) == 302
    network.fail(bad, None)
    assert await ask(bad) == 302


@pytest.mark.parametrize("status", [407, 502])
async def test_a_tunnel_is_refused_with_the_set_status(network: FakeNetwork, status: Failure) -> None:
    network.fail(ADDRESSES[0], status)
    async with through(network, ADDRESSES[0]) as client:
        with pytest.raises(httpx.ProxyError, match=str(status)):
            await client.get("https://track.example/")
    await until(lambda: [event.status for event in network.log.of_proxies()] == [status])


async def test_a_busy_port_is_named_and_another_one_found(network: FakeNetwork) -> None:
    with pytest.raises(PortBusy, match=rf"127\.1\.0\.2:{network.proxy_port}") as busy:
        async with fake_network(["127.1.0.9", "127.1.0.2"], proxy_port=network.proxy_port):
            pytest.fail("it served on a port that was taken")
    assert (busy.value.address, busy.value.port) == ("127.1.0.2", network.proxy_port)
    free = free_port_for(ADDRESSES, network.proxy_port)
    assert free > network.proxy_port
    async with demo_network(ADDRESSES, network.proxy_port) as second:
        assert second.proxy_port == free
        proxy = f"http://{ADDRESSES[0]}:{free}"
        async with httpx.AsyncClient(proxy=proxy, trust_env=False) as client:
            assert (await client.get("http://whoami.test/ip")).text == ADDRESSES[0]
        assert [event.address for event in second.seen] == [ADDRESSES[0]]


async def test_what_the_block_raises_comes_out_as_it_was() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with fake_network([]):
            raise LookupError("mine")


async def test_memory_keeps_the_newest_events() -> None:
    async with fake_network([], kept_max=2) as network, httpx.AsyncClient(trust_env=False) as client:
        for _ in range(3):
            await client.get(network.chain_url(0, 0, host=None))
    assert [event.cid for event in network.log.of_origin()] == [2, 3]


def test_ranges_of_addresses_are_read_and_others_refused() -> None:
    assert parse_addresses("127.1.0.254-127.1.1.1,127.0.0.9,127.0.0.9") == (
        "127.1.0.254",
        "127.1.0.255",
        "127.1.1.0",
        "127.1.1.1",
        "127.0.0.9",
    )
    for bad in ("127.1.0.9-127.1.0.1", "192.0.2.1", "127.1.0", "127.0.0.0-127.255.255.255", "track.example"):
        with pytest.raises(BadInput):
            parse_addresses(bad)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    port = free_port(*ADDRESSES)
    command = [sys.executable, "-m", "tests.fakes.network", "--proxies", f"{ADDRESSES[0]}-{ADDRESSES[2]}"]
    command += ["--proxy-port", str(port), "--log", str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as running:
        assert running.stdout is not None
        try:
            yield running, json.loads(running.stdout.readline())
        finally:
            running.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_process_it_says_where_it_serves_and_stops_at_a_signal(
    process: tuple[subprocess.Popen[str], dict[str, object]], number: signal.Signals
) -> None:
    running, ready = process
    assert ready["addresses"] == list(ADDRESSES)
    proxy = f"http://{ADDRESSES[1]}:{ready['proxy_port']}"
    with httpx.Client(proxy=proxy, trust_env=False, follow_redirects=True) as client:
        landed = client.get("http://track.example/c/1/2/0/0")
        assert landed.url.query == b"cid=1"
        direct = httpx.get(f"http://{ready['origin']}/ip", trust_env=False)
        assert direct.text == "127.0.0.1"
        os.kill(running.pid, number)
        assert running.wait(PATIENCE_S) == 0
    events = list(read_log(Path(str(ready["log"]))))
    assert sum(isinstance(event, ProxyEvent) for event in events) == 3
    assert sum(isinstance(event, OriginEvent) for event in events) == 4


def test_as_a_process_it_names_the_busy_port_and_refuses_other_addresses(
    process: tuple[subprocess.Popen[str], dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(process[1]["proxy_port"])
    assert main(["--proxies", ADDRESSES[0], "--proxy-port", port]) == 1
    assert capsys.readouterr().err == f"cannot listen on {ADDRESSES[0]}:{port}: the port is in use already\n"
    with pytest.raises(SystemExit) as usage:
        main(["--proxies", "192.0.2.1"])
    assert usage.value.code == 2
