"""The dashboard's forms in a real browser: by keyboard, twice, too late, and without a connection."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser.browsing import Browser, serious
from tests.browser.watched import Watched, editable_daemon
from tests.support.processes import Serving

pytestmark = pytest.mark.browser

URL = "https://ads.example/click?id={gclid}"
HOSTILE = "<img src=//evil.example/x onerror=alert(1)>"
FITS = "const d = document.getElementById('form-dialog'); return d.scrollWidth <= d.clientWidth"
REFUSAL = "Failed to load resource"  # the browser's line for each answer of 400 and above


@pytest.fixture(scope="module")
def daemon(window: Browser) -> Iterator[Watched]:
    with editable_daemon() as daemon:
        yield daemon


@pytest.fixture
def page(window: Browser, daemon: Watched) -> Iterator[Browser]:
    window.resize(1600)
    window.prefer("light")
    window.driver.get(f"{daemon.serving.control_url}/")
    window.until(lambda: window.text("#live-text") == "live", "the page is live")
    yield window
    assert [line for line in window.complaints() if REFUSAL not in line] == []
    assert window.hosts() == {daemon.serving.control_url.removeprefix("http://")}


def open_form(page: Browser, act: str, **data: str) -> None:
    """Opens a form as an element of the page with this data-act does, and focuses that element first."""
    script = (
        "const b = document.createElement('button'); b.id = 'opener'; Object.assign(b.dataset, arguments[0]);"
        "b.textContent = 'open'; document.getElementById('opener')?.remove();"
        "document.querySelector('main').prepend(b); b.focus()"
    )
    page.run(script, {"act": act, **data})
    page.find("#opener").send_keys(Keys.ENTER)
    page.until(lambda: page.find("#form-dialog").is_displayed(), "the form is open")


def fill(page: Browser, name: str, text: str) -> None:
    field = page.find(f"#field-{name}")
    field.clear()
    field.send_keys(text)


def press(page: Browser, text: str) -> None:
    [button] = [one for one in page.all("#form-dialog button") if one.text == text]
    button.send_keys(Keys.ENTER)


def close_form(page: Browser) -> None:
    page.find("#form-close").click()
    page.until(lambda: not page.find("#form-dialog").is_displayed(), "the form is closed")


def answer(page: Browser, button: str) -> None:
    page.until(lambda: page.find("#question").is_displayed(), "it asks")
    page.find(f"#question-{button}").send_keys(Keys.ENTER)
    page.until(lambda: not page.find("#question").is_displayed(), "it no longer asks")


def error_of(page: Browser, name: str) -> str:
    return page.text(f"#field-{name}-error")


def said(page: Browser) -> str:
    return page.text("#form-dialog .form-result")


def offer_of(daemon: Watched, name: str, columns: str) -> list[list[str]]:
    found: list[list[str]] = daemon.do(Serving.psql, f"select {columns} from offers where offer_name = '{name}'")
    return found


def test_an_offer_is_added_by_keyboard_and_wrong_fields_have_their_sentences(page: Browser, daemon: Watched) -> None:
    open_form(page, "new-offer")
    page.until(lambda: page.run("return document.activeElement.id") == "field-offer_name", "the first field has focus")
    ActionChains(page.driver).send_keys("summer sale", Keys.TAB, "ads.example", Keys.ENTER).perform()
    page.until(lambda: error_of(page, "final_url"), "the URL is refused")
    assert "http" in error_of(page, "final_url")
    assert page.run("return document.activeElement.id") == "field-final_url"
    fill(page, "final_url", URL)
    page.run("document.querySelector('.more-settings').open = true")
    fill(page, "deadline_s", "90")
    press(page, "Add the offer")
    page.until(lambda: error_of(page, "deadline_s"), "the deadline is refused")
    assert error_of(page, "deadline_s") == "deadline_s must be 1 to 60 seconds, not 90.0"
    fill(page, "deadline_s", "9")
    fill(page, "tracking_urls", "3:https://ads.example/a 1:https://ads.example/b?w=%7Bgclid%7D")
    press(page, "Check")
    page.until(lambda: "nothing is saved yet" in said(page), "the values are checked")
    assert "%7Bgclid%7D is the macro {gclid}: the click's parameter gclid" in said(page)
    assert offer_of(daemon, "summer sale", "1") == []
    page.run("const b = document.querySelector('#form-dialog [type=submit]'); b.click(); b.click()")
    page.until(lambda: "added summer sale: /track-hit?offer=summer%20sale" in said(page), "it is added")
    assert page.text("#form-dialog .form-trouble") == ""
    assert offer_of(daemon, "summer sale", "final_url, deadline_s") == [[URL, "9"]]
    close_form(page)
    assert page.run("return document.activeElement.id") == "opener"


def test_the_later_of_two_editors_is_told_and_keeps_the_input(page: Browser, daemon: Watched) -> None:
    daemon.do(Serving.psql, f"insert into offers (offer_name, final_url) values ('two', '{URL}')")
    open_form(page, "edit-offer", offer="two")
    page.run("document.querySelector('.more-settings').open = true")
    fill(page, "notes", "mine")
    daemon.do(Serving.psql, "update offers set notes = 'theirs', deadline_s = 7 where offer_name = 'two'")
    press(page, "Save")
    page.until(lambda: "was changed after you read it" in page.text(".form-trouble"), "the later one is told")
    assert "deadline_s: (nothing) → 7" in said(page)
    assert "theirs" in page.text("[data-field=notes] .field-note")
    assert page.find("#field-notes").get_attribute("value") == "mine"
    assert offer_of(daemon, "two", "notes") == [["theirs"]]
    press(page, "Save")
    page.until(lambda: "updated two" in said(page), "it is saved on top")
    assert offer_of(daemon, "two", "notes, deadline_s") == [["mine", "7"]]
    daemon.do(Serving.psql, "update offers set notes = 'theirs again' where offer_name = 'two'")
    remove(page)
    page.until(lambda: "mine → theirs again" in said(page), "a removal is told too")
    remove(page)
    page.until(lambda: not page.find("#form-dialog").is_displayed(), "the second removal is done")
    assert offer_of(daemon, "two", "1") == []


def remove(page: Browser) -> None:
    press(page, "Remove the offer")
    answer(page, "yes")


def test_a_lost_connection_keeps_the_input(page: Browser, daemon: Watched) -> None:
    def online(*, on: bool) -> None:
        rates = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": not on, **rates})

    open_form(page, "new-offer")
    fill(page, "offer_name", "late")
    fill(page, "final_url", URL)
    online(on=False)
    try:
        press(page, "Add the offer")
        page.until(lambda: "Your input is still here" in page.text(".form-trouble"), "it says so")
    finally:
        online(on=True)
    assert page.find("#field-final_url").get_attribute("value") == URL
    press(page, "Add the offer")
    page.until(lambda: "added late" in said(page), "it is added")
    assert offer_of(daemon, "late", "final_url") == [[URL]]
    fill(page, "final_url", "unsaved")
    page.find("#field-final_url").send_keys(Keys.ESCAPE)
    answer(page, "no")
    assert page.find("#field-final_url").get_attribute("value") == "unsaved"
    page.find("#field-final_url").send_keys(Keys.ESCAPE)
    answer(page, "yes")
    page.until(lambda: not page.find("#form-dialog").is_displayed(), "the form is closed")


def test_a_list_of_ips_is_previewed_added_and_its_wrong_lines_are_named(
    page: Browser, daemon: Watched, tmp_path: Path
) -> None:
    counted = "select count(*) from ip_rotation_pool where country = 'fr'"
    open_form(page, "add-ips", country="fr")
    press(page, "Preview")
    page.until(lambda: error_of(page, "list") == "paste a list, or choose a file", "it needs rows")
    fill(page, "list", f"192.0.2.1:3128:anna:pa55word\n192.0.2.2:0\n{HOSTILE}")
    press(page, "Preview")
    page.until(lambda: "would add 1, skipped 0 (already there), refused 2" in said(page), "it is previewed")
    assert "ip_port '0' is not a port from 1 to 65535" in said(page)
    assert "pa55word" not in page.run("return document.querySelector('.form-result').innerHTML")
    assert daemon.do(Serving.psql, counted) == [["0"]]
    press(page, "Add the IPs")
    page.until(lambda: "added 1, skipped 0 (already there), refused 2" in said(page), "the good row is added")
    file = tmp_path / "ips.csv"
    file.write_bytes("ip_address;country\n192.0.2.3;fr\n192.0.2.4;fr\n".encode("utf-16"))
    page.find("#field-list").clear()
    page.find("#field-file").send_keys(str(file))
    press(page, "Add the IPs")
    page.until(lambda: "added 2, skipped 0 (already there), refused 0" in said(page), "the file is added")
    assert daemon.do(Serving.psql, counted) == [["3"]]
    assert page.all("img[src*=evil]") == []
    close_form(page)


def test_what_a_filter_shows_is_retired_after_a_question_with_the_count(page: Browser, daemon: Watched) -> None:
    daemon.do(
        Serving.psql,
        "insert into ip_rotation_pool (ip_address, country, status, is_healthy) select '198.51.100.' || n, 'de',"
        " 'failed', false from generate_series(1, 3) n; update offers set is_active = true",
    )
    page.until(lambda: len(page.rows("sick")) == 3, "the sick ones are listed")
    [reset, _, retire] = page.all("#unhealthy .bulk button")
    page.run("arguments[0].focus()", retire)
    retire.send_keys(Keys.ENTER)
    page.until(lambda: page.text("#question-title") == "Retire 3 IPs?", "it asks with the count")
    answer(page, "no")
    page.run(
        "const f = document.querySelector('[data-filters=sick]'); f.value = '198.51.100.2';"
        "f.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    reset.send_keys(Keys.ENTER)
    page.until(lambda: page.text("#question-title") == "Reset 1 IP?", "it asks for what is shown")
    answer(page, "yes")
    page.until(lambda: "reset 1: 198.51.100.2:7000" in page.text("#reset-outcome"), "it says what it did")
    found = daemon.do(Serving.psql, "select count(*) from ip_rotation_pool where country = 'de' and is_healthy")
    assert found == [["1"]]


def test_the_offers_that_a_filter_shows_are_paused_together_and_the_actions_say_so(
    page: Browser, daemon: Watched
) -> None:
    daemon.do(
        Serving.psql,
        f"insert into offers (offer_name, final_url) select 'bulk ' || n, '{URL}' from generate_series(1, 3) n",
    )
    page.until(lambda: sum("bulk" in row for row in page.rows("offers")) == 3, "the offers are listed")
    page.run(
        "const f = document.querySelector('[data-filters=offers]'); f.value = 'bulk';"
        "f.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert "The 3 offers shown:" in page.text("#offers-panel .bulk")
    page.all("#offers-panel .bulk button")[0].send_keys(Keys.ENTER)
    page.until(lambda: page.text("#question-title") == "Pause 3 offers?", "it asks with the count")
    answer(page, "yes")
    page.until(lambda: "paused 3 offers: bulk 1, bulk 2, bulk 3" in page.text("#offers-outcome"), "it says what it did")
    assert daemon.do(Serving.psql, "select count(*) from offers where offer_name like 'bulk%' and is_active") == [["0"]]
    page.until(lambda: any("is_active: false" in row for row in page.rows("actions")), "the log of actions has it")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1600, "light")])
def test_forms_fit_and_axe_finds_nothing_serious(page: Browser, width: int, scheme: str) -> None:
    page.resize(width)
    page.prefer(scheme)
    open_form(page, "new-offer")
    page.run("document.querySelector('.more-settings').open = true")
    press(page, "Add the offer")
    page.until(lambda: error_of(page, "offer_name"), "a field is wrong")
    assert page.run(FITS)
    assert serious(page) == []
    close_form(page)
    open_form(page, "add-ips")
    fill(page, "list", "ip,country\n192.0.2.1,germny\n192.0.2.2,de")
    press(page, "Preview")
    page.until(lambda: "would add 1" in said(page), "it is previewed")
    assert page.run(FITS)
    page.find("#form-close").click()
    answer(page, "yes")


def test_a_token_is_shown_once_and_the_tab_goes_on_with_it(page: Browser, daemon: Watched) -> None:
    open_form(page, "new-token")
    assert page.find("#field-role").get_attribute("value") == "operator"
    press(page, "Create the token")
    page.until(lambda: "1 to 100 printable characters" in error_of(page, "name"), "a name is needed")
    fill(page, "name", HOSTILE)
    press(page, "Create the token")
    page.until(lambda: "it is not shown again" in page.text("#form-body"), "it is created")
    token = str(page.find(".token-text").get_attribute("value"))
    assert token.startswith("tp_")
    press(page, "I have kept it")
    page.until(lambda: page.rows("tokens"), "it is listed")
    assert token not in page.run("return document.body.innerHTML")
    assert page.all("img[src*=evil]") == []
    page.driver.get(f"{daemon.serving.control_url}/")
    page.until(lambda: page.text("#live-text") == "live", "the tab is signed in")
    page.until(lambda: page.rows("tokens"), "the tokens are listed")
    page.find("#tokens tbody button").send_keys(Keys.ENTER)
    page.until(lambda: "you must sign in" in page.text("#question-text"), "it says that it is the tab's own")
    answer(page, "no")


def test_a_token_that_is_revoked_under_a_form_is_asked_for_and_the_input_stays(page: Browser, daemon: Watched) -> None:
    token = page.run("return sessionStorage.getItem('tracepool-token')")
    open_form(page, "new-offer")
    fill(page, "offer_name", "unlucky")
    fill(page, "final_url", URL)
    daemon.do(Serving.psql, "update control_tokens set revoked_at = now()")
    page.until(lambda: daemon_refuses(page, token), "the daemon refuses the token")
    press(page, "Add the offer")
    page.until(lambda: page.find("#login").is_displayed(), "it asks for a token")
    assert not page.find("#form-dialog").is_displayed()
    daemon.do(Serving.psql, "update control_tokens set revoked_at = null")
    page.until(lambda: not daemon_refuses(page, token), "the daemon takes the token again")
    page.find("#token").send_keys(token, Keys.ENTER)
    page.until(lambda: page.find("#form-dialog").is_displayed(), "the form is back")
    assert page.find("#field-final_url").get_attribute("value") == URL
    press(page, "Add the offer")
    page.until(lambda: "added unlucky" in said(page), "it is added")


def daemon_refuses(page: Browser, token: str) -> bool:
    script = (
        "const done = arguments[1]; fetch('/api/session', {headers: {Authorization: `Bearer ${arguments[0]}`}})"
        ".then((answer) => done(answer.status === 401))"
    )
    return bool(page.driver.execute_async_script(script, token))
