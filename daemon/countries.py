"""How a country is written: case-blind, with the other names that providers and operators use for it. Pure."""

ALIASES = {"gb": "uk", "gbr": "uk", "usa": "us"}


def canonical(country: str) -> str:
    """`' GB '` is `uk`: the key of a pool. Rows keep the spelling of whoever wrote them."""
    key = country.strip().lower()
    return ALIASES.get(key, key)


def names_of(country: str) -> list[str]:
    """Every way to write the country whose key is `country`, for a query over rows."""
    return [country, *(name for name, key in ALIASES.items() if key == country)]


def iso_code(country: str) -> str | None:
    """The two letters of ISO 3166-1 that providers know a country by, in lower case; None where it is no code."""
    key = canonical(country)
    key = "gb" if key == "uk" else key
    return key if len(key) == 2 and key.isascii() and key.isalpha() else None
