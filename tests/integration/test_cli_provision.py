"""`tracepool provision` and `reset` on a real database: no IP is added twice, and a refused file adds nothing."""

import re
from pathlib import Path

import pytest

from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


def addresses(tracepool: Commands, where: str = "true") -> list[str]:
    rows = tracepool.sql(f"select ip_address from ip_rotation_pool where {where} order by length(ip_address), 1")
    return [row["ip_address"] for row in rows]


def test_generated_ips_go_in_once_and_a_larger_count_adds_the_rest(tracepool: Commands) -> None:
    first = tracepool("provision", "generate", "--country", "us", "--count", "28", "--provider", "luna")
    again = tracepool("provision", "generate", "--country", "us", "--count", "30", "--provider", "luna")
    assert (first.status, first.out) == (0, "added 28, skipped 0 (already there), refused 0\n")
    assert (again.status, again.out) == (0, "added 2, skipped 28 (already there), refused 0\n")
    assert addresses(tracepool) == [f"luna-us-{number}" for number in range(1, 31)]
    assert tracepool.sql("select distinct ip_port, country, provider, status from ip_rotation_pool") == [
        {"ip_port": "7000", "country": "us", "provider": "luna", "status": "available"}
    ]


def test_a_bad_row_is_told_with_its_line_and_the_rest_goes_in(tracepool: Commands) -> None:
    text = "ip_address,ip_port\r\n192.0.2.1,7000\r\n192.0.2.2,99999\r\n192.0.2.3,7000\r\n192.0.2.1,7000\r\n"
    imported = tracepool("provision", "import", "-", stdin=text)
    assert (imported.status, imported.out) == (1, "added 2, skipped 1 (already there), refused 1\n")
    assert imported.err.splitlines() == [
        "tracepool: standard input:3: ip_port '99999' is not a port from 1 to 65535",
        "tracepool: standard input:5: 192.0.2.1:7000 is on line 2 already",
    ]
    assert addresses(tracepool) == ["192.0.2.1", "192.0.2.3"]


def test_strict_refuses_the_file_whole_for_one_bad_row(tracepool: Commands, tmp_path: Path) -> None:
    file = tmp_path / "ips.jsonl"
    file.write_text('{"ip_address": "192.0.2.1"}\n{"ip_address": ""}\n')
    imported = tracepool("provision", "import", str(file), "--strict")
    assert (imported.status, imported.out) == (1, "")
    assert f"{file}:2: ip_address is blank" in imported.err
    assert "nothing was imported" in imported.err
    assert addresses(tracepool) == []


def test_a_file_with_an_unknown_column_is_wrong_usage(tracepool: Commands) -> None:
    imported = tracepool("provision", "import", "-", stdin="ip_address,colour\n192.0.2.1,red\n")
    assert imported.status == 2
    assert "standard input: line 1: unknown column 'colour'; allowed: ip_address, ip_port" in imported.err


def test_a_file_that_is_not_there_is_wrong_usage(tracepool: Commands) -> None:
    imported = tracepool("provision", "import", "/nonexistent.csv")
    assert (imported.status, imported.err) == (2, "tracepool: /nonexistent.csv: No such file or directory\n")


