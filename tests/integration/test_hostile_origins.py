"""Hostile origins and proxies on the whole path of a click: the answer, the trace's end and bytes, the IP's release.

The reason of each fault is tested in test_fetch_faults.py, the allowed addresses in test_addresses.py.
"""

import datetime
import gc
import gzip
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import brotli
import psutil
import pytest
import trio
import trustme
from backports import zstd

from daemon.settings.model import Settings
from daemon.trace.engine.engines import engines_running
from daemon.trace.engine.records import PageEngine
from tests.fakes import origins, proxies
from tests.fakes.hostile_inputs import FORMS, MARKUP, PAGE_BYTES, SCRIPTS
from tests.fakes.net import context_for
from tests.fakes.origins import Origin, Reply, origin, page, redirect
from tests.fakes.proxies import Misbehaviour, Proxy, proxy
from tests.integration.whole_path import PATIENCE_S, ClickOutcome, WholePath, whole_path

HEADERS_BYTES_MAX = 65_536
HOP_BYTES_MAX = 2 * HEADERS_BYTES_MAX
"""The largest head, one read more, and the kernel's buffer when the connection was closed."""
HOPS_MAX = 6
TRACES = int(os.environ.get("HOSTILE_TRACES", "800"))
AT_ONCE = 40
OBJECTS_NOISE, DESCRIPTORS_NOISE, RESIDENT_KIB_NOISE = 2_000, 8, 16 * 1024
"""By which two counts in an idle process may differ. A leaked trace is about 200 objects."""
BOMB = gzip.compress(bytes(50_000_000), 6)
BOMB_HEAD = b"Content-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB)
BOMB_PAGE = Reply((b"HTTP/1.1 200 OK\r\n" + BOMB_HEAD + BOMB,))
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
DRIPPING_PAGE = Reply((HTML + b"\r\n<!doctype html><title>",), repeat=b"x", pause_s=0.02)
ENDLESS_PAGE = Reply((HTML + b"\r\n<!doctype html><style>",), repeat=b"a{b:c}" * 1_000)
ENDLESS_CHUNKS = Reply((HTML + b"Transfer-Encoding: chunked\r\n\r\n",), repeat=b"1\r\nx\r\n" * 1_000)
BROKEN_GZIP = Reply(
    (HTML + b"Content-Encoding: gzip\r\nContent-Length: 90000\r\n\r\n" + b"\x1f\x8b\x08" * 1_000,), end="close"
)
STALLED_PAGE = Reply((HTML + b"Content-Length: 90000\r\n\r\n<!doctype html><head>",), end="hang")


def bomb(coding: str, data: bytes) -> Reply:
    return origins.reply(200, ("Content-Type", "text/html"), ("Content-Encoding", coding), body=data)


BOMB_REDIRECT = Reply((b"HTTP/1.1 302 Found\r\nLocation: /page\r\n" + BOMB_HEAD + BOMB,))

