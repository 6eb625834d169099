"""/docs over a real socket: all of the API, from this page alone; and slips in a query, which are refused."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from daemon.settings.model import Settings
from tests.integration.control_faces import control_face, row_of

CHANGES_THE_PAGE = {"src", "srcset", "action", "formaction", "data", "poster", "background", "style"}


class Read(HTMLParser):
    """The ids of a page, its links, and whatever could make a browser ask for more."""

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
        self.loads += [name for name in values if name in CHANGES_THE_PAGE or name.startswith("on")]


async def test_every_operation_and_model_is_on_the_page_and_nothing_is_loaded_for_it() -> None:
    async with control_face() as served:
        answer = await served.ask("/docs")
        document = (await served.ask("/openapi.json")).json()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Read(answer.text)
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


async def test_its_policy_lets_in_its_own_style_and_nothing_else() -> None:
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


async def test_a_browser_reads_it_without_a_token_under_the_faces_own_name_alone() -> None:
    async with control_face(rows=[row_of("there")]) as served:
        assert (await served.ask("/docs")).status_code == 200
        assert (await served.ask("/docs", headers={"Host": "evil.example"})).status_code == 421
        assert (await served.ask("/openapi.json")).status_code == 401
    async with control_face(Settings(control={"bind": "127.0.0.1:0"}), seated=False) as served:
        assert (await served.ask("/docs")).status_code == 200, "it can be read while the daemon starts"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/ips?contry=us", "unknown query parameter 'contry': allowed are country, provider"),
        ("/api/offers?limit=5&name=x", "'name': allowed are offer"),
        ("/api/traces?offer[]=x", "'offer[]': allowed are offer"),
        ("/api/hits?a=1", "'a': allowed are offer"),
        ("/api/statistics?days=1", "'days': allowed are since"),
        ("/api/pools?country=us", "'country': there are none here"),
        ("/api/advice?since=1", "'since': there are none here"),
    ],
)
async def test_a_slip_in_a_query_is_refused_with_the_names_that_are_known(path: str, says: str) -> None:
    async with control_face() as served:
        answer = await served.ask(path)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
