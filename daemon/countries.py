"""Countries: codes of ISO 3166-1, case-insensitive, and the names that operators, providers and networks use. Pure.

The key of a country is its alpha-2 code in lower case, and `uk` for gb. Codes that ISO 3166 does not assign are no
country: XX and ZZ (unknown), T1 (Tor), A1 and A2 (proxies), EU and AP (regions). Rows with such a code still work.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import iso3166

from daemon.errors import BadInput

OTHER_NAMES = {
    "ae": ("uae",),
    "ba": ("bosnia",),
    "bn": ("brunei",),
    "bs": ("the bahamas",),
    "cd": ("dr congo", "drc"),
    "ci": ("ivory coast",),
    "cv": ("cape verde",),
    "cz": ("czech republic",),
    "gb": ("uk", "united kingdom", "great britain", "britain"),
    "gm": ("the gambia",),
    "gr": ("el",),
    "kp": ("north korea",),
    "kr": ("south korea",),
    "la": ("laos",),
    "mk": ("macedonia",),
    "mm": ("burma",),
    "mo": ("macau",),
    "nl": ("the netherlands", "holland"),
    "ru": ("russia",),
    "sy": ("syria",),
    "sz": ("swaziland",),
    "tl": ("east timor",),
    "tr": ("turkey",),
    "us": ("united states",),
    "va": ("vatican", "vatican city"),
    "vg": ("british virgin islands",),
    "vi": ("us virgin islands",),
    "vn": ("vietnam",),
}
"""Names beside those of ISO 3166, in lower case."""

LANGUAGES = {"en": "gb", "ja": "jp", "ko": "kr", "zh": "cn", "da": "dk", "cs": "cz", "sp": "es"}
"""What is written by mistake for a country's code, and its country."""

NO_COUNTRY = frozenset({"xx", "zz", "t1", "a1", "a2", "o1", "eu", "ap"})
"""Codes of networks for an unknown country, for Tor and proxies, and for regions."""

NEAR_MAX = 2
SHOWN_CHARACTERS_MAX = 40

_TWO_LETTERS, _LETTER_AND_DIGIT = re.compile(r"[a-z]{2}"), re.compile(r"[a-z][0-9]")
_WORDS = re.compile(r"(?:[^\W\d_]|[ .,'’&()-])*")  # `{geo}` is a macro that was not replaced, and not Georgia


def _key(alpha2: str) -> str:
    return "uk" if alpha2 == "gb" else alpha2


def _folded(text: str) -> str:
    """Lower-case ASCII words without accents, dots and apostrophes: `Côte d'Ivoire` becomes `cote divoire`."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return " ".join(re.sub(r"[^a-z0-9]+", " ", re.sub(r"[.']", "", letters)).split())


def _names(country: iso3166.Country) -> Iterator[str]:
    """`Korea, Republic of`, `Republic of Korea`."""
    for name in (country.name, country.apolitical_name):
        yield name
        before, comma, after = name.partition(", ")
        if comma:
            yield f"{after} {before}"


_ALL = {_key(country.alpha2.lower()): country for country in iso3166.countries}
_SHORT = {key: re.split(r", | \(", country.name)[0] for key, country in _ALL.items()}
_SHORT |= {"uk": "United Kingdom", "us": "United States"}
_COUNTRIES_OF_SHORT = Counter(_SHORT.values())
_KEYS: dict[str, str] = {}  # each name in lower case → the key
for _code, _country in _ALL.items():
    _KEYS |= dict.fromkeys((_country.alpha2.lower(), _country.alpha3.lower()), _code)
    _KEYS |= {name.lower(): _code for name in _names(_country)}
for _code, _name in _SHORT.items():
    if _COUNTRIES_OF_SHORT[_name] == 1:
        _KEYS.setdefault(_name.lower(), _code)
for _code, _others in OTHER_NAMES.items():
    _KEYS |= dict.fromkeys(_others, _key(_code))

ALIASES: Mapping[str, str] = {name: key for name, key in _KEYS.items() if name != key and name.isascii()}
"""Names in lower case, and the key of their country. PostgreSQL's lower() changes ASCII letters in each locale."""


def canonical(country: str) -> str:
    """The key of a pool: `' GB '` becomes `uk`. Rows keep their spelling. A text that names no country is a key too."""
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


@cache
def _by_folded_name() -> dict[str, str]:
    return {_folded(name): key for name, key in _KEYS.items()}


def iso_code(country: str) -> str | None:
    """The ISO 3166-1 alpha-2 code in lower case, for providers; None if `country` has no two letters."""
    key = canonical(country)
    key = "gb" if key == "uk" else key
    return key if len(key) == 2 and key.isascii() and key.isalpha() else None


@lru_cache(maxsize=1_024)
def country_of(text: str) -> str | None:
    """The key of the country that a code or an English name means; None if it means none."""
    key = canonical(text)
    if key in _ALL or not _WORDS.fullmatch(text):
        return key if key in _ALL else None
    return _by_folded_name().get(_folded(text))


def is_country(key: str) -> bool:
    return key in _ALL


def name_of(key: str) -> str:
    """The English name, short where it is unambiguous."""
    short = _SHORT[key]
    return short if _COUNTRIES_OF_SHORT[short] == 1 else _ALL[key].name


def country_in(text: str, what: str = "country") -> str:
    """As `country_of`; an operator's own code of two characters stays as it is, because pools may be named so.

    Raises BadInput with the nearest countries for any other text; `what` is the column or option.
    """
    key = country_of(text) or canonical(text)
    if not is_acceptable(key):
        raise BadInput(f"{what}: {no_country(text)}")
    return key


def is_acceptable(key: str) -> bool:
    """Whether commands, imports and the API accept this key of a pool."""
    if is_country(key) or _TWO_LETTERS.fullmatch(key):
        return True
    return _LETTER_AND_DIGIT.fullmatch(key) is not None and key not in NO_COUNTRY


def odd_countries(countries: Iterable[str]) -> list[str]:
    """A warning for each of the texts that is no country, such as a code that `country_in` accepts."""
    odd = dict.fromkeys(key for key in map(canonical, countries) if not is_country(key))
    return [f"the country {no_country(key)} Only offers and IPs with the same text meet" for key in odd]


def no_country(text: str) -> str:
    """The sentence on a text that means no country, with the nearest ones."""
    shown = repr(text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "…")
    near = " or ".join(f"{key} ({name_of(key)})" for key in nearest(text))
    instead = f"did you mean {near}?" if near else "write a code such as de, or a name such as Germany."
    return f"{shown} is no country of ISO 3166: {instead}"


def nearest(text: str) -> list[str]:
    """The keys of the countries with the most similar code or name, the nearest first; at most NEAR_MAX."""
    from difflib import get_close_matches  # only now: its import takes longer than this module's

    folded, by_name = _folded(text), _by_folded_name()
    if folded in NO_COUNTRY:
        return []
    if (meant := LANGUAGES.get(folded)) is not None:
        return [_key(meant)]
    words = folded.split()
    similar = words[:-2:-1] + words[:1]  # a locale, en-GB; a place, US - New York
    similar += [folded[::-1]] if len(folded) == 2 else []
    similar += get_close_matches(folded, by_name, n=NEAR_MAX, cutoff=0.65)
    found = dict.fromkeys(by_name[name] for name in similar if name in by_name)
    return list(found)[:NEAR_MAX]
