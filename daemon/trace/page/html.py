"""Where an HTML page goes next, read from the tree that a browser with scripts builds. Pure.

In order of precedence: a refresh without a delay, a script that jumps, or a form that a script submits, whichever comes
first in the page; a refresh with a delay; the last action that was set to run at the page's load; a script that leaves
the page for an unknown URL. Such a browser reads `<noscript>` as text, and `<template>` and comments have no elements
of the page, so none of these has an effect.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from ada_url import URL
from msgspec.structs import replace
from selectolax.lexbor import LexborHTMLParser, LexborNode
from webencodings import Encoding

from daemon.trace.page.bounds import FORM_STEPS, Steps, bounded
from daemon.trace.page.charsets import UTF_8, declared_encoding, decoded, meta_encoding, url_in_document
from daemon.trace.page.forms import Jump, form_meant, submission
from daemon.trace.page.scripts import Action, Actions, Go, Submit, Unresolved, read_script

# Marks the place where the page was cut or ended: the element that contains it was not complete. HTML has no rule for
# its characters.
_CUT = "\ufdd0cut\ufdd0"
_WHITESPACE = "\t\n\f\r "
_REFRESH = re.compile(r"[\t\n\f\r ]*(?:([0-9]+)|(?=\.))[0-9.]*", re.ASCII)
_URL_NAME = re.compile(r"url[\t\n\f\r ]*=[\t\n\f\r ]*", re.I | re.ASCII)
_DELAY_DIGITS_MAX = 9
SUBMITS_MAX = 8  # of one page; later ones are ignored
_SCRIPT_TYPES = frozenset(
    f"{top}/{name}"
    for top in ("text", "application")
    for name in ("javascript", "ecmascript", "x-javascript", "x-ecmascript", "jscript", "livescript")
) | {"", "module", *(f"text/javascript1.{minor}" for minor in range(6))}
# Elements whose text a visitor does not see.
_UNSEEN = frozenset(
    {"head", "html", "script", "style", "title", "noscript", "noframes", "noembed", "iframe", "textarea", "option"}
)


class Refresh(msgspec.Struct, frozen=True):
    """A declarative refresh: to `url`, after `delay_s`."""

    delay_s: int
    url: URL


class Page(msgspec.Struct, frozen=True):
    """The result of reading a page. `final`: the rest of the page changes nothing.

    `unresolved`: a script leaves the page for a URL that it computes. `waits`: the form that is submitted at the page's
    load is not complete yet. `text_characters` are those that a visitor may see.
    """

    jump: Jump | None = None
    final: bool = False
    unresolved: bool = False
    waits: bool = False
    text_characters: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of a page. `charset` is its Content-Type's; `refreshed`: the answer has a Refresh header."""

    url: URL
    charset: str | None
    refresh_max_s: float
    refreshed: bool = False


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
    # Quotes are skipped after `url=`, and in a text that does not begin with `u`.
    if (named is not None or rest[0] not in "uU") and rest[:1] in ("'", '"'):
        rest = rest[1:].partition(rest[0])[0]
    url = url_in_document(rest, base, encoding)
    return None if url is None or url.protocol == "javascript:" else Refresh(delay_s, url)


_OUT_OF_STEPS = Page(final=True, unresolved=True)


def read_page(data: bytes, source: Source, *, whole: bool, steps: Steps | None = None) -> Page:
    """Reads the first bytes of a page, or all of them (`whole`).

    `steps` are those that the page has left, over all its readings. If they run out, the page is final and unresolved.
    """
    steps = Steps() if steps is None else steps
    encoding = declared_encoding(data, source.charset)
    if (parsed := _parsed(decoded(data, encoding or UTF_8), steps)) is None:
        return _OUT_OF_STEPS
    if encoding is None:
        metas = parsed[0].css("meta") if b"charset" in data.lower() else []
        encoding = meta_encoding([node.attributes for node in metas])
        if encoding.name != "utf-8" and not data.isascii():
            parsed = _parsed(decoded(data, encoding), steps)
    if parsed is None:
        return _OUT_OF_STEPS
    tree, cut = parsed
    page = _Reading(tree, source, encoding, steps).page(whole)
    if steps.exhausted:
        return _OUT_OF_STEPS
    return replace(page, final=True) if cut else page


def _parsed(text: str, steps: Steps) -> tuple[LexborHTMLParser, bool] | None:
    """A page's tree, and whether the page's end was cut off; None if `steps` run out."""
    text, tags, cut = bounded(text)
    return (LexborHTMLParser(text + _CUT, scripting=True), cut) if steps.take(tags) else None


