"""Places in a script that may start a navigation of the page. Pure.

Each is an assignment or call by which a script can leave: of a location, a form, a link, a window, of markup or code in
a text. What is not on this list reads or changes only the page.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from daemon.trace.page.statements import Code
from daemon.trace.page.tokens import Token, TokenKind

TIMERS = frozenset({"setTimeout", "setInterval"})
_RUNS_TEXTS = frozenset({"write", "writeln", "innerHTML", "outerHTML", "insertAdjacentHTML"})
# A script without any of these texts cannot jump. The last lines are for names that are spelled by escapes, by a sum of
# texts, or by brackets and signs alone.
JUMP_WORDS = re.compile(
    r"""location\s*(?:=[^=]|[+|&?:]|\[|[,;)}]|\Z|[\r\n]|\.\s*(?:replace|assign|reload)\b
        |\.\s*(?:href|protocol|host|hostname|port|pathname|search)\s*(?:=[^=]|[+|&?]{1,2}=))
    |['"](?:location|submit|click)['"]|navigation\s*\.|_self|_top|_parent|_SELF|_TOP|_PARENT|[hH][tT][tT][pP]-[eE]quiv
    |httpEquiv|HTTP-EQUIV|execScript|\beval\b|\.write(?:ln)?\s*\(|[sS]ubmit\s*[(.]|click\s*(?:\(\s*\)|\.)
    |(?:Function|constructor|set(?:Timeout|Interval))\s*\(\s*(?:['"`]|[\w$.]+\s*\))
    |\\(?:x|u00|u\{0*)[67][0-9A-Fa-f]|\[\s*(?:['"][^'"\]]{0,40}['"]\s*\+|atob|String)
    |\A[\s()\[\]{}!+;]{64}""",
    re.X,
)
# What a script that cannot be read must have to count as one that may leave.
UNREAD_JUMP = re.compile(
    r"""location\s*(?:=[^=]|\.\s*(?:href\s*=[^=]|replace\s*\(|assign\s*\(|reload\s*\())|["']location["']|submit\s*\(\s*\)
    |click\s*\(\s*\)|\beval\s*\(|\b_self\b|http-equiv|\\(?:x|u00|u\{0*)[67][0-9A-Fa-f]""",
    re.X | re.I,
)
_ARGUMENT_TOKENS_MAX = 16  # of a call, that are read
_ASSIGNMENTS = frozenset({"=", "+=", "||=", "&&=", "??="})
_PARTS = frozenset({"href", "protocol", "host", "hostname", "port", "pathname", "search"})
_METHODS = frozenset({"replace", "assign", "reload"})
_OTHER_WINDOWS = frozenset({"opener", "contentWindow", "contentDocument"})
_SAME_WINDOW = frozenset({"_self", "_top", "_parent"})
_WINDOWS = frozenset({"window", "self", "top", "parent", "document", "globalThis", "this", "frames"})
_CALLED_WORDS = frozenset(
    {"open", "submit", "requestSubmit", "click", "eval", "execScript", "Function", "constructor", "write", "writeln",
     "trigger", "triggerHandler", "dispatchEvent", "MouseEvent", "PointerEvent", "Event", "initEvent", "initMouseEvent",
     "setAttribute", "set", "assign", *TIMERS}
)  # fmt: skip
# The words that is_jump() and runs_texts() read.
WORDS = _CALLED_WORDS | _WINDOWS | _RUNS_TEXTS | {"location", "navigation", "httpEquiv", "script", "SCRIPT"}
_AS_FUNCTION = frozenset({"call", "apply", "bind"})
_DECODERS = frozenset(
    {"atob", "unescape", "decodeURIComponent", "decodeURI", "fromCharCode", "eval", "join", "reverse"}
)
_MARKUP = re.compile(r"http-equiv[\s\"'=\\]+refresh", re.I)
_RUN_BY_MARKUP = re.compile(r"location|submit\s*\(|\.click\s*\(|window\.open|javascript:|\beval\b", re.I)
_CODE = re.compile(
    r"""(?:\A|[;{}>\s]|on(?:load|error)=["']?)(?:(?:window|document|top|self|parent)\.)*
    location\s*(?:(?:\.\s*href\s*)?=(?!=)|\.\s*(?:replace|assign)\s*\()""",
    re.X,
)


def writes_a_refresh(text: str) -> bool:
    """Whether markup has a meta refresh."""
    return len(text) > len("refresh") and _MARKUP.search(text) is not None


def is_jump(code: Code, at: int) -> bool | str:
    """Whether the token at `at` is the word of a jump, or the text of a script that runs there."""
    token = code.tokens[at]
    if token.kind is TokenKind.TEXT and code.is_at(at - 1, "[") and code.is_at(at + 1, "]"):
        after, before = at + 2, at - 2  # window["location"]
    elif token.kind is TokenKind.NAME:
        after, before = at + 1, at - 2 if code.is_at(at - 1, ".") or code.is_at(at - 1, "?.") else -1
    else:
        return False
    word, found = token.text, False
    if word == "eval" and not code.is_at(after, "("):
        found = True  # (0, eval)(…)
    elif word == "location":
        found = not _is_of_another_window(code, before) and (_changes(code, after) or _is_given_away(code, at))
    elif word in _WINDOWS and code.is_at(after, "["):
        found = _has_a_hidden_name(code, after)
    elif word in _CALLED_WORDS and (code.is_at(after, "(") or _is_applied(code, after)):
        return _is_calling(code, word, after, method=before >= 0)
    elif word == "navigation":
        found = any(code.is_at(after + 1, name) for name in ("navigate", "reload", "traverseTo"))
    elif word == "httpEquiv":
        found = _assigned_text(code, after) == "refresh"
    return found


def has_code(text: str) -> bool:
    """Whether a text has a script that jumps, or markup that runs one."""
    return len(text) > len("location=") and _CODE.search(text) is not None


def runs_texts(code: Code, at: int) -> bool:
    """Whether the name or text at `at` may run the script of a text that is elsewhere."""
    word = code.tokens[at].text
    if word in TIMERS:
        return code.is_at(at + 1, "(") and code.is_at(at + 3, ",")
    return word in _RUNS_TEXTS or word in ("script", "SCRIPT")


def _is_calling(code: Code, word: str, after: int, *, method: bool) -> bool | str:
    """Whether the call of `word`, with its arguments from `after` on, jumps."""
    if not code.is_at(after, "("):
        return word in ("submit", "requestSubmit", "click", "eval", "open")  # .call(…)
    close = code.ends[after]
    inside = code.tokens[after + 1 : min(close, after + _ARGUMENT_TOKENS_MAX)]
    texts = [token.text.lower() for token in inside if token.kind is TokenKind.TEXT]
    found: bool | str = False
    match word:
        case "submit" | "click":
            found = method and close == after + 1
        case "requestSubmit":
            found = method
        case "open":
            found = not _SAME_WINDOW.isdisjoint(texts) or _is_opened_in_a_variable(code, after)
        case "setAttribute":
            found = texts == ["http-equiv", "refresh"]
        case "set" | "assign":
            found = any(token.text == "location" for token in inside[:6])
        case "write" | "writeln":
            found = method and _writes_a_jump(inside, texts)
        case "eval" | "execScript" | "Function" | "constructor" | "setTimeout" | "setInterval":
            found = _runs_a_text(code, word, after, close)
        case _:  # an event
            found = texts[:1] in (["click"], ["submit"])
    return found


def _is_opened_in_a_variable(code: Code, after: int) -> bool:
    """Whether the target of open() is a variable, in a script with the text `_self`: `open(url, target)`."""
    close = min(code.ends[after], after + _ARGUMENT_TOKENS_MAX)
    return not _SAME_WINDOW.isdisjoint(code.texts) and any(
        code.is_at(at, ",")
        and code.tokens[at + 1].kind is TokenKind.NAME
        and (at + 2 == close or code.is_at(at + 2, ","))
        for at in range(after + 1, close - 1)
    )


def _changes(code: Code, after: int) -> bool:
    """Whether `location`, with the tokens from `after` on, is assigned or called."""
    if after >= len(code.tokens):
        return False
    mark = code.tokens[after]
    if mark.kind is TokenKind.MARK and mark.text in _ASSIGNMENTS:
        return True
    if code.is_at(after, "["):
        key, close = code.tokens[after + 1], code.ends[after]
        name = key.text if key.kind is TokenKind.TEXT and close == after + 2 else None
        after = close + 1
    elif (code.is_at(after, ".") or code.is_at(after, "?.")) and after + 1 < len(code.tokens):
        name, after = code.tokens[after + 1].text, after + 2
    else:
        return False
    if name in _METHODS:
        return True
    assigned = after < len(code.tokens) and code.tokens[after].text in _ASSIGNMENTS
    return (assigned and (name is None or name in _PARTS)) or (name is None and code.is_at(after, "("))


def location_alias(code: Code, at: int) -> str | None:
    """The variable that gets the location itself: `l` in `var l = window.location`, `var {location: l} = window`.

    Also the one that gets its name: `k` in `var k = "location"`, for `window[k]`.
    """
    if code.tokens[at].kind is TokenKind.TEXT:
        name = code.tokens[max(0, at - 2)]
        return name.text if code.is_at(at - 1, "=") and name.kind is TokenKind.NAME else None
    if code.is_at(at, "location") and code.is_at(at + 1, ":") and (code.is_at(at + 3, "}") or code.is_at(at + 3, ",")):
        return code.tokens[at + 2].text
    begins = _of_a_bare_location(code, at)
    if begins is None or not code.is_at(begins - 1, "=") or code.is_at(begins - 3, "."):
        return None
    name = code.tokens[max(0, begins - 2)]
    return name.text if name.kind is TokenKind.NAME else None


def changes_a_location(code: Code, at: int) -> bool:
    """Whether the variable at `at`, which is an alias of the location or of its name, is used to jump."""
    if code.is_at(at - 1, "[") and code.is_at(at + 1, "]"):
        return _changes(code, at + 2)
    return not code.is_at(at - 1, ".") and not code.is_at(at + 1, "=") and _changes(code, at + 1)


def _is_given_away(code: Code, at: int) -> bool:
    """Whether the location is an argument of a function that is called at once: `(function (l) { … })(location)`.

    Also whether it is the object of `with (location)`.
    """
    begins = _of_a_bare_location(code, at)
    if begins is None or not (code.is_at(begins - 1, "(") or code.is_at(begins - 1, ",")):
        return False
    return code.is_at(begins - 2, ")") or code.is_at(begins - 2, "with")


def _of_a_bare_location(code: Code, at: int) -> int | None:
    """Where the chain of the `location` at `at` begins, if the value is the location and no part of it."""
    after = at + 1
    ends = after >= len(code.tokens) or code.tokens[after].text in (",", ";", ")") or code.tokens[after].after_line
    if not code.is_at(at, "location") or not ends:
        return None
    while code.is_at(at - 1, ".") and at >= 2 and code.tokens[at - 2].kind is TokenKind.NAME:
        at -= 2
    return at


def _is_of_another_window(code: Code, before: int) -> bool:
    return before >= 0 and code.tokens[before].text in _OTHER_WINDOWS


def _has_a_hidden_name(code: Code, at: int) -> bool:
    """Whether the name in brackets from `at` on is computed from texts: `window["loc" + "ation"]`."""
    inside = code.tokens[at + 1 : min(code.ends[at], at + _ARGUMENT_TOKENS_MAX)]
    return any(token.is_code and (token.text == "+" or token.text in _DECODERS) for token in inside)


def _is_applied(code: Code, after: int) -> bool:
    return code.is_at(after, ".") and after + 1 < len(code.tokens) and code.tokens[after + 1].text in _AS_FUNCTION


def _assigned_text(code: Code, after: int) -> str | None:
    if not code.is_at(after, "=") or after + 1 >= len(code.tokens) or code.tokens[after + 1].kind is not TokenKind.TEXT:
        return None
    return code.tokens[after + 1].text.lower()


def _writes_a_jump(inside: Sequence[Token], texts: list[str]) -> bool:
    """Whether document.write() writes markup that may jump, by its texts or encoded ones."""
    written = unquote("".join(texts))
    if _MARKUP.search(written) or ("<" in written and _RUN_BY_MARKUP.search(written)):
        return True
    return any(token.text in ("atob", "fromCharCode") for token in inside)


def _runs_a_text(code: Code, word: str, after: int, close: int) -> bool | str:
    """The text that eval(), Function() or a timer runs; True if the text is computed."""
    last = close - 1 if word in ("Function", "constructor") else after + 1
    if close == after + 1:
        return False
    token = code.tokens[last]
    alone = code.is_at(last + 1, ",") or last + 1 == close
    if token.kind is TokenKind.TEXT and alone:
        return token.text
    if word in TIMERS:  # else a function, or a variable that probably holds one
        return token.kind is TokenKind.TEXT or token.begins_template
    return word != "constructor"
