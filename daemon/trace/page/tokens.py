"""The tokens of a script (ECMA-262, 12), as far as scripts.py needs them. Pure.

Nothing is evaluated. A text that is no JavaScript has no tokens: a browser runs nothing of a script with a syntax
error. A script that is misread (a regular expression as a division) rarely has its brackets in pairs.

Time is linear in the script's length: reading goes on behind a match, and ends if no pattern matches. Loops inside a
pattern are possessive: they never backtrack.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from daemon.trace.page.bounds import TOKEN_STEPS, Steps
from daemon.trace.page.charsets import without_lone_surrogates

TOKENS_MAX = 2_048  # a longer script does more than jump


class TokenKind(Enum):
    NAME = "name"  # identifiers and keywords
    TEXT = "text"  # a string, or a template without substitutions; its value, escapes decoded
    NUMBER = "number"
    MARK = "mark"  # operators and brackets
    OTHER = "other"  # regular expressions, templates with substitutions


class Token(NamedTuple):
    """`after_line`: the first token on its line."""

    kind: TokenKind
    text: str
    after_line: bool
    begins_template: bool = False

    @property
    def is_code(self) -> bool:
        """A word or a mark, no string."""
        return self.kind is TokenKind.NAME or self.kind is TokenKind.MARK


@dataclass(frozen=True, slots=True)
class Tokens:
    """`ends` maps the index of each opening bracket to that of its closing bracket."""

    all: tuple[Token, ...]
    ends: dict[int, int]


_KINDS = {kind.value: kind for kind in TokenKind}
_PAIRS = {")": "(", "]": "[", "}": "{"}
_SKIPPED = re.compile(r"(?:[ \t\v\f\xa0\ufeff]|//[^\r\n\u2028\u2029]*+|<!--[^\r\n\u2028\u2029]*+)++")
_LINE = re.compile(r"[\r\n\u2028\u2029]+")
_TOKEN = re.compile(
    r"""
    (?P<name>  [^\W\d][\w$]* | \$[\w$]* )
  | (?P<text>  "(?:[^"\\\r\n]|\\(?:\r\n|[\s\S]))*+" | '(?:[^'\\\r\n]|\\(?:\r\n|[\s\S]))*+' )
  | (?P<number> 0[xXbBoO][0-9A-Fa-f_]+n? | (?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?n? )
  | (?P<mark>  >>>= | \.\.\. | [=!]== | \*\*= | <<= | >>= | >>> | &&= | \|\|= | \?\?= | => | [=!<>+\-*/%&|^]=
             | && | \|\| | \?\? | \?\.(?!\d) | \+\+ | -- | << | >> | \*\* | [{}()\[\];,<>+\-*/%&|^!~?:=.@\#] )
    """,
    re.X,
)
_REGEX = re.compile(r"/(?![*/])(?:[^/\\\[\r\n]|\\[^\r\n]|\[(?:[^\]\\\r\n]|\\[^\r\n])*+\])++/[A-Za-z]*")
_ESCAPE = re.compile(
    r"\\(?:\r\n|u\{0*(?P<point>[0-9A-Fa-f]{1,6})\}|u(?P<unit>[0-9A-Fa-f]{4})|x(?P<byte>[0-9A-Fa-f]{2})"
    r"|(?P<octal>[0-3][0-7]{0,2}|[4-7][0-7]?)|(?P<letter>[\s\S]))"
)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | dict.fromkeys("\r\n\u2028\u2029", "")
_BEFORE_REGEX = frozenset({"return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do"})


def tokens_in(code: str, steps: Steps | None = None) -> Tokens | None:
    """All tokens of a script; None for a text that is no script, more than TOKENS_MAX, or too few `steps`."""
    steps = Steps() if steps is None else steps
    found: list[Token] = []
    ends: dict[int, int] = {}
    opened: list[int] = []
    at, after_line = 0, True
    while at < len(code):
        if skipped := _SKIPPED.match(code, at):
            at = skipped.end()
        elif line := _LINE.match(code, at):
            at, after_line = line.end(), True
        elif code.startswith("/*", at):
            end = code.find("*/", at)
            if end < at + 2:
                return None
            after_line = after_line or _LINE.search(code, at, end) is not None
            at = end + 2
        elif after_line and code.startswith("-->", at):  # what remains of an HTML comment (ECMA-262, B.1.1)
            line = _LINE.search(code, at)
            at = len(code) if line is None else line.start()
        else:
            read = _token(code, at, found[-1] if found else None, after_line)
            if read is None:
                return None
            token, at = read
            if len(found) >= TOKENS_MAX or not steps.take(TOKEN_STEPS):
                return None
            if token.kind is TokenKind.MARK and token.text in "([{":
                opened.append(len(found))
            elif token.kind is TokenKind.MARK and token.text in _PAIRS:
                if not opened or found[opened[-1]].text != _PAIRS[token.text]:
                    return None
                ends[opened.pop()] = len(found)
            found.append(token)
            after_line = False
    return None if opened else Tokens(tuple(found), ends)


def _token(code: str, at: int, before: Token | None, after_line: bool) -> tuple[Token, int] | None:
    """The token at `at`, and where it ends."""
    if code[at] == "`":
        return _template(code, at, after_line)
    if code[at] == "/" and _may_begin_a_regex(before):
        # This is no division, so a regular expression without an end is a syntax error (ECMA-262, 12.9.5).
        regex = _REGEX.match(code, at)
        return None if regex is None else (Token(TokenKind.OTHER, regex[0], after_line), regex.end())
    found = _TOKEN.match(code, at)
    if found is None or found.lastgroup is None:
        return None
    kind = _KINDS[found.lastgroup]
    text = _value(found[0][1:-1]) if kind is TokenKind.TEXT else found[0]
    return Token(kind, text, after_line), found.end()


def _may_begin_a_regex(before: Token | None) -> bool:
    if before is None:
        return True
    if before.kind is TokenKind.NAME:
        return before.text in _BEFORE_REGEX
    return before.kind is TokenKind.MARK and before.text not in (")", "]", "}", "++", "--")


def _template(code: str, at: int, after_line: bool) -> tuple[Token, int] | None:
    """A template from its backtick on; the text in its `${…}` is skipped."""
    depth, end, substitutes = 0, at + 1, False
    while end < len(code):
        letter = code[end]
        if letter == "\\":
            end += 1
        elif depth == 0 and letter == "`":
            inner = code[at + 1 : end]
            kind, text = (TokenKind.OTHER, inner) if substitutes else (TokenKind.TEXT, _value(inner))
            return Token(kind, text, after_line, begins_template=True), end + 1
        elif code.startswith("${", end) or (depth and letter == "{"):
            substitutes, depth = True, depth + 1
            end += letter == "$"
        elif depth and letter == "}":
            depth -= 1
        end += 1
    return None


def _value(inside: str) -> str:
    """The value of a string literal's content (ECMA-262, 12.9.4 and B.1)."""
    if "\\" not in inside:
        return inside
    return without_lone_surrogates(_ESCAPE.sub(_unescaped, inside))


def _unescaped(escape: re.Match[str]) -> str:
    digits = escape["point"] or escape["unit"] or escape["byte"]
    if digits is not None:
        return chr(min(int(digits, 16), 0x10FFFF))
    if escape["octal"] is not None:
        return chr(int(escape["octal"], 8))
    letter = escape["letter"]
    return "" if letter is None else _LETTERS.get(letter, letter)
