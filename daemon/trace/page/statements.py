"""Where the statements and expressions of a script begin and end. Pure.

Positions are indexes into the tokens; an end is exclusive. Semicolons may be missing (ECMA-262, 12.10).
"""

from dataclasses import dataclass

from daemon.trace.page.tokens import Token, TokenKind, Tokens

HEADED = frozenset({"if", "for", "while", "with", "switch"})  # by a parenthesis
_BEFORE_A_STATEMENT = frozenset({"else", "do", "try", "finally"})
_CONTINUED = frozenset({"else", "catch", "finally"})
_OPERATORS_IN_WORDS = frozenset({"in", "instanceof"})
_WORDS_BEFORE_A_VALUE = _OPERATORS_IN_WORDS | {"typeof", "new", "delete", "void", "var", "let", "const", "await", "of"}
_VALUES_END = frozenset({")", "]", "}", "++", "--"})
_STATEMENTS_BEGIN = frozenset({"{", "}", "!", "~", "++", "--", "@", "#", ";"})


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

    def is_at(self, at: int, text: str) -> bool:
        """Whether the token there is this word or mark; False beyond the end."""
        return at < len(self.tokens) and self.tokens[at].text == text and self.tokens[at].is_code

    def end_of(self, at: int, end: int) -> int:
        """Where the expression statement at `at` ends, its semicolon included."""
        began = at
        while at < end:
            token = self.tokens[at]
            if token.text == ";" and token.kind is TokenKind.MARK:
                return at + 1
            if at > began and token.after_line and _ends_a_line(self.tokens[at - 1]) and _begins_a_line(token):
                return at
            at = self.ends.get(at, at) + 1
        return end

    def skipped(self, at: int, end: int) -> int:
        """Where the statement at `at` ends, whatever its parts, `else` and `catch` among them."""
        while at < end:
            word = self.tokens[at].text if self.tokens[at].kind is TokenKind.NAME else ""
            if word in HEADED:
                at = self.after_parenthesis(at + 1, end)
            elif word in _BEFORE_A_STATEMENT:
                at += 1
            elif word == "catch":
                at = self.after_parenthesis(at + 1, end) if self.is_at(at + 1, "(") else at + 1
            else:
                if word in ("function", "class"):
                    at = self.after_braces(at, end)
                else:
                    at = self.ends[at] + 1 if self.is_at(at, "{") else self.end_of(at, end)
                if at >= end or not (self.tokens[at].kind is TokenKind.NAME and self.tokens[at].text in _CONTINUED):
                    return at
        return end

    def after_parenthesis(self, at: int, end: int) -> int:
        """The place after the next `(…)`, as behind `for await`."""
        while at < end and not self.is_at(at, "("):
            at += 1
        return self.ends[at] + 1 if at < end else end

    def after_braces(self, at: int, end: int) -> int:
        """The place after the next `{…}` that is not inside parentheses: a function's or a class's body."""
        while at < end and not self.is_at(at, "{"):
            at = self.ends.get(at, at) + 1
        return self.ends[at] + 1 if at < end else end

    def function(self, at: int, stop: int) -> tuple[int, int, int] | None:
        """The function expression at `at`: where its body begins and ends, and where it ends itself."""
        if self.is_at(at, "async"):
            at += 1
        if self.is_at(at, "function"):
            at = self.after_parenthesis(at, stop)
            return (at + 1, self.ends[at], self.ends[at] + 1) if at < stop and self.is_at(at, "{") else None
        if self.is_at(at, "("):
            at = self.ends[at]
        if at + 2 >= stop or not self.is_at(at + 1, "=>"):
            return None
        at += 2
        if self.is_at(at, "{"):
            return at + 1, self.ends[at], self.ends[at] + 1
        end = at
        while end < stop and not self.is_at(end, ","):
            end = self.ends.get(end, end) + 1
        return at, end, end

    def called_function(self, at: int, stop: int) -> tuple[int, int] | None:
        """The body of a function expression that is called at once: `(function () { … })()`."""
        while at < stop and self.tokens[at].is_code and self.tokens[at].text in ("!", "+", "-", "~", "void"):
            at += 1
        close = self.ends[at] if at < stop and self.is_at(at, "(") else None
        found = self.function(at, stop) if close is None else self.function(at + 1, close)
        if found is None:
            return None
        begins, ends, after = found
        if after == close:
            after += 1
        return (begins, ends) if after < stop and (self.is_at(after, "(") or self.is_at(after, ".")) else None

    def chain(self, at: int, stop: int) -> tuple[list[Link], int]:
        """The names, indexes and calls of `document.forms[0].submit()` from `at`, and where they end."""
        if at >= stop or self.tokens[at].kind is not TokenKind.NAME:
            return [], at
        links: list[Link] = [self.tokens[at].text]
        at += 1
        while at < stop:
            if self.is_at(at, ".") or self.is_at(at, "?."):
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


def _ends_a_line(token: Token) -> bool:
    """Whether a statement without a semicolon may end with this token."""
    if token.kind is TokenKind.NAME:
        return token.text not in _WORDS_BEFORE_A_VALUE
    return token.kind is not TokenKind.MARK or token.text in _VALUES_END


def _begins_a_line(token: Token) -> bool:
    """Whether a statement may begin with this token, and cannot continue the line before."""
    if token.kind is TokenKind.NAME:
        return token.text not in _OPERATORS_IN_WORDS
    if token.kind is TokenKind.MARK:
        return token.text in _STATEMENTS_BEGIN
    return not token.begins_template
