"""Macros of tracking URLs: their values, and which parts of the URL a value can never change."""

import re
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

import pytest
from ada_url import URL
from hypothesis import assume, example, given
from hypothesis import strategies as st

from daemon.click.answer import fallback_location
from daemon.errors import BadInput
from daemon.offers.macro_forms import Meaning, meanings, meanings_in
from daemon.offers.macros import VALUES_CHARACTERS_MAX, macro_url, template_of, tracking_url
from daemon.web.query import Inbound, parse_click

REQUEST_ID = UUID("0123e456-7890-4abc-8def-0123456789ab")


def inbound(query: str | bytes, offer: str = "demo") -> Inbound:
    click = parse_click(f"offer={offer}&".encode() + (query.encode() if isinstance(query, str) else query))
    assert isinstance(click, Inbound)
    return click


def expanded(url: str, query: str | bytes) -> str:
    safe, _ = macro_url(url)
    template = template_of(safe)
    return safe if template is None else template.expanded(inbound(query), REQUEST_ID)


@pytest.mark.parametrize(
    ("url", "query", "result"),
    [
        ("https://ads.example/c?g={gclid}&x=1", "gclid=Cj0K-_9", "https://ads.example/c?g=Cj0K-_9&x=1"),
        ("https://ads.example/{gclid}/x", "gclid=a", "https://ads.example/a/x"),
        ("https://ads.example/x#{gclid}", "gclid=a", "https://ads.example/x#a"),
        ("https://ads.example/?{a}={b}&{a}", "a=1&b=2", "https://ads.example/?1=2&1"),
        ("https://ads.example?r={request_id}", "", f"https://ads.example?r={REQUEST_ID}"),
        ("https://ads.example/?r={request_id}", "request_id=mine", f"https://ads.example/?r={REQUEST_ID}"),
        ("https://ads.example/{offer}", "", "https://ads.example/demo"),
        # a missing parameter is empty; the first of repeated ones; names are decoded; the same case has precedence
        ("https://ads.example/{x}/c?g={gclid}", "", "https://ads.example//c?g="),
        ("https://ads.example/?g={gclid}", "gclid=1&gclid=2", "https://ads.example/?g=1"),
        ("https://ads.example/?g={gclid}", "GCLID=1&Gclid=2", "https://ads.example/?g=1"),
        ("https://ads.example/?g={GCLID}", "gclid=1", "https://ads.example/?g=1"),
        ("https://ads.example/?g={gclid}", "GCLID=1&gclid=2", "https://ads.example/?g=2"),
        ("https://ads.example/?r={Request_Id}&o={OFFER}", "", f"https://ads.example/?r={REQUEST_ID}&o=demo"),
        ("https://ads.example/?g={gclid}", "%67clid=1", "https://ads.example/?g=1"),
        ("https://ads.example/?g={utm_source}{sub.1}{x-y}", "utm_source=a&sub.1=b&x-y=c", "https://ads.example/?g=abc"),
        # encoded for path, query and fragment
        ("https://ads.example/{a}?b={a}#{a}", "a=x/y", "https://ads.example/x%2Fy?b=x%2Fy#x%2Fy"),
        ("https://ads.example/{a}?b={a}", "a=1%262%3D3%23%3F", "https://ads.example/1%262%3D3%23%3F?b=1%262%3D3%23%3F"),
        ("https://ads.example/{a}?b={a}", "a=x+y%2Bz%20", "https://ads.example/x%20y%2Bz%20?b=x%20y%2Bz%20"),
        ("https://ads.example/?b={a}", "a=%zz%", "https://ads.example/?b=%25zz%25"),
        ("https://ads.example/?b={a}", "a=%e9%C3%A9", "https://ads.example/?b=%E9%C3%A9"),
        ("https://ads.example/?b={a}", b"a=\xc3\xa9\x00", "https://ads.example/?b=%C3%A9%00"),
        ("https://ads.example/?b={a}", "a=%0d%0aX:%20y", "https://ads.example/?b=%0D%0AX%3A%20y"),
        # a value is not expanded again
        ("https://ads.example/?b={a}", "a={request_id}", "https://ads.example/?b=%7Brequest_id%7D"),
        # a value cannot make a "." or ".." segment
        ("https://ads.example/a/{b}/c", "b=..", "https://ads.example/a//c"),
        ("https://ads.example/a/{b}{b}/c", "b=.", "https://ads.example/a//c"),
        ("https://ads.example/a/.{b}", "b=%2e", "https://ads.example/a/."),
        ("https://ads.example/a/%2E{b}/c", "b=.", "https://ads.example/a/%2E/c"),
        ("https://ads.example/a/x{b}/c?{b}", "b=..", "https://ads.example/a/x../c?.."),
        # braces without a macro
        ('https://ads.example/?j={"a":{}}&k={a b}&l={1}&m={', "a=1", 'https://ads.example/?j={"a":{}}&k={a%20b}&l={1}&m={'),
        ("https://ads.example/?g={F2504E04-4F89-11D3-9A0C-0305E82C3301}&l={a:raw}&m=[a]&n={{a}", "a=1",
         "https://ads.example/?g={F2504E04-4F89-11D3-9A0C-0305E82C3301}&l={a:raw}&m=[a]&n={1"),
        # as people paste macros
        ("https://ads.example/%7ba%7D/?a=%7Ba%7D&b={{a}}&c=${a}&d=%24%7Ba%7D&e=%7B%7Ba%7D%7D&f=${{a}}", "a=1",
         "https://ads.example/1/?a=1&b=1&c=1&d=1&e=1&f=1"),
        ("https://ads.example/?j=%7B%22a%22:1%7D", "a=1", "https://ads.example/?j=%7B%22a%22:1%7D"),
    ],
)  # fmt: skip
def test_a_macro_is_replaced_by_its_value(url: str, query: str | bytes, result: str) -> None:
    assert expanded(url, query) == result


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://ads.example/{a}/{b c}?x={d}", "https://ads.example/{a}/%7Bb%20c%7D?x={d}"),
        ("https://bücher.example/ä/{a}?é={b}", "https://xn--bcher-kva.example/%C3%A4/{a}?%C3%A9={b}"),
        ("https:\\\\ads.example\\{a}", "https://ads.example/{a}"),
        ("https://ads.example/é/{a}/../{b}", "https://ads.example/%C3%A9/{b}"),
        ("https://ads.example/macro0z/é{a}", "https://ads.example/macro0z/%C3%A9{a}"),
        ("https://ads.example:8080/{a}", "https://ads.example:8080/{a}"),
    ],
)
def test_a_stored_url_keeps_its_macros_whatever_is_mended_around_them(url: str, stored: str) -> None:
    assert tracking_url(url, allow_private=False) == stored
    assert tracking_url(stored, allow_private=False) == stored


