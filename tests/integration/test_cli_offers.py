"""`tracepool offers` on a real database."""

import json
from pathlib import Path

import pytest

from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer

URL = "https://ads.example/click?id=7"


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


def test_an_offer_is_added_with_what_is_said_of_it(tracepool: Commands) -> None:
    added = tracepool(
        *("offers", "add", "summer sale", URL, "--country", "uk", "--deadline", "8"),
        *("--user-agent", "visitor", "--notes", "for June", "--inactive"),
    )
    assert (added.status, added.out) == (0, "added summer sale: /track-hit?offer=summer%20sale\n")
    shown = tracepool("offers", "show", "summer sale", "--json").json
    assert {column: shown[column] for column in list(shown)[:7]} == {
        "offer_name": "summer sale",
        "final_url": URL,
        "target_country": "uk",
        "is_active": False,
        "deadline_s": 8,
        "user_agent": "visitor",
        "notes": "for June",
    }


def test_what_is_not_said_has_its_default(tracepool: Commands) -> None:
    tracepool("offers", "add", "summer", URL)
    assert tracepool.sql("select target_country, is_active, deadline_s, user_agent, notes from offers") == [
        {"target_country": "us", "is_active": True, "deadline_s": None, "user_agent": "default", "notes": None}
    ]


def test_a_name_is_taken_once(tracepool: Commands) -> None:
    tracepool("offers", "add", "summer", URL)
    again = tracepool("offers", "add", "summer", "https://other.example/")
    assert (again.status, again.out) == (2, "")
    assert again.err == "tracepool: an offer called 'summer' exists already: use `tracepool offers update`\n"
    assert tracepool.sql("select final_url from offers") == [{"final_url": URL}]


