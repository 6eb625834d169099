"""The request that a browser sends when a script calls a form's submit() (form submission, HTML 4.10.22). Pure.

submit() has no submit button and no validation. Only urlencoded forms are supported (not multipart and text/plain).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import webencodings
from ada_url import URL
from selectolax.lexbor import LexborHTMLParser, LexborNode
from webencodings import Encoding

from daemon.trace.page.actions import Submit
from daemon.trace.page.charsets import UTF_8, percent_encoded, url_in_document
from daemon.trace.page.entries import FIELDS, Pair, entry_list, owned_fields

FORM_TYPE = "application/x-www-form-urlencoded"
_OTHER_TYPES = frozenset({"multipart/form-data", "text/plain"})
_SAME_WINDOW = frozenset({"", "_self", "_top", "_parent"})
_WITH_BUTTONS = FIELDS | {"button", "output", "fieldset", "object", "img"}
_LINE_END = re.compile(r"\r\n|\r|\n")
# An element by its tag, id, class or name: no selector that would be slow in a tree made for it.
_SELECTOR = re.compile(r"(?=.)[A-Za-z]*(?:[#.][A-Za-z_][\w-]*|\[name=[\"']?[A-Za-z_][\w-]*[\"']?\])?", re.ASCII)
_FORM_SAFE = "*-._"  # besides letters and digits (URL 5.2)


@dataclass(frozen=True, slots=True)
class Jump:
    """The next request of a page. `kind` as in redirect_chain. `body` is a urlencoded form's."""

    kind: str
    url: str
    method: str = "GET"
    body: bytes = b""


class NoSuchForm(ValueError):
    """The script's form is not there, so the script throws."""


def form_meant(tree: LexborHTMLParser, submit: Submit, nodes: Sequence[LexborNode]) -> LexborNode:
    """The form whose submit() a script calls, among `nodes`, the elements before the script.

    Raises NoSuchForm, or another ValueError if it is not known which form is meant.
    """
    found = _named(tree, submit, nodes)
    if submit.nth < len(found):
        if found[submit.nth].tag == "form":
            return found[submit.nth]
    elif submit.by == "global":
        raise ValueError("possibly a variable of the script's own")
    raise NoSuchForm


def submission(
    nodes: Sequence[LexborNode], form: LexborNode, *, document: URL, base: URL, target: str, encoding: Encoding
) -> Jump | None:
    """The request that submits `form`, with its fields among `nodes`, in tree order; None if the page stays.

    `target` is that of the page's base element. Raises ValueError for a form that only a browser can send.
    """
    attributes = form.attributes
    if any("submit" in (node.attributes.get("id"), node.attributes.get("name"))
           for node in owned_fields(nodes, form, _WITH_BUTTONS)):  # fmt: skip
        raise ValueError("a field hides the form's submit(): the script throws")
    if (attributes.get("target") or target).lower() not in _SAME_WINDOW:
        return None
    method = (attributes.get("method") or "").lower()
    if method == "dialog":
        return None
    action = attributes.get("action") or ""
    url = url_in_document(action, base, encoding) if action else URL(document.href)
    if url is not None and url.protocol == "javascript:":
        raise ValueError("a script")
    if url is None or url.protocol not in ("http:", "https:"):
        return None
    if "accept-charset" in attributes:
        labels = (attributes["accept-charset"] or "").split()
        encoding = next(filter(None, map(webencodings.lookup, labels)), UTF_8)
    fields = _urlencoded(entry_list(nodes, form, encoding), encoding)
    if method != "post":
        url.search = fields
        if not fields:
            url = URL(url.href.partition("#")[0] + "?" + url.hash)
        return Jump("form", url.href)
    if (attributes.get("enctype") or "").lower() in _OTHER_TYPES:
        raise ValueError("not a urlencoded form")
    return Jump("form", url.href, "POST", fields.encode("ascii"))


def _named(tree: LexborHTMLParser, submit: Submit, nodes: Sequence[LexborNode]) -> Sequence[LexborNode]:
    key = submit.key
    if submit.by == "selector":
        if _SELECTOR.fullmatch(str(key)) is None:
            raise ValueError("a selector that is not read")
        known = {node.mem_id for node in nodes}
        return [node for node in tree.css(str(key)) if node.mem_id in known]
    if submit.by not in ("id", "name"):
        nodes = [node for node in nodes if node.tag == "form"]
    if isinstance(key, int):
        return nodes[key : key + 1]
    if submit.by in ("id", "name"):
        return [node for node in nodes if node.attributes.get(submit.by) == key]
    return [node for node in nodes if key in (node.attributes.get("id"), node.attributes.get("name"))]


def _urlencoded(pairs: list[Pair], encoding: Encoding) -> str:
    return "&".join(f"{_written(name, encoding)}={_written(value, encoding)}" for name, value in pairs)


def _written(text: str, encoding: Encoding) -> str:
    lines = _LINE_END.sub("\r\n", text)
    return percent_encoded(lines, encoding, _FORM_SAFE + " ").replace("~", "%7E").replace(" ", "+")
