"""The dashboard in a browser: offers first, every click, the link tester, reports, the search box."""

import csv
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browsing import Browser, serious
from tests.browser.test_dashboard import close_dialog, type_into
from tests.browser.watched import Watched, watched_daemon
from tests.support.processes import Serving

pytestmark = pytest.mark.browser

HOSTILE = "<img src=//evil.example/x onerror=alert(1)>"
LONG = "very-long-path/" * 270  # 4 KB
TOKEN = "a-token-of-the-table-that-is-long"
IS_ASKED_FOR = "fetch('/api/session').then((answer) => arguments[0](answer.status === 401))"
LINKS = (
    "return [...document.querySelectorAll('a[href], img[src], iframe, link[rel~=prefetch]')]"
    ".map((element) => element.getAttribute('href') ?? element.getAttribute('src')).filter((url) => !/^[#/]/.test(url))"
)


async def rows_of_all_kinds(daemon: Serving) -> None:
    await daemon.psql(
        "insert into offers (offer_name, final_url, target_country, is_active) values ('torn', 'no URL', 'us', true),"
        " ('rests', 'https://a.example/', 'us', false), ('dry', 'https://a.example/', 'fr', true)"
    )
    values = [
        ("half", "click", "resolved", None, "G-1", "https://shop.example/"),
        ("half", "click", "fallback", "no_ip", "G-2", f"https://shop.example/{LONG}"),
        ("half", "repeat", "resolved", None, "G-1", "https://shop.example/"),
        (HOSTILE, "click", "fallback", "unknown_offer", HOSTILE, f"javascript:{HOSTILE}"),
        (r"right\u202eleft", "preview", "fallback", "preview", None, "https://shop.example/"),
    ]
    texts = ", ".join(
        "(gen_random_uuid(), "
        + ", ".join("null" if text is None else f"$t${text}$t$" for text in value)
        + ", 40, '192.0.2.77')"
        for value in values
    )
    await daemon.psql(
        "insert into hits (request_id, offer_name, kind, outcome, reason, click_id, location, wait_ms, visitor_address)"
        f" values {texts}"
    )
    await daemon.psql(
        "insert into offers (offer_name, final_url, target_country) values ('half', 'https://a.example/', 'us')"
    )


@pytest.fixture(scope="module")
def daemon(window: Browser) -> Iterator[Watched]:
    with watched_daemon() as daemon:
        daemon.do(rows_of_all_kinds)
        yield daemon


@pytest.fixture
def page(window: Browser, daemon: Watched) -> Iterator[Browser]:
    """The live dashboard. After each test: no console message, no request to another host, nothing that is a link."""
    window.resize(1600)
    window.prefer("light")
    window.driver.get(f"{daemon.serving.control_url}/")
    window.until(lambda: window.text("#live-text") == "live", "the page is live")
    window.until(lambda: len(window.rows("offers")) >= 7 and window.rows("found"), "offers and clicks are listed")
    yield window
    assert window.run(LINKS) == []
    assert window.complaints() == []
    assert window.hosts() == {daemon.serving.control_url.removeprefix("http://")}


def names(page: Browser) -> list[str]:
    return [row.split("\n")[0].split("\t")[0] for row in page.rows("offers")]


def are_found(page: Browser, count: int) -> bool:
    return len(page.rows("found")) == count


def saved(folder: Path, name: str) -> list[Path]:
    return list(folder.glob(f"tracepool-{name}-*.csv"))


def search(page: Browser, text: str) -> None:
    page.run("arguments[0].value = arguments[1]", page.find("#search-text"), text)
    page.find("#search-text").send_keys(Keys.ENTER)