def test_a_private_host_needs_a_word_of_the_operator(tracepool: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    local = "http://127.0.0.1:9000/a"
    refused = tracepool("offers", "add", "a", local)
    assert refused.status == 2
    assert "loopback" in refused.err
    assert tracepool("offers", "add", "a", local, "--allow-private").status == 0
    monkeypatch.setenv("TRACEPOOL_TRACE__ALLOW_PRIVATE", "true")
    assert tracepool("offers", "add", "b", local).status == 0


def test_an_update_changes_only_what_it_names(tracepool: Commands) -> None:
    tracepool("offers", "add", "summer", URL, "--deadline", "8", "--notes", "n")
    assert tracepool("offers", "update", "summer", "--inactive").out == "updated summer\n"
    assert tracepool("offers", "update", "summer", "--country", "uk", "--url", URL + "8").status == 0
    expected = {"final_url": URL + "8", "target_country": "uk", "is_active": False, "deadline_s": 8.0, "notes": "n"}
    columns = ", ".join(expected)
    assert tracepool.sql(f"select {columns} from offers") == [expected]
    tracepool("offers", "update", "summer", "--active", "--no-deadline")
    assert tracepool.sql(f"select {columns} from offers") == [{**expected, "is_active": True, "deadline_s": None}]


@pytest.mark.slow
def test_landing_schemes_are_named_one_by_one_changed_whole_and_taken_back(tracepool: Commands) -> None:
    def schemes() -> list[str]:
        shown: list[str] = tracepool("offers", "show", "app", "--json").json["landing_schemes"]
        assert tracepool("offers", "list", "--json").json[0]["landing_schemes"] == shown
        return shown

    tracepool("offers", "add", "app", URL, "--landing-scheme", "market", "--landing-scheme", "Intent")
    assert schemes() == ["market", "intent"]
    assert "landing_schemes  market intent" in tracepool("offers", "show", "app").lines
    tracepool("offers", "update", "app", "--inactive")
    assert schemes() == ["market", "intent"]
    tracepool("offers", "update", "app", "--landing-scheme", "itms-apps")
    assert schemes() == ["itms-apps"]
    assert tracepool("offers", "update", "app", "--no-landing-schemes").status == 0
    assert schemes() == []
    tracepool(
        "offers", "import", "--update", "-", stdin=f"offer_name,final_url,landing_schemes\napp,{URL},market intent"
    )
    assert schemes() == ["market", "intent"]


PARAMETERS = ("stop_at", "param_filter", "rename", "tracking_urls", "trace_backend", "tracer")


@pytest.mark.slow
def test_what_is_said_of_parameters_is_stored_shown_listed_and_taken_back(tracepool: Commands) -> None:
    def stored() -> list[object]:
        shown = tracepool("offers", "show", "shoes", "--json").json
        assert tracepool("offers", "list", "--json").json == [shown]
        return [shown[column] for column in PARAMETERS]

    added = tracepool(
        *("offers", "add", "shoes", "--stop-at", "Shop.Example", "--stop-at", "other.example"),
        *("--keep", "gclid", "--keep", "a b", "--rename", "gclid=sub1", "--rename", "wbraid=sub2"),
        *("--tracking-url", "3:https://ads.example/a/{gclid}", "--tracking-url", "https://ads.example/b"),
        *("--trace-backend", "local", "--tracer", "auto", "--mode", "background"),
    )
    macro = "macro {gclid}: the click's parameter gclid; nothing where a click has none\n"
    assert (added.status, added.out, added.err) == (0, f"added shoes: /track-hit?offer=shoes\n{macro}", "")
    changed = tracepool(
        "offers", "update", "shoes", "--fallback-url", "https://ads.example/?a={gclld}&b=[gclid]&c={offer}"
    )
    assert changed.lines == ["updated shoes", "macro {offer}: the offer's name"]
    assert "tracepool: macro {gclld}: the click's parameter gclld; nothing where a click has none; no ad" in changed.err
    assert "is {gclid} meant?" in changed.err
    assert "[gclid] is no macro: it is sent literally" in changed.err
    shares = [{"url": "https://ads.example/a/{gclid}", "weight": 3}, {"url": "https://ads.example/b", "weight": 1}]
    assert stored() == [
        ["shop.example", "other.example"],
        {"keep": ["gclid", "a b"]},
        {"gclid": "sub1", "wbraid": "sub2"},
        shares,
        "local",
        "auto",
    ]
    lines = tracepool("offers", "show", "shoes").lines
    assert "final_url        https://ads.example/a/{gclid}" in lines, "the first stands for them where they go"
    assert "stop_at          shop.example other.example" in lines
    assert 'param_filter     keep gclid "a b"' in lines
    assert "mode             background" in lines
    assert "rename           gclid=sub1 wbraid=sub2" in lines
    assert "tracking_urls    3:https://ads.example/a/{gclid} 1:https://ads.example/b" in lines
    assert tracepool("offers", "list").lines[1].split("\t")[5:] == [
        "3:https://ads.example/a/{gclid} 1:https://ads.example/b",
        "shop.example other.example",
        'keep gclid "a b"; gclid=sub1 wbraid=sub2',
        "local auto background",
    ]

    tracepool("offers", "update", "shoes", "--inactive")
    assert stored()[3] == shares
    assert tracepool("offers", "update", "shoes", "--drop", "fbclid", "--rename", "x=y", "--no-stop-at").status == 0
    assert stored() == [None, {"drop": ["fbclid"]}, {"x": "y"}, shares, "local", "auto"]
    back = ("--no-filter", "--no-rename", "--no-tracking-urls", "--trace-backend", "default", "--tracer", "default")
    assert tracepool("offers", "update", "shoes", *back, "--mode", "wait").status == 0
    assert stored() == [None, None, None, None, "default", "default"]
    assert tracepool("offers", "list").lines[1].split("\t")[5:] == ["https://ads.example/a/{gclid}", "", "", ""]


def test_a_url_beside_tracking_urls_is_told_to_get_no_clicks(tracepool: Commands) -> None:
    added = tracepool("offers", "add", "a", URL, "--tracking-url", "https://ads.example/b")
    assert added.lines[1:] == [f"{URL} gets no clicks: the tracking URLs share them"]
    assert len(tracepool("offers", "add", "b", URL, "--tracking-url", URL).lines) == 1


def test_an_import_takes_what_a_list_shows(tracepool: Commands) -> None:
    text = (
        "offer_name,final_url,stop_at,param_filter,rename,tracking_urls,trace_backend,tracer\n"
        f"shoes,{URL},shop.example,keep gclid,gclid=sub1,3:{URL} {URL}8,service,browser\n"
    )
    assert tracepool("offers", "import", "-", stdin=text).status == 0
    [shown] = tracepool("offers", "list", "--json").json
    wanted = {column: shown[column] for column in ("offer_name", "final_url", *PARAMETERS)}
    tracepool("offers", "remove", "shoes")
    assert tracepool("offers", "import", "-", stdin=json.dumps(wanted)).status == 0
    [again] = tracepool("offers", "list", "--json").json
    assert {column: again[column] for column in wanted} == wanted
    none: dict[str, object] = {"stop_at": [], "param_filter": {}, "rename": {}, "tracking_urls": []}
    empty = {**wanted, **none, "trace_backend": "default", "tracer": "default"}
    assert tracepool("offers", "import", "--update", "-", stdin=json.dumps(empty)).status == 0
    [bare] = tracepool("offers", "list", "--json").json
    assert [bare[column] for column in PARAMETERS] == [None, None, None, None, "default", "default"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("x",), "give the URL where the chain starts: URL, or --tracking-url. Try: tracepool offers add --help"),
        (("x", "--no-tracking-urls"), "give the URL where the chain starts"),
        (("x", "https://{gclid}.example/"), "the macro {gclid} stands before the path"),
        (("x", "--tracking-url", "https://{gclid}.example/"), "the macro {gclid} stands before the path"),
        (("x", "--tracking-url", "http://127.0.0.1/"), "loopback"),
        (("x", URL, "--trace-backend", "remote"), "Try: tracepool offers add --help"),
    ],
)
def test_a_wrong_offer_is_wrong_usage(tracepool: Commands, options: tuple[str, ...], reason: str) -> None:
    refused = tracepool("offers", "add", *options)
    assert (refused.status, refused.out) == (2, "")
    assert reason in refused.err
    assert tracepool("offers", "list", "--json").json == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "say what to change: --url"),
        (("--keep", "a", "--drop", "b"), "--keep, --drop and --no-filter exclude each other"),
        (("--keep", "a", "--no-filter"), "--keep, --drop and --no-filter exclude each other"),
        (("--stop-at", "https://shop.example/"), "is no host such as shop.example"),
        (("--stop-at", "co"), "single-label host 'co'"),
        (("--rename", "gclid"), "'gclid' must read FROM=TO"),
        (("--rename", "a=b", "--rename", "a=c"), "'a' is given twice"),
        (("--tracking-url", "0:https://ads.example/"), "a weight must be a number above 0"),
        (("--tracking-url", "ads.example"), "does not start with http"),
        (("--deadline", "61"), "deadline_s must be 1 to 60 seconds, not 61.0"),
        (("--deadline", "0"), "deadline_s must be 1 to 60 seconds, not 0.0"),
        (("--deadline", "8", "--no-deadline"), "exclude each other"),
        (("--url", "http://10.1.2.3/"), "private address"),
        (("--landing-scheme", "javascript"), "runs in the visitor's browser"),
        (("--landing-scheme", "market://"), "is no scheme"),
        (("--user-agent", "curl"), "Try: tracepool offers update --help"),
    ],
)
def test_a_wrong_update_is_wrong_usage(tracepool: Commands, options: tuple[str, ...], reason: str) -> None:
    tracepool("offers", "add", "summer", URL)
    refused = tracepool("offers", "update", "summer", *options)
    assert (refused.status, refused.out) == (2, "")
    assert reason in refused.err


