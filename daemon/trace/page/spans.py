"""The spans of a script: parts of its code that run at different times, or never by themselves. Pure.

A function with a name runs when code that references the name runs, and another, such as a callback, possibly with the
code around it. The arguments of a timer run after its delay. The handler of a visitor's event (click, scroll, submit)
never runs by itself, nor does the usual code that frees a page from a frame: the page of a trace is in none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from daemon.trace.page.jump_sites import TIMERS
from daemon.trace.page.statements import HEADED, Code
from daemon.trace.page.tokens import Token, TokenKind

_VISITORS_EVENTS = frozenset(
    {"abort", "afterprint", "auxclick", "beforeinput", "beforeprint", "beforeunload", "blur", "cancel", "change",
     "click", "close", "contextmenu", "copy", "cut", "dblclick", "drag", "dragend", "dragenter", "dragleave",
     "dragover", "dragstart", "drop", "focus", "focusin", "focusout", "fullscreenchange", "hashchange", "hover",
     "input", "invalid", "keydown", "keypress", "keyup", "message", "mousedown", "mouseenter", "mouseleave",
     "mousemove", "mouseout", "mouseover", "mouseup", "mousewheel", "offline", "online", "orientationchange",
     "pagehide", "paste", "pointerdown", "pointermove", "pointerup", "popstate", "reset", "resize", "scroll",
     "search", "select", "storage", "submit", "swipe", "tap", "toggle", "touchcancel", "touchend", "touchmove",
     "touchstart", "unload", "visibilitychange", "wheel"}
)  # fmt: skip
_LISTENERS = frozenset({"addEventListener", "attachEvent", "on", "one", "once", "bind", "live", "delegate"})
# Methods that JavaScript or a browser calls.
_CALLED_BY_ITSELF = frozenset({"constructor", "toString", "valueOf", "toJSON", "then", "next", "apply", "get",
                               "connectedCallback", "handleEvent"})  # fmt: skip
_FRAME_WORDS = frozenset({"window", "self", "top", "parent", "location", "document", "href", "frames", "frameElement",
                          "length", "(", ")", ".", "0"})  # fmt: skip
_NOT_EQUAL, _EQUAL = frozenset({"!=", "!=="}), frozenset({"==", "==="})
_CONDITION_TOKENS_MAX = 16
_BODY_TOKENS_MAX = 64  # of a statement without braces
_TARGETS_MAX = 8  # of one assignment
_BEFORE_A_DECLARATION = frozenset({";", "}", "{", ")"})


@dataclass(slots=True)
class Span:
    """A part of a script. `after_s`: it runs so long after the code around it, or never by itself (inf).

    `leaves`: it has a jump. `names` are referenced in it, `inside` are the spans that run with it.
    """

    after_s: float = 0.0
    leaves: bool = False
    names: set[str] = field(default_factory=set)
    inside: list["Span"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Frame:
    """An open bracket with its content, a statement that ends before `close`, or an arrow function's expression."""

    kind: Literal["(", "[", "{", "call", "statement", "arrow"]
    close: int
    span: Span


def is_visitors_event(name: str) -> bool:
    """Whether an event, as `click` or `click.menu`, occurs only by the visitor's doing."""
    name = name.partition(".")[0]
    return name in _VISITORS_EVENTS or name.removeprefix("on") in _VISITORS_EVENTS


