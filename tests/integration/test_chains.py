"""Every kind of chain over real sockets: the landing URL, the kind of each hop, and the bytes read of the pages."""

import pytest
from msgspec.structs import replace

from daemon.settings.model import Settings
from daemon.trace.walk.steps import WEB_SCHEMES, Landed
from tests.fakes.chains import CHAINS, JUMP, LANDED, META, MIXED, Chain, form, says
from tests.fakes.net import LIMITS, net, traced
from tests.fakes.origins import Reply, page, redirect, reply
from tests.integration.tracers import backend_of, traced_by
from tests.integration.whole_path import whole_path
from tests.support.tracers import tracer_settings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


@pytest.mark.parametrize("backend", ["local", "service"])
@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.name)
async def test_a_chain_lands_where_a_browser_would(chain: Chain, backend: str) -> None:
    schemes = WEB_SCHEMES | chain.landing_schemes
    async with net(dict(chain.pages)) as here, backend_of(backend, tracer_settings()) as tracing:
        result = await traced_by(tracing, here.port, chain.start, stop_at=chain.stop_at, landing_schemes=schemes)
    assert (result.end, tuple(hop.kind for hop in result.hops)) == (Landed(chain.final_url), chain.kinds)
    assert {head.target: head.body for head in here.plain.requests if head.method == "POST"} == dict(chain.posted)


async def test_pages_behind_tunnels_are_read_as_well() -> None:
    secure: dict[str, Reply | list[Reply]] = {
        "secure.example/": says(META.replace("http://b.example/landed?cid=7", "https://s1.example/script")),
        "s1.example/script": says(JUMP.replace("http://b.example/landed?cid=7", "https://s2.example/form")),
        "s2.example/form": says(form("post").replace("http://b.example/landed", "/posted")),
        "s2.example/posted": redirect("/landed", status=303),
        "s2.example/landed": LANDED,
    }
    async with net({}, secure) as here:
        result = await traced(here.port, "https://secure.example/")
    assert result.end == Landed("https://s2.example/landed")
    assert [hop.kind for hop in result.hops] == ["meta", "script", "form", "http", "final"]
    assert [head.body for head in here.secure.requests if head.method == "POST"] == [b"cid=7"]
    assert len(here.proxy.seen) == 3, "a page that was read to its end leaves its tunnel to the next hop"


async def test_a_hop_after_a_page_uses_the_same_connection() -> None:
    pages: dict[str, Reply | list[Reply]] = {
        "ads.example/start": says(META + " " * 500),
        "b.example/landed?cid=7": LANDED,
    }
    async with net(pages) as here:
        await traced(here.port)
    assert here.proxy.connections == 1


async def test_a_post_has_a_content_type_and_the_get_after_its_redirect_has_none() -> None:
    pages: dict[str, Reply | list[Reply]] = {
        "ads.example/start": says(form("post")),
        "b.example/landed": redirect("/after"),
        "b.example/after": page(),
    }
    async with net(pages) as here:
        await traced(here.port)
    posted, after = here.plain.requests[1:]
    assert posted.value("content-type") == "application/x-www-form-urlencoded"
    assert posted.value("content-length") == "5"
    assert (after.method, after.value("content-type"), after.value("content-length")) == ("GET", None, None)


async def test_a_host_of_stop_at_gets_no_request() -> None:
    async with net({"ads.example/start": redirect("http://b.example/shop?cid=7#top")}) as here:
        result = await traced(here.port, limits=replace(LIMITS, stop_at=frozenset({"b.example"})))
    assert result.end == Landed("http://b.example/shop?cid=7#top")
    assert [head.target for head in here.proxy.seen] == ["http://ads.example/start"]


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "image/gif", "application/octet-stream"])
async def test_a_body_of_another_type_is_not_read(kind: str) -> None:
    """The body never comes, so a trace that waited for it would be late."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n".encode()
    async with net({"ads.example/start": Reply((head,), end="hang")}) as here:
        result = await traced(here.port, timeout_s=3)
    assert isinstance(result.end, Landed)
    assert result.ms < 3_000


async def test_pages_that_jump_in_a_circle_are_a_loop() -> None:
    pages: dict[str, Reply | list[Reply]] = {
        "ads.example/start": says("<meta http-equiv=refresh content='0;http://b.example/'>"),
        "b.example/": says("<script>location = 'http://ads.example/start'</script>"),
    }
    async with net(pages) as here:
        result = await traced(here.port)
    assert (getattr(result.end, "reason", None), [hop.kind for hop in result.hops]) == ("loop", ["meta", "script"])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply((HEAD + b"Content-Length: 900\r\n\r\n" + META.encode(),), end="close"), "meta"),
        (Reply((HEAD + b"\r\n" + JUMP.encode(),), end="close"), "script"),
        (Reply((HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *(b"1\r\n%c\r\n" % byte for byte in META.encode()),
                b"0\r\n\r\n"), end="close"), "meta"),
        (Reply((HEAD + b"Content-Length: 900\r\n\r\n", META.encode()), end="hang", pause_s=0.2), "meta"),
        (reply(200, ("Content-Type", "text/html"), ("Content-Encoding", "gzip"), body=b"\x1f\x8b not gzip"), "final"),
    ],
    ids=["broken off", "ends with the connection", "byte by byte in chunks", "late and never whole", "no gzip"],
)  # fmt: skip
async def test_a_page_is_read_however_its_bytes_arrive(answer: Reply, kind: str) -> None:
    async with net({"ads.example/start": answer, "b.example/landed?cid=7": LANDED}) as here:
        result = await traced(here.port)
    assert isinstance(result.end, Landed)
    assert result.hops[0].kind == kind


async def test_a_click_is_answered_with_the_landing_url_of_its_pages_and_its_row_has_each_kind() -> None:
    (chain,) = MIXED
    given = Settings.model_validate({"trace": {"allow_private": True}})
    async with net(dict(chain.pages)) as here, whole_path(here.port, given) as path:
        path.offer(chain.start)
        outcome = await path.outcome()
    assert outcome.answer.location == chain.final_url + "&gclid=7"
    assert [hop["kind"] for hop in outcome.trace.redirect_chain] == list(chain.kinds)
    assert outcome.trace.extracted_params == {"cid": "7"}
