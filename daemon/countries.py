"""Country codes, case-insensitive, with the aliases that providers and operators use. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

ALIASES = {"gb": "uk", "gbr": "uk", "usa": "us"}


def canonical(country: str) -> str:
    """The key of a pool: `' GB '` becomes `uk`. Rows keep their spelling."""
    key = country.strip().lower()
    return ALIASES.get(key, key)


def names_of(country: str) -> list[str]:
    """All spellings of the country with the key `country`, for a query over rows."""
    return [country, *(name for name, key in ALIASES.items() if key == country)]


def rows_by_country(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows with a column `country`, by canonical name: several rows may spell one country differently."""
    by_country: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_country.setdefault(canonical(row["country"]), []).append(row)
    return by_country


def names_by_country(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Pairs of a country and a name as sorted names by canonical country."""
    by_country: dict[str, set[str]] = {}
    for country, name in pairs:
        by_country.setdefault(canonical(country), set()).add(name)
    return {country: tuple(sorted(by_country[country])) for country in sorted(by_country)}


def iso_code(country: str) -> str | None:
    """The ISO 3166-1 alpha-2 code in lower case, for providers; None if `country` has no two letters."""
    key = canonical(country)
    key = "gb" if key == "uk" else key
    return key if len(key) == 2 and key.isascii() and key.isalpha() else None
