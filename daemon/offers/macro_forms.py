"""The notations in which people paste macros, and what each becomes. Pure.

`{gclid}` is a macro, and so are `%7Bgclid%7D` (as a dashboard encodes it), `{{gclid}}` and `${gclid}`. Other notations,
such as `[gclid]` and `{gclid:raw}`, are sent as they stand. `meanings` says so to the operator who adds an offer.
"""

import re
from collections.abc import Iterable, Iterator

from daemon.web.query import OFFER

REQUEST_ID, COUNTRY = "request_id", "country"

# No UUID in braces: {F2504E04-4F89-…}.
NAME = r"(?![0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-)[A-Za-z_][A-Za-z0-9_.-]{0,63}"

_OPEN, _CLOSE = r"(?:\{|%7[Bb])", r"(?:\}|%7[Dd])"
_FORM = re.compile(rf"(?:\$|%24)?(?:({_OPEN}{_OPEN})|{_OPEN})({NAME})(?(1){_CLOSE}{_CLOSE}|{_CLOSE})")
_WORD = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
# What other systems write for a macro, where a value stands.
_LITERAL = re.compile(
    rf"{_OPEN}(?P<braces>[^{{}}\s\"'%]{{1,64}}){_CLOSE}"
    rf"|(?:%25)+7[Bb](?P<twice>{_WORD})(?:%25)+7[Dd]"
    rf"|(?<=[=/,:;|_-])(?:(?:\[|%5[Bb])(?P<brackets>{_WORD})(?:\]|%5[Dd])|(?:<|%3[Cc])(?P<angles>{_WORD})(?:>|%3[Ee])"
    rf"|%%(?P<percents>{_WORD})%%|__(?P<lines>[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)__|\$(?P<dollar>{_WORD})"
    rf"|(?P<mark>[#@!])(?P<marked>{_WORD})(?P=mark))"
)


def as_macros(url: str) -> str:
    """The URL with each macro as `{name}`."""
    return _FORM.sub(r"{\2}", url)


def meanings(urls: Iterable[str]) -> Iterator[str]:
    """A sentence for each macro in the URLs as they were given, and for each notation that is none."""
    for url in urls:
        for form, name in {found[0]: found[2] for found in _FORM.finditer(url)}.items():
            written = f"macro {{{name}}}" if form == f"{{{name}}}" else f"{form} is the macro {{{name}}}"
            yield f"{written}: {_meaning(name)}"
        yield from literals([url])


def literals(urls: Iterable[str]) -> Iterator[str]:
    """A sentence for each notation that looks like a macro of another system."""
    for url in urls:
        found = {match[0]: match for match in _LITERAL.finditer(_FORM.sub("", url))}
        for form, match in found.items():
            word = re.match(_WORD, next(filter(None, (match[group] for group in _GROUPS)), ""))
            instead = f"; the macro is written {{{word[0]}}}" if word else ""
            yield f"{form} is no macro: it is sent literally, as it stands, with each click{instead}"


_GROUPS = ("braces", "twice", "brackets", "angles", "percents", "lines", "dollar", "marked")


def _meaning(name: str) -> str:
    if name.lower() == REQUEST_ID:
        return "the click's id, a UUID"
    if name.lower() == OFFER:
        return "the offer's name"
    if name.lower() == COUNTRY:
        return "the click's parameter country, else the code of the country whose IPs trace it, such as GB"
    return f"the click's parameter {name}; nothing where a click has none"
