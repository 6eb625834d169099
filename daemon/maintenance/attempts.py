"""The last minutes' attempts by country and provider, with the most common error. Pure: the time is an argument."""

import re
from collections import Counter, deque

from daemon.nodes.figures import LISTED_MAX, AttemptFigures

WINDOW_S = 120.0
ATTEMPTS_MAX = 60_000  # with more attempts the window is shorter
ERROR_CHARACTERS_MAX = 120
_HOP = re.compile(r"^hop \d+ \([^)]*\): ")


def error_in(message: str) -> str:
    """An error message without the hop and the host, so that equal errors of several traces are equal."""
    return _HOP.sub("", message)[:ERROR_CHARACTERS_MAX]


class AttemptTally:
    def __init__(self) -> None:
        self._attempts: deque[tuple[float, tuple[str, str], str | None]] = deque()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._errors: dict[tuple[str, str], Counter[str]] = {}

    def add(self, at_s: float, country: str, provider: str, message: str | None) -> None:
        """`message`: why the attempt failed by the fault of its IP or its provider; None for any other end."""
        key, error = (country, provider), None if message is None else error_in(message)
        self._attempts.append((at_s, key, error))
        self._counts[key] += 1
        if error is not None:
            self._errors.setdefault(key, Counter())[error] += 1
        if len(self._attempts) > ATTEMPTS_MAX:
            self._forget()

    def figures(self, now_s: float) -> tuple[AttemptFigures, ...]:
        """Where attempts failed, the most failures first."""
        while self._attempts and self._attempts[0][0] < now_s - WINDOW_S:
            self._forget()
        found = []
        for key, errors in self._errors.items():
            error, count = errors.most_common(1)[0]
            found.append(AttemptFigures(*key, self._counts[key], errors.total(), error, count))
        return tuple(sorted(found, key=lambda one: -one.failed)[:LISTED_MAX])

    def _forget(self) -> None:
        _, key, error = self._attempts.popleft()
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
        if error is not None:
            errors = self._errors[key]
            errors[error] -= 1
            if not errors[error]:
                del errors[error]
            if not errors:
                del self._errors[key]
