"""Checks of the values that the columns of `offers` hold. Pure.

A bad value raises BadInput with the reason. The commands and the API refuse such a value; the offers that serve clicks
ignore it with a complaint. The CHECK constraints of migrations/0002 hold the same rules as far as SQL can.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, cast, get_args

from ada_url import URL

from daemon.countries import canonical
from daemon.errors import BadInput
from daemon.offers.macros import macro_url
from daemon.web.urls import quoted

UserAgent = Literal["default", "visitor"]
"""The User-Agent that a trace sends; default: the setting trace.user_agent."""
Backend = Literal["default", "local", "service"]
"""Which backend traces; default: the setting trace.backend."""
OwnTracer = Literal["http", "auto", "browser"]
Tracer = Literal["default", OwnTracer]
"""How it is traced; default: the setting trace.tracer."""
Mode = Literal["wait", "background"]
"""Whether a visitor waits for the trace, or is answered at once."""
FilterKind = Literal["keep", "drop"]

DEADLINE_MIN_S, DEADLINE_MAX_S = 1.0, 60.0
HOSTS_MAX = 20
SCHEMES_MAX = 20
NAMES_MAX = 100
NAME_CHARACTERS_MAX = 255
URLS_MAX = 50
COUNTRIES_MAX = 250
COUNTRY_CHARACTERS_MAX = 64
WEIGHT_MAX = 1_000_000
# Never allowed as a landing scheme: a redirect must neither run nor show content that a chain's server wrote.
RUNNING_SCHEMES = frozenset({"javascript", "vbscript", "data", "blob", "file", "about", "view-source"})

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,63}")  # RFC 3986, 3.1
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^\s/\\?#@:%*\[\]{}]+")
_UNSTORABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class StoredShare:
    """A tracking URL and its weight among the others."""

    url: str
    weight: float = 1


def list_in(value: object) -> list[object]:
    if not isinstance(value, list | tuple):
        raise BadInput(f"{quoted(value)} is no list")
    return list(value)


def deadline_in(value: object) -> float:
    """`deadline_s`."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not DEADLINE_MIN_S <= number <= DEADLINE_MAX_S:
        raise BadInput(f"deadline_s must be {DEADLINE_MIN_S:g} to {DEADLINE_MAX_S:g} seconds, not {quoted(value)}")
    return float(number)


def fallback_url_in(value: object) -> str:
    """`fallback_url`, as given."""
    if not isinstance(value, str):
        raise BadInput(f"fallback_url must be text, not {quoted(value)}")
    macro_url(value)
    return value


def click_id_in(value: object) -> str:
    """An item of `click_ids`, in lower case."""
    return _name("click_ids", value).lower()


def paused_to_in(value: object) -> str:
    """`paused_to`: an offer's name."""
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS_MAX or _UNSTORABLE.search(value):
        raise BadInput(f"paused_to: {quoted(value)} is no offer's name: text of 1 to {NAME_CHARACTERS_MAX} characters")
    return value


