"""Readers of the columns of `offers` as operators give them: in a file, on the command line or in a request. Pure.

A reader returns the value that the column holds; a JSON column holds JSON text. An empty JSON text or an empty
`stop_at` clears the column. A reader raises BadInput, which names the column and the fault.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from daemon.countries import canonical, country_in, country_of, is_country
from daemon.database.records import filled_text_in, text_in
from daemon.errors import BadInput
from daemon.offers import values
from daemon.offers.macros import tracking_url
from daemon.web.addresses import refused_host
from daemon.web.urls import quoted

WORD_CHARACTERS_MAX = 64
URL_CHARACTERS_MAX = 8_192
NUMBER_CHARACTERS_MAX = 32
LIST_CHARACTERS_MAX = 100_000
YES, NO = ("true", "t", "yes", "1"), ("false", "f", "no", "0")

_SHARE = re.compile(r"([^:/]*):(https?:.*)", re.IGNORECASE | re.DOTALL)
_COUNTRY_SHARE = re.compile(r"([^:/]*):(.*)", re.DOTALL)

Reader = Callable[[Mapping[str, object], str, bool], Any]
"""(all given values, the column, whether private hosts are allowed) → the column's value; None: not given."""


def text(characters_max: int, *, blank: bool = False) -> Reader:
    read = text_in if blank else filled_text_in
    return lambda fields, column, _: read(fields, column, characters_max)


def word(read: Callable[[object], str]) -> Reader:
    """A text that `read` accepts. A blank text counts as not given."""
    return lambda fields, column, _: read(given) if (given := text_in(fields, column, WORD_CHARACTERS_MAX)) else None


def url(fields: Mapping[str, object], column: str, allow_private: bool) -> str | None:
    given = filled_text_in(fields, column, URL_CHARACTERS_MAX)
    return None if given is None else tracking_url(given, allow_private=allow_private)


def url_or_blank(fields: Mapping[str, object], column: str, allow_private: bool) -> str | None:
    """As `url`. A blank text clears the column."""
    return text_in(fields, column, URL_CHARACTERS_MAX) and url(fields, column, allow_private)


def other_offer(fields: Mapping[str, object], column: str, _: bool) -> str | None:
    """The name of another offer. A blank text clears the column."""
    given = text_in(fields, column, values.NAME_CHARACTERS_MAX)
    if given and given == (text_in(fields, "offer_name", values.NAME_CHARACTERS_MAX) or ""):
        raise BadInput(f"{column}: an offer cannot take its own clicks while it is paused: name another one")
    return values.paused_to_in(given) if given else given


def truth(fields: Mapping[str, object], column: str, _: bool) -> bool | None:
    if isinstance(value := fields.get(column), bool):
        return value
    if value is not None and not isinstance(value, str):
        raise BadInput(f"{column} must be true or false, not {value!r}")
    given = (text_in(fields, column, NUMBER_CHARACTERS_MAX) or "").lower()
    if given and given not in YES + NO:
        raise BadInput(f"{column} must be true or false, not {given!r}")
    return given in YES if given else None


def deadline(fields: Mapping[str, object], column: str, _: bool) -> float | None:
    value = fields.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = text_in(fields, column, NUMBER_CHARACTERS_MAX)
        if not value:
            return None
        with suppress(ValueError):  # `deadline_in` refuses a text that is no number
            value = float(value)
    return values.deadline_in(value)


def items(read: Callable[[object, bool], str], noun: str, items_max: int) -> Reader:
    """A list, or a text with blanks or commas between the items, without duplicates. Blank counts as not given."""

    def read_items(fields: Mapping[str, object], column: str, allow_private: bool) -> tuple[str, ...] | None:
        given = _words_or_json(fields, column, _words)
        if given is None:
            return None
        found = tuple(dict.fromkeys(read(item, allow_private) for item in values.list_in(given)))
        if len(found) > items_max:
            raise BadInput(f"{column} holds {len(found)} {noun}; at most {items_max} are allowed")
        return found

    return read_items


def _public_host_in(value: object, allow_private: bool) -> str:
    """A host that is not public is refused as a mistake: `com`, for example, would cover every host below it."""
    host = values.host_in(value)
    if not allow_private and (why := refused_host(f"http://{host}/")) is not None:
        raise BadInput(f"stop_at: {why}; a chain cannot lead there, unless private hosts are allowed")
    return host


schemes = items(lambda value, _: values.scheme_in(value), "schemes", values.SCHEMES_MAX)
click_ids = items(lambda value, _: values.click_id_in(value), "names", values.NAMES_MAX)
hosts = items(_public_host_in, "hosts", values.HOSTS_MAX)


def country(fields: Mapping[str, object], column: str, _: bool) -> str | None:
    """The key of a country. A code that SQL can compare keeps its spelling."""
    given = filled_text_in(fields, column, values.COUNTRY_CHARACTERS_MAX)
    if given is None or is_country(canonical(given)):
        return given
    return country_in(given, column)


