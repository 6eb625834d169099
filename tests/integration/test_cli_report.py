"""`tracepool report` and `tracepool export` on a real database."""

import csv
import io
from pathlib import Path

import pytest

from daemon.cli.report import COLUMNS
from daemon.control import exports
from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer

CLICKS = """
insert into offers (offer_name, final_url, target_country) values ('shoes', 'https://a.example/', 'GB'), ('hats', 'https://b.example/', 'de');
insert into active_trace_requests (request_id, offer_id, tracking_url, target_country, status, created_at, completed_at, cost, bytes_received,
                                   bytes_sent, provider)
select ('00000000-0000-4000-8000-00000000000' || n)::uuid, id, final_url, case when n < 3 then 'gb' else 'US' end, 'completed',
       now() - interval '5 minutes', now() - interval '4 minutes', 0.5, 1000, 200, case when n = 1 then 'luna' else 'soax' end
from offers, generate_series(1, 4) n where offer_name = 'shoes';
insert into hits (request_id, offer_id, offer_name, outcome, reason, location, wait_ms, created_at)
select ('00000000-0000-4000-8000-00000000000' || n)::uuid, id, offer_name, case when n < 4 then 'resolved' else 'fallback' end,
       case when n > 3 then 'deadline' end, 'https://shop.example/', n * 100, now() - interval '4 minutes'
from offers, generate_series(1, 4) n where offer_name = 'shoes';
insert into hits (request_id, offer_id, offer_name, outcome, reason, location, wait_ms, created_at)
select gen_random_uuid(), null, 'gone', 'fallback', 'no_ip', 'https://shop.example/', 7, now() - interval '4 minutes';
insert into hits (request_id, offer_name, outcome, location, wait_ms, kind, created_at)
select gen_random_uuid(), 'gone', 'resolved', 'https://shop.example/', 9000, kind, now() - interval '4 minutes'
from unnest(array['repeat', 'preview', 'preview']) kind;
insert into hits (request_id, offer_name, outcome, location, wait_ms, created_at)
select gen_random_uuid(), 'gone', 'background', 'https://shop.example/', 0, now() - interval '4 minutes' from generate_series(1, 4);
insert into traffic select ((now() - interval '4 minutes') at time zone 'utc')::date, p, (select id from offers where offer_name = 'shoes'), 'shoes', n, n * 1000, n * 200, n * 0.5
from (values ('luna', 1), ('soax', 3)) t(p, n)
"""  # noqa: E501


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


def test_without_clicks_a_report_says_how_to_make_one(tracepool: Commands) -> None:
    found = tracepool("report")
    assert found.status == 0
    assert "there has been no click yet" in found.err
    assert "track-hit?offer=" in found.err


