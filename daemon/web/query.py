"""Queries: parse a click's query and a landing URL's query, and set parameters on a URL. Pure.

A query that is no valid click gives a value (RefusedClick), never an exception. No parameter can choose a URL's host:
parameters are put only between the "?" and the "#".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from daemon.storable import storable
from daemon.web.urls import decoded, header_safe, safe_piece, safe_query

PARAMS_MAX = 1_000
"""A query may hold this many parameters, counted by the "&" between them."""

OFFER = "offer"


class Param(msgspec.Struct, frozen=True):
    """One parameter: `name` and `value` decoded; `raw` is its piece of the query ("gclid=a+b", "gclid")."""

    name: str
    value: str
    raw: str


class Inbound(msgspec.Struct, frozen=True):
    """A click: the offer's name, decoded and not empty, and all other parameters in order, with repeated ones."""

    offer: str
    params: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class RefusedClick:
    """A query that is no valid click. The answer is the HTTP status and `{"error": error}`."""

    status: int
    error: str


def parse_click(query: bytes) -> Inbound | RefusedClick:
    """The click in a raw query string: the part of the request target after the "?", undecoded.

    Parsed as application/x-www-form-urlencoded (WHATWG URL). Names compare decoded: `%6Fffer=x` names the offer too. In
    a query without `offer`, a parameter counts whose name differs in case or by blanks around it.
    """
    if query.count(b"&") >= PARAMS_MAX:
        return RefusedClick(400, f"at most {PARAMS_MAX} parameters are accepted")
    offers: list[str] = []
    params: list[Param] = []
    for param in params_of(safe_query(query)):
        if param.name == OFFER:
            offers.append(param.value)
        else:
            params.append(param)
    if not offers:
        offers = [param.value for param in params if _is_offer(param)]
        params = [param for param in params if not _is_offer(param)]
    if len(set(offers)) > 1:
        return RefusedClick(400, "offer parameter must name one offer")
    if not offers or not offers[0]:
        return RefusedClick(400, "offer parameter is required")
    return Inbound(offers[0], tuple(params))


def read_leniently(query: bytes) -> Inbound:
    """The first offer's name, which may be empty, and the first parameters of a query that is no valid click."""
    params = params_of(safe_query(query))
    names = [param.value for param in params if _is_offer(param)]
    return Inbound(names[0] if names else "", tuple(param for param in params if not _is_offer(param)))


def _is_offer(param: Param) -> bool:
    return param.name.strip().lower() == OFFER


def params_of(query: str) -> list[Param]:
    """The first PARAMS_MAX parameters of an ASCII query (see `safe_query`). Empty pieces are skipped."""
    params = []
    for piece in islice(query.split("&"), PARAMS_MAX):
        if piece:
            name, _, value = piece.partition("=")
            params.append(Param(decoded(name), decoded(value), piece))
    return params


def as_mapping(params: Iterable[Param]) -> dict[str, str | list[str]]:
    """Parameters for a jsonb column, with lists for repeated names: `{"gclid": "a", "tag": ["x", "y"]}`."""
    values: dict[str, list[str]] = {}
    for param in params:
        values.setdefault(storable(param.name), []).append(storable(param.value))
    return {name: found if len(found) > 1 else found[0] for name, found in values.items()}


def extracted_params(url: str) -> dict[str, str | list[str]]:
    """The first PARAMS_MAX parameters of a landing URL, as `as_mapping` gives them."""
    return as_mapping(params_of(_parted(header_safe(url))[1]))


def with_params(url: str, params: Sequence[Param]) -> str:
    """The URL with each parameter set on its query, ready for a Location header: printable ASCII without spaces.

    As URLSearchParams.set, with everything else byte for byte: the first parameter of the same decoded name is replaced
    in its place, further ones of that name are removed, and a new name is appended. Several values of one name stand
    together, in order. Idempotent. Never raises, for any scheme.
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

    # An empty last piece comes from an empty query or a trailing "&". Appended pieces replace it, so no "&" doubles.
    if pieces and not pieces[-1] and len(placed) < len(arriving):
        pieces.pop()
    for name, raws in arriving.items():
        if name not in placed:
            pieces.extend(raws)
    return f"{front}?{'&'.join(pieces)}{fragment}"


def _parted(url: str) -> tuple[str, str, str]:
    """(the part before the "?", the query without its "?", the fragment with its "#" or "")."""
    rest, mark, fragment = url.partition("#")
    front, _, query = rest.partition("?")
    return front, query, mark + fragment