@pytest.mark.parametrize(
    "url",
    [
        *("https://{a}.ads.example/", "https://ads.{a}/", "https://{a}/", "https://ads.example{a}", "https:/{a}/x"),
        *("https://{a}@ads.example/", "https://u:{a}@ads.example/", "https://ü{a}x.example/", "https://%7Ba%7D.example/"),
        *("https:{a}.example/", "https://ads.example{a}?x", "https:\\\\{a}\\", "HTTPS://{a}:80/", "https://{a\t}.example/"),
    ],
)  # fmt: skip
def test_a_macro_before_the_path_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="stands before the path"):
        tracking_url(url, allow_private=False)


@pytest.mark.parametrize("url", ["{a}://ads.example/", "http{a}://ads.example/", "https://ads.example:{a}/", "{a}"])
def test_a_macro_in_scheme_or_port_makes_no_url(url: str) -> None:
    with pytest.raises(BadInput):
        tracking_url(url, allow_private=False)


def test_a_template_of_an_ad_network_is_no_tracking_url() -> None:
    for url in ("{lpurl}?a=1", "%7Bunescapedlpurl%7D", "{{lpurl}}"):
        with pytest.raises(BadInput, match="write the address itself"):
            tracking_url(url, allow_private=False)


def test_a_private_host_is_refused_beside_macros_as_well() -> None:
    with pytest.raises(BadInput, match="loopback"):
        tracking_url("http://127.0.0.1/{a}", allow_private=False)


