"""/api/offers over real rows: all that `tracepool offers` can do, with the same names; and the advice."""

from typing import Any

import pytest
import structlog

from daemon.maintenance.figures import Advice, Severity
from daemon.offers.schema import SETTINGS
from tests.fakes.overviews import fake_overview
from tests.integration.control_faces import control_face, row_of
from tests.integration.databases import PostgresServer, fresh_database
from tests.integration.test_control_lists import face_with_rows, items

URL = "https://ads.example/click?id={gclid}"
EVERYTHING: dict[str, Any] = {
    "offer_name": "summer sale",
    "final_url": URL,
    "target_country": "uk",
    "is_active": False,
    "deadline_s": 8.5,
    "user_agent": "visitor",
    "notes": "for us",
    "landing_schemes": ["market"],
    "stop_at": ["shop.example"],
    "param_filter": {"keep": ["gclid"]},
    "rename": {"gclid": "sub1"},
    "tracking_urls": [{"url": "https://ads.example/a", "weight": 3}, {"url": "https://ads.example/b", "weight": 1.5}],
    "trace_backend": "local",
    "tracer": "browser",
    "mode": "background",
    "fallback_url": "https://shop.example/?from={offer}",
    "paused_to": "winter sale",
    "click_ids": ["clickid"],
    "countries": ["uk", "de"],
    "country_urls": {"de": [{"url": "https://ads.example/de", "weight": 2}]},
    "country_param": "geo",
}
UNSET: dict[str, Any] = {
    "target_country": "us",
    "is_active": True,
    "deadline_s": None,
    "user_agent": "default",
    "notes": None,
    "landing_schemes": [],
    "stop_at": None,
    "param_filter": None,
    "rename": None,
    "tracking_urls": None,
    "trace_backend": "default",
    "tracer": "default",
    "mode": "wait",
    "fallback_url": None,
    "paused_to": None,
    "click_ids": None,
    "countries": None,
    "country_urls": None,
    "country_param": None,
}


def without_macros(saved: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in saved.items() if name != "macros"}


@pytest.mark.slow
async def test_an_offer_is_created_with_every_setting_of_the_command(postgres: PostgresServer) -> None:
    assert list(EVERYTHING) == list(SETTINGS)
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_offer("winter sale")
        made = await served.ask("/api/offers", "POST", json=EVERYTHING)
        assert made.status_code == 201, made.text
        assert {name: made.json()[name] for name in EVERYTHING} == EVERYTHING
        assert {"sentence": "macro {offer}: the offer's name", "warns": False} in made.json()["macros"]
        for key in ("summer sale", made.json()["id"], made.json()["id"].upper()):
            assert (await served.ask(f"/api/offers/{key}")).json() == without_macros(made.json())
        again = await served.ask("/api/offers", "POST", json={"offer_name": "summer sale", "final_url": URL})
        assert again.status_code == 409
        plain = (await served.ask("/api/offers", "POST", json={"offer_name": "a/b", "final_url": URL})).json()
        assert {name: plain[name] for name in UNSET} == UNSET
        assert (await served.ask("/api/offers/a/b")).json() == without_macros(plain)
        changed = await served.ask("/api/offers/a/b", "PATCH", json={"final_url": "https://ads.example/?a=%7Bgclld%7D"})
        [macro] = changed.json()["macros"]
        assert macro["warns"]
        assert macro["sentence"].startswith("%7Bgclld%7D is the macro {gclld}: ")
        assert "is {gclid} meant?" in macro["sentence"]
        shared = {"offer_name": "shared", "tracking_urls": [{"url": "https://ads.example/a"}]}
        assert (await served.ask("/api/offers", "POST", json=shared)).json()["final_url"] == "https://ads.example/a"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(UNSET))