def test_a_vendors_list_goes_in_with_its_logins_and_nothing_shows_them(tracepool: Commands, tmp_path: Path) -> None:
    file = tmp_path / "proxies.txt"
    lines = (
        "203.0.113.7:8080:canary-user:ca:nary\ncanary-user:canary@203.0.113.8:8080\n203.0.113.9:99999:canary:canary\n"
    )
    file.write_bytes(lines.encode("utf-16"))
    imported = tracepool("provision", "import", str(file), "--country", "GBR", "--provider", "web")
    assert (imported.status, imported.out) == (1, "added 2, skipped 0 (already there), refused 1\n")
    again = tracepool("provision", "import", "-", stdin="GATE.example:7000:a:canary\ngate.example:7000:b:canary\n")
    assert again.out == "added 2, skipped 0 (already there), refused 0\n"
    changed = tracepool("provision", "import", "-", stdin="gate.example:7000:a:canary\ngate.example:7000:b:canary2\n")
    assert changed.out == "added 0, skipped 2 (already there), refused 0\n"
    assert "1 of the skipped IPs have another password in the pool, which stays" in changed.err
    assert tracepool.sql("select username, password from ip_rotation_pool where ip_address = '203.0.113.7'") == [
        {"username": "canary-user", "password": "ca:nary"}
    ]
    tracepool.sql("update ip_rotation_pool set status = 'failed', is_healthy = false")
    tracepool.sql("alter table ip_rotation_pool add constraint unlucky check (ip_address <> '192.0.2.9')")
    refused = tracepool("provision", "import", "-", stdin="192.0.2.9:8080:canary-user:canary\n")
    assert refused.status == 1
    asked = [tracepool("provision", "list"), tracepool("provision", "list", "--json"), tracepool("reset"),
             tracepool("provision", "remove", "--ip", "203.0.113.8:08080"), tracepool("status")]  # fmt: skip
    assert {row["ip_address"]: row["has_login"] for row in asked[1].json}["gate.example"] is True
    for output in (imported, again, changed, refused, *asked):
        assert not re.search("ca:?nary", output.out + output.err)
    assert addresses(tracepool, "country = 'GBR'") == ["203.0.113.7"]


def test_a_row_with_a_misspelt_country_is_refused_and_two_free_letters_are_warned_of(tracepool: Commands) -> None:
    text = (
        "ip_address,country\n192.0.2.1,Germany\n192.0.2.2,austri\n192.0.2.3,eu\n192.0.2.4,EU\n192.0.2.5,US - New York\n"
    )
    imported = tracepool("provision", "import", "-", stdin=text)
    assert (imported.status, imported.out) == (1, "added 3, skipped 0 (already there), refused 2\n")
    where = "tracepool: standard input:"
    refused, place, warned = imported.err.splitlines()
    assert refused.startswith(f"{where}3: country: 'austri' is no country of ISO 3166: did you mean at (Austria)")
    assert place.startswith(f"{where}6: country: 'US - New York' is no country of ISO 3166: did you mean us ")
    assert warned.startswith(f"{where}4: the country 'eu' is no country of ISO 3166: ")
    assert tracepool("provision", "import", "-", "--country", "germny", stdin="192.0.2.9\n").status == 2


def test_of_a_files_doubles_the_first_goes_in(tracepool: Commands) -> None:
    text = "ip_address,country\n192.0.2.1,us\n192.0.2.1,uk\n"
    assert tracepool("provision", "import", "-", stdin=text).out.startswith("added 1, skipped 1")
    assert addresses(tracepool, "country = 'us'") == ["192.0.2.1"]


def test_what_fails_on_the_way_leaves_nothing_behind(tracepool: Commands) -> None:
    tracepool.sql("alter table ip_rotation_pool add constraint unlucky check (ip_address <> 'luna-us-9000')")
    generated = tracepool("provision", "generate", "--count", "10000")
    assert (generated.status, generated.out) == (1, "")
    assert generated.err.startswith("tracepool: PostgreSQL refuses: ")
    assert addresses(tracepool) == []


@pytest.mark.slow
def test_a_hundred_thousand_rows_go_in_at_once_and_are_announced_at_once(tracepool: Commands) -> None:
    text = "ip_address,country\n" + "".join(f"exit-{number},us\n" for number in range(100_000))
    assert (
        tracepool("provision", "import", "-", stdin=text).out == "added 100000, skipped 0 (already there), refused 0\n"
    )
    found = tracepool.sql("select count(*), max(edit_no) - min(edit_no) as spread from ip_rotation_pool")
    assert found == [{"count": 100_000, "spread": 99_999}]