def test_values_beyond_the_total_length_are_left_out() -> None:
    url = "https://ads.example/?a={a}&b={b}&c={c}"
    almost = "x" * (VALUES_CHARACTERS_MAX - 1)
    assert expanded(url, f"a={almost}&b=xx&c=1") == f"https://ads.example/?a={almost}&b=&c=1"
    many = "https://ads.example/?" + "{a}" * 500
    assert len(expanded(many, "a=" + "%00" * 10_000)) < VALUES_CHARACTERS_MAX + len(many)


def test_a_fallback_sets_the_parameters_on_the_expanded_url() -> None:
    click = inbound("gclid=a+b&x=2")
    template = template_of("https://ads.example/{x}?g={gclid}&gclid={gclid}")
    assert template is not None
    url = template.expanded(click, REQUEST_ID)
    assert fallback_location(url, click.params) == "https://ads.example/2?g=a%20b&gclid=a+b&x=2"


_scraps = st.sampled_from(
    ["..", ".", "/", "\\", "@", ":", "?", "#", "&", "=", "%", "%2e", "+", " ", "{a}", "\r\n", "é"]
)
_values = st.lists(st.one_of(_scraps, st.text(max_size=5)), max_size=4).map("".join)
_places = st.sampled_from(
    ["{a}", "{b}", "{c}", "{request_id}", "x", ".", "%2e", "/", "//", "é", "{", "}", "{ a}", "\\"]
)
_tails = st.lists(_places, max_size=6).map("".join)
_hosts = st.sampled_from(["ads.example", "u:p@ads.example:81", "bücher.example", "[2001:db8::1]", "ADS.example"])
_urls = st.builds(lambda host, path, query, end: f"https://{host}/{path}?{query}#{end}", _hosts, _tails, _tails, _tails)


def _queried(a: str, b: str) -> bytes:
    return f"a={quote(a, safe='', errors='replace')}&b={quote(b, safe='', errors='replace')}".encode()


@given(_urls, _values, _values)
@example("https://ads.example/{a}?#", "..", "")
@example("https://ads.example//{a}/?#", "evil.example", "")
def test_no_value_changes_scheme_host_port_or_depth(url: str, a: str, b: str) -> None:
    # The operator's own dots, also escaped ones, may make a "." segment around an empty value.
    assume(not re.search(r"\}(\.|%2e)|(\.|%2e)\{", url, re.IGNORECASE))
    result, blank = URL(expanded(url, _queried(a, b))), URL(expanded(url, _queried("x", "x")))
    assert (result.protocol, result.host, result.username, result.password) == (
        *(blank.protocol, blank.host, blank.username, blank.password),
    )
    assert result.pathname.count("/") == blank.pathname.count("/")


@given(_urls, _values, _values)
def test_an_expanded_url_is_fit_for_a_header(url: str, a: str, b: str) -> None:
    assert re.fullmatch(r"[!-~]*", expanded(url, _queried(a, b)))


@given(_values, st.sampled_from(["/x{a}/y?z=1#f", "/y?z={a}&w=1#f", "/y?{a}=1", "/y?z=1#{a}"]))
def test_the_expanded_text_decodes_to_the_value(value: str, where: str) -> None:
    front, back = f"https://ads.example{where}".split("{a}")
    result = expanded(front + "{a}" + back, _queried(value, ""))
    assert result.startswith(front)
    assert result.endswith(back)
    placed = result[len(front) : len(result) - len(back)]
    assert unquote_to_bytes(placed) == value.encode("utf-8", "replace")
    assert not re.search(r"[/?#&=+\\ ]", placed), "it cannot end what it stands in"


