"""What forms and bulk changes of the dashboard ask of the control face, over real rows."""

from typing import Any

import pytest

from daemon.control.access import hash_of
from daemon.offers.schema import SETTINGS
from tests.integration.control_faces import Served, control_face, row_of
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.test_control_lists import face_with_rows, items

URL = "https://ads.example/click?id={gclid}"


async def fields_of(served: Served, path: str, method: str, body: dict[str, Any]) -> dict[str, str]:
    """The sentence of each field that the request has wrong."""
    answer = await served.ask(path, method, json=body)
    assert answer.status_code in (400, 409), answer.text
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


async def test_every_wrong_field_of_an_offer_has_the_sentence_of_the_command(postgres: PostgresServer) -> None:
    wrong = {"deadline_s": "90", "tracer": "chromium", "stop_at": "shop.example/x", "is_active": 1, "notes": "a\nb"}
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_offer("summer")
        new = await fields_of(
            served, "/api/offers", "POST", {"offer_name": " ", "final_url": "ftp://a.example", **wrong}
        )
        assert list(new) == [name for name in SETTINGS if name in {"offer_name", "final_url", *wrong}]
        assert new["deadline_s"] == "deadline_s must be 1 to 60 seconds, not 90.0"
        assert new["offer_name"] == "offer_name is blank"
        for path, method in (("/api/offers/summer", "PATCH"), ("/api/offers/check", "POST")):
            assert await fields_of(served, path, method, wrong) == {name: new[name] for name in wrong}
        taken = await fields_of(served, "/api/offers", "POST", {"offer_name": "summer", "final_url": URL})
        assert list(taken) == ["offer_name"]
        absent = await fields_of(served, "/api/offers/summer", "PATCH", {"paused_to": "winter"})
        assert absent == {"paused_to": "offer 'summer': paused_to: no offer is called 'winter'"}
        assert (await served.ask("/api/offers/check", "POST", json={"paused_to": "x", "odd": 1})).status_code == 400