# Path to (reply, the error in the trace's row; None if the trace lands).
HOSTILE: dict[str, tuple[Reply, str | None]] = {
    "/silent": (origins.SILENT, "no complete response head in time"),
    "/drips": (origins.DRIPS, "no complete response head in time"),
    "/resets": (origins.RESETS, "without an answer"),
    "/closes": (origins.CLOSES, "without an answer"),
    "/closes-early": (origins.CLOSES_IN_HEAD, "closed before a response head"),
    "/garbage": (origins.GARBAGE, "not HTTP"),
    "/100-kb-of-headers": (origins.LARGE_HEAD, "larger than trace.headers_bytes_max"),
    "/9000-headers": (origins.MANY_HEADERS, "larger than trace.headers_bytes_max"),
    "/1-mb-location": (origins.LARGE_LOCATION, "larger than trace.headers_bytes_max"),
    "/100-continue-for-ever": (origins.CONTINUES_FOREVER, "larger than trace.headers_bytes_max"),
    "/gzip-bomb": (BOMB_PAGE, None),
    "/gzip-bomb-with-a-location": (BOMB_REDIRECT, None),
    "/endless-body": (origins.ENDLESS_BODY, None),
    "/br-bomb": (bomb("br", brotli.compress(bytes(5_000_000))), None),
    "/zstd-bomb": (bomb("zstd", zstd.compress(bytes(50_000_000))), None),
    "/bomb-in-a-bomb": (bomb("gzip, gzip", gzip.compress(BOMB)), None),
    "/broken-gzip": (BROKEN_GZIP, None),
    "/dripping-page": (DRIPPING_PAGE, None),
    "/endless-page": (ENDLESS_PAGE, None),
    "/endless-chunks": (ENDLESS_CHUNKS, None),
    "/stalled-page": (STALLED_PAGE, None),
    "/deep-page": (page(b"<i><div>" * 20_000), None),
    "/brackets": (page(b"<script>location;" + b"({[" * 5_000 + b"</script>"), None),
    "/endless-body-with-a-location": (origins.ENDLESS_REDIRECT_BODY, None),
    "/loop": (redirect("/loop"), "the chain loops"),
    "/javascript": (redirect("javascript:alert(1)"), "leads nowhere"),
    "/502": (origins.reply(502), "answered with status 502"),
}
BAD_TLS = ("foreign", "expired", "otherwise")


class Endless(dict[str, Reply | list[Reply]]):
    """Replies by path, and two endless chains: one of longer and longer paths, one with a counter as parameter."""

    def get(self, key: str, default: object = None) -> Reply | list[Reply]:
        path = key.removeprefix("ads.example")
        if path.startswith("/deeper"):
            return redirect(f"{path}/deeper")
        if path.startswith("/spin"):
            return redirect(f"/spin?n={int(path.partition('=')[2] or 0) + 1}")
        return super().get(key, page())


def settings(*, deadline_s: float = 10, allow_private: bool = True, cooldown_s: float = 0.02) -> Settings:
    return Settings.model_validate(
        {
            "click": {"deadline_s": deadline_s},
            "pool": {"cooldown_s": cooldown_s, "failures_max": 1_000},
            "trace": {
                "workers": AT_ONCE,
                "timeout_s": 2,
                "hop_timeout_s": 0.4,
                "hops_max": HOPS_MAX,
                "headers_bytes_max": HEADERS_BYTES_MAX,
                "allow_private": allow_private,
            },
        }
    )


class Net:
    def __init__(self, plain: Origin, served: Proxy, path: WholePath) -> None:
        self.plain, self.proxy, self.path = plain, served, path

    async def outcome(self, url: str, *landing_schemes: str) -> ClickOutcome:
        self.path.offer(url, *landing_schemes)
        return await self.path.outcome()


@asynccontextmanager
async def net(
    given: Settings,
    *,
    ips: int = 1,
    misbehave: Misbehaviour | None = None,
    more: dict[str, Reply] | None = None,
    engine: PageEngine | None = None,
) -> AsyncIterator[Net]:
    replies = Endless({f"ads.example{path}": reply for path, (reply, _) in HOSTILE.items()} | (more or {}))
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    contexts = {
        "foreign.example:443": context_for("foreign.example", authority=trustme.CA()),
        "expired.example:443": context_for("expired.example", not_after=past),
        "otherwise.example:443": context_for("elsewhere.example"),
    }
    async with origin(replies) as (plain, port), trio.open_nursery() as nursery:
        ports = {"ads.example:80": port}

        async def secure(name: str, *, task_status: trio.TaskStatus[int]) -> None:
            async with origin({}, tls=contexts[name]) as (_, tls_port):
                task_status.started(tls_port)
                await trio.sleep_forever()

        for name in contexts:
            ports[name] = await nursery.start(secure, name)
        async with (
            proxy(ports, misbehave=misbehave) as (served, proxy_port),
            whole_path(proxy_port, given, ips=ips, engine=engine) as path,
        ):
            yield Net(plain, served, path)
        nursery.cancel_scope.cancel()


