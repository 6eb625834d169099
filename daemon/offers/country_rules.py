"""Rules between the countries of an offer, which no column can check alone. Pure."""

from collections.abc import Iterable

from daemon.countries import canonical
from daemon.errors import BadInput


def with_first(countries: tuple[str, ...], first: str | None) -> dict[str, object]:
    """`target_country` is the first of `countries`, which is empty if that is the only one."""
    if first is not None and canonical(first) != countries[0]:
        raise BadInput(
            f"target_country {first!r} is not the first of countries, {' '.join(countries)}: leave target_country out,"
            " or write it first there",
            field="target_country",
        )
    return {"target_country": countries[0], "countries": countries if len(countries) > 1 else ()}


def check_country_urls(urls: Iterable[str], countries: Iterable[str]) -> None:
    """Raises BadInput if `country_urls`, with the countries `urls`, has one that is none of the offer's `countries`."""
    known = {canonical(country) for country in countries}
    for country in urls:
        if canonical(country) not in known:
            raise BadInput(
                f"country_urls: {country} is not one of the offer's countries, {' '.join(sorted(known))}: add it to"
                " countries, or remove its URLs",
                field="country_urls",
            )
