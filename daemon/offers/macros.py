"""Macros of tracking URLs: `{gclid}` stands for the click's parameter of that name, `{request_id}` for its number.

Pure. A value is percent-encoded, byte by byte, down to letters, digits, "-", ".", "_" and "~": it decodes to the bytes
that the visitor sent, and cannot end the path segment, the query's name or value, or the fragment that it stands in.
Macros before the path are refused, so that none chooses a host, a scheme or a port.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_from_bytes
from uuid import UUID

from daemon.errors import BadInput
from daemon.web.addresses import refused_host
from daemon.web.query import OFFER, Inbound
from daemon.web.urls import header_safe, http_url, safe_piece, shown, unescaped

VALUES_CHARACTERS_MAX = 32_768
"""What the values of one URL may come to, encoded; one that does not fit stays out."""

REQUEST_ID = "request_id"

_MACRO = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]{0,63})\}")
_BEFORE_PATH = re.compile(r"[^:/?#]*:/*[^/?#]*")
_PATH = re.compile(r"[^?#]*")


@dataclass(frozen=True, slots=True)
class Template:
    """A URL with macros. Each piece of it is literal text and macro names by turns, beginning and ending with text."""

    front: str  # up to the path: no macros
    path: tuple[tuple[str, ...], ...]  # by segments
    rest: tuple[str, ...]
    names: frozenset[str]

    def expanded(self, inbound: Inbound, request_id: UUID) -> str:
        """The URL for one click: printable ASCII, on the template's own host. Never raises.

        A parameter that came more than once gives its first value. What did not come, or does not fit, stays empty; so
        does a value that would make a path segment "." or "..", where a browser would climb.
        """
        values = {REQUEST_ID: str(request_id)}
        if OFFER in self.names:
            values[OFFER] = quote(inbound.offer, safe="", errors="replace")
        for param in inbound.params:
            if param.name in self.names and param.name not in values:
                values[param.name] = _encoded(param.raw)
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


def template_of(url: str) -> Template | None:
    """The macros of a URL that `macro_url` gave; None where it has none."""
    if not _MACRO.search(url):
        return None
    front = _before_path(url)
    path = _PATH.match(url, len(front))
    assert path is not None, "it matches the empty text as well"
    return Template(
        front=front,
        path=tuple(tuple(_MACRO.split(segment)) for segment in path[0].split("/")),
        rest=tuple(_MACRO.split(url[path.end() :])),
        names=frozenset(_MACRO.findall(url)),
    )


def macro_url(url: str) -> tuple[str, str]:
    """As `http_url`, with the braces of macros kept: (the URL fit for a header, its host as a browser reads it).

    Raises BadInput as `http_url` does, and where a macro stands before the path.
    """
    safe, host = http_url(url)
    if _MACRO.search(url) and safe != url:  # what was mended may have had its braces escaped
        safe = _mended_around_macros(url)
    if found := _MACRO.search(_before_path(safe)):
        raise BadInput(
            f"{shown(url)}: the macro {found[0]} stands before the path: a macro may stand in the path, the query or"
            " the fragment, and never choose the host"
        )
    return safe, host


def tracking_url(url: str, *, allow_private: bool) -> str:
    """An operator's tracking URL, fit for storing: absolute http or https, on a public host unless `allow_private`.

    Its macros stay; it is judged without them. Raises BadInput that names what is wrong and what would be right.
    """
    safe, host = macro_url(url)
    reason = None if allow_private else refused_host(host)
    if reason is not None:
        raise BadInput(f"{shown(url)}: {reason}; a tracking URL needs a public host, unless private ones are allowed")
    return safe


def _mended_around_macros(url: str) -> str:
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