@pytest.mark.parametrize("command", [("show",), ("update", "--inactive"), ("remove",)])
def test_an_unknown_name_is_answered_with_the_closest(tracepool: Commands, command: tuple[str, ...]) -> None:
    tracepool("offers", "add", "summer-sale", URL)
    verb, *options = command
    close = tracepool("offers", verb, "sumer-sale", *options)
    far = tracepool("offers", verb, "zzz", *options)
    assert (close.status, far.status) == (1, 1)
    assert close.err == "tracepool: no offer is called 'sumer-sale': did you mean 'summer-sale'?\n"
    assert far.err == "tracepool: no offer is called 'zzz': `tracepool offers list` shows all\n"


def test_a_removed_offer_is_gone(tracepool: Commands) -> None:
    tracepool("offers", "add", "summer", URL)
    assert tracepool("offers", "remove", "summer").out == "removed summer\n"
    assert tracepool("offers", "list", "--json").json == []


def test_an_import_skips_what_is_there_and_tells_what_is_bad(tracepool: Commands) -> None:
    tracepool("offers", "add", "summer", URL)
    text = f"offer_name,final_url,target_country\nsummer,{URL}9,uk\nwinter,{URL},uk\nbad,ftp://x.example,uk\n"
    imported = tracepool("offers", "import", "-", stdin=text)
    assert (imported.status, imported.out) == (1, "added 1, skipped 1 (already there), refused 1\n")
    assert "standard input:4: 'ftp://x.example' does not start with http" in imported.err
    assert [line.split("\t")[:2] for line in tracepool("offers", "list").lines[1:]] == [
        ["summer", "us"],
        ["winter", "uk"],
    ]


