"""The dashboard of a new installation: sign-in, a read-only token, first steps; a daemon that does not answer."""

from collections.abc import Iterator
from functools import partial

import pytest
from selenium.webdriver.support.select import Select

from daemon.control.access import hash_of
from tests.browser.browsing import Browser, serious
from tests.browser.watched import Gate, Watched, watched_empty
from tests.support.format_examples import EXAMPLES
from tests.support.processes import Serving

pytestmark = pytest.mark.browser

TOKEN, LOOKING = "a-token-of-the-settings-that-is-long", "a-token-that-may-only-read-and-is-long"
VISIBLE = "return [...document.querySelectorAll('[data-needs=write]')].filter((one) => one.checkVisibility()).length"
FORMATTED = (
    "const [examples, done] = arguments;"
    "import('/static/js/dom.js').then((dom) => done(examples.map(([name, value]) => dom[name](value))))"
)
SCHEMES, WIDTHS = ("light", "dark"), (390, 1600)


@pytest.fixture(scope="module")
def daemon(window: Browser) -> Iterator[Watched]:
    with watched_empty(TOKEN) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def gate(daemon: Watched) -> Gate:
    assert daemon.gate is not None
    return daemon.gate


@pytest.fixture
def page(window: Browser, gate: Gate) -> Iterator[Browser]:
    """The live dashboard in a tab that has the token."""
    window.resize(1600)
    window.prefer("light")
    window.driver.get(f"{gate.url}/docs")
    window.run("sessionStorage.setItem('tracepool-token', arguments[0])", TOKEN)
    window.driver.get(f"{gate.url}/")
    window.until(partial(is_live, window), "the page is live")
    yield window
    gate.state = "open"


def is_live(page: Browser) -> bool:
    return page.text("#live-text") == "live" and not page.find("#banner").is_displayed()


def is_lost(page: Browser) -> bool:
    return page.find("#banner").is_displayed() and page.text("#live-text") == "no connection"


async def add_token(daemon: Serving, name: str, role: str, token: str) -> None:
    digest = hash_of(token).hex()
    statement = "insert into control_tokens (name, role, hash) values"
    await daemon.psql(f"{statement} ('{name}', '{role}', '\\x{digest}') on conflict do nothing")


def says(page: Browser, why: str) -> bool:
    return why in page.text("#login-trouble")


def check_all(page: Browser) -> None:
    """Axe finds nothing serious and the page fits, at each width and in each scheme."""
    for width in WIDTHS:
        page.resize(width)
        for scheme in SCHEMES:
            page.prefer(scheme)
            assert (width, scheme, serious(page)) == (width, scheme, [])
        assert page.run("return document.documentElement.scrollWidth") <= width


def test_the_sign_in_says_plainly_that_a_token_is_wrong_and_keeps_the_right_one_in_the_tab(
    window: Browser, gate: Gate
) -> None:
    window.driver.get(f"{gate.url}/")
    window.until(lambda: window.find("#login").is_displayed(), "it asks for a token")
    assert window.text("#login h2") == "Sign in"
    fields = [field.get_attribute("autocomplete") for field in window.all("#login input")]
    assert fields == ["username", "current-password"]
    for wrong, why in (("wrong", "This token is wrong"), ("two words", "not a token"), ("münze", "not a token")):
        window.find("#token").clear()
        window.find("#token").send_keys(wrong)
        window.find("#login-submit").click()
        window.until(partial(says, window, why), why)
    check_all(window)
    window.find("#token").clear()
    window.find("#token").send_keys(f"Bearer {TOKEN}\n")  # as pasted from a header, sent with the Enter key
    window.until(partial(is_live, window), "the page is live")
    assert not window.find("#login").is_displayed()
    assert window.driver.get_cookies() == []
    assert window.run("return localStorage.length") == 0
    assert TOKEN not in window.driver.current_url
    window.find("#sign-out").click()
    window.until(lambda: window.find("#login").is_displayed(), "it asks for a token again")


def test_lists_without_rows_say_why_and_the_head_shows_each_link(page: Browser) -> None:
    page.until(lambda: "Nothing was changed yet." in page.text("#actions"), "no action")
    page.until(lambda: "No token but that of the settings" in page.text("#tokens"), "no token of the list")
    assert page.run("const nav = document.querySelector('.top nav'); return nav.scrollWidth <= nav.clientWidth")


def test_a_read_only_token_sees_no_button_that_it_may_not_use(page: Browser, daemon: Watched) -> None:
    page.until(lambda: page.run(VISIBLE) > 0, "an operator has buttons")
    daemon.do(add_token, "wall", "read", LOOKING)
    page.run("sessionStorage.setItem('tracepool-token', arguments[0]); location.reload()", LOOKING)
    page.until(lambda: page.text("#session-name") == "token wall (read only)", "the page says whose token it is")
    page.until(partial(is_live, page), "the page is live")
    page.until(lambda: page.all("#countries .none"), "the panels are filled")
    assert page.run(VISIBLE) == 0
    assert not page.find("#tester").is_displayed()
    page.until(lambda: "Only a token with the role operator" in page.text("#tokens"), "the tokens are not asked for")


