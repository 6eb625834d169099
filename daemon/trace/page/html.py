"""Where an HTML page goes next, read from the tree that a browser with scripts builds. Pure.

A wrong URL is worse than none, so a jump is returned only if it is certain; a page that may leave otherwise is
`unresolved`. By the order of events in a browser:

- Scripts run before the page's load, and a refresh begins to wait after it, also one of 0 s (HTML 4.2.5.3). So a script
  that certainly leaves has precedence over each refresh: meta element and Refresh header.
- A browser stops at a script that leaves: no later script runs, and the page's load never comes. In one script the last
  navigation counts. A timer that was set before, if it is short, replaces them.
- A refresh counts if no script may leave before it is due, and no script runs that is not part of the page.

Such a browser reads `<noscript>` as text, and `<template>` and comments have no elements of the page, so none of these
has an effect.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec
from ada_url import URL
from msgspec.structs import replace
from selectolax.lexbor import LexborHTMLParser, LexborNode
from webencodings import Encoding

from daemon.trace.page.actions import Action, Go, Submit
from daemon.trace.page.bounds import FORM_STEPS, Steps, bounded
from daemon.trace.page.charsets import UTF_8, declared_encoding, decoded, meta_encoding, url_in_document
from daemon.trace.page.forms import Jump, NoSuchForm, form_meant, submission
from daemon.trace.page.jump_sites import writes_a_refresh
from daemon.trace.page.page_scripts import Attributes, PageScripts
from daemon.trace.page.refreshes import Refresh, declared_refresh

# Marks the place where the page was cut or ended: the element that contains it was not complete. HTML has no rule for
# its characters.
_CUT = "\ufdd0cut\ufdd0"
SUBMITS_MAX = 8  # of one page; later ones are ignored
TIMER_S = 1.0  # so long after its start a jump has left the page, and after its delay a refresh is due
_HANDLER = re.compile(r"[\s\"'/]on[a-z]+\s*=", re.I)
# Elements whose text a visitor does not see.
_UNSEEN = frozenset(
    {"head", "html", "script", "style", "title", "noscript", "noframes", "noembed", "iframe", "textarea", "option"}
)


class Page(msgspec.Struct, frozen=True):
    """The result of reading a page. `final`: the rest of the page changes nothing.

    `unresolved`: a script may leave the page for another URL than `jump`. `waits`: the form that is submitted at the
    page's load is not complete yet. `text_characters` are those that a visitor may see. `referrer_policies`: the texts
    of its `<meta name=referrer>`, in order.
    """

    jump: Jump | None = None
    final: bool = False
    unresolved: bool = False
    waits: bool = False
    text_characters: int = 0
    referrer_policies: tuple[str, ...] = ()


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
    tree, cut, has_handlers = parsed
    page = _Reading(tree, source, encoding, steps, has_handlers=has_handlers).page(whole)
    if steps.exhausted:
        return _OUT_OF_STEPS
    return replace(page, final=True) if cut else page


def _parsed(text: str, steps: Steps) -> tuple[LexborHTMLParser, bool, bool] | None:
    """A page's tree, whether the page's end was cut off, and whether it may have event handlers; None: no steps."""
    text, tags, cut = bounded(text)
    if not steps.take(tags):
        return None
    return LexborHTMLParser(text + _CUT, scripting=True), cut, _HANDLER.search(text) is not None


class _Reading:
    """One pass over a page's tree, in tree order."""

    def __init__(
        self, tree: LexborHTMLParser, source: Source, encoding: Encoding, steps: Steps, *, has_handlers: bool
    ) -> None:
        self._tree = tree
        self._steps = steps
        self._met: list[LexborNode] = []  # the elements so far
        self._source = source
        self._encoding = encoding
        self._has_handlers = has_handlers
        self._base: URL | None = None
        self._target: str | None = None
        self._refresh = source.refresh
        self._scripts = PageScripts(source.refresh_max_s, steps, source.policies)
        self._jumps: list[Jump] = []  # at once, by scripts
        self._cut: LexborNode | None = None
        self._uncertain = False  # an action of a script is not known
        self._refreshes_without_scripts = False
        self._text_characters = 0
        self._referrer_policies: list[str] = []
        self._submits = 0

    def page(self, whole: bool) -> Page:
        for node in self._tree.root.traverse(include_text=True) if self._tree.root is not None else ():
            if not self._steps.take(1):
                break
            self._meet(node)
            if self._jumps and _is_web(self._jumps[-1]):
                return self._left(self._jumps[-1])
        waits = not whole and any(
            isinstance(action, Submit) and not self._is_complete(action) for action in self._scripts.on_load
        )
        at_load = [] if waits else self._done(self._scripts.on_load)
        jump, unresolved = (None, False) if waits else self._decided(at_load)
        final = whole or (unresolved and jump is None)
        return Page(jump, final, unresolved, waits, self._text_characters, tuple(self._referrer_policies))

    def _left(self, jump: Jump) -> Page:
        """The page that a script certainly leaves, with what a timer may do before the jump's answer comes."""
        leaves_s = self._scripts.leaves_after_s()
        uncertain = self._uncertain or (leaves_s is not None and leaves_s < TIMER_S)
        policies = tuple(self._referrer_policies)
        return Page(None if uncertain else jump, True, uncertain, False, self._text_characters, policies)

    def _decided(self, at_load: list[Jump]) -> tuple[Jump | None, bool]:
        """The page's jump, and whether the page may leave otherwise."""
        leaves_s = self._scripts.leaves_after_s()
        jump = at_load[-1] if at_load else self._jumps[-1] if self._jumps else None
        if self._uncertain or any(other != jump for other in at_load):
            return None, True
        if jump is not None and _is_web(jump):
            return (jump, False) if leaves_s is None or leaves_s >= TIMER_S else (None, True)
        refresh = self._refresh
        declared = refresh is not None and refresh.delay_s <= self._source.refresh_max_s
        if jump is not None:  # to an app: where a browser cannot open it, the page goes on
            return jump, declared or leaves_s is not None
        if refresh is None or not declared:
            return None, leaves_s is not None or (self._refreshes_without_scripts and self._scripts.loads_unknown)
        if self._scripts.loads_unknown or (leaves_s is not None and leaves_s < refresh.delay_s + TIMER_S):
            return None, True
        return Jump("meta" if self._source.refresh is None else "refresh-header", refresh.url.href), False

    def _meet(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "-text":
            self._read_text(node)
            return
        if tag == "meta":
            self._read_meta(node.attributes)
        elif tag == "base":
            self._read_base(node.attributes)
        elif tag == "script":
            self._read_script(node)
        elif tag == "noscript":
            self._refreshes_without_scripts |= writes_a_refresh(node.text() or "")
        elif tag == "iframe":
            self._read_frame(node.attributes)
        if self._has_handlers and tag is not None:
            self._scripts.add_handlers(tag, node.attributes)
        self._met.append(node)  # after its script, which does not see itself

    def _read_text(self, node: LexborNode) -> None:
        text = node.text(deep=False)
        if text.endswith(_CUT):
            self._cut = node
            text = text.removesuffix(_CUT)
        if text and node.parent is not None and node.parent.tag not in _UNSEEN:
            self._text_characters += len(text.strip())

    def _read_meta(self, attributes: Attributes) -> None:
        kind, text = (attributes.get("http-equiv") or "").lower(), attributes.get("content")
        if text and kind == "content-security-policy":
            self._scripts.policies.append(text)
        elif text and kind == "refresh" and self._refresh is None:
            self._refresh = declared_refresh(text, self._base_url, self._source.url, self._encoding)
        if (attributes.get("name") or "").lower() == "referrer" and (text := attributes.get("content")):
            self._referrer_policies.append(text)

    def _read_base(self, attributes: Attributes) -> None:
        """The first base element with an href counts, even where that is no URL (HTML 4.2.3)."""
        if self._target is None:
            self._target = attributes.get("target")
        if self._base is None and "href" in attributes:
            url = url_in_document(attributes["href"] or "", self._source.url, self._encoding)
            self._base = self._source.url if url is None or url.protocol in ("data:", "javascript:") else url

    def _read_frame(self, attributes: Attributes) -> None:
        """A frame's own script may leave the page too: top.location = "…"."""
        url = url_in_document((attributes.get("src") or "")[:8_192], self._base_url, self._encoding)
        if url is not None and url.protocol == "javascript:":
            self._scripts.add_code(_code_of(url))
        if (document := attributes.get("srcdoc")) and "<script" in document.lower():
            self._uncertain |= "top" in document or "parent" in document

    def _read_script(self, node: LexborNode) -> None:
        text = node.text()
        if not text.endswith(_CUT):  # a browser runs only complete scripts
            self._jumps += self._done(self._scripts.add(node.attributes, text, self._base_url))

    def _done(self, actions: Sequence[Action]) -> list[Jump]:
        """The jumps of a script's actions, with the elements so far. A script that throws ends there."""
        jumps: list[Jump] = []
        for action in actions:
            if isinstance(action, Go):
                url = url_in_document(action.url, self._base_url, self._encoding)
                if url is None:
                    break
                if url.protocol == "javascript:":
                    self._scripts.add_code(_code_of(url))
                else:
                    jumps.append(Jump("script", url.href))
                continue
            try:
                jump = self._submitted(action)
            except NoSuchForm:
                break
            except ValueError:
                self._uncertain = True
                break
            jumps += [] if jump is None else [jump]
        return jumps

    def _submitted(self, action: Submit) -> Jump | None:
        """The jump of a submit(); raises as forms.py does."""
        self._submits += 1
        if self._submits > SUBMITS_MAX or not self._steps.take(FORM_STEPS * len(self._met)):
            raise ValueError("too many submits")
        form = form_meant(self._tree, action, self._met)
        return submission(
            self._met, form, document=self._source.url, base=self._base_url, target=self._target or "",
            encoding=self._encoding,
        )  # fmt: skip

    def _is_complete(self, submit: Submit) -> bool:
        """Whether the form to submit ends before the page's cut."""
        if not self._steps.take(FORM_STEPS * len(self._met)):
            return False
        try:
            form = form_meant(self._tree, submit, self._met)
        except ValueError:
            return False
        if self._cut is None:
            return False
        return all(node.mem_id != self._cut.mem_id for node in form.traverse(include_text=True))

    @property
    def _base_url(self) -> URL:
        return self._source.url if self._base is None else self._base


def _is_web(jump: Jump) -> bool:
    return jump.url.startswith(("http:", "https:"))


def _code_of(url: URL) -> str:
    """The script of a javascript: URL (HTML 7.4.2.3.2)."""
    return unquote(url.href.removeprefix("javascript:"))