def countries(fields: Mapping[str, object], column: str, _: bool) -> tuple[str, ...] | None:
    """A list, or a text with blanks or commas between codes and names; the keys, without duplicates."""
    given = _words_or_json(fields, column, _country_words)
    if given is None:
        return None
    named = [name for item in values.list_in(given) for name in _country_words(str(item)) or [""]]
    found = tuple(dict.fromkeys(country_in(name, column) for name in named))
    if len(found) > values.COUNTRIES_MAX:
        raise BadInput(f"{column} holds {len(found)} countries; at most {values.COUNTRIES_MAX} are allowed")
    return found


def _country_words(text: str) -> list[str]:
    """`us, Hong Kong`, `us de`: commas divide names that have blanks."""
    parts = [text.strip()] if country_of(text) else [part.strip() for part in text.split(",")]
    return [word for part in parts for word in ([part] if country_of(part) else part.split())]


def country_param(fields: Mapping[str, object], column: str, _: bool) -> str | None:
    """The name of a parameter. A blank text clears the column."""
    given = text_in(fields, column, values.NAME_CHARACTERS_MAX)
    return values.country_param_in(given) if given else given


def country_urls(fields: Mapping[str, object], column: str, allow_private: bool) -> str | None:
    """An object from countries to lists as in `tracking_urls`, or words: `de:https://ads.example/de`."""
    given = _words_or_json(fields, column, str.split)
    if given is None:
        return None
    stored: dict[str, list[object]] = {}
    for key, items in _by_country(given, column).items():
        stored.setdefault(country_in(key, column), []).extend(_shares(items, column, allow_private))
    return _json({key: shares for key, shares in stored.items() if shares})


def _by_country(given: object, column: str) -> Mapping[str, object]:
    """An object as it is; words by their country."""
    if isinstance(given, Mapping):
        return {str(key): [items] if isinstance(items, str) else items for key, items in given.items()}
    found: dict[str, list[object]] = {}
    for word in values.list_in(given):
        parts = _COUNTRY_SHARE.fullmatch(str(word).strip())
        if parts is None or parts[1].lower() in ("", "http", "https"):
            raise BadInput(
                f"{column}: {quoted(word)} must read COUNTRY:URL or COUNTRY:WEIGHT:URL, such as de:https://…"
            )
        found.setdefault(parts[1], []).append(parts[2])
    return found


def param_filter(fields: Mapping[str, object], column: str, _: bool) -> str | None:
    """An object, or words: `keep gclid wbraid`, `drop fbclid`."""
    given = _words_or_json(fields, column, _filter_words)
    return None if given is None else _json(values.param_filter_in(given))


def rename(fields: Mapping[str, object], column: str, _: bool) -> str | None:
    """An object, or words: `gclid=sub1 wbraid=sub2`."""
    given = _words_or_json(fields, column, _words)
    if given is None:
        return None
    if isinstance(given, list | tuple):
        renamed: dict[str, str] = {}
        for pair in given:
            old, equals, new = str(pair).partition("=")
            if not equals:
                raise BadInput(f"{column}: {pair!r} must read FROM=TO, such as gclid=sub1")
            if old in renamed:
                raise BadInput(f"{column}: {old!r} is given twice")
            renamed[old] = new
        given = renamed
    return _json(values.rename_in(given))


def tracking_urls(fields: Mapping[str, object], column: str, allow_private: bool) -> str | None:
    """A list of objects or of words, or words: `3:https://ads.example/a https://ads.example/b`."""
    given = _words_or_json(fields, column, str.split)
    return None if given is None else _json(_shares(given, column, allow_private))


def _shares(given: object, column: str, allow_private: bool) -> list[dict[str, object]]:
    """The items of a list, as the column holds them."""
    shares = [
        values.share_in(_share_of(item) if isinstance(item, str) else item, column) for item in values.list_in(given)
    ]
    if len(shares) > values.URLS_MAX:
        raise BadInput(f"{column} holds {len(shares)} URLs; at most {values.URLS_MAX} are allowed")
    stored: list[dict[str, object]] = []
    for share in shares:
        weight = int(share.weight) if share.weight.is_integer() else share.weight
        stored.append({"url": url({column: share.url}, column, allow_private), "weight": weight})
    return stored


def _share_of(word: str) -> dict[str, object]:
    """`[WEIGHT:]URL`."""
    weighted = _SHARE.fullmatch(word.strip())
    if weighted is None:
        return {"url": word}
    weight, address = weighted.groups()
    try:
        return {"url": address, "weight": float(weight)}
    except ValueError:
        return {"url": address, "weight": weight}


def _filter_words(given: str) -> dict[str, list[str]]:
    kind, *names = _words(given) or [""]
    return {kind.removesuffix(":"): names}


def _words(given: str) -> list[str]:
    return given.replace(",", " ").split()


def _words_or_json(fields: Mapping[str, object], column: str, split: Callable[[str], object]) -> object:
    """A list or an object as it is, JSON text parsed, other text split. None for a blank text, or if nothing is given.

    JSON lines give lists and objects; CSV files and the command line give text.
    """
    value = fields.get(column)
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
        return value
    given = text_in(fields, column, LIST_CHARACTERS_MAX)
    if not given:
        return None
    if not given.startswith(("{", "[")):
        return split(given)
    try:
        return json.loads(given)
    except (ValueError, RecursionError) as e:
        raise BadInput(f"{column} is no JSON: {e}") from None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""
