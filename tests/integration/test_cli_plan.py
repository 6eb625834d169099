"""`tracepool plan`, from options and from recorded clicks and traces."""

from pathlib import Path

import pytest

from daemon.maintenance.sizing import ips_needed
from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


def clicks(tracepool: Commands, offer: str, country: str, count: int, minutes_ago: int) -> None:
    tracepool.sql(
        f"insert into offers (offer_name, final_url, target_country) values ('{offer}', 'https://a.example',"
        f" '{country}') on conflict do nothing"
    )
    tracepool.sql(
        "insert into hits (request_id, offer_id, offer_name, outcome, location, wait_ms, created_at)"
        f" select gen_random_uuid(), id, offer_name, 'resolved', 'https://a.example', 1,"
        f" date_trunc('minute', now()) - interval '{minutes_ago} minutes' + interval '1 second'"
        f" from offers, generate_series(1, {count}) where offer_name = '{offer}'"
    )


def test_what_is_given_needs_no_database(tracepool: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOOL_DATABASE__URL", "postgresql://nowhere.invalid/none")
    said = tracepool("plan", "--clicks-per-minute", "300", "--trace-seconds", "10", "--price-per-gb", "3")
    assert (said.status, said.err) == (0, "")
    assert said.lines[0].split("\t") == [
        "country", "share", "clicks/min", "busy", "IPs", "none free", "in use", "at 80%",
    ]  # fmt: skip
    assert said.lines[1].split("\t") == ["us", "60%", "180", "210", "232", "0.92%", "89.7%", "263"]
    assert "country\tlow: 60/min\tmedium: 300/min\thigh: 1,200/min" in said.lines
    assert "51.84 a day" in said.out
    found = tracepool("plan", "--clicks-per-minute", "300", "--trace-seconds", "10", "--cooldown", "0", "--json").json
    assert found["countries"]["us"]["mean_busy"] == pytest.approx(30)
    assert found["bytes"]["money_per_day"] is None
    assert found["traffic"]["medium"]["ips"]["us"] == found["countries"]["us"]["ips"]


def test_the_cooldown_is_the_settings_unless_given(tracepool: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOOL_POOL__COOLDOWN_S", "5")
    asked = ("plan", "--clicks-per-minute", "60", "--trace-seconds", "10", "--shares", "de=1", "--json")
    assert tracepool(*asked).json["total"]["mean_busy"] == pytest.approx(15)
    assert tracepool(*asked, "--cooldown", "20").json["total"]["mean_busy"] == pytest.approx(30)


def test_history_gives_each_countrys_busiest_minute_and_what_its_traces_took(tracepool: Commands) -> None:
    clicks(tracepool, "sale", "us", 10, minutes_ago=120)
    clicks(tracepool, "sale", "us", 30, minutes_ago=60)
    clicks(tracepool, "other", "USA", 12, minutes_ago=60)
    clicks(tracepool, "british", "gb", 8, minutes_ago=3)
    tracepool.sql(
        "insert into active_trace_requests (tracking_url, target_country, status, trace_time_ms, bytes_received) values"
        " ('https://a.example', 'us', 'completed', 4000, 20000), ('https://a.example', 'us', 'failed', 8000, 40000),"
        " ('https://a.example', 'us', 'failed', null, 0)"
    )
    found = tracepool("plan", "--from-history", "--json").json
    assert found["countries"]["us"]["clicks_per_minute"] == 42, "both spellings and offers of one minute together"
    assert found["countries"]["us"]["trace_s"] == pytest.approx(6)
    assert found["countries"]["us"]["ips"] == ips_needed(42 / 60 * 66, 0.01)
    assert found["countries"]["uk"]["clicks_per_minute"] == 8
    assert found["countries"]["uk"]["trace_s"] == pytest.approx(6), "no trace of its own has ended: the others' time"
    assert found["bytes"]["kb_per_trace"] == pytest.approx(30)
    assert found["history"]["minutes"] == pytest.approx(120, abs=2)
    assert [rate["clicks"] for rate in found["history"]["rates"]] == [52, 8]
    said = tracepool("plan", "--from-history", "--trace-seconds", "2").out
    assert "2 s of trace" in said
    assert "history: 2.0 hours" in said


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((), "give --clicks-per-minute and --trace-seconds, or --from-history"),
        (("--clicks-per-minute", "60"), "give --clicks-per-minute and --trace-seconds, or --from-history"),
        (("--from-history", "--clicks-per-minute", "60"), "not both"),
        (("--clicks-per-minute", "0", "--trace-seconds", "1"), "allowed: 0.001 to 600000"),
        (("--clicks-per-minute", "nan", "--trace-seconds", "1"), "allowed: 0.001 to 600000"),
        (("--clicks-per-minute", "1", "--trace-seconds", "1", "--fallback-percent", "100"), "allowed: 0.0001 to 99"),
        (("--clicks-per-minute", "1", "--trace-seconds", "1", "--shares", "us"), "such as us=60"),
    ],
)
def test_what_cannot_be_planned_is_wrong_usage_with_a_hint(
    tracepool: Commands, arguments: tuple[str, ...], hint: str
) -> None:
    failed = tracepool("plan", *arguments)
    assert (failed.status, failed.out) == (2, "")
    assert hint in failed.err
    assert failed.err.count("\n") == 1


def test_the_settings_have_the_price(tracepool: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOOL_PROVIDERS__LUNA__PRICE_PER_GB", "2")
    asked = ("plan", "--clicks-per-minute", "300", "--trace-seconds", "10")
    assert "at 2 dollars a GB: 0.08 per 1,000 clicks" in tracepool(*asked).out
    assert tracepool(*asked, "--price-per-gb", "0", "--json").json["bytes"]["money_per_day"] == 0


def test_no_history_and_clicks_without_a_trace_ask_for_the_time_of_one(tracepool: Commands) -> None:
    empty = tracepool("plan", "--from-history")
    assert (empty.status, empty.out) == (1, "")
    assert "there was no click of an offer" in empty.err
    clicks(tracepool, "sale", "us", 5, minutes_ago=10)
    assert "give --trace-seconds as well" in tracepool("plan", "--from-history").err
    assert tracepool("plan", "--from-history", "--trace-seconds", "3").status == 0