def spans(code: Code, script: Span, functions: dict[str, list[Span]]) -> Iterator[Span]:
    """The span of each token, in order. A new span is added to the one that it runs with, or to `functions`."""
    frames = [_Frame("statement", len(code.tokens), script)]
    framed: dict[int, int] = {}  # where statements that only run in a frame begin and end
    opened = {close: at for at, close in code.ends.items()}
    for at, token in enumerate(code.tokens):
        _close(frames, at, token)
        if at in framed:
            frames.append(_Frame("statement", framed[at], Span(inf)))
        yield frames[-1].span
        if token.kind is TokenKind.NAME and token.text == "if":
            framed.update(_only_in_a_frame(code, at))
        if token.kind is not TokenKind.MARK:
            continue
        if at in code.ends:
            called = token.text == "(" and at > 0 and code.tokens[at - 1].kind is TokenKind.NAME
            inner = _called(code, at, frames[-1].span) if called else _braced(code, at, opened, frames, functions)
            frames.append(_Frame("call" if called else token.text, code.ends[at], inner))  # type: ignore[arg-type]
        elif token.text == "=>" and not code.is_at(at + 1, "{"):
            inner = _function(code, opened.get(at - 1, at - 1), "", frames, functions)
            frames.append(_Frame("arrow", len(code.tokens), inner))


def _close(frames: list[_Frame], at: int, token: Token) -> None:
    """Removes the frames that end before the token at `at`, or with it if it is a closing bracket."""
    top = frames[-1]
    if top.close != at and top.kind != "arrow":
        return
    closes = token.kind is TokenKind.MARK and token.text in (")", "]", "}")
    separates = token.kind is TokenKind.MARK and token.text in (",", ";")
    while len(frames) > 1:
        top = frames[-1]
        if not (top.close == at or (top.kind == "arrow" and (closes or separates))):
            return
        frames.pop()
        if top.kind not in ("arrow", "statement"):
            return


def _only_in_a_frame(code: Code, at: int) -> dict[int, int]:
    """The statement of the `if` at `at` that a page without a frame does not run: where it begins, and its end."""
    if not code.is_at(at + 1, "("):
        return {}
    close = code.ends[at + 1]
    condition = {token.text for token in code.tokens[at + 2 : min(close, at + 2 + _CONDITION_TOKENS_MAX)]}
    compares = condition & (_EQUAL | _NOT_EQUAL)
    if close - at > _CONDITION_TOKENS_MAX or len(compares) != 1 or not condition - compares <= _FRAME_WORDS:
        return {}
    begins, ends = close + 1, _statement_end(code, close + 1)
    if compares & _EQUAL:
        if ends is None or not code.is_at(ends, "else"):
            return {}
        begins, ends = ends + 1, _statement_end(code, ends + 1)
    return {} if ends is None else {begins: ends}


def _statement_end(code: Code, at: int) -> int | None:
    """The end of a block, or of a short statement."""
    if code.is_at(at, "{"):
        return code.ends[at] + 1
    began = at
    for _ in range(_BODY_TOKENS_MAX):
        if at >= len(code.tokens) or code.is_at(at, "}") or (at > began and code.tokens[at].after_line):
            return at
        if code.is_at(at, "if"):
            return None
        if code.is_at(at, ";"):
            return at + 1
        at = code.ends.get(at, at) + 1
    return None


def _called(code: Code, at: int, span: Span) -> Span:
    """The span of a call's arguments; the call's name is before `at`."""
    name = code.tokens[at - 1].text
    after_s = 0.0
    if name in TIMERS:
        after_s = delay_s(code, at)
    elif name in _LISTENERS:
        texts = [token.text for token in code.tokens[at + 1 : at + 4] if token.kind is TokenKind.TEXT]
        after_s = inf if texts and all(map(is_visitors_event, texts[0].split())) else 0.0
    elif name in _VISITORS_EVENTS and code.is_at(at - 2, ".") and not code.is_at(at + 1, ")"):
        after_s = inf  # jQuery's .click(function () { … })
    if not after_s:
        return span
    span.inside.append(inner := Span(after_s))
    return inner


def delay_s(code: Code, at: int) -> float:
    """The delay of a timer whose arguments begin at `at`, at least; 0 if the delay is computed."""
    close = code.ends[at]
    factors = [token for token in code.tokens[max(at, close - 3) : close] if token.kind is TokenKind.NUMBER]
    comma = close - 2 * len(factors)
    if not factors or not code.is_at(comma, ",") or (len(factors) == 2 and not code.is_at(close - 2, "*")):
        return 0.0
    ms = 1.0
    for factor in factors:
        try:
            ms *= float(factor.text)
        except ValueError:  # hexadecimal, with separators, or a BigInt
            return 0.0
    return ms / 1000


