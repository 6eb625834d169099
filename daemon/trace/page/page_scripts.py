"""The scripts and event handlers of one page, gathered in the page's order. Pure."""

import re
from collections.abc import Mapping, Sequence

from ada_url import URL

from daemon.trace.page.actions import Action
from daemon.trace.page.bounds import SCRIPT_STEPS, Steps
from daemon.trace.page.external import loads_unknown_scripts, stays
from daemon.trace.page.jump_sites import JUMP_WORDS
from daemon.trace.page.leaving import Leaving
from daemon.trace.page.policies import inline_allowed
from daemon.trace.page.scripts import NOTHING, Actions, read_script
from daemon.trace.page.spans import is_visitors_event
from daemon.trace.page.statements import Code
from daemon.trace.page.tokens import tokens_in

CALLS_CHARACTERS_MAX = 256  # of a script without a word of a jump that is read for the names that it passes on
Attributes = Mapping[str, str | None]

# JavaScript MIME types, module, and the empty string (HTML 4.12.1.1, MIME Sniffing 4.6).
_TYPES = frozenset(
    f"{top}/{name}"
    for top in ("text", "application")
    for name in ("javascript", "ecmascript", "x-javascript", "x-ecmascript")
) | {"", "module", "text/jscript", "text/livescript", *(f"text/javascript1.{minor}" for minor in range(6))}
_LEXICAL = re.compile(r"\b(?:let|const|class)\s+([\w$]+)")
_CALL = re.compile(r"([A-Za-z_$][\w$]*)\s*\(", re.ASCII)


class PageScripts:
    """Call `add` for each script element, and `add_handlers` for each element with event handlers."""

    def __init__(self, wait_s_max: float, steps: Steps, policies: Sequence[str] = ()) -> None:
        self.policies = list(policies)  # Content Security Policies so far
        self.on_load: list[Action] = []
        self.loads_unknown = False  # the page has or adds a script that is not read
        self._steps = steps
        self._lexical: set[str] = set()  # names that a later script may not declare again
        self._leaving = Leaving(wait_s_max, steps)

    def leaves_after_s(self) -> float | None:
        """How soon a jump that is not certain may happen; None if the page has none."""
        return self._leaving.after_s()

    def add(self, attributes: Attributes, text: str, base: URL) -> tuple[Action, ...]:
        """Adds a script element; returns the actions that it certainly does at once."""
        if not _is_run(attributes):
            return ()
        if "src" in attributes:
            self.loads_unknown |= not stays(attributes["src"] or "", base)
            return ()
        if (allowed := inline_allowed(self.policies, nonce=attributes.get("nonce"))) is False:
            return ()
        self.loads_unknown |= loads_unknown_scripts(text)
        declared = set(_LEXICAL.findall(text))
        # "If env.HasLexicalDeclaration(name) is true, throw a SyntaxError exception" (ECMA-262, 16.1.7).
        again = not self._lexical.isdisjoint(declared) and attributes.get("type") != "module"
        self._lexical |= declared
        actions = self._read(text, handler=None if again or allowed is None else False)
        self.on_load += actions.on_load
        return actions.now

    def add_handlers(self, tag: str, attributes: Attributes) -> None:
        """Adds the event handlers of an element that may run without the visitor."""
        if inline_allowed(self.policies, handler=True) is False:
            return
        for name, code in attributes.items():
            if not (name.startswith("on") and code) or (is_visitors_event(name) and not _occurs(name, attributes)):
                continue
            if tag == "img" and not attributes.get("src") and not attributes.get("srcset"):
                continue  # it loads nothing
            if tag in ("body", "frameset") and name == "onload":
                actions = self._read(code, handler=True)
                self.on_load += actions.on_load + actions.now
            else:
                self._read(code, handler=None)

    def add_code(self, text: str) -> None:
        """Adds the script of a javascript: URL."""
        if inline_allowed(self.policies) is not False:
            self._read(text, handler=None)

    def _read(self, text: str, *, handler: bool | None) -> Actions:
        """Reads a script; with `handler` None only for whether it may leave."""
        if len(text) > CALLS_CHARACTERS_MAX and JUMP_WORDS.search(text) is None:
            self._leaving.add_calls(set(_CALL.findall(text)))
            return NOTHING
        tokens = tokens_in(text, self._steps) if self._steps.take(SCRIPT_STEPS) else None
        if tokens is None:
            self._leaving.add_unread(text)
            return NOTHING
        code = Code(tokens)
        actions = NOTHING if handler is None else read_script(code, self._steps, handler=handler)
        self._leaving.add(code, actions.understood)
        return actions


def _is_run(attributes: Attributes) -> bool:
    """Whether a browser runs the script element (HTML 4.12.1.1, prepare the script element)."""
    kind = attributes.get("type")
    if kind is None and attributes.get("language"):
        kind = f"text/{attributes['language']}"
    event, target = (attributes.get("event"), attributes.get("for"))
    if event is not None and target is not None:
        event, target = event.strip().lower(), target.strip().lower()
        if target != "window" or event not in ("onload", "onload()"):
            return False
    return "nomodule" not in attributes and (kind or "").strip().lower() in _TYPES


def _occurs(name: str, attributes: Attributes) -> bool:
    """Whether a visitor's event occurs at the load too, by an attribute."""
    return (name == "onfocus" and "autofocus" in attributes) or (name == "ontoggle" and "open" in attributes)