async def test_the_settings_of_a_form_take_their_examples_as_text(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_offer("winter-sale")
        settings = (await served.ask("/api/offer-settings")).json()["items"]
        assert [one["name"] for one in settings] == [name for name in SETTINGS if name != "target_country"]
        assert all(one["help"] and one["example"] for one in settings)
        kinds = {one["name"]: one["kind"] for one in settings}
        assert (kinds["tracer"], kinds["is_active"], kinds["stop_at"], kinds["deadline_s"]) == (
            *("choice", "flag", "words", "number"),
        )
        body = {one["name"]: one["example"] for one in settings}
        checked = await served.ask("/api/offers/check", "POST", json=body)
        macros = [{"sentence": "macro {offer}: the offer's name", "warns": False}]
        assert (checked.status_code, checked.json()["macros"]) == (200, macros)
        made = await served.ask("/api/offers", "POST", json=body)
        assert made.status_code == 201, made.text
        for one in settings[2:]:
            assert made.json()[one["name"]] != one["default"]
            change = {one["name"]: ""}
            assert (await served.ask("/api/offers/summer-sale", "PATCH", json=change)).status_code == 200
        row = (await served.ask("/api/offers/summer-sale")).json()
        assert {one["name"]: row[one["name"]] or one["default"] for one in settings[2:]} == {
            one["name"]: one["default"] for one in settings[2:]
        }


async def test_a_change_of_an_older_version_changes_nothing_and_says_so(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_offer("summer")
        path = "/api/offers/summer"
        first = (await served.ask(path)).headers["ETag"]
        changed = await served.ask(path, "PATCH", json={"notes": "one"}, headers={"If-Match": first})
        second = changed.headers["ETag"]
        assert (changed.status_code, second) == (200, (await served.ask(path)).headers["ETag"])
        for method in ("PATCH", "DELETE"):
            late = await served.ask(path, method, json={"notes": "two"}, headers={"If-Match": first})
            assert late.status_code == 412
            assert "offer 'summer' was changed after you read it: nothing was changed" in late.json()["detail"]
        assert (await served.ask(path)).json()["notes"] == "one"
        await rows.sql("insert into actions (who, what, subject) values ('anna', 'change offer', 'summer')")
        late = await served.ask(path, "PATCH", json={}, headers={"If-Match": first})
        assert " UTC by anna. Look at its new settings" in late.json()["detail"]
        await rows.sql("update offers set notes = 'by SQL'")
        assert (await served.ask(path, "PATCH", json={}, headers={"If-Match": second})).status_code == 412
        assert (await served.ask(path, "PATCH", json={}, headers={"If-Match": "*"})).status_code == 200
        newest = (await served.ask(path)).headers["ETag"]
        assert (await served.ask(path, "DELETE", headers={"If-Match": f'"old", {newest}'})).status_code == 200


async def test_many_offers_change_together_or_not_at_all(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        ids = [str(await rows.add_offer(f"offer {number}")) for number in range(3)]
        named = {"offers": [ids[0].upper(), "offer 1"]}
        paused = await served.ask("/api/offers/change", "POST", json={**named, "changes": {"is_active": False}})
        assert paused.json() == {"changed": ["offer 0", "offer 1"]}
        assert await rows.one("select count(*) from offers where is_active") == 1
        for path, more in (("/api/offers/change", {"changes": {"notes": "n"}}), ("/api/offers/remove", {})):
            some = await served.ask(path, "POST", json={"offers": ["offer 0", "no such"], **more})
            assert some.status_code == 404
            assert some.json()["detail"].endswith("'no such': nothing was changed")
        wrong = {**named, "changes": {"deadline_s": 0}}
        assert list(await fields_of(served, "/api/offers/change", "POST", wrong)) == ["deadline_s"]
        assert await rows.one("select count(*) from offers where notes is null") == 3
        removed = await served.ask("/api/offers/remove", "POST", json=named)
        assert removed.json() == {"removed": ["offer 0", "offer 1"]}
        assert [offer["offer_name"] for offer in await items(served, "/api/offers")] == ["offer 2"]


async def sick_ips(rows: Rows) -> None:
    for number in range(4):
        state = {"status": "failed", "is_healthy": False} if number else {}
        await rows.add_ip(f"192.0.2.{number}", country="uk" if number == 3 else "us", **state)


async def test_ips_that_a_filter_shows_are_reset_and_removed_by_the_count_that_was_asked(
    postgres: PostgresServer,
) -> None:
    async with face_with_rows(postgres) as (served, rows):
        await sick_ips(rows)

        async def asked(path: str, **body: Any) -> Any:
            answer = await served.ask(f"/api/ips/{path}", "POST", json=body)
            return answer.json() if answer.status_code == 200 else answer.status_code

        us = ["192.0.2.1:7000", "192.0.2.2:7000"]
        assert await asked("reset", country="US", dry_run=True) == {"reset": us}
        assert await rows.one("select count(*) from ip_rotation_pool where is_healthy") == 1
        assert await asked("reset", country="us", expected=3) == 409
        assert await rows.one("select count(*) from ip_rotation_pool where is_healthy") == 1
        assert await asked("reset", country="us", expected=2) == {"reset": us}
        assert await asked("remove") == 400
        assert await asked("remove", all=True, country="us") == 400
        assert await asked("remove", status="failed", dry_run=True) == {"removed": 1, "locked": 0}
        assert await asked("remove", status="failed", expected=2) == 409
        some = [str(ip["id"]) for ip in await items(served, "/api/ips?country=us")][:2]
        assert await asked("remove", ids=some, expected=2) == {"removed": 2, "locked": 0}
        assert await asked("remove", ids=some) == {"removed": 0, "locked": 0}
        assert await asked("remove", all=True) == {"removed": 2, "locked": 0}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_a_file_of_ips_is_read_as_by_the_command(postgres: PostgresServer, encoding: str) -> None:
    text = "192.0.2.1:3128:anna:pa55word\n192.0.2.2:0\n\n192.0.2.1:3128:anna:other\n192.0.2.3 # note\n"
    content = text.encode(encoding)
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_ip("192.0.2.3")
        path = "/api/ips/import-file?country=UK"
        preview = await served.ask(f"{path}&dry_run=true", "POST", content=content)
        assert await rows.one("select count(*) from ip_rotation_pool") == 1
        strict = await served.ask(f"{path}&strict=true", "POST", content=content)
        assert strict.json()["warnings"] == ["nothing was imported, as --strict asks: 1 rows refused"]
        done = await served.ask(path, "POST", content=content)
        assert "pa55word" not in preview.text + strict.text + done.text
        assert preview.json() == done.json()
        told = done.json()
        assert (told["added"], told["skipped"], told["refused"]) == (1, 2, 1)
        assert [line["line"] for line in told["lines"]] == [2, 4]
        assert told["lines"][0]["reason"] == "ip_port '0' is not a port from 1 to 65535"
        assert told["sample"][0] == {
            "ip_address": "192.0.2.1", "ip_port": "3128", "country": "UK", "provider": "luna", "has_login": True,
            "notes": None,
        }  # fmt: skip
        assert (await served.ask(f"{path}&strikt=true", "POST", content=content)).status_code == 400
        assert (await served.ask(path, "POST")).status_code == 400
        broken = await served.ask(path, "POST", content=b"ip_address,colour\n192.0.2.9,red\n")
        assert broken.status_code == 400
        assert "unknown column 'colour'" in broken.json()["detail"]


async def test_sessions_are_numbered_as_by_the_command(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        body = {"count": 3, "country": "uk", "provider": "web"}
        told = {"added": 3, "skipped": 0, "first": "web-uk-1:7000", "last": "web-uk-3:7000"}
        assert (await served.ask("/api/ips/generate", "POST", json={**body, "dry_run": True})).json() == told
        assert await rows.one("select count(*) from ip_rotation_pool") == 0
        assert (await served.ask("/api/ips/generate", "POST", json=body)).json() == told
        again = await served.ask("/api/ips/generate", "POST", json={**body, "count": 4})
        assert (again.json()["added"], again.json()["skipped"]) == (1, 3)
        assert list(await fields_of(served, "/api/ips/generate", "POST", {"count": 2, "prefix": "a b"})) == ["prefix"]
        assert list(await fields_of(served, "/api/ips/generate", "POST", {"count": 2, "port": "0"})) == ["port"]
        many = await fields_of(served, "/api/ips/generate", "POST", {"count": 10_001})
        assert many == {"count": "count must be 1 to 10000, not 10001"}


async def test_a_check_needs_a_url_that_is_set(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        ip_id = str(await rows.add_ip("192.0.2.1"))
        answer = await served.ask("/api/ips/check", "POST", json={"ids": [ip_id]})
        assert (answer.status_code, "provision.check_url is not set" in answer.json()["detail"]) == (409, True)


async def test_tokens_are_made_shown_once_listed_and_revoked_by_operators_alone(postgres: PostgresServer) -> None:
    given = [row_of("operating"), row_of("reading", "read", name="grafana")]
    async with fresh_database(postgres) as rows, control_face(rows=given, database=rows.database) as served:
        for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/anna")):
            refused = await served.ask(f"/api/tokens{path}", method, "reading", json={"name": "x"})
            assert (refused.status_code, "may only read" in refused.json()["detail"]) == (403, True)
        made = await served.ask("/api/tokens", "POST", "operating", json={"name": "a/b", "role": "operator"})
        token = made.json()["token"]
        assert made.status_code == 201
        assert await rows.one("select hash from control_tokens") == hash_of(token)
        again = await served.ask("/api/tokens", "POST", "operating", json={"name": "a/b"})
        assert again.json()["errors"] == [{"field": "name", "message": again.json()["detail"]}]
        bad = await served.ask("/api/tokens", "POST", "operating", json={"name": "a\tb"})
        assert bad.json()["errors"] == [
            {"field": "name", "message": "the name must have 1 to 100 printable characters"}
        ]
        listed = await served.ask("/api/tokens", token="operating")
        assert token not in listed.text
        assert [(one["name"], one["role"], one["current"]) for one in listed.json()["items"]] == [
            ("a/b", "operator", False)
        ]
        assert (await served.ask("/api/tokens/a/b", "DELETE", "operating")).json() == {"revoked": "a/b"}
        assert (await served.ask("/api/tokens/a/b", "DELETE", "operating")).status_code == 404
