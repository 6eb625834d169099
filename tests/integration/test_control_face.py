"""The control face over real sockets: access, what all answers have in common, and errors."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from daemon.control.face import BODY_BYTES_MAX
from daemon.errors import BadSettings
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from tests.fakes.overviews import fake_overview
from tests.integration.control_faces import STATUS, Served, control_face, row_of
from tests.support.state_dirs import open_state_dir

GIVEN = "a-token-of-the-settings"


def settings(**control: object) -> Settings:
    return Settings(control={"bind": "127.0.0.1:0", **control})


def problem(answer: httpx.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()
    assert body["status"] == status
    assert {"type", "title"} <= body.keys()
    return body


async def test_without_any_token_this_machine_may_read() -> None:
    async with control_face() as served:
        answer = await served.ask("/api/status")
    assert answer.status_code == 200
    assert answer.json() == STATUS
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("access-control") or name == "set-cookie"]


async def test_a_unix_socket_is_for_its_owner_and_group() -> None:
    with open_state_dir() as directory:
        path = directory / "face.sock"
        async with control_face(settings(bind=f"unix:{path}")) as served:
            assert (await served.ask("/api/status")).status_code == 200
            assert path.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize("revoked", [False, True], ids=["valid", "all revoked"])
async def test_once_a_token_exists_each_request_needs_one(revoked: bool) -> None:
    async with control_face(rows=[row_of("first", revoked=revoked)]) as served:
        answer = await served.ask("/api/status")
        assert "token create" in str(problem(answer, 401)["detail"])
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await served.ask("/api/status", token="first")).status_code == (401 if revoked else 200)
        problem(await served.ask("/api/status", token="another"), 401)


async def test_an_answer_to_a_wrong_token_does_not_repeat_it() -> None:
    async with control_face(rows=[row_of("right")]) as served:
        assert "c4n4ry" not in (await served.ask("/api/status", token="c4n4ry")).text


async def test_a_token_of_the_settings_works_while_the_database_is_away() -> None:
    async with control_face(settings(token=GIVEN), rows=None) as served:
        assert (await served.ask("/api/status", token=GIVEN)).status_code == 200
        problem(await served.ask("/api/status"), 401)
        problem(await served.ask("/api/status", token="perhaps-one-of-the-database"), 503)


async def test_before_the_tokens_are_loaded_no_request_is_admitted() -> None:
    async with control_face(rows=None) as served:
        assert (await served.ask("/api/status")).headers["retry-after"]
        served.face.tokens.replace([])
        assert (await served.ask("/api/status")).status_code == 200


async def test_until_the_daemon_is_ready_only_probes_are_answered() -> None:
    async with control_face(ready=False) as served:
        assert problem(await served.ask("/api/status"), 503)["type"] == "/problems/not-ready"
        assert (await served.ask("/livez")).status_code == 200
        assert (await served.ask("/readyz")).status_code == 503


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8081", 200),
        ("LOCALHOST", 200),
        ("pool.localhost", 200),
        ("192.0.2.7:9", 200),
        ("[::1]:8081", 200),
        ("control.example", 200),
        ("Control.Example:443", 200),
        ("evil.example:8081", 421),
        ("control.example.evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
async def test_an_unknown_host_is_refused(host: str, status: int) -> None:
    async with control_face(settings(hosts=["control.example"])) as served:
        answer = await served.ask("/api/status", headers={"Host": host})
        assert answer.status_code == status
        if status == 421:
            assert "control.hosts" in str(problem(answer, 421)["detail"])
        assert (await served.ask("/livez", headers={"Host": host})).status_code == 200


CHANGE = "/api/status"  # no resource has a POST here: an admitted request is 405
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": FORM, "Origin": "http://evil.example"}, 403),
        ({"Content-Type": FORM, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": FORM}, 405),
        ({"Content-Type": "text/plain"}, 405),
        ({}, 405),
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "application/json", "Origin": "null"}, 403),
        ({"Content-Type": "application/json", "Origin": "http://127.0.0.1:1"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "application/json", "Origin": "https://control.example"}, 405),
        ({"Content-Type": "application/json; charset=utf-8"}, 405),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}, 405),
    ],
)
async def test_the_page_of_another_site_may_not_change_anything(headers: dict[str, str], status: int) -> None:
    async with control_face(settings(hosts=["control.example"])) as served:
        problem(await served.ask(CHANGE, "POST", headers=headers), status)


async def test_a_page_of_the_face_itself_may_change_things() -> None:
    async with control_face() as served:
        headers = {"Content-Type": "application/json", "Origin": served.url}
        problem(await served.ask(CHANGE, "POST", headers=headers), 405)


async def test_a_read_token_may_read_and_not_change() -> None:
    async with control_face(rows=[row_of("reading", "read", name="grafana")]) as served:
        assert (await served.ask("/api/status", token="reading")).status_code == 200
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert "grafana" in str(problem(await served.ask(CHANGE, method, "reading"), 403)["detail"])


async def test_metrics_need_a_token_and_have_the_requested_format() -> None:
    reader = [row_of("reading", "read", name="prometheus")]
    async with control_face(rows=reader, overview=fake_overview()) as served:
        problem(await served.ask("/metrics"), 401)
        answer = await served.ask("/metrics", token="reading")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert 'tracepool_pool_ips{country="us",state="locked"} 1.0' in answer.text.splitlines()
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = await served.ask("/metrics", token="reading", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert answer.text.endswith("# EOF\n")


async def test_unknown_paths_and_methods_are_problems() -> None:
    async with control_face() as served:
        problem(await served.ask("/api/nothing"), 404)
        answer = await served.ask(CHANGE, "DELETE")
        problem(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD"


async def test_an_internal_error_reveals_nothing(expected_errors: object) -> None:
    expected_errors.expect("control_failed")  # type: ignore[attr-defined]

    class Broken:
        async def status(self) -> dict[str, object]:
            raise ZeroDivisionError("c4n4ry")

    async with control_face(overview=Broken()) as served:
        answer = await served.ask("/api/status")
        assert "c4n4ry" not in answer.text
        problem(answer, 500)
        assert (await served.ask("/livez")).status_code == 200


async def test_the_openapi_document_describes_the_answers_and_the_problems() -> None:
    async with control_face() as served:
        document = (await served.ask("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operation = document["paths"]["/api/status"]["get"]
    assert operation["summary"].startswith("The status of pools")
    assert set(operation["responses"]) == {"200", "default"}
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert "CountryStatus" in document["components"]["schemas"]
    assert "/livez" not in document["paths"]
    assert document["security"] == []
    async with control_face(settings(token=GIVEN)) as served:
        assert (await served.ask("/openapi.json", token=GIVEN)).json()["security"] == [{"token": []}]


@pytest.mark.slow
async def test_a_request_in_progress_does_not_delay_the_stop_for_long() -> None:
    entered = trio.Event()

    class Slow:
        async def status(self) -> dict[str, object]:
            entered.set()
            await trio.sleep_forever()
            raise AssertionError

    async def ask(served: Served) -> None:
        with pytest.raises(httpx.TransportError):
            await served.ask("/api/status")

    async with trio.open_nursery() as nursery, control_face(overview=Slow()) as served:
        nursery.start_soon(ask, served)
        await entered.wait()
        with trio.fail_after(20):
            await served.face.end()


@pytest.mark.parametrize(
    ("bind", "given", "rows", "refused"),
    [
        ("127.0.0.1:0", "", [], False),
        ("[::1]:8081", "", [], False),
        ("unix:/run/face.sock", "", [], False),
        ("localhost:8081", "", [], False),
        ("0.0.0.0:8081", "", [], True),
        ("[::]:8081", "", [], True),
        ("control.example:8081", "", [], True),
        ("0.0.0.0:8081", "", [row_of("gone", revoked=True)], True),
        ("0.0.0.0:8081", GIVEN, [], False),
        ("0.0.0.0:8081", "", [row_of("there")], False),
    ],
)
def test_reachable_from_other_machines_the_face_does_not_start_without_a_token(
    bind: str, given: str, rows: list[dict[str, object]], refused: bool, tmp_path: Path
) -> None:
    from daemon.control.service import ControlFace
    from daemon.host.clocks import read_clocks

    face = ControlFace(LiveSettings(settings(bind=bind, token=given)), read_clocks)
    face.tokens.replace(rows)
    if refused:
        with pytest.raises(BadSettings, match=r"control\.bind.*tracepool token create"):
            face.check_token()
    else:
        face.check_token()


async def test_a_body_that_is_refused_before_the_app_is_a_problem_too() -> None:
    head = f"POST /api/ips/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n"
    async with (
        control_face() as served,
        await trio.open_tcp_stream("127.0.0.1", urlsplit(served.url).port or 0) as stream,
    ):
        await stream.send_all(head.encode())
        head_of_answer, _, body = b"".join([part async for part in stream]).partition(b"\r\n\r\n")
    assert head_of_answer.startswith(b"HTTP/1.1 413 ")
    assert b"content-type: application/problem+json" in head_of_answer.lower()
    assert json.loads(body) == {
        "type": "about:blank", "title": "Request Entity Too Large", "status": 413, "detail": "the body is too long",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/api/traces", "/api/hits", "/api/statistics"])
@pytest.mark.parametrize(
    "time", ["0", "0.5", "yesterday", "2026-01-31", "2026-01-31T12:00:00", "0001-01-01T00:00:00%2B23:00"]
)
async def test_a_malformed_or_distant_time_is_refused(path: str, time: str) -> None:
    async with control_face() as served:
        assert "since" in str(problem(await served.ask(f"{path}?since={time}"), 400)["detail"])