def cheap(outcome: ClickOutcome) -> bool:
    hops = max(1, len(outcome.trace.redirect_chain))
    return outcome.trace.bytes_received <= hops * HOP_BYTES_MAX


@pytest.mark.parametrize("path", HOSTILE)
async def test_a_hostile_origin_costs_a_fallback_and_bounded_bytes_and_the_ip_is_released(path: str) -> None:
    async with net(settings(cooldown_s=30)) as here:
        outcome = await here.outcome(f"http://ads.example{path}")
        said = HOSTILE[path][1]
        if said is None:
            assert (outcome.trace.status, outcome.hit.reason) == ("completed", None)
        else:
            assert said in outcome.message
            assert (outcome.trace.status, outcome.hit.reason) == ("failed", "trace_failed")
            assert outcome.answer.location == f"http://ads.example{path}?gclid=7"
        assert len(outcome.message) < 500
        assert cheap(outcome)
        assert here.path.post.view.counts.cooldown == 1


@pytest.mark.parametrize("path", ["/deeper", "/spin"])
async def test_an_endless_chain_ends_after_hops_max(path: str) -> None:
    async with net(settings()) as here:
        outcome = await here.outcome(f"http://ads.example{path}")
        assert f"goes on after {HOPS_MAX} hops" in outcome.message
        assert len(outcome.trace.redirect_chain) == len(here.plain.requests) == HOPS_MAX
        assert outcome.hit.reason == "trace_failed"
        assert cheap(outcome)


@pytest.mark.parametrize("host", BAD_TLS)
async def test_a_bad_certificate_ends_the_trace_and_is_not_the_ips_fault(host: str) -> None:
    async with net(settings()) as here:
        outcome = await here.outcome(f"https://{host}.example/")
        assert "the certificate does not verify" in outcome.message
        assert outcome.hit.reason == "trace_failed"
        assert (outcome.release.consecutive_failures, outcome.release.failures) == (0, 0)


@pytest.mark.parametrize(
    ("misbehave", "said", "counts"),
    [
        (proxies.answering(407), "refuses the credentials", 0),
        (proxies.answering(502), "status 502", 0),
        (proxies.silent, "in time", 0),
        (proxies.resetting, "the proxy broke", 1),
        (proxies.closing, "the proxy closed", 1),
        (proxies.sending(b"\0\xff" * 50_000), "not HTTP", 1),
    ],
    ids=["407", "502", "silent", "resets", "closes", "garbage"],
)
async def test_a_hostile_proxy_costs_a_fallback_and_its_ip_only_where_it_is_at_fault(
    misbehave: Misbehaviour, said: str, counts: int
) -> None:
    async with net(settings(), misbehave=misbehave) as here:
        outcome = await here.outcome("http://ads.example/page")
        assert said in outcome.message
        assert outcome.hit.reason == "trace_failed"
        assert outcome.release.consecutive_failures == counts
        assert cheap(outcome)


async def test_a_click_is_answered_by_its_deadline_while_its_trace_drips_on_to_its_own_end() -> None:
    """Each hop ends within its timeout, so only the trace's own timeout ends it."""
    slow = {f"ads.example/slow{n}": _late(f"/slow{n + 1}") for n in range(100)}
    given = settings(deadline_s=1)
    given = given.model_copy(update={"trace": given.trace.model_copy(update={"hops_max": 100})})
    async with net(given, more=slow) as here:
        here.path.offer("http://ads.example/slow0")
        answer = await here.path.click()
        assert here.path.journal.traces == {}, "the answer did not wait for the trace"
        outcome = await here.path.journal.taken(answer)
        assert (outcome.hit.reason, outcome.answer.location) == ("deadline", "http://ads.example/slow0?gclid=7")
        assert (outcome.trace.status, outcome.message.endswith("did not end within 2 s")) == ("timeout", True)


