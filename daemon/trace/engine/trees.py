"""The tree of a page, in the form in which page.js takes it. Pure.

An element is `[tag, {attribute: value}, [child, …]]`, a text is a string, a comment is `["!", text]`. The children of a
template are its content.
"""

import re
import struct
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as quoted

from selectolax.lexbor import LexborHTMLParser, LexborNode

from daemon.trace.page.bounds import bounded

DEPTH_MAX = 512  # of a tree, as in Chromium: a deeper element becomes a sibling
SMALL_CHARACTERS, SMALL_TAGS = 8_192, 256  # of a page whose tree takes 0.1 ms, and 2 ms at worst

# Noncharacters. Before the N-th end tag of a script the tree has N between the first two; where its text was cut it has
# a comment with the third. A page's own ones are the letters A, B and C between the first two.
_MARK, _MARK_END, _CUT = "\ufdd0", "\ufdd1", "\ufdd2"
_MARKS = re.compile(f"[{_MARK}{_MARK_END}{_CUT}]")
# What begins and ends a script, and what escapes an end tag in it (HTML 13.2.5.17 to 13.2.5.31).
_IN_SCRIPTS = re.compile(r"<!(?=--)|-->|</?script(?=[\t\n\f\r />])", re.I | re.ASCII)
_QUOTED_MAX = 256  # characters of an end tag in which quotes count
_END_TAG = re.compile(r"""</script(?:=[\t\n\f\r ]*+(?:"[^"]*+"|'[^']*+')|[^>])*+>""", re.I | re.ASCII)


def small_tree_of(html: str, *, whole: bool) -> str | None:
    """`tree_of`, of a page that costs little."""
    if len(html) > SMALL_CHARACTERS:
        return None
    text, tags, _ = bounded(html)
    return tree_of(html, None if whole else len(_in_code_units(html))) if text == html and tags <= SMALL_TAGS else None


def tree_of(html: str, cut: int | None) -> str:
    """`[nodes, ends]` in JSON: the nodes of a document, and the positions after the end tags of its scripts.

    `cut`: the position where the text is cut, None for nowhere. Positions count the UTF-16 code units of `html`.
    """
    text = _in_code_units(html)
    marked: list[str] = []
    begin = 0
    ends: list[int] = []
    for at in _script_ends(text):
        end = _end_of_tag(text, at)
        if end == 0 or (cut is not None and end > cut):
            cut = at if cut is not None and at < cut else cut  # a browser waits for the rest of the tag
            break
        marked.append(f"{_kept(text[begin:at])}{_MARK}{len(ends)}{_MARK_END}")
        begin = at
        ends.append(end)
    if cut is None:
        marked.append(_kept(text[begin:]))
    else:
        marked.append(f"{_kept(text[begin : cut - text.endswith('<', 0, cut)])}<!--{_CUT}-->")
    return f"[{nodes_of(_from_code_units(''.join(marked)), '')},{ends}]"


def _end_of_tag(text: str, at: int) -> int:
    """The position after an end tag, 0 if the text ends before it."""
    found = _END_TAG.match(text, at, at + _QUOTED_MAX)
    return text.find(">", at) + 1 if found is None else found.end()


def _kept(text: str) -> str:
    """A part of the page's text that has the noncharacters in the form in which page.js knows them."""
    return _MARKS.sub(lambda found: f"{_MARK}{'ABC'[ord(found[0]) - ord(_MARK)]}{_MARK_END}", text)


def _script_ends(text: str) -> Iterator[int]:
    """The positions of the end tags of scripts.

    A script ends at the second end tag where the first is escaped. Both are given, because the text that escapes may be
    that of an attribute or of a textarea. A mark inside a script has no effect, and page.js takes the last one.
    """
    is_open = is_escaped = is_twice = False
    begin = 0  # the end of the start tag: what looks like an end tag before it is an attribute
    for found in _IN_SCRIPTS.finditer(text):
        match found[0][:3].lower():
            case "<!":
                is_escaped = True
            case "-->":
                is_escaped = is_twice = False
            case "</s" if found.start() >= begin:
                if is_open:
                    yield found.start()
                is_open, is_twice = is_open and is_twice, False
            case "</s":
                pass
            case _ if is_open:
                is_twice = is_escaped
            case _:
                is_open, is_escaped, begin = True, False, text.find(">", found.start())


def nodes_of(html: str, context: str) -> str:
    """The nodes of a document, or those of a fragment inside an element of the tag `context`, in JSON."""
    if context:
        return _written(LexborHTMLParser(html, is_fragment=True, fragment_tag=context, scripting=True).root)
    tree = LexborHTMLParser(html, scripting=True)
    document = tree.root.parent if tree.root is not None else None
    return _written(None if document is None else document.child)


def _in_code_units(text: str) -> str:
    """The text with two surrogates in the place of a character that has two code units in UTF-16."""
    if text.isascii() or max(text) < "\U00010000":
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    return "".join(map(chr, struct.unpack(f"<{len(units) // 2}H", units)))


def _from_code_units(text: str) -> str:
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _written(node: LexborNode | None) -> str:
    """`node` and its next siblings, with their children. Iterative: trees may be deeper than Python's stack."""
    parts = ["["]
    comma = ""
    outer: list[tuple[LexborNode | None, bool]] = []  # the next sibling of each parent, and whether its list ends here
    depth = 0
    while True:
        if node is None:
            if not outer:
                break
            node, ends = outer.pop()
            if ends:
                parts.append("]]")
                comma = ","
                depth -= 1
            continue
        following = node.next
        if node.is_element_node:
            parts.append(f"{comma}[{quoted(node.tag or '')},{_attributes(node)},[")
            deeper = depth < DEPTH_MAX or node.tag == "script"
            if not deeper:
                parts.append("]]")
            outer.append((following, deeper))
            depth += deeper
            comma = "" if deeper else ","
            node = _first_child(node)
            continue
        if node.is_text_node:
            parts.append(comma + quoted(node.text_content or ""))
            comma = ","
        elif node.is_comment_node:
            comment = (node.html or "")[len("<!--") : -len("-->")]  # comment_content has no space around it
            parts.append(f'{comma}["!",{quoted(comment)}]')
            comma = ","
        node = following
    parts.append("]")
    return "".join(parts)


def _attributes(element: LexborNode) -> str:
    found = element.attributes
    return "{" + ",".join([f"{quoted(name)}:{quoted(found[name] or '')}" for name in found]) + "}" if found else "{}"


def _first_child(element: LexborNode) -> LexborNode | None:
    if element.tag != "template":
        return element.child
    contents = element.template_fragments()
    return contents[0].child if contents else None
