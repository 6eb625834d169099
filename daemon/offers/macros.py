"""Macros of tracking URLs: `{gclid}` stands for the click's parameter of that name, `{request_id}` for its UUID.

`{country}` stands for that parameter, else for the ISO 3166 code of the country whose IPs trace the click.

Pure. A macro without a parameter of its name stands for a parameter whose name differs only in case. macro_forms.py
has the other notations. Every byte of a value except letters, digits, "-", ".", "_" and "~" is percent-encoded. So the
value decodes to the bytes that the visitor sent, and cannot end its path segment, its name or value of the query, or
the fragment. A macro before the path is refused, so that no click chooses the scheme, the host or the port.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_from_bytes
from uuid import UUID

from daemon.countries import iso_code
from daemon.errors import BadInput
from daemon.offers.macro_forms import COUNTRY, NAME, REQUEST_ID, as_macros
from daemon.web.addresses import refused_host
from daemon.web.query import OFFER, Inbound
from daemon.web.urls import header_safe, http_url, quoted, safe_piece, unescaped

VALUES_CHARACTERS_MAX = 32_768
"""The longest total of one URL's encoded values. A value that does not fit is left out."""

_MACRO = re.compile(rf"\{{({NAME})\}}")
_BEFORE_PATH = re.compile(r"[^:/?#]*:/*[^/?#]*")
_PATH = re.compile(r"[^?#]*")


@dataclass(frozen=True, slots=True)
class Template:
    """A URL with macros. Its pieces alternate between literal text and macro names, and begin and end with text."""

    front: str  # up to the path: no macros
    path: tuple[tuple[str, ...], ...]  # by segments
    rest: tuple[str, ...]
    names: frozenset[str]

    def expanded(self, inbound: Inbound, request_id: UUID, country: str = "") -> str:
        """The URL for one click: printable ASCII, on the template's own host. Never raises.

        A repeated parameter gives its first value. A macro becomes empty if the click has no such parameter, if the
        value does not fit, or if it would make a path segment "." or "..", which a browser resolves to another path.
        """
        values = self._values(inbound, request_id)
        for name in self.names:
            if not values.get(name) and name.lower() == COUNTRY:
                values[name] = (iso_code(country) or "").upper()
        room = VALUES_CHARACTERS_MAX

        def filled(piece: Sequence[str]) -> str:
            nonlocal room
            texts = list(piece)
            for at in range(1, len(piece), 2):
                text = values.get(piece[at], "")
                texts[at] = text if len(text) <= room else ""
                room -= len(texts[at])
            return "".join(texts)

        path = "/".join(_no_climb(segment, filled(segment)) for segment in self.path)
        return f"{self.front}{path}{filled(self.rest)}"

    def _values(self, inbound: Inbound, request_id: UUID) -> dict[str, str]:
        """The encoded value of each macro that has one."""
        values = {REQUEST_ID: str(request_id)}
        if OFFER in self.names:
            values[OFFER] = quote(inbound.offer, safe="", errors="replace")
        for param in inbound.params:
            if param.name in self.names and param.name not in values:
                values[param.name] = _encoded(param.raw)
        if left := [name for name in self.names if name not in values]:
            raws = {param.name.lower(): param.raw for param in reversed(inbound.params)}  # the first one wins
            known = {REQUEST_ID: str(request_id), OFFER: quote(inbound.offer, safe="", errors="replace")}
            for name in left:
                folded = name.lower()
                if folded in known:
                    values[name] = known[folded]
                elif folded in raws:
                    values[name] = _encoded(raws[folded])
        return values


def template_of(url: str) -> Template | None:
    """The template of a URL that `macro_url` returned; None for a URL without macros."""
    if not _MACRO.search(url):
        return None
    front = _before_path(url)
    path = _PATH.match(url, len(front))
    assert path is not None, "the pattern matches the empty text too"
    return Template(
        front=front,
        path=tuple(tuple(_MACRO.split(segment)) for segment in path[0].split("/")),
        rest=tuple(_MACRO.split(url[path.end() :])),
        names=frozenset(_MACRO.findall(url)),
    )


def macro_url(url: str) -> tuple[str, str]:
    """As `http_url`, with each macro as `{name}`: (the URL fit for a header, its host as a browser reads it).

    Raises BadInput as `http_url` does, and for a macro before the path.
    """
    url = as_macros(url)
    if found := _MACRO.match(url):
        raise BadInput(
            f"{quoted(url)} begins with the macro {found[0]}: write the address itself, as in https://ads.example/click;"
            " an ad network fills such a macro in its own link only"
        )
    safe, host = http_url(url)
    if _MACRO.search(url) and safe != url:  # `http_url` may have escaped the braces
        safe = _mended_around_macros(url)
    if found := _MACRO.search(_before_path(safe)):
        raise BadInput(
            f"{quoted(url)}: the macro {found[0]} stands before the path: a macro may stand in the path, the query or"
            " the fragment, and never choose the host"
        )
    return safe, host


def tracking_url(url: str, *, allow_private: bool) -> str:
    """An operator's tracking URL, ready to be stored: absolute http or https, on a public host unless `allow_private`.

    Its macros stay. Raises BadInput that names the fault and a correct form.
    """
    safe, host = macro_url(url)
    reason = None if allow_private else refused_host(host)
    if reason is not None:
        raise BadInput(f"{quoted(url)}: {reason}; a tracking URL needs a public host, unless private ones are allowed")
    return safe


def _mended_around_macros(url: str) -> str:
    """`header_safe(url)` with each macro replaced by a word that the URL does not hold, and put back afterwards."""
    longest = max((len(found) for found in re.findall(r"macro(x*)", url.lower())), default=0)
    prefix = "macro" + "x" * (longest + 1)
    macros: list[str] = []

    def stand_in(found: re.Match[str]) -> str:
        macros.append(found[0])
        return f"{prefix}{len(macros) - 1}z"

    mended = header_safe(_MACRO.sub(stand_in, url))
    return re.sub(rf"{prefix}(\d+)z", lambda found: macros[int(found[1])], mended)


def _before_path(url: str) -> str:
    found = _BEFORE_PATH.match(url)
    return found[0] if found else ""


def _encoded(raw: str) -> str:
    value = safe_piece(raw.partition("=")[2])
    return quote_from_bytes(unescaped(value.replace("+", " ")), safe="")


def _no_climb(segment: Sequence[str], text: str) -> str:
    climbs = len(segment) > 1 and text.lower().replace("%2e", ".") in (".", "..")
    return "".join(segment[::2]) if climbs else text
