"""Offers that an operator adds or changes, as rows of `offers`: from a file or the command line. Pure."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from daemon.click import offer_values as values
from daemon.click.macros import tracking_url
from daemon.database.records import Import, filled_text_in, import_rows, text_in
from daemon.errors import BadInput
from daemon.trace.addresses import refused_host

T = TypeVar("T")

COLUMNS = (
    *("offer_name", "final_url", "target_country", "is_active", "deadline_s", "user_agent", "notes"),
    *("landing_schemes", "stop_at", "param_filter", "rename", "tracking_urls", "trace_backend"),
)
REQUIRED = ("offer_name", "final_url")
NAME_CHARACTERS_MAX = 255
URL_CHARACTERS_MAX = 8_192
COUNTRY_CHARACTERS_MAX = 64
NOTES_CHARACTERS_MAX = 1_000
NUMBER_CHARACTERS_MAX = 32
LIST_CHARACTERS_MAX = 100_000
YES, NO = ("true", "t", "yes", "1"), ("false", "f", "no", "0")

_SHARE = re.compile(r"([^:/]*):(https?:.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class OfferFields:
    """Checked values of an offer; None is "not given": the default for a new offer, unchanged for one that exists.

    `param_filter`, `rename` and `tracking_urls` are JSON; these, and `stop_at`, are empty where they are taken back.
    """

    offer_name: str
    final_url: str | None = None
    target_country: str | None = None
    is_active: bool | None = None
    deadline_s: float | None = None
    user_agent: str | None = None
    notes: str | None = None
    landing_schemes: tuple[str, ...] | None = None
    stop_at: tuple[str, ...] | None = None
    param_filter: str | None = None
    rename: str | None = None
    tracking_urls: str | None = None
    trace_backend: str | None = None


def offer_fields(fields: Mapping[str, object], *, allow_private: bool) -> OfferFields:
    """Raises BadInput that says which column is wrong and why."""
    name = filled_text_in(fields, "offer_name", NAME_CHARACTERS_MAX)
    if name is None:
        raise BadInput("offer_name is missing")
    url = filled_text_in(fields, "final_url", URL_CHARACTERS_MAX)
    return OfferFields(
        offer_name=name,
        final_url=None if url is None else tracking_url(url, allow_private=allow_private),
        target_country=filled_text_in(fields, "target_country", COUNTRY_CHARACTERS_MAX),
        is_active=_truth_in(fields, "is_active"),
        deadline_s=_deadline_in(fields, "deadline_s"),
        user_agent=_word_in(fields, "user_agent", values.user_agent_in),
        notes=text_in(fields, "notes", NOTES_CHARACTERS_MAX),
        landing_schemes=_each_in(fields, "landing_schemes", values.scheme_in, "schemes", values.SCHEMES_MAX),
        stop_at=_each_in(fields, "stop_at", lambda host: _host_in(host, allow_private), "hosts", values.HOSTS_MAX),
        param_filter=_param_filter_in(fields, "param_filter"),
        rename=_rename_in(fields, "rename"),
        tracking_urls=_tracking_urls_in(fields, "tracking_urls", allow_private),
        trace_backend=_word_in(fields, "trace_backend", values.backend_in),
    )


def new_offer(fields: Mapping[str, object], *, allow_private: bool) -> OfferFields:
    """As `offer_fields`, for one to be added: without a final_url it has the first of its tracking_urls."""
    offer = offer_fields(fields, allow_private=allow_private)
    if offer.final_url is not None:
        return offer
    if not offer.tracking_urls:
        raise BadInput("final_url is missing: say where its chain starts, there or in tracking_urls")
    return offer_fields({**fields, "final_url": urls_of(offer)[0]}, allow_private=allow_private)


def urls_of(offer: OfferFields) -> list[str]:
    """Those that share its clicks."""
    return [share["url"] for share in json.loads(offer.tracking_urls or "[]")]


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


def _word_in(fields: Mapping[str, object], column: str, read: Callable[[object], str]) -> str | None:
    word = text_in(fields, column, COUNTRY_CHARACTERS_MAX)
    return read(word) if word else None


def _deadline_in(fields: Mapping[str, object], column: str) -> float | None:
    value = fields.get(column)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return values.deadline_in(value)
    text = text_in(fields, column, NUMBER_CHARACTERS_MAX)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return values.deadline_in(text if math.isnan(number) else number)


def _each_in(
    fields: Mapping[str, object], column: str, read: Callable[[object], T], what: str, most: int
) -> tuple[T, ...] | None:
    """Each once: a list, or a text with blanks or commas between them (blank: not given)."""
    given = _words_or_json(fields, column)
    if isinstance(given, str):
        given = given.replace(",", " ").split()
    if given is None:
        return None
    found = tuple(dict.fromkeys(map(read, values.list_in(given))))
    if len(found) > most:
        raise BadInput(f"{column} holds {len(found)} {what}; at most {most} are allowed")
    return found


def _host_in(value: object, allow_private: bool) -> str:
    """One that names no host of the public internet can only be a slip, such as com: it would cover all below it."""
    host = values.host_in(value)
    if not allow_private and (why := refused_host(f"http://{host}/")) is not None:
        raise BadInput(f"stop_at: {why}; a chain cannot lead there, unless private hosts are allowed")
    return host


def _param_filter_in(fields: Mapping[str, object], column: str) -> str | None:
    """An object, or words: `keep gclid wbraid`, `drop fbclid`."""
    given = _words_or_json(fields, column)
    if isinstance(given, str):
        does, *names = given.replace(",", " ").split()
        given = {does.removesuffix(":"): names}
    if given is None:
        return None
    chosen = values.param_filter_in(given)
    return "" if chosen is None else _json({chosen.does: chosen.names})


def _rename_in(fields: Mapping[str, object], column: str) -> str | None:
    """An object, or words: `gclid=sub1 wbraid=sub2`."""
    given = _words_or_json(fields, column)
    if isinstance(given, str):
        given = given.replace(",", " ").split()
    if isinstance(given, list | tuple):
        pairs = [str(pair).partition("=") for pair in given]
        for (old, equals, _), pair in zip(pairs, given, strict=True):
            if not equals:
                raise BadInput(f"{column}: {pair!r} must read FROM=TO, such as gclid=sub1")
            if [other for other, _, _ in pairs].count(old) > 1:
                raise BadInput(f"{column}: {old!r} is given twice")
        given = {old: new for old, _, new in pairs}
    if given is None:
        return None
    renamed = values.rename_in(given)
    return _json(renamed) if renamed else ""


def _tracking_urls_in(fields: Mapping[str, object], column: str, allow_private: bool) -> str | None:
    """A list of objects or of words, or words: `3:https://ads.example/a https://ads.example/b`."""
    given = _words_or_json(fields, column)
    if isinstance(given, str):
        given = given.split()
    if given is None:
        return None
    shares = [values.share_in(_share_of(item) if isinstance(item, str) else item) for item in values.list_in(given)]
    if len(shares) > values.URLS_MAX:
        raise BadInput(f"{column} holds {len(shares)} URLs; at most {values.URLS_MAX} are allowed")
    stored = []
    for share in shares:
        url = filled_text_in({column: share.url}, column, URL_CHARACTERS_MAX) or ""
        weight = int(share.weight) if share.weight.is_integer() else share.weight
        stored.append({"url": tracking_url(url, allow_private=allow_private), "weight": weight})
    return _json(stored) if stored else ""


def _share_of(word: str) -> dict[str, object]:
    """`[WEIGHT:]URL`."""
    weighted = _SHARE.fullmatch(word.strip())
    if weighted is None:
        return {"url": word}
    text, url = weighted.groups()
    try:
        return {"url": url, "weight": float(text)}
    except ValueError:
        return {"url": url, "weight": text}


def _words_or_json(fields: Mapping[str, object], column: str) -> object:
    """What JSON lines have, as it is; a text that is JSON, read; other text; None for none and for a blank one."""
    value = fields.get(column)
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
        return value
    text = text_in(fields, column, LIST_CHARACTERS_MAX)
    if not text:
        return None
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise BadInput(f"{column} is no JSON: {e}") from None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
