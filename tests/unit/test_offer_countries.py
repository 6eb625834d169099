"""Offers with several countries: how they are read from files and rows, and what an offer is in each country."""

import json
from typing import Any
from uuid import UUID

import pytest

from daemon.errors import BadInput
from daemon.offers.macros import template_of
from daemon.offers.model import Offer, Offers
from daemon.offers.schema import OfferFields, offer_fields, read_offers
from daemon.web.query import Inbound, Param

URL = "https://ads.example/click"
ID = UUID(int=1)


def fields(**values: object) -> OfferFields:
    return offer_fields({"offer_name": "sale", "final_url": URL, **values}, allow_private=False)


def served(*complaints: str, **row: Any) -> Offer:
    """The offer of a row, which has these complaints."""
    offers = Offers()
    found = offers.replace([{"id": ID, "offer_name": "sale", "final_url": URL, "target_country": "us", **row}])
    assert [complaint.usable for complaint in found] == [True] * len(complaints)
    assert all(part in one.sentence for part, one in zip(complaints, found, strict=True))
    offer = offers.find("sale")
    assert offer is not None
    return offer


@pytest.mark.parametrize(
    ("given", "first", "countries"),
    [
        ("de at", "de", ("de", "at")),
        ("USA, Hong Kong,de", "us", ("us", "hk", "de")),
        (["Germany", "gb,AT", "de"], "de", ("de", "uk", "at")),
        ('["de", "at"]', "de", ("de", "at")),
        ("Germany", "de", ()),
        (["de"], "de", ()),
        ([], None, ()),
    ],
)
def test_the_first_country_is_the_target_country(given: object, first: str | None, countries: tuple[str, ...]) -> None:
    offer = fields(countries=given)
    assert (offer.target_country, offer.countries) == (first, countries)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"countries": "de, germny"}, "countries: 'germny' is no country of ISO 3166: did you mean de"),
        ({"countries": "de A1"}, "countries: 'A1' is no country"),
        ({"countries": {"de": 1}}, "is no list"),
        ({"target_country": "ukk"}, "target_country: 'ukk' is no country of ISO 3166: did you mean uk"),
        ({"target_country": "us", "countries": "de us"}, "target_country 'us' is not the first of countries, de us"),
        ({"countries": "de at", "country_urls": f"fr:{URL}"}, "country_urls: fr is not one of the offer's countries"),
        ({"target_country": "us", "country_urls": f"fr:{URL}"}, "country_urls: fr is not one of the offer's countries"),
        ({"country_urls": f"frr:{URL}"}, "country_urls: 'frr' is no country"),
        ({"country_urls": URL}, "must read COUNTRY:URL or COUNTRY:WEIGHT:URL"),
        ({"country_urls": "de"}, "must read COUNTRY:URL"),
        ({"country_urls": f"de:0:{URL}"}, "country_urls: a weight must be a number above 0"),
        ({"country_urls": "de:ads.example"}, "does not start with http"),
        ({"country_urls": {"de": [{"url": "https://10.0.0.1/"}]}}, "private address"),
        ({"country_urls": {"de": 7}}, "is no list"),
        ({"country_param": "a\nb"}, "control character"),
    ],
)
def test_a_bad_value_is_refused_with_its_reason(values: dict[str, object], reason: str) -> None:
    with pytest.raises(BadInput) as refused:
        fields(**values)
    assert reason in str(refused.value)


def test_a_bad_line_of_a_file_is_named() -> None:
    lines = f"offer_name,final_url,countries\na,{URL},de at\nb,{URL},ukk\n"
    read = read_offers(lines, allow_private=False)
    assert [row.countries for row in read.rows] == [("de", "at")]
    [refused] = read.refused
    assert refused.line == 3
    assert "did you mean uk" in refused.reason


def test_words_and_objects_give_the_same_urls() -> None:
    words = fields(country_urls=f"de:{URL}/1 Deu:3:{URL}/2 uk:{URL}/3").country_urls
    shares = {"GB": f"{URL}/3", "de": [{"url": f"{URL}/1"}, f"3:{URL}/2"], "at": []}
    assert json.loads(words or "") == {
        "de": [{"url": f"{URL}/1", "weight": 1}, {"url": f"{URL}/2", "weight": 3}],
        "uk": [{"url": f"{URL}/3", "weight": 1}],
    }
    as_object = fields(country_urls=shares).country_urls
    assert json.loads(as_object or "") == json.loads(words or "")


def test_an_offer_has_its_own_urls_in_a_country() -> None:
    urls = {"de": [{"url": f"{URL}/1", "weight": 3}, {"url": f"{URL}/2"}], "us": [{"url": f"{URL}/us"}]}
    offer = served(countries=["us", "DE", "at"], country_urls=json.dumps(urls))
    assert list(offer.in_country) == ["us", "de", "at"]
    assert offer.target(0.9).url == offer.in_country["us"].target(0.9).url == f"{URL}/us"
    german = offer.in_country["de"]
    assert (german.name, german.id, german.country) == ("sale", ID, "de")
    assert [german.target(draw).url for draw in (0.7, 0.8)] == [f"{URL}/1", f"{URL}/2"]
    assert offer.in_country["at"].target(0.0).url == URL


def test_each_country_of_an_offer_names_it() -> None:
    offers = Offers()
    rows = ({"offer_name": "sale", "countries": ["us", "de"]}, {"offer_name": "other", "target_country": "Germany"})
    assert offers.replace([{"id": ID, "final_url": URL, "target_country": "us", **row} for row in rows]) == []
    assert offers.by_country == {"de": ("other", "sale"), "us": ("sale",)}


def test_an_offer_with_one_country_has_no_others() -> None:
    assert served().in_country == {}
    for countries in (None, [], ["US"], ["usa"]):
        assert served(countries=countries).in_country == {}
    assert served(country_urls=json.dumps({"us": [{"url": f"{URL}/us"}]})).target(0.0).url == f"{URL}/us"


def test_what_is_wrong_in_a_row_is_left_out_with_a_complaint() -> None:
    odd = served("'mix' is no country of ISO 3166", target_country=" MIX ")
    assert (odd.country, odd.in_country) == ("mix", {})
    several = served("is no country's code", "'ukk' is no country", countries=["us", "", "ukk", "de"])
    assert list(several.in_country) == ["us", "ukk", "de"]
    urls = {"fr": [{"url": URL}], "us": [{"url": "ads.example"}, {"url": f"{URL}/us"}], "de": [7]}
    offer = served(
        *("'fr' is not one of its countries", "does not start with http", "country_urls must hold objects"),
        countries=["us", "de"],
        country_urls=json.dumps(urls),
    )
    assert (offer.target(0.0).url, offer.in_country["de"].target(0.0).url) == (f"{URL}/us", URL)


@pytest.mark.parametrize(
    ("params", "country", "expanded"),
    [
        ((), "uk", "GB"),
        ((), "mix", ""),
        ((Param("country", "fr", "country=fr"),), "uk", "fr"),
        ((Param("Country", "fr", "Country=fr"),), "uk", "fr"),
        ((Param("country", "", "country="),), "de", "DE"),
    ],
)
def test_the_macro_is_the_clicks_parameter_or_the_chosen_country(
    params: tuple[Param, ...], country: str, expanded: str
) -> None:
    template = template_of(f"{URL}?c={{country}}&C={{COUNTRY}}")
    assert template is not None
    assert template.expanded(Inbound("sale", params), ID, country) == f"{URL}?c={expanded}&C={expanded}"
