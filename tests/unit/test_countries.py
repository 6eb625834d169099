"""Spellings of countries."""

import iso3166
import pytest

from daemon.countries import (
    ALIASES,
    canonical,
    country_in,
    country_of,
    is_country,
    names_of,
    nearest,
    no_country,
    odd_countries,
)
from daemon.errors import BadInput


@pytest.mark.parametrize(
    ("written", "key"),
    [("us", "us"), (" US ", "us"), ("USA", "us"), ("gb", "uk"), ("GBR", "uk"), ("Uk", "uk"), ("de", "de"), ("", "")],
)
def test_a_country_has_one_key(written: str, key: str) -> None:
    assert canonical(written) == key


def test_a_key_is_its_own_key() -> None:
    assert {canonical(key) for key in ALIASES.values()} == set(ALIASES.values())


@pytest.mark.parametrize("country", ["usa", "gbr", "germany", "el", "uk", "de", "united states", "atlantis"])
def test_every_name_leads_back_to_its_country(country: str) -> None:
    key = canonical(country)
    names = names_of(key)
    assert country in names
    assert {canonical(name) for name in names} == {key}


@pytest.mark.parametrize(
    ("text", "key"),
    [("uk", "uk"), ("GBR", "uk"), ("United Kingdom", "uk"), ("el", "gr"), ("Deu", "de"), (" Germany ", "de"),
     ("U.S.A.", "us"), ("South Korea", "kr"), ("Republic of Korea", "kr"), ("Côte d'Ivoire", "ci"), ("TURKIYE", "tr"),
     ("xk", "xk"), ("DR Congo", "cd"), ("Congo", "cg"), ("hong  kong", "hk")],
)  # fmt: skip
def test_a_country_is_named_by_a_code_or_in_english(text: str, key: str) -> None:
    assert country_of(text) == country_in(text) == key


@pytest.mark.parametrize(
    "text",
    [
        "XX",
        "T1",
        "EU",
        "A1",
        "AP",
        "ZZ",
        "a2",
        "o1",
        "",
        "  ",
        "{geo}",
        "[de]",
        "Korea",
        "Virgin Islands",
        "de at",
        "840",
    ],
)
def test_what_names_no_single_country_names_none(text: str) -> None:
    assert country_of(text) is None
    if len(text) == 2 and text.isalpha():
        assert country_in(text) == text.lower()
        assert "is no country of ISO 3166: " in odd_countries(["us", text, text])[0]
        return
    with pytest.raises(BadInput, match=r"^target_country: .* is no country of ISO 3166: "):
        country_in(text, "target_country")


@pytest.mark.parametrize(
    ("text", "key"),
    [("ukk", "uk"), ("usd", "us"), ("germny", "de"), ("en-GB", "uk"), ("en", "uk"), ("ed", "de"), ("ja", "jp"),
     ("Brasil", "br"), ("Swizerland", "ch"),
     ("en-US", "us"), ("US - New York", "us"), ("us-east", "us"), ("France (Paris)", "fr")],
)  # fmt: skip
def test_the_nearest_country_is_named(text: str, key: str) -> None:
    assert nearest(text)[0] == key
    assert f"did you mean {key} " in no_country(text)
    if len(text) == 2:
        return
    with pytest.raises(BadInput, match=f"did you mean {key} "):
        country_in(text)


def test_a_pool_may_have_a_code_of_the_operators_own() -> None:
    assert [country_in(text) for text in ("eu", "D1", "x9")] == ["eu", "d1", "x9"]
    assert "'d1' is no country of ISO 3166" in odd_countries(["d1"])[0]


@pytest.mark.parametrize("text", ["eu", "XX", "residential-7", "", "x" * 1_000])
def test_a_text_that_is_near_to_none_gets_an_example(text: str) -> None:
    assert nearest(text) == []
    assert no_country(text).endswith("write a code such as de, or a name such as Germany.")
    assert len(no_country(text)) < 150


def test_no_alias_hides_a_code() -> None:
    codes = [country.alpha2.lower() for country in iso3166.countries]
    assert {canonical(code) for code in codes} == {"uk" if code == "gb" else code for code in codes}
    assert all(is_country(canonical(code)) for code in codes)
    assert not set(ALIASES) & set(ALIASES.values())
