"""What entries and rows have of a person, and how it is blanked, for `tracepool forget`. Pure.

A person is known by an address or by a click id. Entries that come later are compared by digests, so that no table has
the value itself. An entry matches a click id if any parameter of its URLs, or any part of their paths, is the id.
Of a click that matches, its figures stay, and of each URL its origin.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import Any, Literal
from urllib.parse import unquote

from daemon.web.privacy import origin_of
from daemon.web.urls import decoded

Kind = Literal["visitor", "click_id"]
DEPTH_MAX = 3  # of URLs in parameters of URLs
CLICK_ID_CHARACTERS_MIN, CHARACTERS_MAX = 4, 2_000
SHOWN_DIGITS = 12
CLOCKS_DIFFER_S = 300.0  # a node's clock, and PostgreSQL's; a click that waits is answered later

URLS = ("location", "tracking_url", "final_url")
PARAMS = ("inbound_params", "extracted_params")
HOPS = "redirect_chain"
GONE = {"visitor_address", "user_agent", "referrer", "click_id", "identity", "error_message"}
_RUN = re.compile(r"[A-Za-z0-9_.~-]+")  # no encoder escapes these
_BETWEEN = re.compile(r"[?&#;]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:")


@dataclass(frozen=True, slots=True)
class Person:
    """`digest`: SHA-256 of kind and value, in hexadecimal. `until_s`: later clicks of a visitor are not about them."""

    kind: Kind
    digest: str
    until_s: float = inf


def person_of(kind: Kind, value: str) -> Person:
    return Person(kind, _digest(kind, value))


def people_of(rows: Iterable[Mapping[str, Any]]) -> list[Person]:
    """From rows of forget_requests. An address may be somebody else's later, a click id is not."""
    return [
        Person(row["kind"], row["digest"], row["at_s"] + CLOCKS_DIFFER_S if row["kind"] == "visitor" else inf)
        for row in rows
    ]


def _digest(kind: Kind, value: str) -> str:
    return sha256(f"{kind}:{value}".encode("utf-8", "replace")).hexdigest()


def is_about(body: Mapping[str, Any], people: Collection[Person]) -> bool:
    """Whether an entry, or a row with the same names, is about one of the people."""
    address = body.get("visitor_address")
    if address and people:
        digest, at_s = _digest("visitor", address), body.get("answered_at", 0)
        if any(person.digest == digest and at_s <= person.until_s for person in people):
            return True
    digests = {person.digest for person in people}
    if all(person.kind != "click_id" for person in people):
        return False
    return any(_digest("click_id", text) in digests for text in click_ids_in(body))


def click_ids_in(body: Mapping[str, Any]) -> set[str]:
    """The texts of an entry that could be a click id: parameters' values and parts of paths."""
    found: set[str] = {body.get("click_id") or ""}
    for name in URLS:
        found.update(_parts(body.get(name) or "", DEPTH_MAX))
    for name in PARAMS:
        for value in (body.get(name) or {}).values():
            for one in value if isinstance(value, list) else [value]:
                found.update(_parts(str(one), DEPTH_MAX))
    for hop in body.get(HOPS) or ():
        found.update(_parts(hop.get("url") or "", DEPTH_MAX))
    return {text for text in found if len(text) >= CLICK_ID_CHARACTERS_MIN}


def _parts(text: str, depth: int) -> Iterator[str]:
    """The text, and where it is a URL or has a query: the values of its parameters and the parts of its path."""
    yield text
    if not depth or not ("=" in text or "/" in text):
        return
    path, *rest = _BETWEEN.split(text)
    for part in path.split("/"):
        yield unquote(part)
        if "=" in part:
            yield unquote(part.partition("=")[2])
    for piece in rest if "/" in path or not path else [path, *rest]:
        name, _, value = piece.partition("=")
        yield decoded(name) if name.isascii() else name
        value = decoded(value) if value.isascii() else unquote(value)
        yield from _parts(value, depth - 1)


def pattern_of(click_id: str) -> str:
    """A LIKE pattern that each row with the click id meets, however the id is encoded there."""
    run = max(_RUN.findall(click_id), key=len, default="")
    return "%" + run.replace("_", r"\_") + "%"


def blanked(body: Mapping[str, Any]) -> dict[str, Any]:
    """The entry or row without what it has of its visitor: no parameters, and of each URL its origin."""
    result = dict(body)
    for name in result.keys() & GONE:
        result[name] = None
    for name in result.keys() & set(URLS):
        result[name] = result[name] and blank_url(result[name])
    for name in result.keys() & set(PARAMS):
        result[name] = None if result[name] is None else {}
    if result.get(HOPS):
        result[HOPS] = [hop | {"url": blank_url(hop.get("url") or "")} for hop in result[HOPS]]
    if "location" in result and result.get("offer_id") is None:
        result["offer_name"] = ""  # no offer has this name: the link had it
    return result


def blank_url(url: str) -> str:
    """The URL's origin; of a URL without a host its scheme."""
    scheme = _SCHEME.match(url)
    return origin_of(url) or (scheme[0] if scheme else "")


def shown(person: Person, network: str | None) -> str:
    """How the action log names a person: a network instead of an address, the digest's beginning of a click id."""
    if person.kind == "visitor":
        return f"visitor {network or 'sha256:' + person.digest[:SHOWN_DIGITS]}"
    return f"click id sha256:{person.digest[:SHOWN_DIGITS]}"
