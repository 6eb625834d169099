"""Every command that prints stored or foreign texts, on a pseudo-terminal: nothing of them reaches the terminal raw."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from daemon.printable import is_shown, one_line
from tests.integration.commands import PROJECT, Commands
from tests.integration.databases import PostgresServer
from tests.support.terminal import run_on_a_terminal

# 7-bit and 8-bit controls, bidi, separators, zero width, markup of rich, a line of the log, a wide character.
HOSTILE = (
    "x[red]\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\u2066\u2028\u200b\u00ad\U000e0041"
    "\r\n01-02 10:00:00.123  audit  who=root 漢"
)
URL = "https://shop.example/?q=\x9b2J\u202e\x1b[2J"
REQUEST = "6f1c2d3e-8a5b-4c7d-9e0f-112233445566"
HASH = "decode(repeat('00', 32), 'hex')"
MARK = "=== "
STYLE = re.compile(r"\r?\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A)")  # colours, and the movements of a progress bar
PROGRAM = """
import json, sys
from daemon.__main__ import main
from rich.console import Console
for command in json.load(open(sys.argv[1])):
    print("{mark}" + " ".join(map(ascii, command)), flush=True)
    if command[0] == "watch":
        from daemon.cli.status import _picture
        Console().print(_picture(lambda: json.loads(command[1])))
    elif command[0] == "checked":
        from daemon.cli.provision_check import CheckedIP, _report
        _report([CheckedIP("192.0.2.1", "7000", *command[1:2] * 2, "failed", 1.0, *command[1:2] * 2)], as_json=False)
    elif command[0] == "demo":
        from daemon.demo.display import Display
        display = Display(as_json=False)
        line = dict.fromkeys(("offer", "ip", "outcome", "reason", "location"), command[1])
        display.later_click({**line, "wait_ms": 1})
        display.verdict([command[1]], 1)
        display.fact("offer", command[1])
    elif command[0] == "log":
        import structlog, logging
        from daemon import logs
        logs.configure("info")
        structlog.get_logger("daemon").info("click", offer=command[1])
        logging.getLogger("library").warning(command[1])
    else:
        main(command)
    sys.stdout.flush()