def _late(location: str) -> Reply:
    head, _, rest = redirect(location).parts[0].partition(b"\r\n")
    return Reply((head + b"\r\n", rest), pause_s=0.1)


HOSTILE_CHAIN_HOPS, HEALTHY_CLICKS = 20, 16
SLOW_MARKUP = [
    SCRIPTS["regular expressions without an end"],
    SCRIPTS["bad targets"],
    MARKUP["reopened formatting"],
    MARKUP["menus"],
    FORMS["submits of a form that is not there"],
]


@pytest.mark.slow
async def test_hostile_pages_under_way_let_no_healthy_click_fall_back() -> None:
    """Five chains; each page is the slowest of its kind to parse, and jumps to the next one."""
    more = {
        f"ads.example/{kind}/{hop}": page(
            f"<meta http-equiv=refresh content='1;/{kind}/{hop + 1}'>".encode() + make(PAGE_BYTES - 100)
        )
        for kind, make in enumerate(SLOW_MARKUP)
        for hop in range(HOSTILE_CHAIN_HOPS)
    }
    given = settings(deadline_s=4)
    patient = given.trace.model_copy(update={"hops_max": HOSTILE_CHAIN_HOPS, "hop_timeout_s": 10, "timeout_s": 20})
    given = given.model_copy(update={"trace": patient})
    async with engines_running(1) as engine, net(given, ips=AT_ONCE, more=more, engine=engine) as here:
        healthy: list[ClickOutcome] = []

        async def click() -> None:
            healthy.append(await here.path.outcome())

        async with trio.open_nursery() as visitors:
            for kind in range(len(SLOW_MARKUP)):
                here.path.offer(f"http://ads.example/{kind}/0")
                visitors.start_soon(here.path.click)
                await trio.sleep(0.02)
            here.path.offer("http://ads.example/page")
            for _ in range(HEALTHY_CLICKS):
                visitors.start_soon(click)
        assert [outcome.hit.reason for outcome in healthy] == [None] * HEALTHY_CLICKS


NOT_PUBLIC = [
    *("http://127.0.0.1/", "http://127.1/", "http://0x7f.1/", "http://2130706433/", "http://017700000001/"),
    *("http://0x7f000001/", "http://127.0.0.1./", "http://１２７.0.0.1/", "http://%31%32%37.0.0.1/", "//127.0.0.1/"),
    *("http://10.1.2.3/", "http://172.16.0.1/", "http://192.168.1.1/", "http://100.64.0.1/", "http://169.254.1.1/"),
    *("http://169.254.169.254/latest/meta-data/", "http://0xa9fea9fe/", "http://168.63.129.16/", "http://0/"),
    *("http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[64:ff9b::10.0.0.1]/"),
    *("http://[2002:7f00:1::]/", "http://[fe80::1]/", "http://[fd00:ec2::254]/", "http://[::]/", "http://224.0.0.1/"),
    *("http://localhost/", "http://LOCALHOST./", "http://a.localhost/", "http://intranet/", "http://db.internal/"),
    *("https://127.0.0.1:8443/", "http://user:pw@127.0.0.1/", "http:/\\127.0.0.1/", "http://printer.local/"),
]


async def test_no_redirect_and_no_tracking_url_leads_to_an_address_that_is_not_public() -> None:
    more = {f"ads.example/to{n}": redirect(location) for n, location in enumerate(NOT_PUBLIC)}
    async with net(settings(allow_private=False), more=more) as here:
        for number, location in enumerate(NOT_PUBLIC):
            outcome = await here.outcome(f"http://ads.example/to{number}")
            assert "will not go to" in outcome.message, location
            assert outcome.hit.reason == "trace_failed"
            assert outcome.answer.location == f"http://ads.example/to{number}?gclid=7", "the visitor is not sent there"
        seen = len(here.proxy.seen)
        assert seen == len(NOT_PUBLIC), "the proxy was asked for no second hop"
        for location in (location for location in NOT_PUBLIC if location.startswith("http://")):
            outcome = await here.outcome(location)
            assert "will not go to" in outcome.message, location
        assert len(here.proxy.seen) == seen, "nor for the first one"


