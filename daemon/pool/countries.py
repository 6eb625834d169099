"""How a country is written: case-blind, with the other names that providers and operators use for it. Pure."""

ALIASES = {"gb": "uk", "gbr": "uk", "usa": "us"}


def canonical(country: str) -> str:
    """`' GB '` is `uk`: the key of a pool. Rows keep the spelling of whoever wrote them."""
    key = country.strip().lower()
    return ALIASES.get(key, key)


def names_of(country: str) -> list[str]:
    """Every way to write the country whose key is `country`, for a query over rows."""
    return [country, *(name for name, key in ALIASES.items() if key == country)]