async def test_a_change_keeps_other_settings_and_null_removes_one(postgres: PostgresServer, name: str) -> None:
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_offer("winter sale")
        before = (await served.ask("/api/offers", "POST", json=EVERYTHING)).json()
        path = "/api/offers/summer sale"
        for change, expected in (
            ({}, EVERYTHING[name]),
            ({name: None}, "" if name == "notes" else UNSET[name]),
            ({name: EVERYTHING[name]}, EVERYTHING[name]),
        ):
            after = await served.ask(path, "PATCH", json=change)
            assert after.status_code == 200, after.text
            also = {"countries": [expected, "de"]} if name == "target_country" else {}
            row, expected_row = without_macros(after.json()), {**without_macros(before), name: expected, **also}
            assert {**row, "updated_at": None} == {**expected_row, "updated_at": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"final_url": "ftp://ads.example/"}, "http"),
        ({"final_url": "http://127.0.0.1/"}, "public host"),
        ({"final_url": "https://{gclid}.example/"}, "macro"),
        ({"final_url": None}, "final_url"),
        ({"deadline_s": 61}, "deadline_s"),
        ({"stop_at": ["shop.example/path"]}, "stop_at"),
        ({"landing_schemes": ["javascript"]}, "landing_schemes"),
        ({"param_filter": {"keep": ["a"], "drop": ["b"]}}, "param_filter"),
        ({"param_filter": {"only": ["a"]}}, "param_filter"),
        ({"tracking_urls": [{"url": "https://ads.example/a", "weight": 0}]}, "tracking_urls"),
        ({"trace_backend": "both"}, "trace_backend"),
        ({"tracer": "chromium"}, "tracer"),
        ({"mode": "parallel"}, "mode"),
        ({"is_active": "perhaps"}, "is_active"),
        ({"notes": "a\u0000b"}, "notes"),
        ({"notes": "a\nb"}, "notes"),
        ({"deadline": 5}, "deadline"),
    ],
)
async def test_settings_that_the_command_refuses_are_refused_with_a_reason(
    postgres: PostgresServer, change: dict[str, Any], says: str
) -> None:
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_offer("winter sale")
        before = (await served.ask("/api/offers", "POST", json=EVERYTHING)).json()
        new = {"offer_name": "another", **({"final_url": URL} | change)}
        for answer in (
            await served.ask("/api/offers/summer sale", "PATCH", json=change),
            await served.ask("/api/offers", "POST", json=new),
        ):
            assert answer.status_code == 400, answer.text
            assert says in answer.json()["detail"]
        rest = [row for row in await items(served, "/api/offers") if row["offer_name"] != "winter sale"]
        assert rest == [without_macros(before)]