def test_offers_come_first_and_what_hurts_above_them_all(page: Browser) -> None:
    assert page.run("return document.querySelector('main .panel:not([hidden]) h2').textContent") == "Offers"
    page.until(lambda: names(page)[:2] == ["torn", "dry"], "the broken one, and the one without IPs")
    assert names(page).index("half") < names(page).index("sale"), "what falls back comes before what lands"
    assert "no IPs of fr" in page.rows("offers")[1]
    assert any(HOSTILE in name for name in names(page)), "a name that no offer has, as it is"
    page.find("#offers thead th:nth-child(1) button").click()
    page.until(lambda: names(page)[0] == HOSTILE, "by name")
    assert "offers.order=Offer" in page.driver.current_url
    page.find("#offers-harm").click()
    page.until(lambda: names(page)[0] == "torn" and "offers.order" not in page.driver.current_url, "by harm again")


def test_a_thousand_offers_are_one_table_with_one_filter(page: Browser, daemon: Watched) -> None:
    columns = "(offer_name, final_url) select 'many-' || n, 'https://a.example/'"
    daemon.do(Serving.psql, f"insert into offers {columns} from generate_series(1, 1000) n")
    page.until(lambda: len(page.rows("offers")) > 1_000, "they are listed")
    type_into(page, '[data-filters="offers"]', "many-777")
    assert names(page) == ["many-777"]
    assert "The 1 offer shown" in page.text("#offers-panel .bulk")
    daemon.do(Serving.psql, "delete from offers where offer_name like 'many-%'")
    type_into(page, '[data-filters="offers"]', "")
    page.until(lambda: len(page.rows("offers")) < 20, "they are gone")


def test_each_fallback_leads_to_its_clicks_and_each_click_to_its_story(page: Browser) -> None:
    type_into(page, '[data-filters="offers"]', "half")
    page.find("#offers tr[data-key='half'] td:nth-child(5) button").click()
    page.until(lambda: len(page.rows("found")) == 1 and "no_ip" in page.rows("found")[0], "the fallback of the offer")
    page.find("#found tbody tr[data-key] button").click()
    page.until(lambda: page.find("#detail").is_displayed(), "its story opens")
    assert "no IP of the country became available in time" in page.text("#detail-body")
    assert LONG in page.text("#detail-body")
    assert serious(page) == []
    page.find("#detail .story summary").click()
    assert "click id G-2" in page.text("#detail .story pre")
    close_dialog(page)
    page.find("#find-reset").click()
    page.until(lambda: len(page.rows("found")) >= 5, "all are listed again")


def test_clicks_without_a_trace_are_found_by_what_is_known_of_them(page: Browser) -> None:
    for field, value, expected in (
        ("click_id", "G-1", 2),
        ("kind", "preview", 1),
        ("offer", HOSTILE, 1),
        ("visitor", "192.0.2.77", 5),
        ("click_id", "no such id", 0),
    ):
        type_into(page, f"#find-form [name={field}]", value)
        page.until(partial(are_found, page, expected), f"{expected} with {field} {value}")
        assert f"find.{field}=" in page.driver.current_url
        type_into(page, f"#find-form [name={field}]", "")
    page.until(lambda: any(r"right\u202eleft" in row for row in page.rows("found")), "a bidi mark is an escape")


def test_the_link_tester_shows_each_hop_and_links_none(page: Browser) -> None:
    type_into(page, "#tester-form [name=link]", "sale")
    type_into(page, "#tester-form [name=params]", "gclid=x&q=<b>")
    page.find("#tester-form [type=submit]").click()
    page.until(lambda: len(page.all(".hops-list li")) == 3, "two redirects and the landing")
    page.until(lambda: page.text("#tester-state") == "Landed.", "it says how it ended")
    hops = page.text(".hops-list")
    assert "302 http" in hops
    assert "200 final" in hops
    assert "cookies" in hops
    assert page.all("#tester a") == []
    type_into(page, "#tester-form [name=link]", "no such offer")
    page.find("#tester-form [type=submit]").click()
    page.until(lambda: "no offer has the name" in page.text("#tester-state"), "it says what is wrong")
    page.driver.get_log("browser")  # type: ignore[no-untyped-call] # Chromium reports the 404


