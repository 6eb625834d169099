"""The tokens of a script with its brackets in pairs, and the few forms that are read from them. Pure.

Positions are indexes into the tokens; an end is exclusive. A method returns where what it reads ends, and raises
Uncertain for a form that is not known.
"""

from dataclasses import dataclass
from functools import cached_property

from daemon.trace.page.tokens import Token, TokenKind, Tokens

CONSTANTS = frozenset({"true", "false", "null", "undefined", "this", "window", "document"})
HEADED = frozenset({"if", "for", "while", "with", "switch"})  # by a parenthesis


class Uncertain(Exception):
    """The script does something that is not known here, or may throw."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call's `(…)`, with its opening bracket at `at`. `args` is None if one of them is no literal."""

    at: int
    args: tuple[int | str, ...] | None


Link = str | int | Call | None  # of `a.b["c"][0](d)[e]`: a, b, c, 0, the call, None


class Code:
    """The tokens of one script."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens.all
        self.ends = tokens.ends

    @cached_property
    def texts(self) -> frozenset[str]:
        """All strings, in lower case."""
        return frozenset(token.text.lower() for token in self.tokens if token.kind is TokenKind.TEXT)

    def is_at(self, at: int, text: str) -> bool:
        """Whether the token there is this word or mark; False outside of the script."""
        return 0 <= at < len(self.tokens) and self.tokens[at].text == text and self.tokens[at].is_code

    def chain(self, at: int, stop: int) -> tuple[list[Link], int]:
        """The names, indexes and calls of `document.forms[0].submit()` from `at`, and where they end."""
        if at >= stop or self.tokens[at].kind is not TokenKind.NAME:
            return [], at
        links: list[Link] = [self.tokens[at].text]
        at += 1
        while at < stop:
            if self.is_at(at, "."):
                if at + 1 >= stop or self.tokens[at + 1].kind is not TokenKind.NAME:
                    break
                links.append(self.tokens[at + 1].text)
                at += 2
            elif self.is_at(at, "["):
                links.append(_literal(self.tokens[at + 1]) if self.ends[at] == at + 2 else None)
                at = self.ends[at] + 1
            elif self.is_at(at, "("):
                links.append(Call(at, self._literals(at + 1, self.ends[at])))
                at = self.ends[at] + 1
            else:
                break
        return links, at

    def block(self, at: int) -> tuple[int, int]:
        if not self.is_at(at, "{"):
            raise Uncertain
        return at + 1, self.ends[at] + 1

    def function(self, at: int) -> tuple[int, int, int]:
        """A function without parameters: where its body begins and ends, and where it ends itself."""
        began = at
        if self.is_at(at, "function"):
            at += 1 if self.is_at(at + 1, "(") else 2
        if not (self.is_at(at, "(") and self.ends[at] == at + 1):
            raise Uncertain
        at += 2
        if not self.is_at(began, "function"):
            if not self.is_at(at, "=>"):
                raise Uncertain
            at += 1
            if not self.is_at(at, "{"):  # an expression: up to the end of the call or the statement
                ends = at
                while ends < len(self.tokens) and not any(self.is_at(ends, mark) for mark in ",;)}"):
                    ends = self.ends.get(ends, ends) + 1
                return at, ends, ends
        begins, after = self.block(at)
        return begins, after - 1, after

    def called_function(self, at: int) -> tuple[int, int, int] | None:
        """The body of a function that is called at once, `(function () { … })()`, and where the call ends."""
        if at < len(self.tokens) and self.tokens[at].is_code and self.tokens[at].text in ("!", "+", "-", "~", "void"):
            at += 1
        close = self.ends[at] if self.is_at(at, "(") and not self.is_at(at + 1, ")") else None
        begins = at if close is None else at + 1
        if not (self.is_at(begins, "function") or self.is_at(begins, "(")):
            return None
        body, ends, after = self.function(begins)
        if not self.is_at(ends, "}"):
            return None
        if after == close:
            after += 1
        if not (self.is_at(after, "(") and self.ends[after] == after + 1):
            raise Uncertain
        after += 2
        return body, ends, after + 1 if after == close else after

    def text(self, at: int) -> tuple[str, int]:
        """A string literal, or a sum of them, with or without parentheses; and where it ends."""
        brackets = 0
        while self.is_at(at, "("):
            brackets, at = brackets + 1, at + 1
        parts: list[str] = []
        while at < len(self.tokens) and self.tokens[at].kind is TokenKind.TEXT:
            parts.append(self.tokens[at].text)
            at += 1
            if not self.is_at(at, "+"):
                break
            at += 1
        else:
            raise Uncertain
        for _ in range(brackets):
            if not self.is_at(at, ")"):
                raise Uncertain
            at += 1
        return "".join(parts), at

    def value(self, at: int) -> int:
        """A literal, a constant, a regular expression, or an empty list or object."""
        if at >= len(self.tokens):
            raise Uncertain
        token = self.tokens[at]
        if token.kind is TokenKind.NAME:
            if token.text not in CONSTANTS:
                raise Uncertain
        elif token.kind is TokenKind.MARK:
            if token.text not in ("[", "{") or self.ends[at] != at + 1:
                raise Uncertain
            at += 1
        elif token.begins_template:
            raise Uncertain
        return at + 1

    def _literals(self, at: int, close: int) -> tuple[int | str, ...] | None:
        found: list[int | str] = []
        for place in range(at, close):
            if (place - at) % 2:
                if not self.is_at(place, ","):
                    return None
                continue
            literal = _literal(self.tokens[place])
            if literal is None:
                return None
            found.append(literal)
        return tuple(found)


def _literal(token: Token) -> int | str | None:
    if token.kind is TokenKind.TEXT:
        return token.text
    return (
        int(token.text) if token.kind is TokenKind.NUMBER and token.text.isdecimal() and len(token.text) < 10 else None
    )
