"""The action log: each change by the API or a command has a row with who, what and when, which can be read back."""

import getpass
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from daemon.maintenance.rounds import Report
from tests.fakes.overviews import fake_overview
from tests.integration.commands import Commands
from tests.integration.control_faces import Served, control_face, row_of
from tests.integration.databases import PostgresServer, fresh_database
from tests.support.waiting import PATIENCE_S

URL = "https://ads.example/c"
PASSWORD = "hunter2-of-the-proxy"


async def listed(served: Served, query: str = "") -> list[dict[str, Any]]:
    answer = await served.ask(f"/api/actions?{query}", token="reading")
    assert answer.status_code == 200, answer.text
    return cast(list[dict[str, Any]], answer.json()["items"])


async def test_each_change_by_the_api_can_be_read_back(postgres: PostgresServer) -> None:
    tokens = [row_of("operating"), row_of("reading", "read", name="grafana")]
    overview = fake_overview()
    async with (
        fresh_database(postgres) as rows,
        control_face(rows=tokens, database=rows.database, overview=overview) as served,
    ):

        async def ask(method: str, path: str, body: Any = None, token: str = "operating") -> int:
            return (await served.ask(path, method, token, json=body)).status_code

        assert await ask("POST", "/api/offers", {"offer_name": "sale", "final_url": URL, "notes": "old"}) == 201
        assert await ask("PATCH", "/api/offers/sale", {"notes": "new", "is_active": False}) == 200
        login = {"ip_address": "192.0.2.7", "ip_port": "3128", "username": "u", "password": PASSWORD}
        assert await ask("POST", "/api/ips", login) == 201
        several = {"rows": [{"ip_address": "192.0.2.8"}, {"ip_address": "a b"}]}
        assert await ask("POST", "/api/ips/import", several) == 200
        assert await ask("POST", "/api/traces", {"urls": [f"{URL}?gclid=of-a-person"]}) == 202
        for refused in (
            ask("POST", "/api/offers", {"offer_name": "sale", "final_url": URL}),
            ask("DELETE", "/api/offers/none"),
            ask("DELETE", "/api/offers/sale", token="reading"),
        ):
            assert await refused >= 400
        assert await ask("DELETE", "/api/offers/sale") == 200

        found = await listed(served)
        assert [(one["what"], one["subject"]) for one in reversed(found)] == [
            ("create offer", "sale"),
            ("change offer", "sale"),
            ("add ip", "192.0.2.7:3128"),
            ("import ips", ""),
            ("queue traces", URL),
            ("delete offer", "sale"),
        ]
        assert {one["who"] for one in found} == {"anna"}
        times = [one["at"] for one in found]
        assert times == sorted(times, reverse=True)
        [changed] = await listed(served, "what=change offer&subject=sale&who=anna")
        assert changed["detail"] == {
            "changed": {"notes": {"from": "old", "to": "new"}, "is_active": {"from": True, "to": False}}
        }
        [imported] = await listed(served, "what=import ips")
        assert imported["detail"] == {"added": 1, "refused": 1}
        assert not any(secret in str(found) for secret in (PASSWORD, "of-a-person"))
        assert await listed(served, "who=grafana") == []
        [first] = await listed(served, "limit=1&sort=at")
        assert first["what"] == "create offer"
        assert len(await listed(served, f"since={changed['at'].replace('+00:00', 'Z')}")) == 5


async def test_without_tokens_a_change_was_made_by_the_open_face(postgres: PostgresServer) -> None:
    overview = fake_overview()
    async with fresh_database(postgres) as rows, control_face(database=rows.database, overview=overview) as served:
        assert (await served.ask("/api/ips/reset", "POST", json={})).status_code == 200
        [action] = (await served.ask("/api/actions")).json()["items"]
        assert (action["who"], action["what"], action["detail"]) == ("open", "reset ips", {"reset": 0})


async def test_a_change_whose_client_left_is_logged_too(postgres: PostgresServer) -> None:
    begun = trio.Event()

    async def endless() -> Report:
        begun.set()
        await trio.sleep_forever()

    async with (
        fresh_database(postgres) as rows,
        control_face(database=rows.database, overview=fake_overview(), maintenance=endless) as served,
    ):
        port = int(served.url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as client:
            await client.send_all(b"POST /api/maintenance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            await begun.wait()
        found: list[dict[str, Any]] = []
        with trio.fail_after(PATIENCE_S):
            while not found:
                found = (await served.ask("/api/actions")).json()["items"]
        [action] = found
        assert (action["who"], action["what"]) == ("open", "run maintenance")
        assert "may have been made" in action["detail"]["interrupted"]


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: "pytest.CaptureFixture[str]"
) -> Commands:
    monkeypatch.delenv("SUDO_USER", raising=False)
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capsys)


def test_each_command_that_changes_something_writes_a_row_without_a_daemon(tracepool: Commands) -> None:
    listing = f"192.0.2.7:3128:user:{PASSWORD}\n192.0.2.8:3128\nnonsense here\n"
    for words, status in (
        (("provision", "import", "-"), 1),
        (("provision", "generate", "--count", "1", "--country", "de"), 0),
        (("provision", "remove", "--country", "de"), 0),
        (("reset",), 0),
        (("offers", "add", "sale", URL), 0),
        (("offers", "add", "sale", URL), 2),
        (("offers", "update", "sale", "--country", "uk", "--inactive"), 0),
        (("offers", "update", "none", "--inactive"), 1),
        (("offers", "remove", "sale"), 0),
        (("token", "create", "anna"), 0),
        (("token", "revoke", "anna"), 0),
        (("token", "revoke", "anna"), 2),
        (("trace", f"{URL}?gclid=of-a-person", "--no-wait"), 0),
        (("maintenance",), 0),
        (("provision", "list"), 0),
    ):
        done = tracepool(*words, stdin=listing)
        assert done.status == status, (words, done.err)
    found = tracepool("actions", "--json").json
    assert [(one["what"], one["subject"]) for one in reversed(found)] == [
        ("import ips", ""),
        ("generate ips", "luna-de-1:7000"),
        ("retire ips", ""),
        ("reset ips", ""),
        ("create offer", "sale"),
        ("change offer", "sale"),
        ("delete offer", "sale"),
        ("create token", "anna"),
        ("revoke token", "anna"),
        ("queue traces", URL),
        ("run maintenance", ""),
    ]
    assert {(one["who"], one["node"]) for one in found} == {(f"cli:{getpass.getuser()}", None)}
    details = {one["what"]: one["detail"] for one in found}
    assert details["import ips"] == {"added": 2, "refused": 1, "rows_by_country": {"us": 2}}
    assert details["retire ips"] == {"country": "de", "removed": 1, "locked": 0}
    assert details["change offer"]["changed"] == {
        "target_country": {"from": "us", "to": "uk"}, "is_active": {"from": True, "to": False}
    }  # fmt: skip
    assert not any(secret in str(found) for secret in (PASSWORD, "of-a-person"))
    assert len(tracepool("actions", "--limit", "2").lines) == 3
    assert len(tracepool("actions", "--subject", "sale", "--from", "1h", "--json").json) == 3
    assert tracepool("actions", "--limit", "0").status == 2


def test_the_user_behind_sudo_is_named(tracepool: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    tracepool("reset")
    assert tracepool("actions").lines[1].split("\t")[1:] == ["cli:anna", "reset ips", "", '{"reset": 0}']
