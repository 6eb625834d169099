"""What the markup of an HTML page says: where it refreshes to, and whether a script may run. Pure.

A page on which no script runs goes where its refresh says, the Refresh header or a meta element. Of several, the one
with the shortest delay counts, and of equal ones the last, as in Chromium ("the first", HTML 4.2.5.3, is what no
browser does). On any other page a script may leave first, so the JavaScript engine decides (trace/engine); such a page
has a `document`.

The tree is the one that a browser with scripts builds: it reads `<noscript>` as text, and `<template>` and comments
have no elements of the page, so none of these has an effect.
"""

import re
from dataclasses import dataclass
from typing import Literal

import msgspec
from ada_url import URL
from selectolax.lexbor import LexborHTMLParser, LexborNode
from webencodings import Encoding

from daemon.trace.page.bounds import Steps, bounded
from daemon.trace.page.charsets import UTF_8, declared_encoding, decoded, meta_encoding, url_in_document
from daemon.trace.page.external import stays
from daemon.trace.page.policies import inline_allowed, upgraded
from daemon.trace.page.refreshes import Refresh, declared_refresh, refresh_of
from daemon.trace.page.running import Attributes, has_handler, is_script
from daemon.web.headers import RawHeaders

# Marks the place where the page was cut or ended: the element that contains it was not complete. HTML has no rule for
# its characters.
_CUT = "\ufdd0cut\ufdd0"
_MAY_RUN = re.compile(r"<script|[\s\"'/]on[a-z]+\s*=|javascript:|<i?frame", re.I)
_CONTROLS = "".join(map(chr, range(0x21)))  # that the URL parser skips before a URL
_REMOVED = re.compile(r"[\t\n\r]")  # by the URL parser, at any position
_SCHEME_CHARACTERS = 64  # of a frame's URL, in which `javascript:` is searched
TEXT_CHARACTERS_MAX = 600  # that a page shows which only sends its visitors on
# Elements whose text a visitor does not see.
_UNSEEN = frozenset(
    {"head", "html", "script", "style", "title", "noscript", "noframes", "noembed", "iframe", "textarea", "option"}
)


Tier = Literal["markup", "engine", "browser"]  # what finds out where a page goes


class Jump(msgspec.Struct, frozen=True):
    """The next request of a page. `kind` as in redirect_chain. `body` is a form's, with its type."""

    kind: str
    url: str
    method: str = "GET"
    body: bytes = b""
    content_type: str = ""


class Document(msgspec.Struct, frozen=True):
    """The bytes that were received of a page, without their content coding, and the text that they stand for.

    `encoding`: its name in the Encoding Standard. `whole`: no byte is missing. `waited_s`: after this time the reading
    ended although the page had not; 0 if the page ended or was cut.
    """

    data: bytes
    text: str
    encoding: str
    whole: bool
    waited_s: float = 0


class Page(msgspec.Struct, frozen=True):
    """What a page does: it goes on by `jump`, or else the trace lands there.

    `document` is set if a script may run: then the engine finds out what the page does. `tier` is what found it out;
    `why`: the page may go on to a URL that is not certain. `text_characters` are those that a visitor may see.
    `referrer_policies`: the texts of its `<meta name=referrer>`, in order.
    """

    jump: Jump | None = None
    document: Document | None = None
    text_characters: int = 0
    referrer_policies: tuple[str, ...] = ()
    tier: Tier = "markup"
    why: str | None = None

    @property
    def shows_much(self) -> bool:
        """Whether a visitor has so much to read that this is a landing page."""
        return self.text_characters > TEXT_CHARACTERS_MAX


def why_late(waited_s: float) -> str:
    """Why it is not certain what a page does that had this time."""
    return f"the page did not come whole within {waited_s:.2g} s"


