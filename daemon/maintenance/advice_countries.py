"""Advice on countries that ISO 3166 does not have, in rows of IPs and offers. Pure."""

import shlex
from collections.abc import Iterator

from daemon.countries import nearest, no_country
from daemon.maintenance.figures import Advice, Figures, OddCountry, Severity, names

QUOTE = '"'
UNFIT = frozenset('"$`\\!')
"""What a shell reads between double quotes."""


def country_unknown(f: Figures) -> Iterator[Advice]:
    for odd in f.evidence.odd_countries:
        yield Advice(
            "country_unknown",
            Severity.WARNING,
            f"{_where(odd)}: the country {no_country(odd.country)} Only offers and IPs with the same text meet.",
            "the country of an IP's row or of an offer is neither a code of ISO 3166 nor a known name",
            {"ips": odd.ips, "offers": len(odd.offers)},
            correction(odd),
            odd.country,
            country=odd.country,
            offer=odd.offers[0] if len(odd.offers) == 1 else None,
            count=odd.ips + len(odd.offers),
        )


def _where(odd: OddCountry) -> str:
    """`3 IPs and the offers a, b`."""
    offers = f"offer{'s' if len(odd.offers) > 1 else ''} {names(odd.offers)}" if odd.offers else ""
    ips = f"{odd.ips} IP{'s' if odd.ips > 1 else ''}" if odd.ips else ""
    return f"{ips} and the {offers}" if ips and offers else ips or f"The {offers}"


def correction(odd: OddCountry) -> str:
    """A command that corrects all of these rows at once."""
    odd_text = "'" + odd.country.replace("'", "''") + "'"
    near = next((f"'{key}'" for key in nearest(odd.country)), "'COUNTRY'")
    statements = []
    if odd.offers:
        statements.append(
            f"update offers set countries = array_replace(countries, {odd_text}, {near}), target_country = {near}"  # noqa: S608
            f" where {odd_text} = any(array_append(countries, lower(btrim(target_country))))"
        )
    if odd.ips:
        statements.append(
            f"update ip_rotation_pool set country = {near} where lower(btrim(country)) = {odd_text}"  # noqa: S608
        )
    text = "; ".join(statements)
    return f"tracepool psql -c {shlex.quote(text) if UNFIT.intersection(text) else QUOTE + text + QUOTE}"
