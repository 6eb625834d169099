"""The actions of scripts: jumps to URLs and submits of forms. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from daemon.trace.page.statements import Call, Link, Uncertain

WINDOWS = frozenset({"window", "self", "top", "parent", "document", "globalThis", "this"})


@dataclass(frozen=True, slots=True)
class Go:
    """A jump to `url`, which may be relative."""

    url: str


@dataclass(frozen=True, slots=True)
class Submit:
    """A form's submit(). The form is the `nth` that matches `key`.

    `by` is the kind of `key`: `forms` is an index or a name in document.forms, `global` a variable that may be the
    form's id or name.
    """

    by: Literal["forms", "id", "name", "selector", "global"]
    key: int | str
    nth: int = 0


Action = Go | Submit


def without_windows(links: Sequence[Link]) -> Sequence[Link]:
    """`location.href` for `window.top.location.href`; a single name stays."""
    begins = 0
    while begins < len(links) - 1 and links[begins] in WINDOWS:
        begins += 1
    return links[begins:]


def submitted(form: Sequence[Link]) -> Action:
    """The form whose submit() is called, from the links before the call."""
    by_document = "document" in form[:-1]
    names = list(without_windows(form))
    match names:
        case ["forms", int() | str() as key] | ["forms", "item" | "namedItem", Call(args=(int() | str() as key,))]:
            return Submit("forms", key)
        case ["getElementById", Call(args=(str() as key,))]:
            return Submit("id", key)
        case ["querySelector", Call(args=(str() as key,))]:
            return Submit("selector", key)
        case ["getElementsByTagName" | "querySelectorAll", Call(args=(str() as key,)), int() as nth]:
            return Submit("selector", key, nth)
        case ["getElementsByName", Call(args=(str() as key,)), int() as nth]:
            return Submit("name", key, nth)
        case [str() as key]:
            return Submit("forms" if by_document else "global", key)
    raise Uncertain
