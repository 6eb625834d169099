"""/docs over a real socket: the whole API without further files; and unknown names in a query."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from daemon.settings.model import Settings
from tests.integration.control_faces import control_face, row_of

LOADING_ATTRIBUTES = {"src", "srcset", "action", "formaction", "data", "poster", "background", "style"}


class Parsed(HTMLParser):
    """The ids and links of a page, and all that could make a browser load something else."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a":
            self.links.append(values["href"])
        if tag in ("script", "link", "iframe", "object", "img", "form"):
            self.loads.append(tag)
        self.loads += [name for name in values if name in LOADING_ATTRIBUTES or name.startswith("on")]


async def test_every_operation_and_model_is_on_the_page_and_nothing_is_loaded_for_it() -> None:
    async with control_face() as served:
        answer = await served.ask("/docs")
        document = (await served.ask("/openapi.json")).json()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Parsed(answer.text)
    assert page.loads == []
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert [link for link in page.links if not link.startswith("#")] == ["/openapi.json"]
    assert {f"model-{name}" for name in document["components"]["schemas"]} <= set(page.ids)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"<code>{path}</code>" in answer.text
            assert any(found.startswith(f"{method}-") for found in page.ids)
            for parameter in operation["parameters"]:
                assert f"<code>{parameter['name']}</code>" in answer.text
    assert "<code>healthy</code>" in answer.text
    assert "<code>ip</code>: an address, or address:port." in answer.text
    assert "@media (prefers-color-scheme: dark)" in answer.text


async def test_the_policy_allows_only_the_pages_own_style() -> None:
    async with control_face() as served:
        answer = await served.ask("/docs")
        other = (await served.ask("/api/status")).headers["content-security-policy"]
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(part.split(maxsplit=1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert other == "default-src 'none'; frame-ancestors 'none'"


async def test_the_page_needs_no_token_and_a_known_host() -> None:
    async with control_face(rows=[row_of("there")]) as served:
        assert (await served.ask("/docs")).status_code == 200
        assert (await served.ask("/docs", headers={"Host": "evil.example"})).status_code == 421
        assert (await served.ask("/openapi.json")).status_code == 401
    async with control_face(Settings(control={"bind": "127.0.0.1:0"}), ready=False) as served:
        assert (await served.ask("/docs")).status_code == 200, "the page is served while the daemon starts"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/ips?contry=us", "unknown query parameter 'contry': allowed are country, provider"),
        ("/api/offers?limit=5&name=x", "'name': allowed are offer"),
        ("/api/traces?offer[]=x", "'offer[]': allowed are offer"),
        ("/api/hits?a=1", "'a': allowed are offer"),
        ("/api/statistics?days=1", "'days': allowed are since"),
        ("/api/pools?country=us", "'country': this path has none"),
        ("/api/advice?since=1", "'since': this path has none"),
    ],
)
async def test_an_unknown_query_parameter_is_refused_and_the_allowed_ones_are_named(path: str, says: str) -> None:
    async with control_face() as served:
        answer = await served.ask(path)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
