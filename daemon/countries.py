"""Country codes, case-insensitive, with the aliases that providers and operators use. Pure."""

ALIASES = {"gb": "uk", "gbr": "uk", "usa": "us"}


def canonical(country: str) -> str:
    """The key of a pool: `' GB '` becomes `uk`. Rows keep their spelling."""
    key = country.strip().lower()
    return ALIASES.get(key, key)


def names_of(country: str) -> list[str]:
    """All spellings of the country with the key `country`, for a query over rows."""
    return [country, *(name for name, key in ALIASES.items() if key == country)]


def iso_code(country: str) -> str | None:
    """The ISO 3166-1 alpha-2 code in lower case, for providers; None if `country` has no two letters."""
    key = canonical(country)
    key = "gb" if key == "uk" else key
    return key if len(key) == 2 and key.isascii() and key.isalpha() else None