def no_offer(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """The sentence on a name that no offer has, with the most similar one of `names`, else with `otherwise`."""
    folded = {one.casefold(): one for one in names}
    close = get_close_matches(name.casefold(), folded, 1)
    return f"no offer is called {name!r}" + (f": did you mean {folded[close[0]]!r}?" if close else otherwise)


def one_of(column: str, words: Any) -> Callable[[object], str]:
    """Return a check of a column that holds a word of the Literal `words`."""
    *others, last = get_args(words)

    def read(value: object) -> str:
        if value not in (*others, last):
            raise BadInput(f"{column} must be {', '.join(others)} or {last}, not {quoted(value)}")
        return str(value)

    return read


def country_item_in(value: object) -> str:
    """An item of `countries` in a row: the key of a pool, which need not be a country of ISO 3166."""
    if not isinstance(value, str) or not 0 < len(value.strip()) <= COUNTRY_CHARACTERS_MAX or _UNSTORABLE.search(value):
        raise BadInput(f"countries: {quoted(value)} is no country's code, such as us or de")
    return canonical(value)


def country_param_in(value: object) -> str:
    """`country_param`: a parameter's name."""
    return _name("country_param", value)


def country_urls_in(value: object) -> dict[str, list[object]]:
    """`country_urls`: an object from countries' keys to lists of items as in `tracking_urls`, which are not checked."""
    if not isinstance(value, Mapping):
        raise BadInput(
            f'country_urls must be an object such as {{"de": [{{"url": "https://…"}}]}}, not {quoted(value)}'
        )
    if len(value) > COUNTRIES_MAX:
        raise BadInput(f"country_urls holds {len(value)} countries; at most {COUNTRIES_MAX} are allowed")
    return {canonical(str(country)): list_in(items) for country, items in value.items()}


user_agent_in = one_of("user_agent", UserAgent)
backend_in = one_of("trace_backend", Backend)
tracer_in = one_of("tracer", Tracer)
mode_in = one_of("mode", Mode)


def own_backend_in(value: object) -> str | None:
    """`trace_backend` of an offer; None for default."""
    return None if backend_in(value) == "default" else str(value)


def own_tracer_in(value: object) -> OwnTracer | None:
    """`tracer` of an offer; None for default."""
    return None if tracer_in(value) == "default" else cast("OwnTracer", value)


def scheme_in(value: object) -> str:
    """An item of `landing_schemes`, in lower case."""
    if not isinstance(value, str) or not _SCHEME.fullmatch(value.lower()):
        raise BadInput(f"landing_schemes: {quoted(str(value))} is no scheme such as market or intent, without ://")
    if value.lower() in RUNNING_SCHEMES:
        raise BadInput(f"landing_schemes: {value!r} runs in the visitor's browser or reads their files: never allowed")
    return value.lower()


def host_in(value: object) -> str:
    """An item of `stop_at`, normalized as a browser does (WHATWG host parser)."""
    text = value.strip().removesuffix(".") if isinstance(value, str) else ""
    try:
        if text.startswith(".") or not _HOST.fullmatch(text):
            raise ValueError
        return URL(f"http://{text}/").hostname
    except ValueError:
        raise BadInput(
            f"stop_at: {quoted(value)} is no host such as shop.example, without scheme, port or path; it covers the"
            " hosts below it"
        ) from None


def param_filter_in(value: object) -> dict[str, tuple[str, ...]]:
    """`param_filter`: {"keep": [names]}, {"drop": [names]} or an empty object."""
    if isinstance(value, Mapping) and len(value) <= 1 and value.keys() <= set(get_args(FilterKind)):
        return {kind: _names("param_filter", names) for kind, names in value.items()}
    raise BadInput(f'param_filter must be {{"keep": [names]}} or {{"drop": [names]}}, not {quoted(value)}')


def rename_in(value: object) -> dict[str, str]:
    """`rename`: an object from inbound names to new names."""
    if not isinstance(value, Mapping):
        raise BadInput(f'rename must be an object such as {{"gclid": "sub1"}}, not {quoted(value)}')
    if len(value) > NAMES_MAX:
        raise BadInput(f"rename holds {len(value)} names; at most {NAMES_MAX} are allowed")
    return {_name("rename", old): _name("rename", new) for old, new in value.items()}


def share_in(value: object, column: str = "tracking_urls") -> StoredShare:
    """An item of `tracking_urls`. The weight is 1 by default; the URL stays as given."""
    if not isinstance(value, Mapping) or not {"url"} <= value.keys() <= {"url", "weight"}:
        raise BadInput(
            f'{column} must hold objects such as {{"url": "https://ads.example/click", "weight": 3}}, not '
            + quoted(value)
        )
    url, weight = value["url"], value.get("weight", 1)
    if not isinstance(url, str):
        raise BadInput(f"{column}: url must be text, not {quoted(url)}")
    macro_url(url)
    number = weight if isinstance(weight, int | float) and not isinstance(weight, bool) else math.nan
    if not 0 < number <= WEIGHT_MAX:
        raise BadInput(
            f"{column}: a weight must be a number above 0, up to {WEIGHT_MAX}, not {quoted(weight)};"
            " to give a URL no clicks, leave it out"
        )
    return StoredShare(url, float(number))


def _names(column: str, value: object) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_name(column, item) for item in list_in(value)))
    if len(names) > NAMES_MAX:
        raise BadInput(f"{column} holds {len(names)} names; at most {NAMES_MAX} are allowed")
    return names


def _name(column: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS_MAX or _UNSTORABLE.search(value):
        raise BadInput(
            f"{column}: {quoted(value)} is no parameter's name: text of 1 to {NAME_CHARACTERS_MAX} characters"
        )
    return value