def test_clicks_waits_and_cost_are_those_of_the_rows_in_every_grouping(tracepool: Commands) -> None:
    tracepool("offers", "list")
    tracepool.sql(CLICKS)
    found = tracepool("report")
    assert (found.status, found.err) == (0, "")
    assert found.lines[1:] == [
        "\t".join(("offer", "country", *COLUMNS)),
        "shoes\tuk\t2\t2\t100.0\t\t0\t0\t0\t150\t195\t2\t2.4 KB\t$1.00",
        "shoes\tus\t2\t1\t50.0\tdeadline 1\t0\t0\t0\t350\t395\t2\t2.4 KB\t$1.00",
        "gone\t(no country)\t1\t0\t0.0\tno_ip 1\t4\t1\t2\t7\t7\t0\t0 B\t$0.00",
        "all\t\t5\t3\t60.0\tdeadline 1, no_ip 1\t4\t1\t2\t200\t380\t4\t4.8 KB\t$2.00",
    ]
    for by in ("offer", "country", "provider", "day", "reason"):
        for since in ("--from=1h", "--from=7d", None):
            total = tracepool("report", "--by", by, "--json", *([since] if since else [])).json["total"]
            assert (total["clicks"], total["landed"], total["traces"], total["cost"]) == (5, 3, 4, 2.0), (by, since)
            assert (total["background"], total["repeats"], total["previews"]) == (4, 1, 2)
            assert total["bytes_received"] + total["bytes_sent"] == 4_800
    spent = {one["provider"]: one for one in tracepool("report", "--by", "provider", "--json").json["items"]}
    today = tracepool("status", "--json").json["traffic_today"]
    assert {provider: one["cost"] for provider, one in spent.items() if provider} == {"luna": 0.5, "soax": 1.5}
    assert all(spent[provider]["cost"] == today[provider]["cost"] for provider in today)
    by_reason = {one["reason"]: one["traces"] for one in tracepool("report", "--by", "reason", "--json").json["items"]}
    assert by_reason == {"landed": 3, "deadline": 1, "no_ip": 0, "background": 0, None: 0}

    rows = list(csv.DictReader(io.StringIO(tracepool("report", "--by", "offer", "--csv").out)))
    assert [(row["offer"], row["clicks"], row["fallback_no_ip"]) for row in rows] == [
        ("shoes", "4", "0"),
        ("gone", "1", "1"),
    ]
    tracepool.sql("update hits set created_at = '2024-05-06 07:08+00' where offer_name = 'shoes'")
    early = tracepool("report", "--from", "2020-01-01", "--to", "2020-01-02").err
    assert "the first click is of 2024-05-06 07:08:00 UTC: choose --to after it" in early
    between = tracepool("report", "--from", "2024-06-01", "--to", "2024-06-02").err
    assert "clicks are from 2024-05-06 07:08:00 UTC to 20" in between
    tracepool.sql("delete from hits where created_at > '2024-06-01'")
    late = tracepool("report", "--by", "country", "--from", "2024-06-01", "--to", "2024-06-02").err
    assert "the newest click is of 2024-05-06 07:08:00 UTC: choose --from before it" in late


@pytest.mark.parametrize("words", [("--by", "hour"), ("--from", "soon"), ("--to", "2020-01-01", "--from", "1h")])
def test_wrong_words_are_refused_with_what_would_be_right(tracepool: Commands, words: tuple[str, ...]) -> None:
    found = tracepool("report", *words)
    assert (found.status, found.out) == (2, "")
    assert words[0] in found.err or "begin" in found.err


def test_an_export_has_every_row_once_and_no_text_is_a_formula(
    tracepool: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "LINES", 7)
    tracepool("offers", "list")
    texts = ["=1+1", "-2", "@x", 'a "b", c', "two\nlines", "\t=1", "plain", "\\d", "\uff0b1", "é", "", "'"]
    for text in texts:
        quoted = text.replace("'", "''")
        tracepool.sql(
            "insert into hits (request_id, offer_name, outcome, location, user_agent, wait_ms, created_at)"
            f" values (gen_random_uuid(), 'shoes', 'resolved', 'L', '{quoted}', 5, '2026-01-31 12:00+00')"
        )
    window = ("--from", "2026-01-31", "--to", "2026-01-31")
    rows = list(csv.DictReader(io.StringIO(tracepool("export", "hits", *window).out, newline=""), strict=True))
    risky = ("=", "-", "@", "\t", "\uff0b")
    assert sorted(row["user_agent"] for row in rows) == sorted(
        f"'{text}" if text.startswith(risky) else text for text in texts
    )
    assert len({row["request_id"] for row in rows}) == len(texts)
    assert {(row["created_at"], row["referrer"]) for row in rows} == {("2026-01-31T12:00:00.000000Z", "")}
    assert len(tracepool("export", "hits", *window, "--offer", "hats").lines) == 1, "a header row"


def test_traces_are_exported_with_their_filters(tracepool: Commands) -> None:
    tracepool("offers", "list")
    tracepool.sql(CLICKS)
    rows = list(csv.DictReader(io.StringIO(tracepool("export", "traces", "--offer", "shoes").out)))
    assert [(row["offer_name"], row["provider"], row["cost"]) for row in rows[:2]] == [
        ("shoes", "luna", "0.5"),
        ("shoes", "soax", "0.5"),
    ]
    assert len(rows) == 4
    assert len(tracepool("export", "traces", "--status", "failed").lines) == 1
    assert len(tracepool("export", "traces", "--country", "UK").lines) == 3, "gb is uk"
    assert "allowed: pending" in tracepool("export", "traces", "--status", "done").err