def _braced(
    code: Code, at: int, opened: dict[int, int], frames: list[_Frame], functions: dict[str, list[Span]]
) -> Span:
    """The span of a bracket that is no call: a function's if it is the body of one."""
    if not code.is_at(at, "{"):
        return frames[-1].span
    if code.is_at(at - 1, "=>"):
        return _function(code, opened.get(at - 2, at - 2), "", frames, functions)
    if not code.is_at(at - 1, ")"):
        return frames[-1].span
    begins = opened[at - 1] - 1
    name = code.tokens[begins] if begins >= 0 else None
    if name is None or name.kind is not TokenKind.NAME or name.text in HEADED or name.text == "catch":
        return frames[-1].span
    if name.text == "function":
        return _function(code, begins, "", frames, functions)
    keyword = begins - 2 if code.is_at(begins - 1, "*") else begins - 1
    if code.is_at(keyword, "function"):
        return _function(code, keyword, name.text, frames, functions)
    return _function(code, begins, "", frames, functions, method=name.text)


def _function(
    code: Code, begins: int, name: str, frames: list[_Frame], functions: dict[str, list[Span]], *, method: str = ""
) -> Span:
    """The span of a function that begins at `begins`, placed where it runs from.

    A declared function and one that is the value of a variable or property run when their name is referenced. Others,
    such as arguments of calls and their options, run with the code around them, at least possibly.
    """
    span = Span()
    if code.is_at(begins - 1, "async"):
        begins -= 1
    before = code.tokens[begins - 1] if begins > 0 else None
    names = {method} if method else set()
    if name and (before is None or before.text in _BEFORE_A_DECLARATION or code.tokens[begins].after_line):
        names = {name}
    elif before is not None and before.text == "=":
        names = _assigned(code, begins - 1)
    elif before is not None and before.text == ":":
        names = {code.tokens[begins - 2].text}
    keyed = bool(method) or (before is not None and before.text == ":")
    handlers = {text for text in names if text.startswith("on") or (keyed and text in _VISITORS_EVENTS)}
    if handlers:
        span.after_s = inf if all(map(is_visitors_event, handlers)) else 0.0
        names = set()
    if names & _CALLED_BY_ITSELF or (
        keyed and len(frames) > 1 and frames[-1].kind == "{" and frames[-2].kind == "call"
    ):
        names = set()
    if not names:
        frames[-1].span.inside.append(span)
    for text in names:
        functions[text].append(span)
    return span


def _assigned(code: Code, at: int) -> set[str]:
    """The names of the variables and properties before the `=` at `at`, as in `a.b = c = function`."""
    names: set[str] = set()
    while len(names) < _TARGETS_MAX and code.is_at(at, "="):
        if code.is_at(at - 1, "]"):
            names.add(code.tokens[at - 2].text)
            break
        names.add(code.tokens[at - 1].text)
        at -= 2
        while code.is_at(at, "."):
            at -= 2
    return names


def defines_a_function(code: Code, at: int) -> bool:
    """Whether a name only names the function that follows: no reference to it."""
    tokens, after = code.tokens, at + 1
    if at and tokens[at - 1].text in ("function", "*"):
        return code.is_at(at - 1, "function") or code.is_at(at - 2, "function")
    if after >= len(tokens) or tokens[after].text not in ("(", "=", ":") or tokens[after].kind is not TokenKind.MARK:
        return False
    if tokens[after].text == "(":
        return not code.is_at(at - 1, ".") and code.is_at(code.ends[after] + 1, "{")  # a method
    value = after + 2 if code.is_at(after + 1, "async") else after + 1
    if code.is_at(value, "("):
        value = code.ends[value]
    return code.is_at(value, "function") or code.is_at(value + 1, "=>")