def test_an_import_with_update_changes_what_the_file_names(tracepool: Commands) -> None:
    tracepool("offers", "add", "summer", URL, "--country", "uk", "--notes", "n")
    lines = f'{{"offer_name": "summer", "final_url": "{URL}9"}}\n{{"offer_name": "winter", "final_url": "{URL}"}}\n'
    imported = tracepool("offers", "import", "--update", "-", stdin=lines)
    assert (imported.status, imported.out) == (0, "added 1, updated 1, skipped 0 (already there), refused 0\n")
    assert tracepool.sql("select final_url, target_country, notes from offers where offer_name = 'summer'") == [
        {"final_url": URL + "9", "target_country": "uk", "notes": "n"}
    ]


def test_strict_imports_nothing_beside_a_bad_row(tracepool: Commands) -> None:
    text = f"offer_name,final_url\nsummer,{URL}\nwinter,\n"
    assert tracepool("offers", "import", "--strict", "-", stdin=text).status == 1
    assert tracepool("offers", "list", "--json").json == []


def test_a_paused_offer_may_name_the_offer_that_takes_its_clicks(tracepool: Commands) -> None:
    for name in ("summer", "winter"):
        tracepool("offers", "add", name, URL)
    paused = tracepool("offers", "update", "summer", "--inactive", "--paused-to", "winter", "--fallback-url", URL)
    assert (paused.status, paused.err) == (0, "")
    shown = tracepool("offers", "show", "summer", "--json").json
    assert (shown["is_active"], shown["paused_to"], shown["fallback_url"]) == (False, "winter", URL)
    back = tracepool("offers", "update", "winter", "--inactive", "--paused-to", "summer")
    assert (back.status, "leads back" in back.err) == (2, True)
    assert tracepool("offers", "show", "winter", "--json").json["is_active"] is True, "nothing is stored"
    assert "another one" in tracepool("offers", "update", "winter", "--paused-to", "winter").err
    assert "no offer is called 'SUMMER': did you mean 'summer'?" in (
        tracepool("offers", "update", "winter", "--paused-to", "SUMMER").err
    )
    assert "no offer is called 'autumn'" in tracepool("offers", "update", "winter", "--paused-to", "autumn").err
    assert tracepool("offers", "update", "summer", "--no-paused-to", "--no-fallback-url").status == 0
    assert tracepool.sql("select paused_to, fallback_url from offers where offer_name = 'summer'") == [
        {"paused_to": None, "fallback_url": None}
    ]
