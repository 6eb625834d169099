"""What a script certainly does when a browser runs it: go to a URL literal, or submit a form. Pure.

The script's tokens are read statement by statement; nothing is evaluated. Only statements that run whatever the values
are count: at the script's top level, in blocks, in `try`, in a function that is called at once, and in the page's
`onload`. Statements in other functions, in loops or under a condition do not count. If both branches of an `if` jump,
the page is certainly left, for an unknown URL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from daemon.trace.page.bounds import SCRIPT_STEPS, Steps
from daemon.trace.page.statements import HEADED, Call, Code, Link
from daemon.trace.page.tokens import TokenKind, tokens_in

DEPTH_MAX = 8  # of nested blocks and functions
CALLS_CHARACTERS_MAX = 256  # of a script without a jump or submit() that may call a function with one

_WINDOWS = frozenset({"window", "self", "top", "parent", "document", "globalThis", "this"})
_PARTS_OF_A_LOCATION = frozenset({"protocol", "host", "hostname", "port", "pathname", "search"})
_ASSIGNMENTS = frozenset({"=", "+=", "||=", "&&=", "??="})
_BRANCHES = frozenset({"?", "&&", "||", "??", "=>", "function", "class"})
_LOADED = frozenset({"load", "DOMContentLoaded"})


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


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A jump whose target is computed, or that waits for a timer."""


Action = Go | Submit | Unresolved
UNRESOLVED = Unresolved()


@dataclass(frozen=True, slots=True)
class Actions:
    """The last action of each kind, which counts in a browser. `later`: the script jumps when a timer expires.

    `called` are functions that certainly run, `jumping` functions that would jump; they may be in different scripts.
    """

    now: Action | None = None
    on_load: Action | None = None
    later: bool = False
    called: frozenset[str] = frozenset()
    jumping: frozenset[str] = frozenset()


NOTHING = Actions()


def read_script(code: str, *, wait_s_max: float, steps: Steps | None = None) -> Actions:
    """The actions of a script. Timers beyond `wait_s_max` are ignored.

    `steps` are those that its page has left. A script that needs more is not read, and `steps.exhausted` is set.
    """
    if len(code) > CALLS_CHARACTERS_MAX and "location" not in code and "submit" not in code:
        return NOTHING
    steps = Steps() if steps is None else steps
    tokens = tokens_in(code, steps) if steps.take(SCRIPT_STEPS) else None
    if tokens is None:
        return NOTHING
    reading = _Reading(Code(tokens), wait_s_max, steps)
    now, on_load = reading.run(0, len(tokens.all), 0), reading.on_load
    # The next request would need the cookie that the script sets.
    if any(token.kind is TokenKind.NAME and token.text == "cookie" for token in tokens.all):
        now, on_load = [UNRESOLVED for _ in now], [UNRESOLVED for _ in on_load]
    return Actions(
        now[-1] if now else None,
        on_load[-1] if on_load else None,
        reading.later,
        frozenset(reading.called),
        frozenset(reading.jumping),
    )


