"""What an operator writes into `offers` by SQL: what makes no sense is refused by a constraint whose name says why."""

import asyncpg
import pytest
import trio

from tests.integration.databases import PostgresServer, fresh_database

HOSTS = "offers_stop_at_holds_hosts_without_scheme_port_or_path"
FILTER = "offers_param_filter_is_keep_or_drop_with_a_list_of_names"
RENAME = "offers_rename_maps_names_to_names"
URLS = "offers_tracking_urls_is_a_list_of_url_and_weight"
BACKEND = "offers_trace_backend_is_default_local_or_service"

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
]  # fmt: skip
TAKEN = [
    *("stop_at = null", "stop_at = '{}'",
      "stop_at = '{shop.example,Bücher.example,127.0.0.1,[2001:db8::1],a_b.example.}'"),
    *(f"param_filter = {value}" for value in ("null", """'{"keep": ["gclid", "a b"]}'""", """'{"drop": []}'""")),
    *(f"rename = {value}" for value in ("null", "'{}'", """'{"gclid": "sub1", "a b": "c"}'""")),
    *(f"tracking_urls = {value}" for value in (
        "null", """'[{"url": "HTTPS://a.example/{gclid}", "weight": 0.5}, {"url": "http://b.example/"}]'""")),
    *(f"trace_backend = '{value}'" for value in ("local", "service", "default")),
]  # fmt: skip


async def test_nonsense_is_refused_by_name_and_sense_is_taken(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_offer("sale")
        for constraint, change in REFUSED:
            with trio.fail_after(10):
                with pytest.raises(asyncpg.CheckViolationError) as refused:
                    await rows.sql(f"update offers set {change}")
                assert refused.value.constraint_name == constraint, change
        for change in TAKEN:
            await rows.sql(f"update offers set {change}")


async def test_a_constraints_name_is_not_cut(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        names = await rows.sql(
            "select conname from pg_constraint where conrelid = 'offers'::regclass and contype = 'c'"
        )
        assert {HOSTS, FILTER, RENAME, URLS, BACKEND} <= {row["conname"] for row in names}