"""


def on_a_terminal(commands: Sequence[Sequence[str]], directory: Path, columns: int = 200) -> bytes:
    """The raw bytes that the commands, one after the other in one process, write to a pseudo-terminal."""
    script, listed = directory / "program.py", directory / "commands.json"
    script.write_text(PROGRAM.replace("{mark}", MARK))
    listed.write_text(json.dumps(commands))
    command = [sys.executable, str(script), str(listed)]
    return run_on_a_terminal(command, directory, columns=columns, PYTHONPATH=str(PROJECT))[1]


def in_sql(text: str) -> str:
    return "e'" + "".join(f"\\U{ord(character):08x}" for character in text) + "'"


def seed(tracepool: Commands) -> None:
    text, url = in_sql(HOSTILE), in_sql(URL)
    pairs = f"jsonb_build_object({text}, {text})"
    for statement in (
        "insert into ip_rotation_pool (ip_address, country, provider, status, is_healthy, notes) values"
        f" ('192.0.2.1', {text}, {text}, 'failed', false, {text}), ('192.0.2.2', 'us', {text}, 'locked', true, '')",
        "insert into offers (offer_name, final_url, target_country, notes, rename) values"
        f" ({text}, {url}, {text}, {text}, {pairs})",
        "insert into active_trace_requests (request_id, offer_id, tracking_url, target_country, inbound_params, status,"
        " ip_assigned, provider, final_url, extracted_params, redirect_chain, error_message, verdict, exit_ip,"
        f" ips_tried) select '{REQUEST}', id, {url}, {text}, {pairs}, 'completed', {text}, {text}, {url}, {pairs},"
        f" jsonb_build_array(jsonb_build_object('url', {url}, 'kind', {text}, 'ms', 1)), {text}, {text}, {text},"
        f" array[{text}, {text}] from offers",
        "insert into hits (request_id, offer_name, outcome, reason, location, visitor_address, user_agent, wait_ms)"
        f" values ('{REQUEST}', {text}, 'fallback', {text}, {url}, {text}, {text}, 5)",
        "insert into traffic (day, provider, offer_id, traces, bytes_received, bytes_sent, cost) values"
        f" (now() at time zone 'utc', {text}, null, 3, 1000, 500, 0.01)",
        f"insert into control_tokens (name, role, hash) values ({text}, 'read', {HASH})",
        "insert into nodes (node_id, name, epoch, state, trusted_until, quiet_s, version) values"
        f" (gen_random_uuid(), {text}, 1, 'left', now(), 60, {text})",
    ):
        tracepool.sql(statement)


STATUS = {
    "countries": {HOSTILE: {"total": 1, "available": 1, "locked": 0, "cooldown": 0, "failed": 0,
                            "utilisation_percent": 0.0, "waiting": 0}},
    "active_traces": 1,
    "last_minute": {"clicks": 1, "resolved": 0, "fallbacks": {HOSTILE: 1}, "wait_p50_ms": 1, "wait_p95_ms": 1},
    "traffic_today": {},
    "advice": [{"severity": HOSTILE, "sentence": HOSTILE, "rule": HOSTILE, "command": HOSTILE}],
    "daemon": None,
}  # fmt: skip
COMMANDS: list[list[str]] = [
    ["provision", "list"],
    ["provision", "list", "--json"],
    ["offers", "list"],
    ["offers", "list", "--json"],
    ["offers", "show", HOSTILE],
    ["offers", "show", HOSTILE, "--json"],
    ["offers", "show", "x" + HOSTILE],
    ["offers", "add", HOSTILE, "https://ads.example/c"],
    ["offers", "add", HOSTILE, HOSTILE],
    ["offers", "update", HOSTILE, "--notes", HOSTILE],
    ["offers", "import", "hostile.jsonl"],
    ["offers", "suggest"],
    ["provision", "import", "hostile.jsonl"],
    ["provision", "import", HOSTILE],
    ["trace", HOSTILE],
    ["status"],
    ["status", "--json"],
    ["watch", json.dumps(STATUS)],
    ["maintenance"],
    ["maintenance", "--json"],
    ["explain", REQUEST, "hostile.log"],
    ["explain", REQUEST, "hostile.log", "--json"],
    ["explain", HOSTILE],
    ["logs", "hostile.log"],
    ["logs", HOSTILE],
    ["nodes", "list"],
    ["nodes", "list", "--json"],
    ["nodes", "remove", HOSTILE],
    ["token", "list"],
    ["token", "revoke", HOSTILE],
    ["token", "create", HOSTILE],
    ["reset"],
    ["checked", HOSTILE],
    ["demo", HOSTILE],
    ["log", HOSTILE],
    ["plan", "--shares", HOSTILE],
    ["serve", "--" + HOSTILE],
    ["status", "--config", HOSTILE],
    ["offers", "remove", HOSTILE],
    ["offers", "remove", HOSTILE],
]
SILENT = {
    *("offers add", "offers update", "offers import", "offers suggest", "provision import"),
    *("plan --shares", "maintenance", "maintenance --json", "token create"),
}
"""Commands that refuse or count what they do not repeat."""


@pytest.mark.slow
def test_no_command_writes_a_strangers_controls_to_a_terminal(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tracepool = Commands(postgres.new_database(), tmp_path / "state", monkeypatch, capfd)
    seed(tracepool)
    fields = {"event": "audit", "level": "info", "ts": "2026-01-02T10:00:00Z", "request_id": REQUEST, "who": HOSTILE}
    refused = {**fields, "event": "click_refused", "status": 404, "offer": HOSTILE}
    lines = [json.dumps(fields, ensure_ascii=False), json.dumps(refused), "plain " + HOSTILE.replace("\n", " ")]
    (tmp_path / "hostile.log").write_text("\n".join([*lines, ""]))
    bad = {"offer_name": HOSTILE, "final_url": HOSTILE, "ip_address": HOSTILE, "ip_port": HOSTILE}
    (tmp_path / "hostile.jsonl").write_text(json.dumps(bad) + "\n")

    output = on_a_terminal(COMMANDS, tmp_path).decode()

    silent = set()
    for part, command in zip(output.split(MARK)[1:], COMMANDS, strict=True):
        said = STYLE.sub("", part.partition("\n")[2]).replace("\r\n", "\n")
        raw = {character for character in said if character != "\n" and not is_shown(character)}
        assert not raw, f"{command}: {raw}"
        assert not re.search(r"^01-02 10:00:00.123  audit", said, re.MULTILINE), command
        if not re.search(r"\\u202e|\\x1b", said.replace("\n", "")):
            silent.add(" ".join(command[:2]))
    assert silent <= SILENT, "all others repeat the text"


@pytest.mark.slow
def test_a_table_of_wide_characters_keeps_to_the_terminals_width(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from rich.cells import cell_len

    tracepool = Commands(postgres.new_database(), tmp_path / "state", monkeypatch, capfd)
    name = one_line("漢字かな🙂" * 12)
    tracepool.sql(
        f"insert into control_tokens (name, role, hash) values ('{name}', 'read', decode(repeat('00', 32), 'hex'))"
    )
    output = on_a_terminal([["token", "list"]], tmp_path, columns=60).decode()
    rows = STYLE.sub("", output.split(MARK)[1]).replace("\r\n", "\n").split("\n")[1:]
    assert all(cell_len(row) <= 60 for row in rows)
    assert "".join(row[:40].strip() for row in rows if "漢" in row or "🙂" in row).count("🙂") == 12