async def test_an_offer_that_is_removed_leaves_its_hits(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_offer("sale")
        await rows.sql(
            "insert into hits (request_id, offer_name, outcome, location, wait_ms)"
            " values (gen_random_uuid(), 'sale', 'resolved', 'L', 5)"
        )
        assert (await served.ask("/api/offers/sale", "DELETE", json={})).json() == {"removed": "sale"}
        for method in ("GET", "PATCH", "DELETE"):
            assert (await served.ask("/api/offers/sale", method, json={})).status_code == 404
        assert await rows.one("select count(*) from hits") == 1


async def test_an_offer_that_was_made_by_sql_under_an_odd_name_can_be_changed(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        offer_id = await rows.add_offer(" odd\n")
        changed = await served.ask(f"/api/offers/{offer_id}", "PATCH", json={"is_active": False})
        assert (changed.json()["offer_name"], changed.json()["is_active"]) == (" odd\n", False)


async def test_an_import_adds_skips_or_updates_and_says_what_it_refused(postgres: PostgresServer) -> None:
    rows_given = [
        {"offer_name": "old", "final_url": "https://ads.example/new", "notes": "n"},
        {"offer_name": "new", "final_url": "https://ads.example/?a=[gclid]"},
        {"offer_name": "bad", "final_url": "nonsense"},
        {"offer_name": "worse"},
    ]
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_offer("old", "https://ads.example/old", deadline_s=7.0)

        async def imported(**more: Any) -> dict[str, Any]:
            answer = await served.ask("/api/offers/import", "POST", json={"rows": rows_given, **more})
            assert answer.status_code == 200, answer.text
            told: dict[str, Any] = answer.json()
            assert [refused["row"] for refused in told.pop("refused")] == [3, 4]
            said = [line.partition(":")[0] for line in told.pop("warnings")]
            assert said == ([] if more.get("strict") else ["offer 'new'"])
            return told

        assert await imported(strict=True) == {"added": 0, "updated": 0, "skipped": 0}
        assert await imported() == {"added": 1, "updated": 0, "skipped": 1}
        assert (await served.ask("/api/offers/old")).json()["final_url"] == "https://ads.example/old"
        assert await imported(update=True) == {"added": 0, "updated": 2, "skipped": 0}
        old = (await served.ask("/api/offers/old")).json()
        assert (old["final_url"], old["notes"], old["deadline_s"]) == ("https://ads.example/new", "n", 7.0)


@pytest.mark.slow
@pytest.mark.parametrize("sort", [f"{way}{name}" for name in ("name", "created", "updated", "country") for way in "-:"])
async def test_offers_are_listed_in_any_order_and_filtered(postgres: PostgresServer, sort: str) -> None:
    sort = sort.lstrip(":")
    async with face_with_rows(postgres) as (served, rows):
        for number, country in enumerate(("us", "GB", "uk", "de", "de")):
            await rows.add_offer(f"offer {number}", target_country=country, is_active=number > 0)
        names = [offer["offer_name"] for offer in await items(served, f"/api/offers?sort={sort}")]
        assert sorted(names) == [f"offer {number}" for number in range(5)]
        if sort.endswith(("name", "created")):
            assert names == sorted(names, reverse=sort.startswith("-"))
        for query, count in (("country=gb", 2), ("active=false", 1), ("offer=offer 3", 1), ("trace_backend=local", 0)):
            assert len(await items(served, f"/api/offers?sort={sort}&{query}")) == count


@pytest.mark.slow
async def test_a_change_is_in_the_audit_log_and_a_read_token_changes_nothing(postgres: PostgresServer) -> None:
    tokens = [row_of("operating"), row_of("reading", "read", name="grafana")]
    with structlog.testing.capture_logs() as lines:
        async with fresh_database(postgres) as rows, control_face(rows=tokens, database=rows.database) as served:
            await rows.add_offer("winter sale")
            for method, path, body in (
                ("POST", "/api/offers", EVERYTHING),
                ("PATCH", "/api/offers/summer sale", {"notes": None, "is_active": True}),
                ("POST", "/api/offers/import", {"rows": [{"offer_name": "b", "final_url": URL}]}),
                ("DELETE", "/api/offers/b", {}),
            ):
                assert (await served.ask(path, method, "reading", json=body)).status_code == 403
                other_host = await served.ask(path, method, "operating", json=body, headers={"Host": "evil.example"})
                assert other_host.status_code == 421
                assert (await served.ask(path, method, "operating", json=body)).status_code < 300
            assert (await served.ask("/api/offers", token="reading")).status_code == 200
    audit = [line for line in lines if line["event"] == "audit"]
    assert [(line["who"], line["what"], line["result"]) for line in audit] == [
        ("anna", "POST /api/offers", 201),
        ("anna", "PATCH /api/offers/summer sale", 200),
        ("anna", "POST /api/offers/import", 200),
        ("anna", "DELETE /api/offers/b", 200),
    ]
    assert audit[0]["subject"] == "summer sale"
    assert (audit[1]["subject"], sorted(audit[1]["changed"])) == ("summer sale", ["is_active", "notes"])
    assert (audit[2]["added"], audit[2]["updated"], audit[2]["refused"]) == (1, 0, 0)
    assert audit[3]["subject"] == "b"


async def test_advice_has_its_rule_and_figures() -> None:
    given = Advice("oversized", Severity.INFO, "Too many.", "half idle", {"ips": 9.0}, "tracepool plan", "us")
    async with control_face(overview=fake_overview(given)) as served:
        assert (await served.ask("/api/advice")).json() == {
            "items": [
                {
                    "code": "oversized", "severity": "info", "sentence": "Too many.", "rule": "half idle",
                    "numbers": {"ips": 9.0}, "command": "tracepool plan", "about": "us", "country": None, "offer": None,
                    "provider": None, "count": None, "of": None, "error": None,
                }
            ],
            "first_run": None,
        }  # fmt: skip