def test_the_list_shows_a_country_by_any_of_its_names(tracepool: Commands) -> None:
    tracepool.sql(
        "insert into ip_rotation_pool (ip_address, country, status) values"
        " ('192.0.2.1', 'GB', 'available'), ('192.0.2.2', 'uk', 'failed'), ('192.0.2.3', 'us', 'failed')"
    )
    listed = tracepool("provision", "list", "--country", "gbr")
    assert [line.split("\t")[0] for line in listed.lines] == ["ip_address", "192.0.2.1", "192.0.2.2"]
    failed = tracepool("provision", "list", "--status", "failed", "--country", "UK", "--json")
    assert [(ip["ip_address"], ip["country"]) for ip in failed.json] == [("192.0.2.2", "uk")]
    assert tracepool("provision", "list", "--country", "de", "--json").json == []


def test_the_list_prints_nothing_that_a_terminal_obeys(tracepool: Commands) -> None:
    tracepool.sql("insert into ip_rotation_pool (ip_address, notes) values ('192.0.2.1', e'\\033[2J\\ta\\nb')")
    assert tracepool("provision", "list").lines[1].endswith("\t\\x1b[2J\\ta\\nb\t")


def test_removal_needs_to_be_told_which(tracepool: Commands) -> None:
    tracepool("provision", "generate", "--count", "3")
    assert tracepool("provision", "remove").status == 2
    assert tracepool("provision", "remove", "--all", "--country", "us").status == 2
    assert len(addresses(tracepool)) == 3


def test_removal_takes_what_meets_every_condition_and_counts_the_locked(tracepool: Commands) -> None:
    tracepool.sql(
        "insert into ip_rotation_pool (ip_address, ip_port, country, provider, status) values"
        " ('192.0.2.1', '7000', 'USA', 'luna', 'locked'), ('192.0.2.1', '7001', 'us', 'luna', 'available'),"
        " ('192.0.2.2', '7000', 'us', 'sol', 'available'), ('192.0.2.3', '7000', 'uk', 'luna', 'available')"
    )
    assert tracepool("provision", "remove", "--ip", "192.0.2.1:7001").out == "removed 1\n"
    removed = tracepool("provision", "remove", "--country", "us", "--provider", "luna")
    assert removed.out == "removed 1 (1 of them locked: their traces end first)\n"
    assert addresses(tracepool) == ["192.0.2.2", "192.0.2.3"]
    assert tracepool("provision", "remove", "--all").out == "removed 2\n"


def test_a_reset_touches_unhealthy_ips_alone_and_names_them(tracepool: Commands) -> None:
    tracepool.sql(
        "insert into ip_rotation_pool (ip_address, country, status, is_healthy, consecutive_failures, locked_until)"
        " values ('192.0.2.1', 'GB', 'failed', false, 5, null), ('192.0.2.2', 'us', 'failed', false, 5, now()),"
        " ('192.0.2.3', 'uk', 'locked', true, 2, now() + interval '1 minute')"
    )
    reset = tracepool("reset", "--country", "uk")
    assert reset.lines == ["reset 1:", "  192.0.2.1:7000 (GB, luna)"]
    assert tracepool("reset", "--ip", "192.0.2.9").out == "reset 0 (none was unhealthy)\n"
    assert tracepool("reset").lines == ["reset 1:", "  192.0.2.2:7000 (us, luna)"]
    columns = "ip_address, status, is_healthy, consecutive_failures as failures, locked_until is null as free"
    assert [tuple(row.values()) for row in tracepool.sql(f"select {columns} from ip_rotation_pool order by 1")] == [
        ("192.0.2.1", "available", True, 0, True),
        ("192.0.2.2", "available", True, 0, True),
        ("192.0.2.3", "locked", True, 2, False),
    ]


def test_a_long_reset_names_the_first_twenty(tracepool: Commands) -> None:
    tracepool.sql("insert into ip_rotation_pool (ip_address, status) select 'ip-' || generate_series(1, 25), 'failed'")
    reset = tracepool("reset")
    assert reset.lines[0] == "reset 25:"
    assert reset.lines[20:] == ["  ip-20:7000 (us, luna)", "  and 5 more"]