@given(st.text())
def test_whatever_an_operator_writes_is_refused_in_words_or_stays_the_same(url: str) -> None:
    try:
        stored = tracking_url(f"https://ads.example/{url}", allow_private=False)
    except BadInput:
        return
    assert tracking_url(stored, allow_private=False) == stored
    template = template_of(stored)
    if template is not None:
        assert template.expanded(inbound(""), REQUEST_ID).startswith("https://ads.example/")


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("{gclid}", "macro {gclid}: the click's parameter gclid; nothing where a click has none"),
        (
            "%7Bgclid%7D",
            "%7Bgclid%7D is the macro {gclid}: the click's parameter gclid; nothing where a click has none",
        ),
        ("${offer}", "${offer} is the macro {offer}: the offer's name"),
        ("{{Request_Id}}", "{{Request_Id}} is the macro {Request_Id}: the click's id, a UUID"),
    ],
)
def test_an_operator_reads_what_becomes_of_a_macro(form: str, sentence: str) -> None:
    assert list(meanings([f"https://ads.example/c?x={form}&x={form}"])) == [Meaning(sentence)]


@pytest.mark.parametrize(
    "form",
    ["[gclid]", "%5Bgclid%5D", "{gclid:raw}", "%7Bgclid|x%7D", "%257Bgclid%257D", "<gclid>", "%%gclid%%",
     "%gclid%", "%25gclid%25", "$gclid", "#gclid#"],
)  # fmt: skip
def test_a_macro_of_another_system_is_reported_as_literal(form: str) -> None:
    [meaning] = meanings([f"https://ads.example/c?x={form}"])
    assert meaning == Meaning(
        f"{form} is no macro: it is sent literally, as it stands, with each click; the macro is written {{gclid}}",
        warns=True,
    )


@pytest.mark.parametrize(
    ("form", "words", "warns"),
    [
        ("{GCLID}", "the click's parameter GCLID, in any upper and lower case; nothing", False),
        ("{gclid", "{gclid is no macro: it is sent literally, as it stands, with each click; the macro is", True),
        ("gclid%7D", "gclid%7D is no macro: it is sent literally, as it stands, with each click; the macro is", True),
        ("{utm_source}", "the click's parameter utm_source", False),
        ("%7Bkeyword%7D", "that link must say keyword={keyword}", False),
        ("{_season}", "that link must say _season={_season}", False),
        ("{lpurl}", "in its own tracking template only", True),
        ("{lpurl+2}", "is sent literally, as it stands, with each click; only in its own link", True),
        ("{ifmobile:m}", "only in its own link does the ad network fill it", True),
        ("{gclld}", "is {gclid} meant?", True),
        ("{{utm_sorce}}", "is {utm_source} meant?", True),
        ("${Match_Type}", "is {matchtype} meant?", True),
        ("{clckid}", "is {clickid} meant?", True),
        ("{ClickID}", "the click's parameter ClickID", False),  # the offer's own
        ("{x7}", "the ad's link must say x7=…", True),
        ("{{ gclid }}", "the macro is written {gclid}", True),
    ],
)
def test_an_operator_is_warned_of_names_that_no_network_sends(form: str, words: str, warns: bool) -> None:
    [meaning] = meanings_in({"fallback_url": f"https://ads.example/c?x={form}", "click_ids": ["ClickId"]})
    assert words in meaning.sentence
    assert meaning.warns == warns


def test_every_url_of_an_offer_is_read_and_each_sentence_is_said_once() -> None:
    urls = [{"url": "https://ads.example/{x7}", "weight": 3}, {"url": "https://ads.example/{offer}"}]
    found = meanings_in({"final_url": "https://ads.example/{x7}", "tracking_urls": urls, "notes": "{no}"})
    assert [meaning.warns for meaning in found] == [True, False]
    assert list(meanings_in({"final_url": None, "tracking_urls": None})) == []


@pytest.mark.parametrize(
    "query",
    [
        "a[b]=c&ids[]=1",
        "x=%20",
        "price=$5",
        "j={}",
        "a=b#top",
        "x=%C3%A9",
        "__a__=1",
        "q=a%7Db",
        "id={F2504E04-4F89-11D3-9A0C-0305E82C3301}",
    ],
)
def test_an_ordinary_url_has_no_macro(query: str) -> None:
    assert not list(meanings([f"https://ads.example/c?{query}"]))
