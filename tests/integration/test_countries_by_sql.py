"""Countries in rows that operators write: target_country and countries of offers, other names, texts that are none."""

import shlex

import pytest

from daemon.errors import BadInput
from daemon.maintenance.advice import advise
from daemon.maintenance.evidence import read_evidence
from daemon.maintenance.figures import Figures, OddCountry
from daemon.maintenance.rounds import run_once
from daemon.offers.schema import OfferFields, offer_fields
from daemon.offers.store import add_offers, update_offer
from daemon.settings.model import Settings
from tests.integration.databases import PostgresServer, fresh_database

URL = "https://ads.example/"
EDITS = [
    ("countries = '{de,at}'", "de", ["de", "at"]),
    ("notes = 'x'", "de", ["de", "at"]),
    ("target_country = 'fr'", "fr", ["fr", "at"]),
    ("target_country = 'at'", "at", ["at"]),
    ("countries = '{us,de}', target_country = 'uk'", "us", ["us", "de"]),
    ("countries = null", "us", None),
    ("target_country = 'de'", "de", None),
    ("countries = '{}'", "de", []),
    ("target_country = 'us'", "us", []),
]


async def test_target_country_is_the_first_country_whatever_a_statement_sets(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        for columns, values, first in (
            ("", "", "us"),
            (", target_country", ", 'de'", "de"),
            (", countries", ", '{at,ch}'", "at"),
            (", target_country, countries", ", 'us', '{fr,us}'", "fr"),
        ):
            await rows.sql(f"insert into offers (offer_name, final_url{columns}) values ('x', '{URL}'{values})")
            assert await rows.sql("select target_country from offers") == [{"target_country": first}]
            await rows.sql("delete from offers")
        await rows.add_offer("sale")
        for change, first, countries in EDITS:
            await rows.sql(f"update offers set {change}")
            [found] = await rows.sql("select target_country, countries from offers")
            assert (found["target_country"], found["countries"]) == (first, countries), change


async def test_urls_of_a_country_that_the_offer_loses_are_refused(postgres: PostgresServer) -> None:
    def changes(**values: object) -> OfferFields:
        return offer_fields({"offer_name": "sale", **values}, allow_private=False)

    async with fresh_database(postgres) as rows:
        work = rows.database.work
        new = changes(final_url=URL, countries="us de", country_urls=f"de:{URL}de")
        await work(add_offers, [new], False)
        assert await work(update_offer, changes(countries="de us at"))
        for change in ({"countries": "us"}, {"countries": "us at"}, {"country_urls": f"fr:{URL}"}):
            with pytest.raises(
                BadInput, match=r"^offer 'sale': country_urls: (de|fr) is not one of the offer's countries"
            ):
                await work(update_offer, changes(**change))
        assert await work(update_offer, changes(country_urls="[]", countries="us"))
        [row] = await rows.sql("select target_country, countries, country_urls from offers")
        assert tuple(row.values()) == ("us", None, None)


async def test_what_is_no_country_is_advice_with_where_and_how_many(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        for number, country in enumerate(("us", "Germany", " DEU", "ukk", "UKK ", "o'mix")):
            await rows.add_ip(f"192.0.2.{number}", country=country)
        await rows.add_offer("sale", target_country="ukk")
        await rows.add_offer("fine")
        await rows.sql("update offers set countries = '{us,germny}' where offer_name = 'fine'")
        found = await rows.database.work(read_evidence, 0.0, Settings())
        assert found.odd_countries == (
            OddCountry("ukk", 2, ("sale",)),
            OddCountry("o'mix", 1),
            OddCountry("germny", 0, ("fine",)),
        )
        given = {one.about: one for one in advise(Figures(0.0, evidence=found)) if one.code == "country_unknown"}
        assert given["ukk"].sentence.startswith(
            "2 IPs and the offer sale: the country 'ukk' is no country of ISO 3166: did you mean uk (United Kingdom)"
        )
        assert given["germny"].sentence.startswith("The offer fine: the country 'germny' is no country")
        for advice in given.values():
            _, psql, option, statements = shlex.split(advice.command or "")
            assert (psql, option) == ("psql", "-c")
            for statement in statements.split("; "):
                await rows.sql(statement)
        assert await rows.sql("select target_country, countries from offers order by offer_name") == [
            {"target_country": "us", "countries": ["us", "de"]},
            {"target_country": "uk", "countries": None},
        ]
        assert (await rows.database.work(read_evidence, 0.0, Settings())).odd_countries == ()
        report = await run_once(rows.database, Settings(), expire_ips=False)
        totals = {name: counts["total"] for name, counts in report.statistics["country_breakdown"].items()}
        assert totals == {"us": 1, "de": 2, "uk": 2, "om": 1}
