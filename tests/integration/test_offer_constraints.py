"""The table `offers` has the columns, types and defaults that offers/schema.py declares.

A constraint refuses a bad value that an operator writes by SQL, and the constraint's name gives the reason.
"""

import json
from types import NoneType
from typing import get_args

import asyncpg
import pytest
import trio

from daemon.offers.schema import LIVE, SETTINGS, OfferFields, offer_fields
from daemon.offers.store import add_offers, find_offer, load_offers, update_offer
from tests.integration.databases import PostgresServer, fresh_database

CHECKS = {column: setting.check for column, setting in SETTINGS.items() if setting.check}
TAKER = SETTINGS["paused_to"].example
HOSTS, FILTER, RENAME = CHECKS["stop_at"], CHECKS["param_filter"], CHECKS["rename"]
OTHERS = {"country_urls": {"countries": ["us", "de", "at"]}}
URLS, BACKEND, TRACER = CHECKS["tracking_urls"], CHECKS["trace_backend"], CHECKS["tracer"]

REFUSED = [
    *((HOSTS, f"stop_at = '{{{hosts}}}'") for hosts in
      ("https://shop.example", "shop.example/x", "shop.example:443", '""', '"a b"', "*.shop.example", "u@shop.example",
       "shop.example,null", ",".join(["shop.example"] * 21), '"[]"', '"a?b"')),
    *((FILTER, f"param_filter = '{value}'") for value in
      ("null", "{}", "[]", '"keep"', '{"keep": "gclid"}', '{"keep": [7]}', '{"keep": [""]}', '{"keep": [["a"]]}',
       '{"keep": ["a"], "drop": ["b"]}', '{"keep": ["a"], "x": []}', '{"allow": ["a"]}', '{"keep": null}')),
    *((RENAME, f"rename = '{value}'") for value in
      ("null", "[]", '"a"', '{"a": ""}', '{"": "a"}', '{"a": 7}', '{"a": null}', '{"a": ["b"]}', '{"a": {"b": "c"}}')),
    *((URLS, f"tracking_urls = '{value}'") for value in
      ("null", "[]", "{}", '"https://a.example/"', '["https://a.example/"]', '[{"url": "a.example"}]',
       '[{"weight": 1}]',
       '[{"url": 7}]', '[{"url": "https://a.example/", "weight": 0}]', '[{"url": "https://a.example/", "weight": -1}]',
       '[{"url": "https://a.example/", "weight": "3"}]', '[{"url": "https://a.example/", "weight": null}]',
       '[{"url": "https://a.example/", "wieght": 3}]', '[[{"url": "https://a.example/", "weight": 3}]]',
       '[{"url": "https://a.example/", "weight": 3}, 7]', '[{"url": "javascript:alert(1)//https://", "weight": 3}]')),
    *((BACKEND, f"trace_backend = '{value}'") for value in ("", "Local", "remote")),
    *((TRACER, f"tracer = '{value}'") for value in ("", "Auto", "chromium")),
    *((CHECKS["mode"], f"mode = '{value}'") for value in ("", "Wait", "parallel")),
    *((CHECKS["user_agent"], f"user_agent = '{value}'") for value in ("", "Visitor", "curl")),
    *((CHECKS["deadline_s"], f"deadline_s = {value}") for value in ("0", "0.99", "60.01", "'nan'")),
    (CHECKS["offer_name"], "offer_name = ''"),
    *((CHECKS["fallback_url"], f"fallback_url = '{value}'") for value in ("", "shop.example", "javascript:https://a.example/")),
    *((CHECKS["click_ids"], f"click_ids = '{names}'") for names in ('{""}', "{a,null}")),
    *((CHECKS["countries"], f"countries = '{codes}'") for codes in ('{""}', "{de,null}")),
    *((CHECKS["country_param"], f"country_param = '{name}'") for name in ("", "x" * 256)),
    *((CHECKS["country_urls"], f"country_urls = '{value}'") for value in (
        "null", "[]", '{"": [{"url": "https://a.example/"}]}', '{"de": []}', '{"de": "https://a.example/"}',
        '{"de": {"url": "https://a.example/"}}', '{"de": [[{"url": "https://a.example/"}]]}',
        '{"de": [{"url": "https://a.example/"}], "at": [{"url": "a.example"}]}',
        '{"de": [{"url": "https://a.example/", "weight": 0}]}')),
    *((CHECKS["paused_to"], f"paused_to = {value}") for value in ("''", "offer_name")),
]  # fmt: skip
TAKEN = [
    *("stop_at = null", "stop_at = '{}'",
      "stop_at = '{shop.example,Bücher.example,127.0.0.1,[2001:db8::1],a_b.example.}'"),
    *(f"param_filter = {value}" for value in ("null", """'{"keep": ["gclid", "a b"]}'""", """'{"drop": []}'""")),
    *(f"rename = {value}" for value in ("null", "'{}'", """'{"gclid": "sub1", "a b": "c"}'""")),
    *(f"tracking_urls = {value}" for value in (
        "null", """'[{"url": "HTTPS://a.example/{gclid}", "weight": 0.5}, {"url": "http://b.example/"}]'""")),
    *(f"trace_backend = '{value}'" for value in ("local", "service", "default")),
    *(f"tracer = '{value}'" for value in ("http", "auto", "browser", "default")),
    *(f"mode = '{value}'" for value in ("background", "wait")),
    *(f"user_agent = '{value}'" for value in ("visitor", "default")),
    *(f"deadline_s = {value}" for value in ("1", "60", "null")),
    *(f"fallback_url = {value}" for value in ("null", "'HTTPS://shop.example/{offer}'")),
    *(f"paused_to = {value}" for value in ("null", "'other'")),
    *(f"countries = '{codes}'" for codes in ("{}", "{de,AT,odd}")),
    *(f"country_urls = {value}" for value in (
        "null", "'{}'", """'{"de": [{"url": "HTTPS://a.example/{geo}", "weight": 0.5}, {"url": "http://b.example/"}]}'""")),
]  # fmt: skip


