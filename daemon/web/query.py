"""Queries: that of a click, as an offer and its parameters; that of a landing URL; parameters set on a URL.

Pure. A query that cannot be a click is a value (Refused), never an exception. No parameter can choose a URL's host:
parameters are only put behind the "?" and before the "#".
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from daemon.web.urls import decoded, header_safe, safe_piece, safe_query

PARAMS_MAX = 1_000
"""The most parameters one query may hold, counted by the "&" between them."""

OFFER = "offer"

# U+0000 is valid in a URL and in JSON, but PostgreSQL's text and jsonb refuse it; a lone surrogate is no UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Param(msgspec.Struct, frozen=True):
    """One parameter: `name` and `value` decoded, `raw` as the piece of the query it stood in ("gclid=a+b", "gclid")."""

    name: str
    value: str
    raw: str


class Inbound(msgspec.Struct, frozen=True):
    """A click: the offer's name, decoded, not empty; every other parameter in the order it came, repeated ones kept."""

    offer: str
    params: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A click that is answered with an HTTP status and `{"error": error}`."""

    status: int
    error: str


def parse_click(query: bytes) -> Inbound | Refused:
    """The click in a raw query string (what stands between "?" and the end of the request target, undecoded).

    By WHATWG's application/x-www-form-urlencoded rules. Names compare decoded, so `%6Fffer=x` names the offer too.
    """
    if query.count(b"&") >= PARAMS_MAX:
        return Refused(400, f"at most {PARAMS_MAX} parameters are accepted")
    offers: list[str] = []
    params: list[Param] = []
    for param in params_of(safe_query(query)):
        if param.name == OFFER:
            offers.append(param.value)
        else:
            params.append(param)
    if len(offers) > 1:
        return Refused(400, "offer parameter must be given once")
    if not offers or not offers[0]:
        return Refused(400, "offer parameter is required")
    return Inbound(offers[0], tuple(params))


def params_of(query: str) -> list[Param]:
    """The first PARAMS_MAX parameters of a query that is ASCII already (`safe_query`); empty pieces are none."""
    params = []
    for piece in islice(query.split("&"), PARAMS_MAX):
        if piece:
            name, _, value = piece.partition("=")
            params.append(Param(decoded(name), decoded(value), piece))
    return params


def storable(text: str) -> str:
    """The text as PostgreSQL can hold it: U+0000 and lone surrogates become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def as_mapping(params: Iterable[Param]) -> dict[str, str | list[str]]:
    """Parameters for a jsonb column, storable, repeated names as lists: `{"gclid": "a", "tag": ["x", "y"]}`."""
    mapping: dict[str, str | list[str]] = {}
    for param in params:
        name, value = storable(param.name), storable(param.value)
        before = mapping.get(name)
        if before is None:
            mapping[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            mapping[name] = [before, value]
    return mapping


def extracted_params(url: str) -> dict[str, str | list[str]]:
    """The parameters of a landing URL for a jsonb column, repeated names as lists; the first PARAMS_MAX of them."""
    return as_mapping(params_of(_parted(header_safe(url))[1]))


def with_params(url: str, params: Sequence[Param]) -> str:
    """The URL with each parameter set on its query, ready for a Location header: printable ASCII without spaces.

    As URLSearchParams.set does it, but byte for byte elsewhere: the first parameter of the same decoded name is
    replaced where it stands and further ones of that name go; a new name is appended. Values given more than once for
    a name stand together, in order. The fragment stays last. Setting the same parameters twice changes nothing.
    Never raises, whatever the scheme.
    """
    url = header_safe(url)
    if not params:
        return url
    arriving: dict[str, list[str]] = {}
    for param in params:
        arriving.setdefault(param.name, []).append(safe_piece(param.raw))
    front, query, fragment = _parted(url)

    pieces: list[str] = []
    placed: set[str] = set()
    for piece in query.split("&"):
        name = decoded(piece.partition("=")[0])
        if not piece or name not in arriving:
            pieces.append(piece)
        elif name not in placed:
            placed.add(name)
            pieces.extend(arriving[name])

    # An empty last piece is an empty query or a trailing "&": what is appended takes its place, so that no "&" doubles.
    if pieces and not pieces[-1] and len(placed) < len(arriving):
        pieces.pop()
    for name, raws in arriving.items():
        if name not in placed:
            pieces.extend(raws)
    return f"{front}?{'&'.join(pieces)}{fragment}"


def _parted(url: str) -> tuple[str, str, str]:
    """(before the "?", the query without its "?", the fragment with its "#" or nothing)."""
    rest, mark, fragment = url.partition("#")
    front, _, query = rest.partition("?")
    return front, query, mark + fragment
