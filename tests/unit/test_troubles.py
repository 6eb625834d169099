"""Activities blocked by PostgreSQL: one log line for an outage, one for each refused statement."""

from collections.abc import Sequence
from typing import Any

import structlog

from daemon.errors import DatabaseBusy, DatabaseMigrating, DatabaseOccupied, DatabaseUnavailable, StatementRefused
from daemon.troubles import Troubles

REFUSED = StatementRefused("PostgreSQL refuses apply_hit: no such table", "create it")


def test_a_trouble_says_what_is_held_up_why_and_what_to_do() -> None:
    troubles = Troubles()
    with structlog.testing.capture_logs() as lines:
        troubles.note("writing rows", REFUSED, effect="rows wait")
    [shown] = [trouble.shown() for trouble in troubles]
    assert (shown.activity, shown.sentence, shown.remedy) == ("writing rows", str(REFUSED), "create it")
    assert troubles.lines() == ["writing rows: PostgreSQL refuses apply_hit: no such table. Next: create it"]
    [line] = lines
    assert (line["event"], line["log_level"], line["why"], line["remedy"]) == (
        "statement_refused", "error", str(REFUSED), "create it"
    )  # fmt: skip


def count(lines: Sequence[Any], event: str) -> int:
    return sum(line["event"] == event for line in lines)


def test_an_outage_is_one_line_however_many_activities_it_holds_up() -> None:
    troubles = Troubles()
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            troubles.note("writing rows", DatabaseUnavailable(), effect="")
            troubles.note("maintenance", DatabaseUnavailable(), effect="")
        assert count(lines, "database_unavailable") == 1
        troubles.over("writing rows")
        assert count(lines, "database_back") == 0
        troubles.over("maintenance")
        troubles.over("maintenance")
        assert count(lines, "database_back") == 1
        troubles.note("maintenance", DatabaseUnavailable(), effect="")
    assert count(lines, "database_unavailable") == 2


def test_each_refused_statement_is_a_line_and_a_new_reason_is_another() -> None:
    troubles = Troubles()
    with structlog.testing.capture_logs() as lines:
        for error in (REFUSED, REFUSED, StatementRefused("another reason", "change it"), REFUSED):
            troubles.note("writing rows", error, effect="")
        troubles.note("maintenance", REFUSED, effect="")
        assert count(lines, "statement_refused") == 3
        troubles.over("writing rows")
        troubles.over("maintenance")
        assert count(lines, "statement_accepted") == 2
    assert troubles.lines() == []


def test_what_lasts_is_said_again_after_a_while() -> None:
    troubles = Troubles()
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            troubles.note("starting", DatabaseUnavailable(), effect="", repeat_s=0)
        troubles.note("joining", DatabaseOccupied("free in 9 s", ""), effect="")
        troubles.note("joining", DatabaseOccupied("free in 8 s", ""), effect="")
    assert count(lines, "database_unavailable") == 3
    assert count(lines, "node_waits") == 1, "the seconds that are left make it no other trouble"


def test_a_migration_is_news_and_a_held_lock_an_error() -> None:
    troubles = Troubles()
    with structlog.testing.capture_logs() as lines:
        troubles.note("starting", DatabaseMigrating("step 1 of 2"), effect="")
        troubles.note("writing rows", DatabaseBusy("process 7 holds a lock"), effect="")
        troubles.note("writing rows", DatabaseBusy("process 8 holds a lock"), effect="")
        troubles.over("starting")
        troubles.over("writing rows")
    assert [(line["event"], line["log_level"]) for line in lines if line["log_level"] != "debug"] == [
        ("database_migrating", "info"),
        ("statement_blocked", "error"),
        ("migration_ended", "info"),
        ("statement_not_blocked", "info"),
    ]