def chosen(page: Browser, field: str, text: str) -> None:
    """Write into a field of the link tester, and leave the field."""
    box = page.find(f"#tester-form [name={field}]")
    box.clear()
    box.send_keys(text, Keys.TAB)


async def offer_with_urls_of_countries(daemon: Serving) -> None:
    await daemon.psql(
        "insert into offers (offer_name, final_url, target_country, countries, country_urls, is_active) values"
        " ('abroad', 'https://a.example/', 'us', '{us,uk}',"
        """ '{"uk": [{"url": "https://a.example/uk", "weight": 1}],"""
        """ "us": [{"url": "https://a.example/us", "weight": 1}]}', false)"""
    )


def test_the_link_tester_takes_the_urls_of_the_asked_country(page: Browser, daemon: Watched) -> None:
    daemon.do(offer_with_urls_of_countries)

    def asks(country: str, url: str) -> None:
        chosen(page, "country", country)
        chosen_url = "return document.querySelector('#tester-form [name=url]').value"
        page.until(lambda: page.run(chosen_url) == url, country)

    chosen(page, "link", "abroad")
    asks("uk", "https://a.example/uk")
    asks("us", "https://a.example/us")
    asks("GB", "https://a.example/uk")
    asks("United States", "https://a.example/us")
    asks("de", "https://a.example/")


def test_a_search_leads_to_what_a_text_names_or_says_where_it_looked(page: Browser) -> None:
    search(page, "127.2.14.1")
    page.until(lambda: page.text("#detail-title").startswith("IP 127.2.14.1"), "an IP")
    close_dialog(page)
    search(page, " G-1 ")
    page.until(lambda: len(page.rows("found")) == 2, "a click id")
    search(page, "half")
    page.until(lambda: len(page.rows("found")) == 3 and names(page) == ["half"], "an offer")
    search(page, page.run("return document.querySelector('#found tr[data-key]').dataset.key"))
    page.until(lambda: page.text("#detail-title").startswith("Click "), "a request id")
    close_dialog(page)
    search(page, "nothing <b>has</b> this name")
    page.until(lambda: "Nothing has the name" in page.text("#detail-body"), "nothing")
    assert "click ids" in page.text("#detail-body")
    close_dialog(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_telephone_the_panels_fit_and_axe_finds_nothing_serious(page: Browser, scheme: str) -> None:
    page.resize(390)
    page.prefer(scheme)
    page.until(lambda: page.rows("report"), "the report is there")
    assert page.run("return document.documentElement.scrollWidth") <= 390
    assert serious(page) == []


def test_a_report_is_shown_and_saved_with_a_token(page: Browser, daemon: Watched, tmp_path: Path) -> None:
    type_into(page, "#report-form [name=by]", "reason")
    page.find("#report-form [type=submit]").click()
    page.until(lambda: any("no_ip" in row for row in page.rows("report")), "its groups are reasons")
    token = f"insert into control_tokens (name, role, hash) values ('reporter', 'operator', sha256('{TOKEN}'))"
    daemon.do(Serving.psql, token)
    page.until(lambda: page.driver.execute_async_script(IS_ASKED_FOR), "a token is asked for")
    page.run("sessionStorage.setItem('tracepool-token', arguments[0])", TOKEN)
    page.driver.refresh()
    page.until(lambda: page.rows("report") and "report.by=reason" in page.driver.current_url, "signed in, same report")
    page.driver.get_log("browser")  # type: ignore[no-untyped-call] # Chromium reports each 401
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for name, key, value in (
        ("report", "reason", "no_ip"),
        ("hits", "click_id", "G-2"),
        ("traces", "status", "completed"),
    ):
        page.find(f"[data-csv={name}]").click()
        [file] = page.until(partial(saved, tmp_path, name), f"{name} are saved")
        lines = csv.DictReader(io.StringIO(file.read_text(), newline=""), strict=True)
        assert value in {line[key] for line in lines}