async def test_bad_values_are_refused_by_name_and_good_ones_accepted(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_offer("sale")
        for constraint, change in REFUSED:
            with trio.fail_after(10):
                with pytest.raises(asyncpg.CheckViolationError) as refused:
                    await rows.sql(f"update offers set {change}")
                assert refused.value.constraint_name == constraint, change
        for change in TAKEN:
            await rows.sql(f"update offers set {change}")


async def test_the_table_has_each_setting_as_declared(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        columns = await rows.sql(
            "select attname, format_type(atttypid, atttypmod) as type, not attnotnull as nullable"
            " from pg_attribute where attrelid = 'offers'::regclass and attnum > 0 and not attisdropped"
        )
        known = {row["attname"]: (row["type"], row["nullable"]) for row in columns}
        described = {name: (setting.sql, NoneType in get_args(setting.stored)) for name, setting in SETTINGS.items()}
        assert known.keys() - described.keys() == {"id", "created_at", "updated_at"}
        assert {name: known.get(name) for name in described} == described
        names = await rows.sql(
            "select conname from pg_constraint where conrelid = 'offers'::regclass and contype = 'c'"
        )
        assert sorted(row["conname"] for row in names) == sorted(CHECKS.values())
        assert {constraint for constraint, _ in REFUSED} == set(CHECKS.values()), "each has values that it refuses"


@pytest.mark.parametrize("column", SETTINGS)
async def test_a_setting_is_stored_read_changed_and_cleared(postgres: PostgresServer, column: str) -> None:
    bare = {"offer_name": "bare", "final_url": "https://ads.example/", **OTHERS.get(column, {})}
    example = offer_fields({**bare, column: SETTINGS[column].example}, allow_private=False)
    name, unchanged = example.offer_name, OfferFields(example.offer_name)
    value = getattr(example, column)
    expected = json.loads(value) if SETTINGS[column].sql == "jsonb" else list(value) if type(value) is tuple else value
    async with fresh_database(postgres) as rows:
        work = rows.database.work
        await rows.add_offer(TAKER)

        async def held() -> object:
            return getattr(await work(find_offer, name), column)

        await work(add_offers, [offer_fields({**bare, "offer_name": name}, allow_private=False)], False)
        before = await held()
        default = SETTINGS[column].default
        assert column in bare or before == ([] if default == () else default)
        assert (await work(add_offers, [example], False)).skipped == 1
        assert await held() == before
        assert (await work(add_offers, [example], True)).updated == 1
        assert await held() == expected
        await rows.sql(f"delete from offers where offer_name = '{name}'")
        assert (await work(add_offers, [example], True)).added == 1
        assert await held() == expected
        assert await work(update_offer, unchanged)
        assert await held() == expected
        for row in await work(load_offers):
            assert list(row) == ["id", *LIVE]
            assert column not in LIVE or row["offer_name"] == TAKER or row[column] is not None
        if NoneType in get_args(SETTINGS[column].stored):
            assert await work(update_offer, unchanged, [column])
            assert await held() is None
