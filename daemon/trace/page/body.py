"""Readers of an answer's body while it is received, decoded within a bound: HTML pages, and their external scripts.

Pure; wire/http1.py feeds them. A page is text/html, application/xhtml+xml, or a body without a valid type that begins
with markup (MIME Sniffing 7.1). The bound holds for the bytes on the wire and for the decoded bytes. A body that breaks
or cannot be decoded is read up to there.
"""

from collections.abc import Sequence
from typing import Protocol

from ada_url import URL
from msgspec.structs import replace

from daemon.trace.page.bounds import Steps
from daemon.trace.page.charsets import UTF_8, declared_encoding, decoded
from daemon.trace.page.codings import CODINGS
from daemon.trace.page.content_types import HTML_TYPES, content_type_of, is_attachment, is_sniffed
from daemon.trace.page.html import Page, Source, read_page, why_late
from daemon.trace.page.refreshes import Refresh
from daemon.web.headers import values_of

Headers = tuple[tuple[bytes, bytes], ...]

ACCEPT_ENCODING = "gzip, deflate, br, zstd"
CODINGS_MAX = 2  # nested
_MARKUP = tuple(
    b"<%b%b" % (name, end)
    for name in (b"!doctype html", b"html", b"head", b"script", b"iframe", b"h1", b"div", b"font", b"table", b"a",
                 b"style", b"title", b"b", b"body", b"br", b"p")
    for end in (b" ", b">")
)  # fmt: skip
_SNIFFED_BYTES = 64
EARLY_RUNS_MAX = 4  # of one page that has not ended


class Body(Protocol):
    """A reader of an answer's body. At most `bytes_max` are read, fewer once it has `enough`."""

    bytes_max: int

    @property
    def enough(self) -> bool: ...
    def feed(self, data: bytes) -> None: ...
    def look(self, *, slow: bool) -> None:
        """Called when the body pauses; `slow` after a long pause."""

    def end(self, *, whole: bool, late_after_s: float = 0) -> None:
        """Called at the end of what is read; `whole` if that is the body's end.

        `late_after_s`: the body had this time and is not awaited any longer.
        """


class FirstBytes:
    """A body's first bytes, with their content coding."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.data = b""

    @property
    def enough(self) -> bool:
        return len(self.data) >= self.bytes_max

    def feed(self, data: bytes) -> None:
        self.data += data[: self.bytes_max - len(self.data)]

    def look(self, *, slow: bool) -> None:
        """Does nothing."""

    def end(self, *, whole: bool, late_after_s: float = 0) -> None:
        """Does nothing."""


class BeginningOf(FirstBytes):
    """A body's first bytes, read beside `body`, which may be None."""

    def __init__(self, body: Body | None, bytes_max: int) -> None:
        super().__init__(bytes_max)
        self._body = body
        if body is not None:
            self.bytes_max = max(bytes_max, body.bytes_max)

    @property
    def enough(self) -> bool:
        return super().enough and (self._body is None or self._body.enough)

    def feed(self, data: bytes) -> None:
        super().feed(data)
        if self._body is not None and not self._body.enough:
            self._body.feed(data)

    def look(self, *, slow: bool) -> None:
        if self._body is not None:
            self._body.look(slow=slow)

    def end(self, *, whole: bool, late_after_s: float = 0) -> None:
        if self._body is not None:
            self._body.end(whole=whole, late_after_s=late_after_s)


class _Decoded:
    """The bytes of a body without its content codings, at most `bytes_max` on the wire and decoded. `full`: no more."""

    def __init__(self, codings: Sequence[str], bytes_max: int) -> None:
        """`codings` in decoding order."""
        self.data = bytearray()
        self._bytes_max = bytes_max
        self._decoders = [CODINGS[coding](bytes_max) for coding in codings]
        self._room = bytes_max  # on the wire

    @property
    def full(self) -> bool:
        ended = not self._room or len(self.data) >= self._bytes_max
        return ended or any(decoder.broken for decoder in self._decoders)

    def feed(self, data: bytes) -> None:
        data = data[: self._room]
        self._room -= len(data)
        for decoder in self._decoders:
            data = decoder.feed(data)
        self.data += data[: self._bytes_max - len(self.data)]


