"""Types of the fields of an API request on offers. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as model

from daemon.offers import readers, values

NOTES_CHARACTERS_MAX = 1_000

# PostgreSQL's text cannot hold NUL.
Word = Annotated[str, Field(min_length=1, max_length=values.NAME_CHARACTERS_MAX, pattern=r"^[^\x00]*$")]
Url = Annotated[str, Field(min_length=1, max_length=readers.URL_CHARACTERS_MAX, pattern=r"^[^\x00]*$")]
Country = Annotated[str, Field(min_length=1, max_length=values.COUNTRY_CHARACTERS_MAX, pattern=r"^[^\x00]*$")]
Countries = Annotated[list[Country], Field(max_length=values.COUNTRIES_MAX)]
Notes = Annotated[str, Field(max_length=NOTES_CHARACTERS_MAX, pattern=r"^[^\x00]*$")]
Flag = Annotated[bool, Field(strict=True)]
Deadline = Annotated[float, Field(ge=values.DEADLINE_MIN_S, le=values.DEADLINE_MAX_S, allow_inf_nan=False, strict=True)]
Schemes = Annotated[list[Word], Field(max_length=values.SCHEMES_MAX)]
Hosts = Annotated[list[Word], Field(max_length=values.HOSTS_MAX)]
Names = Annotated[list[Word], Field(max_length=values.NAMES_MAX)]
Filter = Annotated[dict[values.FilterKind, Names], Field(max_length=1)]
Renamed = Annotated[dict[Word, Word], Field(max_length=values.NAMES_MAX)]


@model(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class TrackingShare:
    """A tracking URL and its weight among the others."""

    url: Url
    weight: Annotated[float, Field(gt=0, le=values.WEIGHT_MAX, allow_inf_nan=False, strict=True)] = 1


Shares = Annotated[list[TrackingShare], Field(max_length=values.URLS_MAX)]
CountryShares = Annotated[dict[Country, Shares], Field(max_length=values.COUNTRIES_MAX)]
