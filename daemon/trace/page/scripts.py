"""What a script certainly does when a browser runs it: go to a URL literal, or submit a form. Pure.

A script with a syntax error does not run, and one that throws ends there. So a script is certain only if each of its
statements, those in functions included, has one of the few forms known here, and if none that runs before the jump can
throw. Values are literals; nothing is evaluated. Every other script is left to leaving.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.trace.page.actions import WINDOWS, Action, Go, submitted, without_windows
from daemon.trace.page.bounds import Steps
from daemon.trace.page.statements import CONSTANTS, Call, Code, Link, Uncertain
from daemon.trace.page.tokens import TokenKind

DEPTH_MAX = 8  # of nested blocks, functions and calls

_ON_WINDOW = WINDOWS - {"document", "this"}
_LOADED = frozenset({"load", "DOMContentLoaded"})
# Calls with literals as arguments that do not throw.
_SAFE_CALLS = frozenset(
    {f"console.{name}" for name in ("log", "info", "warn", "error", "debug")}
    | {f"{storage}.{name}" for storage in ("localStorage", "sessionStorage") for name in ("getItem", "setItem")}
    | {"navigator.sendBeacon", "alert"}
)
# Names that a script may not declare: it would hide what they mean here, or they are reserved (ECMA-262, 12.7.2).
_PROTECTED = (
    WINDOWS | CONSTANTS | {name.partition(".")[0] for name in _SAFE_CALLS}
    | {"location", "onload", "addEventListener", "setTimeout", "setInterval"}
    | {"await", "break", "case", "catch", "class", "const", "continue", "debugger", "default", "delete", "do", "else",
       "enum", "export", "extends", "finally", "for", "function", "if", "implements", "import", "in", "instanceof",
       "interface", "let", "new", "package", "private", "protected", "public", "return", "static", "super", "switch",
       "throw", "try", "typeof", "var", "while", "with", "yield"}
)  # fmt: skip
_NOT_SET = _PROTECTED | {"cookie", "domain", "designMode", "body"}  # an assignment does more than to set them


@dataclass(frozen=True, slots=True)
class Actions:
    """What a script does at once and at the page's load, in order. `understood` are the tokens of its jumps."""

    now: tuple[Action, ...] = ()
    on_load: tuple[Action, ...] = ()
    understood: frozenset[int] = frozenset()


NOTHING = Actions()


def read_script(code: Code, steps: Steps, *, handler: bool = False) -> Actions:
    """The certain actions of a script, or NOTHING. `handler`: it is the text of an event handler's attribute."""
    reading = _Reading(code, steps)
    try:
        reading.run(0, len(code.tokens), function=handler)
    except Uncertain:
        return NOTHING
    return Actions(tuple(reading.now), tuple(reading.on_load), frozenset(reading.understood))


