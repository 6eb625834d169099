"""Declarative refreshes: `<meta http-equiv=refresh>` and the Refresh header. Pure."""

import re

import msgspec
from ada_url import URL
from webencodings import Encoding

from daemon.trace.page.charsets import UTF_8, url_in_document
from daemon.web.headers import RawHeaders, refresh_in

_WHITESPACE = "\t\n\f\r "
_REFRESH = re.compile(r"[\t\n\f\r ]*(?:([0-9]+)|(?=\.))[0-9.]*", re.ASCII)
_URL_NAME = re.compile(r"url[\t\n\f\r ]*=[\t\n\f\r ]*", re.I | re.ASCII)
_DELAY_DIGITS_MAX = 9


class Refresh(msgspec.Struct, frozen=True):
    """A declarative refresh: to `url`, after `delay_s`."""

    delay_s: int
    url: URL


def declared_refresh(text: str, base: URL, document: URL, encoding: Encoding = UTF_8) -> Refresh | None:
    """The shared declarative refresh steps (HTML 4.2.5.3); None if they return before the navigation."""
    began = _REFRESH.match(text)
    if began is None:
        return None
    delay_s = int((began[1] or "0").lstrip("0")[:_DELAY_DIGITS_MAX] or "0")
    rest = text[began.end() :]
    if rest and rest[0] not in ";," + _WHITESPACE:
        return None
    rest = rest.lstrip(_WHITESPACE)
    if rest[:1] in (";", ","):
        rest = rest[1:].lstrip(_WHITESPACE)
    if not rest:
        return Refresh(delay_s, document)
    named = _URL_NAME.match(rest)
    if named is not None:
        rest = rest[named.end() :]
    # Quotes are skipped after `url=`, and in a text that does not begin with `u`. Chromium reads until the last one.
    if (named is not None or rest[0] not in "uU") and rest[:1] in ("'", '"'):
        quote, rest = rest[0], rest[1:]
        rest = rest.rpartition(quote)[0] if quote in rest else rest
    url = url_in_document(rest, base, encoding)
    return None if url is None or url.protocol == "javascript:" else Refresh(delay_s, url)


def refresh_of(headers: RawHeaders, url: URL) -> Refresh | None:
    """The refresh of an answer's Refresh header (HTML 7.4.6)."""
    text = refresh_in(headers)
    return None if text is None else declared_refresh(text, url, url)
