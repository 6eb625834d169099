"""Spellings of countries."""

import pytest

from daemon.countries import ALIASES, canonical, names_of


@pytest.mark.parametrize(
    ("written", "key"),
    [("us", "us"), (" US ", "us"), ("USA", "us"), ("gb", "uk"), ("GBR", "uk"), ("Uk", "uk"), ("de", "de"), ("", "")],
)
def test_a_country_has_one_key(written: str, key: str) -> None:
    assert canonical(written) == key


def test_a_key_is_its_own_key() -> None:
    assert {canonical(key) for key in ALIASES.values()} == set(ALIASES.values())


@pytest.mark.parametrize("country", [*ALIASES, *ALIASES.values(), "de", "united states"])
def test_every_name_leads_back_to_its_country(country: str) -> None:
    key = canonical(country)
    names = names_of(key)
    assert country in names
    assert {canonical(name) for name in names} == {key}