class _Reading:
    """One pass over a script. Its methods return where what they read ends, or raise Uncertain."""

    def __init__(self, code: Code, steps: Steps) -> None:
        self.now: list[Action] = []
        self.on_load: list[Action] = []
        self.understood: set[int] = set()
        self._code = code
        self._steps = steps
        self._depth = 0
        self._functions: dict[str, int] = {}  # declared ones: where they begin
        self._declared: set[str] = set()
        self._constants: set[str] = set()
        self._checked: set[int] = set()  # bodies of functions
        self._may_throw = False  # what is read now does not run, or is in a try with a catch
        self._thrown = False  # it may have been

    def run(self, at: int, end: int, *, function: bool = False) -> None:
        """Runs the statements from `at` to `end`; `function`: they may return."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Uncertain
        self._hoist(at, end)
        while at < end:
            if not self._steps.take(1):
                raise Uncertain
            at = self._statement(at, end, function)
        self._depth -= 1

    def _hoist(self, at: int, end: int) -> None:
        """Declares the functions of a list of statements: they may be called before their declaration."""
        code, before = self._code, ";"
        while at < end:
            if code.is_at(at, "function") and (before in (";", "}") or code.tokens[at].after_line) and at + 1 < end:
                self._functions[code.tokens[at + 1].text] = at
            at = code.ends.get(at, at)
            before = code.tokens[at].text
            at += 1

    def _check(self, at: int, end: int) -> None:
        """Reads statements that do not run now, for their syntax."""
        if at in self._checked:
            return
        self._checked.add(at)
        kept = self.now, self.on_load, self.understood, self._may_throw, self._thrown
        self.now, self.on_load, self.understood, self._may_throw = [], [], set(), True
        self.run(at, end, function=True)
        self.now, self.on_load, self.understood, self._may_throw, self._thrown = kept

    def _statement(self, at: int, end: int, function: bool) -> int:
        code, token = self._code, self._code.tokens[at]
        if code.is_at(at, ";"):
            return at + 1
        if code.is_at(at, "{"):
            self.run(at + 1, code.ends[at])
            return code.ends[at] + 1
        if code.is_at(at, "function"):
            return self._declaration(at)
        if code.is_at(at, "try"):
            return self._try(at)
        if code.is_at(at, "javascript") and code.is_at(at + 1, ":"):  # a label, as some write it in an onload attribute
            return at + 2
        if token.kind is TokenKind.NAME and token.text in ("var", "let", "const"):
            at = self._variables(at)
        elif code.is_at(at, "return") and function:
            at += 1
            if at < end and not code.is_at(at, ";"):
                at = self._items(at, end)
            if at + code.is_at(at, ";") < end:
                raise Uncertain  # what follows does not run
        else:
            at = self._items(at, end)
        if code.is_at(at, ";"):
            return at + 1
        if at < end and not code.tokens[at].after_line:
            raise Uncertain
        return at

    def _declaration(self, at: int) -> int:
        """A declared function without parameters."""
        begins, ends, after = self._code.function(at)
        name = self._code.tokens[at + 1].text
        if name in _PROTECTED or name in self._declared or self._functions.get(name) != at:
            raise Uncertain
        self._check(begins, ends)
        return after

    def _variables(self, at: int) -> int:
        """`var a = 1, b = "c"`."""
        code, word = self._code, self._code.tokens[at].text
        while True:
            name, at = code.tokens[min(at + 1, len(code.tokens) - 1)], at + 2
            hides = name.text in _PROTECTED or name.text in self._functions
            if name.kind is not TokenKind.NAME or hides or (word != "var" and name.text in self._declared):
                raise Uncertain
            self._declared.add(name.text)
            if word == "const":
                self._constants.add(name.text)
            if code.is_at(at, "="):
                at = self._code.value(at + 1)
            elif word == "const":
                raise Uncertain
            if not code.is_at(at, ","):
                return at

    def _try(self, at: int) -> int:
        """A try statement with a catch. If its block may throw, neither of them may jump."""
        code = self._code
        begins, after = self._code.block(at + 1)
        kept, self._may_throw, self._thrown = (self._may_throw, self._thrown), True, False
        jumps = len(self.now) + len(self.on_load)
        self.run(begins, after - 1)
        thrown, (self._may_throw, self._thrown) = self._thrown, kept
        if not code.is_at(after, "catch"):
            raise Uncertain
        after += 1
        if code.is_at(after, "("):
            if code.ends[after] != after + 2 or code.tokens[after + 1].text in _PROTECTED:
                raise Uncertain
            after += 3
        begins, after = self._code.block(after)
        kept_actions = list(self.now), list(self.on_load)
        self.run(begins, after - 1)
        if thrown and len(self.now) + len(self.on_load) > jumps:
            raise Uncertain
        self.now, self.on_load = kept_actions  # the catch never runs, and its jumps are understood
        if code.is_at(after, "finally"):
            raise Uncertain
        return after

    def _items(self, at: int, end: int) -> int:
        """An expression statement; its parts are separated by commas."""
        at = self._item(at, end)
        while self._code.is_at(at, ","):
            at = self._item(at + 1, end)
        return at

    def _item(self, at: int, end: int) -> int:
        code = self._code
        links, after = code.chain(at, end)
        names = without_windows(links)
        if names and names[0] == "location":
            return self._jump(names, after, at)
        if len(links) > 2 and links[-2] == "submit" and isinstance(call := links[-1], Call) and call.args == ():
            self.now.append(submitted(links[:-2]))
            self.understood.add(call.at - 1)
            return after
        if (ends := self._deferred(links, names, after)) is not None:
            return ends
        if code.is_at(after, "=") and links:
            return self._assignment(links, names, after)
        match links:
            case [str() as name, Call(args=())] if name in self._functions:
                begins, ends, _ = self._code.function(self._functions[name])
                self.run(begins, ends, function=True)
                return after
            case [*_, Call()] if all(link is not None and getattr(link, "args", ()) is not None for link in links):
                path = ".".join(str(name) for name in names[:-1])
                self._throws(certain=path in _SAFE_CALLS and not self._declared.intersection(path.split(".")))
                return after
        if (body := self._code.called_function(at)) is not None:
            begins, ends, after = body
            self.run(begins, ends, function=True)
            return after
        return self._code.value(at)

    def _throws(self, *, certain: bool) -> None:
        """Notes that what was read may throw, unless it is `certain` that it does not."""
        if not certain:
            if not self._may_throw:
                raise Uncertain
            self._thrown = True

    def _assignment(self, links: Sequence[Link], names: Sequence[Link], after: int) -> int:
        """`window.name = "a"` or `name = "a"`."""
        match names:
            case [str() as name] if (
                name not in _NOT_SET and name not in self._constants and name not in self._functions
            ):
                if len(links) == 1:
                    self._throws(certain=name in self._declared)
            case _:
                raise Uncertain
        return self._code.value(after + 1)

    def _jump(self, names: Sequence[Link], after: int, at: int) -> int:
        """`location.href = "…"` or `location.replace("…")`."""
        code, rest = self._code, list(names[1:])
        if code.is_at(after, "=") and rest in ([], ["href"]):
            url, after = self._code.text(after + 1)
        elif len(rest) == 2 and rest[0] in ("replace", "assign") and isinstance(call := rest[1], Call):
            url, ends = self._code.text(call.at + 1)
            if ends != code.ends[call.at]:
                raise Uncertain
        else:
            raise Uncertain
        self.now.append(Go(url))
        self.understood.update(place for place in range(at, after) if code.tokens[place].text == "location")
        return after

    def _deferred(self, links: Sequence[Link], names: Sequence[Link], after: int) -> int | None:
        """What is set to run at the page's load; None if it is something else."""
        code, prefix = self._code, set(links[: len(links) - len(names)])
        if list(names) == ["onload"] and code.is_at(after, "=") and prefix <= _ON_WINDOW:
            return self._at_load(after + 1)
        match names:
            case ["setTimeout", Call(at=at)]:
                begins, ends, later = code.function(at + 1)
                if not code.is_at(ends, "}"):
                    raise Uncertain
                self._check(begins, ends)
                if (code.value(later + 1) if code.is_at(later, ",") else later) != code.ends[at]:
                    raise Uncertain
                return after
            case ["addEventListener", Call(at=at)] if code.is_at(at + 2, ","):
                event = code.tokens[at + 1]
                if event.text not in _LOADED or (event.text == "load" and not prefix <= _ON_WINDOW):
                    raise Uncertain
                ends = self._at_load(at + 3)
                if code.is_at(ends, ","):
                    ends = self._code.value(ends + 1)
                if ends != code.ends[at]:
                    raise Uncertain
                return after
        return None

    def _at_load(self, at: int) -> int:
        """Runs the function at `at`, or the declared one that is named there, at the page's load."""
        name = self._code.tokens[at].text
        begins, ends, after = self._code.function(self._functions.get(name, at))
        now, self.now = self.now, []
        if self._code.is_at(ends, "}"):
            self.run(begins, ends, function=True)
        elif self._items(begins, ends) != ends:
            raise Uncertain
        self.on_load += self.now
        self.now = now
        return at + 1 if name in self._functions else after