def page_without_html(headers: RawHeaders, url: URL, refresh_max_s: float) -> Page:
    """What an answer whose body is no HTML page does: a Refresh header counts there, too."""
    refresh = refresh_of(headers, url)
    if refresh is None or refresh.delay_s > refresh_max_s:
        return Page()
    return Page(Jump("refresh-header", refresh.url.href))


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of a page. `charset` is its Content-Type's, `refresh` that of its Refresh header.

    `policies` are those of its Content-Security-Policy headers.
    """

    url: URL
    charset: str | None
    refresh_max_s: float
    refresh: Refresh | None = None
    policies: tuple[str, ...] = ()


def read_page(data: bytes, source: Source, *, whole: bool, steps: Steps | None = None) -> Page:
    """Reads the first bytes of a page, or all of them (`whole`).

    `steps` are those that the page has left, over all its readings. A page for which they do not suffice is one for the
    engine, which has limits of its own.
    """
    steps = Steps() if steps is None else steps
    encoding = declared_encoding(data, source.charset)
    text = decoded(data, encoding or UTF_8)
    tree, cut = _parsed(text, steps)
    if encoding is None:
        metas = tree.css("meta") if tree is not None and b"charset" in data.lower() else []
        encoding = meta_encoding([node.attributes for node in metas])
        if encoding.name != "utf-8" and not data.isascii():
            text = decoded(data, encoding)
            tree, cut = _parsed(text, steps)
    may_run = _MAY_RUN.search(text) is not None
    reading = _Reading(source, encoding, may_run=may_run)
    for node in tree.root.traverse(include_text=True) if tree is not None and tree.root is not None else ():
        if not steps.take(1):
            break
        reading.meet(node)
    for_engine = steps.exhausted or reading.runs or (cut and may_run)
    return reading.page(Document(data, text, encoding.name, whole) if for_engine else None)


def _parsed(text: str, steps: Steps) -> tuple[LexborHTMLParser | None, bool]:
    """A page's tree, None if there are too few steps, and whether the page's end was cut off."""
    text, tags, cut = bounded(text)
    return LexborHTMLParser(text + _CUT, scripting=True) if steps.take(tags) else None, cut


class _Reading:
    """One pass over a page's elements and texts, in tree order. `runs`: a script may run."""

    def __init__(self, source: Source, encoding: Encoding, *, may_run: bool) -> None:
        self.runs = False
        self._source = source
        self._encoding = encoding
        self._may_run = may_run
        self._base: URL | None = None
        self._refresh = source.refresh
        self._policies = list(source.policies)  # Content Security Policies so far
        self._text_characters = 0
        self._referrer_policies: list[str] = []

    def page(self, document: Document | None) -> Page:
        refresh, jump = self._refresh, None
        if document is None and refresh is not None and refresh.delay_s <= self._source.refresh_max_s:
            href = upgraded(refresh.url.href, self._source.url, self._policies)
            jump = Jump("refresh-header" if refresh is self._source.refresh else "meta", href)
        return Page(jump, document, self._text_characters, tuple(self._referrer_policies))

    def meet(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "-text":
            self._read_text(node)
        elif tag == "meta":
            self._read_meta(node.attributes)
        elif tag == "base":
            self._read_base(node.attributes)
        if self._may_run and not self.runs and tag is not None and not tag.startswith("-"):
            self.runs = self._is_run(tag, node)

    def _read_text(self, node: LexborNode) -> None:
        if node.parent is not None and node.parent.tag not in _UNSEEN:
            self._text_characters += len(node.text(deep=False).removesuffix(_CUT).strip())

    def _read_meta(self, attributes: Attributes) -> None:
        kind, text = (attributes.get("http-equiv") or "").lower(), attributes.get("content")
        if text and kind == "content-security-policy":
            self._policies.append(text)
        elif text and kind == "refresh":
            refresh = declared_refresh(text, self._base_url, self._source.url, self._encoding)
            if refresh is not None and (self._refresh is None or refresh.delay_s <= self._refresh.delay_s):
                self._refresh = refresh
        if (attributes.get("name") or "").lower() == "referrer" and (text := attributes.get("content")):
            self._referrer_policies.append(text)

    def _read_base(self, attributes: Attributes) -> None:
        """The first base element with an href counts, even where that is no URL (HTML 4.2.3)."""
        if self._base is None and "href" in attributes:
            url = url_in_document(attributes["href"] or "", self._source.url, self._encoding)
            self._base = self._source.url if url is None or url.protocol in ("data:", "javascript:") else url

    def _is_run(self, tag: str, node: LexborNode) -> bool:
        attributes = node.attributes
        if has_handler(tag, attributes) and inline_allowed(self._policies, handler=True) is not False:
            return True
        if tag == "script":
            return is_script(attributes) and self._is_script_run(attributes, node.text())
        if tag == "template":  # that is a shadow root: its scripts run
            return (attributes.get("shadowrootmode") or "").lower() in ("open", "closed")
        return tag in ("iframe", "frame") and self._is_frame_run(attributes)

    def _is_script_run(self, attributes: Attributes, text: str) -> bool:
        if text.endswith(_CUT):
            return False  # a browser runs only complete scripts
        source = next((attributes[name] for name in ("src", "href", "xlink:href") if name in attributes), None)
        if source is not None or "src" in attributes:
            return not stays(source or "", self._base_url)
        return bool(text.strip()) and inline_allowed(self._policies, nonce=attributes.get("nonce")) is not False

    def _is_frame_run(self, attributes: Attributes) -> bool:
        """A frame's own script may leave the page too: top.location = "…"."""
        document = attributes.get("srcdoc") or ""
        if _MAY_RUN.search(document) is not None and ("top" in document or "parent" in document):
            return True
        source = attributes.get("src") or ""
        scheme = _REMOVED.sub("", source.lstrip(_CONTROLS)[:_SCHEME_CHARACTERS].lower())
        if scheme.startswith("javascript:"):
            return inline_allowed(self._policies) is not False
        url = url_in_document(source, self._base_url, self._encoding) if source and "srcdoc" not in attributes else None
        # A frame of another origin may move the page only after the visitor has clicked in it.
        return url is not None and url.origin == self._source.url.origin

    @property
    def _base_url(self) -> URL:
        return self._source.url if self._base is None else self._base
