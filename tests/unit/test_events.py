"""The event feed: notable log lines, watchers and their bounds, masking."""

import io
import json
from logging import ERROR, INFO, WARNING
from typing import Any

import pytest
import structlog

from daemon import logs
from daemon.control.events import QUEUE_MAX, RECENT_MAX, Events, Watcher, sse


def line(event: str, level: str = "info", **facts: object) -> dict[str, Any]:
    return {"event": event, "level": level, "ts": "2030-01-01T00:00:00Z", **facts}


def messages_of(watcher: Watcher) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for message in watcher.taken().decode().split("\n\n")[:-1]:
        fields = dict(part.split(": ", 1) for part in message.split("\n"))
        found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_warnings_and_notable_events_are_kept_and_other_lines_are_not() -> None:
    events = Events()
    events.take(INFO, line("ips_adopted", countries={"us": 3}))
    events.take(INFO, line("maintenance"))
    events.take(INFO, line("check"))
    events.take(WARNING, line("lease_lost", "warning"))
    events.take(ERROR, line("trace", "error"))
    assert [(noted.event, noted.level) for noted in events.recent()] == [
        ("ips_adopted", "info"),
        ("maintenance", "info"),
        ("lease_lost", "warning"),
        ("trace", "error"),
    ]
    assert events.recent()[0].facts == {"countries": {"us": 3}}


def test_the_latest_events_are_kept_and_numbered() -> None:
    events = Events()
    for number in range(RECENT_MAX + 5):
        events.take(INFO, line("audit", number=number))
    recent = events.recent()
    assert len(recent) == RECENT_MAX
    assert [recent[0].id, recent[-1].id] == [6, RECENT_MAX + 5]
    assert [noted.id for noted in events.recent(after=RECENT_MAX + 3)] == [RECENT_MAX + 4, RECENT_MAX + 5]
    assert len(events.recent(after=10_000)) == RECENT_MAX  # a number of an earlier run


def test_without_watchers_clicks_are_not_wanted() -> None:
    events = Events()
    assert not events.wants(INFO, "click")
    with events.watched():
        assert events.wants(INFO, "click")
        assert events.wants(INFO, "trace")
        assert not events.wants(INFO, "check")
    assert not events.wants(INFO, "click")
    assert events.wants(WARNING, "anything")


def test_a_watcher_gets_kept_events_and_new_lines() -> None:
    events = Events()
    events.take(INFO, line("ready"))
    with events.watched() as watcher:
        events.take(INFO, line("click", outcome="fallback", offer="sale"))
        events.take(INFO, line("click_refused", status=404))
        events.take(INFO, line("trace", status="completed"))
    kinds = messages_of(watcher)
    assert [kind for kind, _ in kinds] == ["event", "click", "click", "trace"]
    assert kinds[0][1]["event"] == "ready"
    assert kinds[1][1] == {"at": "2030-01-01T00:00:00Z", "outcome": "fallback", "offer": "sale"}
    assert kinds[2][1]["outcome"] == "refused"
    events.take(INFO, line("click"))
    assert messages_of(watcher) == []


def test_a_slow_watcher_misses_clicks_first_and_is_dropped_when_events_fill_its_queue() -> None:
    events = Events()
    with events.watched() as watcher:
        for _ in range(1_000):
            events.take(INFO, line("click"))
        assert len(watcher.waiting) == QUEUE_MAX // 2
        assert watcher.skipped == 1_000 - QUEUE_MAX // 2
        assert not watcher.dropped
        for _ in range(QUEUE_MAX):
            events.take(WARNING, line("disk_hangs", "warning"))
        assert len(watcher.waiting) == QUEUE_MAX
        assert watcher.dropped


@pytest.mark.parametrize("text", ["a\nb", "a\r\n\r\ndata: x", "\ud800", "ü"])
def test_any_text_stays_within_one_message(text: str) -> None:
    message = sse("click", {"offer": text}, 7)
    assert message.count(b"\n") == 4
    assert message.endswith(b"\n\n")
    assert json.loads(message.split(b"data: ", 1)[1]) == {"offer": text}


@pytest.mark.parametrize("level", ["info", "error"])
def test_the_log_delivers_wanted_lines_masked_at_any_level(level: str) -> None:
    before, written = structlog.get_config(), io.StringIO()
    events = Events()
    logs.hide("s3cret-of-this-test")
    try:
        logs.configure(level, written)
        log: Any = structlog.get_logger("test.tap")
        with logs.tapped(events), events.watched() as watcher:
            log.info("click", offer="s3cret-of-this-test")
            log.info("ips_adopted", why="s3cret-of-this-test")
            log.info("something_else")
        log.info("click", offer="after")
    finally:
        structlog.configure(**before)
        logs._secrets.remove("s3cret-of-this-test")
    messages = messages_of(watcher)
    assert [(kind, body.get("event", body.get("offer"))) for kind, body in messages] == [
        ("click", logs.MASK),
        ("event", "ips_adopted"),
    ]
    assert messages[1][1]["facts"] == {"why": logs.MASK}
    assert "s3cret" not in written.getvalue()
    assert len(written.getvalue().splitlines()) == (4 if level == "info" else 0)


def test_the_last_refused_clicks_are_kept_without_watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.control.events.REFUSED_MAX", 2)
    events = Events()
    assert events.wants(INFO, "click_refused")
    assert not events.wants(INFO, "click")
    for number in range(3):
        events.take(INFO, line("click_refused", request_id=str(number), status=404))
    assert [refused["request_id"] for refused in events.refused()] == ["2", "1"]
    assert events.recent() == []