def test_a_new_installation_shows_its_first_steps_and_no_green_advice(page: Browser) -> None:
    page.until(lambda: page.find("#first-run").is_displayed(), "the first steps are there")
    assert [step.get_attribute("data-done") for step in page.all("#first-run li")] == ["false"] * 3
    assert len(page.all("#first-run li[aria-current=step]")) == 1
    assert all(step.find_element("css selector", "code").text for step in page.all("#first-run li"))
    calm = page.find("#advice-list .calm") if page.all("#advice-list .calm") else None
    assert calm is None or calm.get_attribute("data-mood") is None
    page.until(lambda: "No IPs yet" in page.text("#countries"), "an empty table leads on")
    assert "No IPs yet" in page.text("#picture")
    page.until(lambda: page.find("#disk").is_displayed() and page.rows("disk-tables"), "the disk is shown")
    check_all(page)


def test_a_daemon_that_does_not_answer_is_said_across_the_page_and_the_page_comes_back_by_itself(
    page: Browser, gate: Gate
) -> None:
    page.run("window.isTheSamePage = true")
    title, icon = page.driver.title, page.find("#icon").get_attribute("href")
    gate.state = "shut"
    page.until(partial(is_lost, page), "the page says so")
    assert "No connection" in page.driver.title
    assert page.find("#icon").get_attribute("href") != icon
    assert "grayscale" in page.find("#main").value_of_css_property("filter")
    page.until(lambda: "ago" in page.text("#banner-age"), "it says how old the figures are")
    check_all(page)
    gate.state = "open"
    page.until(partial(is_live, page), "the page is live again")
    assert (page.driver.title, page.find("#icon").get_attribute("href")) == (title, icon)
    assert page.find("#main").value_of_css_property("filter") == "none"
    assert page.run("return window.isTheSamePage")


def test_a_daemon_that_is_silent_is_lost_too(page: Browser, gate: Gate) -> None:
    gate.state = "frozen"
    page.until(partial(is_lost, page), "the page says so")
    gate.state = "open"
    page.until(partial(is_live, page), "the page is live again")


def test_after_an_upgrade_of_the_daemon_the_page_is_loaded_again(page: Browser, gate: Gate) -> None:
    page.run("window.isTheSamePage = true; document.documentElement.dataset.version = '0.0.1'")
    page.until(lambda: page.run("return window.isTheSamePage === undefined"), "the page is loaded again")
    page.until(partial(is_live, page), "the page is live")


def test_numbers_and_durations_have_the_same_form_as_in_commands(page: Browser) -> None:
    asked = [(name, value) for name, value, _ in EXAMPLES]
    found = page.driver.execute_async_script(FORMATTED, asked)
    assert found == [text for *_, text in EXAMPLES]


def test_times_switch_between_local_and_utc_and_the_url_keeps_the_choice(page: Browser) -> None:
    page.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    try:
        page.driver.refresh()
        page.until(lambda: page.rows("events"), "the page has times")
        assert all(row.split("\t")[0].strip().endswith("+05:30") for row in page.rows("events"))
        Select(page.find("#zone-choice")).select_by_value("utc")
        page.until(lambda: "UTC" in page.rows("events")[0] and "+05:30" not in page.rows("events")[0], "they are UTC")
        page.until(lambda: page.text("#range-words").partition(";")[0].endswith("UTC"), "the curves too")
        page.driver.refresh()
        page.until(lambda: page.rows("events"), "the page has times")
        assert "UTC" in page.rows("events")[0]
        assert "zone=utc" in page.driver.current_url
    finally:
        page.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_the_range_of_the_curves_is_in_the_url_and_zooms_by_keyboard(page: Browser) -> None:
    pressed = "return document.querySelector('[data-range][aria-pressed=true]')?.dataset.range ?? ''"
    assert page.run(pressed) == "1h"
    page.find("[data-range='30d']").send_keys("\n")
    page.until(lambda: "range=30d" in page.driver.current_url, "the URL has it")
    page.driver.refresh()
    page.until(partial(is_live, page), "the page is live")
    page.until(lambda: page.run(pressed) == "30d", "a reload shows the same")
    page.find("[data-range='15m']").click()
    page.find("#zoom-in").send_keys("\n")
    page.until(lambda: "from=" in page.driver.current_url and "to=" in page.driver.current_url, "a part is shown")
    part = page.driver.current_url
    page.until(lambda: page.text("#range-words"), "it says which")
    page.driver.refresh()
    page.until(partial(is_live, page), "the page is live")
    page.until(lambda: page.run(pressed) == "" and page.text("#range-words"), "a reload shows the same part")
    assert page.driver.current_url == part
    page.find("[data-range='1h']").click()
    page.until(lambda: "from=" not in page.driver.current_url, "up to now again")