class _Reading:
    """One pass over a page's tree, in tree order."""

    def __init__(self, tree: LexborHTMLParser, source: Source, encoding: Encoding, steps: Steps) -> None:
        self._tree = tree
        self._steps = steps
        self._met: list[LexborNode] = []  # the elements so far
        self._source = source
        self._encoding = encoding
        self._base: URL | None = None
        self._target: str | None = None
        self._refresh: Refresh | None = None
        self._at_load: list[Action] = []
        self._cut: LexborNode | None = None
        self._unresolved = False
        self._text_characters = 0
        self._submits = 0
        self._called: set[str] = set()  # functions, by all scripts
        self._jumping: set[str] = set()

    def page(self, whole: bool) -> Page:
        for node in self._tree.root.traverse(include_text=True) if self._tree.root is not None else ():
            if not self._steps.take(1):
                break
            if (jump := self._meet(node)) is not None:
                return Page(jump, final=True, text_characters=self._text_characters)
        jump, waits = self._declared(), False
        for action in reversed(self._at_load):
            if jump is None and not waits:
                waits = isinstance(action, Submit) and not whole and not self._is_complete(action)
                jump = None if waits else self._done(action)
        unresolved = jump is None and (self._unresolved or bool(self._called & self._jumping))
        return Page(jump, final=whole, unresolved=unresolved, waits=waits, text_characters=self._text_characters)

    def _meet(self, node: LexborNode) -> Jump | None:
        """Reads a node; returns a jump that has precedence over everything after it."""
        tag = node.tag
        if tag == "-text":
            self._read_text(node)
            return None
        try:
            return self._meet_element(tag, node)
        finally:
            self._met.append(node)  # after its script, which does not see itself

    def _meet_element(self, tag: str | None, node: LexborNode) -> Jump | None:
        if tag == "meta":
            return self._read_meta(node.attributes)
        if tag == "script":
            return self._read_script(node)
        if tag == "base":
            self._read_base(node.attributes)
        elif tag in ("body", "frameset") and (code := node.attributes.get("onload")):
            actions = read_script(code, wait_s_max=self._source.refresh_max_s, steps=self._steps)
            self._at_load += [action for action in (actions.on_load, actions.now) if action is not None]
            self._note(actions)
        return None

    def _note(self, actions: Actions) -> None:
        self._unresolved |= actions.later
        self._called |= actions.called
        self._jumping |= actions.jumping

    def _read_text(self, node: LexborNode) -> None:
        text = node.text(deep=False)
        if text.endswith(_CUT):
            self._cut = node
            text = text.removesuffix(_CUT)
        if text and node.parent is not None and node.parent.tag not in _UNSEEN:
            self._text_characters += len(text.strip())

    def _read_meta(self, attributes: Mapping[str, str | None]) -> Jump | None:
        is_refresh = (attributes.get("http-equiv") or "").lower() == "refresh"
        if not is_refresh or self._refresh is not None or self._source.refreshed:
            return None
        text = attributes.get("content")
        if text:
            self._refresh = declared_refresh(text, self._base_url, self._source.url, self._encoding)
        return self._declared() if self._refresh is not None and self._refresh.delay_s == 0 else None

    def _declared(self) -> Jump | None:
        refresh = self._refresh
        return Jump("meta", refresh.url.href) if refresh and refresh.delay_s <= self._source.refresh_max_s else None

    def _read_base(self, attributes: Mapping[str, str | None]) -> None:
        """The first base element with an href counts, even where that is no URL (HTML 4.2.3)."""
        if self._target is None:
            self._target = attributes.get("target")
        if self._base is None and "href" in attributes:
            url = url_in_document(attributes["href"] or "", self._source.url, self._encoding)
            self._base = self._source.url if url is None or url.protocol in ("data:", "javascript:") else url

    def _read_script(self, node: LexborNode) -> Jump | None:
        attributes = node.attributes
        kind = attributes.get("type")
        if kind is None and attributes.get("language"):
            kind = f"text/{attributes['language']}"
        if "src" in attributes or "nomodule" in attributes or (kind or "").strip().lower() not in _SCRIPT_TYPES:
            return None
        code = node.text()
        if code.endswith(_CUT):
            return None  # a browser runs only complete scripts
        actions = read_script(code, wait_s_max=self._source.refresh_max_s, steps=self._steps)
        self._note(actions)
        if actions.on_load is not None:
            self._at_load.append(actions.on_load)
        return None if actions.now is None else self._done(actions.now)

    def _done(self, action: Action) -> Jump | None:
        """The jump of an action, with the elements so far."""
        if isinstance(action, Unresolved):
            self._unresolved = True
            return None
        if isinstance(action, Go):
            url = url_in_document(action.url, self._base_url, self._encoding)
            return None if url is None or url.protocol == "javascript:" else Jump("script", url.href)
        self._submits += 1
        if self._submits > SUBMITS_MAX or not self._steps.take(FORM_STEPS * len(self._met)):
            return None
        form = form_meant(self._tree, action, self._met)
        if form is None:
            self._unresolved |= action.by == "global"  # possibly a variable of the script's own
            return None
        try:
            return submission(
                self._met, form, document=self._source.url, base=self._base_url, target=self._target or "",
                encoding=self._encoding,
            )  # fmt: skip
        except ValueError:
            self._unresolved = True
            return None

    def _is_complete(self, submit: Submit) -> bool:
        """Whether the form to submit ends before the page's cut."""
        if not self._steps.take(FORM_STEPS * len(self._met)):
            return False
        form = form_meant(self._tree, submit, self._met)
        if form is None or self._cut is None:
            return False
        return all(node.mem_id != self._cut.mem_id for node in form.traverse(include_text=True))

    @property
    def _base_url(self) -> URL:
        return self._source.url if self._base is None else self._base