class PageBody:
    """An HTML page while it is received. `page` is the result of the last reading."""

    def __init__(self, source: Source, codings: Sequence[str], *, bytes_max: int, sniffs: bool = False) -> None:
        """`codings` in decoding order. `sniffs`: a body that does not begin with markup is no page."""
        self.bytes_max = bytes_max
        self.enough = False
        self.page = Page()
        self._source = source
        self._decoded = _Decoded(codings, bytes_max)
        self._sniffs = sniffs
        self._steps = Steps()
        self._looked_at_bytes = 0
        self._early_runs = 0
        self._scripts_run = -1  # the end tags of scripts that the last early run had

    def feed(self, data: bytes) -> None:
        self._decoded.feed(data)
        if self._sniffs and len(self._decoded.data) >= _SNIFFED_BYTES and not self._begins_with_markup():
            self.enough = True
        elif self._decoded.full:
            self.end(whole=False)

    def look(self, *, slow: bool) -> None:
        """Ends the reading of a slow page that has a jump or shows text: no more may come for a long time.

        A page with a script must show much, because the rest of a jump page matters.
        """
        if not slow or (self._sniffs and not self._begins_with_markup()):
            return
        self._read(whole=False)
        self.enough = self._is_settled()

    def early(self, waited_s: float) -> Page | None:
        """The page so far, if its scripts are to run before its end: a browser does not wait for the rest.

        A page has EARLY_RUNS_MAX such runs, each with a script that the one before did not have.
        """
        if self.enough or self._early_runs >= EARLY_RUNS_MAX or (self._sniffs and not self._begins_with_markup()):
            return None
        scripts = self._decoded.data.lower().count(b"</script")
        if scripts <= self._scripts_run:
            return None
        self._read(whole=False)
        if self.page.document is None:
            return None
        self._early_runs += 1
        self._scripts_run = scripts
        return replace(self.page, document=replace(self.page.document, waited_s=waited_s))

    def leave(self, page: Page) -> None:
        """Ends the reading with the result of `early`."""
        self.page = page
        self.enough = True

    def end(self, *, whole: bool, late_after_s: float = 0) -> None:
        if not (self.enough or (self._sniffs and not self._begins_with_markup())):
            self._looked_at_bytes = -1
            self._read(whole=whole)
            if late_after_s and not whole and not self._is_settled():
                self._mark_late(late_after_s)
        self.enough = True

    def _is_settled(self) -> bool:
        """Whether a slow page has a jump, or shows what a landing page shows."""
        page = self.page
        return page.jump is not None or (page.text_characters > 0 if page.document is None else page.shows_much)

    def _mark_late(self, late_after_s: float) -> None:
        if (document := self.page.document) is None:
            self.page = replace(self.page, why=why_late(late_after_s))
        else:
            self.page = replace(self.page, document=replace(document, waited_s=late_after_s))

    def _read(self, *, whole: bool) -> None:
        data = self._decoded.data
        if len(data) != self._looked_at_bytes:
            self._looked_at_bytes = len(data)
            self.page = read_page(bytes(data), self._source, whole=whole, steps=self._steps)

    def _begins_with_markup(self) -> bool:
        begins = self._decoded.data[: 2 * _SNIFFED_BYTES].lstrip(b"\t\n\f\r ").lower()
        return begins.startswith(b"<!--") or begins.startswith(_MARKUP)


class ScriptBody:
    """An external script while it is received. `text` is None until all of it has come within the bound."""

    def __init__(self, headers: Headers, encoding: str, codings: Sequence[str], bytes_max: int) -> None:
        """`encoding`: the page's, which counts where the script does not name its own (HTML 8.1.4.2)."""
        self.bytes_max = bytes_max
        self.text: str | None = None
        self._charset = content_type_of(headers).charset
        self._encoding = encoding
        self._decoded = _Decoded(codings, bytes_max)

    @property
    def enough(self) -> bool:
        return self.text is not None or self._decoded.full

    @property
    def bytes_read(self) -> int:
        return len(self._decoded.data)

    def feed(self, data: bytes) -> None:
        self._decoded.feed(data)

    def look(self, *, slow: bool) -> None:
        """Does nothing."""

    def end(self, *, whole: bool, late_after_s: float = 0) -> None:
        if whole and not self._decoded.full:
            data = bytes(self._decoded.data)
            encoding = declared_encoding(data, self._charset) or declared_encoding(b"", self._encoding)
            self.text = decoded(data, encoding or UTF_8)


def page_body(
    url: URL, headers: Headers, bytes_max: int, refresh_max_s: float, refresh: Refresh | None = None
) -> PageBody | None:
    """The reader of the body of an answer with these headers; None if the body is not an HTML page.

    `refresh` is that of the answer's Refresh header.
    """
    kind = content_type_of(headers)
    length = b"".join(values_of(headers, b"content-length")[-1:])
    is_page = is_sniffed(headers) if kind.essence is None else kind.essence in HTML_TYPES
    if length == b"0" or not is_page or is_attachment(headers):
        return None
    codings = _codings_in(headers)
    if codings is None:
        return None
    source = Source(url, kind.charset, refresh_max_s, refresh, policies_in(headers))
    return PageBody(source, codings, bytes_max=bytes_max, sniffs=kind.essence is None)


def script_body(headers: Headers, encoding: str, bytes_max: int) -> ScriptBody | None:
    """The reader of an external script of a page in `encoding`; None if the script is larger than `bytes_max`."""
    length = b"".join(values_of(headers, b"content-length")[-1:])
    codings = _codings_in(headers)
    if codings is None or (length.isdigit() and int(length[:9]) >= bytes_max):
        return None
    return ScriptBody(headers, encoding, codings, bytes_max)


def policies_in(headers: Headers) -> tuple[str, ...]:
    """The Content Security Policies of an answer."""
    policies = b",".join(values_of(headers, b"content-security-policy")).decode("latin-1")
    return tuple(filter(None, policies.split(",")))


def _codings_in(headers: Headers) -> list[str] | None:
    """The content codings in decoding order; None if one is not known."""
    named = b",".join(values_of(headers, b"content-encoding")).decode("latin-1").lower().split(",")
    codings = [coding for coding in map(str.strip, reversed(named)) if coding not in ("", "identity")]
    return None if len(codings) > CODINGS_MAX or any(coding not in CODINGS for coding in codings) else codings
