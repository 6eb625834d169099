"""The notations in which people paste macros, and what each becomes. Pure.

`{gclid}` is a macro, and so are `%7Bgclid%7D` (as a dashboard encodes it), `{{gclid}}` and `${gclid}`. Other notations,
such as `[gclid]` and `{gclid:raw}`, are sent as they stand. `meanings` says so to the operator who adds an offer.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from daemon.offers.known_macros import FINAL_URL, is_filled_by_network, remark
from daemon.web.query import OFFER

REQUEST_ID, COUNTRY = "request_id", "country"

_UUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-")  # the beginning, as in {F2504E04-4F89-…}, which is no macro
NAME = rf"(?!{_UUID.pattern})[A-Za-z_][A-Za-z0-9_.-]{{0,63}}"

_OPEN, _CLOSE = r"(?:\{|%7[Bb])", r"(?:\}|%7[Dd])"
_FORM = re.compile(rf"(?:\$|%24)?(?:({_OPEN}{_OPEN})|{_OPEN})({NAME})(?(1){_CLOSE}{_CLOSE}|{_CLOSE})")
_BLANK = r"(?:\s|%20)*"
_WORD = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
# What other systems write for a macro, where a value stands.
_LITERAL = re.compile(
    rf"{_OPEN}{_BLANK}(?P<braces>[^{{}}\s\"'%]{{1,64}}){_BLANK}{_CLOSE}"
    rf"|{_OPEN}(?P<unclosed>{_WORD})(?=[&#;]|$)|(?<=[=/])(?P<unopened>{_WORD}){_CLOSE}(?=[&#;]|$)"
    rf"|(?:%25)+7[Bb](?P<twice>{_WORD})(?:%25)+7[Dd]"
    rf"|(?<=[=/,:;|_-])(?:(?:\[|%5[Bb])(?P<brackets>{_WORD})(?:\]|%5[Dd])|(?:<|%3[Cc])(?P<angles>{_WORD})(?:>|%3[Ee])"
    rf"|%%(?P<percents>{_WORD})%%|__(?P<lines>[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)__|\$(?P<dollar>{_WORD})"
    rf"|(?:%25|%)(?P<percent>{_WORD})(?:%25|%)(?=[&#;]|$)|(?P<mark>[#@!])(?P<marked>{_WORD})(?P=mark))"
)


def as_macros(url: str) -> str:
    """The URL with each macro as `{name}`."""
    return _FORM.sub(r"{\2}", url)


@dataclass(frozen=True, slots=True)
class Meaning:
    """A sentence about a macro, or about a notation that is none. `warns`: it may not be what the operator means."""

    sentence: str
    warns: bool = False


def meanings(urls: Iterable[str], own: Collection[str] = ()) -> Iterator[Meaning]:
    """Of each macro in the URLs as they were given, and of each notation that is none. `own`: see known_macros."""
    for url in urls:
        for form, name in {found[0]: found[2] for found in _FORM.finditer(url)}.items():
            written = f"macro {{{name}}}" if form == f"{{{name}}}" else f"{form} is the macro {{{name}}}"
            meaning, warns = _meaning(name, own)
            yield Meaning(f"{written}: {meaning}", warns)
        yield from _literals(url)


def meanings_in(settings: Mapping[str, object], own: Iterable[str] | None = None) -> list[Meaning]:
    """Those of the URLs among an offer's settings, as they were given, each once. `own`: default: its click_ids."""
    names = _texts(settings.get("click_ids")) if own is None else own
    urls = [url for column, value in settings.items() if column.endswith(("url", "urls")) for url in _texts(value)]
    return list(dict.fromkeys(meanings(urls, {name.lower() for text in names for name in text.split()})))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, Iterable):
        for one in value:
            yield from _texts(one)


def _literals(url: str) -> Iterator[Meaning]:
    """Of each notation that looks like a macro of another system."""
    found = {match[0]: match for match in _LITERAL.finditer(_FORM.sub("", url))}
    for form, match in found.items():
        inside = next(filter(None, (match[group] for group in _GROUPS)), "")
        if _UUID.match(inside):
            continue
        word = re.match(_WORD, inside)
        instead = f"; the macro is written {{{word[0]}}}" if word else ""
        if word and (word[0].lower() in FINAL_URL or is_filled_by_network(word[0])):
            instead = "; only in its own link does the ad network fill it"
        yield Meaning(f"{form} is no macro: it is sent literally, as it stands, with each click{instead}", warns=True)


_GROUPS = (
    *("braces", "unclosed", "unopened", "twice", "brackets", "angles", "percents", "lines", "dollar", "percent"),
    "marked",
)


def _meaning(name: str, own: Collection[str]) -> tuple[str, bool]:
    if name.lower() == REQUEST_ID:
        return "the click's id, a UUID", False
    if name.lower() == OFFER:
        return "the offer's name", False
    if name.lower() == COUNTRY:
        return "the click's parameter country, else the code of the country whose IPs trace it, such as GB", False
    more, warns = remark(name, own)
    case = "" if name.islower() else ", in any upper and lower case"
    return f"the click's parameter {name}{case}; nothing where a click has none{'; ' if more else ''}{more}", warns