class _Reading:
    """One pass over a script. `run` adds to its attributes."""

    def __init__(self, code: Code, wait_s_max: float, steps: Steps) -> None:
        self._code = code
        self._steps = steps
        self._wait_s_max = wait_s_max
        self.on_load: list[Action] = []
        self.later = False
        self.called: set[str] = set()
        self.jumping: set[str] = set()

    def run(self, at: int, end: int, depth: int, *, function: bool = False) -> list[Action]:
        """The actions of the statements from `at` to `end`, in order; `function`: they may return."""
        found: list[Action] = []
        while at < end and depth <= DEPTH_MAX:
            began = at
            at, actions, stops = self._statement(at, end, depth, function)
            found += actions
            # After a return under a condition nothing is certain.
            if stops or (
                function and not actions and any(self._code.is_at(place, "return") for place in range(began, at))
            ):
                break
        return found

    def _statement(self, at: int, end: int, depth: int, function: bool) -> tuple[int, list[Action], bool]:
        """Where the statement at `at` ends, its actions, and whether it ends the function or script."""
        code = self._code
        if code.is_at(at, "{"):
            return code.ends[at] + 1, self.run(at + 1, code.ends[at], depth + 1, function=function), False
        word = code.tokens[at].text if code.tokens[at].kind is TokenKind.NAME else ""
        if word == "if":
            return self._if(at, end, depth, function)
        if word in ("function", "class") or (word == "async" and code.is_at(at + 1, "function")):
            if depth == 0:
                self._declare(at, end)
            return code.after_braces(at, end), [], False
        if word == "try" and code.is_at(at + 1, "{"):
            tried = self.run(at + 2, code.ends[at + 1], depth + 1, function=function)
            return code.skipped(at, end), tried, False
        if word in HEADED or word == "do":
            return code.skipped(at, end), [], False
        if word and code.is_at(at + 1, ":"):  # a label, such as `javascript:` in an onload attribute
            return at + 2, [], False
        stop = code.end_of(at, end)
        if word == "throw":
            return stop, [], True
        if word == "return":
            return stop, self._expression(at + 1, stop, depth), True
        return stop, self._expression(at, stop, depth), False

    def _declare(self, at: int, end: int) -> None:
        """Adds the function declared at `at` to `jumping` if it would jump."""
        found, name = self._code.function(at, end), self._code.tokens[min(at + 1, end - 1)]
        if found is not None and name.kind is TokenKind.NAME:
            inside = _Reading(self._code, self._wait_s_max, self._steps)
            if inside.run(found[0], found[1], 1, function=True) or inside.on_load or inside.later:
                self.jumping.add(name.text)

    def _if(self, at: int, end: int, depth: int, function: bool) -> tuple[int, list[Action], bool]:
        code = self._code
        after, then = code.skipped(at, end), code.after_parenthesis(at + 1, end)
        if then >= after or code.tokens[then].text in HEADED:
            return after, [], False
        then_end = code.ends[then] + 1 if code.is_at(then, "{") else code.end_of(then, after)
        if not code.is_at(then_end, "else"):
            return after, [], False
        first = self.run(then, then_end, depth + 1, function=function)
        second = self.run(then_end + 1, after, depth + 1, function=function)
        return after, [UNRESOLVED] if first and second else [], False

    def _expression(self, at: int, stop: int, depth: int) -> list[Action]:
        """The actions of an expression statement."""
        code = self._code
        if code.is_at(stop - 1, ";"):
            stop -= 1
        if (body := code.called_function(at, stop)) is not None:
            return self.run(*body, depth + 1, function=True)
        links, after = code.chain(at, stop)
        names = _without_windows(links)
        if (action := self._jump(names, after, stop)) is not None:
            return [action]
        if len(links) > 2 and links[-2] == "submit" and isinstance(links[-1], Call):
            return [_submitted(links[:-2])]
        if names and self._defers(names, after, stop, depth):
            return []
        if len(names) == 2 and isinstance(names[0], str) and isinstance(names[1], Call):
            self.called.add(names[0])
        return [UNRESOLVED] if self._jumps_somewhere(at, stop) else []

    def _jump(self, names: Sequence[Link], after: int, stop: int) -> Action | None:
        """The action of `location.href = …` and similar, without leading windows; None if it is no jump."""
        if not names or names[0] != "location":
            return None
        rest = list(names[1:])
        mark = self._code.tokens[after] if after < stop else None
        assigned = mark is not None and mark.kind is TokenKind.MARK and mark.text in _ASSIGNMENTS
        if assigned and rest in ([], ["href"]):
            return self._target(after + 1, stop) if self._code.is_at(after, "=") else UNRESOLVED
        if assigned and len(rest) == 1 and rest[0] in _PARTS_OF_A_LOCATION:
            return UNRESOLVED
        if len(rest) == 2 and isinstance(call := rest[1], Call):
            if rest[0] in ("replace", "assign"):
                return self._target(call.at + 1, self._code.ends[call.at])
            if rest[0] == "reload":
                return UNRESOLVED
        return None

    def _target(self, at: int, stop: int) -> Action:
        """The jump to a string literal, with or without parentheses; further arguments are ignored."""
        code = self._code
        while code.is_at(at, "(") and code.ends[at] == stop - 1:
            at, stop = at + 1, stop - 1
        if at < stop and code.tokens[at].kind is TokenKind.TEXT and (at + 1 == stop or code.is_at(at + 1, ",")):
            return Go(code.tokens[at].text)
        return UNRESOLVED

    def _jumps_somewhere(self, at: int, stop: int) -> bool:
        """Whether an expression without branches, which no other rule covers, contains a jump."""
        tokens = self._code.tokens
        if any(token.is_code and token.text in _BRANCHES for token in tokens[at:stop]):
            return False
        for place in range(at, stop):
            begins = place == at or tokens[place - 1].text not in (".", "?.")
            if (
                begins
                and tokens[place].kind is TokenKind.NAME
                and (tokens[place].text in _WINDOWS or tokens[place].text == "location")
            ):
                links, after = self._code.chain(place, stop)
                if self._jump(_without_windows(links), after, stop) is not None:
                    return True
        return False

    def _defers(self, names: Sequence[Link], after: int, stop: int, depth: int) -> bool:
        """Reads what is set to run at the page's load or after a timer; False if it is neither."""
        code = self._code
        if list(names) == ["onload"] and code.is_at(after, "="):
            self._at_load(after + 1, stop, depth)
            return True
        match names:
            case ["$" | "jQuery", Call() as ready] | ["$" | "jQuery", Call(), "ready", Call() as ready]:
                return self._when_ready(ready, depth)
        if len(names) != 2 or not isinstance(call := names[1], Call):
            return False
        begins, ends = call.at + 1, code.ends[call.at]
        if names[0] == "addEventListener":
            if code.tokens[begins].kind is TokenKind.TEXT and code.tokens[begins].text in _LOADED:
                self._at_load(begins + 2, ends, depth)
            return True
        if names[0] == "setTimeout":
            self._wait(begins, ends, depth)
            return True
        return False

    def _when_ready(self, call: Call, depth: int) -> bool:
        """Reads jQuery's `$(function () { … })`; False if it is something else."""
        actions = self._run_function(call.at + 1, self._code.ends[call.at], depth)
        self.later |= bool(actions)
        return actions is not None

    def _run_function(self, at: int, stop: int, depth: int) -> list[Action] | None:
        """The actions of the function expression at `at`, if there is one."""
        found = self._code.function(at, stop)
        return None if found is None else self.run(found[0], found[1], depth + 1, function=True)

    def _at_load(self, at: int, stop: int, depth: int) -> None:
        if (actions := self._run_function(at, stop, depth)) is not None:
            self.on_load += actions
        elif at < stop and self._code.tokens[at].kind is TokenKind.NAME:
            self.called.add(self._code.tokens[at].text)

    def _wait(self, at: int, stop: int, depth: int) -> None:
        wait = self._code.tokens[stop - 1]
        if wait.kind is TokenKind.NUMBER and not (
            wait.text.isdecimal() and int(wait.text[:9]) <= self._wait_s_max * 1000
        ):
            return
        if (actions := self._run_function(at, stop, depth)) is not None:
            self.later |= bool(actions)
        elif at < stop and self._code.tokens[at].kind is TokenKind.TEXT and depth < DEPTH_MAX:
            inner = read_script(self._code.tokens[at].text, wait_s_max=0, steps=self._steps)
            self.later |= inner.now is not None
            self.called |= inner.called
        elif at < stop and self._code.tokens[at].kind is TokenKind.NAME:
            self.called.add(self._code.tokens[at].text)


def _without_windows(links: Sequence[Link]) -> Sequence[Link]:
    """`location.href` for `window.top.location.href`; a single name stays."""
    begins = 0
    while begins < len(links) - 1 and links[begins] in _WINDOWS:
        begins += 1
    return links[begins:]


def _submitted(form: Sequence[Link]) -> Action:
    """The form whose submit() is called, from the links before the call."""
    by_document = "document" in form[:-1]
    names = list(_without_windows(form))
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
    return UNRESOLVED
