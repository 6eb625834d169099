"""The entry list of a form: the names and values that a browser sends (HTML 4.10.22.4). Pure.

The form is submitted by submit(), so no button is the submitter. Fields are those before the script.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import takewhile

from selectolax.lexbor import LexborNode
from webencodings import Encoding

Pair = tuple[str, str]

FIELDS = frozenset({"input", "select", "textarea"})
_BUTTONS = frozenset({"submit", "image", "reset", "button"})
_CHECKED = frozenset({"checkbox", "radio"})
_TABLE_PARTS = frozenset({"table", "tbody", "thead", "tfoot", "tr"})
_WHITESPACE = "\t\n\f\r "
_WHITESPACES = re.compile(r"[\t\n\f\r ]+")
_LINE_END = re.compile(r"\r\n|\r|\n")
_FLOAT = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,3})?)?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DATES = {"month": re.compile(r"[0-9]{4}-[0-9]{2}", re.ASCII), "week": re.compile(r"[0-9]{4}-W[0-9]{2}", re.ASCII)}
_COLOR = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
# Names of encodings whose case is neither upper nor lower (Encoding 4.2).
_MIXED_CASE = {"big5": "Big5", "shift_jis": "Shift_JIS", "gb18030": "gb18030", "macintosh": "macintosh"}
_WITH_DIRECTION = frozenset({"", "hidden", "text", "search", "tel", "url", "email", "password"})
_DIRECTIONS = frozenset({"ltr", "rtl"})
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]")


def owned_fields(nodes: Sequence[LexborNode], form: LexborNode, names: frozenset[str]) -> Iterator[LexborNode]:
    """The elements among `nodes`, in tree order, whose form owner is `form` (HTML 4.10.17.3)."""
    inside = {node.mem_id for node in form.traverse()} | _beside_in_a_table(nodes, form)
    form_id = form.attributes.get("id")
    for node in nodes:
        if node.tag in names:
            attributes = node.attributes
            by_id = form_id is not None and attributes.get("form") == form_id
            if by_id if "form" in attributes else node.mem_id in inside:
                yield node


def entry_list(nodes: Sequence[LexborNode], form: LexborNode, encoding: Encoding) -> list[Pair]:
    """The entries of `form`, whose fields are among `nodes`, in tree order."""
    fields = list(owned_fields(nodes, form, FIELDS))
    excluded = _excluded(nodes)
    last_checked = {
        node.attributes.get("name"): node.mem_id
        for node in fields
        if _kind(node) == "radio" and "checked" in node.attributes
    }
    directions: dict[int, str] = {}
    found: list[Pair] = []
    for node in fields:
        attributes = node.attributes
        name = attributes.get("name")
        if not name or "disabled" in attributes or node.mem_id in excluded:
            continue
        if _kind(node) == "radio" and last_checked.get(name) != node.mem_id:
            continue
        found += [(name, value) for value in _values(node, encoding)]
        direction = attributes.get("dirname")
        if direction and (node.tag == "textarea" or (node.tag == "input" and _kind(node) in _WITH_DIRECTION)):
            directions = directions or _inherited_directions(nodes)
            inherited = "ltr" if node.parent is None else directions.get(node.parent.mem_id, "ltr")
            found.append((direction, _direction(node, inherited)))
    return found


def _beside_in_a_table(nodes: Sequence[LexborNode], form: LexborNode) -> set[int]:
    """The fields of a form that the parser emptied because it stands between a table and its rows.

    The parser associates fields with the form up to its end tag (HTML 13.2.6.4.9, "form"), which the tree does not
    have. Here they are those up to the table's end or the next form.
    """
    table = form.parent
    if table is None or table.tag not in _TABLE_PARTS:
        return set()
    while table.tag != "table" and table.parent is not None:
        table = table.parent
    inside = {node.mem_id for node in table.traverse()}
    begins = next((at + 1 for at, node in enumerate(nodes) if node.mem_id == form.mem_id), len(nodes))
    after = takewhile(lambda node: node.tag != "form" and node.mem_id in inside, nodes[begins:])
    return {node.mem_id for node in after}


def _excluded(nodes: Sequence[LexborNode]) -> set[int]:
    """The elements in a datalist or in a disabled fieldset, its first legend excepted (HTML 4.10.18.5). Linear."""
    excluded: set[int] = set()
    excludes: set[int] = set()  # those whose children are excluded
    legends: dict[int, bool] = {}  # by fieldset that is disabled and still without a legend: whether it is excluded
    for node in nodes:
        parent = None if node.parent is None else node.parent.mem_id
        is_excluded = parent in excludes
        if node.tag == "legend" and parent in legends:
            is_excluded = legends.pop(parent)
        if is_excluded:
            excluded.add(node.mem_id)
        disables = node.tag == "fieldset" and "disabled" in node.attributes
        if disables:
            legends[node.mem_id] = is_excluded
        if is_excluded or disables or node.tag == "datalist":
            excludes.add(node.mem_id)
    return excluded


def _kind(node: LexborNode) -> str:
    return (node.attributes.get("type") or "").lower() if node.tag == "input" else ""


def _values(node: LexborNode, encoding: Encoding) -> list[str]:
    attributes = node.attributes
    if node.tag == "textarea":
        return [node.text() or ""]
    if node.tag == "select":
        return _chosen(node)
    kind, value = _kind(node), attributes.get("value") or ""
    if kind in _BUTTONS or (kind in _CHECKED and "checked" not in attributes):
        return []
    if kind in _CHECKED:
        return [value if "value" in attributes else "on"]
    if kind == "file":
        return [""]
    if kind == "hidden":
        return [_name_of(encoding) if (attributes.get("name") or "").lower() == "_charset_" else value]
    return [_SANITIZED.get(kind, _one_line)(value, node)]


def _name_of(encoding: Encoding) -> str:
    name = str(encoding.name)
    return _MIXED_CASE.get(name) or (name if name.startswith(("windows-", "x-")) else name.upper())


def _one_line(value: str, _: LexborNode) -> str:
    return _LINE_END.sub("", value)


def _stripped(value: str, node: LexborNode) -> str:
    return _one_line(value, node).strip(_WHITESPACE)


def _addresses(value: str, node: LexborNode) -> str:
    if "multiple" not in node.attributes:
        return _stripped(value, node)
    return ",".join(address.strip(_WHITESPACE) for address in _one_line(value, node).split(","))


def _number(value: str, _: LexborNode) -> str:
    return value if _FLOAT.fullmatch(value) else ""


def _range(value: str, node: LexborNode) -> str:
    """Within min and max, by default the middle (HTML 4.10.5.1.13). The step is not considered."""
    lowest, highest = (
        float(text) if text and _FLOAT.fullmatch(text) else other
        for text, other in ((node.attributes.get("min"), 0.0), (node.attributes.get("max"), 100.0))
    )
    if not _FLOAT.fullmatch(value):
        number = lowest if highest < lowest else lowest + (highest - lowest) / 2
    elif lowest <= float(value) <= highest:
        return value
    else:
        number = max(lowest, min(float(value), highest))
    return f"{number:.15g}"


def _color(value: str, node: LexborNode) -> str:
    value = _stripped(value, node)
    return value.lower() if _COLOR.fullmatch(value) else "#000000"


def _date(value: str, node: LexborNode) -> str:
    """A valid date, month or week, or nothing."""
    if not _DATES.get(_kind(node), _DAY).fullmatch(value):
        return ""
    try:
        date.fromisoformat(value + "-01" if _kind(node) == "month" else value)
    except ValueError:
        return ""
    return value


def _time(value: str, _: LexborNode) -> str:
    return value if _TIME.fullmatch(value) else ""


def _local_time(value: str, node: LexborNode) -> str:
    day, time = _date(value[:10], node), _time(value[11:], node)
    if not day or not time or value[10] not in "T ":
        return ""
    return f"{day}T{time.removesuffix('.000').removesuffix(':00') if len(time) > len('00:00') else time}"


# The value sanitization algorithms of HTML 4.10.5.1, by type; of the others, line ends are removed.
_SANITIZED: dict[str, Callable[[str, LexborNode], str]] = {
    "url": _stripped, "email": _addresses, "number": _number, "range": _range, "color": _color, "date": _date,
    "month": _date, "week": _date, "time": _time, "datetime-local": _local_time,
}  # fmt: skip


def _chosen(select: LexborNode) -> list[str]:
    """The values of the selected options that are not disabled (HTML 4.10.7).

    Without `multiple` the last selected one is, or else in a drop-down list the first that is not disabled.
    """
    options = [node for node in select.traverse() if node.tag == "option"]
    enabled = [option for option in options if not _is_disabled(option)]
    selected = [option for option in options if "selected" in option.attributes]
    if "multiple" not in select.attributes:
        size = (select.attributes.get("size") or "").strip(_WHITESPACE)
        is_list = size.isdecimal() and int(size[:9]) > 1
        selected = selected[-1:] or ([] if is_list else enabled[:1])
    sent = {option.mem_id for option in enabled}
    return [_option_value(option) for option in selected if option.mem_id in sent]


def _is_disabled(option: LexborNode) -> bool:
    group = option.parent
    return "disabled" in option.attributes or (
        group is not None and group.tag == "optgroup" and "disabled" in group.attributes
    )


def _option_value(option: LexborNode) -> str:
    if "value" in option.attributes:
        return option.attributes["value"] or ""
    return _WHITESPACES.sub(" ", option.text() or "").strip(" ")


def _direction(node: LexborNode, inherited: str) -> str:
    """`ltr` or `rtl`, by the dir attribute (HTML 3.2.6.4). `auto` of an element around the field is not evaluated."""
    given = (node.attributes.get("dir") or "").lower()
    if given == "auto":
        text = (node.attributes.get("value") if node.tag == "input" else node.text()) or ""
        letter = next((letter for letter in text if letter.isalpha()), "")
        return "rtl" if _RIGHT_TO_LEFT.match(letter) else "ltr"
    if given in _DIRECTIONS:
        return given
    return "ltr" if _kind(node) == "tel" else inherited


def _inherited_directions(nodes: Sequence[LexborNode]) -> dict[int, str]:
    """The direction that each element's children inherit. Linear: a parent comes before its children."""
    found: dict[int, str] = {}
    for node in nodes:
        given = (node.attributes.get("dir") or "").lower()
        parent = node.parent
        inherited = "ltr" if parent is None else found.get(parent.mem_id, "ltr")
        found[node.mem_id] = given if given in _DIRECTIONS else inherited
    return found
