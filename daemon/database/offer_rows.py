"""Offers that an operator adds or changes, as rows of `offers`: from a file or the command line. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daemon.click.answer import tracking_url
from daemon.click.offers import RUNNING_SCHEMES
from daemon.database.records import Import, filled_text_in, import_rows, text_in
from daemon.errors import BadInput

COLUMNS = (
    *("offer_name", "final_url", "target_country", "is_active", "deadline_s", "user_agent", "notes"),
    "landing_schemes",
)
REQUIRED = ("offer_name", "final_url")
NAME_CHARACTERS_MAX = 255
URL_CHARACTERS_MAX = 8_192
COUNTRY_CHARACTERS_MAX = 64
NOTES_CHARACTERS_MAX = 1_000
NUMBER_CHARACTERS_MAX = 32
DEADLINE_MIN_S, DEADLINE_MAX_S = 1.0, 60.0
USER_AGENTS = ("default", "visitor")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,63}")  # RFC 3986, 3.1
SCHEMES_MAX = 20
YES, NO = ("true", "t", "yes", "1"), ("false", "f", "no", "0")


@dataclass(frozen=True, slots=True)
class OfferFields:
    """Checked values of an offer; None is "not given": the default for a new offer, unchanged for one that exists."""

    offer_name: str
    final_url: str | None
    target_country: str | None
    is_active: bool | None
    deadline_s: float | None
    user_agent: str | None
    notes: str | None
    landing_schemes: tuple[str, ...] | None = None


def offer_fields(fields: Mapping[str, object], *, allow_private: bool) -> OfferFields:
    """Raises BadInput that says which column is wrong and why."""
    name = filled_text_in(fields, "offer_name", NAME_CHARACTERS_MAX)
    if name is None:
        raise BadInput("offer_name is missing")
    url = filled_text_in(fields, "final_url", URL_CHARACTERS_MAX)
    user_agent = text_in(fields, "user_agent", COUNTRY_CHARACTERS_MAX) or None
    if user_agent is not None and user_agent not in USER_AGENTS:
        raise BadInput(f"user_agent must be {' or '.join(USER_AGENTS)}, not {user_agent!r}")
    return OfferFields(
        offer_name=name,
        final_url=None if url is None else tracking_url(url, allow_private=allow_private),
        target_country=filled_text_in(fields, "target_country", COUNTRY_CHARACTERS_MAX),
        is_active=_truth_in(fields, "is_active"),
        deadline_s=_deadline_in(fields, "deadline_s"),
        user_agent=user_agent,
        notes=text_in(fields, "notes", NOTES_CHARACTERS_MAX),
        landing_schemes=_schemes_in(fields, "landing_schemes"),
    )


def read_offers(text: str, *, allow_private: bool) -> Import[OfferFields]:
    """The offers of a file. Raises BadInput where it cannot be read at all."""
    return import_rows(text, COLUMNS, REQUIRED, lambda fields: offer_fields(fields, allow_private=allow_private))


def _truth_in(fields: Mapping[str, object], column: str) -> bool | None:
    if isinstance(value := fields.get(column), bool):
        return value
    word = (text_in(fields, column, NUMBER_CHARACTERS_MAX) or "").lower()
    if word and word not in YES + NO:
        raise BadInput(f"{column} must be true or false, not {word!r}")
    return word in YES if word else None


def _schemes_in(fields: Mapping[str, object], column: str) -> tuple[str, ...] | None:
    """In lower case, each once: a list, or a text with blanks or commas between them (blank: not given)."""
    value = fields.get(column)
    if isinstance(value, Sequence) and not isinstance(value, str):
        given = list(value)
    elif text := text_in(fields, column, NOTES_CHARACTERS_MAX):
        given = text.replace(",", " ").split()
    else:
        return None
    schemes = []
    for scheme in given:
        if not isinstance(scheme, str) or not SCHEME.fullmatch(scheme.lower()):
            raise BadInput(
                f"{column}: {str(scheme)[:SCHEMES_MAX]!r} is no scheme such as market or intent, without ://"
            )
        if scheme.lower() in RUNNING_SCHEMES:
            raise BadInput(f"{column}: {scheme!r} runs in the visitor's browser or reads their files: never allowed")
        schemes.append(scheme.lower())
    if len(schemes) > SCHEMES_MAX:
        raise BadInput(f"{column} holds {len(schemes)} schemes; at most {SCHEMES_MAX} are allowed")
    return tuple(dict.fromkeys(schemes))


def _deadline_in(fields: Mapping[str, object], column: str) -> float | None:
    value = fields.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = text_in(fields, column, NUMBER_CHARACTERS_MAX)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
    if not DEADLINE_MIN_S <= value <= DEADLINE_MAX_S:
        raise BadInput(f"{column} must be {DEADLINE_MIN_S:g} to {DEADLINE_MAX_S:g} seconds, not {fields[column]!r}")
    return float(value)
