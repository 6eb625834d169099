"""The country of a visitor, by which an offer with several countries is traced. No HTTP here.

The first source that names a country counts, in this order:

1. the click's parameter: the offer's `country_param`, else click.country_param;
2. the header click.country_header of a trusted proxy (`Visitor.country`);
3. the file click.country_file, by the visitor's address.

A text that names no country of ISO 3166 (XX, T1, EU, an empty one, a macro that was not replaced) counts as none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from daemon.click.country_file import CountryFile
from daemon.click.visitor import Visitor
from daemon.countries import country_of
from daemon.offers.model import Offer
from daemon.settings.live import LiveSettings
from daemon.web.query import Param

Source = Literal["parameter", "header", "file", "first"]

TEXT_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class VisitorCountries:
    _live: LiveSettings
    _file: CountryFile

    def offer_for(self, offer: Offer, params: Sequence[Param], visitor: Visitor) -> tuple[Offer, Source]:
        """The offer as it is in the visitor's country; in its first country if that is unknown or not the offer's."""
        name = offer.country_param or self._live.current.click.country_param
        source: Source = "parameter"
        country = _key(_value_of(name, params) if name else None)
        if country is None:
            country, source = _key(visitor.country), "header"
        if country is None:
            country, source = _key(self._file.find(visitor.address)), "file"
        found = offer.in_country.get(country or "")
        return (offer, "first") if found is None else (found, source)


def _value_of(name: str, params: Sequence[Param]) -> str | None:
    """The first value of the parameter; of one whose name differs in case, if there is no such parameter."""
    folded = name.lower()
    like = [param for param in params if param.name.lower() == folded]
    return next((param.value for param in like if param.name == name), like[0].value if like else None)


def _key(text: str | None) -> str | None:
    return country_of(text) if text and len(text) <= TEXT_CHARACTERS_MAX else None