async def test_private_addresses_are_followed_if_the_setting_allows_it() -> None:
    more = {"ads.example/to": redirect("http://127.0.0.1:1/")}
    async with net(settings(allow_private=True), more=more) as here:
        outcome = await here.outcome("http://ads.example/to")
        assert "will not go to" not in outcome.message
        assert here.proxy.seen[-1].target == "http://127.0.0.1:1/"


@pytest.mark.parametrize(
    ("location", "landed"),
    [
        ("market://details?id=app", "market://details?id=app&gclid=7"),
        ("intent://scan/#Intent;scheme=zxing;end", "intent://scan/?gclid=7#Intent;scheme=zxing;end"),
        ("MARKET://details?id=app", "market://details?id=app&gclid=7"),
    ],
)
async def test_an_app_url_is_a_landing_only_if_the_offer_allows_its_scheme(location: str, landed: str) -> None:
    async with net(settings(), more={"ads.example/to": redirect(location)}) as here:
        outcome = await here.outcome("http://ads.example/to", "market", "Intent")
        assert (outcome.answer.location, outcome.hit.reason) == (landed, None)
        outcome = await here.outcome("http://ads.example/to", "itms-apps")
        assert (outcome.answer.location, outcome.hit.reason) == ("http://ads.example/to?gclid=7", "trace_failed")


@pytest.mark.parametrize(
    "location",
    ["javascript:alert(1)", "data:text/html,hi", "JAVA\tSCRIPT:alert(1)", "vbscript:x", "file:///etc/passwd"],
)
async def test_a_scheme_that_runs_code_in_a_browser_is_never_a_landing(location: str) -> None:
    async with net(settings(), more={"ads.example/to": redirect(location)}) as here:
        outcome = await here.outcome("http://ads.example/to", "javascript", "data", "vbscript", "file", "blob")
        assert (outcome.answer.location, outcome.hit.reason) == ("http://ads.example/to?gclid=7", "trace_failed")


def _in_turn() -> Iterator[str]:
    paths = [*HOSTILE, "/deeper", "/spin"]
    urls = [f"http://ads.example{path}" for path in paths]
    urls += [f"https://{host}.example/" for host in BAD_TLS]
    return itertools.cycle(urls)


@pytest.mark.slow
async def test_thousands_of_hostile_traces_leave_nothing_behind() -> None:
    """HOSTILE_TRACES of them; the second half may leave no more objects than the first half."""
    urls, process = _in_turn(), psutil.Process()
    sizes: list[tuple[int, int, int]] = []
    async with net(settings(), ips=AT_ONCE) as here:

        async def visitor(count: int) -> None:
            for _ in range(count):
                outcome = await here.outcome(next(urls))
                assert outcome.answer.status == 302
                assert cheap(outcome)

        for _ in range(4):
            async with trio.open_nursery() as visitors:
                for _ in range(AT_ONCE):
                    visitors.start_soon(visitor, TRACES // (4 * AT_ONCE))
            here.plain.requests.clear()
            here.proxy.seen.clear()
            with trio.fail_after(PATIENCE_S):
                while here.path.clicks.waiting:
                    await trio.lowlevel.checkpoint()
            await trio.sleep(0.1)  # until the origins' tasks have ended
            gc.collect()
            sizes.append((len(gc.get_objects()), process.num_fds(), process.memory_info().rss // 1024))
    print(f"{TRACES} traces; (objects, descriptors, resident KiB) after each quarter: {sizes}")
    for what, noise, middle, end in zip(
        ("objects", "descriptors", "resident KiB"),
        (OBJECTS_NOISE, DESCRIPTORS_NOISE, RESIDENT_KIB_NOISE),
        sizes[1],
        sizes[-1],
        strict=True,
    ):
        assert end - middle < noise, f"{what} stay: {sizes}"
