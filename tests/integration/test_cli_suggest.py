"""`tracepool offers suggest` on a real database."""

import json
from pathlib import Path

import pytest

from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer

COLUMNS = "offer\tstop at\ttraces\tsaves ms\tsaves bytes\twhy not"


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


def hop(url: str, ms: float = 20, kind: str = "http", received: int = 400) -> dict[str, object]:
    return {"url": url, "status": 302, "ms": ms, "kind": kind, "bytes_received": received, "bytes_sent": 100}


def traced(tracepool: Commands, offer: str, *urls: str, times: int = 20, age: str = "1 hour", ms: float = 250) -> None:
    """Completed traces of an offer over these URLs, of which the last one is the landing page."""
    hops = [*(hop(url) for url in urls[:-1]), hop(urls[-1], ms, "final", 5_900)]
    tracepool.sql(
        "insert into active_trace_requests (offer_id, tracking_url, target_country, status, final_url, redirect_chain,"
        f" created_at) select id, final_url, 'us', 'completed', '{urls[-1]}', '{json.dumps(hops)}', now() - interval"
        f" '{age}' from offers, generate_series(1, {times}) where offer_name = '{offer}'"
    )


def test_a_stop_is_proposed_applied_and_then_there_already(tracepool: Commands) -> None:
    for name in ("shoes", "hats", "new"):
        tracepool("offers", "add", name, f"https://ads.example/{name}")
    tracepool("offers", "update", "shoes", "--stop-at", "other.example")
    traced(tracepool, "shoes", "https://ads.example/a", "https://u:p@www.shop.co.uk:8443/x?gclid=1", times=15, ms=300)
    traced(tracepool, "shoes", "https://ads.example/a", "https://shop.co.uk/", times=5, ms=100)
    traced(tracepool, "hats", "https://ads.example/a", "https://a.example/")
    traced(tracepool, "hats", "https://ads.example/a", "https://b.example/", times=1)
    traced(tracepool, "new", "https://ads.example/a", "https://a.example/", times=19)
    traced(tracepool, "new", "https://ads.example/a", "https://a.example/", age="8 days")

    found = tracepool("offers", "suggest")
    assert (found.status, found.err) == (0, "")
    assert found.lines == [
        COLUMNS,
        "hats\t\t21\t\t\tits traces landed on 2 sites: a.example (20), b.example (1)",
        "new\t\t19\t\t\t19 completed traces in 7 days: at least 20 are needed",
        "shoes\tshop.co.uk\t20\t250\t6000\t",
    ]
    [shoes] = tracepool("offers", "suggest", "--offer", "shoes", "--json").json
    assert shoes == {
        "offer": "shoes",
        "stop_at": ["shop.co.uk"],
        "traces": 20,
        "saves_ms": 250,
        "saves_bytes": 6000,
        "why_not": None,
        "applied": False,
    }
    assert tracepool("offers", "show", "shoes", "--json").json["stop_at"] == ["other.example"], "nothing was set yet"

    assert tracepool("offers", "suggest", "--days", "9", "--apply").lines[1:] == [
        "hats\t\t21\t\t\tits traces landed on 2 sites: a.example (20), b.example (1)",
        "new\ta.example\t39\t250\t6000\t",
        "shoes\tshop.co.uk\t20\t250\t6000\t",
        "updated new: stop_at has a.example",
        "updated shoes: stop_at has shop.co.uk",
    ]
    assert tracepool("offers", "show", "shoes", "--json").json["stop_at"] == ["other.example", "shop.co.uk"]
    [again] = tracepool("offers", "suggest", "--offer", "shoes", "--apply", "--json").json
    assert (again["why_not"], again["applied"]) == ("its stop_at has other.example shop.co.uk already", False)


def test_odd_traces_are_no_error(tracepool: Commands) -> None:
    tracepool("offers", "add", "app", "https://ads.example/app", "--landing-scheme", "market")
    tracepool("offers", "add", "far", "https://ads.example/far")
    tracepool("offers", "add", "idle", "https://ads.example/idle")
    tracepool.sql(
        "insert into active_trace_requests (offer_id, tracking_url, target_country, status, final_url, redirect_chain)"
        " select id, final_url, 'us', 'completed', case offer_name when 'app' then 'market://details?id=x' else"
        """ 'https://[2001:db8::1]:81/' end, case offer_name when 'app' then '[]'::jsonb else '{"no": "list"}' end"""
        " from offers, generate_series(1, 20) where offer_name <> 'idle'"
    )
    found = {row["offer"]: row for row in tracepool("offers", "suggest", "--json").json}
    assert found["app"]["why_not"] == "20 of 20 traces landed outside http and https"
    assert (found["far"]["stop_at"], found["far"]["saves_ms"]) == (["[2001:db8::1]"], None)
    assert found["idle"]["traces"] == 0


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (("--days", "0"), 2, "--days must be above 0"),
        (("--min-traces", "0"), 2, "--min-traces must be at least 1"),
        (("--offer", "sho"), 1, "no offer is called 'sho': did you mean 'shoes'?"),
        (("--days", "many"), 2, "Try: tracepool offers suggest --help"),
    ],
)
def test_wrong_usage_is_told(tracepool: Commands, options: tuple[str, ...], status: int, says: str) -> None:
    tracepool("offers", "add", "shoes", "https://ads.example/shoes")
    refused = tracepool("offers", "suggest", *options)
    assert (refused.status, refused.out) == (status, "")
    assert says in refused.err


def test_fewer_traces_may_be_enough(tracepool: Commands) -> None:
    tracepool("offers", "add", "shoes", "https://ads.example/shoes")
    traced(tracepool, "shoes", "https://ads.example/a", "http://a.example/x", "https://www.a.example/x", times=2)
    [shoes] = tracepool("offers", "suggest", "--json", "--min-traces", "2").json
    assert shoes["stop_at"] == ["a.example"], "the last redirect changes no more than http and www"
