"""The dashboard of two nodes that share a database: shares, whose figures are shown, and changes of a node."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.support.select import Select

from tests.browser.browsing import Browser, serious
from tests.browser.watched import Watched, watched_nodes
from tests.support.processes import Serving, click

pytestmark = pytest.mark.browser

FALLBACK_S = 40.0  # a drained node's IPs rest, and a node is stale after some seconds


@pytest.fixture(scope="module")
def nodes(window: Browser) -> Iterator[Watched]:
    with watched_nodes() as nodes:
        yield nodes


@pytest.fixture
def page(window: Browser, nodes: Watched) -> Iterator[Browser]:
    """The live dashboard of tracer-1. After each test: no console message, and no request to another host."""
    window.resize(1600)
    window.driver.get(f"{nodes.serving.control_url}/")
    window.until(lambda: window.text("#live-text") == "live", "the page is live")
    window.until(lambda: len(window.rows("nodes")) == 2, "both nodes are listed")
    yield window
    assert window.complaints() == []
    assert window.hosts() == {nodes.serving.control_url.removeprefix("http://")}


def row(page: Browser, name: str) -> str:
    [text] = [text for text in page.rows("nodes") if text.startswith(name)]
    return text


def press(page: Browser, label: str) -> None:
    page.run("document.querySelector(`#nodes button[aria-label='${arguments[0]}']`).click()", label)
    page.until(lambda: page.find("#question").is_displayed(), "it asks")


def share(page: Browser, country: str) -> dict[str, int]:
    """The IPs by node in a country's row."""
    for text in page.rows("shares"):
        named, *rest = [cell.strip() for cell in text.replace("\n", "\t").split("\t") if cell.strip()]
        if named == country:
            return {part.rpartition(" ")[0]: int(part.rpartition(" ")[2]) for part in rest[0].split(", ")}
    return {}


async def clicks(first: Serving, second: Serving, own: int, others: int) -> None:
    for number in range(own):
        await click(first, "sale", f"a{number}")
    for number in range(others):
        await click(second, "sale", f"b{number}")


def test_each_country_has_a_bar_with_the_share_of_each_node(page: Browser) -> None:
    page.until(lambda: set(share(page, "us")) == {"tracer-1", "tracer-2"}, "both have IPs of us")
    page.until(lambda: sum(share(page, "us").values()) == 5, "no IP is on its way between them")
    label = "return document.querySelector(`#shares tr[data-key=us] svg`).getAttribute('aria-label')"
    page.until(lambda: page.run(label).endswith("of 5"), "the bar says how many there are")
    assert len(page.all("#shares tr[data-key=us] svg rect")) == 2
    page.resize(390)
    assert page.run("return document.documentElement.scrollWidth") <= 390
    assert serious(page) == []


def test_the_curves_are_of_all_nodes_or_of_the_chosen_one(page: Browser, nodes: Watched) -> None:
    nodes.do(clicks, nodes.other, 2, 3)
    assert page.text("#clicks-title") == "Clicks and fallbacks of all nodes"
    assert page.text("#flights-title").endswith("of node tracer-1")
    page.until(lambda: "5 clicks in the last hour" in page.text("#rate-words"), "the sum of both")
    choice = Select(page.find("#node-choice"))
    choice.select_by_visible_text("tracer-2")
    page.until(lambda: "3 clicks in the last hour" in page.text("#rate-words"), "the other node's curve")
    page.until(lambda: page.text("#times-title").endswith("of node tracer-2"), "the panel says whose times it has")
    page.until(lambda: page.text("#f-clicks") == "3", "the figures are that node's too")
    assert page.text("#events-panel-title").endswith("of node tracer-1")
    choice.select_by_visible_text("tracer-1 (answers)")
    page.until(lambda: "2 clicks in the last hour" in page.text("#rate-words"), "this node's curve")
    choice.select_by_index(0)
    page.until(lambda: page.text("#clicks-title").endswith("of all nodes"), "all again")


def test_a_drain_asks_first_and_ends_when_it_is_undone(page: Browser) -> None:
    press(page, "drain tracer-2")
    page.find("#question-no").click()
    assert page.text("#node-outcome") == ""
    press(page, "drain tracer-2")
    page.find("#question-yes").click()
    page.until(lambda: page.text("#node-outcome") == "tracer-2: drain", "it says what it did")
    page.until(lambda: "draining" in row(page, "tracer-2"), "the node drains")
    page.until(lambda: share(page, "us") == {"tracer-1": 5}, "its IPs are the other node's", FALLBACK_S)
    page.run("document.querySelector(`#nodes button[aria-label='undrain tracer-2']`).click()")
    page.until(lambda: "active" in row(page, "tracer-2"), "it works again")
    page.until(lambda: "tracer-2" in share(page, "us"), "it has IPs again", FALLBACK_S)


def test_a_node_that_is_gone_can_be_removed_after_a_question(page: Browser, nodes: Watched) -> None:
    assert page.all("#nodes button[aria-label='Remove tracer-2']") == []
    assert nodes.other is not None
    nodes.other.process.kill()
    page.until(lambda: "not seen" in row(page, "tracer-2"), "the node is not seen", FALLBACK_S)
    assert "tracer-2: not seen for" in page.text("#node-trouble")
    press(page, "Remove tracer-2")
    page.find("#question-yes").click()
    page.until(lambda: page.text("#node-outcome") == "tracer-2: removed", "it says what it did")
    page.until(lambda: "removed" in row(page, "tracer-2"), "the node is removed")
