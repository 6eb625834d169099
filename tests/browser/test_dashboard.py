"""The dashboard in Debian's Chromium, with a daemon that traces: live data, filters, changes, accessibility."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browsing import Browser, serious
from tests.browser.watched import SICK, Watched, watched_daemon
from tests.support.processes import Serving, click

pytestmark = pytest.mark.browser

TABLES = ("countries", "in-flight", "sick", "traffic", "queues", "events")
TYPED = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
HOSTILE = "<img src=//evil.example/x onerror=alert(1)>"


@pytest.fixture(scope="module")
def daemon(window: Browser) -> Iterator[Watched]:
    with watched_daemon() as daemon:
        yield daemon


@pytest.fixture
def page(window: Browser, daemon: Watched) -> Iterator[Browser]:
    """The live dashboard. After each test: no console message, and no request to another host than the daemon."""
    window.resize(1600)
    window.prefer("light")
    window.driver.get(f"{daemon.serving.control_url}/")
    window.until(lambda: window.text("#live-text") == "live", "the page is live")
    window.until(lambda: window.rows("traces"), "the page has figures")
    yield window
    assert window.complaints() == []
    assert window.hosts() == {daemon.serving.control_url.removeprefix("http://")}


def type_into(page: Browser, selector: str, text: str) -> None:
    page.run(TYPED, page.find(selector), text)


def close_dialog(page: Browser) -> None:
    page.find("#detail-close").click()
    page.until(lambda: not page.find("#detail").is_displayed(), "it is closed")


async def a_click(daemon: Serving, offer_name: str) -> None:
    await click(daemon, offer_name, "one-more")


async def an_offer_that_is_hostile(daemon: Serving) -> None:
    await daemon.psql(
        "insert into active_trace_requests (request_id, offer_id, tracking_url, target_country, status, final_url,"
        f" error_message) values (gen_random_uuid(), null, 'javascript:{HOSTILE}', 'us', 'failed',"
        f" 'javascript:alert(1)', '{HOSTILE}')"
    )


async def a_trace_with_hidden_characters(daemon: Serving) -> None:
    hidden = r"e'a\u202eb\u009bc\u200bd\u2028e'"
    await daemon.psql(
        "insert into active_trace_requests (request_id, tracking_url, target_country, status, error_message)"
        f" values (gen_random_uuid(), {hidden}, 'us', 'timeout', {hidden})"
    )


def test_after_a_click_the_figures_change_and_its_trace_is_listed(page: Browser, daemon: Watched) -> None:
    traces = len(page.rows("traces"))
    recorded = page.text("#journal")
    daemon.do(a_click, "sale")
    page.until(lambda: len(page.rows("traces")) > traces, "the trace is in the list")
    page.until(lambda: page.text("#journal") != recorded, "the journal's figures move")
    page.until(lambda: int(page.text("#f-clicks")) >= 4, "the clicks of the last minute")
    page.until(lambda: "clicks in the last hour" in page.text("#rate-words"), "the curves' captions have totals")


def test_a_trace_in_flight_has_its_time_left(page: Browser) -> None:
    page.until(lambda: any("slow" in row for row in page.rows("in-flight")), "one is in flight")
    left = page.text("#in-flight tbody tr[data-key] td:last-child")
    page.until(lambda: page.text("#in-flight tbody tr[data-key] td:last-child") != left, "its time runs down")


def test_a_trace_opens_as_a_waterfall_of_its_hops(page: Browser) -> None:
    type_into(page, "#traces-form [name=status]", "completed")
    type_into(page, "#traces-form [name=offer]", "sale")
    page.until(lambda: all("sale" in row for row in page.rows("traces")), "the list is that of the offer")
    page.find("#traces tbody tr[data-key] button").click()
    page.until(lambda: len(page.rows("hops")) == 3, "two redirects and the landing")
    assert "KB" in page.text("#hops") or " B" in page.text("#hops")
    assert len(page.all("#hops svg .fall")) == 3
    type_into(page, '[data-filters="hops"]', "no hop says this")
    page.until(lambda: page.rows("hops") == [], "its hops are filtered")
    close_dialog(page)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_filters(page: Browser, table: str) -> None:
    page.until(lambda: page.rows(table), "it has rows")
    type_into(page, f'[data-filters="{table}"]', "no row says this")
    page.until(lambda: page.rows(table) == [], "none is left")
    assert "Nothing matches" in page.text(f"#{table}")
    type_into(page, f'[data-filters="{table}"]', "")
    page.until(lambda: page.rows(table), "it is whole again")


def test_the_daemon_filters_traces_and_ips_too(page: Browser) -> None:
    type_into(page, "#traces-form [name=ip]", "192.0.2.200")
    page.until(lambda: page.rows("traces") == [], "no trace went through that")
    page.run("document.getElementById('ips-details').open = true")
    type_into(page, "#ips-form [name=status]", "failed")
    page.until(lambda: sorted(row.split(":")[0] for row in page.rows("ips")) == list(SICK), "the failed ones")


def test_a_reload_shows_the_same_filters_and_order(page: Browser, daemon: Watched) -> None:
    type_into(page, '[data-filters="countries"]', "uk")
    type_into(page, "#traces-form [name=offer]", "sale")
    page.find("#countries thead th:first-child .sort").click()
    page.until(lambda: "countries.order" in page.driver.current_url, "the order is in the URL")
    page.run(
        "const c = arguments[0]; c.value = 'uk'; c.dispatchEvent(new Event('change'))", page.find("#cells-country")
    )
    page.driver.refresh()
    page.until(lambda: "3 IPs" in page.text("#cells-total"), "the picture is of the same country")
    page.until(lambda: [row[:2] for row in page.rows("countries")] == ["uk"], "the table is filtered")
    page.until(lambda: page.rows("traces") and all("sale" in row for row in page.rows("traces")), "only its traces")
    assert page.find("#countries thead th:first-child").get_attribute("aria-sort") == "ascending"


def test_the_picture_works_by_keyboard_and_opens_an_ip(page: Browser) -> None:
    page.until(lambda: "7 IPs" in page.text("#cells-total"), "the largest pool is shown")
    canvas = page.find("#cells")
    page.run("arguments[0].focus()", canvas)
    canvas.send_keys(Keys.HOME)
    page.until(lambda: ":" in page.text("#cells-readout"), "it says which IP")
    first = page.text("#cells-readout")
    canvas.send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: page.text("#cells-readout").split(":")[0] != first.split(":")[0], "the next one")
    chosen = page.text("#cells-readout").split(": ")[0]
    canvas.send_keys(Keys.ENTER)
    page.until(lambda: chosen in page.text("#detail-title"), "its history opens")
    page.until(lambda: page.rows("ip-traces") or "No recorded trace" in page.text("#ip-traces"), "its traces")
    page.run("document.activeElement.dispatchEvent(new KeyboardEvent('keydown'))")
    close_dialog(page)
    assert page.run("return document.activeElement.id") == "cells"


def test_a_reset_asks_first_does_nothing_on_no_and_shows_its_result(page: Browser, daemon: Watched) -> None:
    sick = f"#sick tr[data-key] button[aria-label='Reset {SICK[0]}:7000']"
    page.until(lambda: len(page.rows("sick")) == 2, "both unhealthy IPs are there")
    page.find(sick).click()
    page.until(lambda: page.find("#question").is_displayed(), "it asks")
    page.find("#question-no").click()
    page.until(lambda: not page.find("#question").is_displayed(), "it no longer asks")
    assert page.text("#reset-outcome") == ""
    page.find(sick).click()
    page.until(lambda: page.find("#question").is_displayed(), "it asks")
    page.find("#question-yes").click()
    page.until(lambda: f"reset 1: {SICK[0]}:7000" in page.text("#reset-outcome"), "it says what it did")
    page.until(lambda: [row[:13] for row in page.rows("sick")] == [SICK[1]], "the other one is left")
    page.until(lambda: any("audit" in row for row in page.rows("events")), "it is among the events")
    assert daemon.do(Serving.psql, f"select status from ip_rotation_pool where ip_address = '{SICK[0]}'") == [
        ["available"]
    ]


def test_hidden_characters_of_data_are_shown_as_escapes(page: Browser, daemon: Watched) -> None:
    daemon.do(a_trace_with_hidden_characters)
    type_into(page, "#traces-form [name=status]", "timeout")
    written = r"a\u202eb\u009bc\u200bd\u2028e"
    page.until(lambda: any(written in row for row in page.rows("traces")), "it is in the list")
    page.find("#traces tbody tr[data-key] button").click()
    page.until(lambda: written in page.text("#detail-body"), "its detail too")
    assert "\u202e" not in page.run("return document.body.textContent")
    close_dialog(page)


def test_data_of_foreign_pages_is_text_and_not_a_link(page: Browser, daemon: Watched) -> None:
    daemon.do(an_offer_that_is_hostile)
    type_into(page, "#traces-form [name=status]", "failed")
    page.until(lambda: any(HOSTILE in row for row in page.rows("traces")), "it is in the list, as it is")
    page.find("#traces tbody tr[data-key] button").click()
    page.until(lambda: "javascript:alert(1)" in page.text("#detail-body"), "its detail too")
    assert page.all("img[src*=evil]") == []
    assert page.all("a[href^=javascript]") == []
    close_dialog(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1600])
def test_axe_finds_no_serious_violation_and_the_page_fits_its_width(page: Browser, width: int, scheme: str) -> None:
    page.resize(width)
    page.prefer(scheme)
    page.run("document.getElementById('ips-details').open = true")
    page.until(lambda: page.rows("ips"), "the table of IPs is open")
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert serious(page) == []
    if width == 390:  # a dialog is most cramped at this width
        type_into(page, "#traces-form [name=status]", "completed")
        page.until(lambda: all("completed" in row for row in page.rows("traces")), "the list is of traces with hops")
        page.find("#traces tbody tr[data-key] button").click()
        page.until(lambda: page.rows("hops"), "a trace is open")
        assert serious(page) == []
        close_dialog(page)
