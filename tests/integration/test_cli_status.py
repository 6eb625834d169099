"""`tracepool status` and `maintenance`: the tables and a daemon's control socket give the same output."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from daemon.control import socket as control
from daemon.errors import DatabaseUnavailable
from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer

ANSWER: dict[str, Any] = {
    "countries": {
        "us": {"total": 3, "available": 1, "locked": 1, "cooldown": 1, "failed": 0, "waiting": 4,
               "utilisation_percent": 66.7},
    },
    "active_traces": 1,
    "last_minute": {"clicks": 9, "resolved": 7, "fallbacks": {"no_ip": 2}, "wait_p50_ms": 12.5, "wait_p95_ms": 90.0},
    "traffic_today": {
        "dear": {"traces": 3_400, "bytes_received": 1_150_000_000, "bytes_sent": 84_000_000, "cost": 6.104},
        "cheap": {"traces": 1, "bytes_received": 21_000, "bytes_sent": 430, "cost": 0.00012},
        "free": {"traces": 2, "bytes_received": 0, "bytes_sent": 9, "cost": 0},
    },
    "advice": [
        {"code": "fallbacks_high", "severity": "info", "sentence": "2 of 9 fell back.", "rule": "more than 10%",
         "numbers": {"clicks": 9}, "command": "tracepool plan --from-history", "about": ""},
    ],
    "queues": {"clicks_waiting": {"length": 1, "max": 10}, "workers_busy": {"length": 5, "max": 10}},
    "journal": {"recorded": 9, "dropped": 0, "refused": 3, "late_hits": 0, "backlog": 2, "database_reachable": False},
    "node": {"name": "tracer-1", "node_id": "n", "epoch": 1, "leasing": True, "trusted_for_s": 840.0},
    "node_id": "n",
    "epoch": 1,
    "uptime_s": 61.2,
    "version": "0.1.0",
}  # fmt: skip


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


@contextmanager
def daemon_that_answers(state_dir: Path, **answers: Callable[..., dict[str, Any]]) -> Iterator[None]:
    """The control socket of a daemon, in a thread with its own Trio run."""
    ready = threading.Event()
    stop: list[Callable[[], None]] = []

    def command(answer: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
        async def run(**arguments: Any) -> dict[str, Any]:
            return answer(**arguments)

        return run

    async def main() -> None:
        token, scope = trio.lowlevel.current_trio_token(), trio.CancelScope()
        stop.append(lambda: token.run_sync_soon(scope.cancel))
        with scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(control.serve, state_dir, {name: command(a) for name, a in answers.items()})
                ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        stop[0]()
        thread.join()


def test_without_a_daemon_the_tables_are_read(tracepool: Commands) -> None:
    tracepool.sql(
        "insert into ip_rotation_pool (ip_address, country, status, is_healthy) values"
        " ('a', 'us', 'available', true), ('b', 'USA', 'locked', true), ('c', 'us', 'cooldown', true),"
        " ('d', 'us', 'failed', false), ('e', 'GB', 'available', true)"
    )
    tracepool.sql("insert into active_trace_requests (tracking_url, target_country) values ('https://a.example', 'us')")
    tracepool.sql(
        "insert into hits (request_id, offer_name, outcome, reason, location, wait_ms, created_at) select"
        " gen_random_uuid(), 'o', outcome, reason, 'https://a.example', wait_ms, now() - interval '1 second' * age"
        " from (values ('resolved', null, 100, 1), ('resolved', null, 200, 1), ('fallback', 'no_ip', 300, 1),"
        " ('fallback', 'deadline', 400, 61)) as v (outcome, reason, wait_ms, age)"
    )
    tracepool.sql(
        "insert into hits (request_id, offer_name, outcome, location, wait_ms, kind)"
        " values (gen_random_uuid(), 'o', 'resolved', 'https://a.example', 7, 'repeat')"
    )
    tracepool.sql(
        "insert into traffic (day, provider, offer_id, traces, bytes_received, bytes_sent, cost) values"
        " (now() at time zone 'utc', 'luna', gen_random_uuid(), 3, 1000, 500, 0.0100004),"
        " (now() at time zone 'utc', 'luna', null, 2, 500, 200, 0.0023),"
        " ((now() at time zone 'utc')::date - 1, 'luna', null, 9, 9, 9, 9)"
    )
    found = tracepool("status", "--json")
    counts = ("total", "available", "locked", "cooldown", "failed", "utilisation_percent", "failing", "offers")
    assert found.status == 0
    said = found.json
    advice, out = said.pop("advice")
    assert (advice["code"], advice["numbers"]["fallback_percent"]) == ("fallbacks_high", 33.3)
    assert (advice["offer"], advice["count"], advice["of"]) == ("o", 1, 3)
    assert (out["code"], out["country"], out["provider"], out["count"], out["of"]) == ("ips_out", "us", "luna", 1, 4)
    assert [step["done"] for step in said.pop("first_run")["steps"]] == [True, False, True], "its offer was removed"
    disk = said.pop("disk")
    assert {table["name"]: table["days_kept"] for table in disk["tables"]}["hits"] == 90
    assert disk["free_bytes"] > 0
    assert said == {
        "countries": {
            "uk": dict(zip(counts, (1, 1, 0, 0, 0, 0.0, 0, 0), strict=True)),
            "us": dict(zip(counts, (4, 1, 1, 1, 1, 66.7, 1, 0), strict=True)),
        },
        "active_traces": 1,
        "last_minute": {
            "clicks": 3,
            "resolved": 2,
            "fallbacks": {"no_ip": 1},
            "wait_p50_ms": 200.0,
            "wait_p95_ms": 290.0,
            "background": 0,
            "repeats": 1,
            "previews": 0,
            "fallbacks_by_offer": [{"offer": "o", "country": "", "fallbacks": 1}],
        },
        "traffic_today": {"luna": {"traces": 5, "bytes_received": 1500, "bytes_sent": 700, "cost": 0.0123}},
        "daemon": None,
    }
    lines = tracepool("status").lines
    first = lines.index("first steps:")
    assert lines[first + 1] == "  [x] 1. Import IPs: 5 IPs in uk, us"
    of_disk = next(place for place, line in enumerate(lines) if line.startswith("database: "))
    assert lines[of_disk + 1].startswith("disk of the state directory: ")
    del lines[of_disk : of_disk + 2]
    assert [*lines[:first], *lines[first + 5 :]] == [
        "country\ttotal\tavailable\tlocked\tcooldown\tfailed\tin use\twaiting",
        "uk\t1\t1\t0\t0\t0\t0%\t",
        "us\t4\t1\t1\t1\t1\t66.7%\t",
        "active traces: 1",
        "last minute: 3 clicks, 2 resolved; fallbacks: no_ip 1",
        "wait: p50 200 ms, p95 290 ms",
        "beside them, without an IP: repeats of a click 1, previews of a link 0",
        "today (UTC): luna 2.2 KB in 5 traces, $0.01",
        f"info: {advice['sentence']}",
        f"    next: {advice['command']}    (rule: {advice['rule']})",
        f"info: {out['sentence']}",
        f"    next: {out['command']}    (rule: {out['rule']})",
        "the daemon is not running: these figures are from the tables",
    ]


def test_an_empty_installation_says_how_to_begin(tracepool: Commands) -> None:
    assert "[ ] 1. Import IPs" in (text := tracepool("status").out)
    assert "tracepool provision import ips.csv --country us" in text


def test_a_running_daemon_is_asked(tracepool: Commands) -> None:
    with daemon_that_answers(tracepool.state_dir, status=lambda: ANSWER):
        assert tracepool("status", "--json").json == {**ANSWER, "daemon": "running"}
        assert tracepool("status").lines == [
            "country\ttotal\tavailable\tlocked\tcooldown\tfailed\tin use\twaiting",
            "us\t3\t1\t1\t1\t0\t66.7%\t4",
            "active traces: 1",
            "last minute: 9 clicks, 7 resolved; fallbacks: no_ip 2",
            "wait: p50 12.5 ms, p95 90 ms",
            "today (UTC): dear 1.23 GB in 3400 traces, $6.10; cheap 21.4 KB in 1 trace, $0.0001; free 9 B in 2 traces",
            "info: 2 of 9 fell back.",
            "    next: tracepool plan --from-history    (rule: more than 10%)",
            "daemon: version 0.1.0, up 61 s; PostgreSQL NOT reachable; journal: 2 to ship, 0 dropped, 3 refused",
            "node: tracer-1, leasing; without PostgreSQL for 840 s more",
            "filling up: workers_busy 5 of 10",
        ]


def test_maintenance_without_a_daemon_ends_what_is_overdue(tracepool: Commands) -> None:
    tracepool.sql(
        "insert into ip_rotation_pool (ip_address, status, locked_until) values"
        " ('a', 'locked', now() - interval '1 hour'), ('b', 'locked', now() + interval '1 hour')"
    )
    done = tracepool("maintenance")
    assert done.status == 0
    assert "Ended now: 1 locks" in done.out
    assert tracepool.sql("select status from ip_rotation_pool order by ip_address") == [
        {"status": "available"},
        {"status": "locked"},
    ]
    assert tracepool("maintenance", "--json").json["statistics"]["locked_ips"] == 1
    assert tracepool.sql("select count(*) from ip_pool_statistics") == [{"count": 2}]


def test_a_running_daemon_does_the_round_itself(tracepool: Commands) -> None:
    report = tracepool("maintenance", "--json").json
    with daemon_that_answers(tracepool.state_dir, maintenance=lambda: {**report, "expired_locks": 42}):
        assert "Ended now: 42 locks" in tracepool("maintenance").out


def test_what_a_daemon_cannot_do_is_an_error(tracepool: Commands) -> None:
    def refuse() -> dict[str, Any]:
        raise DatabaseUnavailable("PostgreSQL cannot be reached")

    with daemon_that_answers(tracepool.state_dir, maintenance=refuse):
        failed = tracepool("maintenance")
    assert (failed.status, failed.out, failed.err) == (
        1,
        "",
        "tracepool: PostgreSQL cannot be reached. Next: check that PostgreSQL runs and that database.url leads to it\n",
    )
