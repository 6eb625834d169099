"""The window of a report, the source of its figures, and its lines of CSV."""

import csv
import io
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from daemon.control.report_groups import (
    Figures,
    Window,
    cells_of,
    clicks_of,
    columns_of,
    source_of,
    window_of,
    window_of_texts,
)
from daemon.database.spreadsheets import write_line
from daemon.errors import BadInput
from daemon.logbook.filter import since_of

NOW = datetime(2026, 11, 30, 7, 30, tzinfo=UTC)


def window(since: str | None = None, until: str | None = None, now: datetime = NOW) -> Window:
    return window_of_texts(since, until, now, since_of)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_without_times_a_report_has_the_last_seven_days_with_today() -> None:
    assert window() == Window(at(24), NOW, NOW)
    assert window().is_of_days
    assert window().days == (date(2026, 11, 24), date(2026, 12, 1))


def test_a_date_is_a_whole_day_in_utc_whatever_the_zone_of_the_machine() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=-9)))
    assert window("2026-11-02", "2026-11-03", there) == Window(at(2), at(4), NOW)
    assert window("2026-11-02", "2026-11-03").days == (date(2026, 11, 2), date(2026, 11, 4))


def test_spans_and_times_are_those_of_logs() -> None:
    assert window("2h") == Window(at(30, 5, 30), NOW, NOW)
    assert window("3d", "1d") == Window(at(27, 7, 30), at(29, 7, 30), NOW)
    assert window("2026-11-29T12:00+02:00", "2026-11-29 12:00") == Window(at(29, 10), at(29, 12), NOW)
    assert not window("2h").is_of_days


def test_an_end_in_the_future_is_now() -> None:
    assert window("2026-11-30", "2027-01-01") == Window(at(30), NOW, NOW)
    assert window(until="2026-11-10") == Window(at(4), at(11), NOW)


@pytest.mark.parametrize(
    ("since", "until"), [("2027-01-01", None), ("1h", "2h"), ("soon", None), (None, "9999-12-31"), ("999999999w", None)]
)
def test_a_time_that_is_none_or_an_empty_window_is_refused(since: str | None, until: str | None) -> None:
    with pytest.raises(BadInput, match=r"--from|--to|begin"):
        window(since, until)


def test_the_first_of_all_times_has_no_days_before_it() -> None:
    with pytest.raises(BadInput, match="1900"):
        window_of(None, datetime(1, 1, 2, tzinfo=UTC), NOW)


def test_whole_days_by_offer_provider_or_day_come_from_the_table_traffic() -> None:
    assert {source_of(by, window()) for by in ("offer", "provider", "day")} == {"traffic"}
    assert {source_of(by, window()) for by in (None, "country", "reason")} == {"active_trace_requests"}
    assert source_of("provider", window("2h")) == "active_trace_requests"


def test_landed_clicks_are_no_fallbacks_and_waits_may_be_missing() -> None:
    reasons = {"no_ip": 1, "landed": 4, "deadline": 2, "#repeat": 3, "background": 5}
    found = clicks_of({"clicks": 7, "reasons": reasons, "waits": [20.04, 95.06]})
    assert found == Figures(7, 4, {"deadline": 2, "no_ip": 1}, 5, 3, 0, 20.0, 95.1)
    assert clicks_of({"clicks": 0, "reasons": {}, "waits": None}).wait_p50_ms is None


def test_csv_has_a_column_for_each_reason() -> None:
    groups = [Figures(3, 1, {"no_ip": 2}), Figures(2, 1, {"deadline": 1}, 0, 0, 0, 5.0, 9.5, 2, 70, 7, 0.25)]
    columns = columns_of(["offer"], groups)
    text = write_line(columns) + "".join(write_line(cells_of(columns, {"offer": "a,b"}, one)) for one in groups)
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["offer"], first["fallbacks"], first["fallback_no_ip"], first["fallback_deadline"]) == (
        *("a,b", "2", "2", "0"),
    )
    assert (first["wait_p50_ms"], second["wait_p95_ms"], second["cost"]) == ("", "9.5", "0.25")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\tx", "\r=1", "\n=1", "\uff1d1"])
def test_no_text_of_a_line_is_a_formula(text: str) -> None:
    [[cell, number]] = csv.reader(io.StringIO(write_line([text, -1]), newline=""))
    assert (cell, number) == (f"'{text}", "-1")


def test_a_line_ends_as_rfc_4180_wants_and_quotes_what_needs_it() -> None:
    assert write_line(['a "b"', "c,d", None, 1.5]) == '"a ""b""","c,d",,1.5\r\n'
