"""Whether the scripts of a page may leave it without the visitor's doing, and how soon. Pure.

Nothing is evaluated. A place in a script counts if it could start a navigation (jump_sites.py) and its code may run by
itself (spans.py): at the script's top level, in a function that runs at once or is referenced by such code, in a
handler of an event that occurs without the visitor. Where it is uncertain whether code runs, it counts.
"""

import heapq
from collections import defaultdict
from collections.abc import Collection

from daemon.trace.page.bounds import Steps
from daemon.trace.page.jump_sites import (
    TIMERS,
    UNREAD_JUMP,
    WORDS,
    changes_a_location,
    has_code,
    is_jump,
    location_alias,
    runs_texts,
    writes_a_refresh,
)
from daemon.trace.page.spans import Span, defines_a_function, delay_s, spans
from daemon.trace.page.statements import Code
from daemon.trace.page.tokens import TokenKind, tokens_in

SCRIPTS_IN_TEXTS_MAX = 8  # of one page


class Leaving:
    """All scripts of a page; their functions may call each other."""

    def __init__(self, wait_s_max: float, steps: Steps) -> None:
        self._wait_s_max = wait_s_max
        self._steps = steps
        self._page = Span()
        self._functions: dict[str, list[Span]] = defaultdict(list)
        self._texts_left = SCRIPTS_IN_TEXTS_MAX

    def add_unread(self, text: str) -> None:
        """Adds a script whose tokens could not be read."""
        self._page.leaves |= UNREAD_JUMP.search(text) is not None

    def add(self, code: Code, understood: Collection[int] = ()) -> None:
        """Adds a script, or an event handler that may run. The jumps at the tokens `understood` do not count."""
        self._add(code, self._page, understood)

    def after_s(self) -> float | None:
        """When the first jump may happen, in seconds since the script ran; None if none does by itself."""
        order, waiting = 0, [(0.0, 0, self._page)]
        reached: set[int] = set()
        while waiting:
            at_s, _, span = heapq.heappop(waiting)
            if id(span) in reached:
                continue
            if span.leaves:
                return at_s
            reached.add(id(span))
            called = [function for name in span.names for function in self._functions.pop(name, ())]
            if not self._steps.take(len(span.names) + len(called) + len(span.inside)):
                return 0.0
            for function in called:
                order += 1
                heapq.heappush(waiting, (at_s, order, function))
            for inner in span.inside:
                order += 1
                if (later_s := max(at_s, inner.after_s)) <= self._wait_s_max:
                    heapq.heappush(waiting, (later_s, order, inner))
        return None

    def add_calls(self, names: set[str]) -> None:
        """Adds a script that only calls functions of these names."""
        self._page.names |= names

    def _add(self, code: Code, parent: Span, understood: Collection[int]) -> None:
        with_code: Span | None = None  # the last span that has a script or a refresh in a text
        runs_a_text, aliases = False, set[str]()
        for at, span in enumerate(spans(code, parent, self._functions)):
            token = code.tokens[at]
            if token.kind is TokenKind.NAME:
                if not defines_a_function(code, at):
                    span.names.add(token.text)
            elif token.kind is not TokenKind.TEXT:
                continue
            elif code.is_at(at - 1, "["):
                span.names.add(token.text)
            elif has_code(token.text) or writes_a_refresh(token.text):
                with_code = span
            if token.text in aliases and changes_a_location(code, at):
                span.leaves = True
            if token.text in WORDS and at not in understood:
                self._add_word(code, at, span)
                runs_a_text |= runs_texts(code, at)
                if (name := location_alias(code, at)) is not None:
                    aliases.add(name)
        if with_code is not None and runs_a_text:
            with_code.leaves = True

    def _add_word(self, code: Code, at: int, span: Span) -> None:
        found = is_jump(code, at)
        if isinstance(found, str):
            span.inside.append(later := Span(delay_s(code, at + 1) if code.tokens[at].text in TIMERS else 0.0))
            self._add_text(found, later)
        elif found:
            span.leaves = True

    def _add_text(self, text: str, parent: Span) -> None:
        """Adds a script that is a text in another one, as in `eval("…")`."""
        self._texts_left -= 1
        tokens = tokens_in(text, self._steps) if self._texts_left >= 0 else None
        if tokens is None:
            parent.leaves |= UNREAD_JUMP.search(text) is not None
        else:
            self._add(Code(tokens), parent, ())
